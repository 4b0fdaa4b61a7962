//! What the queue holds: a write of a caller's, and how it is applied inside a transaction.

use std::sync::Arc;

use crate::candle::{OwnedRows, Rows, TimeRange};
use crate::engine::WriteSession;
use crate::error::{Code, Result, StoreError};
use crate::jobs::Load;
use crate::overtaking::Overtaking;
use crate::reply::{Answer, CandlesEvent, Ran, Reply, Written};
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult};

/// One accepted write and who waits for its outcome.
pub struct Command {
    pub work: Work,
    pub reply: Reply,
}

/// A write.
#[derive(Debug)]
pub enum Work {
    Upsert {
        timeframe: Timeframe,
        symbol: Arc<str>,
        rows: OwnedRows,
    },
    Delete {
        timeframe: Timeframe,
        symbol: Arc<str>,
        range: TimeRange,
    },
    /// Statements of the caller's own: all or none.
    Statements(Vec<Statement>),
    /// Nothing: whether the database takes a write.
    Probe,
}

/// What a command did inside the transaction that is still open.
#[derive(Debug)]
pub enum Applied {
    Written(Written),
    /// Only these rows were written; newer writes have left the others.
    Partly(Written, OwnedRows),
    Ran(Vec<StatementResult>),
}

impl Work {
    /// What it takes of the queue's capacity.
    pub fn load(&self) -> Load {
        const OVERHEAD: usize = 128;
        let (rows, bytes) = match self {
            Work::Upsert { rows, .. } => (rows.rows().len(), OVERHEAD + rows.bytes()),
            Work::Delete { .. } => (1, OVERHEAD),
            Work::Statements(statements) => (
                statements.len(),
                statements
                    .iter()
                    .map(|statement| OVERHEAD + statement.bytes())
                    .sum(),
            ),
            Work::Probe => (0, OVERHEAD),
        };
        Load { rows, bytes }
    }

    /// Does the write inside the session's open transaction, but for candles that `newer` ones have written.
    pub fn apply(
        &self,
        session: &mut dyn WriteSession,
        sequence: u64,
        newer: &[&Overtaking],
    ) -> Result<Applied> {
        match self {
            Work::Upsert {
                timeframe,
                symbol,
                rows,
            } => {
                let all = rows.rows();
                let mut remaining: Option<OwnedRows> = None;
                for newer in newer {
                    let rows = remaining.as_ref().map_or(all, OwnedRows::rows);
                    let fewer = newer.remaining(*timeframe, symbol, rows, sequence);
                    remaining = fewer.or(remaining);
                }
                let rows = remaining.as_ref().map_or(all, OwnedRows::rows);
                let upserted = session.upsert(*timeframe, symbol, rows)?;
                let written = Written {
                    sequence,
                    inserted: upserted.inserted,
                    updated: upserted.updated,
                    unchanged: upserted.unchanged,
                    coalesced: (all.len() - rows.len()) as u64,
                    ..Written::default()
                };
                Ok(match remaining {
                    Some(rows) => Applied::Partly(written, rows),
                    None => Applied::Written(written),
                })
            }
            Work::Delete {
                timeframe,
                symbol,
                range,
            } => {
                // A newer write that a still newer deletion has overtaken has left nothing to keep.
                let is_left = |(time, wrote): &(i64, u64)| {
                    !newer
                        .iter()
                        .any(|newer| newer.has_deleted(*timeframe, symbol, *time, *wrote))
                };
                let mut kept: Vec<i64> = newer
                    .iter()
                    .flat_map(|newer| newer.written_in(*timeframe, symbol, *range, sequence))
                    .filter(is_left)
                    .map(|(time, _)| time)
                    .collect();
                kept.sort_unstable();
                kept.dedup();
                let mut deleted = 0;
                for range in between(*range, kept) {
                    deleted += session.delete(*timeframe, symbol, range)?;
                }
                Ok(Applied::Written(Written {
                    sequence,
                    deleted,
                    ..Written::default()
                }))
            }
            Work::Probe => {
                session.rewrite()?;
                Ok(Applied::Written(Written {
                    sequence,
                    ..Written::default()
                }))
            }
            Work::Statements(statements) => {
                let results: Result<Vec<_>> = statements
                    .iter()
                    .map(|statement| {
                        let result = session.run(statement, None)?;
                        if session.in_transaction() {
                            return Ok(result);
                        }
                        Err(StoreError::new(
                            Code::Constraint,
                            format!(
                                "the statement ended the transaction it ran in: {:?}",
                                statement.sql
                            ),
                        )
                        .not_written())
                    })
                    .collect();
                results.map(Applied::Ran)
            }
        }
    }

