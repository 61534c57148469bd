//! Livelock among Paxos proposers [Lamport01 §2.4], shown and cured. The rows are shapes, ours and not
//! published: run with `--nocapture` for the figures.

#![allow(clippy::unwrap_used)]

use bench::harness::virtual_time::{
    DELAY, DUEL_NODES, POLICIES, Policy, STAGED_DELAY as D, duel, staged,
};
use paxos::Backoff;
use std::time::Duration;

/// Delays after which a duel counts as undecided.
const CUTOFF: u64 = 250;

/// Each one's prepare comes between the prepare and the accept of the one before: a cycle of four
/// delays that nothing ends.
#[test]
fn three_proposers_in_step_never_decide() {
    let starts = [Duration::ZERO, D * 4 / 3, D * 8 / 3];
    for nodes in [5, 7, 9] {
        let (at, ballots) = staged(nodes, &starts, D * 2_000).unwrap();
        assert_eq!(at, None, "{nodes} nodes");
        // Each of the three begins one every four delays.
        assert!(ballots >= 3 * 2_000 / 4, "{nodes} nodes, {ballots} ballots");
    }
}

/// The second overtakes the first, whose retry comes too late to overtake the second.
#[test]
fn two_proposers_a_delay_and_a_half_apart_decide_after_five_and_a_half() {
    for nodes in [3, 5, 7, 9] {
        let (at, _) = staged(nodes, &[Duration::ZERO, D * 3 / 2], D * 2_000).unwrap();
        assert_eq!(at, Some(D * 11 / 2), "{nodes} nodes");
    }
}

/// How many of `seeds` duels were undecided at the cut-off, and attempts a duel.
fn undecided(policy: Policy, proposers: usize, seeds: u64) -> (u64, f64) {
    let verdicts: Vec<_> = (0..seeds)
        .map(|seed| duel(policy, proposers, CUTOFF, seed).unwrap())
        .collect();
    let attempts: u64 = verdicts.iter().map(|verdict| verdict.attempts).sum();
    let open = verdicts
        .iter()
        .filter(|verdict| verdict.decided.is_none())
        .count();
    (open as u64, attempts as f64 / seeds as f64)
}

#[test]
fn more_proposers_are_worse_without_a_back_off_and_exponential_back_off_always_decides() {
    const SEEDS: u64 = 30;
    println!(
        "{DUEL_NODES} nodes, all acceptors; delay {DELAY:?} ± 10 %; starts over 4 delays; cut-off \
         {CUTOFF} delays; {SEEDS} seeds: undecided, attempts a duel"
    );
    for policy in POLICIES {
        let mut before = 0;
        for proposers in [2, 3, 5, 7, 9] {
            let (open, attempts) = undecided(policy, proposers, SEEDS);
            println!(
                "{:12} {proposers} proposers: {open:2} {attempts:8.1}",
                policy.name
            );
            match policy.backoff {
                Backoff::None => {
                    assert!(
                        open >= before,
                        "{proposers} proposers decide more often than fewer"
                    );
                    if proposers >= 7 {
                        assert!(2 * open > SEEDS, "{proposers} proposers, {open} undecided");
                    }
                }
                Backoff::Exponential { .. } => assert_eq!(open, 0, "{proposers} proposers"),
                Backoff::Uniform { .. } => {}
            }
            before = open;
        }
    }
}
