//! Does the steps to a store on a real file, from one thread, and keeps the journal of what became of them. Who commits
//! outside the queue does so with the token or the lock in its hands, once everything committed before has been told:
//! so the journal has the order of the commits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::plain::{Call, Candles, Did, Given, Plain, Record};
use super::{Close, End, Enqueue, HANDLES, Raw, SERIES, Span, Step, Write};
use crate::candle::{ReadRows, TimeRange};
use crate::engine::fake::PATIENCE;
use crate::error::{Code, Result};
use crate::options::Options;
use crate::reply::{Event, EventKind, Outcome, Sink};
use crate::store::{EnqueueOptions, Handle, Store};
use crate::testing::{options, packed, rows, statement, wait_for};
use crate::writer::{Asker, lock};

/// Longer than anything takes.
const LONG_MS: f64 = 60_000.0;

/// What was committed or failed, in its order.
#[derive(Default)]
struct Journal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    settled: BTreeSet<u64>,
    twice: Vec<u64>,
}

impl Sink for Journal {
    fn settle(&self, outcomes: Vec<Outcome>) {
        let mut state = lock(&self.state);
        for outcome in outcomes {
            if !state.settled.insert(outcome.id) {
                state.twice.push(outcome.id);
            }
            let record = Record::Settled(outcome.id, outcome.result);
            state.records.push(record);
        }
        self.changed.notify_all();
    }

    fn event(&self, _: Event) {}

    fn wants(&self, _: EventKind) -> bool {
        false
    }
}

impl Journal {
    fn wait(&self, id: u64) {
        let start = Instant::now();
        let mut state = lock(&self.state);
        while !state.settled.contains(&id) {
            assert!(start.elapsed() < PATIENCE, "call {id} was not settled");
            state = self.changed.wait_timeout(state, PATIENCE).unwrap().0;
        }
    }

    /// Keeps a place for what is being done.
    fn place(&self) -> usize {
        let mut state = lock(&self.state);
        state.records.push(Record::Own(Vec::new()));
        state.records.len() - 1
    }

    fn fill(&self, place: usize, did: Vec<Did>) {
        lock(&self.state).records[place] = Record::Own(did);
    }
}

struct Driver {
    path: PathBuf,
    options: Options,
    journal: Arc<Journal>,
    store: Arc<Store>,
    handles: Vec<Handle>,
    calls: BTreeMap<u64, Call>,
    last_id: u64,
    /// Every write of candles by its sequence.
    accepted: BTreeMap<u64, Given>,
    plain: Plain,
}

fn open(
    path: &std::path::Path,
    options: &Options,
    journal: &Arc<Journal>,
) -> (Arc<Store>, Vec<Handle>) {
    let store = Store::open_file(path, options).unwrap();
    let handles = (0..HANDLES).map(|_| handle(&store, journal)).collect();
    (store, handles)
}

fn handle(store: &Arc<Store>, journal: &Arc<Journal>) -> Handle {
    *lock(&store.handles) += 1;
    Handle::new(store.clone(), journal.clone())
}

pub fn run(steps: &[Step], budget_ms: f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("candles.db");
    let options = Options {
        group_budget_ms: budget_ms,
        busy_timeout_ms: 10.0,
        // Counted at once, however slow the machine is.
        stats_budget_ms: LONG_MS,
        ..options()
    };
    let journal = Arc::<Journal>::default();
    let (store, handles) = open(&path, &options, &journal);
    let mut driver = Driver {
        path,
        options,
        journal,
        store,
        handles,
        calls: BTreeMap::new(),
        last_id: 0,
        accepted: BTreeMap::new(),
        plain: Plain::default(),
    };
    driver.refuse_bad_candles();
    for step in steps {
        driver.step(step);
    }
    driver.flush();
    driver.reopen_all(true);
}

fn range((from, to): Span) -> TimeRange {
    TimeRange {
        after: from - 1,
        before: to,
    }
}

fn sql(raw: &Raw) -> String {
    let place = |series: usize| {
        let (minutes, symbol) = SERIES[series];
        (format!("candles_{minutes}"), symbol)
    };
    let insert = |how: &str, series: usize, time: i64, close: u8| {
        let (table, symbol) = place(series);
        format!(
            "{how} INTO {table} (symbol, time, open, high, low, close, volume, clusters) \
             VALUES ('{symbol}', {time}, 0, 0, 0, {close}, 0, NULL)"
        )
    };
    match *raw {
        Raw::Update(series, (from, to), close) => {
            let (table, symbol) = place(series);
            format!(
                "UPDATE {table} SET close = {close} WHERE symbol = '{symbol}' AND time >= {from} AND time < {to}"
            )
        }
        Raw::Delete(series, (from, to)) => {
            let (table, symbol) = place(series);
            format!(
                "DELETE FROM {table} WHERE symbol = '{symbol}' AND time >= {from} AND time < {to}"
            )
        }
        Raw::Insert(series, time, close) => insert("INSERT", series, time, close),
        Raw::InsertOrRollback(series, time, close) => {
            insert("INSERT OR ROLLBACK", series, time, close)
        }
    }
}

