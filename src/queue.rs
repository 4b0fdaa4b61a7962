//! The write queue: what was accepted and is not yet committed, in three priorities, first come first served in
//! each. It bounds rows and bytes, withdraws what has not begun, and knows when everything accepted before some
//! moment is done. It keeps account of everything it has accepted. It knows nothing of SQL and starts no thread; the
//! clock is passed in.

use std::collections::{BTreeSet, VecDeque};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::histogram::milliseconds;
use crate::jobs::{JobId, JobNumbers, Jobs, Load, Settled};

use crate::sync::{Condvar, Mutex, MutexGuard};

/// How urgent a write is. Within one priority the order of acceptance holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    Live,
    Backfill,
    Maintenance,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::Live, Priority::Backfill, Priority::Maintenance];

    fn place(self) -> usize {
        self as usize
    }
}

/// A write of a lower priority that has waited this long goes before newer ones of a higher, so that constant live
/// load cannot hold it up for ever.
const AGEING: Duration = Duration::from_secs(1);
/// But only one in so many: when a long backfill has aged, live writes must not wait for all of it.
const AGED_SHARE: u32 = 8;

/// A write as it comes to the queue.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    pub priority: Priority,
    pub accepted: Instant,
    /// When the caller no longer wants it, unless it has begun.
    pub deadline: Option<Instant>,
    pub load: Load,
    /// The job that it is counted for.
    pub job: JobId,
    /// It ends a pause.
    pub is_urgent: bool,
}

impl Offer {
    /// A write of nobody's, which waits as long as it takes; it takes no room yet.
    pub fn new(priority: Priority, accepted: Instant) -> Self {
        Self {
            priority,
            accepted,
            deadline: None,
            load: Load::default(),
            job: 0,
            is_urgent: priority == Priority::Live,
        }
    }

    #[cfg(test)]
    pub fn of(priority: Priority, accepted: Instant, rows: usize, bytes: usize) -> Self {
        Self {
            load: Load { rows, bytes },
            ..Self::new(priority, accepted)
        }
    }
}

/// A write in the queue.
#[derive(Debug)]
pub struct Entry<C> {
    /// The place in the order of acceptance, over all priorities.
    pub sequence: u64,
    pub priority: Priority,
    pub accepted: Instant,
    /// When the caller no longer wants it, unless it has begun.
    pub deadline: Option<Instant>,
    pub load: Load,
    pub job: JobId,
    /// For how long in all the way out had been barred when it came into its lane.
    pub(crate) barred_before: Duration,
    /// For how long somebody else's lock has kept it, up to when it left its lane.
    pub kept: Duration,
    pub command: C,
}

/// Why a write was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Closed,
    /// So much waits.
    Full(Load),
    /// The job has used up its share, which is this.
    FullShare(Load),
}

/// Writes and their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub commands: u64,
    pub rows: u64,
}

impl Amount {
    fn add(&mut self, rows: usize) {
        self.commands += 1;
        self.rows += rows as u64;
    }

    fn remove(&mut self, rows: usize) {
        self.commands -= 1;
        self.rows -= rows as u64;
    }
}

/// What has become of everything that was ever accepted. `accepted` is the sum of all that follow it but `withdrawn`,
/// which is a part of `failed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accounts {
    pub accepted: Amount,
    /// Without the rows that were left out.
    pub committed: Amount,
    /// Rows of committed writes that were left out because a newer write had the same candle, and writes of which
    /// nothing was left.
    pub coalesced: Amount,
    /// Accepted and not committed, whatever the reason.
    pub failed: Amount,
    /// Those of them that had not begun.
    pub withdrawn: Amount,
    pub queued: Amount,
    /// Begun, and their outcome is not known yet.
    pub in_flight: Amount,
}

/// How a write that was begun has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// But for so many of its rows, which were left out.
    Committed {
        coalesced: usize,
    },
    Failed,
}

/// What waits in one priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    pub batches: usize,
    pub rows: usize,
    pub bytes: usize,
    pub oldest_age_ms: f64,
}

/// What the writer finds when it looks for work.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    Waiting,
    /// Nothing yet: somebody has interrupted the wait, or its time is over.
    Nothing,
    /// The queue is closed and empty.
    Finished,
}

/// What may go into one group.
pub struct Cut<'a> {
    pub now: Instant,
    /// About so much; the first write goes in whatever its size.
    pub bytes: usize,
    /// Only live writes.
    pub live_only: bool,
    /// Writes that share a group with no other, by their sequence.
    pub alone: &'a dyn Fn(u64) -> bool,
}

/// A group is of so many writes at most.
const MOST_WRITES: usize = 4_096;
/// Beside live writes, which should not wait for it, the others may fill this part of a group: one in so many.
const SHARE_BESIDE_LIVE: usize = 4;

/// What waits in one priority, with its sums.
struct Lane<C> {
    entries: VecDeque<Entry<C>>,
    load: Load,
}

