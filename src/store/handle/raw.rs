//! The caller's own statements, on `db` and `dbReadOnly`, and the lease that a BEGIN makes.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::super::lease::{Lease, Touch, Touched};
use super::super::registry::HAS_OTHER_FILES;
use crate::engine::{
    Attempt, ColumnOrigin, Description, LockWait, Ran, RawSession, ReadSession, StatementKind,
    Step, WriteSession,
};
use crate::error::{Code, Failure, Result, StoreError};
use crate::reply::{CandlesEvent, SlowKind};
use crate::rows::{Cell, KeptRows, NoRows, RowSink, SqlText};
use crate::turn::Urgency;
use crate::writer::{Held, Waited, lock};

use super::Handle;
#[cfg(test)]
use crate::value::{Statement, StatementResult};

/// Pause between two tries to read a file that its writer has locked.
const READ_PACE: Duration = Duration::from_millis(1);

/// Which handle of the caller's a statement belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `store.db`, or a `Database` of its own.
    Writing,
    /// `store.dbReadOnly`.
    Reading,
}

/// How many rows are wanted, and whether more of them will be.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    pub most: usize,
    pub keep: bool,
}

/// Where a statement stands on a row.
pub enum Standing {
    /// On a reading connection, which is kept from the others.
    Reader(Box<dyn ReadSession>),
    /// In the handle's transaction, or on its own session.
    Writer,
    ReadOnly,
    /// Its rows have been read.
    Kept(KeptRows, usize),
}

impl Handle {
    /// Whether a transaction of this handle's caller is open.
    pub fn in_transaction(&self) -> bool {
        match &self.own {
            Some(own) => lock(own)
                .as_mut()
                .is_some_and(|held| held.session().in_transaction()),
            None => lock(&self.lease).is_some(),
        }
    }

    /// Prepares a statement, and tells what it is.
    pub fn describe(&self, side: Side, text: &SqlText) -> Result<Description> {
        self.on_session(side, |session| session.describe(text))
    }

    pub fn origins(&self, side: Side, text: &SqlText) -> Result<Vec<ColumnOrigin>> {
        self.on_session(side, |session| session.origins(text))
    }

