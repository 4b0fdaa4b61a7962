//! The write side of a store: the queue, the thread that empties it in groups, and the token by which it and
//! synchronous callers take turns on the one writing session.
//!
//! A group is cut from the queue only after the file's lock is held, ends when its time budget is used, and is
//! settled by one call after its commit. A command that fails makes the group roll back; every command of it is
//! then run in a transaction of its own, so that none suffers from another, whatever user SQL did.

mod checkpoint;
mod coalesce;
mod command;
mod file_lock;
mod group;
mod numbers;
#[cfg(test)]
mod tests;
mod token;
mod waiting;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::checkpoint::Checkpointer;
pub use self::checkpoint::LIMIT_BYTES as LOG_LIMIT_BYTES;
pub use self::command::{Command, Work, candles_event, fingerprint, times};
pub use self::file_lock::{FileLock, LockNumbers, Waited};
pub use self::numbers::{GroupNumbers, Recorder, RowsPerGroup};
pub use self::token::{Asker, Held, Token};
use self::waiting::LockReports;
use crate::breaker::{self, Breaker};
use crate::counts::Counts;
use crate::engine::{Committed, Engine, WriteSession};
use crate::error::{Code, Failure, Result, StoreError, Written};
use crate::histogram::milliseconds;
use crate::jobs::{Load, Settled};
use crate::options::{Options, WhenFull};
use crate::overtaking::Overtaking;
use crate::queue::{Entry, Offer, Priority, Queue, Refused};
use crate::reply::{Answer, BreakerNumbers, CandlesEvent, Event, EventKind, Outbox, Reply, Sink};
use crate::tail_cache::TailCache;

/// A synchronous write of less than this is no backfill and leaves no room.
const SHORT_WRITE: Duration = Duration::from_millis(1);
/// The longest that a synchronous caller is kept waiting to leave room.
const LONGEST_ROOM: Duration = Duration::from_millis(5);

/// The write side of one store.
pub struct Writer {
    pub engine: Arc<dyn Engine>,
    pub token: Arc<Token>,
    pub queue: Queue<Command>,
    counts: Arc<Counts>,
    tails: Arc<TailCache>,
    pub file_lock: Arc<FileLock>,
    pub numbers: Recorder,
    lock_reports: LockReports,
    options: Options,
    overtaking: Mutex<Overtaking>,
    flushes: Mutex<Vec<(u64, Reply)>>,
    listeners: Mutex<Vec<Arc<dyn Sink>>>,
    /// How many sinks want `candles` events; without any no event is made.
    candle_listeners: AtomicUsize,
    poisoned: Mutex<Option<StoreError>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    checkpointer: Checkpointer,
    breaker: Mutex<Breaker>,
    /// The breaker is closed and has seen no failure since the last success: nothing is to be done at a commit.
    is_calm: AtomicBool,
    /// The thread pauses between two attempts.
    pauses: AtomicBool,
    /// The deadline of closing has passed: a begun group must not wait for the lock any longer.
    stopping: AtomicBool,
}