struct State<C> {
    lanes: [Lane<C>; 3],
    /// Room that is taken, by what waits and by what has begun.
    taken: Load,
    jobs: Jobs,
    /// For how long in all somebody else's lock has barred the way out, and since when it does.
    barred: Duration,
    barred_since: Option<Instant>,
    last_sequence: u64,
    /// Sequences that have left the lanes, begun or withdrawn, and whose callers have not been told yet.
    untold: BTreeSet<u64>,
    /// All but `queued`, which the lanes know.
    accounts: Accounts,
    /// Waiting writes that have a deadline.
    with_deadline: usize,
    /// Writes begun since one went before its turn because of its age.
    since_aged: u32,
    /// Threads that wait for a change: waking nobody costs a system call, too.
    sleepers: usize,
    /// How often something came that ends a pause: a live write, or an interruption.
    urgent: u64,
    closed: bool,
}

/// A bounded queue with priorities, shared by those who fill it and the one who empties it.
pub struct Queue<C> {
    state: Mutex<State<C>>,
    /// Something was accepted or settled, or the queue was closed.
    changed: Condvar,
    capacity: Load,
}

impl<C> Queue<C> {
    pub fn new(capacity_rows: usize, capacity_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                lanes: Default::default(),
                taken: Load::default(),
                jobs: Jobs::default(),
                barred: Duration::ZERO,
                barred_since: None,
                last_sequence: 0,
                untold: BTreeSet::new(),
                accounts: Accounts::default(),
                with_deadline: 0,
                since_aged: AGED_SHARE,
                sleepers: 0,
                urgent: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            capacity: Load {
                rows: capacity_rows,
                bytes: capacity_bytes,
            },
        }
    }

    /// No code runs under this lock that could leave the state half-changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a write and returns its sequence number. A single write larger than the whole queue is accepted
    /// when the queue is empty, or it could never be written.
    pub fn push(&self, offer: Offer, command: impl FnOnce(u64) -> C) -> Result<u64, Refused> {
        let Offer {
            priority,
            accepted,
            deadline,
            load,
            job,
            is_urgent,
        } = offer;
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let taken = state.taken;
        if taken != Load::default() && !(taken + load).is_within(self.capacity) {
            return Err(Refused::Full(taken));
        }
        state
            .jobs
            .accept(job, load, self.capacity)
            .map_err(Refused::FullShare)?;
        state.last_sequence += 1;
        let sequence = state.last_sequence;
        state.taken += load;
        state.with_deadline += usize::from(deadline.is_some());
        state.urgent += u64::from(is_urgent);
        state.accounts.accepted.add(load.rows);
        let barred_before = state.barred_until(accepted);
        let command = command(sequence);
        state.lanes[priority.place()].push_back(Entry {
            sequence,
            priority,
            accepted,
            deadline,
            load,
            job,
            barred_before,
            kept: Duration::ZERO,
            command,
        });
        self.wake(state);
        Ok(sequence)
    }

    /// From `since` on nothing can leave, because somebody else holds the file's lock; until the next `cut`, or `unbar`.
    pub fn bar(&self, since: Instant) {
        self.lock().barred_since.get_or_insert(since);
    }

    /// Since when somebody else's lock bars the way out, if it does.
    pub fn barred_since(&self) -> Option<Instant> {
        self.lock().barred_since
    }

    /// What keeps the writes, if anything does, is no lock.
    pub fn unbar(&self, now: Instant) {
        self.lock().unbar(now);
    }

    /// A new job, for whose writes waits for the lock of more than `threshold` count.
    pub fn add_job(&self, threshold: Duration) -> JobId {
        self.lock().jobs.add(threshold)
    }

    /// Forgets a job; its last numbers.
    pub fn remove_job(&self, job: JobId) -> Option<JobNumbers> {
        self.lock().jobs.remove(job)
    }

    pub fn job_numbers(&self, job: JobId) -> Option<JobNumbers> {
        self.lock().jobs.numbers(job)
    }

    /// A job has written something that did not go through the queue.
    pub fn book(&self, job: JobId, settled: Settled) {
        self.lock().jobs.book(job, settled);
    }

    /// A place in the order of acceptance for a write that does not go through the queue.
    pub fn take_sequence(&self) -> u64 {
        let mut state = self.lock();
        state.last_sequence += 1;
        state.last_sequence
    }

    /// Waits until there is work, nothing will come any more, somebody interrupts or `limit` has passed.
    pub fn wait_for_work(&self, limit: Option<Duration>) -> Work {
        let mut state = self.lock();
        let urgent = state.urgent;
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            if !state.is_empty() {
                return Work::Waiting;
            }
            // Nobody waits for a lock any more.
            if state.barred_since.is_some() {
                state.unbar(Instant::now());
            }
            if state.closed {
                return Work::Finished;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if state.urgent != urgent || left.is_some_and(|left| left.is_zero()) {
                return Work::Nothing;
            }
            state = self.sleep(state, left);
        }
    }

    /// How often something urgent has come, for `pause`.
    pub fn urgent(&self) -> u64 {
        self.lock().urgent
    }

    /// Waits for a time, or until a live write comes or somebody interrupts, after `urgent` was asked for, or the queue is
    /// closed; true when it was not the time that ended it.
    pub fn pause(&self, time: Duration, urgent: u64) -> bool {
        let mut state = self.lock();
        let closed = state.closed;
        let end = Instant::now() + time;
        while state.urgent == urgent && state.closed == closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.sleep(state, Some(left));
        }
        true
    }

    /// Ends a pause, or a wait for work: something came that does not go through the queue.
    pub fn interrupt(&self) {
        let mut state = self.lock();
        state.urgent += 1;
        self.wake(state);
    }

    /// Whether a live write waits.
    pub fn has_live(&self) -> bool {
        !self.lock().lanes[Priority::Live.place()].entries.is_empty()
    }

    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State<C>>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State<C>> {
        state.sleepers += 1;
        let mut state = match limit {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.changed
                    .wait_timeout(state, limit)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.sleepers -= 1;
        state
    }

    fn wake(&self, state: MutexGuard<'_, State<C>>) {
        let sleepers = state.sleepers > 0;
        drop(state);
        if sleepers {
            self.changed.notify_all();
        }
    }

    /// The next writes to begin together, in their order; they are in flight until they have `ended`.
    pub fn cut(&self, cut: &Cut<'_>) -> Vec<Entry<C>> {
        let mut state = self.lock();
        state.unbar(cut.now);
        let mut group: Vec<Entry<C>> = Vec::new();
        let (mut bytes, mut has_live) = (0, false);
        while group.len() < MOST_WRITES
            && let Some((next, is_aged)) = state.next(cut.now, cut.live_only)
        {
            let is_live = next.priority == Priority::Live;
            let most = if has_live && !is_live {
                cut.bytes / SHARE_BESIDE_LIVE
            } else {
                cut.bytes
            };
            let is_alone = (cut.alone)(next.sequence);
            if !group.is_empty() && (is_alone || bytes + next.load.bytes > most) {
                break;
            }
            bytes += next.load.bytes;
            has_live |= is_live;
            let place = next.priority.place();
            group.extend(state.begin(place, is_aged, cut.now));
            if is_alone {
                break;
            }
        }
        group
    }

    /// How many writes have left the lanes whose callers have not been told.
    #[cfg(test)]
    pub fn untold(&self) -> usize {
        self.lock().untold.len()
    }

    /// The next write to begin.
    #[cfg(test)]
    pub fn begin_next(&self, now: Instant) -> Option<Entry<C>> {
        let mut state = self.lock();
        let (place, is_aged) = {
            let (next, is_aged) = state.next(now, false)?;
            (next.priority.place(), is_aged)
        };
        state.begin(place, is_aged, now)
    }

    /// Puts writes that were begun but undone back to the front of their lanes, in their order.
    pub fn put_back(&self, entries: Vec<Entry<C>>) {
        let mut state = self.lock();
        for entry in entries.into_iter().rev() {
            state.untold.remove(&entry.sequence);
            state.accounts.in_flight.remove(entry.load.rows);
            state.with_deadline += usize::from(entry.deadline.is_some());
            let mut entry = entry;
            entry.barred_before = state.barred;
            state.lanes[entry.priority.place()].push_front(entry);
        }
        self.wake(state);
    }

    /// The outcome of begun writes is known: they are booked and their room is free again, in one step. Who waits for
    /// them goes on only when they are `settled`: a caller that learns of its outcome may send the next write at once.
    pub fn ended<'a>(&self, writes: impl IntoIterator<Item = (&'a Entry<C>, End)>)
    where
        C: 'a,
    {
        let mut state = self.lock();
        for (entry, end) in writes {
            let rows = match end {
                End::Failed => None,
                End::Committed { coalesced } => Some(entry.load.rows - coalesced),
            };
            state.free(entry, rows);
            let accounts = &mut state.accounts;
            accounts.in_flight.remove(entry.load.rows);
            match end {
                End::Failed => accounts.failed.add(entry.load.rows),
                End::Committed { coalesced } if coalesced > 0 && coalesced == entry.load.rows => {
                    accounts.coalesced.add(coalesced);
                }
                End::Committed { coalesced } => {
                    accounts.committed.add(entry.load.rows - coalesced);
                    accounts.coalesced.rows += coalesced as u64;
                }
            }
        }
    }

    /// The callers of writes that have ended or were withdrawn have been told.
    pub fn settled(&self, sequences: impl IntoIterator<Item = u64>) {
        let mut state = self.lock();
        for sequence in sequences {
            state.untold.remove(&sequence);
        }
        self.wake(state);
    }

    /// Takes a write out that has not begun. Like everything withdrawn it is booked as failed and its room is free at
    /// once, but it is waited for until it is `settled`.
    pub fn withdraw(&self, sequence: u64) -> Option<Entry<C>> {
        self.withdraw_where(|entry| entry.sequence == sequence)
            .pop()
    }

    /// Takes out every write whose deadline has passed.
    pub fn expire(&self, now: Instant) -> Vec<Entry<C>> {
        if self.lock().with_deadline == 0 {
            return Vec::new();
        }
        self.withdraw_where(|entry| entry.deadline.is_some_and(|deadline| deadline <= now))
    }

    /// Takes out every write that has not begun.
    pub fn withdraw_all(&self) -> Vec<Entry<C>> {
        self.withdraw_where(|_| true)
    }

    /// Takes out every write that is unwanted and has not begun.
    pub fn withdraw_where(&self, unwanted: impl Fn(&Entry<C>) -> bool) -> Vec<Entry<C>> {
        let mut state = self.lock();
        let mut withdrawn = Vec::new();
        for lane in &mut state.lanes {
            if lane.entries.iter().any(&unwanted) {
                for entry in lane.take() {
                    if unwanted(&entry) {
                        withdrawn.push(entry)
                    } else {
                        lane.push_back(entry)
                    }
                }
            }
        }
        let now = Instant::now();
        for entry in &mut withdrawn {
            state.leaves(entry, now);
            state.untold.insert(entry.sequence);
            state.with_deadline -= usize::from(entry.deadline.is_some());
            state.free(entry, None);
            state.accounts.failed.add(entry.load.rows);
            state.accounts.withdrawn.add(entry.load.rows);
        }
        withdrawn
    }

    /// The earliest deadline of a write that has not begun.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        if state.with_deadline == 0 {
            return None;
        }
        state.entries().filter_map(|entry| entry.deadline).min()
    }

    /// The sequence of the oldest write that is not settled.
    pub fn oldest(&self) -> Option<u64> {
        self.lock().oldest()
    }

    /// The sequence of the oldest write that has not begun.
    pub fn oldest_waiting(&self) -> Option<u64> {
        self.lock().oldest_waiting()
    }

    /// The sequence given last.
    pub fn last_sequence(&self) -> u64 {
        self.lock().last_sequence
    }

    /// Waits until everything up to `sequence` is settled; false when the deadline came first.
    pub fn wait_settled(&self, sequence: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.oldest().is_some_and(|oldest| oldest <= sequence) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            state = self.sleep(state, left);
        }
        true
    }

    /// Waits until every write that has begun is settled; false as soon as one that `returned` names waits again.
    pub fn wait_in_flight(&self, returned: impl Fn(&Entry<C>) -> bool) -> bool {
        let mut state = self.lock();
        let begun = state.untold.clone();
        loop {
            if state.entries().any(&returned) {
                return false;
            }
            if state.untold.is_disjoint(&begun) {
                return true;
            }
            state = self.sleep(state, None);
        }
    }

    /// Accepts nothing from here on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// What has become of everything accepted, and what waits by priority: all at one moment.
    pub fn numbers(&self, now: Instant) -> (Accounts, [Depth; 3]) {
        let state = self.lock();
        let lanes = state.lanes.each_ref().map(|lane| Depth {
            batches: lane.entries.len(),
            rows: lane.load.rows,
            bytes: lane.load.bytes,
            oldest_age_ms: lane.front().map_or(0.0, |entry| {
                milliseconds(now.saturating_duration_since(entry.accepted))
            }),
        });
        let queued = Amount {
            commands: lanes.iter().map(|lane| lane.batches as u64).sum(),
            rows: lanes.iter().map(|lane| lane.rows as u64).sum(),
        };
        let accounts = Accounts {
            queued,
            ..state.accounts
        };
        (accounts, lanes)
    }
}

