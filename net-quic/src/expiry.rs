//! Warnings before a certificate ends: all nodes of a cluster may have been given theirs on one day.

use crate::endpoint::Shared;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long before the end an operator is warned.
const WARNINGS: [Duration; 3] = [
    Duration::from_secs(30 * DAY.as_secs()),
    Duration::from_secs(7 * DAY.as_secs()),
    DAY,
];

/// When the next warning is due, for a certificate that is valid for `left`; zero for the one that
/// is due now.
fn next(left: Duration, warned: Option<Duration>) -> Option<(Duration, Duration)> {
    let mut later = WARNINGS
        .into_iter()
        .filter(|before| warned.is_none_or(|warned| *before < warned));
    // Of several that are due only the most urgent is given.
    let due = WARNINGS.into_iter().rev().find(|before| left <= *before);
    match due {
        Some(due) if warned.is_none_or(|warned| due < warned) => Some((Duration::ZERO, due)),
        _ => later
            .find(|before| *before < left)
            .map(|before| (left - before, before)),
    }
}

/// Warns 30, 7 and 1 day before this node's own certificate ends, and after each change of it.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ends = shared.not_after.subscribe();
    let mut warned = None;
    loop {
        let not_after = *ends.borrow_and_update();
        let left = not_after
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let due = next(left, warned);
        // Clocks may be set: a day is the longest that one reading is believed.
        let wait = due.map_or(DAY, |(wait, _)| wait.min(DAY));
        if let Some((Duration::ZERO, before)) = due {
            warned = Some(before);
            tracing::warn!(
                seconds = left.as_secs(),
                "the certificate of this node ends soon: issue another and reload it"
            );
            continue;
        }
        select! {
            () = sleep_until(Instant::now() + wait) => {}
            changed = ends.changed() => match changed {
                Ok(()) => warned = None,
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When warnings are given, in days before the end, for a certificate that starts with `days`.
    fn warnings(days: u64) -> Vec<u64> {
        let (mut left, mut warned, mut given) = (DAY * days as u32, None, Vec::new());
        while let Some((wait, before)) = next(left, warned) {
            left -= wait;
            if wait.is_zero() {
                warned = Some(before);
                given.push(left.as_secs() / DAY.as_secs());
            }
        }
        given
    }

    #[test]
    fn a_certificate_is_warned_about_thirty_days_seven_days_and_a_day_before_its_end() {
        assert_eq!(warnings(90), [30, 7, 1]);
        assert_eq!(warnings(20), [20, 7, 1]);
        assert_eq!(warnings(1), [1]);
        assert_eq!(warnings(0), [0]);
    }
}
