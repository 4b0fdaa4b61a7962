//! Reads of candles: on the caller's thread, or on one of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::candle::{ReadRows, TimeRange};
use crate::engine::ReadSession;
use crate::error::{Code, Result, StoreError};
use crate::reply::{Answer, Owed};
use crate::value::Value;
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
        wanted: Arc<AtomicBool>,
    ) -> Result<()> {
        self.check_open()?;
        let timeframe = self.timeframe(minutes)?;
        let owed = Owed::new(self.reply(id));
        let symbol = symbol.to_owned();
        let token = self.store.writer.token.clone();
        self.store.readers.submit(Box::new(move |session| {
            if !wanted.load(Ordering::Relaxed) {
                let unwanted = StoreError::new(Code::Aborted, "the read was called off");
                return owed.settle(Err(unwanted));
            }
            let mut rows = ReadRows::default();
            let result = match session {
                Ok(session) => session.read_candles(timeframe, &symbol, range, limit, &mut rows),
                // A database in memory has only its writing session.
                Err(error) if error.code == Code::SqliteOnly => {
                    token.take(Asker::Caller, None).and_then(|held| match held {
                        Some(mut held) => held
                            .session()
                            .read_candles(timeframe, &symbol, range, limit, &mut rows),
                        None => Err(StoreError::closed()),
                    })
                }
                Err(error) => Err(error),
            };
            owed.settle(result.map(|()| Answer::Candles(rows)));
        }))
    }
}
