//! SQLite behind the engine's seam: where a database is, how its file is checked and made ready, and how
//! connections to it are opened and set up. What a connection does is in `session`.

mod backup;
mod checkpoint;
mod exclusive;
mod failure;
mod guard;
mod hold;
mod holder;
mod pragma;
mod prepared;
mod query;
mod raw;
mod raw_session;
mod scan;
#[cfg(test)]
mod scan_tests;
mod schema;
mod session;
mod space;
mod statement;
#[cfg(test)]
mod tests;
mod wal_index;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use self::exclusive::Names;
use self::failure::store_error;
use self::schema::TableSql;
use self::session::Session;
use super::{Checkpoint, Engine, ReadSession, Taking, WriteSession};
use crate::error::{Code, Failure, Result, StoreError};
use crate::options::{Options, Synchronous, TempStore};

/// The first SQLite without the WAL-reset race, in which two connections that write and checkpoint at the same
/// instant can lose commits (https://www.sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// Page size of new files: see the measurements in ARCHITECTURE.md.
const PAGE_SIZE: u32 = 8192;
/// What is left of a WAL file when it is started over.
const KEPT_WAL_BYTES: u32 = 10_000 * 4_096;
/// Pause between tries while another process sets the same file up.
const SETUP_PAUSE: Duration = Duration::from_millis(1);

/// A database in a file or in memory.
pub struct Sqlite {
    location: Location,
    name: String,
    options: Options,
    tables: Arc<[TableSql]>,
    without_rowid: OnceCell<Vec<bool>>,
    is_alone: bool,
    names: Names,
}

enum Location {
    File(PathBuf),
    Memory,
    /// A file without a name that goes with its connection.
    Temporary,
    /// In memory, with what the bytes of a file say.
    Bytes(Vec<u8>),
}

/// A database that one caller has to itself.
pub enum Alone<'a> {
    File(&'a Path),
    Memory,
    Temporary,
    Bytes(Vec<u8>),
}

impl Sqlite {
    /// Checks a file and makes it ready: folder, kind of file, journal mode and tables. Nothing is written where
    /// nothing differs; several processes may do this to one file at the same instant.
    pub fn open_file(path: &Path, options: &Options) -> Result<Self> {
        check_version()?;
        guard::check_path(path, options)?;
        let engine = Self::new(
            Location::File(path.to_owned()),
            path.display().to_string(),
            options,
        );
        let found = engine.retry(|| engine.prepare_file(path))?;
        let _ = engine.without_rowid.set(found);
        engine.names.find_database();
        Ok(engine)
    }

    /// A database of its own in memory. Its one connection reads and writes.
    pub fn open_memory(options: &Options) -> Result<Self> {
        check_version()?;
        Ok(Self::new(Location::Memory, ":memory:".to_owned(), options))
    }

    /// A database of one caller's own, in whatever journal mode it is: nothing is looked at, and nothing made in it. Its
    /// session opens it.
    pub fn open_alone(database: Alone<'_>, options: &Options) -> Self {
        let location = match database {
            Alone::File(path) => Location::File(path.to_owned()),
            Alone::Memory => Location::Memory,
            Alone::Temporary => Location::Temporary,
            Alone::Bytes(bytes) => Location::Bytes(bytes),
        };
        let name = match &location {
            Location::File(path) => path.display().to_string(),
            _ => ":memory:".to_owned(),
        };
        Self {
            is_alone: true,
            ..Self::new(location, name, options)
        }
    }

    fn new(location: Location, name: String, options: &Options) -> Self {
        let tables = options
            .timeframes
            .iter()
            .map(|timeframe| TableSql::new(*timeframe))
            .collect();
        let names = match &location {
            Location::File(path) => Names::beside(path),
            _ => Names::of_this_process(),
        };
        Self {
            location,
            name,
            names,
            options: options.clone(),
            tables,
            without_rowid: OnceCell::new(),
            is_alone: false,
        }
    }

