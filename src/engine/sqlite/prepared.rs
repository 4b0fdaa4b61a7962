//! The caller's own statements as one connection has prepared them. They stay prepared, the ones used last; each can be run
//! to its end, or be begun and left standing on a row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::os::raw::c_int;

use rusqlite::Connection;

use super::pragma;
use super::raw::{RawStatement, Running};
use super::statement::{control_kind, invalid, names_candles, without_comments};
use crate::engine::{Description, StatementKind};
use crate::error::{Code, Result, StoreError};
use crate::rows::{Cell, RowSink, SqlText};

use super::failure::store_error;

/// Statements kept prepared on a connection.
const MOST: usize = 200;

/// What the words of a text tell about a statement whose rows depend on the connection that runs it.
pub const OF_SESSION: [&str; 3] = ["last_insert_rowid", "changes", "pragma_"];

#[derive(Default)]
pub struct Prepared {
    known: HashMap<u64, Box<Known>, BuildHasherDefault<ByNumber>>,
    /// Counts uses, to tell which statement was used last.
    uses: u64,
}

/// A statement of the caller's.
pub struct Known {
    pub statement: RawStatement,
    pub kind: StatementKind,
    /// It may change candle tables in ways that nobody counts.
    pub names_candles: bool,
    /// It may make or remove temporary objects or attached databases.
    pub changes_objects: bool,
    pub parameters: usize,
    /// Tells other names of columns from these.
    shape: u64,
    reprepared: c_int,
    is_open: bool,
    used: u64,
}

/// Numbers of statements are hashes enough.
#[derive(Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        // The table looks at the topmost bits, too.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

fn told(error: &rusqlite::Error) -> StoreError {
    store_error("the statement failed", error).not_written()
}

/// Prepares a text that must hold one statement and no more.
pub fn prepare_one(connection: &Connection, sql: &str) -> Result<RawStatement> {
    let (statement, length) = RawStatement::prepare_first(connection, sql)
        .map_err(|error| store_error("cannot prepare the statement", &error).not_written())?;
    let Some(statement) = statement else {
        return Err(invalid("the text contains no statement"));
    };
    if without_comments(sql.get(length..).unwrap_or_default()).is_empty() {
        Ok(statement)
    } else {
        Err(invalid(
            "the text contains more than one statement; use exec() or enqueueTransaction()",
        ))
    }
}

fn kind_of(sql: &str, statement: &RawStatement) -> StatementKind {
    if pragma::only_reads(sql) {
        return StatementKind::Reads;
    }
    control_kind(sql).unwrap_or(if statement.is_read_only() {
        StatementKind::Reads
    } else {
        StatementKind::Writes
    })
}

impl Prepared {
    pub fn get(&mut self, connection: &Connection, text: &SqlText) -> Result<&mut Known> {
        self.uses += 1;
        if self.known.len() >= MOST && !self.known.contains_key(&text.id) {
            self.forget_oldest();
        }
        let known = match self.known.entry(text.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Box::new(Known::prepare(connection, &text.sql)?)),
        };
        known.used = self.uses;
        Ok(known)
    }

    fn forget_oldest(&mut self) {
        let closed = self.known.iter().filter(|(_, known)| !known.is_open);
        let oldest = closed.min_by_key(|(_, known)| known.used);
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.known.remove(&number);
        }
    }

    pub fn forget(&mut self, text: &SqlText) {
        self.known.remove(&text.id);
    }

    /// A statement that was begun.
    pub fn open(&mut self, text: &SqlText) -> Option<&mut Known> {
        let known = self.known.get_mut(&text.id)?;
        known.is_open.then_some(known)
    }

    /// Ends every statement that stands on a row.
    pub fn leave_all(&mut self) {
        for known in self.known.values_mut().filter(|known| known.is_open) {
            known.leave();
        }
    }
}

impl Known {
    pub fn prepare(connection: &Connection, sql: &str) -> Result<Self> {
        let statement = prepare_one(connection, sql)?;
        Ok(Self {
            kind: kind_of(sql, &statement),
            names_candles: names_candles(sql),
            changes_objects: changes_objects(sql),
            parameters: statement.parameters().len(),
            shape: shape_of(&statement),
            reprepared: statement.reprepared(),
            statement,
            is_open: false,
            used: 0,
        })
    }

