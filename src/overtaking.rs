//! Keeps the order of acceptance where a newer write is committed before an older one that still waits: the older
//! one then leaves the candles alone that the newer one has written or deleted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::candle::{CLUSTERS, OwnedRows, ROW, Rows, TimeRange};
use crate::timeframe::Timeframe;

/// Candles committed by newer writes while older ones waited.
#[derive(Debug, Default)]
pub struct Overtaking {
    candles: HashMap<(Timeframe, Arc<str>), HashMap<i64, u64>>,
    deletions: Vec<(Timeframe, Arc<str>, TimeRange, u64)>,
    newest: u64,
    /// Times and deletions remembered since what is of no more use was last looked for.
    added: usize,
    /// How many there were then.
    kept: usize,
}

/// What is of no more use is looked for when so much has been added, and no less than there was: so forgetting costs
/// little for each write.
const LOOK_AFTER: usize = 1_024;

impl Overtaking {
    /// Remembers candles that were committed under `sequence`.
    pub fn wrote(
        &mut self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        times: impl Iterator<Item = i64>,
        sequence: u64,
    ) {
        let series = self.candles.entry((timeframe, symbol.clone())).or_default();
        for time in times {
            let known = series.entry(time).or_insert(sequence);
            *known = sequence.max(*known);
            self.added += 1;
        }
        self.newest = self.newest.max(sequence);
    }

    /// Remembers a range that was deleted under `sequence`.
    pub fn deleted(
        &mut self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        range: TimeRange,
        sequence: u64,
    ) {
        self.deletions
            .push((timeframe, symbol.clone(), range, sequence));
        self.added += 1;
        self.newest = self.newest.max(sequence);
    }

    /// Forgets what no waiting write is older than.
    pub fn forget_before(&mut self, oldest_waiting: Option<u64>) {
        match oldest_waiting.filter(|oldest| *oldest <= self.newest) {
            None if self.newest > 0 => *self = Self::default(),
            Some(oldest) if self.added >= self.kept.max(LOOK_AFTER) => {
                self.candles.retain(|_, series| {
                    series.retain(|_, newer| *newer > oldest);
                    !series.is_empty()
                });
                self.deletions.retain(|(.., newer)| *newer > oldest);
                self.kept =
                    self.candles.values().map(HashMap::len).sum::<usize>() + self.deletions.len();
                self.added = 0;
            }
            _ => {}
        }
    }

    /// The times inside a range at which writes newer than `sequence` have left candles, each with the newest of them.
    pub fn written_in(
        &self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        range: TimeRange,
        sequence: u64,
    ) -> Vec<(i64, u64)> {
        if self.newest <= sequence {
            return Vec::new();
        }
        let series = self.candles.get(&(timeframe, symbol.clone()));
        series
            .into_iter()
            .flatten()
            .filter(|(time, newer)| {
                **newer > sequence && range.after < **time && **time < range.before
            })
            .map(|(time, newer)| (*time, *newer))
            .collect()
    }

    /// Whether a deletion newer than `sequence` has removed a candle.
    pub fn has_deleted(
        &self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        time: i64,
        sequence: u64,
    ) -> bool {
        self.deletions.iter().any(|(of, named, range, newer)| {
            *newer > sequence
                && *of == timeframe
                && named == symbol
                && range.after < time
                && time < range.before
        })
    }

