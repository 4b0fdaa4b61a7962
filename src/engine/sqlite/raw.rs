//! A prepared statement without the checks that rusqlite makes for each cell and parameter: reading and writing
//! candles does that a dozen times a row, and it was a third of the time. Nothing else uses it.

use std::os::raw::{c_char, c_int};
use std::ptr;

use rusqlite::{Connection, ffi};

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
    let message = unsafe {
        let text = ffi::sqlite3_errmsg(connection);
        if text.is_null() {
            None
        } else {
            Some(
                std::ffi::CStr::from_ptr(text)
                    .to_string_lossy()
                    .into_owned(),
            )
        }
    };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), message)
}

impl RawStatement {
    pub fn prepare(connection: &Connection, sql: &str) -> rusqlite::Result<Self> {
        let mut statement = ptr::null_mut();
        let length = c_int::try_from(sql.len()).unwrap_or(c_int::MAX);
        // SAFETY: the connection is open, the text is given with its length, and the pointer is written once.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                connection.handle(),
                sql.as_ptr().cast::<c_char>(),
                length,
                ffi::SQLITE_PREPARE_PERSISTENT,
                &raw mut statement,
                ptr::null_mut(),
            )
        };
        if code == ffi::SQLITE_OK {
            Ok(Self(statement))
        } else {
            // SAFETY: as above.
            Err(failure(unsafe { connection.handle() }, code))
        }
    }

    /// Begins a run; parameters are bound next.
    pub fn start(&mut self) -> Running<'_> {
        Running(self)
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
        if code == ffi::SQLITE_OK {
            return Ok(());
        }
        // SAFETY: the statement is alive, so its connection is.
        Err(failure(
            unsafe { ffi::sqlite3_db_handle(self.pointer()) },
            code,
        ))
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
        // SAFETY: the statement is alive.
        match unsafe { ffi::sqlite3_step(self.pointer()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            // SAFETY: the statement is alive, so its connection is.
            code => Err(failure(
                unsafe { ffi::sqlite3_db_handle(self.pointer()) },
                code,
            )),
        }
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

    /// A cell of the row that `step` went to. Asking for it once is quicker than asking for its type and its content.
    fn cell(&self, column: c_int) -> *mut ffi::sqlite3_value {
        // SAFETY: the statement stands on a row, and `column` is one of those it was written with.
        unsafe { ffi::sqlite3_column_value(self.pointer(), column) }
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
        // SAFETY: as for `number`; text and blob are valid until the next step and copied here. An empty blob has no
        // address, which `from_raw_parts` must not be given.
        unsafe {
            match ffi::sqlite3_column_type(self.pointer(), column) {
                ffi::SQLITE_INTEGER => {
                    Value::Integer(ffi::sqlite3_column_int64(self.pointer(), column))
                }
                ffi::SQLITE_FLOAT => {
                    Value::Real(ffi::sqlite3_column_double(self.pointer(), column))
                }
                kind @ (ffi::SQLITE_TEXT | ffi::SQLITE_BLOB) => {
                    // A text is asked for as UTF-8: the file may be in another encoding.
                    let start = if kind == ffi::SQLITE_TEXT {
                        ffi::sqlite3_column_text(self.pointer(), column)
                    } else {
                        ffi::sqlite3_column_blob(self.pointer(), column).cast::<u8>()
                    };
                    let length = usize::try_from(ffi::sqlite3_column_bytes(self.pointer(), column))
                        .unwrap_or(0);
                    let bytes = if start.is_null() {
                        &[][..]
                    } else {
                        std::slice::from_raw_parts(start, length)
                    };
                    if kind == ffi::SQLITE_TEXT {
                        Value::Text(String::from_utf8_lossy(bytes).into_owned())
                    } else {
                        Value::Blob(bytes.to_vec())
                    }
                }
                _ => Value::Null,
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: the statement is alive; the code of reset is that of the last step, told already.
        unsafe {
            ffi::sqlite3_reset(self.pointer());
            ffi::sqlite3_clear_bindings(self.pointer());
        }
    }
}
