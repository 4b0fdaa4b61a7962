//! Reads of candles: on the caller's thread, or on one of the pool.

use std::sync::Arc;
use std::time::Instant;

use crate::candle::{CandleSink, ReadRows, TimeRange};
use crate::engine::ReadSession;
use crate::error::{Result, StoreError};
use crate::json_rows::JsonRows;
use crate::reply::Answer;
use crate::tail_cache::{Found, Request};
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

    pub(super) fn take_for_reading(&self) -> Result<Held> {
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

    /// Gives candles to a sink: those of the handle's own transaction unless `committed` are asked for, else those of the
    /// newest commit, from memory where they are there.
    pub fn scan(
        &self,
        wanted: Selection<'_>,
        committed: bool,
        sink: &mut dyn CandleSink,
    ) -> Result<Found> {
        self.check_open()?;
        let request = self.request(wanted)?;
        if committed || !self.in_transaction() {
            let mut sink = Some(&mut *sink);
            let mut read = |session: &mut dyn ReadSession| match sink.take() {
                Some(sink) => self.store.tails.read(session, &request, sink),
                None => Err(StoreError::closed()),
            };
            if let Some(found) = self.store.readers.read(&mut read) {
                return found;
            }
        }
        let has_older = self.read(committed, |session| request.scan(session, sink))?;
        Ok(Found {
            has_older,
            stamp: None,
        })
    }

    fn request<'a>(&self, wanted: Selection<'a>) -> Result<Request<'a>> {
        Ok(Request {
            timeframe: self.timeframe(wanted.minutes)?,
            symbol: wanted.symbol,
            range: wanted.range,
            limit: wanted.limit,
        })
    }

    /// Fills `rows` with candles; see `scan`.
    pub fn read_candles(
        &self,
        minutes: u32,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        committed: bool,
        rows: &mut ReadRows,
    ) -> Result<Found> {
        rows.clear();
        let wanted = Selection {
            minutes,
            symbol,
            range,
            limit,
        };
        self.scan(wanted, committed, rows)
    }

    /// Whether nothing of a series can have changed since a read gave this stamp; always false inside the handle's own
    /// transaction, unless `committed` is meant.
    pub fn is_unchanged(
        &self,
        minutes: u32,
        symbol: &str,
        committed: bool,
        stamp: u64,
    ) -> Result<bool> {
        self.check_open()?;
        let timeframe = self.timeframe(minutes)?;
        if !committed && self.in_transaction() {
            return Ok(false);
        }
        let tails = &self.store.tails;
        self.store
            .readers
            .read(|session| Ok(tails.is_unchanged(session, timeframe, symbol, stamp)))
            .unwrap_or(Ok(false))
    }

    pub fn last_time(&self, minutes: u32, symbol: &str) -> Result<Value> {
        self.check_open()?;
        let timeframe = self.timeframe(minutes)?;
        if !self.in_transaction()
            && let Some(newest) = self.store.readers.read(|session| {
                match self.store.tails.newest_time(session, timeframe, symbol) {
                    Some(time) if time.fract() == 0.0 => Ok(Value::Integer(time as i64)),
                    Some(time) => Ok(Value::Real(time)),
                    None => session.last_time(timeframe, symbol),
                }
            })
        {
            return newest;
        }
        self.read(false, |session| session.last_time(timeframe, symbol))
    }

    /// Reads on a thread of the pool; the outcome goes to `id`.
    pub fn read_candles_later(
        &self,
        candles: Selection<'_>,
        format: Format,
        id: u64,
        wanted: Arc<Wanted>,
    ) -> Result<()> {
        let timeframe = self.timeframe(candles.minutes)?;
        let (range, limit) = (candles.range, candles.limit);
        let symbol = candles.symbol.to_owned();
        let tails = self.store.tails.clone();
        self.read_later(id, wanted, move |session| {
            let request = Request {
                timeframe,
                symbol: &symbol,
                range,
                limit,
            };
            let mut read = Read::new(format);
            let found = tails.read(session, &request, read.sink())?;
            Ok(read.answer(found))
        })
    }
}

/// Which candles are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    pub minutes: u32,
    pub symbol: &'a str,
    pub range: TimeRange,
    pub limit: u32,
}

/// What candles that are read in the background become.
#[derive(Debug, Clone)]
pub enum Format {
    Rows,
    Columns,
    /// A JSON array after this text.
    Json(String),
}

enum Read {
    Rows(ReadRows),
    Columns(ReadRows),
    Json(JsonRows),
}

impl Read {
    fn new(format: Format) -> Self {
        match format {
            Format::Rows => Self::Rows(ReadRows::default()),
            Format::Columns => Self::Columns(ReadRows::default()),
            Format::Json(prefix) => Self::Json(JsonRows::after(prefix.as_bytes(), Vec::new())),
        }
    }

    fn sink(&mut self) -> &mut dyn CandleSink {
        match self {
            Self::Rows(rows) | Self::Columns(rows) => rows,
            Self::Json(rows) => rows,
        }
    }

    fn answer(self, found: Found) -> Answer {
        match self {
            Self::Rows(rows) => Answer::Candles(rows),
            Self::Columns(rows) => Answer::Columns(rows),
            Self::Json(mut rows) => {
                rows.end();
                Answer::Json(rows, found)
            }
        }
    }
}
