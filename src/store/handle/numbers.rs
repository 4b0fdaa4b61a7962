//! Numbers of the store, and the `candles` events of a handle.

use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::super::watch::{ForeignChange, Watch};
use crate::error::Result;
use crate::histogram::Summary;
use crate::queue::{Accounts, Depth};
use crate::reply::{BreakerNumbers, CandlesEvent};
use crate::writer::{Asker, GroupNumbers, LockNumbers, RowsPerGroup, lock};

use super::Handle;

/// Numbers of a store.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Candles of each timeframe, in the order of the options.
    pub counts: Vec<(String, u64)>,
    pub counts_at: SystemTime,
    pub locks: LockNumbers,
    pub groups: GroupNumbers,
    pub accounts: Accounts,
    pub breaker: BreakerNumbers,
}

/// What the queue has done since the store was opened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    #[serde(flatten)]
    accounts: Accounts,
    rejected: u64,
    groups: u64,
    retries: u64,
    rows_per_group: RowsPerGroup,
    commit_ms: Summary,
    lock_wait_ms: Summary,
    queue_wait_ms: ByPriority,
    lock_timeouts: u64,
    breaker: BreakerNumbers,
}

#[derive(Debug, Clone, Serialize)]
struct ByPriority {
    live: Summary,
    backfill: Summary,
    maintenance: Summary,
}

impl Handle {
    /// What the queue has done.
    pub fn queue_stats(&self) -> Result<QueueStats> {
        self.check_open()?;
        let writer = &self.store.writer;
        let (accounts, _) = writer.queue.numbers(Instant::now());
        let locks = writer.file_lock.numbers();
        let groups = writer.numbers.numbers();
        let [live, backfill, maintenance] = groups.waited;
        Ok(QueueStats {
            accounts,
            rejected: groups.rejected,
            groups: groups.groups,
            retries: groups.retries,
            rows_per_group: groups.rows,
            commit_ms: groups.commit,
            lock_wait_ms: locks.waited,
            queue_wait_ms: ByPriority {
                live,
                backfill,
                maintenance,
            },
            lock_timeouts: locks.timeouts,
            breaker: writer.breaker(),
        })
    }

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
            groups: store.writer.numbers.numbers(),
            accounts: store.writer.queue.numbers(Instant::now()).0,
            breaker: store.writer.breaker(),
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

    /// What waits in the queue, by priority.
    pub fn depth(&self) -> Result<[Depth; 3]> {
        self.check_open()?;
        Ok(self.store.writer.queue.numbers(Instant::now()).1)
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
