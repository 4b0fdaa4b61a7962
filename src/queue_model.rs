//! Models of the queue for a model checker: each is run under many schedules of its threads, chosen at random and by
//! priorities that change at a few points (PCT). A thread that sleeps for ever is a deadlock and fails the model; a
//! wait with a limit never ends by it here (shuttle has no clock), so a wake-up that is lost cannot hide behind one.
//!
//! `npm run test:models` runs them; a schedule that fails is printed and can be given to `shuttle::replay`.

#![expect(clippy::unwrap_used, reason = "a model that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Plain};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::jobs::Load;
use crate::overtaking::Overtaking;
use crate::queue::{Cut, End, Entry, Offer, Priority, Queue, Refused, Work};
use crate::sync::Mutex;
use crate::testing::{FRAME, owned};

/// Schedules of each kind that a model is run under.
const SCHEDULES: usize = 1_000;
const CAPACITY: usize = 4;
/// What the queue calls aged, and how many newer writes may go before one that is.
const AGEING: Duration = Duration::from_secs(1);
const AGED_SHARE: u32 = 8;

/// A write to some candles; its sequence is the value it gives them.
#[derive(Clone)]
struct Write {
    producer: usize,
    times: Vec<i64>,
}

type Taken = Entry<Write>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Committed,
    Withdrawn,
}

/// What is known from outside. Its lock is no point at which the checker changes threads.
#[derive(Default)]
struct Ledger {
    accepted: BTreeMap<u64, Write>,
    settled: BTreeMap<u64, Outcome>,
}

/// The database, which one thread at a time writes: its lock stands for the token.
#[derive(Default)]
struct Database {
    candles: BTreeMap<i64, u64>,
    overtaking: Overtaking,
    plain: PlainMap,
    /// By priority, the write committed last.
    lanes: [u64; 3],
}

impl Database {
    /// What must hold after every commit.
    fn assert_plain(&self) {
        let plain = self.plain.candles();
        assert_eq!(self.candles, plain, "not what a plain map holds");
    }
}

/// What the candles must be: of all committed writes the one accepted last counts.
#[derive(Default)]
struct PlainMap {
    /// By candle, the place in the order and the write that has it.
    newest: BTreeMap<i64, (u64, u64)>,
}

impl PlainMap {
    fn queued(&mut self, time: i64, sequence: u64) {
        let newest = self.newest.entry(time).or_default();
        *newest = (sequence, sequence).max(*newest);
    }

    /// A synchronous write comes after what was committed while it waited for its turn.
    fn synchronous(&mut self, time: i64, sequence: u64) {
        let newest = self.newest.entry(time).or_default();
        *newest = (newest.0.max(sequence), sequence);
    }

    fn candles(&self) -> BTreeMap<i64, u64> {
        let candles = self.newest.iter();
        candles.map(|(time, (_, write))| (*time, *write)).collect()
    }
}

struct World {
    queue: Queue<Write>,
    database: Mutex<Database>,
    ledger: Plain<Ledger>,
    start: Instant,
    /// The clock: milliseconds since the start.
    clock: Plain<u64>,
    symbol: Arc<str>,
}