    /// Runs `attempt` until it succeeds, fails for good or `busyTimeoutMs` have passed.
    fn retry<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        // Opening waits at least a second: it is needed once, and others set the file up within milliseconds.
        let limit = Duration::from_secs_f64(self.options.busy_timeout_ms.max(1_000.0) / 1_000.0);
        loop {
            match attempt() {
                Err(error) if error.failure == Failure::Transient && start.elapsed() < limit => {
                    thread::sleep(SETUP_PAUSE)
                }
                done => return done,
            }
        }
    }

    fn prepare_file(&self, path: &Path) -> Result<Vec<bool>> {
        let what = format!("cannot open {}", path.display());
        let told = |error: rusqlite::Error| store_error(&what, &error);
        let look = |connection: &Connection| {
            schema::look(connection, &self.options.timeframes).map_err(told)
        };
        let exists = path.exists();
        if exists {
            let connection = self
                .connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
                .map_err(told)?;
            let found = look(&connection).map_err(|error| self.cannot_share(error))?;
            if self.options.read_only || (found.is_wal && found.missing.is_empty()) {
                return Ok(found.without_rowid);
            }
        }
        let connection = self
            .connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(told)?;
        let found = look(&connection)?;
        if !found.is_wal {
            // Without effect unless the file is still empty.
            connection
                .pragma_update(None, "page_size", PAGE_SIZE)
                .map_err(told)?;
            let mode: String = connection
                .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
                .map_err(told)?;
            if !mode.eq_ignore_ascii_case("wal") {
                return Err(StoreError::new(
                    Code::IoError,
                    format!(
                        "{what}: its file system has no shared memory, which the write-ahead log needs (journal mode stayed {mode:?})"
                    ),
                ));
            }
        }
        if !found.missing.is_empty() {
            connection.execute_batch("BEGIN IMMEDIATE").map_err(told)?;
            schema::create(&connection, &found.missing).map_err(told)?;
            connection.execute_batch("COMMIT").map_err(told)?;
        }
        look(&connection).map(|found| found.without_rowid)
    }

    /// SQLite says "readonly" when it cannot make the files that readers of a WAL share.
    fn cannot_share(&self, error: StoreError) -> StoreError {
        if !matches!(error.code, Code::ReadOnly | Code::Permission) {
            return error;
        }
        let message = format!(
            "cannot read {}: its -wal and -shm files are not there and cannot be made in its folder, which reading a \
             database in WAL mode needs; give the process write permission on the folder, or keep a writer running",
            self.name
        );
        StoreError {
            code: Code::Permission,
            message,
            ..error
        }
    }

    fn connect(&self, access: OpenFlags) -> rusqlite::Result<Connection> {
        // One thread at a time uses a connection, so SQLite's own mutexes would only cost.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = match &self.location {
            Location::File(path) => Connection::open_with_flags(path, flags)?,
            Location::Memory => Connection::open_in_memory_with_flags(flags)?,
            Location::Temporary => Connection::open_with_flags("", flags)?,
            Location::Bytes(bytes) => {
                let writable =
                    (flags - OpenFlags::SQLITE_OPEN_READ_ONLY) | OpenFlags::SQLITE_OPEN_READ_WRITE;
                let connection = Connection::open_in_memory_with_flags(writable)?;
                backup::deserialize(&connection, bytes, self.options.read_only)?;
                connection
            }
        };
        connection.busy_timeout(Duration::ZERO)?;
        connection.set_prepared_statement_cache_capacity(128);
        // A text in double quotes is a name and nothing else (https://www.sqlite.org/quirks.html#dblquote).
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        if !self.is_alone {
            session::keep_wal(&connection);
        }
        Ok(connection)
    }

    /// The session of a database that is one caller's own.
    fn open_own(&self) -> Result<Box<dyn WriteSession>> {
        let told =
            |error: rusqlite::Error| store_error(&format!("cannot open {}", self.name), &error);
        let access = if self.options.read_only {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else if self.options.file_must_exist {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let connection = self.connect(access).map_err(told)?;
        self.names.find_database();
        let mut session = Session::new(connection, self.tables.clone(), Vec::new());
        session.is_alone = true;
        session.is_read_only = self.options.read_only;
        session.default_timeout_ms = self.options.busy_timeout_ms;
        Ok(Box::new(session))
    }

    fn set_up(&self, connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
        connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
        let temp_store = match self.options.temp_store {
            TempStore::Memory => "MEMORY",
            TempStore::File => "FILE",
        };
        connection.pragma_update(None, "temp_store", temp_store)
    }

    fn open_reading(&self) -> Result<Box<dyn ReadSession>> {
        let told = |error: rusqlite::Error| {
            store_error(&format!("cannot open a reader on {}", self.name), &error)
        };
        let connection = self
            .connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(told)?;
        // Readers wait only where SQLite locks them out: recovery after a kill, and the last closer's clean-up.
        connection
            .busy_timeout(Duration::from_secs_f64(
                self.options.busy_timeout_ms / 1_000.0,
            ))
            .map_err(told)?;
        // The writer has half of the cache; the readers, at most maxReaders and one that counts, share the other.
        let share = self.options.cache_size_kib / 2 / (self.options.max_readers as u32 + 1);
        self.set_up(&connection, share.max(64)).map_err(told)?;
        Ok(Box::new(Session::new(
            connection,
            self.tables.clone(),
            self.without_rowid(),
        )))
    }

    fn open_writing(&self) -> Result<Box<dyn WriteSession>> {
        let told = |error: rusqlite::Error| {
            store_error(&format!("cannot open the writer on {}", self.name), &error).not_written()
        };
        let connection = self
            .connect(OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(told)?;
        self.set_up(&connection, self.options.cache_size_kib / 2)
            .map_err(told)?;
        self.set_synchronous(&connection).map_err(told)?;
        let mut session = Session::new(connection, self.tables.clone(), self.without_rowid());
        session.default_timeout_ms = self.options.busy_timeout_ms;
        let connection = &session.connection;
        if matches!(self.location, Location::Memory) {
            schema::create(connection, &self.options.timeframes).map_err(told)?;
        } else {
            connection
                .query_row(
                    &format!("PRAGMA journal_size_limit = {KEPT_WAL_BYTES}"),
                    [],
                    |_| Ok(()),
                )
                .map_err(told)?;
            session.watch_log().map_err(told)?;
        }
        Ok(Box::new(session))
    }

    fn set_synchronous(&self, connection: &Connection) -> rusqlite::Result<()> {
        let synchronous = match self.options.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)
    }

    fn open_checkpointing(&self) -> Result<Box<dyn Checkpoint>> {
        let told = |error: rusqlite::Error| {
            store_error(
                &format!("cannot open a checkpointer on {}", self.name),
                &error,
            )
        };
        let connection = self
            .connect(OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(told)?;
        self.set_synchronous(&connection).map_err(told)?;
        let checkpointer = checkpoint::Checkpointer::new(connection).map_err(told)?;
        Ok(Box::new(checkpointer))
    }

    fn without_rowid(&self) -> Vec<bool> {
        self.without_rowid
            .get()
            .cloned()
            .unwrap_or_else(|| vec![false; self.tables.len()])
    }
}

impl Engine for Sqlite {
    fn open_writer(&self) -> Result<Box<dyn WriteSession>> {
        if self.is_alone {
            return self.open_own();
        }
        if self.options.read_only {
            return Err(StoreError::new(
                Code::ReadOnly,
                format!(
                    "{} was opened with readOnly: true; open it without to write",
                    self.name
                ),
            )
            .not_written());
        }
        self.retry(|| self.open_writing())
    }

    fn open_reader(&self) -> Option<Result<Box<dyn ReadSession>>> {
        match self.location {
            Location::File(_) => Some(self.retry(|| self.open_reading())),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn lock_holder(&self) -> Option<u32> {
        match &self.location {
            Location::File(path) => holder::write_lock_holder(path),
            _ => None,
        }
    }

    fn other_writers(&self) -> Option<Vec<u32>> {
        match &self.location {
            Location::File(path) => holder::other_writers(path),
            _ => Some(Vec::new()),
        }
    }

    fn file(&self) -> Option<PathBuf> {
        match &self.location {
            Location::File(path) => Some(path.clone()),
            _ => None,
        }
    }

    fn open_checkpoint(&self) -> Option<Result<Box<dyn Checkpoint>>> {
        match self.location {
            // SQLite makes the checkpoints of a session that is alone.
            Location::File(_) if !self.is_alone => Some(self.retry(|| self.open_checkpointing())),
            _ => None,
        }
    }

    fn take_name(&self, name: &str) -> Result<Taking> {
        self.names.take(name)
    }
}

fn check_version() -> Result<()> {
    let version = rusqlite::version_number();
    if version < OLDEST_SQLITE {
        return Err(StoreError::new(
            Code::SqliteTooOld,
            format!(
                "SQLite {} can lose commits when two connections checkpoint at once; 3.51.3 or newer is needed",
                rusqlite::version()
            ),
        ));
    }
    Ok(())
}

/// Turns SQLite's memory statistics off: they cost a global mutex on each allocation and nothing reads them.
/// Takes effect only before the first connection of the process.
pub fn configure_library() {
    static ONCE: OnceCell<()> = OnceCell::new();
    ONCE.get_or_init(|| {
        // SAFETY: called once, before any connection is opened by this library; SQLITE_CONFIG_MEMSTATUS takes one int.
        unsafe {
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0_i32);
        }
    });
}
