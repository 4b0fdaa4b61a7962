//! How many candles each series has, without counting them at every question: what was counted is remembered for as long
//! as nobody has committed anything. Any commit, of this process or another, to any table, has all that is asked for
//! counted again; a count over the narrow index takes some 25 ns a candle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::engine::{Engine, ReadSession, Series};
use crate::error::Result;
use crate::timeframe::Timeframe;
use crate::writer::lock;

/// The counts of one store.
pub struct SeriesCounts {
    engine: Arc<dyn Engine>,
    /// A connection that does nothing else, so that its `data_version` tells of every commit, also of this process.
    witness: Mutex<Option<Box<dyn ReadSession>>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The witness's version of the state that was counted.
    version: i64,
    counts: HashMap<Timeframe, HashMap<String, u64>>,
}

/// Whose state is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Committed,
    /// That of an open transaction, which nobody else will ask for.
    Own,
}

impl SeriesCounts {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            witness: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Lists the series of some timeframes in one state of the database, with their counts if wanted.
    pub fn list(
        &self,
        session: &mut dyn ReadSession,
        timeframes: &[Timeframe],
        counts: bool,
        state: State,
    ) -> Result<Vec<Series>> {
        let remembered = counts && state == State::Committed;
        let before = if remembered { self.version()? } else { None };
        let mut listed = Vec::new();
        session.snapshot(&mut |session| {
            listed.clear();
            for timeframe in timeframes {
                listed.extend(session.series(*timeframe)?.into_iter().map(|ends| Series {
                    timeframe: *timeframe,
                    ends,
                    count: None,
                }));
            }
            if counts {
                // Nothing was committed around the begin of this snapshot: it is the state of that version.
                let version = match before {
                    Some(_) if self.version()? == before => before,
                    _ => None,
                };
                self.count(session, &mut listed, version)?;
            }
            Ok(())
        })?;
        Ok(listed)
    }

    fn count(
        &self,
        session: &mut dyn ReadSession,
        listed: &mut [Series],
        version: Option<i64>,
    ) -> Result<()> {
        if let Some(version) = version {
            let known = lock(&self.known);
            if known.version == version {
                for series in listed.iter_mut() {
                    let counts = known.counts.get(&series.timeframe);
                    series.count = counts.and_then(|of| of.get(&series.ends.symbol).copied());
                }
            }
        }
        let mut counted = false;
        for series in listed.iter_mut().filter(|series| series.count.is_none()) {
            counted = true;
            series.count = Some(session.count_series(series.timeframe, &series.ends.symbol)?);
        }
        if let Some(version) = version.filter(|_| counted) {
            let mut known = lock(&self.known);
            if known.version != version {
                // Two may count at once, and the one that ends last may have begun before a commit: what it remembers is
                // then of no use, and wrong never, because the witness will not tell that version again.
                *known = Known {
                    version,
                    counts: HashMap::new(),
                };
            }
            for series in listed.iter() {
                if let Some(count) = series.count {
                    let counts = known.counts.entry(series.timeframe).or_default();
                    counts.insert(series.ends.symbol.clone(), count);
                }
            }
        }
        Ok(())
    }

    /// A number that changes with every commit; `None` where nobody can be asked.
    fn version(&self) -> Result<Option<i64>> {
        let mut witness = lock(&self.witness);
        if witness.is_none() {
            match self.engine.open_reader() {
                Some(opened) => {
                    // Another connection counts from another number.
                    *lock(&self.known) = Known::default();
                    *witness = Some(opened?);
                }
                None => return Ok(None),
            }
        }
        witness
            .as_mut()
            .map(|session| session.data_version())
            .transpose()
    }

