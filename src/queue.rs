//! The write queue: what was accepted and is not yet committed, in three priorities, first come first served in
//! each. It bounds rows and bytes, withdraws what has not begun, and knows when everything accepted before some
//! moment is done. It knows nothing of SQL and starts no thread; the clock is passed in.

use std::collections::{BTreeSet, VecDeque};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

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

/// A write in the queue.
#[derive(Debug)]
pub struct Entry<C> {
    /// The place in the order of acceptance, over all priorities.
    pub sequence: u64,
    pub priority: Priority,
    pub accepted: Instant,
    /// When the caller no longer wants it, unless it has begun.
    pub deadline: Option<Instant>,
    pub rows: usize,
    pub bytes: usize,
    pub command: C,
}

/// Why a write was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Closed,
    Full { rows: usize, bytes: usize },
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
    /// The queue is closed and empty.
    Finished,
}

struct State<C> {
    lanes: [VecDeque<Entry<C>>; 3],
    rows: usize,
    bytes: usize,
    last_sequence: u64,
    /// Sequences that have left the lanes, begun or withdrawn, but are not settled yet.
    in_flight: BTreeSet<u64>,
    /// Waiting writes that have a deadline.
    with_deadline: usize,
    /// Writes begun since one went before its turn because of its age.
    since_aged: u32,
    /// Threads that wait for a change: waking nobody costs a system call, too.
    sleepers: usize,
    closed: bool,
}

/// A bounded queue with priorities, shared by those who fill it and the one who empties it.
pub struct Queue<C> {
    state: Mutex<State<C>>,
    /// Something was accepted or settled, or the queue was closed.
    changed: Condvar,
    capacity_rows: usize,
    capacity_bytes: usize,
}