impl World {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(capacity, 1_000),
            database: Mutex::default(),
            ledger: Plain::default(),
            start: Instant::now(),
            clock: Plain::default(),
            symbol: "X:Y".into(),
        })
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(*self.clock.lock().unwrap())
    }

    fn pass(&self, milliseconds: u64) {
        *self.clock.lock().unwrap() += milliseconds;
    }

    /// Has a write accepted, waiting for room if there is none; `None` when the queue is closed.
    fn push(
        &self,
        producer: usize,
        priority: Priority,
        times: &[i64],
        deadline: Option<Instant>,
    ) -> Option<u64> {
        let write = Write {
            producer,
            times: times.to_vec(),
        };
        loop {
            let (rows, write) = (times.len(), write.clone());
            let accept = |sequence| {
                let mut ledger = self.ledger.lock().unwrap();
                ledger.accepted.insert(sequence, write.clone());
                write
            };
            match self.queue.push(
                Offer {
                    deadline,
                    ..Offer::of(priority, self.now(), rows, 1)
                },
                accept,
            ) {
                Ok(sequence) => return Some(sequence),
                Err(Refused::Closed) => return None,
                Err(Refused::FullShare(_)) => unreachable!("these writes are of no job"),
                Err(Refused::Full(Load { rows, .. })) => {
                    assert!(rows > 0 && rows <= CAPACITY);
                    if let Some(oldest) = self.queue.oldest() {
                        assert!(self.queue.wait_settled(oldest, None));
                    }
                }
            }
        }
    }

    /// What became of writes is told, then the queue may forget them.
    fn settle(&self, entries: Vec<Taken>, outcome: Outcome) {
        // Whoever is told nothing yet must not look settled.
        thread::yield_now();
        let mut ledger = self.ledger.lock().unwrap();
        for entry in &entries {
            let before = ledger.settled.insert(entry.sequence, outcome);
            assert_eq!(before, None, "write {} was settled twice", entry.sequence);
        }
        drop(ledger);
        self.queue
            .settled(entries.iter().map(|entry| entry.sequence));
    }

    fn give_up(&self, entries: Vec<Taken>) {
        self.settle(entries, Outcome::Withdrawn);
    }

    /// The candles of a write that no newer one has written.
    fn remaining(&self, newer: &[&Overtaking], entry: &Taken) -> Vec<i64> {
        let mut times = entry.command.times.clone();
        for newer in newer {
            let candles: Vec<_> = times.iter().map(|time| (*time, 0.0)).collect();
            let rows = owned(&candles);
            if let Some(fewer) = newer.remaining(FRAME, &self.symbol, rows.rows(), entry.sequence) {
                times = fewer.rows().iter().map(|(row, _)| row[0] as i64).collect();
            }
        }
        times
    }

    /// The writer's thread. Each group is at most `most` writes, and the first `lost` commits are undone.
    fn write(&self, most: usize, mut lost: usize) {
        while self.queue.wait_for_work(None) != Work::Finished {
            self.give_up(self.queue.expire(self.now()));
            let mut database = self.database.lock().unwrap();
            let mut newer = Overtaking::default();
            let mut candles = database.candles.clone();
            let mut group = self.queue.cut(&Cut {
                now: self.now(),
                bytes: usize::MAX,
                live_only: thread_rng().gen_bool(0.1),
                alone: &|sequence| sequence.is_multiple_of(5),
            });
            // Somebody more urgent has come.
            if group.len() > most {
                self.queue.put_back(group.split_off(most));
            }
            // All that the group writes is known before anything is applied: of several writes of a candle the newest is
            // written.
            for entry in &group {
                let times = entry.command.times.iter().copied();
                newer.wrote(FRAME, &self.symbol, times, entry.sequence);
            }
            for entry in &group {
                for time in self.remaining(&[&database.overtaking, &newer], entry) {
                    candles.insert(time, entry.sequence);
                }
            }
            if lost > 0 && thread_rng().gen_bool(0.5) {
                lost -= 1;
                self.queue.put_back(group);
                continue;
            }
            database.candles = candles;
            let oldest = self.queue.oldest_waiting();
            database.overtaking.forget_before(oldest);
            for entry in &group {
                let last = &mut database.lanes[entry.priority as usize];
                assert!(*last < entry.sequence, "reordered within a priority");
                *last = entry.sequence;
                for time in &entry.command.times {
                    database.plain.queued(*time, entry.sequence);
                }
                if oldest.is_some_and(|oldest| oldest < entry.sequence) {
                    let times = entry.command.times.iter().copied();
                    database
                        .overtaking
                        .wrote(FRAME, &self.symbol, times, entry.sequence);
                }
            }
            database.assert_plain();
            drop(database);
            let committed = |entry| (entry, End::Committed { coalesced: 0 });
            self.queue.ended(group.iter().map(committed));
            self.settle(group, Outcome::Committed);
        }
    }

    /// A synchronous write: it has a place in the order, and goes ahead of the queue when it has the token.
    fn write_now(&self, time: i64) {
        let mut database = self.database.lock().unwrap();
        let sequence = self.queue.take_sequence();
        database.candles.insert(time, sequence);
        database.plain.synchronous(time, sequence);
        if self.queue.oldest_waiting().is_some() {
            let times = [time].into_iter();
            database
                .overtaking
                .wrote(FRAME, &self.symbol, times, sequence);
        }
    }

    /// Whether everything accepted up to a sequence is settled.
    fn assert_settled(&self, upto: u64, whose: impl Fn(&Write) -> bool) {
        let ledger = self.ledger.lock().unwrap();
        for (sequence, write) in ledger.accepted.range(..=upto) {
            assert!(
                !whose(write) || ledger.settled.contains_key(sequence),
                "write {sequence} is not settled"
            );
        }
    }

    /// Writes something, does not wait for it and wants to know what became of it.
    fn leave(&self) {
        let own = |write: &Write| write.producer == 1;
        let last = (0..2).filter_map(|_| self.push(1, Priority::Backfill, &[1], None));
        let last = last.max().unwrap();
        if !self.queue.wait_settled(last, Some(self.start)) {
            let own = |entry: &Taken| own(&entry.command);
            self.give_up(self.queue.withdraw_where(own));
            while !self.queue.wait_in_flight(own) {
                self.give_up(self.queue.withdraw_where(own));
            }
        }
        self.assert_settled(last, own);
    }

    /// All room is free again when everything is settled, and no more than that.
    fn assert_room(&self) {
        // The writer waits for the token, so nothing is taken out meanwhile.
        let token = self.database.lock().unwrap();
        for taken in 0..=CAPACITY {
            let accept = |sequence| {
                let write = Write {
                    producer: 0,
                    times: vec![9],
                };
                let mut ledger = self.ledger.lock().unwrap();
                ledger.accepted.insert(sequence, write.clone());
                write
            };
            let pushed = self
                .queue
                .push(Offer::of(Priority::Live, self.now(), 1, 1), accept);
            let full = Refused::Full(Load {
                rows: CAPACITY,
                bytes: CAPACITY,
            });
            assert!(
                if taken < CAPACITY {
                    pushed.is_ok()
                } else {
                    pushed == Err(full)
                },
                "room for {CAPACITY} rows, {taken} taken"
            );
        }
        drop(token);
    }

    /// What must hold when all threads have ended.
    fn assert_end(&self) {
        self.assert_settled(u64::MAX, |_| true);
        let ledger = self.ledger.lock().unwrap();
        assert_eq!(ledger.settled.len(), ledger.accepted.len());
        self.database.lock().unwrap().assert_plain();
        let (told, depth) = self.queue.numbers(self.now());
        assert!(told.in_flight.commands == 0 && depth.iter().all(|lane| lane.batches == 0));
        let ended = told.committed.commands + told.failed.commands;
        assert_eq!(told.accepted.commands, ended);
        assert_eq!(self.queue.next_deadline(), None);
        assert_eq!(self.queue.oldest(), None);
    }
}

