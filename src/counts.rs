//! How many candles each table holds, without counting them at every question: a count is taken once, own commits
//! are added to it, and commits of others are noticed by `PRAGMA data_version` and lead to a new count.
//!
//! The count and the number of own commits it includes must be known together. Commits are bracketed by two
//! numbers, `started` and `finished`; a snapshot is taken only when both are equal before and after.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::engine::{Committed, Engine, ReadSession};
use crate::error::Result;
use crate::timeframe::Timeframe;
use crate::writer::lock;

/// At most so often are tables counted in the background.
const BACKGROUND_PAUSE: Duration = Duration::from_secs(1);
/// Counting that takes no longer is done as often as it is asked for.
const UNNOTICED: Duration = Duration::from_millis(1);
/// How often a snapshot is tried that no own commit disturbs.
const SNAPSHOT_TRIES: u32 = 200;
const SNAPSHOT_PAUSE: Duration = Duration::from_micros(100);

/// The sizes of the candle tables.
pub struct Counts {
    engine: Arc<dyn Engine>,
    timeframes: Vec<Timeframe>,
    started: AtomicU64,
    finished: AtomicU64,
    tally: Mutex<Tally>,
    /// A connection of its own, which never holds a statement open: only so does `data_version` tell the truth.
    session: Mutex<Option<Box<dyn ReadSession>>>,
    /// A count in the background is due or running.
    recounting: AtomicBool,
}

#[derive(Default)]
struct Tally {
    /// Rows added by own commits since the store was opened.
    added: Vec<i64>,
    base: Option<Base>,
    /// The last own commit after which the base cannot be trusted: it changed tables in ways that were not counted,
    /// or found commits of others before it.
    doubtful: u64,
    /// The last own commit whose changes were not counted: after it, no older count is an answer.
    uncounted: u64,
}

#[derive(Debug, Clone)]
struct Base {
    /// Rows counted, less those that own commits had added by then.
    counts: Vec<i64>,
    /// Own commits that the count includes.
    finished: u64,
    /// `data_version` at the last look that found the base good, and own commits finished by then.
    version: i64,
    looked: u64,
    took: Duration,
    at: SystemTime,
    counted: Instant,
}

impl Base {
    /// Whether counting anew would take more than a fifth of the time, as it would for many questions in a burst while
    /// others commit all the time. Counts that take no time are never refused.
    fn is_resting(&self) -> bool {
        self.took > UNNOTICED && self.counted.elapsed() < self.took * 4
    }
}

/// The answer to a question for the counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub counts: Vec<u64>,
    pub at: SystemTime,
    /// Somebody else has committed since, and counting anew is too dear to be done at once.
    pub stale: bool,
}

impl Counts {
    pub fn new(engine: Arc<dyn Engine>, timeframes: &[Timeframe]) -> Self {
        Self {
            engine,
            timeframes: timeframes.to_vec(),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            tally: Mutex::new(Tally {
                added: vec![0; timeframes.len()],
                ..Tally::default()
            }),
            session: Mutex::default(),
            recounting: AtomicBool::new(false),
        }
    }

