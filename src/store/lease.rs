//! A lease: the writing session held by one handle while a transaction of its caller's is open, across calls and
//! turns of the event loop. The handle's own writes join it; everybody else's wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{LeaseOwner, Store};
use crate::candle::{Rows, TimeRange};
use crate::engine::{Step, Upserted};
use crate::error::{Code, Result, StoreError};
use crate::reply::{CandlesEvent, SlowKind};
use crate::timeframe::Timeframe;
use crate::writer::{Held, Waited, candles_event, lock, times};

/// The writing session in the hands of a caller.
pub struct Lease {
    pub held: Held,
    store: Arc<Store>,
    began: Instant,
    /// The error that forbids a commit: rows handed over late could not be stored.
    doomed: Option<StoreError>,
    touched: Vec<Touched>,
    /// Open savepoints with the length of `touched` when each was set.
    savepoints: Vec<(String, usize)>,
    /// What began it, and when that began to wait.
    sql: String,
    wanted: Instant,
    waited: Waited,
    /// A transaction over several calls, or one statement only.
    kind: SlowKind,
}

/// Candles written or deleted in the transaction, to be told of when it is committed.
pub struct Touched {
    pub timeframe: Timeframe,
    pub symbol: Arc<str>,
    pub what: Touch,
    pub sequence: u64,
}

pub enum Touch {
    Wrote {
        times: Vec<i64>,
        event: Option<CandlesEvent>,
    },
    Deleted(TimeRange),
}

impl Lease {
    /// `wanted` is when the caller began to wait for the session, `waited` how long it did.
    pub fn new(held: Held, sql: &str, wanted: Instant, waited: Waited, store: &Arc<Store>) -> Self {
        *lock(&store.lease_owner) = Some(LeaseOwner {
            thread: std::thread::current().id(),
            sql: sql.to_owned(),
            began: Instant::now(),
        });
        Self {
            held,
            store: store.clone(),
            began: Instant::now(),
            doomed: None,
            touched: Vec::new(),
            savepoints: Vec::new(),
            sql: sql.to_owned(),
            wanted,
            waited,
            kind: SlowKind::Write,
        }
    }

    /// How long the session has been held, or waited for the file's lock.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// A statement in it has waited for the file's lock.
    pub fn waited(&mut self, waited: Waited) {
        self.waited.time += waited.time;
        self.waited.attempts += waited.attempts;
    }

    /// It stays open when the statement that began it has ended.
    pub fn keep(&mut self) {
        self.kind = SlowKind::Transaction;
    }

    /// Stores rows inside the transaction. An error dooms it: some of the caller's writes are missing from it.
    pub fn upsert(
        &mut self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        rows: Rows<'_>,
        sequence: u64,
        remember: bool,
    ) -> Result<Upserted> {
        self.check()?;
        let result = self.held.session().upsert(timeframe, symbol, rows);
        match &result {
            Ok(_) if remember => {
                let event = candles_event(timeframe, symbol, rows);
                let what = Touch::Wrote {
                    times: times(rows).collect(),
                    event,
                };
                self.touched.push(Touched {
                    timeframe,
                    symbol: symbol.clone(),
                    what,
                    sequence,
                });
            }
            Ok(_) => {}
            Err(error) => {
                self.doomed = Some(error.clone());
                self.store.writer.write_failed(error);
            }
        }
        result
    }

    /// Deletes rows inside the transaction.
    pub fn delete(
        &mut self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        range: TimeRange,
        sequence: u64,
    ) -> Result<u64> {
        self.check()?;
        let deleted = self.held.session().delete(timeframe, symbol, range)?;
        self.touched.push(Touched {
            timeframe,
            symbol: symbol.clone(),
            what: Touch::Deleted(range),
            sequence,
        });
        Ok(deleted)
    }

    /// Follows what statements did to the transaction; returns what was committed by it.
    pub fn follow(&mut self, steps: &[Step]) -> Vec<Touched> {
        let mut committed = Vec::new();
        for step in steps {
            match step {
                Step::Committed(_) => committed.append(&mut self.touched),
                Step::RolledBack => self.touched.clear(),
                Step::Savepoint(name) => self.savepoints.push((name.clone(), self.touched.len())),
                Step::RolledBackTo(name) => {
                    match self.savepoints.iter().rposition(|(known, _)| known == name) {
                        Some(place) => {
                            self.touched.truncate(self.savepoints[place].1);
                            self.savepoints.truncate(place + 1);
                        }
                        // Begun by the savepoint itself: everything is undone.
                        None => {
                            self.touched.clear();
                            self.savepoints.clear();
                        }
                    }
                }
                Step::Released(name) => {
                    let place = self.savepoints.iter().rposition(|(known, _)| known == name);
                    self.savepoints.truncate(place.unwrap_or(0));
                }
            }
        }
        committed
    }

    /// Refuses everything but a rollback once a write of the transaction has failed.
    pub fn check(&self) -> Result<()> {
        match &self.doomed {
            None => self.store.writer.check_poisoned(),
            Some(cause) => {
                let mut error = cause.clone();
                error.code = if cause.code == Code::Timeout {
                    Code::SqlError
                } else {
                    cause.code
                };
                error.message = format!(
                    "the transaction can only be rolled back, because a write in it failed: {}",
                    cause.message
                );
                Err(error.not_written())
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *lock(&self.store.lease_owner) = None;
        if let Some(session) = self.held.session().raw() {
            session.leave_all();
        }
        let writer = &self.store.writer;
        writer.tell_if_slow(self.kind, self.wanted, self.waited, Some(&self.sql));
    }
}
