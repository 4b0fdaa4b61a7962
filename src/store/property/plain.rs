//! The plain map, and the journal it is filled from: what was committed, in the order of the commits.

use std::collections::BTreeMap;

use super::{Raw, Span};
use crate::engine::Upserted;
use crate::error::{Code, Result, Written as Certainty};
use crate::queue::Priority;
use crate::reply::{Answer, Written};

/// Candles by series and time, each with its close.
pub type Candles = BTreeMap<(usize, i64), f64>;

/// A write as it was handed over.
#[derive(Debug, Clone)]
pub enum Given {
    /// Closes below zero are refused by triggers.
    Upsert(usize, Vec<(i64, f64)>),
    Delete(usize, Span),
    Raw(Vec<Raw>),
}

impl Given {
    /// Whether a write of candles touches one; of raw SQL the store does not know it.
    fn touches(&self, series: usize, time: i64) -> bool {
        match self {
            Given::Upsert(of, rows) => *of == series && rows.iter().any(|row| row.0 == time),
            Given::Delete(of, span) => *of == series && span.0 <= time && time < span.1,
            Given::Raw(_) => false,
        }
    }
}

/// A queued write and what its outcome may be.
#[derive(Debug)]
pub struct Call {
    pub sequence: u64,
    pub priority: Priority,
    pub write: Given,
    pub may_time_out: bool,
    pub may_be_closed: bool,
    /// What the withdrawal said, if there was one.
    pub withdrawn: Option<bool>,
}

