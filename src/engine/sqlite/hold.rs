//! A snapshot that is kept from one short read to the next. Taking and leaving one locks and unlocks the WAL index by two system
//! calls, which is most of what a read by key costs. Reads that follow each other closely share one snapshot for as long as
//! the head of the WAL index says that it is the newest commit; whoever keeps one is asked soon to let it go.

use std::time::{Duration, Instant};

use rusqlite::ffi;

use super::raw::RawStatement;
use super::session::Session;
use crate::engine::{CommitState, ReadSession};

/// Reads that are so close to each other share a snapshot.
const CLOSE: Duration = Duration::from_micros(100);
/// Reads after which others who wait for the log to be free get a chance.
const MOST_READS: u32 = 1_000;
/// Reads after that without a snapshot kept.
const REST: u32 = 16;

#[derive(Default)]
pub struct Hold {
    /// Stands on a row while a snapshot is kept: SQLite then keeps its read transaction open.
    holder: Option<RawStatement>,
    /// The commit that the snapshot is of.
    state: Option<CommitState>,
    reads: u32,
    rest: u32,
    last: Option<Instant>,
}

impl Session {
    /// Sees to it, before a read outside a transaction, that what is kept is the newest commit; whether something is.
    pub(super) fn keep_fresh(&mut self) -> bool {
        if let Some(state) = self.hold.state {
            self.hold.reads += 1;
            if self.hold.reads < MOST_READS && self.commit_state() == Some(state) {
                return true;
            }
            let is_used_up = self.hold.reads >= MOST_READS;
            self.let_go_now();
            if is_used_up {
                self.hold.rest = REST;
                return false;
            }
            return self.keep();
        }
        if self.hold.rest > 0 {
            self.hold.rest -= 1;
            return false;
        }
        if matches!(self.wal_index, Some(None)) {
            return false;
        }
        let now = Instant::now();
        let last = self.hold.last.replace(now);
        last.is_some_and(|last| now - last < CLOSE) && self.keep()
    }

    fn keep(&mut self) -> bool {
        let before = self.commit_state();
        // Where a statement stands on a row already the holder would only join its snapshot, which may be older.
        // SAFETY: the connection is open and the name NUL-terminated.
        let state = unsafe { ffi::sqlite3_txn_state(self.connection.handle(), c"main".as_ptr()) };
        if before.is_none() || self.in_transaction() || state != ffi::SQLITE_TXN_NONE {
            return false;
        }
        if self.hold.holder.is_none() {
            let holder = RawStatement::prepare(&self.connection, "SELECT 1 FROM sqlite_schema");
            self.hold.holder = holder.ok();
        }
        // The statement has a row only where there is a table.
        let stands = match &mut self.hold.holder {
            Some(holder) => holder.step().unwrap_or(false),
            None => false,
        };
        // The snapshot is of a commit that was the newest before and after it was taken.
        if stands && self.commit_state() == before {
            self.hold.state = before;
            self.hold.reads = 0;
        } else {
            self.let_go_now();
        }
        stands && self.hold.state.is_some()
    }

    pub(super) fn let_go_now(&mut self) {
        self.hold.state = None;
        if let Some(holder) = &mut self.hold.holder {
            holder.clear();
        }
    }
}