impl<C> Default for Lane<C> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            load: Load::default(),
        }
    }
}

impl<C> Lane<C> {
    fn front(&self) -> Option<&Entry<C>> {
        self.entries.front()
    }

    fn push_back(&mut self, entry: Entry<C>) {
        self.load += entry.load;
        self.entries.push_back(entry);
    }

    fn push_front(&mut self, entry: Entry<C>) {
        self.load += entry.load;
        self.entries.push_front(entry);
    }

    fn pop_front(&mut self) -> Option<Entry<C>> {
        let entry = self.entries.pop_front()?;
        self.load -= entry.load;
        Some(entry)
    }

    /// Everything, which leaves the lane empty.
    fn take(&mut self) -> VecDeque<Entry<C>> {
        std::mem::take(self).entries
    }
}

impl<C> State<C> {
    /// The write whose turn it is, and whether that is so because of its age.
    fn next(&self, now: Instant, live_only: bool) -> Option<(&Entry<C>, bool)> {
        if live_only {
            let front = self.lanes[Priority::Live.place()].front()?;
            return Some((front, false));
        }
        let fronts = || self.lanes.iter().filter_map(Lane::front);
        let first = fronts().next()?;
        let aged = fronts()
            .filter(|entry| now.saturating_duration_since(entry.accepted) >= AGEING)
            .min_by_key(|entry| entry.sequence)
            .filter(|entry| entry.sequence < first.sequence && self.since_aged >= AGED_SHARE);
        Some(aged.map_or((first, false), |aged| (aged, true)))
    }

