//! The writer thread: takes the token and the file's lock, cuts a group from the queue, applies and commits it, and
//! settles it. Nothing leaves the queue before the lock is held. It ends when the queue is closed and empty.
//!
//! A group is as large as, by the speed of those before, fits into `groupBudgetMs`, and is cut short at the end of a batch
//! when that was wrong or somebody more urgent has come. What a candle is written to more than once in it is written once
//! (`coalesce`). A group in which one command fails is undone and put back; each of its commands is then begun alone, so
//! that none suffers from another, whatever user SQL did to the transaction.
//!
//! A group that lost its lock half-way, or that the storage refused, is put back whole and tried again after a pause
//! (`Backoff`), which anything urgent ends. While the breaker is open nothing is tried; the storage is looked at from time
//! to time, and then one command is the trial.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::coalesce::coalesce;
use super::command::Applied;
use super::{Asker, Command, Held, Waited, Writer, lock};
use crate::error::{Code, Failure, Result, StoreError, Written};
use crate::histogram::milliseconds;
use crate::overtaking::Overtaking;
use crate::queue::{Cut, End, Entry, Priority, Work as Found};
use crate::reply::{Outbox, SlowKind};
use crate::retry::{self, Backoff};
use crate::turn::Urgency;

/// How long the thread sleeps at most before it looks whether deadlines have passed.
const LOOK: Duration = Duration::from_millis(10);
/// How long one attempt at the lock lasts. It is long, because a pause after it would only make this process miss its turn.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long the lock is waited for to look whether the storage takes a write.
const PROBES: Duration = Duration::from_millis(100);
/// Bytes that are written in a millisecond, before this store has measured it, and the bounds of what it may measure.
const BYTES_PER_MS: f64 = 20_000.0;
const SLOWEST: f64 = 100.0;
const FASTEST: f64 = 1e6;
/// A group of fewer bytes says nothing about the speed.
const TELLING_BYTES: usize = 10_000;

/// Why a wait of the thread's ended without the lock: not an error of any command.
const NOTHING_LEFT: Code = Code::Closed;
const GIVEN_UP: Code = Code::Aborted;

/// What the thread remembers from group to group.
struct Memory {
    /// Sequences of commands that share a transaction with no other.
    alone: BTreeSet<u64>,
    backoff: Backoff,
    /// When the next attempt is due, and what was urgent when that was set.
    paused: Option<(Instant, u64)>,
    bytes_per_ms: f64,
    /// Since when the thread wants to write, and has not.
    wanted: Option<Instant>,
}

/// Runs until the queue is closed and empty.
pub fn run(writer: &Arc<Writer>) {
    let mut memory = Memory {
        alone: BTreeSet::new(),
        backoff: Backoff::new(writer.options.retry, retry::random()),
        paused: None,
        bytes_per_ms: BYTES_PER_MS,
        wanted: None,
    };
    loop {
        // What was wanted may have been withdrawn.
        if writer.queue.is_empty() {
            memory.wanted = None;
        }
        let until_trial = writer.until_trial();
        let found = writer.queue.wait_for_work(until_trial);
        let step = || match found {
            Found::Finished => {}
            _ if until_trial.is_some() => look_at_storage(writer),
            Found::Waiting => turn(writer, &mut memory),
            Found::Nothing => {}
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(step)) {
            let said = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            writer.poison(
                &StoreError::new(
                    Code::Poisoned,
                    format!("the writer thread panicked: {said}"),
                )
                .failure(Failure::Fatal),
            );
        }
        if found == Found::Finished {
            return;
        }
    }
}

