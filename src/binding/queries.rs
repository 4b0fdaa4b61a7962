//! Reads in the background that can be called off, and the lists of series, which cross as columns: one array for each
//! thing that is told of all of them.

use std::sync::Arc;

use napi::bindgen_prelude::Float64Array;
use napi_derive::napi;

use super::call;
use super::reads::{ReadMore, odd};
use super::store::{GivenStatement, NativeStore, most};
use super::value::Cell;
use crate::candle::OddCell;
use crate::engine::{NewestCandle, Series};
use crate::error::{Code, StoreError};
use crate::wanted;

/// The newest candle of each of several series, packed as one read is.
#[napi(object, object_from_js = false)]
pub struct LatestAnswer {
    pub minutes: Vec<u32>,
    pub symbols: Vec<String>,
    pub candles: ReadMore,
}

/// Several series; a count that was not wanted is NaN.
#[napi(object, object_from_js = false)]
pub struct SeriesAnswer {
    pub minutes: Vec<u32>,
    pub symbols: Vec<String>,
    pub first: Vec<Cell>,
    pub last: Vec<Cell>,
    pub counts: Float64Array,
}

impl From<Vec<NewestCandle>> for LatestAnswer {
    fn from(newest: Vec<NewestCandle>) -> Self {
        let mut minutes = Vec::with_capacity(newest.len());
        let mut symbols = Vec::with_capacity(newest.len());
        let mut values = Vec::new();
        let mut clusters = String::new();
        let mut odd_cells = Vec::new();
        // One without a candle is no series.
        for found in newest.into_iter().filter(|found| found.row.len() == 1) {
            let row = minutes.len();
            odd_cells.extend(
                found
                    .row
                    .odd
                    .into_iter()
                    .map(|cell| OddCell { row, ..cell }),
            );
            values.extend_from_slice(&found.row.values);
            clusters.push_str(&found.row.clusters);
            minutes.push(found.timeframe.0);
            symbols.push(found.symbol);
        }
        Self {
            candles: ReadMore {
                count: minutes.len() as u32,
                values: Some(Float64Array::new(values)),
                clusters,
                odd: odd(&odd_cells),
            },
            minutes,
            symbols,
        }
    }
}

impl From<Vec<Series>> for SeriesAnswer {
    fn from(series: Vec<Series>) -> Self {
        let counts = series
            .iter()
            .map(|series| series.count.map_or(f64::NAN, |count| count as f64))
            .collect();
        let mut answer = Self {
            minutes: Vec::with_capacity(series.len()),
            symbols: Vec::with_capacity(series.len()),
            first: Vec::with_capacity(series.len()),
            last: Vec::with_capacity(series.len()),
            counts: Float64Array::new(counts),
        };
        for found in series {
            answer.minutes.push(found.timeframe.0);
            answer.symbols.push(found.ends.symbol);
            answer.first.push(Cell(found.ends.first));
            answer.last.push(Cell(found.ends.last));
        }
        answer
    }
}

/// Where no table is meant, `minutes` is null.
#[napi]
impl NativeStore {
    /// Runs a statement that only reads on another thread.
    #[napi]
    pub fn query_later(
        &self,
        statement: GivenStatement,
        most_rows: Option<u32>,
        id: f64,
    ) -> napi::Result<Wanted> {
        Wanted::by(|wanted| {
            self.handle
                .query_later(statement.into(), most(most_rows), id as u64, wanted)
        })
    }

    #[napi]
    pub fn latest(&self, minutes: Option<u32>, committed: bool) -> napi::Result<LatestAnswer> {
        call(|| Ok(self.handle.latest(minutes, committed)?.into()))
    }

    #[napi]
    pub fn latest_later(&self, minutes: Option<u32>, id: f64) -> napi::Result<Wanted> {
        Wanted::by(|wanted| self.handle.latest_later(minutes, id as u64, wanted))
    }

    #[napi]
    pub fn series(
        &self,
        minutes: Option<u32>,
        counts: bool,
        committed: bool,
    ) -> napi::Result<SeriesAnswer> {
        call(|| Ok(self.handle.series(minutes, counts, committed)?.into()))
    }

    #[napi]
    pub fn series_later(
        &self,
        minutes: Option<u32>,
        counts: bool,
        id: f64,
    ) -> napi::Result<Wanted> {
        Wanted::by(|wanted| self.handle.series_later(minutes, counts, id as u64, wanted))
    }
}

/// A read in the background that can be called off, also while it runs.
#[napi]
pub struct Wanted {
    wanted: Arc<wanted::Wanted>,
}

impl Wanted {
    fn of(wanted: Arc<wanted::Wanted>) -> Self {
        Self { wanted }
    }

    pub fn by(
        read: impl FnOnce(Arc<wanted::Wanted>) -> crate::error::Result<()>,
    ) -> napi::Result<Self> {
        let wanted = Arc::<wanted::Wanted>::default();
        call(|| read(wanted.clone()))?;
        Ok(Self::of(wanted))
    }
}

#[napi]
impl Wanted {
    #[napi]
    pub fn call_off(&self) -> napi::Result<()> {
        call(|| {
            self.wanted
                .call_off(StoreError::new(Code::Aborted, "the read was called off"));
            Ok(())
        })
    }
}
