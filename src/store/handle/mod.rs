//! What one caller has of a store: its life, from opening to closing. What can be done with it is told by topic in the
//! files beside this one: `writes`, `reads`, `queries` (in the background, and lists of series), `raw` (the caller's own
//! statements), `backup`, `exclusive` (names that one has at a time) and `numbers`.

mod backup;
mod exclusive;
mod jobs;
mod numbers;
mod queries;
mod raw;
mod reads;
mod writes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::Store;
use super::lease::Lease;
use super::watch::Watch;
use crate::engine::ReadSession;
use crate::error::{Code, Result, StoreError};
use crate::reply::{Reply, Sink};
use crate::timeframe::Timeframe;
use crate::wanted::Outstanding;
use crate::writer::{Asker, Held, Waited, after_ms, lock};

use self::backup::Copying;
use self::exclusive::Holds;
use self::jobs::OwnJobs;
use self::raw::Standing;

pub use self::backup::BackupStep;
pub use self::exclusive::NameAnswer;
pub use self::numbers::{QueueStats, Stats};
pub use self::raw::{Side, Take};
pub use self::reads::{Format, Selection};
pub use self::writes::EnqueueOptions;

/// A caller's hold on a store.
pub struct Handle {
    store: Arc<Store>,
    sink: Arc<dyn Sink>,
    lease: Mutex<Option<Lease>>,
    /// The connection of `dbReadOnly`: one and the same, because `data_version` belongs to a connection.
    read_only: Mutex<Option<Box<dyn ReadSession>>>,
    /// The session of a `Database`, which is its own for life; `None` for a handle on a store.
    own: Option<Mutex<Option<Held>>>,
    /// Statements that stand on a row, by number.
    standing: Mutex<HashMap<u64, Standing>>,
    /// A reading connection that keeps a snapshot for the next read.
    kept: Mutex<Option<Box<dyn ReadSession>>>,
    is_kept: AtomicBool,
    backups: Mutex<HashMap<u64, Arc<Mutex<Copying>>>>,
    /// Exclusive names that the caller has.
    holds: Mutex<Holds>,
    /// How long a synchronous call waits for a lock: an option, until a pragma changes it.
    busy_timeout_ms: Mutex<f64>,
    /// Of the caller's last statement.
    last_insert_rowid: AtomicI64,
    jobs: Mutex<OwnJobs>,
    /// How long the last synchronous write waited, for this process's other writers and for the file's lock.
    last_wait_ns: AtomicU64,
    watch: Mutex<Option<Watch>>,
    /// Reads in the background.
    reads: Arc<Outstanding>,
    closed: AtomicBool,
    ended: Mutex<bool>,
    has_ended: Condvar,
}

impl Handle {
    pub(super) fn new(store: Arc<Store>, sink: Arc<dyn Sink>) -> Self {
        store.writer.add_listener(sink.clone());
        Self {
            busy_timeout_ms: Mutex::new(store.options.busy_timeout_ms),
            store,
            sink,
            lease: Mutex::default(),
            read_only: Mutex::default(),
            own: None,
            standing: Mutex::default(),
            kept: Mutex::default(),
            is_kept: AtomicBool::new(false),
            backups: Mutex::default(),
            holds: Mutex::default(),
            last_insert_rowid: AtomicI64::new(0),
            jobs: Mutex::default(),
            last_wait_ns: AtomicU64::new(0),
            watch: Mutex::default(),
            reads: Arc::default(),
            closed: AtomicBool::new(false),
            ended: Mutex::new(false),
            has_ended: Condvar::new(),
        }
    }

    /// A handle that has the store and its writing session to itself.
    pub(super) fn alone(store: Arc<Store>, sink: Arc<dyn Sink>) -> Result<Self> {
        let held = store
            .writer
            .token
            .take(Asker::Caller, Some(Instant::now()))?;
        let held = held.ok_or_else(|| store.writer.timed_out(Waited::default()))?;
        let mut handle = Self::new(store, sink);
        handle.own = Some(Mutex::new(Some(held)));
        Ok(handle)
    }

    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    fn check_open(&self) -> Result<()> {
        if self.is_open() {
            Ok(())
        } else {
            Err(StoreError::closed())
        }
    }

    fn timeframe(&self, minutes: u32) -> Result<Timeframe> {
        let timeframe = Timeframe(minutes);
        if self.store.options.timeframes.contains(&timeframe) {
            return Ok(timeframe);
        }
        let known: Vec<_> = self
            .store
            .options
            .timeframes
            .iter()
            .map(|known| known.table())
            .collect();
        Err(StoreError::new(
            Code::UnknownTable,
            format!(
                "the store has no table {}; it has {} (option timeframes)",
                timeframe.table(),
                known.join(", ")
            ),
        )
        .not_written())
    }

    fn reply(&self, id: u64) -> Reply {
        Reply {
            sink: self.sink.clone(),
            id,
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.store.options.read_only {
            return Err(StoreError::new(
                Code::ReadOnly,
                format!(
                    "{} was opened with readOnly: true; open it without to write",
                    self.store.engine.name()
                ),
            )
            .not_written());
        }
        self.store.writer.check_poisoned()
    }

    /// Whether a transaction that is to begin later has any prospect.
    pub fn check_can_begin(&self) -> Result<()> {
        self.check_writable()?;
        self.store.writer.check_breaker()
    }

    pub fn default_close_deadline_ms(&self) -> f64 {
        self.store.options.close_deadline_ms
    }

    /// Ends an open transaction without its changes.
    pub fn abandon_lease(&self) {
        lock(&self.standing).clear();
        *lock(&self.kept) = None;
        lock(&self.backups).clear();
        drop(lock(&self.lease).take());
        if let Some(own) = &self.own {
            drop(lock(own).take());
        }
    }

    /// Ends the reads in the background: there is nobody left to tell.
    pub fn abandon_reads(&self) {
        self.reads.close(Instant::now());
    }

    /// Closes this handle: no new work, what was accepted is written until the deadline. Blocks until that is
    /// done, whoever does it.
    pub fn close(&self, deadline_ms: f64) {
        if self.begin_close() {
            return self.finish_close(deadline_ms);
        }
        // Another thread closes it: who asked to have it closed may rely on it.
        let mut ended = lock(&self.ended);
        while !*ended {
            ended = self
                .has_ended
                .wait(ended)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more work from here on; true for the first who says so, and who must then call `finish_close`.
    pub fn begin_close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// Writes what was accepted until the deadline, and lets go of the store. Blocks.
    pub fn finish_close(&self, deadline_ms: f64) {
        let deadline = after_ms(deadline_ms);
        self.abandon_lease();
        if lock(&self.watch).take().is_some() {
            self.store.writer.want_candles(false);
        }
        *lock(&self.read_only) = None;
        let writer = &self.store.writer;
        if !writer
            .queue
            .wait_settled(writer.queue.last_sequence(), Some(deadline))
        {
            writer.give_up_of(&self.sink);
        }
        self.end_jobs();
        self.reads.close(deadline);
        self.store.release(deadline);
        // Only now: what was accepted from who had a name is written before anybody else has it.
        lock(&self.holds).give_all_back();
        writer.remove_listener(&self.sink);
        *lock(&self.ended) = true;
        self.has_ended.notify_all();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(0.0);
    }
}
