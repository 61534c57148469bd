//! The node's clock and dice: the only time and the only chance that a real node's protocol sees.

use crate::Time;
use core::{ops::RangeInclusive, time::Duration};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::time::Instant;

/// Nanoseconds since a node's start, from tokio's clock, so that tests may pause it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    #[inline]
    pub(super) fn now(self) -> Time {
        let passed = self.start.elapsed().as_nanos();
        Time::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// A moment of tokio's clock on this one.
    pub(super) fn time(self, instant: Instant) -> Time {
        let passed = instant.saturating_duration_since(self.start).as_nanos();
        Time::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The moment on tokio's clock, for sleeping.
    pub(super) fn instant(self, time: Time) -> Instant {
        self.start + time.since(Time::ZERO)
    }
}

/// Draws the moments of alarms.
#[derive(Debug)]
pub(super) struct Dice(Pcg64Mcg);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A span within `range`; its start when the range is empty.
    pub(super) fn span(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let nanos = |span: &Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (least, most) = (nanos(range.start()), nanos(range.end()));
        if least >= most {
            return *range.start();
        }
        Duration::from_nanos(self.0.random_range(least..=most))
    }
}
