//! Waiting for the write lock of the file: one try after the other at a constant pace until somebody says stop.
//! SQLite's own busy handler would sleep longer and longer and so favour newcomers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Code, Failure, Result, StoreError};
use crate::histogram::{Histogram, Summary};

/// Pause between two tries.
const PACE: Duration = Duration::from_micros(500);

/// What waiting for the lock has cost this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LockNumbers {
    /// Groups and synchronous writes that found the lock taken.
    pub waits: u64,
    /// Writes that were given up because of it: synchronous ones, and queued ones whose time was over.
    pub timeouts: u64,
    /// How long they waited.
    pub waited: Summary,
}

/// Counts what waiting for the lock costs.
#[derive(Debug, Default)]
pub struct LockWaits {
    seen: Mutex<(Histogram, u64)>,
}

/// How long was waited for a lock, and how often it was tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waited {
    pub time: Duration,
    pub attempts: u64,
}

impl LockWaits {
    pub fn numbers(&self) -> LockNumbers {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (histogram, timeouts) = &*seen;
        LockNumbers {
            waits: histogram.count(),
            timeouts: *timeouts,
            waited: histogram.summary(),
        }
    }

    /// Queued writes were given up while they waited for the lock or for their turn.
    pub fn gave_up(&self, writes: usize) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 += writes as u64;
    }

    /// Tries `begin` until it succeeds or fails for another reason than a lock, or until `give_up` names an error.
    pub fn wait(
        &self,
        begin: &mut dyn FnMut() -> Result<()>,
        give_up: &mut dyn FnMut(Waited) -> Option<StoreError>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            match begin() {
                Err(error) if error.failure == Failure::Transient => {}
                other => break other,
            }
            if let Some(error) = give_up(Waited {
                time: start.elapsed(),
                attempts,
            }) {
                break Err(error.failure(Failure::Transient));
            }
            thread::sleep(PACE);
        };
        if attempts > 1
            || outcome
                .as_ref()
                .is_err_and(|error| error.failure == Failure::Transient)
        {
            let waited = start.elapsed();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.0.add(waited);
            seen.1 += u64::from(
                outcome
                    .as_ref()
                    .is_err_and(|error| error.code == Code::Timeout),
            );
        }
        outcome
    }
}
