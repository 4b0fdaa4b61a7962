//! Notices what other processes commit: the newest candle of every series is compared with what it was, whenever
//! `data_version` says that anything was committed. Changes of older candles by others are not seen.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use crate::engine::ReadSession;
use crate::error::Result;
use crate::reply::CandlesEvent;
use crate::timeframe::Timeframe;
use crate::writer::fingerprint;

/// The newest candles as one handle knows them.
pub struct Watch {
    /// A connection of its own, which never holds a statement open; none for a database that nobody else can open.
    session: Option<Box<dyn ReadSession>>,
    version: i64,
    newest: HashMap<(Timeframe, Arc<str>), (i64, u64)>,
}

/// A series whose newest candle another process has written.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignChange {
    pub timeframe: Timeframe,
    pub symbol: Arc<str>,
    pub from: i64,
    pub to: i64,
}

impl Watch {
    pub fn start(store: &Store) -> Result<Self> {
        let session = store.engine.open_reader().transpose()?;
        let mut watch = Self {
            session,
            version: 0,
            newest: HashMap::new(),
        };
        watch.look(store)?;
        Ok(watch)
    }

    pub fn own_commit(&mut self, event: &CandlesEvent) {
        let known = self
            .newest
            .entry((event.timeframe, event.symbol.clone()))
            .or_insert((event.to, event.newest));
        if event.to >= known.0 {
            *known = (event.to, event.newest);
        }
    }

    /// The series that changed since the last look.
    pub fn look(&mut self, store: &Store) -> Result<Vec<ForeignChange>> {
        let Some(session) = self.session.as_mut() else {
            return Ok(Vec::new());
        };
        let version = session.data_version()?;
        if version == self.version {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        for candle in session.newest(&store.options.timeframes)? {
            let Some(&time) = candle.row.values.first() else {
                continue;
            };
            let to = time as i64;
            let print = fingerprint(&candle.row.values, &candle.row.clusters);
            let symbol: Arc<str> = candle.symbol.into();
            let before = self
                .newest
                .insert((candle.timeframe, symbol.clone()), (to, print));
            if before != Some((to, print)) {
                let from = before.map_or(to, |(known, _)| known.min(to));
                changes.push(ForeignChange {
                    timeframe: candle.timeframe,
                    symbol,
                    from,
                    to,
                });
            }
        }
        self.version = version;
        Ok(changes)
    }
}
