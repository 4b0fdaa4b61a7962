//! Reads of candles: packed doubles for rows, one array for all columns, or the bytes of JSON.

use napi::bindgen_prelude::{Either, Float64Array, Float64ArraySlice};
use napi_derive::napi;

use super::bytes::{self, Bytes};
use super::call;
use super::queries::Wanted;
use super::store::NativeStore;
use super::value::Cell;
use crate::candle::{
    CLUSTERS, CandleSink, CandleView, OddCell, ROW, ReadRows, TimeRange, utf16_length,
};
use crate::json_rows::JsonRows;
use crate::store::{Format, Selection};
use crate::tail_cache::Found;
use crate::writer::lock;

/// Memory for more numbers is not kept for the next read.
const LARGEST_SCRATCH: usize = 8_192 * ROW;

/// What a read gives besides rows that fit into the caller's array.
#[napi(object, object_from_js = false)]
pub struct ReadMore {
    pub count: u32,
    /// All rows, when they did not fit.
    pub values: Option<Float64Array>,
    /// Footprint texts one after the other.
    pub clusters: String,
    pub odd: Vec<Odd>,
}

/// A cell that holds something else than a number.
#[napi(object, object_from_js = false)]
pub struct Odd {
    pub row: u32,
    pub column: u32,
    pub value: Cell,
}

/// Candles as JSON.
#[napi(object, object_from_js = false)]
pub struct JsonAnswer {
    /// Prefix and array, and after these the room that was asked for.
    pub bytes: Bytes,
    pub facts: Float64Array,
}

/// Places in the facts of a JSON answer.
const FACTS: usize = 5;
/// Only JavaScript can make these bytes: what there is, is not the answer.
const NEEDS_JAVASCRIPT: usize = 0;
const STAMP: usize = 1;
const HAS_OLDER: usize = 2;
const OLDEST: usize = 3;
const USED: usize = 4;

impl From<ReadRows> for ReadMore {
    fn from(read: ReadRows) -> Self {
        Self {
            count: read.len() as u32,
            odd: odd(&read.odd),
            clusters: read.clusters,
            values: Some(Float64Array::new(read.values)),
        }
    }
}

pub fn odd(cells: &[OddCell]) -> Vec<Odd> {
    cells
        .iter()
        .map(|cell| Odd {
            row: cell.row as u32,
            column: cell.column as u32,
            value: Cell(cell.value.clone()),
        })
        .collect()
}

/// Fills memory of JavaScript's with packed rows, and memory of its own when there are too many.
struct Filled<'a> {
    given: &'a mut [f64],
    used: usize,
    more: ReadRows,
    has_spilled: bool,
}

impl Filled<'_> {
    fn push(&mut self, values: &[f64]) {
        if !self.has_spilled
            && let Some(place) = self.given.get_mut(self.used..self.used + values.len())
        {
            place.copy_from_slice(values);
            self.used += values.len();
            return;
        }
        if !self.has_spilled {
            self.has_spilled = true;
            self.more.values.extend_from_slice(&self.given[..self.used]);
        }
        self.more.values.extend_from_slice(values);
        self.used += values.len();
    }
}

impl CandleSink for Filled<'_> {
    fn candle(&mut self, candle: CandleView<'_>) {
        let row = self.used / ROW;
        let mut values = [-1.0; ROW];
        values[..CLUSTERS].copy_from_slice(candle.numbers);
        if let Some(text) = candle.clusters {
            self.more.clusters.push_str(text);
            values[CLUSTERS] = utf16_length(text) as f64;
        }
        self.push(&values);
        let cells = candle.odd.iter().map(|(column, value)| OddCell {
            row,
            column: *column,
            value: value.clone(),
        });
        self.more.odd.extend(cells);
    }

    fn packed(&mut self, rows: &[f64]) {
        self.push(rows);
    }
}

/// Ends an array, with `room` after it that JavaScript may write to before it gives the bytes away.
pub fn json_answer(mut rows: JsonRows, found: Found, room: usize) -> JsonAnswer {
    let mut facts = vec![0.0; FACTS];
    facts[NEEDS_JAVASCRIPT] = f64::from(rows.needs_javascript);
    facts[STAMP] = found.stamp.unwrap_or(0) as f64;
    facts[HAS_OLDER] = f64::from(found.has_older);
    facts[OLDEST] = rows.oldest.unwrap_or(f64::NAN);
    facts[USED] = rows.bytes.len() as f64;
    rows.bytes.resize(rows.bytes.len() + room, b' ');
    JsonAnswer {
        bytes: Bytes(rows.bytes),
        facts: Float64Array::new(facts),
    }
}