type Thread = Box<dyn FnOnce(&World) + Send>;

fn thread(body: impl FnOnce(&World) + Send + 'static) -> Thread {
    Box::new(body)
}

/// Runs threads beside a writer; when they have ended everything is flushed and the queue is closed.
fn run(most: usize, lost: usize, threads: Vec<Thread>) {
    let world = World::new(CAPACITY);
    let spawn = |body: Thread| {
        let world = world.clone();
        thread::spawn(move || body(&world))
    };
    let writer = spawn(thread(move |world| world.write(most, lost)));
    for joined in threads.into_iter().map(spawn).collect::<Vec<_>>() {
        joined.join().unwrap();
    }
    let last = world.queue.last_sequence();
    assert!(world.queue.wait_settled(last, None));
    world.assert_settled(last, |_| true);
    if !world.queue.is_closed() {
        world.assert_room();
        world.queue.close();
    }
    writer.join().unwrap();
    world.assert_end();
}

/// Looks at many schedules. Changes at three points find nearly every fault of a design with one lock.
fn check(schedules: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), schedules);
    shuttle::check_pct(model, schedules, 3);
}

fn a_candle() -> i64 {
    1 + i64::from(thread_rng().gen_bool(0.25))
}

fn producer(number: usize, writes: usize) -> Thread {
    thread(move |world| {
        for write in 0..writes {
            let times = [a_candle(), a_candle() + 1];
            let times = &times[..1 + write % 2];
            world.push(number, Priority::ALL[number % 3], times, None);
        }
    })
}

#[test]
fn of_all_accepted_writes_to_a_candle_the_newest_stays() {
    check(SCHEDULES, || {
        let synchronous = thread(|world| {
            world.write_now(a_candle());
            world.write_now(a_candle());
        });
        let producers = (0..3).map(|number| producer(number, 2));
        run(3, 2, producers.chain([synchronous]).collect());
    });
}

#[test]
fn a_synchronous_write_is_not_undone_by_an_older_queued_one() {
    check(SCHEDULES, || {
        let writing = thread(|world| {
            for _ in 0..2 {
                world.push(0, Priority::Live, &[1], None);
                world.write_now(1);
            }
        });
        run(1, 1, vec![writing]);
    });
}

