//! The seam between the store and a database: one engine opens sessions, a session reads or writes. Object-safe
//! and blocking; waiting for locks, grouping and retrying are the writer's, so that every engine gets them alike.

#[cfg(test)]
pub mod fake;
mod held_names;
pub mod sqlite;
#[cfg(test)]
mod suite;

use std::path::{Path, PathBuf};

use crate::candle::{CandleSink, ReadRows, Rows, TimeRange};
use crate::error::Result;
use crate::rows::{Cell, RowSink, SqlText};
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

    /// One try to take a name, which has one holder at a time among all that use the database; the database is not written.
    fn take_name(&self, name: &str) -> Result<Taking>;
}

/// What a try to take a name came to.
pub enum Taking {
    Taken(Box<dyn NameHold>),
    /// Somebody else has it, and is told when it gives it back that it was asked for, as far as that is possible.
    Held {
        /// The process that has it, which may be this one, where that can be known.
        by: Option<u32>,
    },
}

/// A name that is held. It is free again when this is given back or dropped, and when the process dies.
pub trait NameHold: Send {
    /// Gives the name back; whether somebody has asked for it meanwhile.
    fn give_back(self: Box<Self>) -> bool;
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

    /// Whether a transaction is open on this session.
    fn in_transaction(&self) -> bool;

    /// The raw handle's way to this session; `None` where the database has no such handle.
    fn raw(&mut self) -> Option<&mut dyn RawSession>;

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

/// What the raw handle does on a session beyond writing: the caller's own statements, prepared.
pub trait RawSession {
    /// Prepares a statement, and tells what it is.
    fn describe(&mut self, text: &SqlText) -> Result<Description>;

    /// Where the columns of a statement's rows come from.
    fn origins(&mut self, text: &SqlText) -> Result<Vec<ColumnOrigin>>;

    /// A statement's text with values in the places of its parameters.
    fn expanded(&mut self, text: &SqlText, params: &[Cell<'_>]) -> Result<String>;

    /// Begins to run a statement that only reads, in whatever state the session is. It holds its snapshot until `fetch` has
    /// given its last row, `leave` is called or it fails.
    fn begin_rows(&mut self, text: &SqlText, params: &[Cell<'_>]) -> Result<()>;

    /// Runs a statement that only reads, gives its first rows, at most so many, and ends it.
    fn first_rows(
        &mut self,
        text: &SqlText,
        params: &[Cell<'_>],
        most: usize,
        sink: &mut dyn RowSink,
    ) -> Result<()>;

    /// Before a read outside a transaction: sees to it that it reads the newest commit, and keeps that snapshot for the next
    /// read if they follow each other closely; true if one is kept, which is to be let go of soon.
    fn keep_snapshot(&mut self) -> bool;

    /// Lets go of a snapshot that is kept.
    fn let_go(&mut self);

    /// Gives the next rows of a statement that was begun, at most so many; true if they were the last.
    fn fetch(&mut self, text: &SqlText, most: usize, sink: &mut dyn RowSink) -> Result<bool>;

    /// Ends a statement before its last row.
    fn leave(&mut self, text: &SqlText);

    /// Ends a statement that nobody will use any more.
    fn forget(&mut self, text: &SqlText);

    /// Ends every statement that stands on a row.
    fn leave_all(&mut self);

    /// Runs a statement on a session that only reads or that nobody shares: it is not put into a transaction.
    fn run_plain(
        &mut self,
        text: &SqlText,
        params: &[Cell<'_>],
        sink: &mut dyn RowSink,
    ) -> Result<Ran>;

    /// Runs the statements of a script in the same way.
    fn run_script(&mut self, script: &str) -> Result<()>;

    /// The first statement of a text, without the white space before it, and what is behind it; `None` where there
    /// is none.
    fn first_statement<'t>(&mut self, text: &'t str) -> Result<Option<(&'t str, &'t str)>>;

    fn last_insert_rowid(&self) -> i64;

    /// Whether what the caller reads depends on this very session: temporary objects, attached databases, changed pragmas.
    fn has_own_state(&mut self) -> bool;

    /// How long a statement is to wait for a lock, if a pragma has set it since this was last asked.
    fn take_busy_timeout_ms(&mut self) -> Option<f64>;

    /// Whether it has attached another database.
    fn has_attached(&self) -> bool;

    /// The bytes of a database file that holds what this session sees of `schema`.
    fn serialize(&mut self, schema: &str) -> Result<Vec<u8>>;

    /// Begins to copy what this session sees of `schema` into a file; there is one copy at a time with a number.
    fn begin_backup(&mut self, number: u64, schema: &str, target: &Path) -> Result<()>;

    /// Copies so many pages, all if negative.
    fn step_backup(&mut self, number: u64, pages: i32) -> Result<Progress>;

    /// Ends a copy.
    fn end_backup(&mut self, number: u64);

    /// Lets the caller do what may damage the file, or no longer.
    fn set_defensive(&mut self, defensive: bool) -> Result<()>;
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub total_pages: u32,
    pub remaining_pages: u32,
    /// The target was locked by somebody else.
    pub is_held_up: bool,
}

/// Where a column of a result comes from; what is no column of a table has a name only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnOrigin {
    pub name: Option<String>,
    pub column: Option<String>,
    pub table: Option<String>,
    pub database: Option<String>,
    pub kind: Option<String>,
}

/// What a statement is, without running it.
#[derive(Debug, Clone)]
pub struct Description {
    pub kind: StatementKind,
    /// It gives rows.
    pub reader: bool,
    /// It makes no direct change to the file, as SQLite tells: true also for BEGIN and COMMIT.
    pub read_only: bool,
    /// What it reads depends on the session that runs it, whatever that session's state is.
    pub is_of_session: bool,
    /// Names of the parameters by place, without their sign; none for `?`.
    pub parameters: Vec<Option<String>>,
}

/// What a statement of the raw handle did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    pub changes: u64,
    pub last_insert_rowid: i64,
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
        text: &SqlText,
        params: &[Cell<'_>],
        sink: &mut dyn RowSink,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<Ran>;

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

    /// Writes something inside the open transaction that changes nothing.
    fn rewrite(&mut self) -> Result<()>;

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