/// While the breaker is open: waits until the storage may be tried again, and looks whether it takes a write.
fn look_at_storage(writer: &Arc<Writer>) {
    if give_up_all(writer) {
        return;
    }
    expire(writer);
    match writer.until_trial() {
        None => return,
        Some(wait) if !wait.is_zero() => {
            let wait = wait.min(time_to_deadline(writer));
            writer.queue.pause(wait, writer.queue.urgent());
            return;
        }
        Some(_) => {}
    }
    let now = Instant::now();
    let is_well = lock(&writer.breaker).is_recovered(now) || {
        match writer.token.take(Asker::Queue, Some(now + LOOK)) {
            Ok(Some(mut held)) => {
                let session = held.session();
                let mut give_up = |_| (now.elapsed() >= PROBES).then(StoreError::closed);
                let probed =
                    writer
                        .file_lock
                        .take(&|| Urgency::Live, &mut || session.probe(), &mut give_up);
                probed.is_ok()
            }
            Ok(None) | Err(_) => false,
        }
    };
    let changed = lock(&writer.breaker).probed(now, is_well);
    writer.breaker_changed(changed, None);
}

/// Fails everything if nothing can be written any more.
fn give_up_all(writer: &Writer) -> bool {
    let error = if writer.is_stopping() {
        super::closed_too_early()
    } else if let Err(poisoned) = writer.check_poisoned() {
        // A write may have been accepted while the store was being poisoned.
        poisoned
    } else {
        return false;
    };
    writer.give_up(writer.queue.withdraw_all(), |_| error.clone());
    true
}

fn time_to_deadline(writer: &Writer) -> Duration {
    let now = Instant::now();
    let deadline = writer.queue.next_deadline();
    deadline.map_or(Duration::MAX, |deadline| {
        deadline.saturating_duration_since(now)
    })
}

/// One turn: everything from taking the token to settling a group.
fn turn(writer: &Arc<Writer>, memory: &mut Memory) {
    if give_up_all(writer) {
        return;
    }
    expire(writer);
    memory.forget_gone(writer.queue.oldest_waiting());
    let urgent = writer.queue.urgent();
    if let Some((due, urgent)) = memory.paused {
        let wait = due.saturating_duration_since(Instant::now());
        let is_urgent = writer
            .queue
            .pause(wait.min(time_to_deadline(writer)), urgent);
        if is_urgent || Instant::now() >= due {
            memory.paused = None;
            writer.pauses.store(false, Ordering::Relaxed);
        }
        return;
    }
    // Room for programs that know nothing of the line: backfill keeps off, live writes do not.
    let room = writer.file_lock.room_left();
    let live_only = !room.is_zero();
    if live_only && !writer.queue.has_live() {
        writer
            .queue
            .pause(room.min(time_to_deadline(writer)), urgent);
        return;
    }
    let wanted = *memory.wanted.get_or_insert_with(Instant::now);
    let wake = time_to_deadline(writer).min(LOOK);
    let asked = Instant::now();
    let mut held = match writer.token.take(Asker::Queue, Some(asked + wake)) {
        Ok(Some(held)) => held,
        // Somebody else of this process has the lock, or waits for it.
        Ok(None) => return writer.queue.bar(asked),
        Err(error) => match error.failure {
            // Another process keeps the file locked while it sets it up: opening has waited already.
            Failure::Transient => return writer.queue.bar(asked),
            Failure::Storage => return memory.again(writer, &error),
            // The file cannot be opened: nothing can be written until somebody mends it.
            Failure::Permanent | Failure::Fatal => {
                return writer.give_up(writer.queue.withdraw_all(), |_| error.clone());
            }
        },
    };
    let mut waited = match begin(writer, &mut held) {
        Ok(waited) => waited,
        Err(error) => {
            drop(held);
            if error.failure == Failure::Storage || error.code == GIVEN_UP {
                memory.again(writer, &error);
            }
            return;
        }
    };
    let began = Instant::now();
    let mut group = Group {
        writer,
        entries: Vec::new(),
        begun: 0,
        may_be_written: false,
    };
    waited.time = began - wanted;
    match write(writer, &mut held, &mut group, memory, live_only) {
        Ok(applied) if applied.is_empty() => held.session().rollback(),
        Ok(applied) => {
            overtake(writer, &group.entries);
            if group.has_backfill() {
                writer.file_lock.leave_room(&writer.engine, began.elapsed());
            }
            writer.committed(held.session());
            drop(held);
            memory.backoff.reset();
            memory.wanted = None;
            let entries = group.take();
            for entry in &entries {
                memory.alone.remove(&entry.sequence);
            }
            let waits = entries.iter().map(|entry| {
                (
                    entry.priority,
                    began.saturating_duration_since(entry.accepted),
                )
            });
            let rows = entries.iter().map(|entry| entry.load.rows).sum();
            writer.numbers.group(rows, began.elapsed(), waits);
            writer.tell_if_slow(SlowKind::Group, wanted, waited, None);
            let results = applied.into_iter().map(Ok);
            settle(writer, entries.into_iter().zip(results).collect(), began);
        }
        Err(error) => {
            held.session().rollback();
            undone(writer, held, group, memory, error);
        }
    }
}

