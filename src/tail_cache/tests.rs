//! Reads in between anything that others do, on the scripted engine: a model that knows no cache tells what each may
//! give. Other commits come before a read, between its look at the newest commit and its scan, and after the scan.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::{Committing, Found, Request, TailCache};
use crate::candle::{CandleSink, ReadRows, TimeRange};
use crate::engine::fake::{Fake, Point, full};
use crate::engine::{
    CommitState, Engine, Interrupter, NewestCandle, RawSession, ReadSession, SeriesEnds, Stop,
    WriteSession,
};
use crate::error::Result;
use crate::testing::{FRAME, packed, rows};
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult, Value};
use crate::writer::lock;

const SYMBOLS: [&str; 2] = ["A", "B"];
const TIMES: i64 = 12;

#[derive(Debug, Clone)]
enum Step {
    /// A commit of this process: what it does is told at once, or stays in flight until `Land`.
    Own(usize, i64, u8, bool),
    Delete(usize, i64, i64, bool),
    /// Ends what is in flight without telling of it.
    Silent(usize, i64, u8),
    Land,
    Foreign(usize, i64, u8),
}

#[derive(Debug, Clone)]
struct Read {
    symbol: usize,
    after: Option<i64>,
    before: Option<i64>,
    limit: u32,
    /// What happens just before the scan, and just after it.
    meddle: [Option<Step>; 2],
    fails: bool,
}

/// Everything there is, and what is in flight.
struct World<'a> {
    fake: &'a Fake,
    cache: &'a TailCache,
    writer: Mutex<Box<dyn WriteSession>>,
    flight: Mutex<Option<Committing<'a>>>,
}

impl<'a> World<'a> {
    fn new(fake: &'a Fake, cache: &'a TailCache) -> Self {
        Self {
            fake,
            cache,
            writer: Mutex::new(fake.open_writer().expect("a writer")),
            flight: Mutex::default(),
        }
    }

    fn commit(&self, is_told: bool, tells: bool, write: impl FnOnce(&mut dyn WriteSession)) {
        drop(lock(&self.flight).take());
        let mut guard = self.cache.committing();
        let mut writer = lock(&self.writer);
        writer.try_begin().expect("the lock is free");
        write(writer.as_mut());
        let committed = writer.commit().expect("a commit");
        if tells {
            guard.done(&[committed]);
        }
        if !is_told {
            *lock(&self.flight) = Some(guard);
        }
    }

    fn act(&self, step: &Step) {
        let upsert = |symbol: usize, time: i64, close: u8| {
            move |writer: &mut dyn WriteSession| {
                let values = packed(&[(time, f64::from(close))]);
                writer
                    .upsert(FRAME, SYMBOLS[symbol], rows(&values))
                    .expect("an upsert");
            }
        };
        match *step {
            Step::Own(symbol, time, close, is_told) => {
                self.commit(is_told, true, upsert(symbol, time, close));
            }
            Step::Silent(symbol, time, close) => {
                self.commit(true, false, upsert(symbol, time, close));
            }
            Step::Delete(symbol, after, before, is_told) => {
                self.commit(is_told, true, |writer| {
                    let range = TimeRange { after, before };
                    writer
                        .delete(FRAME, SYMBOLS[symbol], range)
                        .expect("a delete");
                });
            }
            Step::Land => drop(lock(&self.flight).take()),
            Step::Foreign(symbol, time, close) => {
                self.fake
                    .commit_of_another(FRAME, SYMBOLS[symbol], time, f64::from(close));
            }
        }
    }

    fn session(&self) -> Box<dyn ReadSession> {
        let opened = self.fake.open_reader().expect("readers");
        opened.expect("a reader")
    }

    /// What is there now.
    fn truth(&self, request: &Request<'_>) -> (Vec<f64>, bool) {
        let mut rows = ReadRows::default();
        let has_older = self
            .session()
            .scan(
                request.timeframe,
                request.symbol,
                request.range,
                request.limit,
                &mut rows,
            )
            .expect("the truth");
        (rows.values, has_older)
    }
}

/// A session in whose scans others meddle.
struct Meddled<'a, 'b> {
    world: &'a World<'b>,
    inner: Box<dyn ReadSession>,
    meddle: [Option<Step>; 2],
    truths: Vec<(Vec<f64>, bool)>,
    request: Request<'a>,
    fails: bool,
}

