//! How long service was away after a fault.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Not yet.
const NEVER: u64 = u64::MAX;

/// For each fault, when it struck and when an operation that began after that was done. Moments are
/// since the start of the run.
pub(crate) struct Outages(Vec<Outage>);

struct Outage {
    struck: AtomicU64,
    back: AtomicU64,
}

impl Outages {
    /// Nothing has struck.
    pub(crate) fn new(faults: usize) -> Self {
        let outage = |_| Outage {
            struck: AtomicU64::new(NEVER),
            back: AtomicU64::new(NEVER),
        };
        Self((0..faults).map(outage).collect())
    }

    /// A fault has struck.
    pub(crate) fn struck(&self, fault: usize, at: Duration) {
        self.0[fault].struck.store(nanos(at), Relaxed);
    }

    /// An operation is done.
    pub(crate) fn done(&self, started: Duration, ended: Duration) {
        for outage in &self.0 {
            if nanos(started) >= outage.struck.load(Relaxed) {
                outage.back.fetch_min(nanos(ended), Relaxed);
            }
        }
    }

    /// Whether service has come back since a fault.
    pub(crate) fn is_back(&self, fault: usize) -> bool {
        self.0[fault].back.load(Relaxed) != NEVER
    }

    /// From the fault until service came back; none when it never did.
    pub(crate) fn lasted(&self, fault: usize) -> Option<Duration> {
        let back = self.0[fault].back.load(Relaxed);
        let struck = self.0[fault].struck.load(Relaxed);
        (back != NEVER).then(|| Duration::from_nanos(back.saturating_sub(struck)))
    }
}

fn nanos(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn only_what_began_after_a_fault_ends_its_outage() {
        let outages = Outages::new(2);
        outages.done(ms(1), ms(2));
        outages.struck(0, ms(10));
        outages.done(ms(9), ms(11));
        assert_eq!(outages.lasted(0), None);
        outages.done(ms(50), ms(60));
        outages.done(ms(40), ms(55));
        outages.done(ms(70), ms(80));
        assert_eq!(outages.lasted(0), Some(ms(45)));
        assert!(outages.is_back(0) && !outages.is_back(1));
        assert_eq!(outages.lasted(1), None);
    }
}