    fn begin(&mut self, place: usize, is_aged: bool, now: Instant) -> Option<Entry<C>> {
        self.since_aged = if is_aged {
            1
        } else {
            self.since_aged.saturating_add(1)
        };
        let mut entry = self.lanes[place].pop_front()?;
        self.leaves(&mut entry, now);
        self.untold.insert(entry.sequence);
        self.accounts.in_flight.add(entry.load.rows);
        self.with_deadline -= usize::from(entry.deadline.is_some());
        Some(entry)
    }

    /// The room of a write is free again: so many of its rows were committed, or it was not written.
    fn free(&mut self, entry: &Entry<C>, rows: Option<usize>) {
        self.taken -= entry.load;
        let lock_wait = entry.kept;
        self.jobs
            .settle(entry.job, entry.load, Settled { rows, lock_wait });
    }

    /// A write leaves its lane: what of its time there the way out was barred.
    fn leaves(&self, entry: &mut Entry<C>, now: Instant) {
        // It may have come a moment after the time of the cut.
        let barred = self.barred_until(now).saturating_sub(entry.barred_before);
        // It may have been known only later that the way was barred, from before it came.
        entry.kept += barred.min(now.saturating_duration_since(entry.accepted));
    }

    /// For how long in all the way out had been barred at some time.
    fn barred_until(&self, now: Instant) -> Duration {
        let since = self.barred_since;
        self.barred + since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn unbar(&mut self, now: Instant) {
        self.barred = self.barred_until(now);
        self.barred_since = None;
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<C>> {
        self.lanes.iter().flat_map(|lane| &lane.entries)
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.entries.is_empty())
    }

    fn oldest_waiting(&self) -> Option<u64> {
        let fronts = self.lanes.iter().filter_map(Lane::front);
        fronts.map(|entry| entry.sequence).min()
    }

    fn oldest(&self) -> Option<u64> {
        let untold = self.untold.first().copied();
        self.oldest_waiting().into_iter().chain(untold).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: End = End::Committed { coalesced: 0 };

    fn queue() -> Queue<&'static str> {
        Queue::new(100, 10_000)
    }

    fn push(
        queue: &Queue<&'static str>,
        priority: Priority,
        name: &'static str,
        at: Instant,
    ) -> u64 {
        queue
            .push(Offer::of(priority, at, 10, 100), |_| name)
            .unwrap_or(0)
    }

    fn names(queue: &Queue<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.begin_next(now))
            .map(|entry| entry.command)
            .collect()
    }

