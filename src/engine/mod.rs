//! The seam between the store and a database: one engine opens sessions, a session reads or writes. Object-safe
//! and blocking; waiting for locks, grouping and retrying are the writer's, so that every engine gets them alike.

#[cfg(test)]
pub mod fake;
pub mod sqlite;
#[cfg(test)]
mod suite;

use std::path::PathBuf;

use crate::candle::{CandleSink, ReadRows, Rows, TimeRange};
use crate::error::Result;
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult, Value};

/// A database that sessions can be opened on.
pub trait Engine: Send + Sync {
    /// Opens the session that writes. There is one at a time in a process.
    fn open_writer(&self) -> Result<Box<dyn WriteSession>>;

    /// Opens a session that only reads; `None` where the writing session is the only one there can be.
    fn open_reader(&self) -> Option<Result<Box<dyn ReadSession>>>;

    /// What people call the database, for messages.
    fn name(&self) -> &str;

    /// The process that holds the write lock, where that can be known.
    fn lock_holder(&self) -> Option<u32>;

    /// Other processes that have the database open and may write it; `None` when nobody can tell, 0 for one that has no
    /// number here.
    fn other_writers(&self) -> Option<Vec<u32>>;

    /// The file of the database, beside which the processes that write it line up; `None` where there is none.
    fn file(&self) -> Option<PathBuf>;

    /// Opens a session that copies the log of commits into the database; `None` where there is no such log.
    fn open_checkpoint(&self) -> Option<Result<Box<dyn Checkpoint>>>;
}

/// A session that copies the log of commits into the database while others write.
pub trait Checkpoint: Send {
    /// Copies what is in the log when it begins, but for what readers forbid, and brings it to the disk; returns the size of
    /// the log.
    fn checkpoint(&mut self) -> Result<u64>;
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upserted {
    pub inserted: u64,
    pub updated: u64,
    pub unchanged: u64,
}

/// Reading, on a session of either kind.
pub trait ReadSession: Send {
    /// Gives the newest `limit` candles inside `range` to `sink`, oldest first; true if there are older ones inside it.
    fn scan(
        &mut self,
        timeframe: Timeframe,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        sink: &mut dyn CandleSink,
    ) -> Result<bool>;

    /// Fills `rows` with what `scan` gives.
    fn read_candles(
        &mut self,
        timeframe: Timeframe,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        rows: &mut ReadRows,
    ) -> Result<bool> {
        rows.clear();
        self.scan(timeframe, symbol, range, limit, rows)
    }

    /// What the newest commit on the database is, whoever made it; `None` where that cannot be told without reading, or
    /// not at this moment. What a session reads after it has seen a state contains that commit.
    fn commit_state(&mut self) -> Option<CommitState>;

    /// The newest time of a series; NULL when it has none, and whatever a foreign row holds.
    fn last_time(&mut self, timeframe: Timeframe, symbol: &str) -> Result<Value>;

    /// Rows of each timeframe's table in one snapshot, and the data version that belongs to it; a missing table
    /// counts 0. `go_on` is asked when the snapshot is taken, before anything is counted.
    fn counts(
        &mut self,
        timeframes: &[Timeframe],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(i64, Vec<u64>)>;

    /// A number that changes when another session has committed; not when this one has.
    fn data_version(&mut self) -> Result<i64>;

    /// Runs a statement that only reads.
    fn query(&mut self, statement: &Statement, most_rows: Option<usize>)
    -> Result<StatementResult>;

    /// Whether a transaction is open on this session.
    fn in_transaction(&self) -> bool;

    /// Runs the statements of a script that only read, or control this session's own transaction.
    fn query_script(&mut self, script: &str) -> Result<()>;

    /// What a statement is, without running it.
    fn describe(&mut self, sql: &str) -> Result<Description>;

    /// The newest row of every series, in the order of timeframe and symbol, packed as `read_candles` packs.
    fn newest(&mut self, timeframes: &[Timeframe]) -> Result<Vec<NewestCandle>>;

    /// Runs one statement that only reads, and refuses every other: `INVALID_SQL`.
    fn query_only(
        &mut self,
        statement: &Statement,
        most_rows: Option<usize>,
    ) -> Result<StatementResult>;

    /// Runs several reads on one state of the database.
    fn snapshot(&mut self, read: &mut dyn FnMut(&mut dyn ReadSession) -> Result<()>) -> Result<()>;

    /// Every series of a timeframe in the order of symbol; a missing table has none.
    fn series(&mut self, timeframe: Timeframe) -> Result<Vec<SeriesEnds>>;

    /// Candles of one series.
    fn count_series(&mut self, timeframe: Timeframe, symbol: &str) -> Result<u64>;

    /// What interrupts, from another thread, whatever this session runs at that moment.
    fn interrupter(&self) -> Box<dyn Interrupter>;

    /// From here on `stop` is asked every so often while something runs, and ends it by saying yes: `ABORTED`.
    fn stop_when(&mut self, stop: Option<Stop>);
}

/// Ends what a session runs.
pub trait Interrupter: Send + Sync {
    /// What runs fails with `ABORTED`; where nothing runs, nothing happens.
    fn interrupt(&self);
}

/// Whether what a session runs is to be ended.
pub type Stop = Box<dyn FnMut() -> bool + Send>;

/// A series with its first and last time: NULL, or whatever a foreign row holds, where they are no numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEnds {
    pub symbol: String,
    pub first: Value,
    pub last: Value,
}

/// One series as it is listed, counted or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub timeframe: Timeframe,
    pub ends: SeriesEnds,
    pub count: Option<u64>,
}

