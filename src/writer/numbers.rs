//! What the groups of the queue have done: how many, how large, how long they took, and how long their writes had
//! waited.

use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::lock;
use crate::histogram::{Histogram, Summary};
use crate::queue::Priority;

/// Rows of the writes in one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RowsPerGroup {
    pub mean: f64,
    pub max: u64,
}

/// What the groups have done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupNumbers {
    /// Groups committed.
    pub groups: u64,
    /// Groups that were tried again, after they had begun or after an attempt at the lock was given up.
    pub retries: u64,
    /// Writes that were not accepted.
    pub rejected: u64,
    pub rows: RowsPerGroup,
    /// From holding the lock to the end of COMMIT.
    pub commit: Summary,
    /// From acceptance to holding the lock, by priority.
    pub waited: [Summary; 3],
}

/// Keeps these numbers.
#[derive(Debug, Default)]
pub struct Recorder {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    groups: u64,
    retries: u64,
    rejected: u64,
    rows: u64,
    most_rows: u64,
    commit: Histogram,
    waited: [Histogram; 3],
}

impl Recorder {
    /// A group of so many rows was committed; `waited` are its writes.
    pub fn group(
        &self,
        rows: usize,
        took: Duration,
        waited: impl IntoIterator<Item = (Priority, Duration)>,
    ) {
        let mut seen = lock(&self.seen);
        seen.groups += 1;
        seen.rows += rows as u64;
        seen.most_rows = seen.most_rows.max(rows as u64);
        seen.commit.add(took);
        for (priority, time) in waited {
            seen.waited[priority as usize].add(time);
        }
    }

    /// A group is tried again.
    pub fn retry(&self) {
        lock(&self.seen).retries += 1;
    }

    /// A write was not accepted.
    pub fn reject(&self) {
        lock(&self.seen).rejected += 1;
    }

    pub fn numbers(&self) -> GroupNumbers {
        let seen = lock(&self.seen);
        GroupNumbers {
            groups: seen.groups,
            retries: seen.retries,
            rejected: seen.rejected,
            rows: RowsPerGroup {
                mean: if seen.groups == 0 {
                    0.0
                } else {
                    seen.rows as f64 / seen.groups as f64
                },
                max: seen.most_rows,
            },
            commit: seen.commit.summary(),
            waited: seen.waited.each_ref().map(Histogram::summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_with_their_rows_and_times_and_the_waits_of_their_writes() {
        let recorder = Recorder::default();
        assert_eq!(recorder.numbers(), GroupNumbers::default());
        let ms = Duration::from_millis;
        recorder.group(
            10,
            ms(4),
            [(Priority::Live, ms(1)), (Priority::Backfill, ms(9))],
        );
        recorder.group(5, ms(2), [(Priority::Live, ms(3))]);
        recorder.retry();
        recorder.reject();
        recorder.reject();
        let told = recorder.numbers();
        assert_eq!((told.groups, told.retries, told.rejected), (2, 1, 2));
        assert_eq!(told.rows, RowsPerGroup { mean: 7.5, max: 10 });
        assert_eq!((told.commit.count, told.commit.max_ms), (2, 4.0));
        let waited = told.waited.map(|waited| (waited.count, waited.mean_ms));
        assert_eq!(waited, [(2, 2.0), (1, 9.0), (0, 0.0)]);
    }
}
