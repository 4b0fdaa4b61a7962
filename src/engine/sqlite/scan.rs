//! Reads the newest candles of one series, oldest first. Of many, the index alone tells where they begin, and then they
//! are stepped through forwards: rows that were inserted one after the other are next to each other in the table, which
//! SQLite sees in that direction only, and it saves a fifth of the time. A few are stepped through backwards, as the
//! index is asked for the newest, and turned round.

use std::borrow::Cow;

use rusqlite::Connection;

use super::raw::{RawStatement, Running};
use super::schema::TableSql;
use crate::candle::{CLUSTERS, CandleSink, CandleView, TimeRange};
use crate::value::Value;

/// Fewer candles than this are not worth the search for where they begin.
const MANY: u32 = 64;

/// The statements that read one table, prepared when first needed; one for each way of bounding the time.
#[derive(Default)]
pub struct Scan {
    newest_first: [Option<RawStatement>; 4],
    oldest_first: [Option<RawStatement>; 4],
    start: [Option<RawStatement>; 4],
}

/// What is read.
pub struct Wanted<'a> {
    pub symbol: &'a str,
    pub range: TimeRange,
    pub limit: u32,
    /// Texts of the database are stored in UTF-8, and can be looked at where they stand.
    pub is_utf8: bool,
}

impl Scan {
    /// Gives the newest `limit` candles of the range to `sink`; true if there are older ones in it.
    pub fn run(
        &mut self,
        connection: &Connection,
        sql: &TableSql,
        wanted: &Wanted<'_>,
        sink: &mut dyn CandleSink,
    ) -> rusqlite::Result<bool> {
        if wanted.limit < MANY {
            return self.backwards(connection, sql, wanted, sink);
        }
        let variant = wanted.variant();
        let slot = &mut self.start[variant];
        let mut start = wanted.begin(slot, connection, &sql.start[variant])?;
        start.bind_integer(2, i64::from(wanted.limit))?;
        let has_older = start.step()? && start.number(1) == Some(1.0);
        if has_older && start.is_null(0) {
            // Nothing is after NULL, by which another program's rows begin.
            drop(start);
            return self.backwards(connection, sql, wanted, sink);
        }
        let variant = if has_older { variant | 2 } else { variant };
        let slot = &mut self.oldest_first[variant];
        let mut rows = wanted.begin(slot, connection, &sql.oldest_first[variant])?;
        if has_older {
            rows.bind_cell(4, &start, 0)?;
        }
        // The first statement still stands on a row, which makes both see the same commit.
        let mut candle = Candle::default();
        while rows.step()? {
            candle.with(&rows, wanted.is_utf8, |view| sink.candle(view));
        }
        Ok(has_older)
    }

    fn backwards(
        &mut self,
        connection: &Connection,
        sql: &TableSql,
        wanted: &Wanted<'_>,
        sink: &mut dyn CandleSink,
    ) -> rusqlite::Result<bool> {
        let variant = wanted.variant();
        let slot = &mut self.newest_first[variant];
        let mut rows = wanted.begin(slot, connection, &sql.newest_first[variant])?;
        rows.bind_integer(2, i64::from(wanted.limit) + 1)?;
        let mut kept: Vec<(Candle, Option<String>)> = Vec::new();
        while rows.step()? {
            if kept.len() == wanted.limit as usize {
                drop(rows);
                give(&kept, sink);
                return Ok(true);
            }
            let mut candle = Candle::default();
            let mut text = None;
            candle.with(&rows, wanted.is_utf8, |view| {
                text = view.clusters.map(str::to_owned);
            });
            kept.push((candle, text));
        }
        give(&kept, sink);
        Ok(false)
    }
}

fn give(newest_first: &[(Candle, Option<String>)], sink: &mut dyn CandleSink) {
    for (candle, text) in newest_first.iter().rev() {
        sink.candle(candle.view(text.as_deref()));
    }
}

impl<'a> Wanted<'a> {
    fn bounds(&self) -> [bool; 2] {
        [self.range.before != i64::MAX, self.range.after != i64::MIN]
    }

    fn variant(&self) -> usize {
        let [below, above] = self.bounds();
        usize::from(below) + 2 * usize::from(above)
    }

    /// Begins a run of a statement with the series and the bounds.
    fn begin<'r>(
        &self,
        slot: &'r mut Option<RawStatement>,
        connection: &Connection,
        sql: &str,
    ) -> rusqlite::Result<Running<'r>>
    where
        'a: 'r,
    {
        let [below, above] = self.bounds();
        let mut run = prepared(slot, connection, sql)?.start();
        run.bind_text(1, self.symbol)?;
        if below {
            run.bind_integer(3, self.range.before)?;
        }
        if above {
            run.bind_integer(4, self.range.after)?;
        }
        Ok(run)
    }
}

/// One row, but for its footprint.
#[derive(Default)]
struct Candle {
    numbers: [f64; CLUSTERS],
    odd: Vec<(usize, Value)>,
}

impl Candle {
    /// Shows the row on which a statement stands.
    fn with(&mut self, row: &Running<'_>, is_utf8: bool, show: impl FnOnce(CandleView<'_>)) {
        self.odd.clear();
        for (column, number) in self.numbers.iter_mut().enumerate() {
            *number = row.number(column as i32).unwrap_or_else(|| {
                self.odd.push((column, row.value(column as i32)));
                0.0
            });
        }
        let in_place = if is_utf8 {
            row.utf8_bytes(CLUSTERS as i32)
        } else {
            None
        };
        let text = match in_place {
            // The check alone is much faster than the mending.
            Some(bytes) => Some(match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(bytes),
            }),
            None if row.is_null(CLUSTERS as i32) => None,
            None => match row.value(CLUSTERS as i32) {
                Value::Text(text) => Some(Cow::Owned(text)),
                other => {
                    self.odd.push((CLUSTERS, other));
                    None
                }
            },
        };
        show(self.view(text.as_deref()));
    }

    fn view<'a>(&'a self, clusters: Option<&'a str>) -> CandleView<'a> {
        CandleView {
            numbers: &self.numbers,
            clusters,
            is_canonical: None,
            odd: &self.odd,
        }
    }
}

/// The statement in a slot, prepared when first needed.
pub fn prepared<'a>(
    slot: &'a mut Option<RawStatement>,
    connection: &Connection,
    sql: &str,
) -> rusqlite::Result<&'a mut RawStatement> {
    match slot {
        Some(statement) => Ok(statement),
        None => Ok(slot.insert(RawStatement::prepare(connection, sql)?)),
    }
}