/// One array of all columns one after the other, each of them oldest first; what is no number is NaN.
fn columns(rows: &ReadRows) -> Vec<f64> {
    let count = rows.len();
    let mut columns = vec![0.0; count * ROW];
    for (row, values) in rows.values.as_chunks::<ROW>().0.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            columns[column * count + row] = *value;
        }
    }
    for cell in rows.odd.iter().filter(|cell| cell.column < CLUSTERS) {
        columns[cell.column * count + cell.row] = f64::NAN;
    }
    columns
}

/// What JavaScript's numbers select; a bound that is NaN is none.
fn selection(minutes: u32, symbol: &str, after: f64, before: f64, limit: u32) -> Selection<'_> {
    Selection {
        minutes,
        symbol,
        range: TimeRange::from_numbers(after, before),
        limit,
    }
}

#[napi]
impl NativeStore {
    /// Fills `into` with packed rows and returns their number, or more where that is not all there is to tell.
    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn read_candles(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
        limit: u32,
        committed: bool,
        mut into: Float64ArraySlice<'_>,
    ) -> napi::Result<Either<u32, ReadMore>> {
        call(|| {
            let mut sink = Filled {
                // SAFETY: JS runs nothing during this call, so nobody else reads or writes the array.
                given: unsafe { into.as_mut() },
                used: 0,
                more: ReadRows::default(),
                has_spilled: false,
            };
            let wanted = selection(minutes, &symbol, after, before, limit);
            self.handle.scan(wanted, committed, &mut sink)?;
            let count = (sink.used / ROW) as u32;
            let Filled {
                more, has_spilled, ..
            } = sink;
            if !has_spilled && more.clusters.is_empty() && more.odd.is_empty() {
                return Ok(Either::A(count));
            }
            Ok(Either::B(ReadMore {
                count,
                odd: odd(&more.odd),
                clusters: more.clusters,
                values: has_spilled.then(|| Float64Array::new(more.values)),
            }))
        })
    }

    /// Reads columns: see `columns`.
    #[napi]
    pub fn read_columns(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
        limit: u32,
        committed: bool,
    ) -> napi::Result<ReadMore> {
        call(|| {
            let mut rows = std::mem::take(&mut *lock(&self.scratch));
            let range = TimeRange::from_numbers(after, before);
            self.handle
                .read_candles(minutes, &symbol, range, limit, committed, &mut rows)?;
            let clusters = std::mem::take(&mut rows.clusters);
            let read = in_columns(clusters, &rows);
            if rows.values.capacity() <= LARGEST_SCRATCH {
                *lock(&self.scratch) = rows;
            }
            Ok(read)
        })
    }

    /// Reads JSON after `prefix` and leaves so much room behind it; null when nothing can have changed since the answer
    /// with the stamp `known`.
    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn read_json(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
        limit: u32,
        committed: bool,
        prefix: Option<String>,
        room: u32,
        known: f64,
    ) -> napi::Result<Option<JsonAnswer>> {
        call(|| {
            if known > 0.0
                && self
                    .handle
                    .is_unchanged(minutes, &symbol, committed, known as u64)?
            {
                return Ok(None);
            }
            let wanted = selection(minutes, &symbol, after, before, limit);
            let prefix = prefix.as_deref().unwrap_or_default().as_bytes();
            let mut rows = JsonRows::after(prefix, bytes::take());
            let found = self.handle.scan(wanted, committed, &mut rows)?;
            rows.end();
            Ok(Some(json_answer(rows, found, room as usize)))
        })
    }

    /// Reads on another thread: rows, columns or JSON; returns what calls the read off.
    #[napi]
    #[allow(
        clippy::too_many_arguments,
        reason = "flat arguments cross into Rust cheaper than an object"
    )]
    pub fn read_candles_later(
        &self,
        minutes: u32,
        symbol: String,
        after: f64,
        before: f64,
        limit: u32,
        format: u32,
        prefix: String,
        id: f64,
    ) -> napi::Result<Wanted> {
        Wanted::by(|wanted| {
            let candles = selection(minutes, &symbol, after, before, limit);
            let format = match format {
                0 => Format::Rows,
                1 => Format::Columns,
                _ => Format::Json(prefix),
            };
            self.handle
                .read_candles_later(candles, format, id as u64, wanted)
        })
    }

    #[napi]
    pub fn last_time(&self, minutes: u32, symbol: String) -> napi::Result<Cell> {
        call(|| self.handle.last_time(minutes, &symbol).map(Cell))
    }
}

/// Columns, and what the last one of them tells the lengths of.
pub fn in_columns(clusters: String, rows: &ReadRows) -> ReadMore {
    ReadMore {
        count: rows.len() as u32,
        values: Some(Float64Array::new(columns(rows))),
        clusters,
        odd: Vec::new(),
    }
}
