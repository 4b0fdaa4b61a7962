//! How outcomes and events leave the store: each handle has a sink, and everything that one commit settles for it
//! is handed over in one call.

use std::sync::Arc;

use serde::Serialize;

use crate::breaker::State;
use crate::candle::ReadRows;
use crate::engine::{NewestCandle, Progress, Series};
use crate::error::{Code, StoreError};
use crate::json_rows::JsonRows;
use crate::tail_cache::Found;
use crate::timeframe::Timeframe;
use crate::value::StatementResult;

/// Where the outcomes of a handle's asynchronous calls go.
pub trait Sink: Send + Sync {
    fn settle(&self, outcomes: Vec<Outcome>);
    fn event(&self, event: Event);
    /// Whether events of a kind are of any use here: some are costly to make.
    fn wants(&self, kind: EventKind) -> bool;
}

/// Who waits for the outcome of one asynchronous call.
#[derive(Clone)]
pub struct Reply {
    pub sink: Arc<dyn Sink>,
    pub id: u64,
}

impl Reply {
    pub fn settle(&self, result: Result<Answer, StoreError>) {
        self.sink.settle(vec![Outcome {
            id: self.id,
            result,
        }]);
    }
}

/// A reply that somebody waits for: lost in a panic, it is settled with an error.
pub struct Owed(Option<Reply>);

impl Owed {
    pub fn new(reply: Reply) -> Self {
        Self(Some(reply))
    }

    pub fn settle(mut self, result: Result<Answer, StoreError>) {
        if let Some(reply) = self.0.take() {
            reply.settle(result);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.settle(Err(StoreError::new(
                Code::Poisoned,
                "a bug in candlestore's native code: the call was lost in a panic; please report it",
            )));
        }
    }
}

/// The outcome of one asynchronous call.
#[derive(Debug)]
pub struct Outcome {
    pub id: u64,
    pub result: Result<Answer, StoreError>,
}

/// What an asynchronous call gives back.
#[derive(Debug)]
pub enum Answer {
    Written(Written),
    Ran(Ran),
    Candles(ReadRows),
    Columns(ReadRows),
    Json(JsonRows, Found),
    Done,
    Latest(Vec<NewestCandle>),
    Series(Vec<Series>),
    Found(StatementResult),
    Copied(Progress),
}

/// A committed batch of candles.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Written {
    pub sequence: u64,
    pub inserted: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub coalesced: u64,
    pub deleted: u64,
    pub queued_ms: f64,
    pub commit_ms: f64,
}

/// Committed statements of the caller's own.
#[derive(Debug, Default)]
pub struct Ran {
    pub sequence: u64,
    pub results: Vec<StatementResult>,
    pub queued_ms: f64,
    pub commit_ms: f64,
}

/// Something that happened in the store.
#[derive(Debug, Clone)]
pub enum Event {
    /// Candles of one series were committed.
    Candles(CandlesEvent),
    /// The queue has become empty.
    Drained,
    /// The store stopped writing.
    StoreError(StoreError),
    LockWait(LockWaitEvent),
    SlowWrite(SlowWriteEvent),
    /// The breaker has changed its state, with the failure that made it open.
    Breaker(BreakerNumbers, Option<StoreError>),
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Candles,
    Drained,
    StoreError,
    LockWait,
    SlowWrite,
    Breaker,
}

impl Event {
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Candles(_) => EventKind::Candles,
            Event::Drained => EventKind::Drained,
            Event::StoreError(_) => EventKind::StoreError,
            Event::LockWait(_) => EventKind::LockWait,
            Event::SlowWrite(_) => EventKind::SlowWrite,
            Event::Breaker(..) => EventKind::Breaker,
        }
    }
}

/// Candles of one series were committed.
#[derive(Debug, Clone, PartialEq)]
pub struct CandlesEvent {
    pub timeframe: Timeframe,
    pub symbol: Arc<str>,
    pub from: i64,
    pub to: i64,
    pub count: u64,
    /// The newest of them, to tell own commits from foreign ones later.
    pub newest: u64,
}

/// Waits for the file's lock since the last such event. One that goes on is counted in both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockWaitEvent {
    pub count: u64,
    pub total_ms: f64,
    pub longest_ms: f64,
    /// Who held the lock, where that can be known.
    pub holder_pid: Option<u32>,
}

/// What took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowKind {
    /// A group of the queue.
    Group,
    /// A synchronous write with a transaction of its own.
    Write,
    /// A transaction of the caller's.
    Transaction,
}

/// A write that took long, however it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowWriteEvent {
    pub kind: SlowKind,
    /// For its turn and for the lock.
    pub waited_ms: f64,
    /// From beginning to wait to its end.
    pub took_ms: f64,
    /// Tries to get the lock.
    pub attempts: u64,
    /// The statement that it was or that began the transaction.
    pub sql: Option<String>,
}

/// What the breaker says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerNumbers {
    pub state: State,
    /// Failures in a row.
    pub failures: u64,
    /// Time until the next trial; none while it is closed.
    pub next_trial_ms: Option<f64>,
}

/// Collects outcomes and hands them over by sink.
#[derive(Default)]
pub struct Outbox {
    by_sink: Vec<(Arc<dyn Sink>, Vec<Outcome>)>,
}

impl Outbox {
    pub fn add(&mut self, reply: Reply, result: Result<Answer, StoreError>) {
        let outcome = Outcome {
            id: reply.id,
            result,
        };
        match self
            .by_sink
            .iter_mut()
            .rev()
            .find(|(sink, _)| Arc::ptr_eq(sink, &reply.sink))
        {
            Some((_, outcomes)) => outcomes.push(outcome),
            None => self.by_sink.push((reply.sink, vec![outcome])),
        }
    }

    pub fn send(self) {
        for (sink, outcomes) in self.by_sink {
            sink.settle(outcomes);
        }
    }
}
