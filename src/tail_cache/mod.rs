//! The newest candles of the series in use, in memory, checked at each read against the newest commit on the file.
//!
//! Nothing is ever believed: what a read finds here was read from the database while `CommitState` stood still, and the
//! newest commit is still that one, or one of this process that is known to have left the series alone. Own commits tell
//! which candles they touched; only these are read again, so that what triggers and overtaking made of them is what is
//! kept. A commit of anybody else makes everything doubtful.
//!
//! Own commits are under way for a moment between SQLite's COMMIT and their being told here. Whoever reads in that moment
//! reads from the database and leaves the cache alone.

mod tail;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub use self::tail::{Slice, Tail};
use crate::candle::{CandleSink, ROW, TimeRange};
use crate::engine::{CommitState, Committed, ReadSession, Touched};
use crate::error::Result;
use crate::timeframe::Timeframe;
use crate::writer::lock;

/// Memory of a series of which nothing is kept.
const OVERHEAD: usize = 256;
/// No series may have more than this part of the memory.
const SHARE: usize = 4;
/// Rows that are read again without asking whether it pays.
const FEW_ROWS: u64 = 64;
/// Rows beyond what is asked for, before the oldest are let go.
const SPARE_ROWS: usize = 1_024;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub timeframe: Timeframe,
    pub symbol: &'a str,
    pub range: TimeRange,
    pub limit: u32,
}

/// What a read found besides candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// There are older candles inside the range.
    pub has_older: bool,
    /// A number that stays the same as long as nothing of the series can have changed; none where nobody can tell.
    pub stamp: Option<u64>,
}

/// The newest candles of the series in use.
pub struct TailCache {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest commit that everything here accounts for.
    seen: Option<CommitState>,
    /// Own commits that may have been made and are not told of yet.
    in_flight: usize,
    /// Goes up when somebody else has committed.
    epoch: u64,
    /// Goes up with everything that is to be told from what was before.
    clock: u64,
    series: HashMap<Timeframe, HashMap<Box<str>, Series>>,
    bytes: usize,
}

#[derive(Default)]
struct Series {
    /// What is known belongs to this epoch.
    epoch: u64,
    stamp: u64,
    /// When it was last asked for.
    used: u64,
    tail: Option<Arc<Tail>>,
    bytes: usize,
    /// Times, both included, between which own commits have changed something.
    stale: Option<(i64, i64)>,
    fills: u64,
    /// Answers since the last fill.
    hits: u64,
    /// The commit that the last read from the database saw.
    missed: Option<CommitState>,
    /// So many rows are more than may be kept of one series; 0 where that is not known.
    too_many: u32,
    /// As many rows as callers have wanted of late, and since the last fill.
    demand: u32,
    asked: u32,
}

/// What was known when a read from the database began.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    commit: CommitState,
    epoch: u64,
    stamp: u64,
}

enum Plan {
    Answer(Arc<Tail>, Slice, u64),
    /// Read the newest `limit` and keep them.
    Fill(Ticket, u32),
    /// Read what is between two times again; so many rows are wanted by somebody.
    Patch(Ticket, Arc<Tail>, (i64, i64), usize),
    /// Read what is asked for; nothing is kept.
    Read(Option<Ticket>),
}

