//! The caller's own statements, on `db` and `dbReadOnly`, and the lease that a BEGIN makes.

use std::thread;
use std::time::{Duration, Instant};

use super::super::lease::{Lease, Touch, Touched};
use crate::engine::{Attempt, Description, LockWait, ReadSession, Step, WriteSession};
use crate::error::{Result, StoreError};
use crate::reply::{CandlesEvent, SlowKind};
use crate::turn::Urgency;
use crate::value::{Statement, StatementResult};
use crate::writer::{Waited, lock};

use super::Handle;

impl Handle {
    /// Whether a transaction of this handle's caller is open.
    pub fn in_transaction(&self) -> bool {
        lock(&self.lease).is_some()
    }

    pub fn describe(&self, sql: &str) -> Result<Description> {
        self.read(false, |session| session.describe(sql))
    }

    /// Runs a statement that only reads, outside any transaction on a reader.
    pub fn query(
        &self,
        statement: &Statement,
        most_rows: Option<usize>,
    ) -> Result<StatementResult> {
        self.read(false, |session| session.query(statement, most_rows))
    }

    /// Runs a statement on the connection of `dbReadOnly`.
    pub fn query_read_only(
        &self,
        statement: &Statement,
        most_rows: Option<usize>,
    ) -> Result<StatementResult> {
        self.on_read_only(|session| session.query(statement, most_rows))
    }

    /// Runs a script on the connection of `dbReadOnly`.
    pub fn query_script_read_only(&self, script: &str) -> Result<()> {
        self.on_read_only(|session| session.query_script(script))
    }

    /// Whether a transaction is open on the connection of `dbReadOnly`.
    pub fn read_only_in_transaction(&self) -> bool {
        lock(&self.read_only)
            .as_ref()
            .is_some_and(|session| session.in_transaction())
    }

    fn on_read_only<T>(&self, run: impl FnOnce(&mut dyn ReadSession) -> Result<T>) -> Result<T> {
        self.check_open()?;
        let mut session = lock(&self.read_only);
        if session.is_none() {
            match self.store.engine.open_reader() {
                Some(opened) => *session = Some(opened?),
                None => return self.read(true, run),
            }
        }
        match session.as_mut() {
            Some(session) => run(session.as_mut()),
            None => Err(StoreError::closed()),
        }
    }

    /// Runs a statement that writes or controls a transaction. One that begins a transaction makes a lease.
    pub fn execute(
        &self,
        statement: &Statement,
        most_rows: Option<usize>,
    ) -> Result<StatementResult> {
        self.on_writer(&statement.sql, |session, wait, steps| {
            session.execute(statement, most_rows, wait, steps)
        })
    }

    pub fn execute_script(&self, script: &str) -> Result<()> {
        self.on_writer(script, |session, wait, steps| {
            session.execute_script(script, wait, steps)
        })
    }

    fn on_writer<T: Default>(
        &self,
        sql: &str,
        run: impl FnOnce(&mut dyn WriteSession, &mut LockWait<'_>, &mut Vec<Step>) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let start = Instant::now();
        let mut leased = lock(&self.lease);
        let mut lease = match leased.take() {
            Some(mut lease) => {
                // A rollback is all that a doomed transaction accepts.
                if let Err(error) = lease.check() {
                    let session = lease.held.session();
                    if !session.rolls_back(sql) {
                        *leased = Some(lease);
                        return Err(error);
                    }
                    // A full disk or a trigger has rolled it back already.
                    if !session.in_transaction() {
                        return Ok(T::default());
                    }
                }
                lease
            }
            None => {
                // Single statements may be what makes room, such as a DELETE or a PRAGMA; they are let through.
                if begins(sql) {
                    self.store.writer.check_breaker()?;
                }
                let mut waited = Waited::default();
                let held = self.take(start, &mut waited).inspect_err(|_| {
                    let writer = &self.store.writer;
                    writer.tell_if_slow(SlowKind::Write, start, waited, Some(sql));
                })?;
                Lease::new(held, sql, start, waited, &self.store)
            }
        };
        let writer = &self.store.writer;
        let mut waited = Waited::default();
        let mut until = |step: &mut Attempt<'_>| self.wait(Urgency::Live, step, start, &mut waited);
        let mut wait = LockWait { until: &mut until };
        let mut steps = Vec::new();
        let result = writer.committing(|| {
            let result = run(lease.held.session(), &mut wait, &mut steps)?;
            let commits = steps.iter().filter_map(|step| match step {
                Step::Committed(committed) => Some(committed.clone()),
                _ => None,
            });
            Ok((result, commits.collect()))
        });
        lease.waited(waited);
        let mut events = Vec::new();
        // While the token is held: an older queued write must not begin before it knows that it was overtaken.
        for touched in lease.follow(&steps) {
            events.extend(self.overtake(touched));
        }
        if steps.iter().any(|step| matches!(step, Step::Committed(_))) {
            writer.committed(lease.held.session());
        }
        let mut room = Duration::ZERO;
        if lease.held.session().in_transaction() {
            lease.keep();
            *leased = Some(lease);
        } else {
            room = writer.leave_room(lease.age());
            drop(lease);
        }
        drop(leased);
        if let Err(error) = &result {
            writer.write_failed(error);
        }
        thread::sleep(room);
        if writer.wants_candles() {
            writer.emit_candles(events);
        }
        result
    }

    /// Lets older queued writes know of something that a lease has committed.
    fn overtake(&self, touched: Touched) -> Option<CandlesEvent> {
        let writer = &self.store.writer;
        let waiting = writer.queue.oldest_waiting();
        let overtakes = waiting.is_some_and(|oldest| oldest < touched.sequence);
        let Touched {
            timeframe,
            symbol,
            what,
            sequence,
        } = touched;
        match what {
            Touch::Wrote { times, event } => {
                if overtakes {
                    let times = times.into_iter();
                    writer
                        .overtaking()
                        .wrote(timeframe, &symbol, times, sequence);
                }
                event
            }
            Touch::Deleted(range) => {
                if overtakes {
                    writer
                        .overtaking()
                        .deleted(timeframe, &symbol, range, sequence);
                }
                None
            }
        }
    }
}

/// Whether a statement begins a transaction, for all that its first word tells.
fn begins(sql: &str) -> bool {
    let sql = sql.trim_start();
    ["BEGIN", "SAVEPOINT"].iter().any(|word| {
        sql.get(..word.len())
            .is_some_and(|first| first.eq_ignore_ascii_case(word))
    })
}
