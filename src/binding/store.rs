//! The native class behind a `CandleStore`: one method for each thing a handle does. Candles cross as packed doubles,
//! statements as text and values, outcomes in bulk.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;

use napi::Env;
use napi::bindgen_prelude::{
    Buffer, Float64Array, Float64ArraySlice, Function, Uint8ArraySlice, Unknown,
};
use napi_derive::napi;
use serde::Serialize;

use super::queries::{LatestAnswer, SeriesAnswer};
use super::raw::Sharing;
use super::reads::{JsonAnswer, ReadMore, in_columns, json_answer};
use super::sink::{CANDLES, JsSink};
use super::value::Cell;
use super::{call, environment, stats, to_json};
use crate::candle::{ROW, ReadRows, Rows, TimeRange};
use crate::error::{Code, Result, StoreError};
use crate::footprint;
use crate::options::Options;
use crate::queue::Priority;
use crate::reply::{Answer, Event, Reply, Sink};
use crate::store::{self, Alone, EnqueueOptions, Handle};
use crate::value::{Params, Statement, StatementResult};

/// Doubles of one settled call in `Settled.numbers`: id, kind, sequence, inserted, updated, unchanged, coalesced,
/// deleted, queued ms, commit ms, place of its further data.
const SETTLED: usize = 11;

#[napi]
pub struct NativeStore {
    pub(super) handle: Arc<Handle>,
    pub(super) sink: Arc<JsSink>,
    /// Rows of synchronous reads, kept to be filled again.
    pub(super) scratch: Mutex<ReadRows>,
    /// What the caller's own statements share with JS.
    pub(super) sharing: Rc<Sharing>,
    env: napi::sys::napi_env,
}

/// What a handle takes outside of V8's memory, so that V8 collects those that nobody uses in time.
const NATIVE_BYTES: i64 = 96 << 10;

/// Tells V8 of native memory.
fn adjust_memory(env: napi::sys::napi_env, bytes: i64) {
    let mut now = 0;
    // SAFETY: this is the thread of the environment, which lives as long as its objects.
    unsafe { napi::sys::napi_adjust_external_memory(env, bytes, &raw mut now) };
}

impl NativeStore {
    pub(super) fn of(env: &Env, handle: Arc<Handle>, sink: Arc<JsSink>) -> Self {
        adjust_memory(env.raw(), NATIVE_BYTES);
        Self {
            env: env.raw(),
            handle,
            sink,
            scratch: Mutex::default(),
            sharing: Rc::default(),
        }
    }
}

/// What a statement gave back.
#[napi(object, object_from_js = false)]
pub struct StatementAnswer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    pub changes: f64,
    pub last_insert_rowid: f64,
}

/// Outcomes and events since the last call.
#[napi(object, object_from_js = false)]
pub struct Settled {
    pub numbers: Float64Array,
    pub errors: Vec<String>,
    pub candles: Vec<ReadMore>,
    pub json: Vec<JsonAnswer>,
    pub ran: Vec<Vec<StatementAnswer>>,
    pub found: Vec<StatementAnswer>,
    pub latest: Vec<LatestAnswer>,
    pub series: Vec<SeriesAnswer>,
    pub events: Vec<StoreEvent>,
}

#[napi(object, object_from_js = false)]
pub struct StoreEvent {
    pub name: &'static str,
    pub minutes: u32,
    pub symbol: String,
    pub from: f64,
    pub to: f64,
    pub count: f64,
    pub error: Option<String>,
    /// What else is to be told, as JSON.
    pub facts: Option<String>,
}

/// A statement of the caller's as it comes from JS.
#[napi(object, object_to_js = false)]
pub struct GivenStatement {
    pub sql: String,
    pub positional: Vec<Cell>,
    pub names: Vec<String>,
    pub named: Vec<Cell>,
}

/// What waits in one priority.
#[napi(object, object_from_js = false)]
pub struct LaneDepth {
    pub batches: f64,
    pub rows: f64,
    pub bytes: f64,
    pub oldest_age_ms: f64,
}