/// The newest candle of one series.
#[derive(Debug, Clone)]
pub struct NewestCandle {
    pub timeframe: Timeframe,
    pub symbol: String,
    pub row: ReadRows,
}

/// What a statement is, without running it.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// It gives rows.
    pub reader: bool,
    /// It cannot change the database.
    pub read_only: bool,
}

/// A commit, told from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitState {
    /// One more with each commit; it starts over after some.
    pub number: u32,
    /// What else is known of it.
    pub head: [u32; 12],
}

/// Candles of one series that a transaction may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub timeframe: Timeframe,
    pub symbol: Box<str>,
    /// Oldest and newest time.
    pub from: i64,
    pub to: i64,
    /// How many were written or deleted.
    pub rows: u64,
    pub is_deleted: bool,
}

/// Changes of the candle tables in one transaction, by the place of the timeframe in the options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    pub added: Vec<i64>,
    /// Statements of the caller's own may have changed candle tables in ways that were not counted.
    pub uncounted: bool,
    /// Somebody else had committed since this session's last transaction began.
    pub foreign: bool,
    /// What was changed by the store's own writes.
    pub touched: Vec<Touched>,
    /// The newest commit when this one's transaction held the lock, and just after this one, which may have written
    /// nothing.
    pub before: Option<CommitState>,
    pub after: Option<CommitState>,
    pub has_written: bool,
}

/// What a statement of the raw handle has done to the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Committed(Committed),
    RolledBack,
    /// A savepoint was set; names are lower-case and without quotes.
    Savepoint(String),
    /// Everything since the savepoint was undone.
    RolledBackTo(String),
    /// The savepoint, and every later one, is no more.
    Released(String),
}

/// The session that writes.
pub trait WriteSession: ReadSession {
    /// One try to begin a transaction that holds the write lock; a lock that is taken is a `Transient` failure.
    fn try_begin(&mut self) -> Result<()>;

    /// Inserts or replaces candles of one series inside the open transaction.
    fn upsert(&mut self, timeframe: Timeframe, symbol: &str, rows: Rows<'_>) -> Result<Upserted>;

    /// Deletes the candles inside a range; returns how many there were.
    fn delete(&mut self, timeframe: Timeframe, symbol: &str, range: TimeRange) -> Result<u64>;

    /// Runs one statement of the caller's.
    fn run(&mut self, statement: &Statement, most_rows: Option<usize>) -> Result<StatementResult>;

    /// Runs one statement of the raw handle in whatever state the session is; outside a transaction a write takes
    /// the lock by `wait` and is committed. What this does to transactions is added to `steps`, also when it fails.
    fn execute(
        &mut self,
        statement: &Statement,
        most_rows: Option<usize>,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<StatementResult>;

    /// Runs the statements of a script one after the other, each as `execute` would.
    fn execute_script(
        &mut self,
        script: &str,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<()>;

    fn commit(&mut self) -> Result<Committed>;

    /// Ends a transaction without its changes; never fails as seen from outside: a session that cannot roll back
    /// is to be dropped, which `in_transaction` tells.
    fn rollback(&mut self);

    /// Whether a statement is a rollback, the only thing that a transaction which cannot be committed accepts.
    fn rolls_back(&self, sql: &str) -> bool;

    /// Whether commits of others are known to have happened since the last own transaction began.
    fn foreign_commits(&mut self) -> Result<bool>;

    /// The size of the log of commits after this session's last one; 0 where there is none.
    fn log_bytes(&self) -> u64;

    /// Whether the storage takes a write: commits something that changes nothing. Fails as a write would.
    fn probe(&mut self) -> Result<()>;
}

/// How a statement of the caller's is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Cannot change anything: needs no lock.
    Reads,
    /// Changes data or schema: needs the write lock.
    Writes,
    /// BEGIN in any form, or a SAVEPOINT outside a transaction.
    Begins,
    /// COMMIT, END, ROLLBACK, RELEASE, inner SAVEPOINT.
    Controls,
    /// PRAGMA, ATTACH, DETACH, VACUUM: cannot be put into a transaction of ours.
    Unwrapped,
}

/// An attempt at something that needs a lock; it fails with a `Transient` failure while somebody else has it.
pub type Attempt<'s> = dyn FnMut() -> Result<()> + 's;

/// Waiting for the write lock, as the caller of a session does it: the same step is tried until it succeeds, fails
/// for another reason than a lock, or the caller's time is over.
pub struct LockWait<'a> {
    pub until: &'a mut dyn FnMut(&mut Attempt<'_>) -> Result<()>,
}

impl LockWait<'_> {
    /// Begins a transaction on the session.
    pub fn begin(&mut self, session: &mut dyn WriteSession) -> Result<()> {
        (self.until)(&mut || session.try_begin())
    }

    /// Runs a step that takes its locks itself.
    pub fn step(&mut self, step: &mut Attempt<'_>) -> Result<()> {
        (self.until)(step)
    }
}
