//! A connection that does nothing but copy the write-ahead log into the database.

use rusqlite::{Connection, ffi};

use super::failure::store_error;
use crate::engine::Checkpoint;
use crate::error::{Code, Failure, Result, StoreError};

pub struct Checkpointer {
    connection: Connection,
    page_bytes: u64,
}

impl Checkpointer {
    pub fn new(connection: Connection) -> rusqlite::Result<Self> {
        let page_bytes: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(Self {
            connection,
            page_bytes: u64::from(page_bytes),
        })
    }
}

impl Checkpoint for Checkpointer {
    /// PASSIVE waits for nobody and holds nobody up (https://www.sqlite.org/c3ref/wal_checkpoint_v2.html).
    fn checkpoint(&mut self) -> Result<u64> {
        let (is_busy, log): (bool, i64) = self
            .connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut checkpoint| {
                checkpoint.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(|error| store_error("cannot copy the write-ahead log", &error))?;
        if is_busy {
            return Err(StoreError::new(
                Code::Timeout,
                "another process copies the write-ahead log",
            )
            .failure(Failure::Transient));
        }
        self.flush_database();
        Ok(u64::try_from(log).unwrap_or(0) * self.page_bytes)
    }
}

impl Checkpointer {
    /// Brings what was copied to the disk. SQLite does not when somebody has committed meanwhile (walCheckpoint in wal.c):
    /// the checkpoint that copies the rest would have a long flush, and others wait for that one. A failure here is one
    /// there.
    fn flush_database(&self) {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the connection is open, and SQLITE_FCNTL_FILE_POINTER writes one pointer, to a file that the connection
        // keeps open; its methods are those of the VFS that opened it, and xSync takes no lock.
        unsafe {
            let code = ffi::sqlite3_file_control(
                self.connection.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                (&raw mut file).cast(),
            );
            if code != ffi::SQLITE_OK || file.is_null() || (*file).pMethods.is_null() {
                return;
            }
            if let Some(sync) = (*(*file).pMethods).xSync {
                sync(file, ffi::SQLITE_SYNC_NORMAL);
            }
        }
    }
}