impl Writer {
    pub fn new(
        engine: Arc<dyn Engine>,
        counts: Arc<Counts>,
        tails: Arc<TailCache>,
        options: &Options,
    ) -> Arc<Self> {
        let file_lock = Arc::new(FileLock::new(engine.file()));
        Arc::new(Self {
            token: Token::new(engine.clone(), file_lock.clone()),
            engine,
            queue: Queue::new(options.queue_capacity_rows, options.queue_capacity_bytes),
            counts,
            tails,
            file_lock,
            numbers: Recorder::default(),
            lock_reports: LockReports::default(),
            options: options.clone(),
            overtaking: Mutex::default(),
            flushes: Mutex::default(),
            listeners: Mutex::default(),
            candle_listeners: AtomicUsize::new(0),
            poisoned: Mutex::default(),
            thread: Mutex::default(),
            checkpointer: Checkpointer::new(),
            breaker: Mutex::new(Breaker::new(options.breaker, Instant::now())),
            is_calm: AtomicBool::new(true),
            pauses: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Does something that may commit, and lets those know who keep what the file holds.
    pub fn committing<T>(&self, commit: impl FnOnce() -> Result<(T, Vec<Committed>)>) -> Result<T> {
        let mut tails = self.tails.committing();
        self.counts.committing(|| {
            let (value, commits) = commit()?;
            tails.done(&commits);
            Ok((value, commits))
        })
    }

    /// Accepts a write, which takes as much room as it needs; its outcome goes to `reply`.
    pub fn enqueue(self: &Arc<Self>, work: Work, offer: Offer, reply: Reply) -> Result<u64> {
        let job = offer.job;
        self.accept(work, offer, reply).inspect_err(|error| {
            // Where callers wait for room, this is one of their tries.
            if error.code == Code::QueueFull && self.options.when_full == WhenFull::Wait {
                return;
            }
            if matches!(error.code, Code::QueueFull | Code::BreakerOpen) {
                self.numbers.reject();
            }
            self.queue.book(job, Settled::REFUSED);
        })
    }

    /// Asks whether the database takes a write: `reply` is settled when something that changes nothing was committed in its turn.
    pub fn ask(self: &Arc<Self>, deadline: Instant, reply: Reply) -> Result<u64> {
        let offer = Offer {
            deadline: Some(deadline),
            // It is no reason to try again what has failed.
            is_urgent: false,
            ..Offer::new(Priority::Live, Instant::now())
        };
        self.accept(Work::Probe, offer, reply)
    }

    fn accept(self: &Arc<Self>, work: Work, mut offer: Offer, reply: Reply) -> Result<u64> {
        self.check_poisoned()?;
        self.check_suspended()?;
        self.start_thread()?;
        offer.load = work.load();
        self.queue
            .push(offer, |_| Command { work, reply })
            .map_err(|refused| self.refused(refused))
    }

    fn refused(&self, refused: Refused) -> StoreError {
        let full = match refused {
            Refused::Closed => return StoreError::closed(),
            Refused::Full(Load { rows, bytes }) => format!(
                "the write queue is full: {rows} rows and {bytes} bytes wait (limits {} and {}); \
                 wait for earlier writes or for the event 'drained' and try again",
                self.options.queue_capacity_rows, self.options.queue_capacity_bytes
            ),
            Refused::FullShare(Load { rows, bytes }) => format!(
                "this job's share of the write queue is full: its writes that wait may have {rows} rows and {bytes} bytes, \
                 so that the other jobs have room; wait for earlier writes and try again"
            ),
        };
        StoreError::new(Code::QueueFull, full).not_written()
    }

    fn start_thread(self: &Arc<Self>) -> Result<()> {
        let mut thread = lock(&self.thread);
        // A closed queue refuses the write, and nobody would join a thread started now.
        if thread.is_none() && !self.queue.is_closed() {
            let writer = self.clone();
            let started = thread::Builder::new()
                .name("candlestore-writer".into())
                .spawn(move || group::run(&writer));
            *thread = Some(started.map_err(|cause| {
                StoreError::new(
                    Code::IoError,
                    format!("cannot start the writer thread: {cause}"),
                )
                .not_written()
            })?);
        }
        Ok(())
    }

    /// Takes a write back that has not begun.
    pub fn withdraw(&self, sequence: u64, error: StoreError) -> bool {
        let Some(entry) = self.queue.withdraw(sequence) else {
            return false;
        };
        self.give_up(vec![entry], |_| error.clone());
        true
    }

    /// Settles writes that will not be done.
    pub fn give_up(
        &self,
        entries: Vec<Entry<Command>>,
        error: impl Fn(&Entry<Command>) -> StoreError,
    ) {
        let mut outbox = Outbox::default();
        if entries.is_empty() {
            return;
        }
        let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
        for entry in entries {
            let mut error = error(&entry);
            // It never began, whatever became of others.
            error.written = Some(Written::No);
            outbox.add(entry.command.reply, Err(error));
        }
        outbox.send();
        self.queue.settled(sequences);
        self.run_flushes();
        self.tell_drained();
    }

    /// Fails what one handle has waiting, because it was closed and its deadline has passed. What of it has begun is
    /// waited for: its outcome is told as it comes, and if it is undone it fails like the rest.
    pub fn give_up_of(&self, sink: &Arc<dyn Sink>) {
        let own = |entry: &Entry<Command>| Arc::ptr_eq(&entry.command.reply.sink, sink);
        loop {
            self.give_up(self.queue.withdraw_where(own), |_| closed_too_early());
            if self.queue.wait_in_flight(own) {
                return;
            }
        }
    }

    /// Settles `reply` when everything accepted so far is settled.
    pub fn flush(&self, reply: Reply) {
        lock(&self.flushes).push((self.queue.last_sequence(), reply));
        self.run_flushes();
    }

    fn run_flushes(&self) {
        let mut flushes = lock(&self.flushes);
        if flushes.is_empty() {
            return;
        }
        let oldest = self.queue.oldest();
        let (done, waiting) = std::mem::take(&mut *flushes)
            .into_iter()
            .partition(|(sequence, _)| oldest.is_none_or(|oldest| oldest > *sequence));
        *flushes = waiting;
        drop(flushes);
        let done: Vec<(u64, Reply)> = done;
        for (_, reply) in done {
            reply.settle(Ok(Answer::Done));
        }
    }

    /// The error every new write gets after a failure that nobody can judge.
    pub fn check_poisoned(&self) -> Result<()> {
        match &*lock(&self.poisoned) {
            Some(cause) => Err(StoreError::poisoned(&cause.message)),
            None => Ok(()),
        }
    }

    /// Stops writing for good: what waits fails, and so does what comes.
    pub fn poison(&self, cause: &StoreError) {
        {
            let mut poisoned = lock(&self.poisoned);
            if poisoned.is_some() {
                return;
            }
            *poisoned = Some(cause.clone());
        }
        self.give_up(self.queue.withdraw_all(), |_| {
            StoreError::poisoned(&cause.message)
        });
        self.emit(&Event::StoreError(cause.clone()));
    }

    /// The error every new write gets while the breaker is open.
    pub fn check_breaker(&self) -> Result<()> {
        self.check_suspended()
            .inspect_err(|_| self.numbers.reject())
    }

    fn check_suspended(&self) -> Result<()> {
        if self.is_calm.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.until_trial() {
            Some(wait) => Err(self.breaker_open(wait)),
            None => Ok(()),
        }
    }

    /// A synchronous call wants to write: what made the last attempt fail may be over, so that the pause after it is, too.
    pub fn end_pause(&self) {
        if self.pauses.load(Ordering::Relaxed) {
            self.queue.interrupt();
        }
    }

    /// Lets a synchronous write through the breaker: half-open, only one at a time, as a trial.
    pub fn admit(&self) -> Result<Trial<'_>> {
        if !self.is_calm.load(Ordering::Relaxed) {
            let admitted = lock(&self.breaker).admit(Instant::now());
            admitted.map_err(|wait| {
                self.numbers.reject();
                self.breaker_open(wait)
            })?;
        }
        Ok(Trial(self))
    }

    fn breaker_open(&self, wait: Duration) -> StoreError {
        let wait_ms = milliseconds(wait);
        let mut error = StoreError::new(
            Code::BreakerOpen,
            format!(
                "writing to {} is suspended, because its storage has refused writes (disk full or I/O error); what was accepted \
                 is kept, the next trial is in {wait_ms:.0} ms: make room, then try again",
                self.engine.name()
            ),
        )
        .not_written();
        error.retry_in_ms = Some(wait_ms);
        error
    }

    /// Something was committed: the storage takes writes, and its log may have become long.
    pub fn committed(&self, session: &dyn WriteSession) {
        if !self.is_calm.load(Ordering::Relaxed) {
            let changed = {
                let mut breaker = lock(&self.breaker);
                self.is_calm.store(true, Ordering::Relaxed);
                breaker.succeeded()
            };
            self.breaker_changed(changed, None);
        }
        let log_bytes = session.log_bytes();
        self.checkpointer
            .committed(log_bytes, &self.engine, &self.token, &self.file_lock);
    }

    /// After a synchronous write or a lease has held the lock for so long: how long its thread keeps off, to leave room
    /// for programs that know nothing of the line. Never long, because callers wait; nothing after a short write.
    pub fn leave_room(&self, held: Duration) -> Duration {
        if held < SHORT_WRITE {
            return Duration::ZERO;
        }
        self.file_lock.leave_room(&self.engine, held);
        self.file_lock.room_left().min(LONGEST_ROOM)
    }

    /// How long until the storage is looked at again; `None` unless the breaker is open.
    fn until_trial(&self) -> Option<Duration> {
        if self.is_calm.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.breaker).until_trial(Instant::now())
    }

    /// Whether somebody else's lock, or the storage, keeps writes waiting now.
    pub fn is_held_up(&self) -> bool {
        !self.is_calm.load(Ordering::Relaxed) || self.queue.barred_since().is_some()
    }

    fn is_half_open(&self) -> bool {
        !self.is_calm.load(Ordering::Relaxed)
            && lock(&self.breaker).state() == breaker::State::HalfOpen
    }

    /// A write has failed: a refusal of the storage counts towards opening the breaker.
    pub fn write_failed(self: &Arc<Self>, error: &StoreError) {
        match error.failure {
            Failure::Fatal => self.poison(error),
            Failure::Storage => {
                // What keeps the writes from here on is no lock.
                self.queue.unbar(Instant::now());
                let changed = {
                    let mut breaker = lock(&self.breaker);
                    self.is_calm.store(false, Ordering::Relaxed);
                    breaker.failed(Instant::now(), error.code == Code::DiskFull)
                };
                self.breaker_changed(changed, Some(error));
                // The thread looks from time to time whether the storage has recovered, also when nothing waits.
                if changed.is_some() && self.start_thread().is_ok() {
                    self.queue.interrupt();
                }
            }
            Failure::Transient | Failure::Permanent => {}
        }
    }

    fn breaker_changed(&self, changed: breaker::Changed, error: Option<&StoreError>) {
        if changed.is_some() && self.is_wanted(EventKind::Breaker) {
            self.emit(&Event::Breaker(self.breaker(), error.cloned()));
        }
    }

    /// The error of a wait that its deadline has ended.
    pub fn timed_out(&self, waited: Waited) -> StoreError {
        self.timed_out_by(self.engine.lock_holder(), waited)
    }

    /// The same, where the process that holds the lock has been looked for already.
    fn timed_out_by(&self, holder: Option<u32>, waited: Waited) -> StoreError {
        let held_by = match holder {
            Some(pid) if pid == std::process::id() => " (held by this process)".to_owned(),
            Some(pid) => format!(" (held by process {pid})"),
            None => String::new(),
        };
        let mut error = StoreError::new(
            Code::Timeout,
            format!(
                "waited {:.0} ms for the write lock of {}{held_by}; nothing was written, try again or raise the time-out",
                milliseconds(waited.time),
                self.engine.name()
            ),
        )
        .not_written();
        error.waited_ms = Some(milliseconds(waited.time));
        error.attempts = Some(waited.attempts);
        error.holder_pid = holder;
        error
    }

    pub fn overtaking(&self) -> MutexGuard<'_, Overtaking> {
        lock(&self.overtaking)
    }

