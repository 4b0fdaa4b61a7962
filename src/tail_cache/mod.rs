//! The newest candles of the series in use, in memory, checked at each read against the newest commit on the file.
//!
//! Nothing is ever believed: what a read finds here was read from the database while `CommitState` stood still, and the
//! newest commit is still that one, or one of this process that is known to have left the series alone. Own commits tell
//! which candles they touched; only these are read again, so that what triggers and overtaking made of them is what is
//! kept. A commit of anybody else makes everything doubtful.
//!
//! Own commits are under way for a moment between SQLite's COMMIT and their being told here. Whoever reads in that moment
//! reads from the database and leaves the cache alone.

mod series;
mod state;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use self::series::{Plan, Series, Ticket};
use self::state::State;
use self::tail::Tail;
use crate::candle::{CandleSink, TimeRange};
use crate::engine::{Committed, ReadSession};
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

impl Request<'_> {
    /// Reads what is asked for, past everything that is kept.
    pub fn scan(&self, session: &mut dyn ReadSession, sink: &mut dyn CandleSink) -> Result<bool> {
        session.scan(self.timeframe, self.symbol, self.range, self.limit, sink)
    }
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
        let has_older = request.scan(session, sink)?;
        let stamp = ticket.and_then(|ticket| {
            if session.commit_state() != Some(ticket.commit) {
                return None;
            }
            let mut state = lock(&self.state);
            let epoch = state.epoch;
            let series = state.known(request.timeframe, request.symbol)?;
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
