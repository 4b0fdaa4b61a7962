//! A prepared statement without the checks that rusqlite makes for each cell and parameter: reading and writing
//! candles does that a dozen times a row, and it was a third of the time. The caller's own statements use it, too.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::ptr;

use rusqlite::{Connection, ffi};

use crate::engine::ColumnOrigin;
use crate::rows::{Cell, Row};
use crate::value::Value;

/// A statement that its session keeps prepared. It must be dropped before the connection it was prepared on, which
/// the order of the fields of `Session` sees to.
pub struct RawStatement(*mut ffi::sqlite3_stmt);

// SAFETY: a statement may be used by any thread as long as one at a time does (SQLITE_OPEN_NOMUTEX), which `&mut
// self` ensures, together with the session that owns both statement and connection.
unsafe impl Send for RawStatement {}

/// A statement that is being run; when dropped it is reset, so that it holds no lock, and forgets its parameters.
pub struct Running<'a>(&'a mut RawStatement);

fn failure(connection: *mut ffi::sqlite3, code: c_int) -> rusqlite::Error {
    // SAFETY: the connection is open; the message is copied before anything else is done with it.
    let message = unsafe { owned_text(ffi::sqlite3_errmsg(connection)) };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), message)
}

/// A text that SQLite owns.
///
/// # Safety
/// `text` is null or a NUL-terminated string that stays as it is during the call.
unsafe fn owned_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

impl RawStatement {
    pub fn prepare(connection: &Connection, sql: &str) -> rusqlite::Result<Self> {
        match Self::prepare_first(connection, sql)? {
            (Some(statement), _) => Ok(statement),
            (None, _) => Err(rusqlite::Error::InvalidQuery),
        }
    }

