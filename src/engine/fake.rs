//! An engine of plain maps for tests, which does at each step what its script says: fail, panic, or stand still until
//! the test lets it go on. It shows that the store needs nothing of a database but what the seam promises. Its
//! statements are a few words of its own; it is no SQL.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::held_names::HeldNames;
use super::{
    Checkpoint, CommitState, Committed, Engine, Interrupter, LockWait, NewestCandle, Ran,
    RawSession, ReadSession, SeriesEnds, Step, Stop, Taking, Touched, Upserted, WriteSession,
};
use crate::candle::{CLUSTERS, CandleSink, CandleView, ReadRows, Rows, TimeRange};
use crate::error::{Code, Failure, Result, StoreError, Written};
use crate::rows::{Cell, NoRows, RowSink, SqlText};
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult, Value};

/// Longer than any step of a test should take: a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A place in the code of a session at which the script can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    Open,
    OpenReader,
    Begin,
    Upsert,
    Run,
    Commit,
    Read,
    Count,
    Probe,
}

/// What the script does at a point.
#[derive(Debug, Clone)]
pub enum Act {
    /// Nothing: the step is done as it should be.
    Pass,
    Fail(StoreError),
    /// The step fails and takes the whole transaction with it, as SQLite's OR ROLLBACK does.
    End(StoreError),
    Panic,
    /// Waits at this point for the gate to open.
    Stop(Arc<Gate>),
    /// The same, and then fails.
    StopAndFail(Arc<Gate>, StoreError),
}