    pub fn describe(&self, sql: &str) -> Description {
        let words = sql.to_ascii_lowercase();
        Description {
            kind: self.kind,
            reader: self.statement.column_count() > 0,
            read_only: self.statement.is_read_only(),
            is_of_session: OF_SESSION.iter().any(|word| words.contains(word)),
            parameters: self.statement.parameters(),
        }
    }

    fn check(&self, params: &[Cell<'_>]) -> Result<()> {
        if params.len() == self.parameters {
            return Ok(());
        }
        let message = format!(
            "the statement takes {} parameters, got {}",
            self.parameters,
            params.len()
        );
        Err(StoreError::new(Code::InvalidArgument, message).not_written())
    }

    /// Runs it until it has given so many rows, or to its end.
    pub fn run(
        &mut self,
        params: &[Cell<'_>],
        mut most: usize,
        sink: &mut dyn RowSink,
    ) -> Result<()> {
        self.check(params)?;
        let (mut shape, mut reprepared) = (self.shape, self.reprepared);
        let mut running = self.statement.start();
        bind_all(&mut running, params)?;
        let mut count = 0;
        while count < most {
            let has_row = running.step().map_err(|error| told(&error))?;
            if count == 0 {
                // Looked at now: the first step prepares a statement anew whose tables have changed.
                look_again(running.row(), &mut shape, &mut reprepared);
                tell(running.row(), shape, sink);
                most = most.min(sink.room());
            }
            if !has_row {
                break;
            }
            sink.row(running.row());
            count += 1;
        }
        drop(running);
        (self.shape, self.reprepared) = (shape, reprepared);
        Ok(())
    }

    /// Begins to run it; what is bound is copied, because rows may be fetched when the caller's values are gone.
    pub fn begin(&mut self, params: &[Cell<'_>]) -> Result<()> {
        self.check(params)?;
        self.is_open = true;
        for (place, value) in params.iter().enumerate() {
            let bound = self.statement.bind_copy(place as c_int + 1, *value);
            bound.map_err(|error| {
                self.leave();
                store_error("cannot bind the parameters", &error)
            })?;
        }
        Ok(())
    }

    /// The next rows, at most so many; true if there are no more, and then it is ended.
    pub fn fetch(&mut self, mut most: usize, sink: &mut dyn RowSink) -> Result<bool> {
        let mut count = 0;
        while count < most {
            let has_row = match self.statement.step() {
                Ok(has_row) => has_row,
                Err(error) => {
                    self.leave();
                    return Err(told(&error));
                }
            };
            if count == 0 {
                look_again(&self.statement, &mut self.shape, &mut self.reprepared);
                tell(&self.statement, self.shape, sink);
                most = most.min(sink.room());
            }
            if !has_row {
                self.leave();
                return Ok(true);
            }
            sink.row(&self.statement);
            count += 1;
        }
        Ok(false)
    }

    pub fn leave(&mut self) {
        self.is_open = false;
        self.statement.clear();
    }

    pub fn expanded(&mut self, params: &[Cell<'_>]) -> Result<String> {
        self.check(params)?;
        let mut running: Running<'_> = self.statement.start();
        bind_all(&mut running, params)?;
        let text = running.row().expanded();
        text.ok_or_else(|| StoreError::new(Code::SqlError, "the statement is too long to be shown"))
    }
}

fn bind_all<'a>(running: &mut Running<'a>, params: &[Cell<'a>]) -> Result<()> {
    for (place, value) in params.iter().enumerate() {
        let bound = running.bind(place as c_int + 1, *value);
        bound.map_err(|error| store_error("cannot bind the parameters", &error))?;
    }
    Ok(())
}

fn changes_objects(sql: &str) -> bool {
    let sql = without_comments(sql).to_ascii_lowercase();
    let begins = |word| sql.starts_with(word);
    // Looking for temporary objects makes SQLite open the database of them, so it is not done in vain.
    begins("create") && sql.contains("temp")
        || begins("drop")
        || begins("attach")
        || begins("detach")
}

fn tell(statement: &RawStatement, shape: u64, sink: &mut dyn RowSink) {
    sink.columns(shape, &|| statement.column_names());
}

fn look_again(statement: &RawStatement, shape: &mut u64, reprepared: &mut c_int) {
    let now = statement.reprepared();
    if now != *reprepared {
        *reprepared = now;
        *shape = shape_of(statement);
    }
}

fn shape_of(statement: &RawStatement) -> u64 {
    let mut hasher = DefaultHasher::new();
    statement.column_names().hash(&mut hasher);
    hasher.finish()
}