impl Driver {
    /// Triggers that refuse candles whose close is below zero.
    fn refuse_bad_candles(&self) {
        for minutes in [15, 60] {
            for (close, how) in [(-1, "ABORT"), (-2, "ROLLBACK")] {
                let trigger = format!(
                    "CREATE TRIGGER refuse_{minutes}_{how} BEFORE INSERT ON candles_{minutes} WHEN NEW.close = {close} \
                     BEGIN SELECT RAISE({how}, 'refused'); END"
                );
                self.handles[0].execute_script(&trigger).unwrap();
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue(enqueue) => {
                self.enqueue(enqueue);
            }
            Step::Impatient(enqueue) => {
                let id = self.enqueue(enqueue);
                self.journal.wait(id);
            }
            Step::Withdraw(back) => self.withdraw(*back),
            Step::Now(handle, write) => self.now(*handle, write),
            Step::Flush => self.flush(),
            Step::Locked(steps, raw) => self.locked(steps, raw),
            Step::Lease(handle, savepoint, steps, end) => {
                self.lease(*handle, *savepoint, steps, *end)
            }
            Step::Reopen(number, drain) => {
                self.may_be_closed(*drain);
                self.handles[*number].close(if *drain { LONG_MS } else { 0.0 });
                self.handles[*number] = handle(&self.store, &self.journal);
            }
            Step::ReopenAll(drain) => self.reopen_all(*drain),
            Step::Savepoint(_) | Step::RollbackTo(_) | Step::Release(_) => {
                unreachable!("only in a lease")
            }
        }
    }

    /// A write with closes instead of wishes.
    fn given(&mut self, write: &Write) -> Given {
        match write {
            Write::Upsert(series, rows) => {
                let close = |close: &Close| match close {
                    Close::Common(number) => f64::from(*number),
                    Close::Own => {
                        self.last_id += 1;
                        100.0 + self.last_id as f64
                    }
                    Close::Refused => -1.0,
                    Close::Ruinous => -2.0,
                };
                let mut close = close;
                let rows = rows.iter().map(|(time, wish)| (*time, close(wish)));
                Given::Upsert(*series, rows.collect())
            }
            Write::Delete(series, span) => Given::Delete(*series, *span),
            Write::Raw(statements) => Given::Raw(statements.clone()),
        }
    }

    fn enqueue(&mut self, enqueue: &Enqueue) -> u64 {
        let write = self.given(&enqueue.write);
        self.last_id += 1;
        let id = self.last_id;
        let options = EnqueueOptions {
            id,
            priority: enqueue.priority,
            timeout_ms: enqueue.timeout_ms.map(f64::from),
            job: 0,
        };
        let handle = &self.handles[enqueue.handle];
        let sequence = match &write {
            Given::Upsert(series, candles) => {
                let (minutes, symbol) = SERIES[*series];
                let values = packed(candles);
                handle.enqueue_upsert(minutes, symbol, rows(&values), options)
            }
            Given::Delete(series, span) => {
                let (minutes, symbol) = SERIES[*series];
                handle.enqueue_delete(minutes, symbol, range(*span), options)
            }
            Given::Raw(statements) => {
                let statements = statements.iter().map(|raw| statement(&sql(raw)));
                handle.enqueue_statements(statements.collect(), options)
            }
        };
        let sequence = sequence.unwrap();
        self.accept(sequence, write.clone());
        let call = Call {
            sequence,
            priority: enqueue.priority,
            write,
            may_time_out: enqueue.timeout_ms.is_some(),
            may_be_closed: false,
            withdrawn: None,
        };
        self.calls.insert(id, call);
        id
    }

    fn accept(&mut self, sequence: u64, write: Given) {
        let last = self.accepted.last_key_value();
        assert!(last.is_none_or(|(last, _)| *last < sequence));
        self.accepted.insert(sequence, write);
    }

    fn withdraw(&mut self, back: usize) {
        let Some((_, call)) = self.calls.iter_mut().nth_back(back) else {
            return;
        };
        let withdrawn = self.handles[0].withdraw(call.sequence);
        let before = call.withdrawn.unwrap_or(false);
        assert!(!(before && withdrawn), "withdrawn twice");
        call.withdrawn = Some(withdrawn || before);
    }

    /// Waits until nobody who has begun is left: nobody begins while the caller has the token or the lock.
    fn wait_until_all_is_told(&self) {
        let queue = &self.store.writer.queue;
        wait_for("what was committed is told", || queue.untold() == 0);
    }

    /// A synchronous write of candles.
    fn write_now(&self, number: usize, write: &Given) -> Box<dyn FnOnce(u64) -> Did + Send> {
        let handle = &self.handles[number];
        match write.clone() {
            Given::Upsert(series, candles) => {
                let (minutes, symbol) = SERIES[series];
                let values = packed(&candles);
                let told = handle.upsert(minutes, symbol, rows(&values));
                Box::new(move |sequence| Did::Upserted(sequence, series, candles, told))
            }
            Given::Delete(series, span) => {
                let (minutes, symbol) = SERIES[series];
                let told = handle.delete(minutes, symbol, range(span));
                Box::new(move |sequence| Did::Deleted(sequence, series, span, told))
            }
            Given::Raw(_) => unreachable!("raw SQL is run in a lease"),
        }
    }

    /// A synchronous write outside a lease, which goes ahead of everything that waits.
    fn now(&mut self, number: usize, write: &Write) {
        let write = self.given(write);
        let writer = self.store.writer.clone();
        let before = writer.queue.last_sequence();
        let (place, did) = if writer.queue.oldest().is_none() {
            (self.journal.place(), self.write_now(number, &write))
        } else {
            // The token goes to the one that waits for it before the queue gets it again.
            let held = writer.token.take(Asker::Caller, None).unwrap();
            self.wait_until_all_is_told();
            let place = self.journal.place();
            let did = thread::scope(|scope| {
                let writing = scope.spawn(|| self.write_now(number, &write));
                wait_for("the caller waits", || {
                    writer.token.is_wanted() || writing.is_finished()
                });
                drop(held);
                writing.join().unwrap()
            });
            (place, did)
        };
        let sequence = writer.queue.last_sequence();
        // One that has not got the lock in its time has no place in the order.
        if sequence > before {
            self.accept(sequence, write);
        }
        self.journal.fill(place, vec![did(sequence)]);
    }

    /// Steps while another connection has the lock, which then changes something.
    fn locked(&mut self, steps: &[Step], raw: &Raw) {
        let other = Connection::open(&self.path).unwrap();
        other.busy_timeout(Duration::from_secs(20)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.wait_until_all_is_told();
        let place = self.journal.place();
        for step in steps {
            self.step(step);
        }
        if let Ok(changed) = other.execute(&sql(raw), []) {
            let did = Did::Ran(raw.clone(), Ok(changed as u64));
            self.journal.fill(place, vec![did]);
            other.execute_batch("COMMIT").unwrap();
        }
    }

    /// A transaction of a handle's caller.
    fn lease(&mut self, number: usize, by_savepoint: bool, steps: &[Step], end: End) {
        let begin = if by_savepoint { "SAVEPOINT a" } else { "BEGIN" };
        if let Err(error) = self.execute(number, begin) {
            assert_eq!(error.code, Code::Timeout, "{error:?}");
            return;
        }
        self.wait_until_all_is_told();
        let place = self.journal.place();
        let mut lease = Lease::default();
        lease.savepoints.extend(by_savepoint.then_some("a"));
        lease
            .did
            .extend(by_savepoint.then_some(Did::Savepoint("a")));
        for step in steps {
            match self.leased(number, step, &mut lease) {
                Now::Open => {}
                Now::Committed => return self.journal.fill(place, lease.did),
                Now::RolledBack => return,
                Now::Doomed => {
                    assert!(
                        self.execute(number, "COMMIT").is_err(),
                        "a write is missing"
                    );
                    self.execute(number, "ROLLBACK").unwrap();
                    return;
                }
            }
        }
        match end {
            End::Commit => {
                self.execute(number, "COMMIT").unwrap();
                self.journal.fill(place, lease.did);
            }
            End::Rollback => {
                self.execute(number, "ROLLBACK").unwrap();
            }
            End::Abandon => self.handles[number].abandon_lease(),
        }
        assert!(!self.handles[number].in_transaction());
    }

    fn leased(&mut self, number: usize, step: &Step, lease: &mut Lease) -> Now {
        let name = |other: bool| if other { "b" } else { "a" };
        match step {
            Step::Now(_, Write::Raw(statements)) => {
                for raw in statements {
                    let told = self.execute(number, &sql(raw));
                    let failed = told.is_err();
                    lease.did.push(Did::Ran(raw.clone(), told));
                    if !self.handles[number].in_transaction() {
                        assert!(failed && matches!(raw, Raw::InsertOrRollback(..)));
                        return Now::RolledBack;
                    }
                }
            }
            Step::Now(_, write) => {
                let write = self.given(write);
                let did = self.write_now(number, &write);
                let sequence = self.store.writer.queue.last_sequence();
                self.accept(sequence, write);
                let did = did(sequence);
                let doomed = matches!(did, Did::Upserted(.., Err(_)));
                lease.did.push(did);
                if doomed {
                    return Now::Doomed;
                }
            }
            Step::Savepoint(other) => {
                let name = name(*other);
                self.execute(number, &format!("SAVEPOINT {name}")).unwrap();
                lease.savepoints.push(name);
                lease.did.push(Did::Savepoint(name));
            }
            Step::RollbackTo(other) => {
                let name = name(*other);
                let place = lease.savepoints.iter().rposition(|known| *known == name);
                let told = self.execute(number, &format!("ROLLBACK TO {name}"));
                assert_eq!(told.is_ok(), place.is_some(), "{told:?}");
                if let Some(place) = place {
                    lease.savepoints.truncate(place + 1);
                    lease.did.push(Did::RolledBackTo(name));
                }
            }
            Step::Release(other) => {
                let name = name(*other);
                let place = lease.savepoints.iter().rposition(|known| *known == name);
                let told = self.execute(number, &format!("RELEASE {name}"));
                assert_eq!(told.is_ok(), place.is_some(), "{told:?}");
                if let Some(place) = place {
                    lease.savepoints.truncate(place);
                    lease.did.push(Did::Released(name));
                }
                // The release of the savepoint that began the transaction ends it.
                if !self.handles[number].in_transaction() {
                    assert!(lease.savepoints.is_empty());
                    return Now::Committed;
                }
            }
            queued => self.step(queued),
        }
        Now::Open
    }

    fn execute(&self, number: usize, sql: &str) -> Result<u64> {
        let told = self.handles[number].execute(&statement(sql));
        told.map(|result| result.changes)
    }

    fn flush(&mut self) {
        self.last_id += 1;
        self.handles[0].flush(self.last_id).unwrap();
        self.journal.wait(self.last_id);
        self.check();
        let found: Candles = (0..SERIES.len())
            .flat_map(|series| self.read(series))
            .collect();
        assert_eq!(found, self.plain.candles, "the file and the plain map");
        let mut counts = BTreeMap::from([(15, 0), (60, 0)]);
        for (series, _) in self.plain.candles.keys() {
            *counts.entry(SERIES[*series].0).or_default() += 1;
        }
        let stats = self.handles[0].stats(false).unwrap();
        let told = stats.counts.iter().map(|(_, count)| *count);
        assert_eq!(
            told.collect::<Vec<u64>>(),
            counts.into_values().collect::<Vec<_>>()
        );
    }

    fn read(&self, series: usize) -> Candles {
        let (minutes, symbol) = SERIES[series];
        let mut found = ReadRows::default();
        self.handles[0]
            .read_candles(minutes, symbol, TimeRange::ALL, 1_000, true, &mut found)
            .unwrap();
        let rows = found.values.chunks(crate::candle::ROW);
        rows.map(|row| ((series, row[0] as i64), row[4])).collect()
    }

    /// Everything accepted is settled, and the journal is what a plain map would make of it.
    fn check(&mut self) {
        let records = {
            let mut state = lock(&self.journal.state);
            assert!(state.twice.is_empty(), "settled twice: {:?}", state.twice);
            std::mem::take(&mut state.records)
        };
        for record in records {
            match record {
                Record::Settled(id, result) => {
                    // All others are flushes.
                    if let Some(call) = self.calls.remove(&id) {
                        self.plain.settle(&call, &result, &self.accepted);
                    }
                }
                Record::Own(did) => self.plain.own(&did),
            }
        }
        assert!(self.calls.is_empty(), "not settled: {:?}", self.calls);
        assert_eq!(self.plain.balance, self.plain.candles.len() as i64);
    }

    fn may_be_closed(&mut self, drain: bool) {
        for call in self.calls.values_mut() {
            call.may_be_closed |= !drain;
        }
    }

    fn reopen_all(&mut self, drain: bool) {
        self.may_be_closed(drain);
        for handle in self.handles.drain(..) {
            handle.close(if drain { LONG_MS } else { 0.0 });
        }
        self.check();
        // A new store counts from one again, and nothing older waits in it.
        self.accepted.clear();
        self.plain.forget();
        (self.store, self.handles) = open(&self.path, &self.options, &self.journal);
        self.flush();
    }
}

/// A transaction that is open.
#[derive(Default)]
struct Lease {
    did: Vec<Did>,
    savepoints: Vec<&'static str>,
}

/// What a step has made of it.
enum Now {
    Open,
    Committed,
    RolledBack,
    /// A write has failed in it.
    Doomed,
}
