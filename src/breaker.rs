//! The circuit breaker (Nygard, Release It!): after failures of the storage in a row writing stops for a while, instead of
//! failing one caller after the other. _Closed_ lets writes through; _open_ refuses them until the storage may have
//! recovered; _half-open_ lets one through as a trial, whose outcome closes or opens it again. Waiting for locks is no
//! failure. It knows nothing of threads: the clock is passed in.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::options::Breaker as Settings;

/// How often is looked whether the storage has recovered before its time.
pub const PROBE: Duration = Duration::from_secs(2);

/// Whether the store tries to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum State {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl From<State> for &'static str {
    fn from(state: State) -> Self {
        state.as_str()
    }
}

impl State {
    /// The word callers see.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// The breaker of one store.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// In a row.
    failures: u32,
    opened: Instant,
    probed: Instant,
    /// Half-open, the trial has begun.
    on_trial: bool,
}

/// What a change of state is called when it is told.
pub type Changed = Option<State>;

impl Breaker {
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            state: State::Closed,
            failures: 0,
            opened: now,
            probed: now,
            on_trial: false,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Lets a write through, which in half-open becomes the trial; or says how long until the next one may try.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::HalfOpen if !self.on_trial => {
                self.on_trial = true;
                Ok(())
            }
            State::HalfOpen => Err(PROBE),
            State::Open => Err(self.until_trial(now).unwrap_or_default()),
        }
    }

    /// How long until the storage is looked at again; `None` unless open.
    pub fn until_trial(&self, now: Instant) -> Option<Duration> {
        (self.state == State::Open).then(|| {
            let recovered = self.opened + self.recovery();
            recovered
                .min(self.probed + PROBE)
                .saturating_duration_since(now)
        })
    }

    fn recovery(&self) -> Duration {
        Duration::from_secs_f64(self.settings.recovery_ms / 1_000.0)
    }

    /// Whether the recovery time has passed, after which a trial needs no look before.
    pub fn is_recovered(&self, now: Instant) -> bool {
        self.state == State::Open && now >= self.opened + self.recovery()
    }

    /// A look at the storage has found it as it was, or well enough for a trial.
    pub fn probed(&mut self, now: Instant, is_well: bool) -> Changed {
        if self.state != State::Open {
            return None;
        }
        self.probed = now;
        if !is_well {
            return None;
        }
        self.on_trial = false;
        self.state = State::HalfOpen;
        Some(self.state)
    }

    /// The storage has refused a write; a full disk opens `at_once`.
    pub fn failed(&mut self, now: Instant, at_once: bool) -> Changed {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => at_once || self.failures >= self.settings.threshold,
            State::HalfOpen => true,
            State::Open => false,
        };
        if !opens {
            return None;
        }
        self.on_trial = false;
        self.opened = now;
        self.probed = now;
        self.state = State::Open;
        Some(self.state)
    }

    /// A write has been committed.
    pub fn succeeded(&mut self) -> Changed {
        self.failures = 0;
        self.on_trial = false;
        if self.state == State::Closed {
            return None;
        }
        self.state = State::Closed;
        Some(self.state)
    }

    /// The trial has ended without saying anything about the storage: another one may begin.
    pub fn trial_told_nothing(&mut self) {
        self.on_trial = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        threshold: 3,
        recovery_ms: 60_000.0,
    };

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        (Breaker::new(SETTINGS, now), now)
    }

    #[test]
    fn it_opens_after_three_failures_in_a_row_and_not_after_three_apart() {
        let (mut breaker, now) = breaker();
        for _ in 0..5 {
            assert_eq!(breaker.failed(now, false), None);
            assert_eq!(breaker.failed(now, false), None);
            assert_eq!(breaker.succeeded(), None);
        }
        breaker.failed(now, false);
        breaker.failed(now, false);
        assert_eq!(breaker.failed(now, false), Some(State::Open));
        assert!(breaker.admit(now).is_err());
    }

    #[test]
    fn a_full_disk_opens_it_at_once() {
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.failed(now, true), Some(State::Open));
        assert_eq!(breaker.admit(now), Err(PROBE));
    }

    #[test]
    fn one_trial_is_let_through_and_its_success_closes_it() {
        let (mut breaker, now) = breaker();
        breaker.failed(now, true);
        assert_eq!(breaker.probed(now + PROBE, true), Some(State::HalfOpen));
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(breaker.admit(now).is_err());
        assert_eq!(breaker.succeeded(), Some(State::Closed));
        assert_eq!((breaker.admit(now), breaker.admit(now)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_one_that_told_nothing_leaves_room_for_another() {
        let (mut breaker, now) = breaker();
        breaker.failed(now, true);
        breaker.probed(now, true);
        assert_eq!(breaker.admit(now), Ok(()));
        breaker.trial_told_nothing();
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.failed(now, false), Some(State::Open));
        assert_eq!(breaker.until_trial(now), Some(PROBE));
    }

    #[test]
    fn the_storage_is_looked_at_every_two_seconds_and_tried_when_the_recovery_time_is_over() {
        let (mut breaker, now) = breaker();
        breaker.failed(now, true);
        let second = Duration::from_secs(1);
        assert_eq!(breaker.until_trial(now + second), Some(second));
        assert_eq!(breaker.probed(now + PROBE, false), None);
        assert_eq!(breaker.until_trial(now + PROBE), Some(PROBE));
        assert!(!breaker.is_recovered(now + 59 * second));
        assert!(breaker.is_recovered(now + 60 * second));
        breaker.probed(now + 59 * second, false);
        assert_eq!(breaker.until_trial(now + 59 * second), Some(second));
    }

    #[test]
    fn failures_while_it_is_open_change_nothing() {
        let (mut breaker, now) = breaker();
        breaker.failed(now, true);
        assert_eq!(breaker.failed(now + PROBE, true), None);
        assert_eq!(breaker.until_trial(now + PROBE), Some(Duration::ZERO));
    }
}
