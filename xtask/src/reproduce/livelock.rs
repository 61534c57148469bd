//! Duels of Paxos proposers.

use super::measure::Measured;
use bench::harness::virtual_time::{POLICIES, STAGED_DELAY, duel as fight, staged};
use std::time::Duration;

/// Duels behind each figure.
const DUELS: u64 = 60;
/// Delays after which a duel counts as undecided.
const CUTOFF: u64 = 500;

/// `POLICY undecided|attempts`, for 2, 3, 5 and 7 proposers.
pub(super) fn duels(words: &[&str]) -> Measured {
    let [policy, what @ ("undecided" | "attempts")] = words else {
        return None;
    };
    let policy = *POLICIES.iter().find(|known| known.name == *policy)?;
    let figure = |proposers| {
        let (mut undecided, mut attempts) = (0, 0);
        for seed in 0..DUELS {
            let verdict = fight(policy, proposers, CUTOFF, seed)?;
            undecided += u64::from(verdict.decided.is_none());
            attempts += verdict.attempts;
        }
        Ok(match *what {
            "undecided" => 100.0 * undecided as f64 / DUELS as f64,
            _ => attempts as f64 / DUELS as f64,
        })
    };
    Some([2, 3, 5, 7].into_iter().map(figure).collect())
}

/// `two|three`: when a staged duel is decided, in delays.
pub(super) fn duel(words: &[&str]) -> Measured {
    let d = STAGED_DELAY;
    let starts = match words {
        ["two"] => vec![Duration::ZERO, d * 3 / 2],
        ["three"] => vec![Duration::ZERO, d * 4 / 3, d * 8 / 3],
        _ => return None,
    };
    Some(staged(5, &starts, d * 2_000).map(|(decided, _)| {
        let delays = decided.map(|at| at.as_secs_f64() / d.as_secs_f64());
        vec![delays.unwrap_or(f64::INFINITY)]
    }))
}