/// Cuts a group, applies its commands until the time budget is used or somebody more urgent waits, and commits them.
fn write(
    writer: &Writer,
    held: &mut Held,
    group: &mut Group<'_>,
    memory: &mut Memory,
    live_only: bool,
) -> Result<Vec<Applied>> {
    let start = Instant::now();
    let budget_ms = writer.options.group_budget_ms;
    let budget = Duration::from_secs_f64(budget_ms / 1_000.0);
    let on_trial = writer.is_half_open();
    group.entries = writer.queue.cut(&Cut {
        now: start,
        bytes: (memory.bytes_per_ms * budget_ms) as usize,
        live_only,
        alone: &|sequence| on_trial || memory.alone.contains(&sequence),
    });
    let oldest_after = oldest_after(&group.entries);
    let mut applied = Vec::with_capacity(group.entries.len());
    // What this group has written before older commands of the same group.
    let mut newer = Overtaking::default();
    let (mut run_end, mut is_coalesced) = (0, false);
    let mut bytes = 0;
    for (place, oldest_after) in oldest_after.into_iter().enumerate() {
        let entry = &group.entries[place];
        // Coalesced commands lean on each other and are applied all or none.
        let is_boundary = place == run_end || !is_coalesced;
        if place > 0 && is_boundary && (start.elapsed() >= budget || is_outrun(writer, entry)) {
            writer.queue.put_back(group.entries.split_off(place));
            break;
        }
        if place == run_end {
            let run = coalesce(&group.entries[place..], &mut newer);
            (run_end, is_coalesced) = (place + run.commands, run.is_coalesced);
        }
        group.begun = place + 1;
        let work = &entry.command.work;
        {
            let known = writer.overtaking();
            applied.push(work.apply(held.session(), entry.sequence, &[&*known, &newer])?);
        }
        if oldest_after < entry.sequence {
            work.overtake(&mut newer, entry.sequence);
        }
        bytes += entry.load.bytes;
    }
    if !applied.is_empty() {
        group.may_be_written = true;
        commit(writer, held)?;
        memory.measured(bytes, start.elapsed());
    }
    Ok(applied)
}

/// For each command the smallest sequence of those that come after it in the group.
fn oldest_after(entries: &[Entry<Command>]) -> Vec<u64> {
    let mut oldest = u64::MAX;
    let mut after: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| {
            let after = oldest;
            oldest = oldest.min(entry.sequence);
            after
        })
        .collect();
    after.reverse();
    after
}

/// Whether somebody more urgent than this command waits.
fn is_outrun(writer: &Writer, entry: &Entry<Command>) -> bool {
    writer.token.is_wanted() || (entry.priority != Priority::Live && writer.queue.has_live())
}