    /// Brackets something that may commit and adds what it committed.
    pub fn committing<T>(&self, commit: impl FnOnce() -> Result<(T, Vec<Committed>)>) -> Result<T> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let mut bracket = Bracket {
            counts: self,
            commits: None,
        };
        let (value, commits) = commit()?;
        bracket.commits = Some(commits);
        Ok(value)
    }

    /// The counts; `foreign` tells whether others have committed since this process last wrote, where the writing
    /// session can be asked. Counts anew when needed and `exact`, or when counting took less than `budget`; it waits
    /// for a count in the background only when `exact`.
    pub fn get(
        &self,
        exact: bool,
        budget: Duration,
        foreign: impl FnOnce() -> Option<bool>,
    ) -> Result<Counted> {
        let (known, must) = {
            let tally = lock(&self.tally);
            let outdated = |base: &Base| tally.uncounted > base.finished;
            let must = exact || tally.base.as_ref().is_some_and(outdated);
            (tally.base.clone(), must)
        };
        let mut session = match self.session.try_lock() {
            Ok(session) => session,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if known.is_some() && !must => {
                return Ok(self.answer(true));
            }
            Err(TryLockError::WouldBlock) => lock(&self.session),
        };
        let Some(reader) = open(&*self.engine, &mut session)? else {
            return Ok(Counted {
                counts: Vec::new(),
                at: SystemTime::now(),
                stale: false,
            });
        };
        let good = match &known {
            Some(base) if !exact => self.is_good(reader, base, foreign)?,
            _ => false,
        };
        let too_dear = known.is_some_and(|base| !must && (base.took > budget || base.is_resting()));
        if !good && !too_dear {
            if let Some(counts) = self.count(reader)? {
                return Ok(Counted {
                    counts,
                    at: SystemTime::now(),
                    stale: false,
                });
            }
            return Ok(self.answer(false));
        }
        Ok(self.answer(!good))
    }

    /// A count for the background, if one is due: not while another runs, and not too often.
    pub fn due(self: &Arc<Self>, now: Instant) -> Option<Recount> {
        let due = lock(&self.tally)
            .base
            .as_ref()
            .is_some_and(|base| now.saturating_duration_since(base.counted) >= BACKGROUND_PAUSE);
        (due && !self.recounting.swap(true, Ordering::SeqCst)).then(|| Recount(self.clone()))
    }

    /// Closes the connection; the next question opens it again.
    pub fn close(&self) {
        *lock(&self.session) = None;
    }

    fn is_good(
        &self,
        reader: &mut dyn ReadSession,
        base: &Base,
        foreign: impl FnOnce() -> Option<bool>,
    ) -> Result<bool> {
        if lock(&self.tally).doubtful > base.finished {
            return Ok(false);
        }
        let finished = self.finished.load(Ordering::SeqCst);
        let version = reader.data_version()?;
        if version == base.version {
            return Ok(true);
        }
        // Something was committed since the last look. Own commits change this connection's version, too, and only
        // the writing session can tell them from those of others.
        if finished == base.looked || foreign() != Some(false) {
            return Ok(false);
        }
        let mut tally = lock(&self.tally);
        let good = tally.doubtful <= base.finished;
        if let Some(base) = tally.base.as_mut().filter(|_| good) {
            base.version = version;
            base.looked = finished;
        }
        Ok(good)
    }

    /// Counts every table in one snapshot, for `answer`. Where own commits leave no moment for a snapshot that is
    /// known to include them or not, as while one waits for the disk, the counts of some moment are returned.
    fn count(&self, reader: &mut dyn ReadSession) -> Result<Option<Vec<u64>>> {
        for _ in 0..SNAPSHOT_TRIES {
            let finished = self.finished.load(Ordering::SeqCst);
            if self.started.load(Ordering::SeqCst) != finished {
                thread::sleep(SNAPSHOT_PAUSE);
                continue;
            }
            let before = lock(&self.tally).added.clone();
            let start = Instant::now();
            let mut undisturbed = false;
            let (version, counted) = reader.counts(&self.timeframes, &mut || {
                undisturbed = self.started.load(Ordering::SeqCst) == finished;
                undisturbed
            })?;
            if !undisturbed {
                continue;
            }
            let counts = counted
                .iter()
                .zip(&before)
                .map(|(count, added)| *count as i64 - added)
                .collect();
            lock(&self.tally).base = Some(Base {
                counts,
                finished,
                version,
                looked: finished,
                took: start.elapsed(),
                at: SystemTime::now(),
                counted: Instant::now(),
            });
            return Ok(None);
        }
        let (_, counts) = reader.counts(&self.timeframes, &mut || true)?;
        Ok(Some(counts))
    }

    fn answer(&self, stale: bool) -> Counted {
        let tally = lock(&self.tally);
        match &tally.base {
            Some(base) => Counted {
                counts: base
                    .counts
                    .iter()
                    .zip(&tally.added)
                    .map(|(count, added)| (count + added).max(0) as u64)
                    .collect(),
                at: if stale { base.at } else { SystemTime::now() },
                stale,
            },
            None => Counted {
                counts: vec![0; self.timeframes.len()],
                at: SystemTime::UNIX_EPOCH,
                stale: true,
            },
        }
    }
}

/// Something that may commit, from before it does until its changes are added; also when it panics.
struct Bracket<'a> {
    counts: &'a Counts,
    commits: Option<Vec<Committed>>,
}

