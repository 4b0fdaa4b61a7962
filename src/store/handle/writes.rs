//! Writes of candles: synchronous ones on the caller's thread, ahead of the queue, and those that go through it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::candle::{OwnedRows, Rows, TimeRange};
use crate::engine::{Upserted, WriteSession};
use crate::error::{Code, Result, StoreError};
use crate::histogram::milliseconds;
use crate::jobs::JobId;
use crate::queue::{Offer, Priority};
use crate::reply::{CandlesEvent, SlowKind};
use crate::turn::Urgency;
use crate::value::Statement;
use crate::writer::{Asker, Held, Waited, Work, after_ms, candles_event, lock, times};

use super::Handle;

/// A synchronous write of so many candles lets live writes of other processes go first.
const BACKFILL_ROWS: usize = 100;

impl Handle {
    /// Stores candles of one series: in the handle's open transaction, or in one of its own that is committed when
    /// this returns.
    pub fn upsert(&self, minutes: u32, symbol: &str, rows: Rows<'_>) -> Result<Upserted> {
        self.check_writable()?;
        let timeframe = self.timeframe(minutes)?;
        let symbol: Arc<str> = symbol.into();
        let writer = &self.store.writer;
        if let Some(lease) = lock(&self.lease).as_mut() {
            let sequence = writer.queue.take_sequence();
            let remember = writer.wants_candles() || writer.queue.oldest_waiting().is_some();
            return lease.upsert(timeframe, &symbol, rows, sequence, remember);
        }
        let event = |_: &Upserted| candles_event(timeframe, &symbol, rows);
        let urgency = if rows.len() < BACKFILL_ROWS {
            Urgency::Live
        } else {
            Urgency::Backfill
        };
        self.write(
            urgency,
            |session| session.upsert(timeframe, &symbol, rows),
            event,
            |writer, sequence| {
                writer
                    .overtaking()
                    .wrote(timeframe, &symbol, times(rows), sequence);
            },
        )
    }

    /// Deletes the candles of one series inside a range; returns how many there were.
    pub fn delete(&self, minutes: u32, symbol: &str, range: TimeRange) -> Result<u64> {
        self.check_writable()?;
        let timeframe = self.timeframe(minutes)?;
        let symbol: Arc<str> = symbol.into();
        if let Some(lease) = lock(&self.lease).as_mut() {
            let sequence = self.store.writer.queue.take_sequence();
            return lease.delete(timeframe, &symbol, range, sequence);
        }
        self.write(
            Urgency::Live,
            |session| session.delete(timeframe, &symbol, range),
            |_| None,
            |writer, sequence| {
                writer
                    .overtaking()
                    .deleted(timeframe, &symbol, range, sequence);
            },
        )
    }

    /// One transaction on this thread, ahead of the queue. `overtakes` is called when older writes wait.
    fn write<T>(
        &self,
        urgency: Urgency,
        apply: impl FnOnce(&mut dyn WriteSession) -> Result<T>,
        event: impl FnOnce(&T) -> Option<CandlesEvent>,
        overtakes: impl FnOnce(&crate::writer::Writer, u64),
    ) -> Result<T> {
        let writer = &self.store.writer;
        self.last_wait_ns.store(0, Ordering::Relaxed);
        let _trial = writer.admit()?;
        let start = Instant::now();
        let mut waited = Waited::default();
        let result = self.write_at(urgency, start, &mut waited, apply, event, overtakes);
        writer.tell_if_slow(SlowKind::Write, start, waited, None);
        let wait_ns = waited.time.as_nanos() as u64;
        self.last_wait_ns.store(wait_ns, Ordering::Relaxed);
        result
    }

    fn write_at<T>(
        &self,
        urgency: Urgency,
        start: Instant,
        waited: &mut Waited,
        apply: impl FnOnce(&mut dyn WriteSession) -> Result<T>,
        event: impl FnOnce(&T) -> Option<CandlesEvent>,
        overtakes: impl FnOnce(&crate::writer::Writer, u64),
    ) -> Result<T> {
        let writer = &self.store.writer;
        let mut held = self.take(start, waited)?;
        let session = held.session();
        self.wait(urgency, &mut || session.try_begin(), start, waited)
            .inspect_err(|error| writer.write_failed(error))?;
        let began = Instant::now();
        // Accepted now: what others have accepted and committed while this waited is older.
        let sequence = writer.queue.take_sequence();
        let applied = apply(held.session()).and_then(|done| {
            writer.committing(|| {
                held.session()
                    .commit()
                    .map(|committed| ((), vec![committed]))
            })?;
            Ok(done)
        });
        match &applied {
            Ok(_) => {
                if writer.queue.oldest_waiting().is_some() {
                    overtakes(writer, sequence);
                }
                writer.committed(held.session());
            }
            Err(error) => {
                held.session().rollback();
                writer.write_failed(error);
            }
        }
        let room = writer.leave_room(began.elapsed());
        drop(held);
        thread::sleep(room);
        if writer.wants_candles()
            && let Ok(done) = &applied
        {
            writer.emit_candles(event(done).into_iter().collect());
        }
        applied.map_err(StoreError::not_written)
    }

