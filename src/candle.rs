//! A batch of candles as it crosses from JS to Rust and from thread to thread: rows of eleven doubles, and the
//! footprints as one string. Checked where it is packed (`lib/candle.js`); here only its shape is.

use crate::error::{Code, Result, StoreError};
use crate::value::Value;

/// Doubles in one packed row: time, open, high, low, close, volume, buy volume, sell volume, delta, trade count,
/// and whether a footprint belongs to the row (written: 1 or 0; read: its length in UTF-16 units or -1).
pub const ROW: usize = 11;
/// Place of the footprint's mark in a row.
pub const CLUSTERS: usize = 10;

/// Columns of the tables in the order of a packed row.
pub const COLUMNS: [&str; ROW] = [
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "buy_volume",
    "sell_volume",
    "delta",
    "trade_count",
    "clusters",
];

/// Packed rows of one series, borrowed: from JS memory for a synchronous write, from the queue for another.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f64],
    /// Footprints of the rows that have one, in order, separated by line feeds (JSON text holds none).
    clusters: &'a str,
}

impl<'a> Rows<'a> {
    /// Takes packed values; refuses anything that is not whole rows or has not as many footprints as marks.
    pub fn new(values: &'a [f64], clusters: &'a str) -> Result<Self> {
        if !values.len().is_multiple_of(ROW) {
            return Err(StoreError::new(
                Code::InvalidArgument,
                format!(
                    "packed candles must be rows of {ROW} numbers, got {} numbers",
                    values.len()
                ),
            )
            .not_written());
        }
        let marked = values
            .chunks_exact(ROW)
            .filter(|row| row[CLUSTERS] > 0.0)
            .count();
        let given = if clusters.is_empty() {
            0
        } else {
            line_feeds(clusters) + 1
        };
        if marked != given {
            return Err(StoreError::new(
                Code::InvalidArgument,
                format!("{marked} packed candles are marked to have a footprint but {given} footprints were given"),
            )
            .not_written());
        }
        Ok(Self { values, clusters })
    }

    pub fn len(&self) -> usize {
        self.values.len() / ROW
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    pub fn clusters(&self) -> &'a str {
        self.clusters
    }

    /// The rows with their footprints.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [f64], Option<&'a str>)> + use<'a> {
        let mut texts = self.clusters.split('\n');
        self.values.chunks_exact(ROW).map(move |row| {
            (
                row,
                if row[CLUSTERS] > 0.0 {
                    texts.next()
                } else {
                    None
                },
            )
        })
    }
}

/// Counts in parts that fit into a byte, which the compiler makes vectors of: a batch may have megabytes of footprints.
fn line_feeds(text: &str) -> usize {
    let parts = text.as_bytes().chunks(usize::from(u8::MAX));
    parts
        .map(|part| {
            let count: u8 = part.iter().map(|byte| u8::from(*byte == b'\n')).sum();
            usize::from(count)
        })
        .sum()
}

/// Packed rows that belong to the queue.
#[derive(Debug, Clone)]
pub struct OwnedRows {
    values: Box<[f64]>,
    clusters: Box<str>,
}

impl OwnedRows {
    /// Copies rows, so that the caller's memory is free again.
    pub fn copy(rows: Rows<'_>) -> Self {
        Self {
            values: rows.values.into(),
            clusters: rows.clusters.into(),
        }
    }

    pub fn rows(&self) -> Rows<'_> {
        Rows {
            values: &self.values,
            clusters: &self.clusters,
        }
    }

    /// Memory held, for the queue's limit in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len() * 8 + self.clusters.len()
    }
}

/// Rows of one series as they were read, ascending by time.
#[derive(Debug, Default, Clone)]
pub struct ReadRows {
    pub values: Vec<f64>,
    /// Footprint texts one after the other; each row's mark tells its length in UTF-16 units, -1 is none.
    pub clusters: String,
    /// Cells of foreign rows that are no numbers.
    pub odd: Vec<OddCell>,
}