/// A group that was rolled back: run again later, run again without the command that failed, or failed.
fn undone(
    writer: &Arc<Writer>,
    held: Held,
    mut group: Group<'_>,
    memory: &mut Memory,
    error: StoreError,
) {
    let (begun, may_be_written) = (group.begun, group.may_be_written);
    let mut entries = group.take();
    match error.failure {
        // Back in the queue while the token is held: a synchronous write must see that they wait.
        Failure::Transient | Failure::Storage => {
            writer.queue.put_back(entries);
            drop(held);
            memory.again(writer, &error);
        }
        Failure::Permanent if begun > 1 => {
            // A commit does not tell which of them it is that cannot be committed.
            let suspects = if may_be_written {
                0..begun
            } else {
                begun - 1..begun
            };
            let suspects = entries[suspects].iter().map(|entry| entry.sequence);
            memory.alone.extend(suspects);
            writer.queue.put_back(entries);
            writer.numbers.retry();
        }
        Failure::Permanent | Failure::Fatal => {
            if error.failure == Failure::Permanent {
                writer.queue.put_back(entries.split_off(begun));
            }
            drop(held);
            for entry in &entries {
                memory.alone.remove(&entry.sequence);
            }
            fail(writer, entries, &error);
        }
    }
}

impl Memory {
    /// Those that were withdrawn meanwhile are settled without having been begun.
    fn forget_gone(&mut self, oldest: Option<u64>) {
        if self
            .alone
            .last()
            .is_some_and(|last| oldest.is_none_or(|oldest| oldest > *last))
        {
            self.alone.clear();
        }
    }

    /// What was tried is tried again after a pause, or when the breaker lets it through.
    fn again(&mut self, writer: &Arc<Writer>, error: &StoreError) {
        writer.numbers.retry();
        if error.failure != Failure::Storage {
            writer.queue.bar(Instant::now());
        }
        let urgent = writer.queue.urgent();
        writer.pauses.store(true, Ordering::Relaxed);
        writer.write_failed(error);
        self.paused = Some((Instant::now() + self.backoff.pause(), urgent));
    }

    /// A group of so many bytes took so long.
    fn measured(&mut self, bytes: usize, time: Duration) {
        if bytes >= TELLING_BYTES {
            let measured = bytes as f64 / milliseconds(time).max(1e-3);
            let mean = 0.75 * self.bytes_per_ms + 0.25 * measured;
            self.bytes_per_ms = mean.clamp(SLOWEST, FASTEST);
        }
    }
}

/// Fails commands that were begun together.
fn fail(writer: &Writer, entries: Vec<Entry<Command>>, error: &StoreError) {
    // Whoever learns of a fatal failure finds the store poisoned.
    if error.failure == Failure::Fatal {
        writer.poison(error);
    }
    let failed = entries
        .into_iter()
        .map(|entry| (entry, Err(error.clone())))
        .collect();
    settle(writer, failed, Instant::now());
}

/// Waits for the file's lock as long as there is anything to write, expiring what no longer wants to wait.
fn begin(writer: &Arc<Writer>, held: &mut Held) -> Result<Waited> {
    let session = held.session();
    let start = Instant::now();
    let mut is_barred = false;
    let mut give_up = |_| {
        if !is_barred {
            writer.queue.bar(start);
            is_barred = true;
        }
        expire(writer);
        if writer.is_stopping() || writer.queue.is_empty() {
            return Some(StoreError::new(NOTHING_LEFT, "nothing is left to write"));
        }
        // A wait that lasts gives waiting callers their own turn, with their own deadlines.
        let waited = start.elapsed();
        if writer.token.is_wanted() && waited > Duration::from_millis(1) {
            return Some(StoreError::new(
                NOTHING_LEFT,
                "a synchronous write goes first",
            ));
        }
        (waited >= ATTEMPT)
            .then(|| StoreError::new(GIVEN_UP, "this attempt at the lock has lasted long enough"))
    };
    let urgency = || {
        if writer.queue.has_live() {
            Urgency::Live
        } else {
            Urgency::Backfill
        }
    };
    let (waited, outcome) =
        writer.wait_for_lock(&urgency, &mut || session.try_begin(), &mut give_up);
    outcome
        .map(|()| waited)
        .inspect_err(|error| match error.failure {
            Failure::Transient | Failure::Storage => {}
            Failure::Fatal => writer.poison(error),
            Failure::Permanent => writer.give_up(writer.queue.withdraw_all(), |_| error.clone()),
        })
}