    pub(super) fn deadline(&self, start: Instant) -> Instant {
        start + Duration::from_secs_f64(*lock(&self.busy_timeout_ms) / 1_000.0)
    }

    /// Takes the writing session for a synchronous call that began to wait at `start`, and adds to what it has
    /// waited.
    pub(super) fn take(&self, start: Instant, waited: &mut Waited) -> Result<Held> {
        let taken = self.take_session(start);
        waited.time = start.elapsed();
        taken
    }

    fn take_session(&self, start: Instant) -> Result<Held> {
        self.check_writable()?;
        // An old snapshot would keep the log from starting over.
        if self.is_kept() {
            self.let_go();
        }
        self.store.writer.end_pause();
        let token = &self.store.writer.token;
        if let Some(held) = token.try_take(Asker::Caller)? {
            return Ok(held);
        }
        if let Some(owner) = lock(&self.store.lease_owner)
            .as_ref()
            .filter(|owner| owner.thread == std::thread::current().id())
        {
            return Err(StoreError::new(
                Code::SelfDeadlock,
                format!(
                    "this thread holds the write lock by {:?} on another handle of the same file and would wait for itself; \
                     write through that handle, or commit first",
                    owner.sql
                ),
            )
            .not_written());
        }
        match token.take(Asker::Caller, Some(self.deadline(start)))? {
            Some(held) => Ok(held),
            None => {
                let mut error = self.store.writer.timed_out(Waited {
                    time: start.elapsed(),
                    attempts: 1,
                });
                if let Some(owner) = &*lock(&self.store.lease_owner) {
                    error.message = format!(
                        "{}; the transaction {:?} of this process has been open for {:.0} ms",
                        error.message,
                        owner.sql,
                        milliseconds(owner.began.elapsed())
                    );
                }
                Err(error)
            }
        }
    }

    /// Tries a step that needs the file's lock until the deadline of a call that began at `start`.
    pub(super) fn wait(
        &self,
        urgency: Urgency,
        step: &mut dyn FnMut() -> Result<()>,
        start: Instant,
        waited: &mut Waited,
    ) -> Result<()> {
        let writer = &self.store.writer;
        let deadline = self.deadline(start);
        let (more, outcome) = writer.wait_for_lock(&|| urgency, step, &mut |waited| {
            (Instant::now() >= deadline).then(|| {
                writer.timed_out(Waited {
                    time: start.elapsed(),
                    ..waited
                })
            })
        });
        waited.time += more.time;
        waited.attempts += more.attempts;
        outcome
    }

    pub fn enqueue_upsert(
        &self,
        minutes: u32,
        symbol: &str,
        rows: Rows<'_>,
        options: EnqueueOptions,
    ) -> Result<u64> {
        self.check_writable()?;
        let timeframe = self.timeframe(minutes)?;
        let most = self.store.options.max_batch_rows;
        if rows.len() > most {
            return Err(StoreError::new(
                Code::BatchTooLarge,
                format!(
                    "a batch of {} candles is larger than maxBatchRows ({most}); split it, or pass {{ atomic: false }} to have it written in slices",
                    rows.len()
                ),
            )
            .not_written());
        }
        self.enqueue(
            Work::Upsert {
                timeframe,
                symbol: symbol.into(),
                rows: OwnedRows::copy(rows),
            },
            options,
        )
    }

    pub fn enqueue_delete(
        &self,
        minutes: u32,
        symbol: &str,
        range: TimeRange,
        options: EnqueueOptions,
    ) -> Result<u64> {
        self.check_writable()?;
        let timeframe = self.timeframe(minutes)?;
        self.enqueue(
            Work::Delete {
                timeframe,
                symbol: symbol.into(),
                range,
            },
            options,
        )
    }

    pub fn enqueue_statements(
        &self,
        statements: Vec<Statement>,
        options: EnqueueOptions,
    ) -> Result<u64> {
        self.check_writable()?;
        self.enqueue(Work::Statements(statements), options)
    }

    pub(super) fn enqueue(&self, work: Work, options: EnqueueOptions) -> Result<u64> {
        let offer = Offer {
            deadline: options.timeout_ms.map(after_ms),
            job: options.job,
            ..Offer::new(options.priority, Instant::now())
        };
        self.store
            .writer
            .enqueue(work, offer, self.reply(options.id))
    }

    /// Takes a queued write back; false when it has begun or is done.
    pub fn withdraw(&self, sequence: u64) -> bool {
        let error = StoreError::new(
            Code::Aborted,
            "the write was withdrawn by its signal before it began",
        )
        .not_written();
        self.store.writer.withdraw(sequence, error)
    }

    /// Settles `id` when everything accepted so far is settled.
    pub fn flush(&self, id: u64) -> Result<()> {
        self.check_open()?;
        self.store.writer.flush(self.reply(id));
        Ok(())
    }
}

/// Options of one queued write.
#[derive(Debug, Clone, Copy)]
pub struct EnqueueOptions {
    pub id: u64,
    pub priority: Priority,
    pub timeout_ms: Option<f64>,
    /// The job that it is counted for.
    pub job: JobId,
}
