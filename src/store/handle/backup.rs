//! Copies of the database made for the caller while it is in use. Of a store a copy reads one state of the file on a connection
//! of its own and on a reader's thread, so that it neither begins anew nor holds up anybody when others write. In memory, of an
//! attached database and for a `Database` of the caller's own it is the caller's session that reads: what is written on that
//! session meanwhile is copied, too, and the copy begins anew when others write.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::registry::HAS_OTHER_FILES;
use super::raw::raw;
use super::{Handle, Side};
use crate::engine::{RawSession, ReadSession};
use crate::error::{Result, StoreError};
use crate::reply::Answer;
use crate::rows::{NoRows, SqlText};
use crate::writer::lock;

/// Where a copy reads.
pub enum Copying {
    /// On a connection of its own; `None` when it has ended.
    Apart(Option<Box<dyn ReadSession>>),
    /// On the session of the handle.
    Here,
}

/// What a step of a copy does.
#[derive(Debug, Clone, Copy)]
pub struct BackupStep {
    pub number: u64,
    pub pages: i32,
}

impl Handle {
    /// Begins to copy a schema into a file; gives the number of the copy.
    pub fn begin_backup(&self, side: Side, schema: &str, target: &Path) -> Result<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.check_open()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        HAS_OTHER_FILES.store(true, Ordering::Relaxed);
        // A session in a transaction cannot be copied from: what is committed is.
        let is_own = self.own.is_some();
        let may_be_apart = !is_own || self.in_transaction();
        let reader = if may_be_apart && schema.eq_ignore_ascii_case("main") {
            self.store.engine.open_reader()
        } else {
            None
        };
        let copying = match reader {
            Some(reader) => {
                let mut reader = reader?;
                let session = raw(reader.as_mut())?;
                if !is_own {
                    // The state that is copied is that of the first read.
                    for sql in ["BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1"] {
                        session.run_plain(&SqlText::new(sql), &[], &mut NoRows)?;
                    }
                }
                session.begin_backup(number, "main", target)?;
                Copying::Apart(Some(reader))
            }
            None => {
                self.here(side, |session| session.begin_backup(number, schema, target))?;
                Copying::Here
            }
        };
        lock(&self.backups).insert(number, Arc::new(Mutex::new(copying)));
        Ok(number)
    }

    /// Uses the session that copies which are not made apart read.
    fn here<T>(
        &self,
        side: Side,
        mut run: impl FnMut(&mut dyn RawSession) -> Result<T>,
    ) -> Result<T> {
        match side {
            Side::Reading => self.on_session(side, run),
            Side::Writing => self.on_writing_session(&mut run),
        }
    }

    /// Makes a step of a copy; the answer is given to `id`, at once where the handle's session reads.
    pub fn step_backup(&self, side: Side, step: BackupStep, id: u64) -> Result<()> {
        self.check_open()?;
        let copying = lock(&self.backups).get(&step.number).cloned();
        let copying = copying.ok_or_else(StoreError::closed)?;
        let reply = self.reply(id);
        if matches!(&*lock(&copying), Copying::Here) {
            let progress = self.here(side, |session| session.step_backup(step.number, step.pages));
            reply.settle(progress.map(Answer::Copied));
            return Ok(());
        }
        self.store.readers.submit(Box::new(move |_| {
            let progress = match &mut *lock(&copying) {
                Copying::Apart(Some(reader)) => raw(reader.as_mut())
                    .and_then(|session| session.step_backup(step.number, step.pages)),
                Copying::Apart(None) | Copying::Here => Err(StoreError::closed()),
            };
            reply.settle(progress.map(Answer::Copied));
        }))
    }

    /// Ends a copy, whole or not.
    pub fn end_backup(&self, side: Side, number: u64) {
        let Some(copying) = lock(&self.backups).remove(&number) else {
            return;
        };
        let mut copying = lock(&copying);
        match &mut *copying {
            Copying::Apart(reader) => drop(reader.take()),
            Copying::Here => {
                let _ = self.here(side, |session| {
                    session.end_backup(number);
                    Ok(())
                });
            }
        }
    }
}