impl TailCache {
    /// With no memory nothing is kept and nothing is ever answered from here.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            state: Mutex::default(),
        }
    }

    /// Reads what is asked for, from memory where that is the newest commit, else by the session, which must not be in a
    /// transaction.
    pub fn read(
        &self,
        session: &mut dyn ReadSession,
        request: &Request<'_>,
        sink: &mut dyn CandleSink,
    ) -> Result<Found> {
        match self.plan(session, request) {
            Plan::Answer(tail, slice, stamp) => {
                tail.give(slice.rows, sink);
                Ok(Found {
                    has_older: slice.has_older,
                    stamp: Some(stamp),
                })
            }
            Plan::Fill(ticket, limit) => self.fill(session, request, ticket, limit, sink),
            Plan::Patch(ticket, tail, stale, wanted) => {
                self.patch(session, request, (ticket, tail, stale, wanted), sink)
            }
            Plan::Read(ticket) => self.read_through(session, request, ticket, sink),
        }
    }

    /// The newest time of a series, where it is known without reading.
    pub fn newest_time(
        &self,
        session: &mut dyn ReadSession,
        timeframe: Timeframe,
        symbol: &str,
    ) -> Option<f64> {
        if !self.can_look(session) {
            return None;
        }
        let mut state = lock(&self.state);
        if !state.catch_up(session) {
            return None;
        }
        let epoch = state.epoch;
        let series = state.known(timeframe, symbol)?;
        let is_known = series.epoch == epoch && series.stale.is_none();
        series.tail.as_ref().filter(|_| is_known)?.newest()
    }

    /// Whether nothing of a series can have changed since a stamp was given.
    pub fn is_unchanged(
        &self,
        session: &mut dyn ReadSession,
        timeframe: Timeframe,
        symbol: &str,
        stamp: u64,
    ) -> bool {
        if !self.can_look(session) {
            return false;
        }
        let mut state = lock(&self.state);
        if !state.catch_up(session) {
            return false;
        }
        let (clock, epoch) = (state.tick(), state.epoch);
        match state.known(timeframe, symbol) {
            Some(series) => {
                series.used = clock;
                series.epoch == epoch && series.stamp == stamp
            }
            None => false,
        }
    }

    /// To be held around something that may commit.
    pub fn committing(&self) -> Committing<'_> {
        if self.most_bytes > 0 {
            lock(&self.state).in_flight += 1;
        }
        Committing {
            cache: self,
            commits: Vec::new(),
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        state.series.clear();
        state.bytes = 0;
    }

    /// Whether the newest commit can be told. The first look of a session may take its time, which nobody else should have
    /// to wait for.
    fn can_look(&self, session: &mut dyn ReadSession) -> bool {
        self.most_bytes > 0 && session.commit_state().is_some()
    }

    fn plan(&self, session: &mut dyn ReadSession, request: &Request<'_>) -> Plan {
        if !self.can_look(session) {
            return Plan::Read(None);
        }
        let mut state = lock(&self.state);
        if !state.catch_up(session) {
            return Plan::Read(None);
        }
        let Some(commit) = state.seen else {
            return Plan::Read(None);
        };
        let (clock, epoch) = (state.tick(), state.epoch);
        let is_new = state.known(request.timeframe, request.symbol).is_none();
        if is_new {
            state.bytes += OVERHEAD;
            if state.bytes > self.most_bytes {
                state.make_room(self.most_bytes);
            }
        }
        let of_timeframe = state.series.entry(request.timeframe).or_default();
        if is_new {
            of_timeframe.insert(request.symbol.into(), Series::default());
        }
        let Some(series) = of_timeframe.get_mut(request.symbol) else {
            return Plan::Read(None);
        };
        let mut freed = 0;
        if series.epoch != epoch || series.stamp == 0 {
            freed = series.let_go();
            series.too_many = 0;
            series.epoch = epoch;
            series.stamp = clock;
        }
        series.used = clock;
        let ticket = Ticket {
            commit,
            epoch,
            stamp: series.stamp,
        };
        let plan = series.plan(ticket, request, self.most_bytes);
        if let Plan::Patch(..) = plan {
            freed += std::mem::take(&mut series.bytes);
        }
        state.bytes = state.bytes.saturating_sub(freed);
        plan
    }

    fn read_through(
        &self,
        session: &mut dyn ReadSession,
        request: &Request<'_>,
        ticket: Option<Ticket>,
        sink: &mut dyn CandleSink,
    ) -> Result<Found> {
        let Request {
            timeframe,
            symbol,
            range,
            limit,
        } = *request;
        let has_older = session.scan(timeframe, symbol, range, limit, sink)?;
        let stamp = ticket.and_then(|ticket| {
            if session.commit_state() != Some(ticket.commit) {
                return None;
            }
            let mut state = lock(&self.state);
            let epoch = state.epoch;
            let series = state.known(timeframe, symbol)?;
            let is_same = epoch == ticket.epoch && series.stamp == ticket.stamp;
            is_same.then_some(ticket.stamp)
        });
        Ok(Found { has_older, stamp })
    }

    fn fill(
        &self,
        session: &mut dyn ReadSession,
        request: &Request<'_>,
        ticket: Ticket,
        limit: u32,
        sink: &mut dyn CandleSink,
    ) -> Result<Found> {
        let (timeframe, symbol) = (request.timeframe, request.symbol);
        let mut tail = Tail::with_capacity(limit.min(8_192) as usize);
        tail.has_older = session.scan(timeframe, symbol, TimeRange::ALL, limit, &mut tail)?;
        tail.shrink();
        let is_current = session.commit_state() == Some(ticket.commit);
        self.answer(
            request,
            Arc::new(tail),
            is_current.then_some(ticket),
            true,
            sink,
        )
        .map_or_else(
            // Not to be found by times, which another program has made something else.
            || self.read_through(session, request, None, sink),
            Ok,
        )
    }

    fn patch(
        &self,
        session: &mut dyn ReadSession,
        request: &Request<'_>,
        (ticket, mut tail, (from, to), wanted): (Ticket, Arc<Tail>, (i64, i64), usize),
        sink: &mut dyn CandleSink,
    ) -> Result<Found> {
        let (timeframe, symbol) = (request.timeframe, request.symbol);
        let range = TimeRange {
            after: from.saturating_sub(1),
            before: to.saturating_add(1),
        };
        let most = u32::try_from(tail.len() + SPARE_ROWS).unwrap_or(u32::MAX);
        let mut fresh = Tail::default();
        let is_too_much = session.scan(timeframe, symbol, range, most, &mut fresh)?;
        // Otherwise what was kept and what was read now belong to different commits.
        if !is_too_much && session.commit_state() == Some(ticket.commit) {
            let kept = Arc::make_mut(&mut tail);
            kept.patch(range, &fresh);
            if kept.len() > 2 * wanted + 2 * SPARE_ROWS {
                kept.keep_newest(wanted + SPARE_ROWS);
            }
            if let Some(found) = self.answer(request, tail, Some(ticket), false, sink) {
                return Ok(found);
            }
        }
        self.read_through(session, request, None, sink)
    }

    /// Answers from what was read, and keeps it if a ticket tells that nothing has changed since.
    fn answer(
        &self,
        request: &Request<'_>,
        tail: Arc<Tail>,
        ticket: Option<Ticket>,
        is_filled: bool,
        sink: &mut dyn CandleSink,
    ) -> Option<Found> {
        if !tail.has_only_times() {
            if let Some(series) = lock(&self.state).known(request.timeframe, request.symbol) {
                series.too_many = 1;
            }
            return None;
        }
        let stamp = ticket.and_then(|ticket| {
            self.keep(request.timeframe, request.symbol, &tail, ticket, is_filled)
        });
        let slice = tail.slice(request.range, request.limit as usize)?;
        tail.give(slice.rows, sink);
        Some(Found {
            has_older: slice.has_older,
            stamp,
        })
    }

    fn keep(
        &self,
        timeframe: Timeframe,
        symbol: &str,
        tail: &Arc<Tail>,
        ticket: Ticket,
        is_filled: bool,
    ) -> Option<u64> {
        let bytes = tail.bytes();
        let mut state = lock(&self.state);
        let epoch = state.epoch;
        let series = state.known(timeframe, symbol)?;
        if epoch != ticket.epoch || series.stamp != ticket.stamp {
            return None;
        }
        if bytes > self.most_bytes / SHARE {
            series.too_many = u32::try_from(tail.len()).unwrap_or(u32::MAX).max(1);
            series.filled();
            return Some(ticket.stamp);
        }
        let freed = series.let_go();
        series.tail = Some(tail.clone());
        series.bytes = bytes;
        if is_filled {
            series.filled();
        }
        state.bytes = state.bytes.saturating_sub(freed) + bytes;
        if state.bytes > self.most_bytes {
            state.make_room(self.most_bytes);
        }
        Some(ticket.stamp)
    }
}