    /// The rows of an older write that no newer one has overtaken; `None` when that is all of them.
    pub fn remaining(
        &self,
        timeframe: Timeframe,
        symbol: &Arc<str>,
        rows: Rows<'_>,
        sequence: u64,
    ) -> Option<OwnedRows> {
        if self.newest <= sequence {
            return None;
        }
        let series = self.candles.get(&(timeframe, symbol.clone()));
        let overtaken = |time: i64| {
            series
                .and_then(|series| series.get(&time))
                .is_some_and(|newer| *newer > sequence)
                || self.has_deleted(timeframe, symbol, time, sequence)
        };
        if !rows.iter().any(|(row, _)| overtaken(row[0] as i64)) {
            return None;
        }
        let mut values = Vec::with_capacity(rows.len() * ROW);
        let mut clusters = String::new();
        for (row, text) in rows.iter().filter(|(row, _)| !overtaken(row[0] as i64)) {
            values.extend_from_slice(row);
            if let Some(text) = text.filter(|_| row[CLUSTERS] > 0.0) {
                if !clusters.is_empty() {
                    clusters.push('\n');
                }
                clusters.push_str(text);
            }
        }
        Rows::new(&values, &clusters).ok().map(OwnedRows::copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Timeframe = Timeframe(15);

    fn times(rows: Option<OwnedRows>) -> Option<Vec<i64>> {
        rows.map(|rows| rows.rows().iter().map(|(row, _)| row[0] as i64).collect())
    }

    fn packed(times: &[i64]) -> Vec<f64> {
        times
            .iter()
            .flat_map(|time| std::iter::once(*time as f64).chain([0.0; ROW - 1]))
            .collect()
    }

    #[test]
    fn an_older_write_skips_what_a_newer_one_wrote_and_only_that() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        overtaking.wrote(FRAME, &symbol, [2, 3].into_iter(), 7);
        let values = packed(&[1, 2, 3, 4]);
        let Ok(rows) = Rows::new(&values, "") else {
            return assert!(values.is_empty());
        };
        assert_eq!(
            times(overtaking.remaining(FRAME, &symbol, rows, 6)),
            Some(vec![1, 4])
        );
        assert_eq!(times(overtaking.remaining(FRAME, &symbol, rows, 8)), None);
        assert_eq!(
            times(overtaking.remaining(FRAME, &"X:Z".into(), rows, 6)),
            None
        );
    }

    #[test]
    fn an_older_write_skips_what_a_newer_one_deleted() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        overtaking.deleted(
            FRAME,
            &symbol,
            TimeRange {
                after: 1,
                before: 4,
            },
            7,
        );
        let values = packed(&[1, 2, 3, 4]);
        let Ok(rows) = Rows::new(&values, "") else {
            return assert!(values.is_empty());
        };
        assert_eq!(
            times(overtaking.remaining(FRAME, &symbol, rows, 6)),
            Some(vec![1, 4])
        );
    }

    #[test]
    fn an_older_deletion_leaves_alone_what_a_newer_write_has_left() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        overtaking.wrote(FRAME, &symbol, [2, 3, 9].into_iter(), 7);
        let range = TimeRange {
            after: 2,
            before: 9,
        };
        assert_eq!(overtaking.written_in(FRAME, &symbol, range, 6), [(3, 7)]);
        assert!(overtaking.written_in(FRAME, &symbol, range, 7).is_empty());
    }

    #[test]
    fn a_write_that_a_newer_deletion_has_overtaken_has_left_nothing() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        overtaking.wrote(FRAME, &symbol, [2, 3].into_iter(), 7);
        let range = TimeRange {
            after: 2,
            before: 9,
        };
        overtaking.deleted(FRAME, &symbol, range, 8);
        assert!(overtaking.has_deleted(FRAME, &symbol, 3, 7));
        assert!(!overtaking.has_deleted(FRAME, &symbol, 2, 7));
        assert!(!overtaking.has_deleted(FRAME, &symbol, 3, 8));
    }

    #[test]
    fn what_no_waiting_write_is_older_than_is_forgotten_while_others_wait() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        for sequence in 10..100_000_u64 {
            // The oldest write that waits is never more than ten behind.
            overtaking.forget_before(Some(sequence - 9));
            overtaking.wrote(FRAME, &symbol, [sequence as i64].into_iter(), sequence);
        }
        let known: usize = overtaking.candles.values().map(HashMap::len).sum();
        assert!(known <= 2 * LOOK_AFTER, "{known} times are remembered");
        let values = packed(&[99_999, 99_998, 5_000_000]);
        let remaining = Rows::new(&values, "")
            .ok()
            .and_then(|rows| overtaking.remaining(FRAME, &symbol, rows, 99_990));
        assert_eq!(times(remaining), Some(vec![5_000_000]));
    }

    #[test]
    fn it_forgets_when_no_older_write_waits() {
        let symbol: Arc<str> = "X:Y".into();
        let mut overtaking = Overtaking::default();
        overtaking.wrote(FRAME, &symbol, [2].into_iter(), 7);
        overtaking.forget_before(Some(5));
        assert_eq!(overtaking.newest, 7);
        overtaking.forget_before(Some(8));
        assert!(overtaking.candles.is_empty());
    }
}