impl Drop for Bracket<'_> {
    fn drop(&mut self) {
        let mut tally = lock(&self.counts.tally);
        let number = self.counts.finished.load(Ordering::SeqCst) + 1;
        match &self.commits {
            Some(commits) => {
                for committed in commits {
                    for (total, added) in tally.added.iter_mut().zip(&committed.added) {
                        *total += added;
                    }
                    if committed.uncounted || committed.foreign {
                        tally.doubtful = number;
                    }
                    if committed.uncounted {
                        tally.uncounted = number;
                    }
                }
            }
            // Nobody can tell what a failed commit did.
            None => {
                tally.doubtful = number;
                tally.uncounted = number;
            }
        }
        self.counts.finished.store(number, Ordering::SeqCst);
    }
}

/// A count in the background that is to be run once.
pub struct Recount(Arc<Counts>);

impl Recount {
    pub fn run(self) -> Result<()> {
        let mut session = lock(&self.0.session);
        if let Some(reader) = open(&*self.0.engine, &mut session)? {
            self.0.count(reader)?;
        }
        Ok(())
    }
}

impl Drop for Recount {
    fn drop(&mut self) {
        self.0.recounting.store(false, Ordering::SeqCst);
    }
}

fn open<'a>(
    engine: &dyn Engine,
    session: &'a mut Option<Box<dyn ReadSession>>,
) -> Result<Option<&'a mut (dyn ReadSession + 'static)>> {
    if session.is_none() {
        match engine.open_reader() {
            Some(opened) => *session = Some(opened?),
            None => return Ok(None),
        }
    }
    Ok(session.as_deref_mut())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::WriteSession;
    use crate::engine::fake::{Act, Fake, PATIENCE, Point, full};
    use crate::error::StoreError;
    use crate::testing::{FRAME, SYMBOL, packed, rows, wait_for};

    /// Longer than counting a fake takes.
    const DEAR: Duration = Duration::from_secs(60);

    struct Bench {
        fake: Arc<Fake>,
        counts: Arc<Counts>,
        writer: Mutex<Box<dyn WriteSession>>,
    }

    impl Bench {
        fn new() -> Result<Self> {
            let fake = Fake::new(&[FRAME]);
            let writer = fake.open_writer()?;
            Ok(Self {
                counts: Arc::new(Counts::new(fake.clone(), &[FRAME])),
                writer: Mutex::new(writer),
                fake,
            })
        }

        fn commit(&self, time: i64) -> Result<()> {
            let mut writer = lock(&self.writer);
            writer.try_begin()?;
            writer.upsert(FRAME, SYMBOL, rows(&packed(&[(time, 1.0)])))?;
            self.counts.committing(|| {
                let committed = writer.commit()?;
                Ok(((), vec![committed]))
            })
        }

        fn ask(&self, exact: bool, budget: Duration) -> Result<Counted> {
            let foreign = || lock(&self.writer).foreign_commits().ok();
            self.counts.get(exact, budget, foreign)
        }

        /// The count as soon as it is not stale.
        fn fresh(&self) -> Result<u64> {
            let start = Instant::now();
            loop {
                let counted = self.ask(false, DEAR)?;
                if !counted.stale {
                    return Ok(counted.counts[0]);
                }
                assert!(start.elapsed() < PATIENCE, "the count stays stale");
                thread::yield_now();
            }
        }
    }

    type Tested = std::result::Result<(), StoreError>;

    #[test]
    fn own_commits_are_added_without_counting_again() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        // The first commit since the writer was opened may have found commits of others before it.
        bench.commit(2)?;
        assert_eq!(bench.fresh()?, 2);
        let counted = bench.fake.calls(Point::Read);
        for time in 3..50 {
            bench.commit(time)?;
            assert_eq!(bench.fresh()?, time as u64);
        }
        assert_eq!(bench.fake.calls(Point::Read), counted);
        Ok(())
    }

    #[test]
    fn commits_of_others_are_counted_also_between_own_ones() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        bench.fake.commit_of_another(FRAME, SYMBOL, 100, 1.0);
        assert_eq!(bench.fresh()?, 2);
        bench.fake.commit_of_another(FRAME, SYMBOL, 101, 1.0);
        bench.commit(2)?;
        assert_eq!(bench.fresh()?, 4);
        bench.commit(3)?;
        bench.fake.commit_of_another(FRAME, SYMBOL, 102, 1.0);
        assert_eq!(bench.fresh()?, 6);
        Ok(())
    }

    #[test]
    fn a_commit_of_another_is_not_forgotten_when_the_own_transaction_after_it_is_rolled_back()
    -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        bench.fake.commit_of_another(FRAME, SYMBOL, 100, 1.0);
        lock(&bench.writer).try_begin()?;
        lock(&bench.writer).rollback();
        bench.commit(2)?;
        assert_eq!(bench.fresh()?, 3);
        Ok(())
    }

    #[test]
    fn a_count_that_is_dear_is_left_to_the_background() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        bench.fake.commit_of_another(FRAME, SYMBOL, 100, 1.0);
        let stale = bench.ask(false, Duration::ZERO)?;
        assert_eq!((stale.counts[0], stale.stale), (1, true));
        assert!(bench.counts.due(Instant::now()).is_none(), "just counted");
        let later = Instant::now() + BACKGROUND_PAUSE;
        let recount = bench.counts.due(later);
        assert!(recount.is_some());
        assert!(bench.counts.due(later).is_none(), "one at a time");
        if let Some(recount) = recount {
            recount.run()?;
        }
        assert!(bench.counts.due(later + BACKGROUND_PAUSE).is_some());
        let counted = bench.ask(false, Duration::ZERO)?;
        assert_eq!((counted.counts[0], counted.stale), (2, false));
        Ok(())
    }

    #[test]
    fn a_question_does_not_wait_for_a_count_in_the_background() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        let gate = bench.fake.stop_at(Point::Read);
        let recount = bench.counts.due(Instant::now() + BACKGROUND_PAUSE);
        thread::scope(|scope| {
            scope.spawn(|| recount.map(Recount::run));
            gate.wait();
            let answer = bench.ask(false, DEAR);
            gate.open();
            assert!(answer.is_ok_and(|counted| counted.stale && counted.counts[0] == 1));
        });
        Ok(())
    }

    #[test]
    fn an_exact_question_counts_also_what_was_changed_unseen() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        bench.fake.commit_of_another(FRAME, SYMBOL, 100, 1.0);
        let exact = bench.ask(true, Duration::ZERO)?;
        assert_eq!((exact.counts[0], exact.stale), (2, false));
        Ok(())
    }

    #[test]
    fn the_first_question_is_answered_with_a_count_while_a_commit_takes_long() -> Tested {
        let bench = Bench::new()?;
        bench.fake.commit_of_another(FRAME, SYMBOL, 100, 1.0);
        let during = bench.counts.committing(|| {
            let counted = bench.ask(false, DEAR)?;
            Ok(((counted.counts[0], counted.stale), Vec::new()))
        })?;
        assert_eq!(during, (1, false));
        Ok(())
    }

    #[test]
    fn a_commit_that_fails_leads_to_a_new_count() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        assert_eq!(bench.fresh()?, 1);
        let counted = bench.fake.calls(Point::Read);
        bench.fake.script(Point::Commit, [Act::Fail(full())]);
        assert!(bench.commit(2).is_err());
        lock(&bench.writer).rollback();
        assert_eq!(bench.fresh()?, 1);
        assert_eq!(bench.fake.calls(Point::Read), counted + 1);
        Ok(())
    }

    #[test]
    fn a_commit_that_panics_does_not_keep_counts_from_being_known() -> Tested {
        let bench = Bench::new()?;
        bench.commit(1)?;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            bench
                .counts
                .committing::<()>(|| panic!("a commit that panics"))
        }));
        assert!(panicked.is_err());
        assert_eq!(bench.fresh()?, 1);
        let counted = bench.fake.calls(Point::Read);
        assert_eq!(bench.fresh()?, 1);
        assert_eq!(bench.fake.calls(Point::Read), counted, "it is known");
        Ok(())
    }

    #[test]
    fn every_answer_holds_what_was_committed_before_it_and_nothing_that_was_not_begun() -> Tested {
        const COMMITS: u64 = 2_000;
        let bench = Bench::new()?;
        let begun = AtomicU64::new(0);
        let done = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for time in 1..=COMMITS {
                    begun.store(time, Ordering::SeqCst);
                    assert!(bench.commit(time as i64).is_ok());
                    done.store(time, Ordering::SeqCst);
                }
            });
            wait_for("all answers", || {
                let least = done.load(Ordering::SeqCst);
                let answer = bench
                    .counts
                    .get(least.is_multiple_of(3), DEAR, || None)
                    .map(|counted| counted.counts[0]);
                let most = begun.load(Ordering::SeqCst);
                assert!(
                    answer
                        .as_ref()
                        .is_ok_and(|count| (least..=most).contains(count)),
                    "{least} <= {answer:?} <= {most}"
                );
                least == COMMITS
            });
        });
        assert_eq!(bench.fresh()?, COMMITS);
        Ok(())
    }
}