/// Something that may commit, until its commits are told of.
pub struct Committing<'a> {
    cache: &'a TailCache,
    commits: Vec<Committed>,
}

impl Committing<'_> {
    /// What was committed; what is not told of is taken for the work of others.
    pub fn done(&mut self, commits: &[Committed]) {
        if self.cache.most_bytes > 0 {
            self.commits.extend_from_slice(commits);
        }
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        if self.cache.most_bytes == 0 {
            return;
        }
        let mut state = lock(&self.cache.state);
        for committed in std::mem::take(&mut self.commits) {
            state.account(&committed);
        }
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn known(&mut self, timeframe: Timeframe, symbol: &str) -> Option<&mut Series> {
        self.series.get_mut(&timeframe)?.get_mut(symbol)
    }

    /// Looks at the newest commit; false where that tells nothing about what is kept.
    fn catch_up(&mut self, session: &mut dyn ReadSession) -> bool {
        let Some(now) = session.commit_state() else {
            return false;
        };
        if self.seen == Some(now) {
            return true;
        }
        // It may be an own commit that is told of in a moment.
        if self.in_flight > 0 {
            return false;
        }
        self.epoch += 1;
        self.seen = Some(now);
        true
    }

    fn account(&mut self, committed: &Committed) {
        let (Some(before), Some(after)) = (committed.before, committed.after) else {
            self.epoch += 1;
            self.seen = None;
            return;
        };
        // Others have committed before it, or while it was told of; or it has changed what nobody can tell.
        let is_own = if committed.has_written {
            after.number == before.number.wrapping_add(1)
        } else {
            after == before
        };
        if self.seen != Some(before) || !is_own || committed.uncounted {
            self.epoch += 1;
        } else {
            for touched in &committed.touched {
                self.touch(touched);
            }
        }
        self.seen = Some(after);
    }

    fn touch(&mut self, touched: &Touched) {
        let (clock, epoch) = (self.tick(), self.epoch);
        let Some(series) = self.known(touched.timeframe, &touched.symbol) else {
            return;
        };
        if series.epoch == epoch {
            series.stamp = clock;
            let freed = series.touch(touched);
            self.bytes = self.bytes.saturating_sub(freed);
        }
    }

    /// Forgets the series that were used longest ago, until there is an eighth of the memory to spare.
    fn make_room(&mut self, most_bytes: usize) {
        let mut uses: Vec<(u64, usize)> = self
            .series
            .values()
            .flat_map(HashMap::values)
            .map(|series| (series.used, OVERHEAD + series.bytes))
            .collect();
        uses.sort_unstable();
        let spare = most_bytes - most_bytes / 8;
        let mut left: usize = uses.iter().map(|(_, bytes)| bytes).sum();
        let mut last_forgotten = 0;
        for (used, bytes) in uses {
            if left <= spare {
                break;
            }
            left -= bytes;
            last_forgotten = used;
        }
        for series in self.series.values_mut() {
            series.retain(|_, series| series.used > last_forgotten);
        }
        self.bytes = left;
    }
}

