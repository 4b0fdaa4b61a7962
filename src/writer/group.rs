//! The writer thread: takes the token and the file's lock, cuts a group from the queue, applies and commits it, and
//! settles it. Nothing leaves the queue before the lock is held. It ends when the queue is closed and empty.
//!
//! A group in which one command fails is undone and put back; each of its commands is then begun alone, so that none
//! suffers from another, whatever user SQL did to the transaction.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use super::command::Applied;
use super::{Asker, Command, Held, Waited, Writer};
use crate::error::{Code, Failure, Result, StoreError, Written};
use crate::overtaking::Overtaking;
use crate::queue::{End, Entry, Work as Found};
use crate::reply::{Outbox, SlowKind};

/// How long the thread sleeps at most before it looks whether deadlines have passed.
const LOOK: Duration = Duration::from_millis(10);
/// Pause before a group is tried again that lost its lock half-way.
const AGAIN: Duration = Duration::from_millis(1);

/// Why a wait of the thread's ended without the lock: not an error of any command.
const NOTHING_LEFT: Code = Code::Closed;

/// Runs until the queue is closed and empty.
pub fn run(writer: &Writer) {
    let mut alone = BTreeSet::new();
    while writer.queue.wait_for_work() == Found::Waiting {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| turn(writer, &mut alone))) {
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
    }
}

/// One turn: everything from taking the token to settling a group. `alone` are the sequences of commands that share
/// a transaction with no other.
fn turn(writer: &Writer, alone: &mut BTreeSet<u64>) {
    if writer.is_stopping() {
        return writer.give_up(writer.queue.withdraw_all(), |_| super::closed_too_early());
    }
    // A write may have been accepted while the store was being poisoned.
    if let Err(poisoned) = writer.check_poisoned() {
        return writer.give_up(writer.queue.withdraw_all(), |_| poisoned.clone());
    }
    expire(writer);
    let wanted = Instant::now();
    // Those that were withdrawn meanwhile are settled without having been begun.
    let oldest = writer.queue.oldest_waiting();
    if alone
        .last()
        .is_some_and(|last| oldest.is_none_or(|oldest| oldest > *last))
    {
        alone.clear();
    }
    let wake = writer.queue.next_deadline().map_or(LOOK, |deadline| {
        deadline.saturating_duration_since(Instant::now()).min(LOOK)
    });
    let mut held = match writer.token.take(Asker::Queue, Some(Instant::now() + wake)) {
        Ok(Some(held)) => held,
        Ok(None) => return,
        // Another process keeps the file locked while it sets it up: opening has waited already.
        Err(error) if error.failure == Failure::Transient => return,
        Err(error) => {
            // The file cannot be opened: nothing can be written until somebody mends it.
            return writer.give_up(writer.queue.withdraw_all(), |_| error.clone());
        }
    };
    let mut group = Group {
        writer,
        entries: Vec::new(),
        may_be_written: false,
    };
    let Ok(mut waited) = begin(writer, &mut held) else {
        return;
    };
    let began = Instant::now();
    waited.time = began - wanted;
    match write(writer, &mut held, &mut group, alone) {
        Ok(applied) if applied.is_empty() => held.session().rollback(),
        Ok(applied) => {
            overtake(writer, &group.entries);
            drop(held);
            let entries = group.take();
            for entry in &entries {
                alone.remove(&entry.sequence);
            }
            let waits = entries.iter().map(|entry| {
                (
                    entry.priority,
                    began.saturating_duration_since(entry.accepted),
                )
            });
            let rows = entries.iter().map(|entry| entry.rows).sum();
            writer.numbers.group(rows, began.elapsed(), waits);
            writer.tell_if_slow(SlowKind::Group, wanted, waited, None);
            let results = applied.into_iter().map(Ok);
            settle(writer, entries.into_iter().zip(results).collect(), began);
        }
        Err(error) => {
            held.session().rollback();
            undone(writer, held, group, alone, error);
        }
    }
}

