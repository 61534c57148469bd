//! How long a proposer that lost its ballot waits before it tries the next: the cure for duelling
//! proposers, who can otherwise overtake each other for ever [Lamport01 §2.4].

use core::{ops::RangeInclusive, time::Duration};

/// A policy as a plain value. Gives a range; the environment draws the moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backoff {
    /// At once. Proposers of the same pace may duel for ever; for showing exactly that.
    None,
    /// Anything between the two, whatever happened before.
    Uniform {
        /// The shortest wait.
        low: Duration,
        /// The longest wait; taken as `low` when it is shorter.
        high: Duration,
    },
    /// Between nothing and `base · 2^k` after the k-th loss, `k` from 1 upwards: the range grows
    /// until it is wide enough for the number of rivals, which nobody has to know.
    Exponential {
        /// The unit; about one message delay.
        base: Duration,
        /// Where the range stops growing.
        cap: Duration,
    },
}

impl Backoff {
    /// How long to wait after the `lost`-th ballot in a row was lost, from 1 upwards.
    ///
    /// ```
    /// use core::time::Duration;
    /// let policy = paxos::Backoff::Exponential {
    ///     base: Duration::from_millis(1),
    ///     cap: Duration::from_millis(64),
    /// };
    /// assert_eq!(policy.wait(3), Duration::ZERO..=Duration::from_millis(8));
    /// assert_eq!(policy.wait(60), Duration::ZERO..=Duration::from_millis(64));
    /// ```
    #[must_use]
    pub fn wait(&self, lost: u32) -> RangeInclusive<Duration> {
        match *self {
            Self::None => Duration::ZERO..=Duration::ZERO,
            Self::Uniform { low, high } => low..=high.max(low),
            Self::Exponential { base, cap } => {
                let factor = 1u32.checked_shl(lost).unwrap_or(u32::MAX);
                Duration::ZERO..=base.saturating_mul(factor).min(cap)
            }
        }
    }
}
