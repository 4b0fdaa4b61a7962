//! Reads of candles: on the caller's thread, or on one of the pool.

use std::sync::Arc;
use std::time::Instant;

use crate::candle::{ReadRows, TimeRange};
use crate::engine::ReadSession;
use crate::error::{Result, StoreError};
use crate::reply::Answer;
use crate::value::Value;
use crate::wanted::Wanted;
use crate::writer::{Asker, Held, Waited, lock};

use super::Handle;

impl Handle {
    /// Reads on this thread: in the handle's own transaction unless `committed` is asked for, else the newest commit.
    pub fn read<T>(
        &self,
        committed: bool,
        read: impl FnOnce(&mut dyn ReadSession) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let mut lease = lock(&self.lease);
        match lease.as_mut().filter(|_| !committed) {
            Some(lease) => read(lease.held.session()),
            None => {
                // A database in memory has only its writing session.
                let mut read = Some(read);
                let mut run = |session: &mut dyn ReadSession| match read.take() {
                    Some(read) => read(session),
                    None => Err(StoreError::closed()),
                };
                if let Some(result) = self.store.readers.read(&mut run) {
                    return result;
                }
                match lease.as_mut() {
                    Some(lease) => run(lease.held.session()),
                    None => run(self.take_for_reading()?.session()),
                }
            }
        }
    }

    fn take_for_reading(&self) -> Result<Held> {
        let start = Instant::now();
        match self
            .store
            .writer
            .token
            .take(Asker::Caller, Some(self.deadline(start)))?
        {
            Some(held) => Ok(held),
            None => Err(self.store.writer.timed_out(Waited {
                time: start.elapsed(),
                attempts: 1,
            })),
        }
    }

    pub fn read_candles(
        &self,
        minutes: u32,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        committed: bool,
        rows: &mut ReadRows,
    ) -> Result<()> {
        let timeframe = self.timeframe(minutes)?;
        self.read(committed, |session| {
            session.read_candles(timeframe, symbol, range, limit, rows)
        })
    }

    pub fn last_time(&self, minutes: u32, symbol: &str) -> Result<Value> {
        let timeframe = self.timeframe(minutes)?;
        self.read(false, |session| session.last_time(timeframe, symbol))
    }

    /// Reads on a thread of the pool; the outcome goes to `id`.
    pub fn read_candles_later(
        &self,
        minutes: u32,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        id: u64,
        wanted: Arc<Wanted>,
    ) -> Result<()> {
        let timeframe = self.timeframe(minutes)?;
        let symbol = symbol.to_owned();
        self.read_later(id, wanted, move |session| {
            let mut rows = ReadRows::default();
            session.read_candles(timeframe, &symbol, range, limit, &mut rows)?;
            Ok(Answer::Candles(rows))
        })
    }
}