/// Applies commands until the time budget is used or somebody waits for the token, and commits them.
fn write(
    writer: &Writer,
    held: &mut Held,
    group: &mut Group<'_>,
    alone: &BTreeSet<u64>,
) -> Result<Vec<Applied>> {
    let start = Instant::now();
    let budget = Duration::from_secs_f64(writer.options.group_budget_ms / 1_000.0);
    let mut applied = Vec::new();
    // What this group has written before older commands of the same group.
    let mut newer = Overtaking::default();
    while group.entries.is_empty() || start.elapsed() < budget {
        let Some(entry) = writer.queue.begin_next(Instant::now()) else {
            break;
        };
        let single = alone.contains(&entry.sequence);
        if single && !group.entries.is_empty() {
            writer.queue.put_back(vec![entry]);
            break;
        }
        // In the group before it is applied: a panic must not lose it.
        let entry = group.add(entry);
        let work = &entry.command.work;
        let known = writer.overtaking();
        applied.push(work.apply(held.session(), entry.sequence, &[&*known, &newer])?);
        drop(known);
        if is_overtaking(writer, entry.sequence) {
            work.overtake(&mut newer, entry.sequence);
        }
        if single || writer.token.is_wanted() {
            break;
        }
    }
    if !applied.is_empty() {
        group.may_be_written = true;
        commit(writer, held)?;
    }
    Ok(applied)
}

/// A group that was rolled back: run again later, run again one by one, or failed.
fn undone(
    writer: &Writer,
    held: Held,
    mut group: Group<'_>,
    alone: &mut BTreeSet<u64>,
    error: StoreError,
) {
    let entries = group.take();
    match error.failure {
        Failure::Transient => {
            // Back in the queue while the token is held: a synchronous write must see that they wait.
            writer.queue.put_back(entries);
            drop(held);
            writer.numbers.retry();
            thread::sleep(AGAIN);
        }
        Failure::Permanent if entries.len() > 1 => {
            alone.extend(entries.iter().map(|entry| entry.sequence));
            writer.queue.put_back(entries);
            writer.numbers.retry();
        }
        Failure::Permanent | Failure::Storage | Failure::Fatal => {
            drop(held);
            for entry in &entries {
                alone.remove(&entry.sequence);
            }
            fail(writer, entries, &error);
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
fn begin(writer: &Writer, held: &mut Held) -> Result<Waited> {
    let session = held.session();
    let start = Instant::now();
    let mut give_up = |_| {
        expire(writer);
        if writer.is_stopping() || writer.queue.is_empty() {
            return Some(StoreError::new(NOTHING_LEFT, "nothing is left to write"));
        }
        // A wait that lasts gives waiting callers their own turn, with their own deadlines.
        let yields = writer.token.is_wanted() && start.elapsed() > Duration::from_millis(1);
        yields.then(|| StoreError::new(NOTHING_LEFT, "a synchronous write goes first"))
    };
    let (waited, outcome) = writer.wait_for_lock(&mut || session.try_begin(), &mut give_up);
    outcome
        .map(|()| waited)
        .inspect_err(|error| match error.failure {
            Failure::Transient => {}
            Failure::Fatal => writer.poison(error),
            Failure::Storage | Failure::Permanent => {
                writer.give_up(writer.queue.withdraw_all(), |_| error.clone())
            }
        })
}

/// Fails what no longer wants to wait.
fn expire(writer: &Writer) {
    let expired = writer.queue.expire(Instant::now());
    if expired.is_empty() {
        return;
    }
    writer.lock_waits.gave_up(expired.len());
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
    writer.counts.committing(|| {
        let committed = held.session().commit()?;
        Ok(((), vec![committed]))
    })
}

/// Whether an older write still waits.
fn is_overtaking(writer: &Writer, sequence: u64) -> bool {
    let oldest = writer.queue.oldest_waiting();
    oldest.is_some_and(|oldest| oldest < sequence)
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
    let commit_ms = began.elapsed().as_secs_f64() * 1_000.0;
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
        let queued_ms = began
            .saturating_duration_since(entry.accepted)
            .as_secs_f64()
            * 1_000.0;
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
    /// The commit has begun.
    may_be_written: bool,
}

impl Group<'_> {
    fn add(&mut self, entry: Entry<Command>) -> &Entry<Command> {
        self.entries.push(entry);
        &self.entries[self.entries.len() - 1]
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
