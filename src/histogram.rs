//! Durations in a fixed number of buckets, from which mean, percentiles and the largest are told at any time. Buckets
//! are powers of two divided in eight, so a percentile is at most an eighth too high; 1 us to an hour.

use std::time::Duration;

use serde::Serialize;

/// Buckets to each doubling, and doublings above a microsecond.
const STEPS: u64 = 8;
const DOUBLINGS: u64 = 32;
const BUCKETS: usize = (STEPS * (DOUBLINGS + 1)) as usize;

/// How often durations of each length were seen.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    total: Duration,
    longest: Duration,
}

/// What a histogram says, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, duration: Duration) {
        self.buckets[bucket(duration)] += 1;
        self.count += 1;
        self.total += duration;
        self.longest = self.longest.max(duration);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that a share of all did not pass, from 0 to 1.
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper_end(place).min(self.longest);
            }
        }
        Duration::ZERO
    }

    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count,
            mean_ms: if self.count == 0 {
                0.0
            } else {
                milliseconds(self.total) / self.count as f64
            },
            p50_ms: milliseconds(self.percentile(0.5)),
            p99_ms: milliseconds(self.percentile(0.99)),
            max_ms: milliseconds(self.longest),
        }
    }
}

/// A duration as callers are told it.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The bucket of a duration: below 8 us one for each microsecond, above that eight for each doubling.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros < STEPS {
        return micros as usize;
    }
    let doubling = u64::from(micros.ilog2()) - u64::from(STEPS.ilog2());
    let place = (doubling + 1) * STEPS + ((micros >> doubling) - STEPS);
    (place as usize).min(BUCKETS - 1)
}

/// The longest duration that belongs to a bucket.
fn upper_end(place: usize) -> Duration {
    let place = place as u64;
    if place < STEPS {
        return Duration::from_micros(place + 1);
    }
    let doubling = place / STEPS - 1;
    Duration::from_micros((place % STEPS + STEPS + 1) << doubling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_below_the_end_of_its_bucket_and_not_far_below() {
        for micros in (0..10_000).chain([65_535, 65_536, 1_000_003, 3_599_999_999]) {
            let duration = Duration::from_micros(micros);
            let end = upper_end(bucket(duration));
            assert!(end > duration, "{micros}");
            assert!(
                end <= duration + duration / 8 + Duration::from_micros(1),
                "{micros}: {end:?}"
            );
        }
    }

    #[test]
    fn percentiles_and_mean_are_those_of_the_durations_but_for_an_eighth() {
        let mut histogram = Histogram::default();
        for milliseconds in 1..=1_000 {
            histogram.add(Duration::from_millis(milliseconds));
        }
        let summary = histogram.summary();
        assert!((500.0..=563.0).contains(&summary.p50_ms), "{summary:?}");
        assert!((990.0..=1_000.0).contains(&summary.p99_ms), "{summary:?}");
        assert_eq!(
            (summary.max_ms, summary.mean_ms, summary.count),
            (1_000.0, 500.5, 1_000)
        );
    }

    #[test]
    fn nothing_seen_is_told_as_zero_and_the_longest_ever_has_a_bucket() {
        assert_eq!(Histogram::default().summary(), Summary::default());
        let mut histogram = Histogram::default();
        histogram.add(Duration::MAX / 4);
        assert_eq!(histogram.count(), 1);
    }
}