    /// Remembers a committed write for older ones that still wait.
    pub fn overtake(&self, overtaking: &mut Overtaking, sequence: u64) {
        match self {
            Work::Upsert {
                timeframe,
                symbol,
                rows,
            } => {
                overtaking.wrote(*timeframe, symbol, times(rows.rows()), sequence);
            }
            Work::Delete {
                timeframe,
                symbol,
                range,
            } => overtaking.deleted(*timeframe, symbol, *range, sequence),
            Work::Statements(_) | Work::Probe => {}
        }
    }

    /// The event that a commit of what was applied of this write is.
    pub fn event(&self, applied: &Applied) -> Option<CandlesEvent> {
        match self {
            Work::Upsert {
                timeframe,
                symbol,
                rows,
            } => {
                let written = match applied {
                    Applied::Partly(_, written) => written,
                    Applied::Written(_) | Applied::Ran(_) => rows,
                };
                candles_event(*timeframe, symbol, written.rows())
            }
            Work::Delete { .. } | Work::Statements(_) | Work::Probe => None,
        }
    }
}

impl Applied {
    /// Rows that were left out because newer writes had the same candles.
    pub fn coalesced(&self) -> usize {
        match self {
            Applied::Written(written) | Applied::Partly(written, _) => written.coalesced as usize,
            Applied::Ran(_) => 0,
        }
    }

    /// The answer once the commit has succeeded.
    pub fn answer(self, sequence: u64, queued_ms: f64, commit_ms: f64) -> Answer {
        match self {
            Applied::Written(written) | Applied::Partly(written, _) => Answer::Written(Written {
                queued_ms,
                commit_ms,
                ..written
            }),
            Applied::Ran(results) => Answer::Ran(Ran {
                sequence,
                results,
                queued_ms,
                commit_ms,
            }),
        }
    }
}

/// The parts of a range between times that are to be left alone, which ascend.
fn between(range: TimeRange, kept: Vec<i64>) -> impl Iterator<Item = TimeRange> {
    let ends = kept.into_iter().chain([range.before]);
    ends.scan(range.after, |after, before| {
        Some(TimeRange {
            after: std::mem::replace(after, before),
            before,
        })
    })
}

/// The times of packed rows.
pub fn times(rows: Rows<'_>) -> impl Iterator<Item = i64> + '_ {
    rows.iter().map(|(row, _)| row[0] as i64)
}

/// The event that a commit of these rows is; none for no rows.
pub fn candles_event(
    timeframe: Timeframe,
    symbol: &Arc<str>,
    rows: Rows<'_>,
) -> Option<CandlesEvent> {
    let (newest, text) = rows.iter().max_by_key(|(row, _)| row[0] as i64)?;
    Some(CandlesEvent {
        timeframe,
        symbol: symbol.clone(),
        from: times(rows).min()?,
        to: newest[0] as i64,
        count: rows.len() as u64,
        newest: fingerprint(newest, text.unwrap_or("")),
    })
}

/// A number that differs, but for a chance of 1 in 2^64, when a candle differs.
pub fn fingerprint(row: &[f64], clusters: &str) -> u64 {
    use std::hash::{Hash, Hasher};

    let mut hasher = std::hash::DefaultHasher::new();
    for value in &row[..crate::candle::CLUSTERS] {
        value.to_bits().hash(&mut hasher);
    }
    clusters.hash(&mut hasher);
    hasher.finish()
}