impl Meddled<'_, '_> {
    fn meddle(&mut self, place: usize) {
        if let Some(step) = self.meddle[place].take() {
            self.world.act(&step);
            self.truths.push(self.world.truth(&self.request));
        }
    }
}

impl ReadSession for Meddled<'_, '_> {
    fn scan(
        &mut self,
        timeframe: Timeframe,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        sink: &mut dyn CandleSink,
    ) -> Result<bool> {
        self.meddle(0);
        let scanned = if self.fails {
            Err(full())
        } else {
            self.inner.scan(timeframe, symbol, range, limit, sink)
        };
        self.meddle(1);
        scanned
    }

    fn commit_state(&mut self) -> Option<CommitState> {
        self.inner.commit_state()
    }

    fn last_time(&mut self, timeframe: Timeframe, symbol: &str) -> Result<Value> {
        self.inner.last_time(timeframe, symbol)
    }

    fn counts(
        &mut self,
        timeframes: &[Timeframe],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(i64, Vec<u64>)> {
        self.inner.counts(timeframes, go_on)
    }

    fn data_version(&mut self) -> Result<i64> {
        self.inner.data_version()
    }

    fn in_transaction(&self) -> bool {
        false
    }

    fn raw(&mut self) -> Option<&mut dyn RawSession> {
        self.inner.raw()
    }

    fn newest(&mut self, timeframes: &[Timeframe]) -> Result<Vec<NewestCandle>> {
        self.inner.newest(timeframes)
    }

    fn query_only(
        &mut self,
        statement: &Statement,
        most: Option<usize>,
    ) -> Result<StatementResult> {
        self.inner.query_only(statement, most)
    }

    fn snapshot(&mut self, read: &mut dyn FnMut(&mut dyn ReadSession) -> Result<()>) -> Result<()> {
        self.inner.snapshot(read)
    }

    fn series(&mut self, timeframe: Timeframe) -> Result<Vec<SeriesEnds>> {
        self.inner.series(timeframe)
    }

    fn count_series(&mut self, timeframe: Timeframe, symbol: &str) -> Result<u64> {
        self.inner.count_series(timeframe, symbol)
    }

    fn interrupter(&self) -> Box<dyn Interrupter> {
        self.inner.interrupter()
    }

    fn stop_when(&mut self, stop: Option<Stop>) {
        self.inner.stop_when(stop);
    }
}

fn request(read: &Read) -> Request<'static> {
    Request {
        timeframe: FRAME,
        symbol: SYMBOLS[read.symbol],
        range: TimeRange {
            after: read.after.unwrap_or(i64::MIN),
            before: read.before.unwrap_or(i64::MAX),
        },
        limit: read.limit,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (symbol, time, close) = (0..SYMBOLS.len(), 0..TIMES, any::<u8>());
    prop_oneof![
        (symbol.clone(), time.clone(), close, any::<bool>())
            .prop_map(|(symbol, time, close, told)| Step::Own(symbol, time, close, told)),
        (symbol.clone(), -1..TIMES, 0..TIMES, any::<bool>())
            .prop_map(|(symbol, after, before, told)| Step::Delete(symbol, after, before, told)),
        (symbol.clone(), time.clone(), close).prop_map(|(s, t, c)| Step::Silent(s, t, c)),
        Just(Step::Land),
        (symbol, time, close).prop_map(|(s, t, c)| Step::Foreign(s, t, c)),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    let sometimes = || proptest::option::weighted(0.3, step());
    (
        0..SYMBOLS.len(),
        proptest::option::weighted(0.2, -1..TIMES),
        proptest::option::weighted(0.2, 0..TIMES),
        0..8_u32,
        [sometimes(), sometimes()],
        proptest::bool::weighted(0.05),
    )
        .prop_map(|(symbol, after, before, limit, meddle, fails)| Read {
            symbol,
            after,
            before,
            limit,
            meddle,
            fails,
        })
}

proptest! {
    #[test]
    fn a_read_gives_a_commit_no_older_than_its_begin_and_its_stamp_holds(
        steps in proptest::collection::vec(prop_oneof![step().prop_map(Ok), read().prop_map(Err)], 1..60),
        most_bytes in prop_oneof![Just(0_usize), Just(600), Just(8_000), Just(1 << 20)],
    ) {
        let (fake, cache) = (Fake::new(&[FRAME]), TailCache::new(most_bytes));
        let world = World::new(&fake, &cache);
        let mut answers: Vec<(Request<'_>, (Vec<f64>, bool), u64)> = Vec::new();
        for step in steps {
            let read = match step {
                Ok(step) => {
                    world.act(&step);
                    continue;
                }
                Err(read) => read,
            };
            let request = request(&read);
            let mut session = Meddled {
                world: &world,
                inner: world.session(),
                meddle: read.meddle.clone(),
                truths: vec![world.truth(&request)],
                request,
                fails: read.fails,
            };
            let mut given = ReadRows::default();
            let found = cache.read(&mut session, &request, &mut given);
            let truths = std::mem::take(&mut session.truths);
            if let Ok(Found { has_older, stamp }) = found {
                let answer = (given.values, has_older);
                prop_assert!(truths.contains(&answer), "{answer:?} of {truths:?}");
                answers.extend(stamp.map(|stamp| (request, answer, stamp)));
            } else {
                prop_assert!(read.fails);
            }
            for (request, answer, stamp) in &answers {
                if cache.is_unchanged(world.session().as_mut(), FRAME, request.symbol, *stamp) {
                    prop_assert_eq!(&world.truth(request), answer);
                }
            }
        }
    }
}

fn cached() -> (Arc<Fake>, TailCache) {
    (Fake::new(&[FRAME]), TailCache::new(1 << 20))
}

fn newest(world: &World<'_>, symbol: usize, limit: u32) -> (Vec<f64>, usize) {
    let request = Request {
        timeframe: FRAME,
        symbol: SYMBOLS[symbol],
        range: TimeRange::ALL,
        limit,
    };
    let before = world.fake.calls(Point::Read);
    let mut given = ReadRows::default();
    world
        .cache
        .read(world.session().as_mut(), &request, &mut given)
        .expect("a read");
    let reads = world.fake.calls(Point::Read) - before;
    assert_eq!(given.values, world.truth(&request).0);
    (given.values, reads)
}

#[test]
fn own_commits_make_one_series_be_read_again_and_foreign_ones_each_once() {
    let (fake, cache) = cached();
    let world = World::new(&fake, &cache);
    let reads = || [0, 1].map(|symbol| newest(&world, symbol, 5).1);
    world.act(&Step::Own(0, 1, 1, true));
    assert_eq!(reads(), [1, 1]);
    assert_eq!(reads(), [0, 0]);
    world.act(&Step::Own(0, 2, 1, true));
    assert_eq!(reads(), [1, 0]);
    assert_eq!(reads(), [0, 0]);
    world.act(&Step::Foreign(0, 3, 1));
    assert_eq!(reads(), [1, 1]);
    assert_eq!(reads(), [0, 0]);
}

#[test]
fn while_an_own_commit_is_in_flight_reads_see_it_and_keep_nothing() {
    let (fake, cache) = cached();
    let world = World::new(&fake, &cache);
    world.act(&Step::Own(0, 1, 1, true));
    newest(&world, 0, 5);
    world.act(&Step::Own(0, 1, 2, false));
    assert_eq!(newest(&world, 0, 5).1, 1);
    assert_eq!(newest(&world, 0, 5).1, 1);
    world.act(&Step::Land);
    assert_eq!(newest(&world, 0, 5).1, 1, "what was touched");
    assert_eq!(newest(&world, 0, 5).1, 0);
}

#[test]
fn a_small_read_does_not_take_from_what_a_large_one_needs() {
    let (fake, cache) = cached();
    let world = World::new(&fake, &cache);
    world.commit(true, true, |writer| {
        let candles: Vec<_> = (0..3_000).map(|time| (time, 1.0)).collect();
        writer
            .upsert(FRAME, SYMBOLS[0], rows(&packed(&candles)))
            .expect("candles");
    });
    newest(&world, 0, 2_500);
    world.act(&Step::Own(0, 2_999, 2, true));
    assert_eq!(newest(&world, 0, 1).1, 1, "what was touched");
    assert_eq!(newest(&world, 0, 2_500).1, 0);
}