    pub fn add_listener(&self, sink: Arc<dyn Sink>) {
        lock(&self.listeners).push(sink);
    }

    pub fn remove_listener(&self, sink: &Arc<dyn Sink>) {
        lock(&self.listeners).retain(|other| !Arc::ptr_eq(other, sink));
    }

    /// One sink more, or one less, wants `candles` events.
    pub fn want_candles(&self, wanted: bool) {
        if wanted {
            self.candle_listeners.fetch_add(1, Ordering::Relaxed);
        } else {
            self.candle_listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub fn wants_candles(&self) -> bool {
        self.candle_listeners.load(Ordering::Relaxed) > 0
    }

    /// Whether any handle wants events of a kind.
    pub fn is_wanted(&self, kind: EventKind) -> bool {
        lock(&self.listeners).iter().any(|sink| sink.wants(kind))
    }

    /// What the breaker says of itself.
    pub fn breaker(&self) -> BreakerNumbers {
        let breaker = lock(&self.breaker);
        let until_trial = breaker.until_trial(Instant::now());
        BreakerNumbers {
            state: breaker.state(),
            failures: u64::from(breaker.failures()),
            next_trial_ms: until_trial.map(milliseconds),
        }
    }

    /// Tells every handle; handles that did not ask ignore it.
    pub fn emit(&self, event: &Event) {
        let listeners = lock(&self.listeners).clone();
        for sink in listeners {
            sink.event(event.clone());
        }
    }

    /// Tells every handle when nothing is left to be written.
    fn tell_drained(&self) {
        if self.queue.oldest().is_none() {
            self.emit(&Event::Drained);
        }
    }

    /// Tells of committed candles, one event for each series.
    pub fn emit_candles(&self, events: Vec<CandlesEvent>) {
        let mut joined: Vec<CandlesEvent> = Vec::new();
        for event in events {
            match joined
                .iter_mut()
                .find(|known| known.timeframe == event.timeframe && known.symbol == event.symbol)
            {
                Some(known) => {
                    known.from = known.from.min(event.from);
                    known.count += event.count;
                    if event.to >= known.to {
                        known.to = event.to;
                        known.newest = event.newest;
                    }
                }
                None => joined.push(event),
            }
        }
        for event in joined {
            self.emit(&Event::Candles(event));
        }
    }

    /// Ends the write side: nothing new is accepted, what waits is written until the deadline and failed after it,
    /// and the thread is joined. The session is left to be closed last.
    pub fn shut_down(&self, deadline: Instant) {
        self.queue.close();
        if !self
            .queue
            .wait_settled(self.queue.last_sequence(), Some(deadline))
        {
            self.stopping.store(true, Ordering::Relaxed);
            self.queue.interrupt();
            self.give_up(self.queue.withdraw_all(), |_| closed_too_early());
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The thread catches its own panics, so there is nothing to learn from how it ended.
            let _ = thread.join();
        }
        self.give_up(self.queue.withdraw_all(), |_| closed_too_early());
        self.checkpointer.shut_down();
    }

    /// Whether the deadline of closing has passed.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A synchronous write that the breaker has let through; it must not keep others out once it is over.
pub struct Trial<'a>(&'a Writer);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.0.is_calm.load(Ordering::Relaxed) {
            lock(&self.0.breaker).trial_told_nothing();
        }
    }
}

fn closed_too_early() -> StoreError {
    StoreError::new(
        Code::Closed,
        "the store was closed and its deadline passed before this write began",
    )
    .not_written()
}

/// Locks a mutex whose data are good even after a panic elsewhere: none is held across code that can panic half-way.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A deadline so many milliseconds from now.
pub fn after_ms(milliseconds: f64) -> Instant {
    // Bounded to a year, because an Instant cannot hold every number of milliseconds.
    Instant::now() + Duration::from_secs_f64(milliseconds.clamp(0.0, 31_536_000_000.0) / 1_000.0)
}
