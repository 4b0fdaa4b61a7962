//! Jobs of a handle: what their writes came to, and what a supervisor asks of the store on their behalf.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Handle;
use crate::error::{Code, Result, StoreError};
use crate::histogram::milliseconds;
use crate::jobs::{JobId, JobNumbers, Settled};
use crate::writer::{after_ms, lock};

/// Jobs that a handle has made and not removed; with their last numbers once it is closed.
pub(super) type OwnJobs = HashMap<JobId, Option<JobNumbers>>;

impl Handle {
    /// A new job, whose writes are counted, and for which waits for the file's lock of more than so many milliseconds count.
    pub fn add_job(&self, threshold_ms: f64) -> JobId {
        let mut jobs = lock(&self.jobs);
        let threshold = Duration::from_secs_f64(threshold_ms / 1_000.0);
        let job = self.store.writer.queue.add_job(threshold);
        // A closed handle has no share of the queue.
        let numbers = (!self.is_open())
            .then(|| self.store.writer.queue.remove_job(job))
            .flatten();
        jobs.insert(job, numbers);
        job
    }

    /// Forgets a job; its last numbers.
    pub fn remove_job(&self, job: JobId) -> JobNumbers {
        let known = lock(&self.jobs).remove(&job).flatten();
        let removed = || self.store.writer.queue.remove_job(job);
        known.or_else(removed).unwrap_or_default()
    }

    /// What has become of a job's writes; known also when the handle is closed.
    pub fn job_numbers(&self, job: JobId) -> JobNumbers {
        let known = lock(&self.jobs).get(&job).copied().flatten();
        let counted = || self.store.writer.queue.job_numbers(job);
        known.or_else(counted).unwrap_or_default()
    }

    /// The handle is closed: its jobs leave their shares of the queue to others.
    pub(super) fn end_jobs(&self) {
        for (job, numbers) in lock(&self.jobs).iter_mut() {
            *numbers = numbers.or_else(|| self.store.writer.queue.remove_job(*job));
        }
    }

    /// Takes back every write of a job that has not begun; the ids of the calls.
    pub fn withdraw_job(&self, job: JobId) -> Vec<u64> {
        let writer = &self.store.writer;
        let withdrawn = writer.queue.withdraw_where(|entry| entry.job == job);
        let calls = withdrawn
            .iter()
            .map(|entry| entry.command.reply.id)
            .collect();
        // JavaScript tells its callers itself, because it knows why.
        writer.give_up(withdrawn, |_| {
            StoreError::new(
                Code::Aborted,
                "the write was withdrawn with the run that made it before it began",
            )
        });
        calls
    }

    /// The last synchronous write of this handle was a job's: so many rows, or none because it failed.
    pub fn book_last(&self, job: JobId, rows: Option<usize>) {
        let lock_wait = Duration::from_nanos(self.last_wait_ns.swap(0, Ordering::Relaxed));
        let settled = Settled { rows, lock_wait };
        self.store.writer.queue.book(job, settled);
    }

    /// Whether somebody else's lock, or the storage, keeps writes waiting now.
    pub fn is_held_up(&self) -> bool {
        self.store.writer.is_held_up()
    }

    /// For how long the file's lock has kept writes waiting that wait now, in milliseconds; 0 when it does not.
    pub fn locked_out_ms(&self) -> f64 {
        let since = self.store.writer.queue.barred_since();
        since.map_or(0.0, |since| milliseconds(since.elapsed()))
    }

    /// Asks by the queue whether the database takes a write: settles the call when it has committed something that changes
    /// nothing.
    pub fn probe(&self, id: u64, timeout_ms: f64) -> Result<u64> {
        self.check_writable()?;
        self.store.writer.ask(after_ms(timeout_ms), self.reply(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::Fake;
    use crate::queue::Priority;
    use crate::store::tests::another_handle;
    use crate::store::{EnqueueOptions, Store};
    use crate::testing::{FRAME, SYMBOL, options, packed, rows, wait_for};

    #[test]
    fn a_handle_that_closes_leaves_the_shares_of_its_jobs_and_keeps_their_numbers() -> Result<()> {
        let options = options();
        let store = Store::on(Fake::new(&options.timeframes), &options);
        let (one, told) = another_handle(&store);
        let (other, _) = another_handle(&store);
        let job = one.add_job(50.0);
        let options = EnqueueOptions {
            id: 1,
            priority: Priority::Live,
            timeout_ms: None,
            job,
        };
        one.enqueue_upsert(FRAME.0, SYMBOL, rows(&packed(&[(1, 7.0)])), options)?;
        told.written(1);
        one.close(1_000.0);
        assert_eq!(store.writer.queue.job_numbers(job), None);
        assert_eq!(
            (one.job_numbers(job).rows, one.job_numbers(job).writes),
            (1, 1)
        );
        // Made when it was closed already, by a supervisor that does not know.
        let late = one.add_job(50.0);
        assert_eq!(store.writer.queue.job_numbers(late), None);
        assert_eq!(one.remove_job(job).rows, 1);
        assert_eq!(one.remove_job(job), JobNumbers::default());
        drop(other);
        Ok(())
    }

    #[test]
    fn all_that_waits_of_a_job_is_withdrawn_at_once_and_nothing_of_others() -> Result<()> {
        let options = options();
        let fake = Fake::new(&options.timeframes);
        let store = Store::on(fake.clone(), &options);
        let (handle, told) = another_handle(&store);
        let (job, other) = (handle.add_job(1.0), handle.add_job(1.0));
        fake.set_locked(true);
        let write = |id: u64, job| {
            let options = EnqueueOptions {
                id,
                priority: Priority::Backfill,
                timeout_ms: None,
                job,
            };
            handle.enqueue_upsert(FRAME.0, SYMBOL, rows(&packed(&[(id as i64, 7.0)])), options)
        };
        write(1, job)?;
        write(2, other)?;
        write(3, job)?;
        wait_for("the lock to be in the way", || handle.is_held_up());
        assert_eq!(handle.withdraw_job(job), [1, 3]);
        assert_eq!(told.error(1).code, Code::Aborted);
        assert_eq!(told.error(3).code, Code::Aborted);
        assert_eq!(handle.job_numbers(job).failed, 2);
        fake.set_locked(false);
        assert_eq!(told.written(2).inserted, 1);
        handle.close(1_000.0);
        Ok(())
    }
}
