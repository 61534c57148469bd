//! Two-phase commit under everything that the simulator can do to it.

use consensus_core::{
    fault::FaultKind,
    sim::{Outcome, Settings, run},
};
use std::collections::BTreeMap;
use twophase::TwoPhase;

fn replay(outcome: &Outcome) -> String {
    format!(
        "{:?}\nreplay with: cargo xtask sim --algorithm twophase --seed {}",
        outcome.violation, outcome.seed
    )
}

/// TP-28: safety under faults, then progress of the healed core, then money and outcomes that add up: every
/// seed.
#[test]
fn tp28_three_hundred_seeds_keep_every_promise() {
    let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut events, mut operations, mut unknown) = (0, 0, 0);
    for seed in 0..300 {
        let outcome = run::<TwoPhase>(seed, &Settings::default());
        assert!(
            outcome.violation.is_none(),
            "{}\n{}",
            replay(&outcome),
            outcome.drawn
        );
        outcome
            .faults
            .iter()
            .for_each(|(kind, n)| *faults.entry(*kind).or_default() += n);
        outcome
            .checks
            .iter()
            .for_each(|(name, n)| *checks.entry(name).or_default() += n);
        events += outcome.events;
        operations += outcome.operations;
        unknown += outcome.unknown;
    }
    println!(
        "{events} events, {operations} operations ({unknown} unknown), {faults:?}, {checks:?}"
    );
    assert!(
        faults.len() >= 12,
        "few kinds of fault really struck: {faults:?}"
    );
    assert!(
        operations - unknown > 10_000,
        "few operations were answered: {operations}"
    );
    let idle: Vec<_> = checks.iter().filter(|(_, n)| **n == 0).collect();
    assert!(idle.is_empty(), "never judged: {idle:?}");
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_020).map(|seed| run::<TwoPhase>(seed, &Settings::default()));
        outcomes
            .map(|outcome| (outcome.trace_hash, outcome.events))
            .collect()
    };
    let [first, second] = [0, 1].map(hashes);
    assert_eq!(first, second);
    let mut different = first.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(
        different.len(),
        first.len(),
        "different seeds took the same steps"
    );
}

#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use consensus_core::sim::run_with;
    use twophase::{Fault, Options, Presumption};

    /// How many seeds each planted bug may survive, and under which presumption it shows.
    fn bound(fault: Fault) -> (u64, Option<Presumption>) {
        match fault {
            Fault::VoteBeforeDisk
            | Fault::CommitBeforeDisk
            | Fault::WrongEarly
            | Fault::ForgetsEarly
            | Fault::InDoubtTimesOut
            | Fault::SilenceIsConsent => (20, None),
            Fault::IdReused => (50, None),
            Fault::AmnesiacVoter => (200, None),
            Fault::LatePrepare => (200, Some(Presumption::Commit)),
            // No client of the simulator asks later: `tests/scenarios.rs` does.
            Fault::PresumesForClients => (0, None),
        }
    }

    #[test]
    fn every_planted_bug_is_found_within_its_seeds() {
        for fault in Fault::ALL {
            let (seeds, presumption) = bound(fault);
            let plant = |options: &mut Options| {
                options.fault = Some(fault);
                options.presumption = presumption.unwrap_or(options.presumption);
            };
            let found = (0..seeds).find_map(|seed| {
                let outcome = run_with::<TwoPhase>(seed, &Settings::default(), &plant, None);
                let violation = outcome.violation?;
                Some((seed, violation.property))
            });
            println!("{fault:?}: {found:?}");
            assert!(
                found.is_some() || seeds == 0,
                "{fault:?} survived {seeds} seeds"
            );
        }
    }
}
