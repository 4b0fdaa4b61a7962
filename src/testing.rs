//! What the tests of several modules share: packed rows, options, and a sink that remembers what it was told.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::candle::{OwnedRows, ROW, Rows};
use crate::engine::fake::PATIENCE;
use crate::error::Result;
use crate::options::Options;
use crate::reply::{Answer, Event, EventKind, Outcome, Sink, Written};
use crate::timeframe::Timeframe;
use crate::value::Statement;

pub const FRAME: Timeframe = Timeframe(15);
pub const SYMBOL: &str = "BINANCE:BTCUSDT";

/// The defaults with two timeframes.
pub fn options() -> Options {
    Options {
        timeframes: vec![FRAME, Timeframe(60)],
        ..Options::default()
    }
}

/// Packed candles without footprints, of which only time and close matter.
pub fn packed(candles: &[(i64, f64)]) -> Vec<f64> {
    candles
        .iter()
        .flat_map(|(time, close)| {
            let mut row = [0.0; ROW];
            row[0] = *time as f64;
            row[4] = *close;
            row
        })
        .collect()
}

/// The same as rows.
pub fn rows(values: &[f64]) -> Rows<'_> {
    Rows::new(values, "").expect("whole rows without footprints")
}

/// The same, owned.
pub fn owned(candles: &[(i64, f64)]) -> OwnedRows {
    OwnedRows::copy(rows(&packed(candles)))
}

pub fn statement(sql: &str) -> Statement {
    Statement {
        sql: sql.to_owned(),
        params: Default::default(),
    }
}

/// Waits for a condition that must come.
pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Remembers outcomes and events, and fails the test when a call is settled twice.
#[derive(Default)]
pub struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    outcomes: BTreeMap<u64, Result<Answer>>,
    /// Every call that was ever settled.
    settled: BTreeSet<u64>,
    twice: Vec<u64>,
    events: Vec<Event>,
}

impl Told {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the outcome of a call and takes it.
    pub fn outcome(&self, id: u64) -> Result<Answer> {
        let start = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(outcome) = state.outcomes.remove(&id) {
                return outcome;
            }
            assert!(start.elapsed() < PATIENCE, "call {id} was not settled");
            state = self
                .changed
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for a write of candles to be committed.
    pub fn written(&self, id: u64) -> Written {
        match self.outcome(id) {
            Ok(Answer::Written(written)) => written,
            other => panic!("call {id} was not written: {other:?}"),
        }
    }

    /// Waits for a call to fail.
    pub fn error(&self, id: u64) -> crate::error::StoreError {
        match self.outcome(id) {
            Err(error) => error,
            other => panic!("call {id} did not fail: {other:?}"),
        }
    }

    pub fn is_settled(&self, id: u64) -> bool {
        self.state().outcomes.contains_key(&id)
    }

    /// How many calls are settled and not taken.
    pub fn settled(&self) -> usize {
        self.state().outcomes.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    pub fn assert_once_each(&self) {
        let state = self.state();
        assert!(state.twice.is_empty(), "settled twice: {:?}", state.twice);
    }
}

impl Sink for Told {
    fn settle(&self, outcomes: Vec<Outcome>) {
        let mut state = self.state();
        for outcome in outcomes {
            if !state.settled.insert(outcome.id) {
                state.twice.push(outcome.id);
            }
            state.outcomes.insert(outcome.id, outcome.result);
        }
        self.changed.notify_all();
    }

    fn event(&self, event: Event) {
        self.state().events.push(event);
        self.changed.notify_all();
    }

    fn wants(&self, _kind: EventKind) -> bool {
        true
    }
}

#[test]
fn a_call_that_is_settled_twice_is_noticed() {
    let told = Told::new();
    let done = || Outcome {
        id: 1,
        result: Ok(Answer::Done),
    };
    told.settle(vec![done()]);
    assert!(told.outcome(1).is_ok());
    told.assert_once_each();
    told.settle(vec![done()]);
    assert_eq!(told.state().twice, [1_u64]);
}