    pub fn expanded(&self, side: Side, text: &SqlText, params: &[Cell<'_>]) -> Result<String> {
        self.on_session(side, |session| session.expanded(text, params))
    }

    pub fn serialize(&self, side: Side, schema: &str) -> Result<Vec<u8>> {
        self.on_session(side, |session| session.serialize(schema))
    }

    pub fn set_defensive(&self, defensive: bool) -> Result<()> {
        if self.own.is_none() && self.store.options.read_only {
            return self.check_open();
        }
        self.on_writing_session(|session| session.set_defensive(defensive))
    }

    /// The length of what stands before the first statement of a text, and that of the statement; `None` where there is none.
    pub fn first_statement(&self, side: Side, text: &str) -> Result<Option<(usize, usize)>> {
        self.on_session(side, |session| {
            let first = session.first_statement(text)?;
            Ok(first.map(|(sql, rest)| (text.len() - rest.len() - sql.len(), sql.len())))
        })
    }

    /// Uses the session that a statement of this side would run on if it only reads.
    pub(super) fn on_session<T>(
        &self,
        side: Side,
        mut run: impl FnMut(&mut dyn RawSession) -> Result<T>,
    ) -> Result<T> {
        if side == Side::Reading {
            return self.on_read_only(|session| {
                let session = raw(session)?;
                session.let_go();
                run(session)
            });
        }
        if self.own.is_some() || self.reads_at_writer() {
            return self.on_writing_session(run);
        }
        self.read(false, |session| run(raw(session)?))
    }

    /// Reads on a session of the caller's own. Who opens or closes the file may be in the way for a moment, and with a rollback
    /// journal who writes it.
    fn reading<T>(
        &self,
        own: &mut Option<Held>,
        mut run: impl FnMut(&mut dyn RawSession) -> Result<T>,
    ) -> Result<T> {
        let session = own.as_mut().ok_or_else(StoreError::closed)?.session();
        let session = raw(session)?;
        let mut deadline = None;
        loop {
            let done = run(session);
            if !done.as_ref().is_err_and(is_lock_of_others) {
                return done;
            }
            let now = Instant::now();
            if now >= *deadline.get_or_insert_with(|| self.deadline(now)) {
                return done;
            }
            thread::sleep(READ_PACE);
        }
    }

    /// Whether what the caller reads depends on the writing session.
    fn reads_at_writer(&self) -> bool {
        self.store.reads_at_writer.load(Ordering::Relaxed)
    }

    /// Uses the writing session for something that needs no lock of the file's.
    pub(super) fn on_writing_session<T>(
        &self,
        mut run: impl FnMut(&mut dyn RawSession) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        if let Some(own) = &self.own {
            return self.reading(&mut lock(own), |session| {
                session.let_go();
                run(session)
            });
        }
        let mut lease = lock(&self.lease);
        match lease.as_mut() {
            Some(lease) => run(raw(lease.held.session())?),
            None => run(raw(self.take_for_reading()?.session())?),
        }
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

    /// Whether a transaction is open on the connection of `dbReadOnly`.
    pub fn read_only_in_transaction(&self) -> bool {
        lock(&self.read_only)
            .as_ref()
            .is_some_and(|session| session.in_transaction())
    }

    /// Begins to run a statement, and gives its first rows; true if they were all. One that writes has been run to its end.
    pub fn start(
        &self,
        side: Side,
        text: &SqlText,
        about: &Description,
        params: &[Cell<'_>],
        take: Take,
        sink: &mut dyn RowSink,
    ) -> Result<(Ran, bool)> {
        if side == Side::Reading {
            return self.start_read_only(text, about, params, take, sink);
        }
        if about.kind == StatementKind::Reads {
            return self.start_reading(text, about, params, take, sink);
        }
        let execute = |sink: &mut dyn RowSink| {
            if about.kind == StatementKind::Writes
                && let Some(ran) = self.write_in_lease(text, params, sink)
            {
                return ran;
            }
            self.on_writer(&text.sql, |session, wait, steps| {
                session.execute(text, params, sink, wait, steps)
            })
        };
        if !about.reader {
            return Ok((execute(&mut NoRows)?, true));
        }
        let mut kept = KeptRows::default();
        let ran = execute(&mut kept)?;
        Ok((ran, self.give(text, kept, 0, take, sink)))
    }

    /// Runs a statement that writes in the open transaction, if there is one that goes on after it: nothing is committed then,
    /// and nobody has to be told.
    fn write_in_lease(
        &self,
        text: &SqlText,
        params: &[Cell<'_>],
        sink: &mut dyn RowSink,
    ) -> Option<Result<Ran>> {
        let mut leased = lock(&self.lease);
        let lease = leased.as_mut()?;
        if lease.check().is_err() {
            return None;
        }
        let mut until = |step: &mut Attempt<'_>| step();
        let mut wait = LockWait { until: &mut until };
        let mut steps = Vec::new();
        let session = lease.held.session();
        let ran = session.execute(text, params, sink, &mut wait, &mut steps);
        self.heed(session);
        if let Err(error) = &ran {
            self.store.writer.write_failed(error);
        }
        if !lease.held.session().in_transaction() {
            // A trigger or OR ROLLBACK has ended it.
            lease.follow(&steps);
            *leased = None;
        }
        Some(ran)
    }

    fn start_reading(
        &self,
        text: &SqlText,
        about: &Description,
        params: &[Cell<'_>],
        take: Take,
        sink: &mut dyn RowSink,
    ) -> Result<(Ran, bool)> {
        self.check_open()?;
        if let Some(own) = &self.own {
            return self.reading(&mut lock(own), |session| {
                let is_kept = session.keep_snapshot();
                self.is_kept.store(is_kept, Ordering::Relaxed);
                let is_done = begin(session, text, params, take, sink)?;
                let ran = self.stand(session, text, Standing::Writer, is_done);
                Ok((ran, is_done))
            });
        }
        let mut leased = lock(&self.lease);
        if let Some(lease) = leased.as_mut() {
            lease.check()?;
            let session = raw(lease.held.session())?;
            let begun = begin(session, text, params, take, sink).map(|is_done| {
                let ran = self.stand(session, text, Standing::Writer, is_done);
                (ran, is_done)
            });
            // SQLite rolls back when a read fails badly enough.
            if !lease.held.session().in_transaction() {
                leased.take();
            }
            return begun;
        }
        let reader = if about.is_of_session || self.reads_at_writer() {
            None
        } else {
            let kept = lock(&self.kept).take();
            kept.map(Ok).or_else(|| self.store.readers.take())
        };
        if let Some(reader) = reader {
            drop(leased);
            let mut reader = reader?;
            let mut is_kept = false;
            let begun = raw(reader.as_mut()).and_then(|session| {
                is_kept = session.keep_snapshot();
                begin(session, text, params, take, sink)
            });
            self.is_kept.store(is_kept, Ordering::Relaxed);
            let is_done = match begun {
                Ok(is_done) => is_done,
                Err(error) => {
                    self.put_back(reader);
                    return Err(error);
                }
            };
            if is_done {
                if is_kept {
                    *lock(&self.kept) = Some(reader);
                } else {
                    self.store.readers.put_back(reader);
                }
                return Ok((self.unchanged(), true));
            }
            lock(&self.standing).insert(text.id, Standing::Reader(reader));
            return Ok((self.unchanged(), false));
        }
        // The writing session is everybody's: it is not kept from them while the caller looks at rows.
        let mut held = self.take_for_reading()?;
        let session = raw(held.session())?;
        let mut kept = KeptRows::default();
        let most = if take.keep { usize::MAX } else { take.most };
        let all = Take { most, keep: false };
        begin(session, text, params, all, &mut kept)?;
        let ran = Ran {
            changes: 0,
            last_insert_rowid: session.last_insert_rowid(),
        };
        drop(held);
        drop(leased);
        Ok((ran, self.give(text, kept, 0, take, sink)))
    }

    /// Whether a snapshot is kept, to be let go of by `let_go` soon.
    pub fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Lets go of the snapshot that reads which follow each other closely share.
    pub fn let_go(&self) {
        self.is_kept.store(false, Ordering::Relaxed);
        if let Some(own) = &self.own {
            let mut own = lock(own);
            if let Some(session) = own.as_mut().and_then(|held| held.session().raw()) {
                session.let_go();
            }
            return;
        }
        let kept = lock(&self.kept).take();
        if let Some(reader) = kept {
            self.put_back(reader);
        }
        if let Some(session) = lock(&self.read_only)
            .as_mut()
            .and_then(|session| session.raw())
        {
            session.let_go();
        }
    }

    /// Gives a reading connection back that may keep a snapshot.
    fn put_back(&self, mut reader: Box<dyn ReadSession>) {
        if let Some(session) = reader.raw() {
            session.let_go();
        }
        self.store.readers.put_back(reader);
    }

    /// What a statement says that changes nothing, where the session it ran on knows nothing of what was inserted.
    fn unchanged(&self) -> Ran {
        Ran {
            changes: 0,
            last_insert_rowid: self.last_insert_rowid.load(Ordering::Relaxed),
        }
    }

    fn start_read_only(
        &self,
        text: &SqlText,
        about: &Description,
        params: &[Cell<'_>],
        take: Take,
        sink: &mut dyn RowSink,
    ) -> Result<(Ran, bool)> {
        self.on_read_only(|session| {
            let session = raw(session)?;
            if about.kind != StatementKind::Reads {
                session.let_go();
                let mut kept = KeptRows::default();
                let ran = session.run_plain(text, params, &mut kept)?;
                return Ok((ran, self.give(text, kept, 0, take, sink)));
            }
            let is_kept = session.keep_snapshot();
            self.is_kept.store(is_kept, Ordering::Relaxed);
            let is_done = begin(session, text, params, take, sink)?;
            let ran = self.stand(session, text, Standing::ReadOnly, is_done);
            Ok((ran, is_done))
        })
    }

    /// Remembers where a statement stands, unless it has ended.
    fn stand(
        &self,
        session: &dyn RawSession,
        text: &SqlText,
        standing: Standing,
        is_done: bool,
    ) -> Ran {
        if !is_done {
            lock(&self.standing).insert(text.id, standing);
        }
        Ran {
            changes: 0,
            last_insert_rowid: session.last_insert_rowid(),
        }
    }

    /// Gives rows that have been read, from a place on; true if these were the last.
    fn give(
        &self,
        text: &SqlText,
        kept: KeptRows,
        from: usize,
        take: Take,
        sink: &mut dyn RowSink,
    ) -> bool {
        sink.columns(kept.shape, &|| kept.columns.clone());
        let next = kept.rows.iter().skip(from).take(take.most.min(sink.room()));
        let given = next.map(|row| sink.row(row)).count();
        let is_done = from + given >= kept.rows.len() || !take.keep;
        if !is_done {
            lock(&self.standing).insert(text.id, Standing::Kept(kept, from + given));
        }
        is_done
    }

    /// The next rows of a statement that was begun; true if they were the last.
    pub fn more(&self, text: &SqlText, most: usize, sink: &mut dyn RowSink) -> Result<bool> {
        self.check_open()?;
        let Some(standing) = lock(&self.standing).remove(&text.id) else {
            return Err(StoreError::closed());
        };
        let standing = match standing {
            Standing::Kept(kept, from) => {
                return Ok(self.give(text, kept, from, Take { most, keep: true }, sink));
            }
            Standing::Reader(mut reader) => {
                let fetched =
                    raw(reader.as_mut()).and_then(|session| session.fetch(text, most, sink));
                if matches!(fetched, Ok(false)) {
                    Standing::Reader(reader)
                } else {
                    self.put_back(reader);
                    return fetched;
                }
            }
            Standing::ReadOnly => {
                if self.on_read_only(|session| raw(session)?.fetch(text, most, sink))? {
                    return Ok(true);
                }
                Standing::ReadOnly
            }
            Standing::Writer => {
                if self.own.is_none() && lock(&self.lease).is_none() {
                    return Err(StoreError::new(
                        Code::SqlError,
                        "the transaction in which the statement was begun has ended",
                    ));
                }
                if self.on_writing_session(|session| session.fetch(text, most, sink))? {
                    return Ok(true);
                }
                Standing::Writer
            }
        };
        lock(&self.standing).insert(text.id, standing);
        Ok(false)
    }

    /// Ends a statement before its last row.
    pub fn leave(&self, text: &SqlText) {
        let standing = lock(&self.standing).remove(&text.id);
        match standing {
            Some(Standing::Reader(mut reader)) => {
                if let Some(session) = reader.raw() {
                    session.leave(text);
                }
                self.put_back(reader);
            }
            // A handle that is closed has let go of its sessions, and one without a transaction of its writer.
            Some(Standing::ReadOnly) => {
                let _ = self.on_read_only(|session| {
                    raw(session)?.leave(text);
                    Ok(())
                });
            }
            Some(Standing::Writer) if self.own.is_some() || self.in_transaction() => {
                let _ = self.on_writing_session(|session| {
                    session.leave(text);
                    Ok(())
                });
            }
            Some(Standing::Writer | Standing::Kept(..)) | None => {}
        }
    }

    /// Ends a statement that nobody will use any more. Where a reading connection of the pool has prepared it, newer ones take
    /// its place in time.
    pub fn forget(&self, text: &SqlText) {
        self.leave(text);
        if let Some(own) = &self.own {
            if let Some(session) = lock(own).as_mut().and_then(|held| held.session().raw()) {
                session.forget(text);
            }
            return;
        }
        if let Some(session) = lock(&self.lease)
            .as_mut()
            .and_then(|lease| lease.held.session().raw())
        {
            session.forget(text);
        }
        if let Some(session) = lock(&self.read_only)
            .as_mut()
            .and_then(|session| session.raw())
        {
            session.forget(text);
        }
        if let Some(session) = lock(&self.kept).as_mut().and_then(|session| session.raw()) {
            session.forget(text);
        }
    }

    /// Runs a script.
    pub fn run_script(&self, side: Side, script: &str) -> Result<()> {
        if side == Side::Reading {
            return self.on_session(side, |session| session.run_script(script));
        }
        self.on_writer(script, |session, wait, steps| {
            session.execute_script(script, wait, steps)
        })
    }

    fn on_own<T>(
        &self,
        own: &Mutex<Option<Held>>,
        run: impl FnOnce(&mut dyn WriteSession, &mut LockWait<'_>, &mut Vec<Step>) -> Result<T>,
    ) -> Result<T> {
        let mut own = lock(own);
        let session = own.as_mut().ok_or_else(StoreError::closed)?.session();
        if let Some(session) = session.raw() {
            session.let_go();
        }
        let mut start = None;
        let mut waited = Waited::default();
        let mut until = |step: &mut Attempt<'_>| {
            let start = *start.get_or_insert_with(Instant::now);
            self.wait_for(step, start, &mut waited)
        };
        let result = run(
            session,
            &mut LockWait { until: &mut until },
            &mut Vec::new(),
        );
        self.heed(session);
        if !session.in_transaction() {
            self.store.writer.file_lock.leave();
        }
        result
    }

    /// Waits for the write lock with a statement of the caller's.
    fn wait_for(&self, step: &mut Attempt<'_>, start: Instant, waited: &mut Waited) -> Result<()> {
        let mut step = || {
            step().map_err(|error| {
                if error.failure == Failure::Transient && !is_lock_of_others(&error) {
                    error.failure(Failure::Permanent)
                } else {
                    error
                }
            })
        };
        self.wait(Urgency::Live, &mut step, start, waited)
    }

    /// Takes over what a statement has changed about the session.
    fn heed(&self, session: &mut dyn WriteSession) {
        let Some(raw) = session.raw() else { return };
        let has_own_state = raw.has_own_state();
        self.store
            .reads_at_writer
            .store(has_own_state, Ordering::Relaxed);
        self.last_insert_rowid
            .store(raw.last_insert_rowid(), Ordering::Relaxed);
        if raw.has_attached() {
            HAS_OTHER_FILES.store(true, Ordering::Relaxed);
        }
        if let Some(milliseconds) = raw.take_busy_timeout_ms() {
            *lock(&self.busy_timeout_ms) = milliseconds;
        }
    }

    fn on_writer<T: Default>(
        &self,
        sql: &str,
        run: impl FnOnce(&mut dyn WriteSession, &mut LockWait<'_>, &mut Vec<Step>) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        if let Some(own) = &self.own {
            return self.on_own(own, run);
        }
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
        let mut until = |step: &mut Attempt<'_>| self.wait_for(step, start, &mut waited);
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
        self.heed(lease.held.session());
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

/// What the raw handle does on a session.
pub(super) fn raw(session: &mut dyn ReadSession) -> Result<&mut dyn RawSession> {
    session
        .raw()
        .ok_or_else(|| StoreError::new(Code::SqliteOnly, "the raw handle is there for SQLite only"))
}

/// Whether waiting helps. It does not where what is in the way is on the same session: an iterator of the caller's.
fn is_lock_of_others(error: &StoreError) -> bool {
    error.failure == Failure::Transient && error.sqlite_code.as_deref() != Some("SQLITE_LOCKED")
}

/// Begins a statement that reads, and gives its first rows; true if it stands nowhere after that.
fn begin(
    session: &mut dyn RawSession,
    text: &SqlText,
    params: &[Cell<'_>],
    take: Take,
    sink: &mut dyn RowSink,
) -> Result<bool> {
    if !take.keep {
        return session
            .first_rows(text, params, take.most, sink)
            .map(|()| true);
    }
    session.begin_rows(text, params)?;
    session.fetch(text, take.most, sink)
}

/// Whether a statement begins a transaction, for all that its first word tells.
fn begins(sql: &str) -> bool {
    let sql = sql.trim_start();
    ["BEGIN", "SAVEPOINT"].iter().any(|word| {
        sql.get(..word.len())
            .is_some_and(|first| first.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
impl Handle {
    /// Runs a statement with its parameters by place to its end.
    pub fn execute(&self, statement: &Statement) -> Result<StatementResult> {
        let params: Vec<Cell<'_>> = statement.params.positional.iter().map(Cell::from).collect();
        let mut kept = KeptRows::default();
        let text = SqlText::new(statement.sql.as_str());
        let ran = self.on_writer(&text.sql, |session, wait, steps| {
            session.execute(&text, &params, &mut kept, wait, steps)
        })?;
        Ok(StatementResult {
            columns: kept.columns,
            rows: kept.rows,
            changes: ran.changes,
            last_insert_rowid: ran.last_insert_rowid,
        })
    }

    pub fn execute_script(&self, script: &str) -> Result<()> {
        self.run_script(Side::Writing, script)
    }
}