impl<C> Queue<C> {
    pub fn new(capacity_rows: usize, capacity_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                lanes: Default::default(),
                rows: 0,
                bytes: 0,
                last_sequence: 0,
                in_flight: BTreeSet::new(),
                with_deadline: 0,
                since_aged: AGED_SHARE,
                sleepers: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            capacity_rows,
            capacity_bytes,
        }
    }

    /// No code runs under this lock that could leave the state half-changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a write and returns its sequence number. A single write larger than the whole queue is accepted
    /// when the queue is empty, or it could never be written.
    pub fn push(
        &self,
        priority: Priority,
        accepted: Instant,
        deadline: Option<Instant>,
        (rows, bytes): (usize, usize),
        command: impl FnOnce(u64) -> C,
    ) -> Result<u64, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let empty = state.rows == 0 && state.bytes == 0;
        if !empty
            && (state.rows + rows > self.capacity_rows || state.bytes + bytes > self.capacity_bytes)
        {
            return Err(Refused::Full {
                rows: state.rows,
                bytes: state.bytes,
            });
        }
        state.last_sequence += 1;
        let sequence = state.last_sequence;
        state.rows += rows;
        state.bytes += bytes;
        state.with_deadline += usize::from(deadline.is_some());
        let command = command(sequence);
        state.lanes[priority.place()].push_back(Entry {
            sequence,
            priority,
            accepted,
            deadline,
            rows,
            bytes,
            command,
        });
        self.wake(state);
        Ok(sequence)
    }

    /// A place in the order of acceptance for a write that does not go through the queue.
    pub fn take_sequence(&self) -> u64 {
        let mut state = self.lock();
        state.last_sequence += 1;
        state.last_sequence
    }

    /// Waits until there is work or nothing will come any more.
    pub fn wait_for_work(&self) -> Work {
        let mut state = self.lock();
        loop {
            if !state.is_empty() {
                return Work::Waiting;
            }
            if state.closed {
                return Work::Finished;
            }
            state = self.sleep(state, None);
        }
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

    /// The next write to begin; it counts as in flight until `settled`.
    pub fn begin_next(&self, now: Instant) -> Option<Entry<C>> {
        let mut state = self.lock();
        let fronts = || state.lanes.iter().filter_map(VecDeque::front);
        let first = fronts().next()?;
        let aged = fronts()
            .filter(|entry| now.saturating_duration_since(entry.accepted) >= AGEING)
            .min_by_key(|entry| entry.sequence)
            .filter(|entry| entry.sequence < first.sequence && state.since_aged >= AGED_SHARE);
        let (lane, since_aged) = match aged {
            Some(entry) => (entry.priority.place(), 1),
            None => (first.priority.place(), state.since_aged.saturating_add(1)),
        };
        state.since_aged = since_aged;
        let entry = state.lanes[lane].pop_front()?;
        state.in_flight.insert(entry.sequence);
        state.with_deadline -= usize::from(entry.deadline.is_some());
        Some(entry)
    }

    /// Puts writes that were begun but undone back to the front of their lanes, in their order.
    pub fn put_back(&self, entries: Vec<Entry<C>>) {
        let mut state = self.lock();
        for entry in entries.into_iter().rev() {
            state.in_flight.remove(&entry.sequence);
            state.with_deadline += usize::from(entry.deadline.is_some());
            state.lanes[entry.priority.place()].push_front(entry);
        }
        self.wake(state);
    }

    /// The outcome of begun writes is known: their room is free again.
    pub fn make_room(&self, writes: impl IntoIterator<Item = (usize, usize)>) {
        let mut state = self.lock();
        for (rows, bytes) in writes {
            state.rows -= rows;
            state.bytes -= bytes;
        }
    }

    /// Those who wait for writes that were begun or withdrawn have been told.
    pub fn settled(&self, sequences: impl IntoIterator<Item = u64>) {
        let mut state = self.lock();
        for sequence in sequences {
            state.in_flight.remove(&sequence);
        }
        self.wake(state);
    }

    /// Takes a write out that has not begun. Like everything withdrawn it is in flight until `settled`, but its room
    /// is free at once.
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
            if lane.iter().any(&unwanted) {
                for entry in std::mem::take(lane) {
                    if unwanted(&entry) {
                        withdrawn.push(entry)
                    } else {
                        lane.push_back(entry)
                    }
                }
            }
        }
        for entry in &withdrawn {
            state.in_flight.insert(entry.sequence);
            state.with_deadline -= usize::from(entry.deadline.is_some());
            state.rows -= entry.rows;
            state.bytes -= entry.bytes;
        }
        withdrawn
    }

    /// The earliest deadline of a write that has not begun.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        if state.with_deadline == 0 {
            return None;
        }
        state
            .lanes
            .iter()
            .flatten()
            .filter_map(|entry| entry.deadline)
            .min()
    }

    /// The sequence of the oldest write that is not settled.
    pub fn oldest(&self) -> Option<u64> {
        self.lock().oldest()
    }

    /// The sequence of the oldest write that has not begun.
    pub fn oldest_waiting(&self) -> Option<u64> {
        self.lock()
            .lanes
            .iter()
            .filter_map(|lane| lane.front().map(|entry| entry.sequence))
            .min()
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
        let begun = state.in_flight.clone();
        loop {
            if state.lanes.iter().flatten().any(&returned) {
                return false;
            }
            if state.in_flight.is_disjoint(&begun) {
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

    /// What waits, by priority, and how many writes are in flight.
    pub fn depth(&self, now: Instant) -> ([Depth; 3], usize) {
        let state = self.lock();
        let depth = |lane: &VecDeque<Entry<C>>| Depth {
            batches: lane.len(),
            rows: lane.iter().map(|entry| entry.rows).sum(),
            bytes: lane.iter().map(|entry| entry.bytes).sum(),
            oldest_age_ms: lane.front().map_or(0.0, |entry| {
                now.saturating_duration_since(entry.accepted).as_secs_f64() * 1_000.0
            }),
        };
        (state.lanes.each_ref().map(depth), state.in_flight.len())
    }
}

impl<C> State<C> {
    fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    fn oldest(&self) -> Option<u64> {
        let waiting = self
            .lanes
            .iter()
            .filter_map(|lane| lane.front().map(|entry| entry.sequence));
        waiting.chain(self.in_flight.first().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            .push(priority, at, None, (10, 100), |_| name)
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
            queue.make_room(entry.iter().map(|entry| (entry.rows, entry.bytes)));
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
            queue.push(Priority::Live, now, None, (1, 1), |_| "y"),
            Err(Refused::Full { rows: 100, .. })
        ));
        let begun = queue.begin_next(now);
        assert!(
            queue
                .push(Priority::Live, now, None, (1, 1), |_| "y")
                .is_err(),
            "begun is not done"
        );
        queue.make_room(begun.map(|entry| (entry.rows, entry.bytes)));
        assert!(
            queue
                .push(Priority::Live, now, None, (1, 1), |_| "y")
                .is_ok()
        );
    }

    #[test]
    fn an_empty_queue_takes_a_write_larger_than_itself() {
        let (queue, now) = (queue(), Instant::now());
        assert!(
            queue
                .push(Priority::Live, now, None, (1_000, 1), |_| "big")
                .is_ok()
        );
        assert!(
            queue
                .push(Priority::Live, now, None, (1, 1), |_| "small")
                .is_err()
        );
    }

    #[test]
    fn what_has_begun_is_neither_withdrawn_nor_expired() {
        let (queue, now) = (queue(), Instant::now());
        let first = queue
            .push(Priority::Live, now, Some(now), (1, 1), |_| "a")
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
            queue.push(Priority::Live, now, None, (1, 1), |_| "b"),
            Err(Refused::Closed)
        );
        assert_eq!(queue.wait_for_work(), Work::Waiting);
        assert_eq!(names(&queue, now), ["a"]);
        assert_eq!(queue.wait_for_work(), Work::Finished);
    }
}