    /// Prepares the first statement of a text, and tells how long it is; none where the text holds no statement.
    pub fn prepare_first(
        connection: &Connection,
        sql: &str,
    ) -> rusqlite::Result<(Option<Self>, usize)> {
        let mut statement = ptr::null_mut();
        let mut rest = ptr::null();
        let length = c_int::try_from(sql.len()).unwrap_or(c_int::MAX);
        // SAFETY: the connection is open, the text is given with its length, and the pointers are written once.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                connection.handle(),
                sql.as_ptr().cast::<c_char>(),
                length,
                ffi::SQLITE_PREPARE_PERSISTENT,
                &raw mut statement,
                &raw mut rest,
            )
        };
        if code != ffi::SQLITE_OK {
            // SAFETY: as above.
            return Err(failure(unsafe { connection.handle() }, code));
        }
        let taken = (rest as usize).saturating_sub(sql.as_ptr() as usize);
        Ok(((!statement.is_null()).then_some(Self(statement)), taken))
    }

    /// Begins a run; parameters are bound next.
    pub fn start(&mut self) -> Running<'_> {
        Running(self)
    }

    fn check(&self, code: c_int) -> rusqlite::Result<()> {
        if code == ffi::SQLITE_OK {
            return Ok(());
        }
        // SAFETY: the statement is alive, so its connection is.
        Err(failure(unsafe { ffi::sqlite3_db_handle(self.0) }, code))
    }

    /// Binds a value that SQLite copies, unless `lives_on` promises that it stays where it is until `clear`.
    fn bind_value(
        &mut self,
        place: c_int,
        value: Cell<'_>,
        lives_on: bool,
    ) -> rusqlite::Result<()> {
        let keeping = if lives_on {
            ffi::SQLITE_STATIC()
        } else {
            ffi::SQLITE_TRANSIENT()
        };
        // An empty slice's address is no null pointer, which would bind NULL.
        // SAFETY: the statement is alive, SQLite checks the place, and text and blob are given with their length.
        let code = unsafe {
            match value {
                Cell::Null => ffi::sqlite3_bind_null(self.0, place),
                Cell::Integer(value) => ffi::sqlite3_bind_int64(self.0, place, value),
                Cell::Real(value) => ffi::sqlite3_bind_double(self.0, place, value),
                Cell::Text(text) => ffi::sqlite3_bind_text64(
                    self.0,
                    place,
                    text.as_ptr().cast::<c_char>(),
                    text.len() as u64,
                    keeping,
                    ffi::SQLITE_UTF8 as u8,
                ),
                Cell::Blob(bytes) => ffi::sqlite3_bind_blob64(
                    self.0,
                    place,
                    bytes.as_ptr().cast(),
                    bytes.len() as u64,
                    keeping,
                ),
            }
        };
        self.check(code)
    }

    /// Binds a value that SQLite copies; it stays bound until `clear`.
    pub fn bind_copy(&mut self, place: c_int, value: Cell<'_>) -> rusqlite::Result<()> {
        self.bind_value(place, value, false)
    }

    /// Goes to the next row; false when there is none.
    pub fn step(&mut self) -> rusqlite::Result<bool> {
        // SAFETY: the statement is alive.
        match unsafe { ffi::sqlite3_step(self.0) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            // SAFETY: the statement is alive, so its connection is.
            code => Err(failure(unsafe { ffi::sqlite3_db_handle(self.0) }, code)),
        }
    }

    /// Ends a run and forgets what is bound.
    pub fn clear(&mut self) {
        // SAFETY: the statement is alive; the code of reset is that of the last step, told already.
        unsafe {
            ffi::sqlite3_reset(self.0);
            ffi::sqlite3_clear_bindings(self.0);
        }
    }

    pub fn is_read_only(&self) -> bool {
        // SAFETY: the statement is alive.
        unsafe { ffi::sqlite3_stmt_readonly(self.0) != 0 }
    }

    pub fn column_count(&self) -> usize {
        // SAFETY: the statement is alive.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.0) }).unwrap_or(0)
    }

    pub fn column_names(&self) -> Vec<String> {
        (0..self.column_count())
            .map(|place| {
                // SAFETY: the statement is alive and has such a column; the name is copied at once.
                unsafe { owned_text(ffi::sqlite3_column_name(self.0, place as c_int)) }
                    .unwrap_or_default()
            })
            .collect()
    }

    /// Where each column comes from (https://www.sqlite.org/c3ref/column_database_name.html).
    pub fn origins(&self) -> Vec<ColumnOrigin> {
        (0..self.column_count() as c_int)
            .map(|place| {
                // SAFETY: the statement is alive and has such a column; the texts are copied at once.
                unsafe {
                    ColumnOrigin {
                        name: owned_text(ffi::sqlite3_column_name(self.0, place)),
                        column: owned_text(ffi::sqlite3_column_origin_name(self.0, place)),
                        table: owned_text(ffi::sqlite3_column_table_name(self.0, place)),
                        database: owned_text(ffi::sqlite3_column_database_name(self.0, place)),
                        kind: owned_text(ffi::sqlite3_column_decltype(self.0, place)),
                    }
                }
            })
            .collect()
    }

    /// The names of the parameters without their sign; none for `?`.
    pub fn parameters(&self) -> Vec<Option<String>> {
        // SAFETY: the statement is alive.
        let count = unsafe { ffi::sqlite3_bind_parameter_count(self.0) };
        (1..=count)
            .map(|place| {
                // SAFETY: the statement is alive; the name is copied at once.
                let name = unsafe { owned_text(ffi::sqlite3_bind_parameter_name(self.0, place)) };
                name.map(|name| name.get(1..).unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// How often SQLite has prepared it anew because the schema had changed.
    pub fn reprepared(&self) -> c_int {
        // SAFETY: the statement is alive.
        unsafe { ffi::sqlite3_stmt_status(self.0, ffi::SQLITE_STMTSTATUS_REPREPARE, 0) }
    }

    /// Its text with what is bound in the places of the parameters; none when memory is short or it is too long.
    pub fn expanded(&self) -> Option<String> {
        // SAFETY: the statement is alive; the text is SQLite's to free and is copied before.
        unsafe {
            let text = ffi::sqlite3_expanded_sql(self.0);
            let copy = owned_text(text);
            ffi::sqlite3_free(text.cast());
            copy
        }
    }

    /// A cell of the row that `step` went to. Asking for it once is quicker than asking for its type and its content.
    fn value_at(&self, column: c_int) -> *mut ffi::sqlite3_value {
        // SAFETY: the statement stands on a row, and `column` is one of those it was written with.
        unsafe { ffi::sqlite3_column_value(self.0, column) }
    }
}

impl Row for RawStatement {
    fn width(&self) -> usize {
        self.column_count()
    }

    fn cell(&self, place: usize) -> Cell<'_> {
        let cell = self.value_at(place as c_int);
        // SAFETY: the cell is valid until the next step, which needs `&mut self`. One of a statement may be looked at without
        // the connection's mutex because there is none (SQLITE_OPEN_NOMUTEX).
        unsafe {
            let bytes = |start: *const u8| {
                let length = usize::try_from(ffi::sqlite3_value_bytes(cell)).unwrap_or(0);
                // An empty one has no address, which `from_raw_parts` must not be given.
                if start.is_null() {
                    &[][..]
                } else {
                    std::slice::from_raw_parts(start, length)
                }
            };
            match ffi::sqlite3_value_type(cell) {
                ffi::SQLITE_INTEGER => Cell::Integer(ffi::sqlite3_value_int64(cell)),
                ffi::SQLITE_FLOAT => Cell::Real(ffi::sqlite3_value_double(cell)),
                // A text is asked for as UTF-8: the file may be in another encoding.
                ffi::SQLITE_TEXT => Cell::Text(bytes(ffi::sqlite3_value_text(cell))),
                ffi::SQLITE_BLOB => Cell::Blob(bytes(ffi::sqlite3_value_blob(cell).cast())),
                _ => Cell::Null,
            }
        }
    }
}

impl Drop for RawStatement {
    fn drop(&mut self) {
        // SAFETY: the statement is finalized once, here, and its connection is still open.
        unsafe { ffi::sqlite3_finalize(self.0) };
    }
}

impl<'a> Running<'a> {
    fn pointer(&self) -> *mut ffi::sqlite3_stmt {
        self.0.0
    }

    fn check(&self, code: c_int) -> rusqlite::Result<()> {
        self.0.check(code)
    }

    /// Binds a value that lives longer than this run, after which nothing of it is bound any more; it is not copied.
    pub fn bind(&mut self, place: c_int, value: Cell<'a>) -> rusqlite::Result<()> {
        self.0.bind_value(place, value, true)
    }

    /// Binds a text that lives longer than this run, after which nothing of it is bound any more; it is not copied.
    pub fn bind_text(&mut self, place: c_int, text: &'a str) -> rusqlite::Result<()> {
        // SAFETY: the text is given with its length; it outlives this run, at whose end all bindings are cleared.
        let code = unsafe {
            ffi::sqlite3_bind_text64(
                self.pointer(),
                place,
                text.as_ptr().cast::<c_char>(),
                text.len() as u64,
                ffi::SQLITE_STATIC(),
                ffi::SQLITE_UTF8 as u8,
            )
        };
        self.check(code)
    }

    pub fn bind_integer(&mut self, place: c_int, value: i64) -> rusqlite::Result<()> {
        // SAFETY: the statement is alive; SQLite checks the place.
        let code = unsafe { ffi::sqlite3_bind_int64(self.pointer(), place, value) };
        self.check(code)
    }

    pub fn bind_real(&mut self, place: c_int, value: f64) -> rusqlite::Result<()> {
        // SAFETY: the statement is alive; SQLite checks the place.
        let code = unsafe { ffi::sqlite3_bind_double(self.pointer(), place, value) };
        self.check(code)
    }

    pub fn bind_null(&mut self, place: c_int) -> rusqlite::Result<()> {
        // SAFETY: the statement is alive; SQLite checks the place.
        let code = unsafe { ffi::sqlite3_bind_null(self.pointer(), place) };
        self.check(code)
    }

    /// Goes to the next row; false when there is none.
    pub fn step(&mut self) -> rusqlite::Result<bool> {
        self.0.step()
    }

    /// The row that `step` went to.
    pub fn row(&self) -> &RawStatement {
        self.0
    }

    /// Runs a statement that gives no rows, keeps its parameters, and returns how many rows it has changed.
    pub fn execute(&mut self) -> rusqlite::Result<u64> {
        let done = self.step();
        // SAFETY: the statement and so its connection are alive; the code of reset is that of step, told already.
        let changes = unsafe {
            let changes = ffi::sqlite3_changes64(ffi::sqlite3_db_handle(self.pointer()));
            ffi::sqlite3_reset(self.pointer());
            changes
        };
        done.map(|_| changes.unsigned_abs())
    }

    fn cell(&self, column: c_int) -> *mut ffi::sqlite3_value {
        self.0.value_at(column)
    }

    /// The number in a cell; `None` when it holds something else.
    pub fn number(&self, column: c_int) -> Option<f64> {
        let cell = self.cell(column);
        // SAFETY: the cell is valid until the next step. One of a statement may be looked at without the connection's
        // mutex because there is none (SQLITE_OPEN_NOMUTEX).
        unsafe {
            match ffi::sqlite3_value_type(cell) {
                ffi::SQLITE_FLOAT => Some(ffi::sqlite3_value_double(cell)),
                ffi::SQLITE_INTEGER => Some(ffi::sqlite3_value_int64(cell) as f64),
                _ => None,
            }
        }
    }

    /// The bytes of a text where it stands in SQLite's page; `None` when the cell holds something else. They are valid
    /// until the next step. Only for a database whose texts are in UTF-8: of another, asking for the length would convert
    /// the text, and move it.
    pub fn utf8_bytes(&self, column: c_int) -> Option<&[u8]> {
        let cell = self.cell(column);
        // SAFETY: as for `number`. Asked for as a blob, a text is neither converted nor copied to end in a NUL; an empty
        // one has no address, which `from_raw_parts` must not be given.
        unsafe {
            if ffi::sqlite3_value_type(cell) != ffi::SQLITE_TEXT {
                return None;
            }
            let start = ffi::sqlite3_value_blob(cell).cast::<u8>();
            let length = usize::try_from(ffi::sqlite3_value_bytes(cell)).unwrap_or(0);
            Some(if start.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(start, length)
            })
        }
    }

    /// Binds a cell of another statement of the same connection, which SQLite copies.
    pub fn bind_cell(
        &mut self,
        place: c_int,
        of: &Running<'_>,
        column: c_int,
    ) -> rusqlite::Result<()> {
        // SAFETY: both statements are alive, and the other stands on a row.
        let code = unsafe { ffi::sqlite3_bind_value(self.pointer(), place, of.cell(column)) };
        self.check(code)
    }

    /// Whether a cell is NULL.
    pub fn is_null(&self, column: c_int) -> bool {
        // SAFETY: as for `number`.
        unsafe { ffi::sqlite3_value_type(self.cell(column)) == ffi::SQLITE_NULL }
    }

    /// A cell of any kind.
    pub fn value(&self, column: c_int) -> Value {
        Row::cell(self.0, column as usize).to_value()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}
