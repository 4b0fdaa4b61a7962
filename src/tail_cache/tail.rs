//! The newest candles of one series as they are kept in memory: packed rows, the texts of their footprints one after the
//! other, and what of them can answer a request.

use std::ops::Range;

use crate::candle::{CLUSTERS, CandleSink, CandleView, OddCell, ROW, TimeRange, utf16_length};
use crate::json_text::is_canonical_object;
use crate::value::Value;

/// Up to here, and down to its negative, each integer has a double of its own.
const SURE: f64 = 9_007_199_254_740_991.0;

/// Candles of one series, ascending by time, the newest included.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tail {
    values: Vec<f64>,
    /// None where no row has ever had one.
    footprints: Option<Footprints>,
    odd: Vec<OddCell>,
    /// The series has candles that are older than these.
    pub has_older: bool,
}

/// The footprints of all rows, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
struct Footprints {
    text: String,
    /// Where each row's ends in `text`.
    ends: Vec<usize>,
    /// Whether it is canonical JSON; true where there is none.
    canonical: Vec<bool>,
}

impl Footprints {
    /// As of rows that have none.
    fn none(rows: usize) -> Self {
        Self {
            text: String::new(),
            ends: vec![0; rows],
            canonical: vec![true; rows],
        }
    }

    fn push(&mut self, text: &str, is_canonical: bool) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.canonical.push(is_canonical);
    }

    /// Where the texts of rows are.
    fn text_of(&self, rows: Range<usize>) -> Range<usize> {
        let end_before = |row: usize| row.checked_sub(1).map_or(0, |row| self.ends[row]);
        end_before(rows.start)..end_before(rows.end)
    }

    /// Replaces those of some rows.
    fn replace(&mut self, rows: Range<usize>, fresh: &Self) {
        let text = self.text_of(rows.clone());
        let grown = text.start + fresh.text.len();
        for end in &mut self.ends[rows.end..] {
            *end = *end - text.end + grown;
        }
        let ends = fresh.ends.iter().map(|end| text.start + end);
        self.ends.splice(rows.clone(), ends);
        self.canonical.splice(rows, fresh.canonical.iter().copied());
        self.text.replace_range(text, &fresh.text);
    }
}

/// The part of a tail that answers a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    pub rows: Range<usize>,
    /// There are older candles inside the range that was asked for.
    pub has_older: bool,
}

impl CandleSink for Tail {
    fn candle(&mut self, candle: CandleView<'_>) {
        let row = self.len();
        self.values.extend_from_slice(candle.numbers);
        match candle.clusters {
            Some(text) => {
                let footprints = self.footprints.get_or_insert_with(|| Footprints::none(row));
                let is_canonical = candle.is_canonical;
                footprints.push(
                    text,
                    is_canonical.unwrap_or_else(|| is_canonical_object(text.as_bytes())),
                );
                self.values.push(utf16_length(text) as f64);
            }
            None => {
                if let Some(footprints) = &mut self.footprints {
                    footprints.push("", true);
                }
                self.values.push(-1.0);
            }
        }
        let cells = candle.odd.iter().map(|(column, value)| OddCell {
            row,
            column: *column,
            value: value.clone(),
        });
        self.odd.extend(cells);
    }
}