impl Series {
    fn plan(&mut self, ticket: Ticket, request: &Request<'_>, most_bytes: usize) -> Plan {
        let is_tail = request.range == TimeRange::ALL;
        if is_tail {
            self.asked = self.asked.max(request.limit);
        }
        let answers = |tail: &Arc<Tail>| {
            is_tail || tail.slice(request.range, request.limit as usize).is_some()
        };
        if let Some(stale) = self.stale {
            if self.tail.as_ref().is_some_and(|tail| !answers(tail)) {
                return Plan::Read(Some(ticket));
            }
            self.stale = None;
            if let Some(tail) = self.tail.take() {
                self.hits += 1;
                let wanted = request.limit.max(self.asked).max(self.demand) as usize;
                return Plan::Patch(ticket, tail, stale, wanted);
            }
        }
        if let Some(tail) = &self.tail
            && let Some(slice) = tail.slice(request.range, request.limit as usize)
        {
            self.hits += 1;
            return Plan::Answer(tail.clone(), slice, self.stamp);
        }
        let is_too_many = |rows: u32| self.too_many > 0 && rows >= self.too_many;
        let limit = Some(request.limit.max(self.demand))
            .filter(|rows| !is_too_many(*rows))
            .unwrap_or(request.limit);
        let fits =
            !is_too_many(limit) && (limit as usize).saturating_mul(ROW * 8) <= most_bytes / SHARE;
        if !is_tail || !fits || request.limit == 0 {
            return Plan::Read(Some(ticket));
        }
        // What was kept and never used before others committed is not kept again, until one commit is read twice.
        let is_of_use = self.fills == 0
            || self.hits > 0
            || self.tail.is_some()
            || self.missed == Some(ticket.commit);
        if is_of_use {
            Plan::Fill(ticket, limit)
        } else {
            self.missed = Some(ticket.commit);
            Plan::Read(Some(ticket))
        }
    }

    fn filled(&mut self) {
        self.fills += 1;
        self.hits = 0;
        self.missed = None;
        self.demand = self.asked.max(self.demand - self.demand / 8);
        self.asked = 0;
    }

    /// Lets go of what is kept; returns its bytes.
    fn let_go(&mut self) -> usize {
        self.tail = None;
        self.stale = None;
        std::mem::take(&mut self.bytes)
    }

    /// An own commit has changed candles; returns the bytes of what is no longer kept.
    fn touch(&mut self, touched: &Touched) -> usize {
        let Some(tail) = &self.tail else {
            return 0;
        };
        let Some(oldest) = tail.oldest() else {
            return self.let_go();
        };
        // Filling it anew, as far as it is then asked for, costs no more than reading so many again.
        if touched.rows > tail.len() as u64 + FEW_ROWS {
            return self.let_go();
        }
        let oldest = oldest as i64;
        // Whether there are candles older than those kept is known, and may have changed.
        if touched.from < oldest && (touched.is_deleted || !tail.has_older) {
            return self.let_go();
        }
        if touched.to >= oldest {
            let (from, to) = self.stale.unwrap_or((i64::MAX, i64::MIN));
            self.stale = Some((from.min(touched.from.max(oldest)), to.max(touched.to)));
        }
        0
    }
}
