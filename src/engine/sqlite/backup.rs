//! Copies of a database made while it is in use (https://www.sqlite.org/backup.html), and the bytes of one as a whole.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, ffi};

use super::failure::store_error;
use crate::engine::Progress;
use crate::error::{Code, Result, StoreError};

/// A copy that is being made. It must be dropped before the connection it copies from.
pub struct Backup {
    backup: *mut ffi::sqlite3_backup,
    /// Closed after the copy, which uses it.
    _target: Connection,
}

// SAFETY: a copy may be used by any thread as long as one at a time uses it and its connection, which `&mut` of the session
// that owns both ensures.
unsafe impl Send for Backup {}

fn schema_name(schema: &str) -> Result<CString> {
    CString::new(schema).map_err(|_| {
        StoreError::new(
            Code::InvalidArgument,
            "the name of a database must not contain a NUL character",
        )
    })
}

fn failed(code: c_int) -> StoreError {
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    store_error("cannot copy the database", &error)
}

impl Backup {
    pub fn begin(source: &Connection, schema: &str, target: &Path) -> Result<Self> {
        let told = |error: rusqlite::Error| {
            store_error(&format!("cannot copy to {}", target.display()), &error)
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let target = Connection::open_with_flags(target, flags).map_err(told)?;
        target.busy_timeout(Duration::ZERO).map_err(told)?;
        let name = schema_name(schema)?;
        // SAFETY: both connections are open, the names are NUL-terminated, and the copy is finished before either is closed.
        let backup = unsafe {
            ffi::sqlite3_backup_init(
                target.handle(),
                c"main".as_ptr(),
                source.handle(),
                name.as_ptr(),
            )
        };
        if backup.is_null() {
            // SAFETY: the connection is open.
            let code = unsafe { ffi::sqlite3_extended_errcode(target.handle()) };
            // SAFETY: as above; the message is copied at once.
            let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(target.handle())) };
            let message = message.to_string_lossy().into_owned();
            return Err(told(rusqlite::Error::SqliteFailure(
                ffi::Error::new(code),
                Some(message),
            )));
        }
        Ok(Self {
            backup,
            _target: target,
        })
    }

    pub fn step(&mut self, pages: i32) -> Result<Progress> {
        // SAFETY: the copy is not finished, and source and target are open.
        let (code, total, remaining) = unsafe {
            let code = ffi::sqlite3_backup_step(self.backup, pages);
            (
                code,
                ffi::sqlite3_backup_pagecount(self.backup),
                ffi::sqlite3_backup_remaining(self.backup),
            )
        };
        let is_held_up = matches!(code & 0xff, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED);
        if !is_held_up && code != ffi::SQLITE_OK && code != ffi::SQLITE_DONE {
            return Err(failed(code));
        }
        Ok(Progress {
            total_pages: u32::try_from(total).unwrap_or(0),
            remaining_pages: u32::try_from(remaining).unwrap_or(0),
            is_held_up,
        })
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        // SAFETY: the copy is finished once, here, while source and target are open.
        unsafe { ffi::sqlite3_backup_finish(self.backup) };
    }
}

/// The bytes of a database file that holds what the connection sees.
pub fn serialize(connection: &Connection, schema: &str) -> Result<Vec<u8>> {
    let name = schema_name(schema)?;
    let mut length: ffi::sqlite3_int64 = -1;
    // SAFETY: the connection is open and the name NUL-terminated; what is returned is copied and given back to SQLite.
    unsafe {
        let bytes = ffi::sqlite3_serialize(connection.handle(), name.as_ptr(), &raw mut length, 0);
        if bytes.is_null() {
            let unknown = format!("there is no database {schema:?}, or memory is short");
            return Err(StoreError::new(Code::SqlError, unknown));
        }
        let copy = std::slice::from_raw_parts(bytes, usize::try_from(length).unwrap_or(0)).to_vec();
        ffi::sqlite3_free(bytes.cast());
        Ok(copy)
    }
}

/// Makes an empty database in memory the one that `bytes` are the file of.
pub fn deserialize(connection: &Connection, bytes: &[u8], read_only: bool) -> rusqlite::Result<()> {
    let failed = |code| {
        let message =
            (code == ffi::SQLITE_ERROR).then(|| "unable to deserialize database".to_owned());
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), message)
    };
    let flags = ffi::SQLITE_DESERIALIZE_FREEONCLOSE
        | ffi::SQLITE_DESERIALIZE_RESIZEABLE
        | if read_only {
            ffi::SQLITE_DESERIALIZE_READONLY
        } else {
            0
        };
    let length = bytes.len() as ffi::sqlite3_int64;
    // SAFETY: the memory is SQLite's own and large enough for the copy; SQLite frees it, also when this fails.
    let code = unsafe {
        let copy = ffi::sqlite3_malloc64(bytes.len() as u64).cast::<u8>();
        if copy.is_null() && !bytes.is_empty() {
            return Err(failed(ffi::SQLITE_NOMEM));
        }
        if !bytes.is_empty() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
            // A database in memory has no log: bytes 18 and 19 say whether a file is used with one
            // (https://www.sqlite.org/c3ref/deserialize.html).
            if bytes.len() > 19 {
                *copy.add(18) = 1;
                *copy.add(19) = 1;
            }
        }
        ffi::sqlite3_deserialize(
            connection.handle(),
            c"main".as_ptr(),
            copy,
            length,
            length,
            flags,
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(failed(code))
    }
}