    /// Closes the connection; the next question opens it again.
    pub fn close(&self) {
        *lock(&self.witness) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{Fake, Point};
    use crate::engine::{Engine, WriteSession};
    use crate::error::StoreError;
    use crate::testing::{FRAME, SYMBOL, packed, rows};

    type Tested = std::result::Result<(), StoreError>;

    struct Bench {
        fake: Arc<Fake>,
        counts: SeriesCounts,
        reader: Box<dyn ReadSession>,
        writer: Box<dyn WriteSession>,
    }

    impl Bench {
        fn new() -> Result<Self> {
            let fake = Fake::new(&[FRAME]);
            Ok(Self {
                counts: SeriesCounts::new(fake.clone()),
                reader: fake
                    .open_reader()
                    .unwrap_or_else(|| Err(StoreError::closed()))?,
                writer: fake.open_writer()?,
                fake,
            })
        }

        fn commit(&mut self, time: i64) -> Result<()> {
            self.writer.try_begin()?;
            self.writer
                .upsert(FRAME, SYMBOL, rows(&packed(&[(time, 1.0)])))?;
            self.writer.commit().map(|_| ())
        }

        fn list(&mut self) -> Result<Vec<(String, Option<u64>)>> {
            let listed =
                self.counts
                    .list(self.reader.as_mut(), &[FRAME], true, State::Committed)?;
            Ok(listed
                .into_iter()
                .map(|series| (series.ends.symbol, series.count))
                .collect())
        }

        fn counted(&self) -> usize {
            self.fake.calls(Point::Count)
        }
    }

    #[test]
    fn series_are_counted_once_until_somebody_commits() -> Tested {
        let mut bench = Bench::new()?;
        bench.commit(1)?;
        bench.fake.commit_of_another(FRAME, "OTHER", 1, 1.0);
        let one_each = vec![(SYMBOL.to_owned(), Some(1)), ("OTHER".to_owned(), Some(1))];
        for _ in 0..3 {
            assert_eq!(bench.list()?, one_each);
        }
        assert_eq!(bench.counted(), 2);
        bench.commit(2)?;
        assert_eq!(bench.list()?[0].1, Some(2));
        bench.fake.commit_of_another(FRAME, "OTHER", 2, 1.0);
        assert_eq!(bench.list()?[1].1, Some(2));
        assert_eq!(bench.counted(), 6);
        Ok(())
    }

    #[test]
    fn the_counts_of_an_open_transaction_are_remembered_by_nobody() -> Tested {
        let mut bench = Bench::new()?;
        bench.commit(1)?;
        bench.list()?;
        bench.writer.try_begin()?;
        bench
            .writer
            .upsert(FRAME, SYMBOL, rows(&packed(&[(2, 1.0)])))?;
        let own = bench
            .counts
            .list(bench.writer.as_mut(), &[FRAME], true, State::Own)?;
        assert_eq!(own[0].count, Some(2));
        bench.writer.rollback();
        assert_eq!(bench.list()?, [(SYMBOL.to_owned(), Some(1))]);
        Ok(())
    }

    #[test]
    fn a_commit_while_series_are_counted_is_seen_by_the_next_question() -> Tested {
        let mut bench = Bench::new()?;
        bench.commit(1)?;
        let gate = bench.fake.stop_at(Point::Count);
        let fake = bench.fake.clone();
        let other = std::thread::spawn(move || {
            gate.wait();
            fake.commit_of_another(FRAME, SYMBOL, 2, 1.0);
            gate.open();
        });
        assert_eq!(bench.list()?, [(SYMBOL.to_owned(), Some(1))]);
        assert!(other.join().is_ok());
        assert_eq!(bench.list()?, [(SYMBOL.to_owned(), Some(2))]);
        Ok(())
    }

    #[test]
    fn without_counts_nothing_is_counted() -> Tested {
        let mut bench = Bench::new()?;
        bench.commit(1)?;
        let listed = bench
            .counts
            .list(bench.reader.as_mut(), &[FRAME], false, State::Committed)?;
        assert_eq!((listed[0].count, bench.counted()), (None, 0));
        Ok(())
    }
}
