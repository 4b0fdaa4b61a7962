//! A connection that does nothing but copy the write-ahead log into the database.

use rusqlite::Connection;

use super::failure::store_error;
use crate::engine::{Checkpoint, Copied};
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
    fn checkpoint(&mut self) -> Result<Copied> {
        let (is_busy, log, copied): (bool, i64, i64) = self
            .connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut checkpoint| {
                checkpoint.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            })
            .map_err(|error| store_error("cannot copy the write-ahead log", &error))?;
        if is_busy {
            return Err(StoreError::new(
                Code::Timeout,
                "another process copies the write-ahead log",
            )
            .failure(Failure::Transient));
        }
        let bytes = |pages: i64| u64::try_from(pages).unwrap_or(0) * self.page_bytes;
        Ok(Copied {
            log_bytes: bytes(log),
            missing_bytes: bytes(log - copied),
        })
    }
}
