//! Jobs: parties whose queued writes are counted each on its own, and of which none may fill the queue: each has an equal
//! share of its capacity, and one share is left for writes that belong to no job.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, SubAssign};
use std::time::Duration;

/// A job's number; 0 for a write that belongs to none.
pub type JobId = u32;

/// What has become of a job's writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobNumbers {
    /// Writes that are settled, or were refused.
    pub writes: u64,
    /// Those of them that the file's lock has kept for longer than the job's threshold, whatever became of them.
    pub lock_waits: u64,
    /// Those that were committed without such a wait.
    pub at_once: u64,
    /// Those that were not written.
    pub failed: u64,
    /// Rows committed, without those that were left out because a newer write had the same candle.
    pub rows: u64,
}

/// How a write of a job has ended.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// Rows committed; `None` for a write that was not written.
    pub rows: Option<usize>,
    /// How long the file's lock has kept it.
    pub lock_wait: Duration,
}

impl Settled {
    pub const REFUSED: Self = Self {
        rows: None,
        lock_wait: Duration::ZERO,
    };
}

/// What writes take of the queue's capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub rows: usize,
    pub bytes: usize,
}

impl Load {
    /// Whether it is no more than a limit, by both measures.
    pub fn is_within(self, limit: Load) -> bool {
        self.rows <= limit.rows && self.bytes <= limit.bytes
    }
}

impl Add for Load {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.rows -= other.rows;
        self.bytes -= other.bytes;
    }
}

#[derive(Debug)]
struct Job {
    threshold: Duration,
    taken: Load,
    numbers: JobNumbers,
}

/// All jobs of a queue.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    last: JobId,
}

impl Jobs {
    /// A new job, for whose writes waits of more than `threshold` count.
    pub fn add(&mut self, threshold: Duration) -> JobId {
        self.last += 1;
        let job = Job {
            threshold,
            taken: Load::default(),
            numbers: JobNumbers::default(),
        };
        self.jobs.insert(self.last, job);
        self.last
    }

    /// Forgets a job and gives its last numbers; its writes that wait go on as those of nobody.
    pub fn remove(&mut self, id: JobId) -> Option<JobNumbers> {
        self.jobs.remove(&id).map(|job| job.numbers)
    }

    pub fn numbers(&self, id: JobId) -> Option<JobNumbers> {
        self.jobs.get(&id).map(|job| job.numbers)
    }

    /// Takes room for a write; the job's share of the capacity when that is used up. A write larger than the share is taken
    /// when no other of the job waits.
    pub fn accept(&mut self, id: JobId, wanted: Load, capacity: Load) -> Result<(), Load> {
        let parts = self.jobs.len() + 1;
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        let share = Load {
            rows: capacity.rows / parts,
            bytes: capacity.bytes / parts,
        };
        let taken = job.taken + wanted;
        if job.taken != Load::default() && !taken.is_within(share) {
            return Err(share);
        }
        job.taken = taken;
        Ok(())
    }

    /// A write that was accepted is settled.
    pub fn settle(&mut self, id: JobId, load: Load, settled: Settled) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.taken -= load;
            job.book(settled);
        }
    }

    /// A write of a job's was done without the queue, or refused by it.
    pub fn book(&mut self, id: JobId, settled: Settled) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.book(settled);
        }
    }
}

impl Job {
    fn book(&mut self, settled: Settled) {
        self.numbers.writes += 1;
        let has_waited = settled.lock_wait > self.threshold;
        self.numbers.lock_waits += u64::from(has_waited);
        match settled.rows {
            Some(rows) => {
                self.numbers.at_once += u64::from(!has_waited);
                self.numbers.rows += rows as u64;
            }
            None => self.numbers.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Load = Load {
        rows: 90,
        bytes: 900,
    };

    fn load(rows: usize, bytes: usize) -> Load {
        Load { rows, bytes }
    }

    fn written(rows: usize, lock_wait_ms: u64) -> Settled {
        Settled {
            rows: Some(rows),
            lock_wait: Duration::from_millis(lock_wait_ms),
        }
    }

    #[test]
    fn a_job_takes_no_more_than_its_share_and_the_others_keep_theirs() {
        let mut jobs = Jobs::default();
        let (one, other) = (jobs.add(Duration::ZERO), jobs.add(Duration::ZERO));
        assert_eq!(jobs.accept(one, load(30, 300), CAPACITY), Ok(()));
        let share = load(30, 300);
        assert_eq!(jobs.accept(one, load(1, 0), CAPACITY), Err(share));
        assert_eq!(jobs.accept(one, load(0, 1), CAPACITY), Err(share));
        assert_eq!(jobs.accept(other, load(30, 300), CAPACITY), Ok(()));
        assert_eq!(jobs.accept(0, load(90, 900), CAPACITY), Ok(()));
        jobs.settle(one, load(30, 300), written(30, 0));
        assert_eq!(jobs.accept(one, load(1, 1), CAPACITY), Ok(()));
        // One that is no more leaves its share to the others.
        jobs.remove(other);
        assert_eq!(jobs.accept(one, load(44, 449), CAPACITY), Ok(()));
    }

    #[test]
    fn a_write_larger_than_the_share_is_taken_when_no_other_of_the_job_waits() {
        let mut jobs = Jobs::default();
        let job = jobs.add(Duration::ZERO);
        assert_eq!(jobs.accept(job, load(80, 1), CAPACITY), Ok(()));
        assert!(jobs.accept(job, load(1, 1), CAPACITY).is_err());
        jobs.settle(job, load(80, 1), written(80, 0));
        assert_eq!(jobs.accept(job, load(80, 1), CAPACITY), Ok(()));
    }

    #[test]
    fn writes_are_counted_by_how_they_ended_and_whether_they_had_to_wait() {
        let mut jobs = Jobs::default();
        let job = jobs.add(Duration::from_millis(50));
        for _ in 0..3 {
            assert_eq!(jobs.accept(job, load(5, 5), CAPACITY), Ok(()));
        }
        jobs.settle(job, load(5, 5), written(4, 50));
        jobs.settle(job, load(5, 5), written(5, 51));
        jobs.book(
            job,
            Settled {
                rows: None,
                lock_wait: Duration::from_secs(5),
            },
        );
        let numbers = JobNumbers {
            writes: 3,
            lock_waits: 2,
            at_once: 1,
            failed: 1,
            rows: 9,
        };
        assert_eq!(jobs.numbers(job), Some(numbers));
        assert_eq!(jobs.remove(job), Some(numbers));
        assert_eq!(jobs.numbers(job), None);
        // What of it still waits is settled without it.
        jobs.settle(job, load(5, 5), written(5, 0));
    }
}