/// What a caller did on its own thread, with what it was told.
#[derive(Debug)]
pub enum Did {
    Upserted(u64, usize, Vec<(i64, f64)>, Result<Upserted>),
    Deleted(u64, usize, Span, Result<u64>),
    Ran(Raw, Result<u64>),
    Savepoint(&'static str),
    RolledBackTo(&'static str),
    Released(&'static str),
}

/// One commit, or a call that failed, at its place in the order.
#[derive(Debug)]
pub enum Record {
    /// A queued call was settled.
    Settled(u64, Result<Answer>),
    /// Something of the driver's own, with the token or the lock in its hands; empty as long as it lasts or when it
    /// left nothing.
    Own(Vec<Did>),
}

/// What the file should hold.
#[derive(Debug, Default, Clone)]
pub struct Plain {
    pub candles: Candles,
    /// By candle, the newest upsert that was committed.
    wrote: BTreeMap<(usize, i64), u64>,
    deleted: Vec<(usize, Span, u64)>,
    /// By priority, the write begun last.
    begun: [u64; 3],
    /// Candles inserted less candles deleted, by what the calls were told.
    pub balance: i64,
}

fn keys(candles: &Candles, series: usize, span: Span) -> Vec<(usize, i64)> {
    let range = (series, span.0)..(series, span.1);
    candles.range(range).map(|(key, _)| *key).collect()
}

impl Plain {
    fn is_overtaken(&self, sequence: u64, series: usize, time: i64) -> bool {
        let wrote = self.wrote.get(&(series, time));
        wrote.is_some_and(|newer| *newer > sequence)
            || self.deleted.iter().any(|(of, span, newer)| {
                *of == series && *newer > sequence && span.0 <= time && time < span.1
            })
    }

    fn put(&mut self, sequence: u64, series: usize, (time, close): (i64, f64)) -> Upserted {
        let newest = self.wrote.entry((series, time)).or_default();
        *newest = sequence.max(*newest);
        match self.candles.insert((series, time), close) {
            None => Upserted {
                inserted: 1,
                ..Upserted::default()
            },
            Some(before) if before == close => Upserted {
                unchanged: 1,
                ..Upserted::default()
            },
            Some(_) => Upserted {
                updated: 1,
                ..Upserted::default()
            },
        }
    }

    /// Removes what no newer write has left, which means one that a still newer one has not deleted.
    fn remove(&mut self, sequence: u64, series: usize, span: Span) -> u64 {
        let mut removed = 0;
        for key in keys(&self.candles, series, span) {
            let wrote = self.wrote.get(&key).filter(|newer| **newer > sequence);
            if wrote.is_none_or(|newer| self.is_overtaken(*newer, key.0, key.1)) {
                self.candles.remove(&key);
                removed += 1;
            }
        }
        self.deleted.push((series, span, sequence));
        removed
    }

    /// Runs a statement; `None` is a constraint that fails.
    fn run(&mut self, raw: &Raw) -> Option<u64> {
        match *raw {
            Raw::Update(series, span, close) => {
                let found = keys(&self.candles, series, span);
                for key in &found {
                    self.candles.insert(*key, f64::from(close));
                }
                Some(found.len() as u64)
            }
            Raw::Delete(series, span) => {
                let found = keys(&self.candles, series, span);
                for key in &found {
                    self.candles.remove(key);
                }
                self.balance -= found.len() as i64;
                Some(found.len() as u64)
            }
            Raw::Insert(series, time, close) | Raw::InsertOrRollback(series, time, close) => {
                if self.candles.contains_key(&(series, time)) {
                    return None;
                }
                self.candles.insert((series, time), f64::from(close));
                self.balance += 1;
                Some(1)
            }
        }
    }

    /// The outcome of a queued write, at the time it was told; `accepted` are all queued and synchronous writes.
    pub fn settle(
        &mut self,
        call: &Call,
        result: &Result<Answer>,
        accepted: &BTreeMap<u64, Given>,
    ) {
        let refused = match result {
            Ok(_) => None,
            Err(error) => {
                assert_eq!(error.written, Some(Certainty::No), "{call:?}: {error:?}");
                Some(error.code)
            }
        };
        let withdrawn = refused == Some(Code::Aborted);
        assert_eq!(
            withdrawn,
            call.withdrawn == Some(true),
            "{call:?}: {result:?}"
        );
        if matches!(refused, None | Some(Code::Constraint)) {
            let begun = &mut self.begun[call.priority as usize];
            assert!(*begun < call.sequence, "{call:?} was begun after {begun}");
            *begun = call.sequence;
        }
        match (&call.write, result) {
            (Given::Upsert(series, rows), Ok(Answer::Written(written))) => {
                assert_eq!(written.sequence, call.sequence);
                self.upserted(call.sequence, *series, rows, written, accepted);
            }
            (Given::Delete(series, span), Ok(Answer::Written(written))) => {
                assert_eq!(written.sequence, call.sequence);
                self.remove(call.sequence, *series, *span);
                self.balance -= written.deleted as i64;
            }
            (Given::Raw(statements), Ok(Answer::Ran(ran))) => {
                for (statement, result) in statements.iter().zip(&ran.results) {
                    let changes = self.run(statement);
                    assert_eq!(Some(result.changes), changes, "{statement:?} of {call:?}");
                }
                assert_eq!(ran.results.len(), statements.len());
            }
            (Given::Upsert(series, rows), Err(_)) if refused == Some(Code::Constraint) => {
                let to_blame = |(time, close): &(i64, f64)| {
                    *close < 0.0 && !self.is_overtaken(call.sequence, *series, *time)
                };
                assert!(rows.iter().any(to_blame), "nothing is wrong with {call:?}");
            }
            (Given::Raw(statements), Err(_)) if refused == Some(Code::Constraint) => {
                let mut tried = self.clone();
                assert!(
                    statements.iter().any(|raw| tried.run(raw).is_none()),
                    "nothing is wrong with {call:?}"
                );
            }
            (_, Err(_)) => assert!(
                withdrawn
                    || refused == Some(Code::Timeout) && call.may_time_out
                    || refused == Some(Code::Closed) && call.may_be_closed,
                "{call:?}: {result:?}"
            ),
            _ => panic!("{call:?} was answered with {result:?}"),
        }
    }

    fn upserted(
        &mut self,
        sequence: u64,
        series: usize,
        rows: &[(i64, f64)],
        written: &Written,
        accepted: &BTreeMap<u64, Given>,
    ) {
        let overtaken = rows
            .iter()
            .filter(|row| self.is_overtaken(sequence, series, row.0));
        let least = overtaken.count();
        // A write of the same group may have spared this one the work, though it was committed after it.
        let may_be_spared = |place: usize| {
            let time = rows[place].0;
            rows[place + 1..].iter().any(|later| later.0 == time)
                || accepted
                    .range(sequence + 1..)
                    .any(|(_, newer)| newer.touches(series, time))
        };
        let most = (0..rows.len())
            .filter(|place| may_be_spared(*place))
            .count();
        let coalesced = written.coalesced as usize;
        assert!(
            least <= coalesced && coalesced <= most,
            "{coalesced} of {rows:?} under {sequence} were left to newer writes, not {least} to {most}"
        );
        let told = written.inserted + written.updated + written.unchanged + written.coalesced;
        assert_eq!(told, rows.len() as u64, "{written:?} of {rows:?}");
        self.balance += written.inserted as i64;
        for (place, row) in rows.iter().enumerate() {
            if row.1 < 0.0 {
                assert!(may_be_spared(place), "{row:?} was not refused");
            } else if !self.is_overtaken(sequence, series, row.0) {
                self.put(sequence, series, *row);
            }
        }
    }

    /// Forgets which writes the candles are from.
    pub fn forget(&mut self) {
        self.wrote.clear();
        self.deleted.clear();
        self.begun = [0; 3];
    }

    /// What a caller did in one transaction on its own thread. Nothing is done that fails.
    pub fn own(&mut self, all: &[Did]) {
        let mut savepoints: Vec<(&str, Plain)> = Vec::new();
        for did in all {
            match did {
                Did::Upserted(sequence, series, rows, told) => {
                    let mut done = Upserted::default();
                    let mut after = self.clone();
                    for row in rows {
                        let one = after.put(*sequence, *series, *row);
                        done.inserted += one.inserted;
                        done.updated += one.updated;
                        done.unchanged += one.unchanged;
                    }
                    let bad = rows.iter().any(|row| row.1 < 0.0);
                    match told {
                        Ok(told) => {
                            assert!(!bad && *told == done, "{did:?} should be {done:?}");
                            *self = after;
                            self.balance += done.inserted as i64;
                        }
                        Err(error) => assert_refused(error, bad),
                    }
                }
                Did::Deleted(sequence, series, span, told) => match told {
                    Ok(told) => {
                        assert_eq!(self.remove(*sequence, *series, *span), *told, "{did:?}");
                        self.balance -= *told as i64;
                    }
                    Err(error) => assert_refused(error, false),
                },
                Did::Ran(raw, told) => {
                    let changes = self.run(raw);
                    match told {
                        Ok(told) => assert_eq!(Some(*told), changes, "{did:?}"),
                        Err(error) => assert!(changes.is_none(), "{raw:?}: {error:?}"),
                    }
                }
                Did::Savepoint(name) => savepoints.push((name, self.clone())),
                Did::RolledBackTo(name) => {
                    let place = savepoints.iter().rposition(|known| known.0 == *name);
                    savepoints.truncate(place.unwrap() + 1);
                    *self = savepoints[place.unwrap()].1.clone();
                }
                Did::Released(name) => {
                    let place = savepoints.iter().rposition(|known| known.0 == *name);
                    savepoints.truncate(place.unwrap());
                }
            }
        }
    }
}

fn assert_refused(error: &crate::error::StoreError, constraint: bool) {
    assert_eq!(error.written, Some(Certainty::No), "{error:?}");
    let expected = if constraint {
        Code::Constraint
    } else {
        Code::Timeout
    };
    assert!(
        error.code == expected || error.code == Code::Timeout,
        "{error:?}"
    );
}
