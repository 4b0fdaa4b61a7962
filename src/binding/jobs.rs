//! What a supervisor of jobs asks of a store: its jobs' numbers, and whether the database takes a write.

use napi_derive::napi;

use super::call;
use super::store::NativeStore;
use crate::jobs::JobNumbers;

/// What has become of a job's writes.
#[napi(object, object_from_js = false)]
pub struct JobTotals {
    pub writes: f64,
    pub lock_waits: f64,
    pub at_once: f64,
    pub failed: f64,
    pub rows: f64,
}

impl From<JobNumbers> for JobTotals {
    fn from(numbers: JobNumbers) -> Self {
        Self {
            writes: numbers.writes as f64,
            lock_waits: numbers.lock_waits as f64,
            at_once: numbers.at_once as f64,
            failed: numbers.failed as f64,
            rows: numbers.rows as f64,
        }
    }
}

#[napi]
impl NativeStore {
    /// A new job; writes that the file's lock keeps for longer than so many milliseconds had to wait.
    #[napi]
    pub fn add_job(&self, threshold_ms: f64) -> u32 {
        self.handle.add_job(threshold_ms)
    }

    /// Forgets a job and gives its last numbers.
    #[napi]
    pub fn remove_job(&self, job: u32) -> JobTotals {
        self.handle.remove_job(job).into()
    }

    #[napi]
    pub fn job_numbers(&self, job: u32) -> JobTotals {
        self.handle.job_numbers(job).into()
    }

    /// Takes back every write of a job that has not begun; the calls whose they are, which are settled with an error.
    #[napi]
    pub fn withdraw_job(&self, job: u32) -> Vec<f64> {
        let calls = self.handle.withdraw_job(job);
        calls.into_iter().map(|id| id as f64).collect()
    }

    /// The last synchronous write was a job's: so many rows, or none because it failed.
    #[napi]
    pub fn book_last(&self, job: u32, rows: Option<u32>) {
        self.handle.book_last(job, rows.map(|rows| rows as usize));
    }

    /// Whether a lock or the disk keeps writes waiting now.
    #[napi]
    pub fn is_held_up(&self) -> bool {
        self.handle.is_held_up()
    }

    /// For how long the file's lock has kept writes waiting, in milliseconds; 0 when it does not.
    #[napi]
    pub fn locked_out_ms(&self) -> f64 {
        self.handle.locked_out_ms()
    }

    /// Settles `id` when the queue has committed something that changes nothing.
    #[napi]
    pub fn probe(&self, id: f64, timeout_ms: f64) -> napi::Result<f64> {
        call(|| {
            let sequence = self.handle.probe(id as u64, timeout_ms)?;
            Ok(sequence as f64)
        })
    }
}
