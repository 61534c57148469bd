//! Paxos under everything that the simulator can do to it.

use consensus_core::{
    fault::FaultKind,
    sim::{Outcome, Settings, replay, run, run_with},
};
use paxos::Paxos;
use std::collections::BTreeMap;

fn said(outcome: &Outcome) -> String {
    let line = replay("paxos", outcome.seed, &Settings::default());
    format!("{:?}\nreplay with: {line}", outcome.violation)
}

/// Safety under faults, then progress of the healed core, then a linearizable history: every seed.
#[test]
fn three_hundred_seeds_keep_every_promise() {
    let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut events, mut operations, mut unknown) = (0, 0, 0);
    for seed in 0..300 {
        let outcome = run::<Paxos>(seed, &Settings::default());
        assert!(outcome.violation.is_none(), "{}", said(&outcome));
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
        let outcomes = (1_000..1_020).map(|seed| run::<Paxos>(seed, &Settings::default()));
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

/// Keeping a trace for people does not change a run.
#[test]
fn looking_does_not_disturb() {
    let seen = Settings {
        trace: true,
        ..Settings::default()
    };
    for seed in 0..5 {
        let (with, without) = (
            run::<Paxos>(seed, &seen),
            run::<Paxos>(seed, &Settings::default()),
        );
        assert_eq!(with.trace_hash, without.trace_hash);
        assert!(!with.trace.is_empty() && without.trace.is_empty());
    }
}

/// A wrong configuration is a violation and not a panic.
#[test]
fn options_that_do_not_fit_are_reported() {
    let settings = Settings {
        nodes: Some(4),
        ..Settings::default()
    };
    let adjust = |options: &mut paxos::Options| {
        (options.phase1, options.phase2) = (Some(2), Some(2));
    };
    let violation = run_with::<Paxos>(1, &settings, &adjust, None).violation;
    assert_eq!(
        violation.map(|violation| violation.property),
        Some("configuration")
    );
}

#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use consensus_core::sim::minimise;
    use paxos::Fault;

    /// How many seeds each planted bug may survive, under which faults.
    fn bound(fault: Fault) -> (u64, Settings) {
        let seeds = match fault {
            Fault::PromiseBeforeDisk | Fault::WrongEarly | Fault::ReadUnchosen => 20,
            Fault::AcceptedBeforeDisk => 50,
            Fault::LearnerMixesBallots
            | Fault::WrongPromiseValue
            | Fault::AcceptDoesNotRaisePromise => 200,
            // The proposer must die with its own promise unsynced after one acceptor took its
            // value, and ask again while the instance is open: only where disks are slow and
            // messages scarce.
            Fault::BallotReused => {
                let faults = FaultKind::list("slowdisk,lost,drop,mute").expect("known kinds");
                let settings = Settings {
                    nodes: Some(3),
                    faults,
                    ..Settings::default()
                };
                return (1_500, settings);
            }
        };
        (seeds, Settings::default())
    }

    #[test]
    fn every_planted_bug_is_found_within_its_seeds() {
        for fault in Fault::ALL {
            let (seeds, settings) = bound(fault);
            let plant = |options: &mut paxos::Options| options.fault = Some(fault);
            let found = (0..seeds).find_map(|seed| {
                let outcome = run_with::<Paxos>(seed, &settings, &plant, None);
                outcome
                    .violation
                    .map(|violation| (seed, violation.property))
            });
            println!("{fault:?}: {found:?}");
            assert!(found.is_some(), "{fault:?} survived {seeds} seeds");
        }
    }

    #[test]
    fn a_failing_seed_is_shrunk_and_replayed_by_one_line() {
        let plant = |options: &mut paxos::Options| options.fault = Some(Fault::WrongPromiseValue);
        let again = |seed, settings: &Settings| run_with::<Paxos>(seed, settings, &plant, None);
        let failing = (0..200).map(|seed| again(seed, &Settings::default()));
        let first = failing
            .into_iter()
            .find(|o| o.violation.is_some())
            .expect("a bug is planted");
        let minimal = minimise(&Settings::default(), &|settings| {
            again(first.seed, settings)
        })
        .expect("the seed fails again");
        let line = minimal.replay("paxos");
        println!(
            "{line}\n{} runs, {} events instead of {}",
            minimal.tried, minimal.outcome.events, first.events
        );
        let property = |outcome: &Outcome| outcome.violation.as_ref().map(|v| v.property);
        assert_eq!(property(&minimal.outcome), property(&first));
        assert!(minimal.outcome.events <= first.events);
        assert!(minimal.settings.faults.len() < 12, "{line}");
        assert!(
            line.starts_with("cargo xtask sim --algorithm paxos --seed "),
            "{line}"
        );
        assert!(!minimal.outcome.trace.is_empty());
    }
}