impl Tail {
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            values: Vec::with_capacity(rows * ROW),
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.values.len() / ROW
    }

    /// Gives back memory for rows that were expected and did not come.
    pub fn shrink(&mut self) {
        if self.values.capacity() / 2 > self.values.len() {
            self.values.shrink_to_fit();
        }
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        const CELL: usize = size_of::<OddCell>() + 32;
        let footprints = self.footprints.as_ref().map_or(0, |footprints| {
            footprints.text.capacity()
                + footprints.ends.capacity() * size_of::<usize>()
                + footprints.canonical.capacity()
        });
        self.values.capacity() * 8 + footprints + self.odd.capacity() * CELL
    }

    /// Rows are found by their time, compared as doubles: one that is no number cannot be, nor one that is beyond the
    /// integers which doubles tell from each other.
    pub fn has_only_times(&self) -> bool {
        let ends = [self.values.first(), self.time_of_last()];
        ends.into_iter().flatten().all(|time| time.abs() <= SURE)
            && !self.odd.iter().any(|cell| cell.column == 0)
    }

    fn time_of_last(&self) -> Option<&f64> {
        self.values.get(self.values.len().checked_sub(ROW)?)
    }

    pub fn oldest(&self) -> Option<f64> {
        self.values.first().copied()
    }

    pub fn newest(&self) -> Option<f64> {
        self.len().checked_sub(1).map(|row| self.time(row))
    }

    fn time(&self, row: usize) -> f64 {
        self.values[row * ROW]
    }

    /// The first row whose time does not satisfy `is_before`.
    fn place(&self, is_before: impl Fn(f64) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_before(self.time(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The newest `limit` candles inside a range, where these candles are enough to tell.
    pub fn slice(&self, range: TimeRange, limit: usize) -> Option<Slice> {
        let (after, before) = (range.after as f64, range.before as f64);
        let low = self.place(|time| time <= after);
        let high = self.place(|time| time < before).max(low);
        if high - low > limit {
            return Some(Slice {
                rows: high - limit..high,
                has_older: true,
            });
        }
        // Older candles inside the range would be known.
        let is_whole = !self.has_older || low > 0;
        // Without a row of the range nobody knows whether the older ones are inside it.
        let is_filled = high > low && high - low == limit && range.after == i64::MIN;
        (is_whole || is_filled).then_some(Slice {
            rows: low..high,
            has_older: !is_whole,
        })
    }

    /// Gives rows to a sink.
    pub fn give(&self, rows: Range<usize>, sink: &mut dyn CandleSink) {
        if self.footprints.is_none() && self.odd.is_empty() {
            return sink.packed(&self.values[rows.start * ROW..rows.end * ROW]);
        }
        let first_odd = self.odd.partition_point(|cell| cell.row < rows.start);
        let mut odd = self.odd[first_odd..].iter();
        let mut next = odd.next();
        let mut cells: Vec<(usize, Value)> = Vec::new();
        for row in rows {
            let values = &self.values[row * ROW..][..ROW];
            cells.clear();
            while let Some(cell) = next.filter(|cell| cell.row == row) {
                cells.push((cell.column, cell.value.clone()));
                next = odd.next();
            }
            let footprints = self.footprints.as_ref().filter(|_| values[CLUSTERS] >= 0.0);
            if let Some(numbers) = values.first_chunk() {
                sink.candle(CandleView {
                    numbers,
                    clusters: footprints.map(|of| &of.text[of.text_of(row..row + 1)]),
                    is_canonical: footprints.map(|of| of.canonical[row]),
                    odd: &cells,
                });
            }
        }
    }

    /// Replaces what is inside a range by `fresh`, which is all that is inside it now.
    pub fn patch(&mut self, range: TimeRange, fresh: &Self) {
        let (after, before) = (range.after as f64, range.before as f64);
        let low = self.place(|time| time <= after);
        let high = self.place(|time| time < before).max(low);
        let rows = self.len();
        match (&mut self.footprints, &fresh.footprints) {
            (None, None) => {}
            (Some(kept), None) => kept.replace(low..high, &Footprints::none(fresh.len())),
            (kept, Some(fresh)) => kept
                .get_or_insert_with(|| Footprints::none(rows))
                .replace(low..high, fresh),
        }
        self.values
            .splice(low * ROW..high * ROW, fresh.values.iter().copied());
        self.odd.retain(|cell| !(low..high).contains(&cell.row));
        for cell in &mut self.odd {
            if cell.row >= high {
                cell.row = cell.row - high + low + fresh.len();
            }
        }
        let fresh_odd = fresh.odd.iter().map(|cell| OddCell {
            row: cell.row + low,
            ..cell.clone()
        });
        let place = self.odd.partition_point(|cell| cell.row < low);
        self.odd.splice(place..place, fresh_odd);
    }

    /// Lets go of the oldest rows.
    pub fn keep_newest(&mut self, rows: usize) {
        let older = self.len().saturating_sub(rows);
        if older == 0 {
            return;
        }
        if let Some(footprints) = &mut self.footprints {
            footprints.replace(0..older, &Footprints::none(0));
        }
        self.values.drain(..older * ROW);
        self.odd.retain(|cell| cell.row >= older);
        for cell in &mut self.odd {
            cell.row -= older;
        }
        self.has_older = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEYOND: i64 = 40;

    /// A candle for a time: some have a footprint, some an odd cell; `version` tells one writing of it from another.
    fn add(tail: &mut Tail, time: i64, version: u8) {
        let mut numbers = [f64::from(version); CLUSTERS];
        numbers[0] = time as f64;
        let text = format!("{{\"é{time}\":{version}}}");
        let odd = [(3, Value::Text(format!("{time}/{version}")))];
        tail.candle(CandleView {
            numbers: &numbers,
            clusters: (version % 3 == 1).then_some(&text),
            is_canonical: None,
            odd: if version % 4 == 3 { &odd } else { &[] },
        });
    }

    fn tail(candles: impl IntoIterator<Item = (i64, u8)>) -> Tail {
        let mut tail = Tail::default();
        for (time, version) in candles {
            add(&mut tail, time, version);
        }
        tail
    }

    fn times(tail: &Tail, rows: Range<usize>) -> Vec<i64> {
        rows.map(|row| tail.time(row) as i64).collect()
    }

    fn candles() -> impl Strategy<Value = std::collections::BTreeMap<i64, u8>> {
        proptest::collection::btree_map(0..BEYOND, 0_u8..12, 0..30)
    }

    /// What a sink is given of all rows.
    fn given(of: &Tail, rows: Range<usize>) -> Tail {
        let mut given = Tail::default();
        of.give(rows, &mut given);
        given
    }

    proptest! {
        #[test]
        fn a_patched_tail_gives_what_one_gives_that_was_filled_anew(
            before in candles(),
            after in candles(),
            from in 0..BEYOND,
            more in 0..BEYOND,
        ) {
            let to = from + more;
            let mut patched = tail(before.clone());
            let fresh: Vec<_> = after.range(from..=to).map(|(time, version)| (*time, *version)).collect();
            let range = TimeRange { after: from - 1, before: to + 1 };
            patched.patch(range, &tail(fresh.clone()));
            let mut expected = before;
            expected.retain(|time, _| !(from..=to).contains(time));
            expected.extend(fresh);
            let all = patched.len();
            let anew = tail(expected);
            prop_assert_eq!(given(&patched, 0..all), given(&anew, 0..anew.len()));
        }

        #[test]
        fn the_newest_rows_are_left_when_the_oldest_are_let_go(candles in candles(), keep in 0_usize..35) {
            let whole = tail(candles);
            let mut kept = whole.clone();
            kept.keep_newest(keep);
            let older = whole.len().saturating_sub(keep);
            prop_assert_eq!(kept.has_older, older > 0);
            prop_assert_eq!(given(&kept, 0..kept.len()), given(&whole, older..whole.len()));
        }

        #[test]
        fn a_slice_is_what_the_whole_series_would_answer_or_nothing(
            series in candles(),
            keep in 0_usize..35,
            after in -1..BEYOND,
            before in 0..=BEYOND,
            limit in 0_usize..35,
            bounds in 0..4,
        ) {
            let range = TimeRange {
                after: if bounds & 1 > 0 { after } else { i64::MIN },
                before: if bounds & 2 > 0 { before } else { i64::MAX },
            };
            let whole = tail(series.clone());
            let mut kept = whole.clone();
            kept.keep_newest(keep);
            let inside: Vec<i64> = series
                .into_keys()
                .filter(|time| *time > range.after && *time < range.before)
                .collect();
            let older = inside.len().saturating_sub(limit);
            if let Some(slice) = kept.slice(range, limit) {
                prop_assert_eq!(times(&kept, slice.rows), &inside[older..]);
                prop_assert_eq!(slice.has_older, older > 0);
            } else {
                prop_assert!(kept.has_older, "a whole series answers everything");
            }
        }
    }

    #[test]
    fn whether_older_ones_are_below_a_bound_is_not_known_where_none_of_it_is_kept() {
        let mut tail = tail((0..10).map(|time| (time, 0)));
        tail.keep_newest(4);
        let range = TimeRange {
            before: 0,
            ..TimeRange::ALL
        };
        assert_eq!(tail.slice(range, 0), None);
    }

    #[test]
    fn as_many_as_are_kept_can_be_asked_for_but_not_more() {
        let mut tail = tail((0..10).map(|time| (time, 0)));
        tail.keep_newest(4);
        assert_eq!(
            tail.slice(TimeRange::ALL, 4).map(|slice| slice.rows),
            Some(0..4)
        );
        assert_eq!(tail.slice(TimeRange::ALL, 5), None);
    }
}
