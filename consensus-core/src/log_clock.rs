//! Time as a log counts it: for leases, sessions and whatever else a replicated state must forget.

use crate::{DecodeError, Decoder, Epoch, Field};
use alloc::vec::Vec;
use core::time::Duration;

/// What a leader says in the log: for how long it has led.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tick {
    /// Under which authority.
    pub epoch: Epoch,
    /// Milliseconds since this leader first knew that it led under it.
    pub led: u64,
}

impl Field for Tick {
    fn put(&self, out: &mut Vec<u8>) {
        let [round, owner] = self.epoch.to_words();
        [round, owner, self.led].iter().for_each(|n| n.put(out));
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let words = [u64::take(input)?, u64::take(input)?];
        Ok(Self {
            epoch: Epoch::from_words(words),
            led: u64::take(input)?,
        })
    }
}

/// A clock that moves by what leaders say, so that all replicas agree on what time it is.
///
/// It never runs ahead of time: each leader counts from when it knew that it led, what it says counts
/// once however often it stands in the log, and whoever has been succeeded counts for nothing. Between
/// two leaders it stands still, so a lease may last longer than was promised and, as far as the
/// leaders' own clocks keep time, never shorter.
///
/// ```
/// use consensus_core::{Epoch, LogClock, Tick};
/// # use std::time::Duration;
/// let mut clock = LogClock::default();
/// let led = |term, led| Tick { epoch: Epoch::of_term(term), led };
/// clock.hear(led(1, 0));
/// clock.hear(led(1, 300));
/// clock.hear(led(1, 300)); // said again, because the answer was lost
/// clock.hear(led(2, 0));
/// clock.hear(led(1, 900)); // by a leader of the past
/// clock.hear(led(2, 50));
/// assert_eq!(clock.now(), Duration::from_millis(350));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LogClock {
    now: u64,
    last: Tick,
}

impl Default for LogClock {
    fn default() -> Self {
        let last = Tick {
            epoch: Epoch::ZERO,
            led: 0,
        };
        Self { now: 0, last }
    }
}

impl LogClock {
    /// An entry of the log: called where it is applied.
    pub fn hear(&mut self, tick: Tick) {
        // What a leader has counted before its first word may have been counted by the one before.
        if tick.epoch > self.last.epoch {
            self.last = tick;
        } else if tick.epoch == self.last.epoch && tick.led > self.last.led {
            self.now += tick.led - self.last.led;
            self.last = tick;
        }
    }

    /// Since the log began, without the time in which nobody led.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_millis(self.now)
    }
}

impl Field for LogClock {
    fn put(&self, out: &mut Vec<u8>) {
        self.now.put(out);
        self.last.put(out);
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            now: u64::take(input)?,
            last: Tick::take(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(ticks: &[(u64, u64)]) -> Duration {
        let mut clock = LogClock::default();
        for (term, led) in ticks {
            let (epoch, led) = (Epoch::of_term(*term), *led);
            clock.hear(Tick { epoch, led });
        }
        clock.now()
    }

    #[test]
    fn what_is_said_twice_or_out_of_order_counts_once() {
        let ms = Duration::from_millis;
        assert_eq!(hear(&[(1, 0), (1, 5), (1, 5), (1, 3), (1, 9)]), ms(9));
    }

    /// A leader was stopped, another led meanwhile, and the first one's word comes late.
    #[test]
    fn two_leaders_never_count_the_same_time() {
        let ms = Duration::from_millis;
        assert_eq!(hear(&[(1, 0), (1, 10), (2, 0), (1, 90), (2, 70)]), ms(80));
        assert_eq!(hear(&[(1, 0), (2, 100), (2, 130)]), ms(30));
    }

    #[test]
    fn a_clock_survives_a_snapshot() {
        let mut clock = LogClock::default();
        for (term, led) in [(3, 0), (3, 70), (u64::MAX, 2)] {
            let epoch = Epoch::of_term(term);
            clock.hear(Tick { epoch, led });
        }
        let mut bytes = Vec::new();
        clock.put(&mut bytes);
        assert_eq!(LogClock::take(&mut Decoder::new(bytes.into())), Ok(clock));
    }
}