#[test]
fn a_write_is_committed_or_withdrawn_and_never_both() {
    check(SCHEDULES, || {
        let withdrawing = thread(|world| {
            for _ in 0..3 {
                let sequence = thread_rng().gen_range(1..=6);
                world.give_up(world.queue.withdraw(sequence).into_iter().collect());
            }
        });
        let impatient = thread(|world| {
            for wait in [100, 200] {
                let deadline = world.now() + Duration::from_millis(wait);
                world.push(1, Priority::Backfill, &[a_candle()], Some(deadline));
            }
        });
        let clock = thread(|world| {
            for _ in 0..3 {
                world.pass(100);
                thread::yield_now();
                world.give_up(world.queue.expire(world.now()));
            }
        });
        let threads = vec![
            producer(0, 2),
            impatient,
            producer(2, 1),
            withdrawing,
            clock,
        ];
        run(2, 1, threads);
    });
}

#[test]
fn a_flush_ends_when_everything_accepted_before_is_settled() {
    check(SCHEDULES, || {
        let flushing = |number: usize| {
            thread(move |world| {
                let priority = Priority::ALL[number];
                let last = world.push(number, priority, &[1], None).unwrap();
                assert!(world.queue.wait_settled(last, None));
                world.assert_settled(last, |_| true);
            })
        };
        let withdrawing = thread(|world| {
            world.give_up(world.queue.withdraw(1).into_iter().collect());
        });
        let threads = (0..3).map(flushing).chain([withdrawing]);
        run(1, 2, threads.collect());
    });
}

#[test]
fn a_full_queue_takes_in_as_much_as_it_gives_out() {
    check(SCHEDULES, || {
        let pushing = |number: usize| {
            thread(move |world| {
                for rows in [3, 2] {
                    let times: Vec<_> = (0..rows).collect();
                    world.push(number, Priority::ALL[number], &times, None);
                    let waiting = world.queue.numbers(world.now()).1;
                    let rows: usize = waiting.iter().map(|lane| lane.rows).sum();
                    assert!(rows <= CAPACITY, "{rows} rows wait");
                }
            })
        };
        run(2, 1, (0..3).map(pushing).collect());
    });
}

#[test]
fn closing_while_others_write_loses_nothing_that_was_accepted() {
    check(SCHEDULES, || {
        let closing = thread(|world| world.queue.close());
        run(2, 1, vec![producer(0, 2), producer(1, 2), closing]);
    });
}

#[test]
fn one_who_leaves_knows_the_outcome_of_all_its_writes() {
    check(SCHEDULES, || {
        run(2, 3, vec![producer(0, 2), thread(|world| world.leave())]);
    });
}

#[test]
fn one_who_leaves_does_not_wait_for_what_was_undone() {
    check(SCHEDULES, || {
        let world = World::new(CAPACITY);
        world.push(0, Priority::Live, &[1], None);
        let leaving = world.clone();
        let leaving = thread::spawn(move || leaving.leave());
        let begin = || world.queue.begin_next(world.now());
        let begun = [begin(), begin()].into_iter().flatten();
        // Another process has the lock from here on, and this thread gets no further.
        world.queue.put_back(begun.collect());
        leaving.join().unwrap();
        let (told, waiting) = world.queue.numbers(world.now());
        assert_eq!((waiting[0].batches, told.in_flight.commands), (1, 0));
    });
}

#[test]
fn an_aged_backfill_goes_on_under_constant_live_load() {
    check(SCHEDULES / 4, || {
        let world = World::new(100);
        for time in 1..=2 {
            world.push(1, Priority::Backfill, &[time], None);
        }
        let beside = world.clone();
        let live = thread::spawn(move || {
            for _ in 0..30 {
                beside.push(0, Priority::Live, &[1], None);
                beside.pass(100);
            }
            beside.queue.close();
        });
        let mut before = 0;
        while world.queue.wait_for_work(None) != Work::Finished {
            let now = world.now();
            let aged = world
                .queue
                .oldest_waiting()
                .filter(|_| now.duration_since(world.start) >= AGEING)
                .filter(|oldest| *oldest <= 2);
            let entry = world.queue.begin_next(now).unwrap();
            match aged {
                Some(aged) if entry.sequence > aged => before += 1,
                _ => before = 0,
            }
            assert!(before < AGED_SHARE, "{before} newer writes went before");
            world
                .queue
                .ended([(&entry, End::Committed { coalesced: 0 })]);
            world.settle(vec![entry], Outcome::Committed);
        }
        live.join().unwrap();
        world.assert_settled(u64::MAX, |_| true);
    });
}
