//! The numbers of a store on their way to JS: they are asked for often, so they cross as one array of doubles, and
//! their names only once.

use std::time::UNIX_EPOCH;

use napi_derive::napi;

use crate::queue::Accounts;
use crate::reply::BreakerNumbers;
use crate::store::Stats;
use crate::writer::{GroupNumbers, LockNumbers};

/// The names of what `pack` gives, in its order.
#[napi]
pub fn stat_names() -> Vec<&'static str> {
    let nothing = Stats {
        counts: Vec::new(),
        counts_at: UNIX_EPOCH,
        locks: LockNumbers::default(),
        groups: GroupNumbers::default(),
        accounts: Accounts::default(),
        breaker: BreakerNumbers::default(),
    };
    named(&nothing).map(|(name, _)| name).to_vec()
}

/// The rows of each table, and then everything else.
pub fn pack(stats: &Stats) -> impl Iterator<Item = f64> + '_ {
    let counts = stats.counts.iter().map(|(_, count)| *count as f64);
    counts.chain(named(stats).map(|(_, number)| number))
}

fn named(stats: &Stats) -> [(&'static str, f64); 32] {
    let Stats {
        locks,
        groups,
        accounts,
        ..
    } = stats;
    let counts_at = stats.counts_at.duration_since(UNIX_EPOCH);
    [
        (
            "countsAt",
            counts_at.map_or(0.0, |time| time.as_millis() as f64),
        ),
        ("lockWaitCount", locks.waits as f64),
        ("lockTimeoutCount", locks.timeouts as f64),
        ("lockWaitMeanMs", locks.waited.mean_ms),
        ("lockWaitP50Ms", locks.waited.p50_ms),
        ("lockWaitP99Ms", locks.waited.p99_ms),
        ("lockWaitMaxMs", locks.waited.max_ms),
        ("groups", groups.groups as f64),
        ("retries", groups.retries as f64),
        ("rowsPerGroup", groups.rows.mean),
        ("commitMeanMs", groups.commit.mean_ms),
        ("commitP99Ms", groups.commit.p99_ms),
        ("commitMaxMs", groups.commit.max_ms),
        ("queueWaitLiveP99Ms", groups.waited[0].p99_ms),
        ("queueWaitBackfillP99Ms", groups.waited[1].p99_ms),
        ("queueWaitMaintenanceP99Ms", groups.waited[2].p99_ms),
        ("accepted", accounts.accepted.commands as f64),
        ("acceptedRows", accounts.accepted.rows as f64),
        ("committed", accounts.committed.commands as f64),
        ("committedRows", accounts.committed.rows as f64),
        ("coalesced", accounts.coalesced.commands as f64),
        ("coalescedRows", accounts.coalesced.rows as f64),
        ("failed", accounts.failed.commands as f64),
        ("failedRows", accounts.failed.rows as f64),
        ("withdrawn", accounts.withdrawn.commands as f64),
        ("withdrawnRows", accounts.withdrawn.rows as f64),
        ("rejected", groups.rejected as f64),
        ("queuedBatches", accounts.queued.commands as f64),
        ("queuedRows", accounts.queued.rows as f64),
        ("inFlight", accounts.in_flight.commands as f64),
        ("inFlightRows", accounts.in_flight.rows as f64),
        ("breaker", f64::from(stats.breaker.state as u8)),
    ]
}