/// Where a session stands still until the test lets it go on.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// Stands here until the gate is opened.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        self.changed.notify_all();
        while !state.1 {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a session stands here.
    pub fn wait(&self) {
        let start = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.0 {
            assert!(start.elapsed() < PATIENCE, "no session came to the gate");
            state = self
                .changed
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Lets the session go on.
    pub fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }
}

type Key = (Timeframe, String, i64);

/// Ten numbers and a footprint.
type Candle = ([f64; CLUSTERS], Option<String>);

/// Everything that transactions change.
#[derive(Debug, Clone, Default)]
struct Data {
    candles: BTreeMap<Key, Candle>,
    notes: Vec<String>,
}

#[derive(Default)]
struct State {
    data: Data,
    commits: i64,
    /// Another process holds the write lock.
    locked: bool,
    /// A session of this process is in a transaction.
    writing: bool,
    script: HashMap<Point, VecDeque<Act>>,
    calls: HashMap<Point, usize>,
}

/// A database of maps.
pub struct Fake {
    state: Arc<Mutex<State>>,
    timeframes: Vec<Timeframe>,
    names: HeldNames,
}

impl Fake {
    pub fn new(timeframes: &[Timeframe]) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::default(),
            timeframes: timeframes.to_vec(),
            names: HeldNames::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Adds to what is done at the next calls of a point.
    pub fn script(&self, point: Point, acts: impl IntoIterator<Item = Act>) {
        self.state().script.entry(point).or_default().extend(acts);
    }

    /// Makes the next call of a point stand still.
    pub fn stop_at(&self, point: Point) -> Arc<Gate> {
        let gate = Arc::<Gate>::default();
        self.script(point, [Act::Stop(gate.clone())]);
        gate
    }

    /// Another process takes the write lock, or gives it back.
    pub fn set_locked(&self, locked: bool) {
        self.state().locked = locked;
    }

    /// How often a point was passed.
    pub fn calls(&self, point: Point) -> usize {
        self.state().calls.get(&point).copied().unwrap_or(0)
    }

    /// Waits until a point has been passed so often.
    pub fn wait_for_calls(&self, point: Point, calls: usize) {
        let start = Instant::now();
        while self.calls(point) < calls {
            assert!(
                start.elapsed() < PATIENCE,
                "{point:?} was not called {calls} times"
            );
            std::thread::yield_now();
        }
    }

    /// Another process commits a candle.
    pub fn commit_of_another(&self, timeframe: Timeframe, symbol: &str, time: i64, close: f64) {
        let mut state = self.state();
        let mut values = [0.0; CLUSTERS];
        values[0] = time as f64;
        values[4] = close;
        let key = (timeframe, symbol.to_owned(), time);
        state.data.candles.insert(key, (values, None));
        state.commits += 1;
    }

    /// The committed close of a candle.
    pub fn close_of(&self, timeframe: Timeframe, symbol: &str, time: i64) -> Option<f64> {
        let key = (timeframe, symbol.to_owned(), time);
        self.state()
            .data
            .candles
            .get(&key)
            .map(|(values, _)| values[4])
    }

    /// What committed statements have noted.
    pub fn notes(&self) -> Vec<String> {
        self.state().data.notes.clone()
    }

    fn session(&self) -> Session {
        Session {
            state: self.state.clone(),
            timeframes: self.timeframes.clone(),
            own_commits: 0,
            transaction: None,
            added: vec![0; self.timeframes.len()],
            deferred: None,
            version: None,
            foreign: false,
            before: None,
            touched: Vec::new(),
            interrupted: Arc::default(),
            stop: None,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock is taken.
pub fn busy() -> StoreError {
    StoreError::new(Code::Timeout, "the fake is locked").failure(Failure::Transient)
}

/// The command is wrong.
pub fn constraint() -> StoreError {
    StoreError::new(Code::Constraint, "the fake's constraint")
}

/// The disk is full.
pub fn full() -> StoreError {
    StoreError::new(Code::DiskFull, "the fake's disk is full").failure(Failure::Storage)
}

/// A commit failed in a way that leaves its outcome open.
pub fn io_error_at_commit() -> StoreError {
    let mut error =
        StoreError::new(Code::IoError, "the fake's disk has failed").failure(Failure::Fatal);
    error.written = Some(Written::Unknown);
    error
}

impl Engine for Fake {
    fn open_writer(&self) -> Result<Box<dyn WriteSession>> {
        let mut session = self.session();
        session.pass(Point::Open)?;
        Ok(Box::new(session))
    }

    fn open_reader(&self) -> Option<Result<Box<dyn ReadSession>>> {
        let mut session = self.session();
        Some(session.pass(Point::OpenReader).map(|()| {
            let session: Box<dyn ReadSession> = Box::new(session);
            session
        }))
    }

    fn name(&self) -> &str {
        "the fake"
    }

    fn lock_holder(&self) -> Option<u32> {
        self.state().locked.then_some(4_711)
    }

    fn other_writers(&self) -> Option<Vec<u32>> {
        Some(Vec::new())
    }

    fn file(&self) -> Option<PathBuf> {
        None
    }

    fn open_checkpoint(&self) -> Option<Result<Box<dyn Checkpoint>>> {
        None
    }

    fn take_name(&self, name: &str) -> Result<Taking> {
        Ok(self.names.take(name))
    }
}

struct Session {
    state: Arc<Mutex<State>>,
    timeframes: Vec<Timeframe>,
    own_commits: i64,
    transaction: Option<Data>,
    added: Vec<i64>,
    /// A constraint that is checked at the commit.
    deferred: Option<StoreError>,
    version: Option<i64>,
    foreign: bool,
    before: Option<CommitState>,
    touched: Vec<Touched>,
    interrupted: Arc<AtomicBool>,
    stop: Option<Stop>,
}

/// Interrupts a session.
struct Flag(Arc<AtomicBool>);

impl Interrupter for Flag {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Session {
    /// Does what the script says at a point.
    fn pass(&mut self, point: Point) -> Result<()> {
        let act = {
            let mut state = lock(&self.state);
            *state.calls.entry(point).or_default() += 1;
            state
                .script
                .get_mut(&point)
                .and_then(VecDeque::pop_front)
                .unwrap_or(Act::Pass)
        };
        match act {
            Act::Pass => Ok(()),
            Act::Fail(error) => Err(error),
            Act::End(error) => {
                self.rollback();
                Err(error)
            }
            Act::Panic => {
                panic!("the script says so at {point:?}")
            }
            Act::Stop(gate) => {
                gate.pass();
                Ok(())
            }
            Act::StopAndFail(gate, error) => {
                gate.pass();
                Err(error)
            }
        }
    }

    /// What this session sees.
    fn data<T>(&self, look: impl FnOnce(&Data) -> T) -> T {
        match &self.transaction {
            Some(data) => look(data),
            None => look(&lock(&self.state).data),
        }
    }

    fn writing(&mut self) -> Result<&mut Data> {
        self.transaction
            .as_mut()
            .ok_or_else(|| StoreError::new(Code::SqlError, "no transaction is open").not_written())
    }

    fn place(&self, timeframe: Timeframe) -> Result<usize> {
        self.timeframes
            .iter()
            .position(|known| *known == timeframe)
            .ok_or_else(|| {
                StoreError::new(
                    Code::UnknownTable,
                    format!("there is no {}", timeframe.table()),
                )
            })
    }

    fn take_counts(&mut self) -> Committed {
        let none = vec![0; self.timeframes.len()];
        Committed {
            added: std::mem::replace(&mut self.added, none),
            uncounted: false,
            foreign: std::mem::take(&mut self.foreign),
            touched: std::mem::take(&mut self.touched),
            before: self.before.take(),
            after: self.commit_state(),
            has_written: true,
        }
    }
}

fn inside(range: TimeRange, time: i64) -> bool {
    range.after < time && time < range.before
}

fn pack((values, clusters): &Candle, rows: &mut ReadRows) {
    rows.values.extend_from_slice(values);
    match clusters {
        Some(text) => {
            rows.values.push(text.encode_utf16().count() as f64);
            rows.clusters.push_str(text);
        }
        None => rows.values.push(-1.0),
    }
}

impl Session {
    fn notes(&mut self, statement: &Statement) -> Result<StatementResult> {
        self.pass(Point::Read)?;
        match statement.sql.as_str() {
            "notes" => Ok(StatementResult {
                columns: vec!["note".to_owned()],
                rows: self.data(|data| {
                    data.notes
                        .iter()
                        .map(|note| vec![Value::Text(note.clone())])
                        .collect()
                }),
                ..StatementResult::default()
            }),
            other => Err(StoreError::new(
                Code::SqlError,
                format!("unknown: {other:?}"),
            )),
        }
    }
}

impl ReadSession for Session {
    fn scan(
        &mut self,
        timeframe: Timeframe,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        sink: &mut dyn CandleSink,
    ) -> Result<bool> {
        self.place(timeframe)?;
        self.pass(Point::Read)?;
        Ok(self.data(|data| {
            let found: Vec<_> = data
                .candles
                .iter()
                .filter(|((of, named, time), _)| {
                    *of == timeframe && named == symbol && inside(range, *time)
                })
                .collect();
            let older = found.len().saturating_sub(limit as usize);
            for (_, (values, clusters)) in &found[older..] {
                sink.candle(CandleView {
                    numbers: values,
                    clusters: clusters.as_deref(),
                    is_canonical: None,
                    odd: &[],
                });
            }
            older > 0
        }))
    }

    fn commit_state(&mut self) -> Option<CommitState> {
        let commits = lock(&self.state).commits as u32;
        Some(CommitState {
            number: commits,
            head: [commits; 12],
        })
    }

    fn last_time(&mut self, timeframe: Timeframe, symbol: &str) -> Result<Value> {
        let mut rows = ReadRows::default();
        self.read_candles(timeframe, symbol, TimeRange::ALL, 1, &mut rows)?;
        Ok(rows
            .values
            .first()
            .map_or(Value::Null, |time| Value::Integer(*time as i64)))
    }

    fn counts(
        &mut self,
        timeframes: &[Timeframe],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(i64, Vec<u64>)> {
        let (version, data) = {
            let state = lock(&self.state);
            let data = self
                .transaction
                .clone()
                .unwrap_or_else(|| state.data.clone());
            (state.commits - self.own_commits, data)
        };
        if !go_on() {
            return Ok((version, Vec::new()));
        }
        self.pass(Point::Read)?;
        let count = |timeframe: &Timeframe| {
            data.candles
                .keys()
                .filter(|(of, ..)| of == timeframe)
                .count() as u64
        };
        Ok((version, timeframes.iter().map(count).collect()))
    }

    fn data_version(&mut self) -> Result<i64> {
        Ok(lock(&self.state).commits - self.own_commits)
    }

    fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn raw(&mut self) -> Option<&mut dyn RawSession> {
        None
    }

    fn newest(&mut self, timeframes: &[Timeframe]) -> Result<Vec<NewestCandle>> {
        let mut newest: BTreeMap<(Timeframe, String), Candle> = BTreeMap::new();
        self.data(|data| {
            for ((timeframe, symbol, _), candle) in &data.candles {
                newest.insert((*timeframe, symbol.clone()), candle.clone());
            }
        });
        let packed = newest
            .into_iter()
            .filter(|((timeframe, _), _)| timeframes.contains(timeframe));
        Ok(packed
            .map(|((timeframe, symbol), candle)| {
                let mut row = ReadRows::default();
                pack(&candle, &mut row);
                NewestCandle {
                    timeframe,
                    symbol,
                    row,
                }
            })
            .collect())
    }

    /// `endless` runs until it is interrupted; `note x` is refused.
    fn query_only(&mut self, statement: &Statement, _: Option<usize>) -> Result<StatementResult> {
        if statement.sql.starts_with("note ") {
            return Err(StoreError::new(Code::InvalidSql, "it writes"));
        }
        if statement.sql != "endless" {
            return self.notes(statement);
        }
        self.interrupted.store(false, Ordering::SeqCst);
        self.pass(Point::Read)?;
        while !self.interrupted.load(Ordering::SeqCst)
            && !self.stop.as_mut().is_some_and(|stop| stop())
        {
            std::thread::yield_now();
        }
        Err(StoreError::new(Code::Aborted, "interrupted"))
    }

    fn snapshot(&mut self, read: &mut dyn FnMut(&mut dyn ReadSession) -> Result<()>) -> Result<()> {
        if self.transaction.is_some() {
            return read(self);
        }
        self.transaction = Some(lock(&self.state).data.clone());
        let done = read(self);
        self.transaction = None;
        done
    }

    fn series(&mut self, timeframe: Timeframe) -> Result<Vec<SeriesEnds>> {
        self.place(timeframe)?;
        let mut ends: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        self.data(|data| {
            for (of, symbol, time) in data.candles.keys() {
                if *of == timeframe {
                    ends.entry(symbol.clone()).or_insert((*time, *time)).1 = *time;
                }
            }
        });
        Ok(ends
            .into_iter()
            .map(|(symbol, (first, last))| SeriesEnds {
                symbol,
                first: Value::Integer(first),
                last: Value::Integer(last),
            })
            .collect())
    }

    fn count_series(&mut self, timeframe: Timeframe, symbol: &str) -> Result<u64> {
        self.pass(Point::Count)?;
        Ok(self.data(|data| {
            let of_series = |key: &&Key| key.0 == timeframe && key.1 == symbol;
            data.candles.keys().filter(of_series).count() as u64
        }))
    }

    fn interrupter(&self) -> Box<dyn Interrupter> {
        Box::new(Flag(self.interrupted.clone()))
    }

    fn stop_when(&mut self, stop: Option<Stop>) {
        self.stop = stop;
    }
}

impl WriteSession for Session {
    fn try_begin(&mut self) -> Result<()> {
        self.pass(Point::Begin)?;
        let mut state = lock(&self.state);
        if state.locked || state.writing {
            return Err(busy());
        }
        assert!(self.transaction.is_none(), "a transaction is open already");
        state.writing = true;
        self.transaction = Some(state.data.clone());
        let version = state.commits - self.own_commits;
        self.foreign |= self.version != Some(version);
        self.version = Some(version);
        drop(state);
        self.before = self.commit_state();
        Ok(())
    }

    fn upsert(&mut self, timeframe: Timeframe, symbol: &str, rows: Rows<'_>) -> Result<Upserted> {
        let place = self.place(timeframe)?;
        self.pass(Point::Upsert)?;
        let data = self.writing()?;
        let mut upserted = Upserted::default();
        for (row, clusters) in rows.iter() {
            // Adding 0 makes 0 of -0, as SQLite does.
            let values = std::array::from_fn(|column| row[column] + 0.0);
            let candle = (values, clusters.map(str::to_owned));
            let key = (timeframe, symbol.to_owned(), row[0] as i64);
            match data.candles.insert(key, candle.clone()) {
                None => upserted.inserted += 1,
                Some(before) if before == candle => upserted.unchanged += 1,
                Some(_) => upserted.updated += 1,
            }
        }
        self.added[place] += upserted.inserted as i64;
        for (row, _) in rows.iter() {
            self.touched.push(Touched {
                timeframe,
                symbol: symbol.into(),
                from: row[0] as i64,
                to: row[0] as i64,
                rows: 1,
                is_deleted: false,
            });
        }
        Ok(upserted)
    }

    fn delete(&mut self, timeframe: Timeframe, symbol: &str, range: TimeRange) -> Result<u64> {
        let place = self.place(timeframe)?;
        let data = self.writing()?;
        let before = data.candles.len();
        data.candles.retain(|(of, named, time), _| {
            !(*of == timeframe && named == symbol && inside(range, *time))
        });
        let deleted = before - data.candles.len();
        self.added[place] -= deleted as i64;
        self.touched.push(Touched {
            timeframe,
            symbol: symbol.into(),
            from: range.after.saturating_add(1),
            to: range.before.saturating_sub(1),
            rows: deleted as u64,
            is_deleted: true,
        });
        Ok(deleted as u64)
    }

    /// `note x` remembers x; `wrong` fails; `end` fails and ends the transaction; `defer` fails at the commit.
    fn run(&mut self, statement: &Statement, _: Option<usize>) -> Result<StatementResult> {
        self.pass(Point::Run)?;
        match statement.sql.as_str() {
            "wrong" => Err(constraint()),
            "end" => {
                self.rollback();
                Err(constraint())
            }
            "end and succeed" => {
                self.rollback();
                Ok(StatementResult::default())
            }
            "defer" => {
                self.deferred = Some(constraint());
                Ok(StatementResult::default())
            }
            other => match other.strip_prefix("note ") {
                Some(note) => {
                    self.writing()?.notes.push(note.to_owned());
                    Ok(StatementResult {
                        changes: 1,
                        ..StatementResult::default()
                    })
                }
                None => Err(
                    StoreError::new(Code::SqlError, format!("unknown: {other:?}")).not_written(),
                ),
            },
        }
    }

    fn execute(
        &mut self,
        text: &SqlText,
        _params: &[Cell<'_>],
        sink: &mut dyn RowSink,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<Ran> {
        let statement = &Statement {
            sql: text.sql.clone(),
            params: Default::default(),
        };
        let mut give = |result: StatementResult| {
            sink.columns(1, &|| result.columns.clone());
            result.rows.iter().for_each(|row| sink.row(row));
            Ran {
                changes: result.changes,
                last_insert_rowid: result.last_insert_rowid,
            }
        };
        match statement.sql.as_str() {
            "begin" => wait.begin(self)?,
            "commit" => {
                let committed = self.commit()?;
                steps.push(Step::Committed(committed));
            }
            "rollback" => {
                self.rollback();
                steps.push(Step::RolledBack);
            }
            _ if self.in_transaction() => {
                let ran = self.run(statement, None);
                if !self.in_transaction() {
                    steps.push(Step::RolledBack);
                }
                return ran.map(give);
            }
            _ => {
                wait.begin(self)?;
                let ran = self
                    .run(statement, None)
                    .and_then(|ran| Ok((ran, self.commit()?)));
                match ran {
                    Ok((result, committed)) => {
                        steps.push(Step::Committed(committed));
                        return Ok(give(result));
                    }
                    Err(error) => {
                        self.rollback();
                        return Err(error);
                    }
                }
            }
        }
        Ok(Ran::default())
    }

    fn execute_script(
        &mut self,
        script: &str,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<()> {
        for sql in script
            .split(';')
            .map(str::trim)
            .filter(|sql| !sql.is_empty())
        {
            self.execute(&SqlText::new(sql), &[], &mut NoRows, wait, steps)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<Committed> {
        self.pass(Point::Commit)?;
        if let Some(error) = self.deferred.clone() {
            return Err(error);
        }
        let data = std::mem::take(self.writing()?);
        self.transaction = None;
        {
            let mut state = lock(&self.state);
            state.data = data;
            state.commits += 1;
            state.writing = false;
        }
        self.own_commits += 1;
        Ok(self.take_counts())
    }

    fn rollback(&mut self) {
        if self.transaction.take().is_some() {
            lock(&self.state).writing = false;
        }
        self.deferred = None;
        self.touched.clear();
        self.added.fill(0);
    }

    fn rolls_back(&self, sql: &str) -> bool {
        sql == "rollback"
    }

    fn foreign_commits(&mut self) -> Result<bool> {
        let version = self.data_version()?;
        Ok(self.foreign || self.version != Some(version))
    }

    fn log_bytes(&self) -> u64 {
        0
    }

    fn rewrite(&mut self) -> Result<()> {
        self.pass(Point::Probe)
    }

    fn probe(&mut self) -> Result<()> {
        self.pass(Point::Probe)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.rollback();
    }
}
