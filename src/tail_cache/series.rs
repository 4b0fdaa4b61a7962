//! One series of the cache: what is kept of it, and what is to be done when it is asked for.

use std::sync::Arc;

use super::tail::{Slice, Tail};
use super::{FEW_ROWS, Request, SHARE};
use crate::candle::{ROW, TimeRange};
use crate::engine::{CommitState, Touched};

#[derive(Default)]
pub struct Series {
    /// What is known belongs to this epoch.
    pub epoch: u64,
    pub stamp: u64,
    /// When it was last asked for.
    pub used: u64,
    pub tail: Option<Arc<Tail>>,
    pub bytes: usize,
    /// Times, both included, between which own commits have changed something.
    pub stale: Option<(i64, i64)>,
    fills: u64,
    /// Answers since the last fill.
    hits: u64,
    /// The commit that the last read from the database saw.
    missed: Option<CommitState>,
    /// So many rows are more than may be kept of one series; 0 where that is not known.
    pub too_many: u32,
    /// As many rows as callers have wanted of late, and since the last fill.
    demand: u32,
    asked: u32,
}

/// What was known when a read from the database began.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    pub commit: CommitState,
    pub epoch: u64,
    pub stamp: u64,
}

pub enum Plan {
    Answer(Arc<Tail>, Slice, u64),
    /// Read the newest `limit` and keep them.
    Fill(Ticket, u32),
    /// Read what is between two times again; so many rows are wanted by somebody.
    Patch(Ticket, Arc<Tail>, (i64, i64), usize),
    /// Read what is asked for; nothing is kept.
    Read(Option<Ticket>),
}

impl Series {
    pub fn plan(&mut self, ticket: Ticket, request: &Request<'_>, most_bytes: usize) -> Plan {
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

    pub fn filled(&mut self) {
        self.fills += 1;
        self.hits = 0;
        self.missed = None;
        self.demand = self.asked.max(self.demand - self.demand / 8);
        self.asked = 0;
    }

    /// Lets go of what is kept; returns its bytes.
    pub fn let_go(&mut self) -> usize {
        self.tail = None;
        self.stale = None;
        std::mem::take(&mut self.bytes)
    }

    /// An own commit has changed candles; returns the bytes of what is no longer kept.
    pub fn touch(&mut self, touched: &Touched) -> usize {
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