/// What an upsert did.
#[napi(object, object_from_js = false)]
pub struct UpsertAnswer {
    pub inserted: f64,
    pub updated: f64,
    pub unchanged: f64,
}

impl From<GivenStatement> for Statement {
    fn from(given: GivenStatement) -> Self {
        Statement {
            sql: given.sql,
            params: Params {
                positional: given.positional.into_iter().map(|cell| cell.0).collect(),
                named: given
                    .names
                    .into_iter()
                    .zip(given.named.into_iter().map(|cell| cell.0))
                    .collect(),
            },
        }
    }
}

impl From<StatementResult> for StatementAnswer {
    fn from(result: StatementResult) -> Self {
        StatementAnswer {
            columns: result.columns,
            rows: result
                .rows
                .into_iter()
                .map(|row| row.into_iter().map(Cell).collect())
                .collect(),
            changes: result.changes as f64,
            last_insert_rowid: result.last_insert_rowid as f64,
        }
    }
}

/// Hands over candles packed in JS: rows of doubles, and footprints that become text here.
fn with_rows<T>(
    values: &[f64],
    count: u32,
    footprints: &[u8],
    used: u32,
    take: impl FnOnce(Rows<'_>) -> Result<T>,
) -> Result<T> {
    let values = values.get(..count as usize * ROW);
    let footprints = footprints.get(..used as usize * size_of::<f64>());
    let (Some(values), Some(footprints)) = (values, footprints) else {
        return Err(StoreError::new(
            Code::InvalidArgument,
            "the packed candles are shorter than their count says; was the array detached?",
        )
        .not_written());
    };
    take(Rows::new(values, &footprint::texts(footprints)?)?)
}

fn enqueue_options(id: f64, priority: u32, timeout_ms: f64, job: u32) -> EnqueueOptions {
    EnqueueOptions {
        id: id as u64,
        priority: Priority::ALL
            .get(priority as usize)
            .copied()
            .unwrap_or(Priority::Live),
        timeout_ms: (!timeout_ms.is_nan()).then_some(timeout_ms),
        job,
    }
}

/// Plain values as JSON: what is told seldom crosses as text.
fn facts(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// An event that tells no more than its name.
fn nothing(name: &'static str) -> StoreEvent {
    StoreEvent {
        name,
        minutes: 0,
        symbol: String::new(),
        from: 0.0,
        to: 0.0,
        count: 0.0,
        error: None,
        facts: None,
    }
}

pub(super) fn most(rows: Option<u32>) -> Option<usize> {
    rows.map(|rows| rows as usize)
}

#[napi]
impl NativeStore {
    /// Opens a handle; `wake` is called on this thread when `take` has something to give.
    #[napi(factory)]
    pub fn open(
        env: Env,
        location: String,
        options: String,
        wake: Function<(), Unknown<'static>>,
    ) -> napi::Result<Self> {
        let sink = Arc::new(JsSink::new(&wake)?);
        let handle = call(|| {
            Ok(Arc::new(store::open(
                &location,
                &Options::from_json(&options)?,
                sink.clone(),
            )?))
        })?;
        environment::remember(&env, &handle, &sink)?;
        Ok(Self::of(&env, handle, sink))
    }

    /// Opens a database that the caller has to itself: a file, `:memory:`, a temporary one for an empty name, or the bytes of
    /// a file.
    #[napi(factory)]
    pub fn open_alone(
        env: Env,
        name: String,
        bytes: Option<Buffer>,
        options: String,
        timeout_ms: f64,
        wake: Function<(), Unknown<'static>>,
    ) -> napi::Result<Self> {
        let sink = Arc::new(JsSink::new(&wake)?);
        let handle = call(|| {
            let database = match (&bytes, name.as_str()) {
                (Some(bytes), _) => Alone::Bytes(bytes.to_vec()),
                (None, ":memory:") => Alone::Memory,
                (None, "") => Alone::Temporary,
                (None, path) => Alone::File(Path::new(path)),
            };
            let options = Options {
                timeframes: Vec::new(),
                busy_timeout_ms: timeout_ms,
                ..Options::from_json(&options)?
            };
            Ok(Arc::new(store::open_alone(
                database,
                &options,
                sink.clone(),
            )?))
        })?;
        environment::remember(&env, &handle, &sink)?;
        Ok(Self::of(&env, handle, sink))
    }

    #[napi(getter)]
    pub fn is_open(&self) -> bool {
        self.handle.is_open()
    }

    #[napi(getter)]
    pub fn in_transaction(&self) -> bool {
        self.handle.in_transaction()
    }

    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn upsert(
        &self,
        minutes: u32,
        symbol: String,
        values: Float64ArraySlice<'_>,
        count: u32,
        footprints: Uint8ArraySlice<'_>,
        footprints_used: u32,
    ) -> napi::Result<UpsertAnswer> {
        call(|| {
            let done = with_rows(&values, count, &footprints, footprints_used, |rows| {
                self.handle.upsert(minutes, &symbol, rows)
            })?;
            Ok(UpsertAnswer {
                inserted: done.inserted as f64,
                updated: done.updated as f64,
                unchanged: done.unchanged as f64,
            })
        })
    }

    /// Fails as a write would that cannot even begin.
    #[napi]
    pub fn check_writable(&self) -> napi::Result<()> {
        call(|| self.handle.check_can_begin())
    }

    #[napi]
    pub fn delete_candles(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
    ) -> napi::Result<f64> {
        call(|| {
            self.handle
                .delete(minutes, &symbol, TimeRange::from_numbers(after, before))
                .map(|count| count as f64)
        })
    }

    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn enqueue_upsert(
        &self,
        minutes: u32,
        symbol: String,
        values: Float64ArraySlice<'_>,
        count: u32,
        footprints: Uint8ArraySlice<'_>,
        footprints_used: u32,
        id: f64,
        priority: u32,
        timeout_ms: f64,
        job: u32,
    ) -> napi::Result<f64> {
        call(|| {
            let options = enqueue_options(id, priority, timeout_ms, job);
            with_rows(&values, count, &footprints, footprints_used, |rows| {
                self.handle.enqueue_upsert(minutes, &symbol, rows, options)
            })
            .map(|sequence| sequence as f64)
        })
    }

    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn enqueue_delete(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
        id: f64,
        priority: u32,
        timeout_ms: f64,
        job: u32,
    ) -> napi::Result<f64> {
        call(|| {
            let range = TimeRange::from_numbers(after, before);
            self.handle
                .enqueue_delete(
                    minutes,
                    &symbol,
                    range,
                    enqueue_options(id, priority, timeout_ms, job),
                )
                .map(|sequence| sequence as f64)
        })
    }

    #[napi]
    pub fn enqueue_statements(
        &self,
        statements: Vec<GivenStatement>,
        id: f64,
        priority: u32,
        timeout_ms: f64,
        job: u32,
    ) -> napi::Result<f64> {
        call(|| {
            let statements = statements.into_iter().map(Statement::from).collect();
            self.handle
                .enqueue_statements(statements, enqueue_options(id, priority, timeout_ms, job))
                .map(|sequence| sequence as f64)
        })
    }

    #[napi]
    pub fn withdraw(&self, sequence: f64) -> bool {
        self.handle.withdraw(sequence as u64)
    }

    #[napi]
    pub fn flush(&self, id: f64) -> napi::Result<()> {
        call(|| self.handle.flush(id as u64))
    }

    #[napi(getter)]
    pub fn read_only_in_transaction(&self) -> bool {
        self.handle.read_only_in_transaction()
    }

    /// Fills `into` with the rows of each table and then with what `stat_names` names.
    #[napi]
    pub fn stats(&self, exact: bool, mut into: Float64ArraySlice<'_>) -> napi::Result<()> {
        call(|| {
            let stats = self.handle.stats(exact)?;
            // SAFETY: JS runs nothing during this call, so nobody else reads or writes the array.
            for (place, number) in unsafe { into.as_mut() }.iter_mut().zip(stats::pack(&stats)) {
                *place = number;
            }
            Ok(())
        })
    }

    /// What the queue has done, as JSON.
    #[napi]
    pub fn queue_stats(&self) -> napi::Result<String> {
        call(|| Ok(facts(&self.handle.queue_stats()?)))
    }

    /// What waits: live, backfill, maintenance.
    #[napi]
    pub fn depth(&self) -> napi::Result<Vec<LaneDepth>> {
        call(|| {
            Ok(self
                .handle
                .depth()?
                .map(|depth| LaneDepth {
                    batches: depth.batches as f64,
                    rows: depth.rows as f64,
                    bytes: depth.bytes as f64,
                    oldest_age_ms: depth.oldest_age_ms,
                })
                .into_iter()
                .collect())
        })
    }

    /// Which events JS wants, as bits.
    #[napi]
    pub fn listen(&self, wanted: u32) -> napi::Result<()> {
        self.sink.listen(wanted);
        call(|| self.handle.listen(wanted & CANDLES != 0))
    }

    /// Series that others have written, as `candles` events.
    #[napi]
    pub fn foreign_changes(&self) -> napi::Result<Vec<StoreEvent>> {
        call(|| {
            let changes = self.handle.foreign_changes()?;
            Ok(changes
                .into_iter()
                .map(|change| StoreEvent {
                    minutes: change.timeframe.0,
                    symbol: change.symbol.to_string(),
                    from: change.from as f64,
                    to: change.to as f64,
                    count: 1.0,
                    ..nothing("candles")
                })
                .collect())
        })
    }

    /// Takes the outcomes and events that wait.
    #[napi]
    pub fn take(&self) -> napi::Result<Settled> {
        call(|| {
            let waiting = self.sink.take();
            let mut numbers = Vec::with_capacity(waiting.outcomes.len() * SETTLED);
            let mut settled = Settled {
                numbers: Float64Array::new(Vec::new()),
                errors: Vec::new(),
                candles: Vec::new(),
                json: Vec::new(),
                ran: Vec::new(),
                found: Vec::new(),
                latest: Vec::new(),
                series: Vec::new(),
                events: Vec::new(),
            };
            for outcome in waiting.outcomes {
                let mut row = [0.0; SETTLED];
                row[0] = outcome.id as f64;
                match outcome.result {
                    Ok(Answer::Written(written)) => {
                        let told = [
                            written.sequence,
                            written.inserted,
                            written.updated,
                            written.unchanged,
                            written.coalesced,
                            written.deleted,
                        ];
                        for (place, number) in told.into_iter().enumerate() {
                            row[2 + place] = number as f64;
                        }
                        row[8] = written.queued_ms;
                        row[9] = written.commit_ms;
                    }
                    Err(error) => {
                        row[1] = 1.0;
                        row[10] = settled.errors.len() as f64;
                        settled.errors.push(to_json(&error));
                    }
                    Ok(Answer::Ran(ran)) => {
                        row[1] = 2.0;
                        row[2] = ran.sequence as f64;
                        row[8] = ran.queued_ms;
                        row[9] = ran.commit_ms;
                        row[10] = settled.ran.len() as f64;
                        settled
                            .ran
                            .push(ran.results.into_iter().map(StatementAnswer::from).collect());
                    }
                    Ok(Answer::Candles(read)) => {
                        row[1] = 3.0;
                        row[10] = settled.candles.len() as f64;
                        settled.candles.push(ReadMore::from(read));
                    }
                    Ok(Answer::Columns(mut read)) => {
                        row[1] = 3.0;
                        row[10] = settled.candles.len() as f64;
                        let clusters = std::mem::take(&mut read.clusters);
                        settled.candles.push(in_columns(clusters, &read));
                    }
                    Ok(Answer::Json(rows, found)) => {
                        row[1] = 8.0;
                        row[10] = settled.json.len() as f64;
                        settled.json.push(json_answer(rows, found, 0));
                    }
                    Ok(Answer::Done) => row[1] = 4.0,
                    Ok(Answer::Copied(progress)) => {
                        row[1] = 9.0;
                        row[2] = f64::from(progress.total_pages);
                        row[3] = f64::from(progress.remaining_pages);
                        row[4] = f64::from(u8::from(progress.is_held_up));
                    }
                    Ok(Answer::Found(found)) => {
                        row[1] = 5.0;
                        row[10] = settled.found.len() as f64;
                        settled.found.push(found.into());
                    }
                    Ok(Answer::Latest(latest)) => {
                        row[1] = 6.0;
                        row[10] = settled.latest.len() as f64;
                        settled.latest.push(latest.into());
                    }
                    Ok(Answer::Series(series)) => {
                        row[1] = 7.0;
                        row[10] = settled.series.len() as f64;
                        settled.series.push(series.into());
                    }
                }
                numbers.extend_from_slice(&row);
            }
            settled.numbers = Float64Array::new(numbers);
            settled.events = waiting
                .events
                .into_iter()
                .map(|event| self.event(event))
                .collect();
            Ok(settled)
        })
    }

    fn event(&self, event: Event) -> StoreEvent {
        match event {
            Event::Candles(candles) => {
                self.handle.own_commit(&candles);
                StoreEvent {
                    minutes: candles.timeframe.0,
                    symbol: candles.symbol.to_string(),
                    from: candles.from as f64,
                    to: candles.to as f64,
                    count: candles.count as f64,
                    ..nothing("candles")
                }
            }
            Event::Drained => nothing("drained"),
            Event::StoreError(error) => StoreEvent {
                error: Some(to_json(&error)),
                ..nothing("store-error")
            },
            Event::LockWait(event) => StoreEvent {
                facts: Some(facts(&event)),
                ..nothing("lock-wait")
            },
            Event::SlowWrite(event) => StoreEvent {
                facts: Some(facts(&event)),
                ..nothing("slow-write")
            },
            Event::Breaker(numbers, error) => StoreEvent {
                facts: Some(facts(&numbers)),
                error: error.as_ref().map(to_json),
                ..nothing("breaker")
            },
        }
    }

    /// Ends an open transaction without its changes.
    #[napi]
    pub fn abandon(&self) {
        self.handle.abandon_lease();
    }

    /// Closes on another thread; `id` is settled when done. NaN means the default deadline.
    #[napi]
    pub fn close_later(&self, deadline_ms: f64, id: f64) {
        let reply = Reply {
            sink: self.sink.clone() as Arc<dyn Sink>,
            id: id as u64,
        };
        if !self.handle.begin_close() {
            return reply.settle(Ok(Answer::Done));
        }
        let deadline_ms = self.deadline_ms(deadline_ms);
        environment::close_in_background(self.handle.clone(), deadline_ms, move || {
            reply.settle(Ok(Answer::Done))
        });
    }

    /// Closes and waits for it.
    #[napi]
    pub fn close_now(&self, deadline_ms: f64) -> napi::Result<()> {
        let deadline_ms = self.deadline_ms(deadline_ms);
        call(|| {
            self.handle.close(deadline_ms);
            Ok(())
        })
    }

    /// The last outcomes are taken: lets go of the function that wakes JS.
    #[napi]
    pub fn end(&self) {
        self.sink.end();
    }

    fn deadline_ms(&self, given: f64) -> f64 {
        if given.is_nan() {
            self.handle.default_close_deadline_ms()
        } else {
            given
        }
    }
}

impl Drop for NativeStore {
    fn drop(&mut self) {
        adjust_memory(self.env, -NATIVE_BYTES);
        self.sink.end();
        if self.handle.begin_close() {
            // Collected without close(): draining must not hold up the JS thread.
            let deadline_ms = self.handle.default_close_deadline_ms();
            environment::close_in_background(self.handle.clone(), deadline_ms, || {});
        }
    }
}
