//! How long to wait between two attempts: longer after each failure up to a cap, and a little at random, so that processes
//! which failed together do not come back together. Waiting itself, and what ends it early, are the caller's.

use std::time::Duration;

use crate::options::Retry;

/// Numbers from 0 up to 1.
pub type Random = Box<dyn FnMut() -> f64 + Send>;

/// The pauses between the attempts at one thing.
pub struct Backoff {
    settings: Retry,
    failures: u32,
    random: Random,
}

impl Backoff {
    pub fn new(settings: Retry, random: Random) -> Self {
        Self {
            settings,
            failures: 0,
            random,
        }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let Retry {
            base_ms,
            factor,
            cap_ms,
            jitter_ms,
        } = self.settings;
        let exponent = f64::from(self.failures);
        self.failures = self.failures.saturating_add(1);
        let milliseconds = (base_ms * factor.powf(exponent)).min(cap_ms);
        Duration::from_secs_f64((milliseconds + jitter_ms * (self.random)()) / 1_000.0)
    }

    /// An attempt has succeeded: the next failure is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Xorshift64* (Marsaglia 2003, Vigna 2016), seeded by a number that differs between processes and stores.
pub fn random() -> Random {
    use std::hash::{BuildHasher, RandomState};

    let mut state = RandomState::new().hash_one(std::process::id()) | 1;
    Box::new(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Retry = Retry {
        base_ms: 50.0,
        factor: 2.0,
        cap_ms: 2_000.0,
        jitter_ms: 50.0,
    };

    #[test]
    fn pauses_double_up_to_the_cap_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(SETTINGS, Box::new(|| 0.0));
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 50);
    }

    #[test]
    fn jitter_comes_on_top_also_of_the_cap() {
        let mut backoff = Backoff::new(SETTINGS, Box::new(|| 0.5));
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [75, 125, 225, 425, 825, 1_625, 2_025]);
    }

    #[test]
    fn no_number_of_failures_is_too_many() {
        let mut backoff = Backoff::new(SETTINGS, Box::new(|| 0.0));
        backoff.failures = u32::MAX;
        assert_eq!(backoff.pause().as_millis(), 2_000);
        assert_eq!(backoff.pause().as_millis(), 2_000);
    }

    #[test]
    fn random_numbers_lie_between_0_and_1_and_fill_the_range() {
        let mut random = random();
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            tenths[(random() * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| *count > 700), "{tenths:?}");
    }
}