    #[test]
    fn live_goes_before_backfill_and_each_keeps_its_order() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Maintenance, "m", now);
        push(&queue, Priority::Backfill, "b1", now);
        push(&queue, Priority::Live, "l1", now);
        push(&queue, Priority::Backfill, "b2", now);
        push(&queue, Priority::Live, "l2", now);
        assert_eq!(names(&queue, now), ["l1", "l2", "b1", "b2", "m"]);
    }

    #[test]
    fn backfill_that_has_waited_long_goes_before_newer_live_writes() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Backfill, "old", now);
        let later = now + AGEING;
        push(&queue, Priority::Live, "new", later);
        assert_eq!(names(&queue, later), ["old", "new"]);
    }

    #[test]
    fn live_writes_do_not_wait_for_all_of_an_aged_backfill() {
        let (queue, now) = (queue(), Instant::now());
        for _ in 0..3 {
            push(&queue, Priority::Backfill, "old", now);
        }
        let later = now + AGEING;
        for _ in 0..7 {
            push(&queue, Priority::Live, "new", later);
        }
        let order = names(&queue, later);
        assert_eq!(order[0], "old");
        assert_eq!(order[1..8], ["new"; 7]);
        assert_eq!(order[8..], ["old"; 2]);
    }

    #[test]
    fn an_aged_backfill_does_not_go_before_older_live_writes() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Live, "live", now);
        push(&queue, Priority::Backfill, "backfill", now);
        assert_eq!(names(&queue, now + AGEING), ["live", "backfill"]);
    }

    #[test]
    fn constant_live_load_does_not_hold_a_backfill_up() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Backfill, "b1", now);
        push(&queue, Priority::Backfill, "b2", now);
        let later = now + AGEING;
        let mut begun = Vec::new();
        for _ in 0..2 * AGED_SHARE {
            push(&queue, Priority::Live, "live", later);
            let entry = queue.begin_next(later);
            queue.ended(entry.iter().map(|entry| (entry, COMMITTED)));
            begun.extend(entry.map(|entry| entry.command));
        }
        assert!(begun.contains(&"b1") && begun.contains(&"b2"), "{begun:?}");
    }

    #[test]
    fn a_withdrawn_write_is_waited_for_until_its_caller_knows() {
        let (queue, now) = (queue(), Instant::now());
        let first = push(&queue, Priority::Live, "a", now);
        let withdrawn = queue.withdraw(first);
        assert!(!queue.wait_settled(first, Some(now)));
        queue.settled(withdrawn.map(|entry| entry.sequence));
        assert!(queue.wait_settled(first, Some(now)));
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_when_a_write_is_settled() {
        let (queue, now) = (queue(), Instant::now());
        for _ in 0..10 {
            assert_ne!(push(&queue, Priority::Live, "x", now), 0);
        }
        assert!(matches!(
            queue.push(Offer::of(Priority::Live, now, 1, 1), |_| "y"),
            Err(Refused::Full(Load { rows: 100, .. }))
        ));
        let begun = queue.begin_next(now);
        assert!(
            queue
                .push(Offer::of(Priority::Live, now, 1, 1), |_| "y")
                .is_err(),
            "begun is not done"
        );
        queue.ended(begun.iter().map(|entry| (entry, COMMITTED)));
        assert!(
            queue
                .push(Offer::of(Priority::Live, now, 1, 1), |_| "y")
                .is_ok()
        );
    }

    #[test]
    fn an_empty_queue_takes_a_write_larger_than_itself() {
        let (queue, now) = (queue(), Instant::now());
        assert!(
            queue
                .push(Offer::of(Priority::Live, now, 1_000, 1), |_| "big")
                .is_ok()
        );
        assert!(
            queue
                .push(Offer::of(Priority::Live, now, 1, 1), |_| "small")
                .is_err()
        );
    }

    #[test]
    fn what_has_begun_is_neither_withdrawn_nor_expired() {
        let (queue, now) = (queue(), Instant::now());
        let first = queue
            .push(
                Offer {
                    deadline: Some(now),
                    ..Offer::of(Priority::Live, now, 1, 1)
                },
                |_| "a",
            )
            .unwrap_or(0);
        let begun = queue.begin_next(now);
        assert!(queue.withdraw(first).is_none() && queue.expire(now).is_empty());
        queue.put_back(begun.into_iter().collect());
        assert_eq!(queue.expire(now).len(), 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_put_back_keeps_its_place() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Live, "a", now);
        push(&queue, Priority::Live, "b", now);
        push(&queue, Priority::Live, "c", now);
        let begun: Vec<_> = [queue.begin_next(now), queue.begin_next(now)]
            .into_iter()
            .flatten()
            .collect();
        queue.put_back(begun);
        assert_eq!(names(&queue, now), ["a", "b", "c"]);
    }

    #[test]
    fn a_flush_waits_for_what_is_in_flight_and_not_for_what_came_later() {
        let (queue, now) = (queue(), Instant::now());
        let first = push(&queue, Priority::Backfill, "a", now);
        assert!(!queue.wait_settled(first, Some(now)));
        let begun = queue.begin_next(now).map(|entry| entry.sequence);
        push(&queue, Priority::Live, "b", now);
        assert!(!queue.wait_settled(first, Some(now)));
        queue.settled(begun);
        assert!(queue.wait_settled(first, Some(now)));
    }

    #[test]
    fn a_closed_queue_refuses_but_gives_out_what_it_has() {
        let (queue, now) = (queue(), Instant::now());
        push(&queue, Priority::Live, "a", now);
        queue.close();
        assert_eq!(
            queue.push(Offer::of(Priority::Live, now, 1, 1), |_| "b"),
            Err(Refused::Closed)
        );
        assert_eq!(queue.wait_for_work(None), Work::Waiting);
        assert_eq!(names(&queue, now), ["a"]);
        assert_eq!(queue.wait_for_work(None), Work::Finished);
    }

    fn amount(commands: u64, rows: u64) -> Amount {
        Amount { commands, rows }
    }

    /// The sum holds; gives what was summed up.
    fn accounts<C>(queue: &Queue<C>) -> Accounts {
        let (told, lanes) = queue.numbers(Instant::now());
        let parts = [
            told.committed,
            told.coalesced,
            told.failed,
            told.queued,
            told.in_flight,
        ];
        let sum = |of: fn(&Amount) -> u64| parts.iter().map(of).sum::<u64>();
        assert_eq!(
            told.accepted,
            amount(sum(|part| part.commands), sum(|part| part.rows)),
            "{told:?}"
        );
        assert!(told.withdrawn.commands <= told.failed.commands);
        assert!(told.withdrawn.rows <= told.failed.rows);
        let queued: usize = lanes.iter().map(|lane| lane.rows).sum();
        assert_eq!(told.queued.rows, queued as u64);
        told
    }

    #[test]
    fn every_accepted_write_is_in_one_account_and_in_no_other() {
        let (queue, now) = (queue(), Instant::now());
        assert_eq!(accounts(&queue), Accounts::default());
        for name in ["a", "b", "c", "d"] {
            push(&queue, Priority::Live, name, now);
        }
        let withdrawn = push(&queue, Priority::Backfill, "e", now);
        push(&queue, Priority::Maintenance, "f", now);
        assert_eq!(accounts(&queue).queued, amount(6, 60));

        let begun: Vec<_> = (0..4).filter_map(|_| queue.begin_next(now)).collect();
        assert_eq!(accounts(&queue).in_flight, amount(4, 40));
        assert!(queue.withdraw(withdrawn).is_some());
        let told = accounts(&queue);
        assert_eq!(
            (told.failed, told.withdrawn),
            (amount(1, 10), amount(1, 10))
        );

        let ends = [
            COMMITTED,
            End::Committed { coalesced: 3 },
            End::Committed { coalesced: 10 },
            End::Failed,
        ];
        queue.ended(begun.iter().zip(ends));
        assert_eq!(
            accounts(&queue),
            Accounts {
                accepted: amount(6, 60),
                committed: amount(2, 17),
                coalesced: amount(1, 13),
                failed: amount(2, 20),
                withdrawn: amount(1, 10),
                queued: amount(1, 10),
                in_flight: amount(0, 0),
            }
        );
    }

    fn push_for(queue: &Queue<&'static str>, job: JobId, at: Instant) -> Result<u64, Refused> {
        let offer = Offer {
            job,
            ..Offer::of(Priority::Live, at, 10, 100)
        };
        queue.push(offer, |_| "x")
    }

    #[test]
    fn a_job_that_floods_is_refused_where_others_are_not() {
        let (queue, now) = (queue(), Instant::now());
        let flooding = queue.add_job(Duration::ZERO);
        let quiet = queue.add_job(Duration::ZERO);
        for _ in 0..3 {
            assert!(push_for(&queue, flooding, now).is_ok());
        }
        let share = Load {
            rows: 33,
            bytes: 3_333,
        };
        assert_eq!(
            push_for(&queue, flooding, now),
            Err(Refused::FullShare(share))
        );
        assert!(push_for(&queue, quiet, now).is_ok());
        assert!(push_for(&queue, 0, now).is_ok());
        // Room is free again when something has ended, however it did.
        let begun = queue.begin_next(now);
        queue.ended(begun.iter().map(|entry| (entry, End::Failed)));
        assert!(push_for(&queue, flooding, now).is_ok());
        queue.withdraw_where(|entry| entry.job == flooding);
        for _ in 0..3 {
            assert!(push_for(&queue, flooding, now).is_ok());
        }
        let numbers = queue.job_numbers(flooding).unwrap_or_default();
        assert_eq!((numbers.writes, numbers.failed), (4, 4));
    }

    #[test]
    fn a_write_that_comes_a_moment_after_the_time_of_the_cut_has_not_waited() {
        let (queue, start) = (queue(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let job = queue.add_job(Duration::ZERO);
        queue.bar(at(0));
        assert!(push_for(&queue, job, at(100)).is_ok());
        let group = queue.cut(&Cut {
            now: at(50),
            bytes: 100,
            live_only: false,
            alone: &|_| false,
        });
        assert_eq!(group[0].kept, Duration::ZERO);
    }

    #[test]
    fn a_write_is_told_how_long_a_lock_has_kept_it_and_no_other_wait() {
        let (queue, start) = (queue(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let job = queue.add_job(Duration::from_millis(50));
        let cut = |ms| {
            queue.cut(&Cut {
                now: at(ms),
                bytes: 100,
                live_only: false,
                alone: &|_| false,
            })
        };
        let waited = |group: &[Entry<&str>]| group[0].kept.as_millis();
        // Accepted before the way was barred, meanwhile, and at last when it was free.
        for ms in [0, 30, 100] {
            assert!(push_for(&queue, job, at(ms)).is_ok());
            if ms == 0 {
                queue.bar(at(20));
                queue.bar(at(25));
            }
            if ms == 30 {
                queue.unbar(at(90));
            }
        }
        let first = cut(1_000);
        assert_eq!(waited(&first), 70);
        // Undone, and kept for as long again.
        queue.put_back(first);
        queue.bar(at(1_000));
        let first = cut(1_005);
        assert_eq!(waited(&first), 75);
        let second = cut(1_006);
        assert_eq!(waited(&second), 65);
        let third = cut(1_007);
        assert_eq!(waited(&third), 5);
        let group: Vec<_> = [first, second, third].into_iter().flatten().collect();
        queue.ended(group.iter().map(|entry| (entry, COMMITTED)));
        let numbers = JobNumbers {
            writes: 3,
            lock_waits: 2,
            at_once: 1,
            rows: 30,
            ..JobNumbers::default()
        };
        assert_eq!(queue.job_numbers(job), Some(numbers));
    }

    #[test]
    fn a_write_without_rows_is_committed_and_not_coalesced() {
        let (queue, now) = (queue(), Instant::now());
        let empty = queue.push(Offer::of(Priority::Live, now, 0, 1), |_| "empty");
        assert!(empty.is_ok());
        let begun = queue.begin_next(now);
        queue.ended(begun.iter().map(|entry| (entry, COMMITTED)));
        assert_eq!(accounts(&queue).committed, amount(1, 0));
    }

    #[test]
    fn what_is_put_back_waits_again_and_what_is_refused_was_never_accepted() {
        let (queue, now) = (queue(), Instant::now());
        for _ in 0..10 {
            push(&queue, Priority::Live, "x", now);
        }
        assert_eq!(push(&queue, Priority::Live, "too much", now), 0);
        let begun: Vec<_> = (0..3).filter_map(|_| queue.begin_next(now)).collect();
        queue.put_back(begun);
        let told = accounts(&queue);
        assert_eq!(
            (told.accepted, told.queued, told.in_flight),
            (amount(10, 100), amount(10, 100), amount(0, 0))
        );
    }

    #[test]
    fn a_write_has_ended_and_made_room_before_it_is_settled() {
        let (queue, now) = (queue(), Instant::now());
        let mut last = 0;
        for _ in 0..10 {
            last = push(&queue, Priority::Live, "x", now);
        }
        let begun: Vec<_> = std::iter::from_fn(|| queue.begin_next(now)).collect();
        queue.ended(begun.iter().map(|entry| (entry, COMMITTED)));
        // The first to be told sends its next write before the others have been told.
        assert_ne!(push(&queue, Priority::Live, "next", now), 0);
        assert_eq!(accounts(&queue).in_flight, amount(0, 0));
        assert!(!queue.wait_settled(last, Some(now)));
        queue.settled(begun.iter().map(|entry| entry.sequence));
        assert!(queue.wait_settled(last, Some(now)));
    }

    #[test]
    fn the_sum_holds_at_every_moment_while_threads_write_withdraw_and_fail() {
        const WRITERS: u64 = 3;
        const WRITES: u64 = 3_000;
        let queue: Queue<u64> = Queue::new(500, 50_000);
        let accept = |name: u64| {
            let priority = Priority::ALL[(name % 3) as usize];
            let deadline = name.is_multiple_of(7).then(Instant::now);
            let rows = 1 + (name % 9) as usize;
            loop {
                match queue.push(
                    Offer {
                        deadline,
                        ..Offer::of(priority, Instant::now(), rows, 10)
                    },
                    |_| name,
                ) {
                    Ok(sequence) => return sequence,
                    Err(_) => std::thread::yield_now(),
                }
            }
        };
        let told = |entries: Vec<Entry<u64>>| {
            queue.settled(entries.iter().map(|entry| entry.sequence));
        };
        let empty = || {
            while queue.wait_for_work(None) == Work::Waiting {
                told(queue.expire(Instant::now()));
                let group: Vec<_> = (0..5)
                    .filter_map(|_| queue.begin_next(Instant::now()))
                    .collect();
                let first = group.first().map_or(0, |entry| entry.sequence);
                if first % 5 == 1 {
                    // Without the first, which would be put back for ever.
                    queue.put_back(group);
                    told(queue.withdraw(first).into_iter().collect());
                    continue;
                }
                queue.ended(group.iter().map(|entry| {
                    let coalesced = (entry.command % 4) as usize;
                    let end = match entry.command % 11 {
                        0 => End::Failed,
                        _ => End::Committed {
                            coalesced: coalesced.min(entry.load.rows),
                        },
                    };
                    (entry, end)
                }));
                told(group);
            }
        };
        let rows = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (accept, told, queue) = (&accept, &told, &queue);
                    scope.spawn(move || {
                        let names = (0..WRITES).map(|n| n * WRITERS + writer);
                        for name in names.clone() {
                            let sequence = accept(name);
                            if name % 13 == 0 {
                                told(queue.withdraw(sequence).into_iter().collect());
                            }
                        }
                        names.map(|name| 1 + name % 9).sum::<u64>()
                    })
                })
                .collect();
            scope.spawn(empty);
            let reader = scope.spawn(|| {
                while !(queue.is_closed() && queue.oldest().is_none()) {
                    accounts(&queue);
                }
            });
            let rows = writers
                .into_iter()
                .map(|writer| writer.join().unwrap_or(0))
                .sum::<u64>();
            queue.close();
            assert!(reader.join().is_ok());
            rows
        });
        let told = accounts(&queue);
        assert_eq!(told.accepted, amount(WRITERS * WRITES, rows));
        assert_eq!((told.queued, told.in_flight), (amount(0, 0), amount(0, 0)));
        for part in [told.committed, told.coalesced, told.failed, told.withdrawn] {
            assert!(part.commands > 0, "{told:?}");
        }
    }
}
