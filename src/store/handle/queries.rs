//! Reads in the background, and the lists of series, which are read on either thread.

use std::sync::Arc;

use super::super::series_counts::State;
use super::Handle;
use crate::engine::{NewestCandle, ReadSession, Series};
use crate::error::{Code, Result};
use crate::reply::{Answer, Owed};
use crate::timeframe::Timeframe;
use crate::value::Statement;
use crate::wanted::{Age, Wanted};
use crate::writer::{after_ms, lock};

impl Handle {
    /// Reads on a thread of the pool, or where a database has only its writing session, by that; the outcome goes to
    /// `id`.
    pub(super) fn read_later(
        &self,
        id: u64,
        wanted: Arc<Wanted>,
        read: impl FnOnce(&mut dyn ReadSession) -> Result<Answer> + Send + 'static,
    ) -> Result<()> {
        self.check_open()?;
        let owed = Owed::new(self.reply(id));
        let place = self.reads.add(wanted.clone());
        let token = self.store.writer.token.clone();
        let limit_ms = self.store.options.read_timeout_ms;
        self.store.readers.submit(Box::new(move |session| {
            let age = Age {
                until: after_ms(limit_ms),
                limit_ms,
            };
            let result = match session {
                Ok(session) => wanted.run(session, age, read),
                Err(error) if error.code == Code::SqliteOnly => wanted
                    .wait_for(&token, age)
                    .and_then(|mut held| wanted.run(held.session(), age, read)),
                Err(error) => Err(error),
            };
            owed.settle(result);
            drop(place);
        }))
    }

    /// Runs a statement that only reads.
    pub fn query_later(
        &self,
        statement: Statement,
        most_rows: Option<usize>,
        id: u64,
        wanted: Arc<Wanted>,
    ) -> Result<()> {
        self.read_later(id, wanted, move |session| {
            session.query_only(&statement, most_rows).map(Answer::Found)
        })
    }

    /// The newest candle of every series, or of those of one timeframe.
    pub fn latest(&self, minutes: Option<u32>, committed: bool) -> Result<Vec<NewestCandle>> {
        let timeframes = self.timeframes(minutes)?;
        self.read(committed, |session| latest(session, &timeframes))
    }

    pub fn latest_later(&self, minutes: Option<u32>, id: u64, wanted: Arc<Wanted>) -> Result<()> {
        let timeframes = self.timeframes(minutes)?;
        self.read_later(id, wanted, move |session| {
            latest(session, &timeframes).map(Answer::Latest)
        })
    }

    /// Every series, or those of one timeframe.
    pub fn series(
        &self,
        minutes: Option<u32>,
        counts: bool,
        committed: bool,
    ) -> Result<Vec<Series>> {
        let timeframes = self.timeframes(minutes)?;
        let state = if !committed && lock(&self.lease).is_some() {
            State::Own
        } else {
            State::Committed
        };
        self.read(committed, |session| {
            self.store.series.list(session, &timeframes, counts, state)
        })
    }

    pub fn series_later(
        &self,
        minutes: Option<u32>,
        counts: bool,
        id: u64,
        wanted: Arc<Wanted>,
    ) -> Result<()> {
        let timeframes = self.timeframes(minutes)?;
        let store = self.store.clone();
        self.read_later(id, wanted, move |session| {
            store
                .series
                .list(session, &timeframes, counts, State::Committed)
                .map(Answer::Series)
        })
    }

    fn timeframes(&self, minutes: Option<u32>) -> Result<Vec<Timeframe>> {
        match minutes {
            Some(minutes) => Ok(vec![self.timeframe(minutes)?]),
            None => Ok(self.store.options.timeframes.clone()),
        }
    }
}

fn latest(session: &mut dyn ReadSession, timeframes: &[Timeframe]) -> Result<Vec<NewestCandle>> {
    let mut found = Vec::new();
    session.snapshot(&mut |session| {
        found = session.newest(timeframes)?;
        Ok(())
    })?;
    Ok(found)
}
