//! What the cache knows: the series in use, and the newest commit that all of it accounts for.

use std::collections::HashMap;

use super::OVERHEAD;
use super::series::Series;
use crate::engine::{CommitState, Committed, ReadSession, Touched};
use crate::timeframe::Timeframe;

#[derive(Default)]
pub struct State {
    /// The newest commit that everything here accounts for.
    pub seen: Option<CommitState>,
    /// Own commits that may have been made and are not told of yet.
    pub in_flight: usize,
    /// Goes up when somebody else has committed.
    pub epoch: u64,
    /// Goes up with everything that is to be told from what was before.
    clock: u64,
    pub series: HashMap<Timeframe, HashMap<Box<str>, Series>>,
    pub bytes: usize,
}

impl State {
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn known(&mut self, timeframe: Timeframe, symbol: &str) -> Option<&mut Series> {
        self.series.get_mut(&timeframe)?.get_mut(symbol)
    }

    /// Looks at the newest commit; false where that tells nothing about what is kept.
    pub fn catch_up(&mut self, session: &mut dyn ReadSession) -> bool {
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

    pub fn account(&mut self, committed: &Committed) {
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
    pub fn make_room(&mut self, most_bytes: usize) {
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
