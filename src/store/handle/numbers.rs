//! Numbers of the store, and the `candles` events of a handle.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::super::watch::{ForeignChange, Watch};
use crate::error::Result;
use crate::queue::Depth;
use crate::reply::CandlesEvent;
use crate::writer::{Asker, LockNumbers, lock};

use super::Handle;

/// Numbers of a store.
#[derive(Debug, Clone)]
pub struct Stats {
    pub counts: Vec<(String, u64)>,
    pub counts_at: SystemTime,
    pub locks: LockNumbers,
    pub depth: [Depth; 3],
    pub in_flight: usize,
    pub groups: u64,
    pub committed: u64,
    pub committed_rows: u64,
    pub failed: u64,
    pub rejected: u64,
    pub withdrawn: u64,
    pub coalesced_rows: u64,
}

impl Handle {
    pub fn stats(&self, exact: bool) -> Result<Stats> {
        self.check_open()?;
        let store = &self.store;
        let budget = Duration::from_secs_f64(store.options.stats_budget_ms / 1_000.0);
        let counted = store.counts.get(exact, budget, || self.foreign_commits())?;
        let counts = if counted.counts.is_empty() {
            self.read(false, |session| {
                session.counts(&store.options.timeframes, &mut || true)
            })?
            .1
        } else {
            counted.counts
        };
        if counted.stale
            && let Some(recount) = store.counts.due(Instant::now())
        {
            store.readers.submit(Box::new(move |_| {
                // A failure leaves the old counts, and the next question tries again.
                let _ = recount.run();
            }))?;
        }
        let (depth, in_flight) = store.writer.queue.depth(Instant::now());
        let totals = &store.writer.totals;
        let load = |total: &std::sync::atomic::AtomicU64| total.load(Ordering::Relaxed);
        Ok(Stats {
            counts: store
                .options
                .timeframes
                .iter()
                .map(|timeframe| timeframe.table())
                .zip(counts)
                .collect(),
            counts_at: counted.at,
            locks: store.writer.file_lock.numbers(),
            depth,
            in_flight,
            groups: load(&totals.groups),
            committed: load(&totals.committed),
            committed_rows: load(&totals.committed_rows),
            failed: load(&totals.failed),
            rejected: load(&totals.rejected),
            withdrawn: load(&totals.withdrawn),
            coalesced_rows: load(&totals.coalesced_rows),
        })
    }

    /// Whether others have committed since this process last wrote; `None` when the writing session is busy.
    fn foreign_commits(&self) -> Option<bool> {
        if let Some(lease) = lock(&self.lease).as_mut() {
            return lease.held.session().foreign_commits().ok();
        }
        let mut held = self.store.writer.token.try_take(Asker::Caller).ok()??;
        held.session().foreign_commits().ok()
    }

    /// What waits in the queue, and how many writes are in flight.
    pub fn depth(&self) -> Result<([Depth; 3], usize)> {
        self.check_open()?;
        Ok(self.store.writer.queue.depth(Instant::now()))
    }

    /// Starts or stops to make `candles` events for this handle.
    pub fn listen(&self, wanted: bool) -> Result<()> {
        self.check_open()?;
        let mut watch = lock(&self.watch);
        if wanted == watch.is_some() {
            return Ok(());
        }
        let writer = &self.store.writer;
        // Before the first look, or own commits right after it would be taken for foreign ones.
        writer.want_candles(wanted);
        *watch = if wanted {
            let started = Watch::start(&self.store);
            Some(started.inspect_err(|_| writer.want_candles(false))?)
        } else {
            None
        };
        Ok(())
    }

    /// Remembers an own commit, so that it is not taken for a foreign one.
    pub fn own_commit(&self, event: &CandlesEvent) {
        if let Some(watch) = lock(&self.watch).as_mut() {
            watch.own_commit(event);
        }
    }

    /// Series whose newest candle others have changed since the last look.
    pub fn foreign_changes(&self) -> Result<Vec<ForeignChange>> {
        self.check_open()?;
        match lock(&self.watch).as_mut() {
            Some(watch) => watch.look(&self.store),
            None => Ok(Vec::new()),
        }
    }
}