/// Fails what no longer wants to wait.
fn expire(writer: &Writer) {
    let expired = writer.queue.expire(Instant::now());
    if expired.is_empty() {
        return;
    }
    writer.file_lock.gave_up(expired.len());
    // Looked for once: it costs a read of /proc/locks, and many may expire together.
    let holder = writer.engine.lock_holder();
    writer.give_up(expired, |entry| {
        let waited = Waited {
            time: entry.accepted.elapsed(),
            attempts: 0,
        };
        writer.timed_out_by(holder, waited)
    });
}

fn commit(writer: &Writer, held: &mut Held) -> Result<()> {
    writer.committing(|| {
        let committed = held.session().commit()?;
        Ok(((), vec![committed]))
    })
}

/// Remembers what was committed before older writes, as long as such writes wait.
fn overtake(writer: &Writer, entries: &[Entry<Command>]) {
    let oldest = writer.queue.oldest_waiting();
    let mut overtaking = writer.overtaking();
    overtaking.forget_before(oldest);
    for entry in entries {
        if oldest.is_some_and(|oldest| oldest < entry.sequence) {
            entry.command.work.overtake(&mut overtaking, entry.sequence);
        }
    }
}

/// Tells everybody how their writes ended. Room is made first, because who learns of a settled write may send the next
/// one at once; who waits for everything to be settled goes on only when everybody has been told.
fn settle(writer: &Writer, group: Vec<(Entry<Command>, Result<Applied>)>, began: Instant) {
    let commit_ms = milliseconds(began.elapsed());
    let mut outbox = Outbox::default();
    let mut events = Vec::new();
    let sequences: Vec<_> = group.iter().map(|(entry, _)| entry.sequence).collect();
    writer.queue.ended(group.iter().map(|(entry, result)| {
        let end = match result {
            Ok(applied) => End::Committed {
                coalesced: applied.coalesced(),
            },
            Err(_) => End::Failed,
        };
        (entry, end)
    }));
    let wants_candles = writer.wants_candles();
    for (entry, result) in group {
        if wants_candles && let Ok(applied) = &result {
            events.extend(entry.command.work.event(applied));
        }
        let queued_ms = milliseconds(began.saturating_duration_since(entry.accepted));
        let answer = result
            .map(|done| done.answer(entry.sequence, queued_ms, commit_ms))
            .map_err(|mut error| {
                error.written.get_or_insert(Written::No);
                error
            });
        outbox.add(entry.command.reply, answer);
    }
    outbox.send();
    writer.queue.settled(sequences);
    writer.run_flushes();
    writer.emit_candles(events);
    writer.tell_drained();
}

/// Commands that have left the queue and are not settled. A panic must not make the store forget them.
struct Group<'a> {
    writer: &'a Writer,
    entries: Vec<Entry<Command>>,
    /// So many of them were applied, or were being applied.
    begun: usize,
    /// The commit has begun.
    may_be_written: bool,
}

impl Group<'_> {
    fn has_backfill(&self) -> bool {
        let is_live = |entry: &Entry<Command>| entry.priority == Priority::Live;
        !self.entries.iter().all(is_live)
    }

    /// The commands, whose outcome is known now.
    fn take(&mut self) -> Vec<Entry<Command>> {
        std::mem::take(&mut self.entries)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let entries = self.take();
        if !entries.is_empty() {
            let mut error = StoreError::new(
                Code::Poisoned,
                "the writer thread panicked while it wrote this",
            )
            .failure(Failure::Fatal);
            error.written = self.may_be_written.then_some(Written::Unknown);
            fail(self.writer, entries, &error);
        }
    }
}