/// One stored candle as it is read.
#[derive(Debug, Clone, Copy)]
pub struct CandleView<'a> {
    /// Time to trade count; 0 where another program stored something else than a number.
    pub numbers: &'a [f64; CLUSTERS],
    /// The footprint's text.
    pub clusters: Option<&'a str>,
    /// Whether that text is what `JSON.stringify` makes of its object, where somebody has looked already.
    pub is_canonical: Option<bool>,
    /// Cells that hold no number, by column; in `CLUSTERS` one that holds neither text nor NULL.
    pub odd: &'a [(usize, Value)],
}

/// Where candles are put that are read, oldest first.
pub trait CandleSink {
    fn candle(&mut self, candle: CandleView<'_>);

    /// Packed rows without footprints and odd cells.
    fn packed(&mut self, rows: &[f64]) {
        for row in rows.as_chunks::<ROW>().0 {
            if let Some(numbers) = row.first_chunk() {
                self.candle(CandleView {
                    numbers,
                    clusters: None,
                    is_canonical: None,
                    odd: &[],
                });
            }
        }
    }
}

/// Length of a text in UTF-16 units, as JavaScript counts.
pub fn utf16_length(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.encode_utf16().count()
    }
}

impl CandleSink for ReadRows {
    fn candle(&mut self, candle: CandleView<'_>) {
        let row = self.len();
        self.values.extend_from_slice(candle.numbers);
        self.values.push(match candle.clusters {
            Some(text) => {
                self.clusters.push_str(text);
                utf16_length(text) as f64
            }
            None => -1.0,
        });
        for (column, value) in candle.odd {
            self.odd.push(OddCell {
                row,
                column: *column,
                value: value.clone(),
            });
        }
    }

    fn packed(&mut self, rows: &[f64]) {
        self.values.extend_from_slice(rows);
    }
}

impl ReadRows {
    pub fn clear(&mut self) {
        self.values.clear();
        self.clusters.clear();
        self.odd.clear();
    }

    pub fn len(&self) -> usize {
        self.values.len() / ROW
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// A cell that another program filled with something else than a number.
#[derive(Debug, Clone, PartialEq)]
pub struct OddCell {
    pub row: usize,
    pub column: usize,
    pub value: Value,
}

/// A range of times, both ends exclusive, as SQLite compares them: whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub after: i64,
    pub before: i64,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange {
        after: i64::MIN,
        before: i64::MAX,
    };

    /// From JS numbers; NaN means no bound, fractions and huge numbers mean what they say.
    pub fn from_numbers(after: f64, before: f64) -> Self {
        Self {
            after: if after.is_nan() {
                i64::MIN
            } else {
                after.floor() as i64
            },
            before: if before.is_nan() {
                i64::MAX
            } else {
                before.ceil() as i64
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_must_be_whole() {
        assert!(Rows::new(&[1.0; ROW + 1], "").is_err());
        assert!(Rows::new(&[0.0; ROW * 2], "").is_ok_and(|rows| rows.len() == 2));
    }

    #[test]
    fn a_missing_or_spare_footprint_is_refused() {
        let mut values = [0.0; ROW];
        assert!(Rows::new(&values, "{}").is_err());
        values[CLUSTERS] = 1.0;
        assert!(Rows::new(&values, "").is_err());
        assert!(Rows::new(&values, "{}").is_ok());
    }

    #[test]
    fn footprints_go_to_the_rows_that_are_marked() {
        let mut values = [0.0; ROW * 3];
        values[CLUSTERS] = 1.0;
        values[2 * ROW + CLUSTERS] = 1.0;
        let texts: Vec<_> = Rows::new(&values, "{\"a\":1}\n{\"b\":2}")
            .map(|rows| rows.iter().map(|(_, text)| text).collect())
            .unwrap_or_default();
        assert_eq!(texts, [Some("{\"a\":1}"), None, Some("{\"b\":2}")]);
    }

    #[test]
    fn bounds_of_a_range_may_be_fractions_nan_or_beyond_every_time() {
        assert_eq!(TimeRange::from_numbers(f64::NAN, f64::NAN), TimeRange::ALL);
        assert_eq!(
            TimeRange::from_numbers(1.5, 2.5),
            TimeRange {
                after: 1,
                before: 3
            }
        );
        assert_eq!(TimeRange::from_numbers(-1e300, 1e300), TimeRange::ALL);
    }
}
