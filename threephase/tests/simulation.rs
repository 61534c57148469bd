//! Three-phase commit under everything that the simulator can do to it: inside what it assumes, where
//! it must hold, and outside, where the known divergence has to be found.

use consensus_core::{
    fault::FaultKind,
    sim::{Outcome, Settings, run_with},
};
use std::collections::BTreeMap;
use threephase::{Mode, Options, ThreePhase};

fn run(seed: u64, mode: Mode, settings: &Settings) -> Outcome {
    run_with::<ThreePhase>(
        seed,
        settings,
        &|options: &mut Options| force(options, mode),
        None,
    )
}

/// Gives a drawn `mode` the bound that goes with it.
fn force(options: &mut Options, mode: Mode) {
    if options.mode != mode {
        options.mode = mode;
        options.bound = match mode {
            Mode::Classic => std::time::Duration::from_millis(1_200),
            Mode::Quorum => std::time::Duration::from_millis(60),
        };
    }
}

fn holds(mode: Mode, seeds: std::ops::Range<u64>, kinds: usize) {
    let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut events, mut operations, mut unknown) = (0, 0, 0);
    for seed in seeds {
        let outcome = run(seed, mode, &Settings::default());
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {:?}\n{}",
            outcome.violation,
            outcome.drawn
        );
        let struck = outcome.faults.iter();
        struck.for_each(|(kind, n)| *faults.entry(*kind).or_default() += n);
        let judged = outcome.checks.iter();
        judged.for_each(|(name, n)| *checks.entry(name).or_default() += n);
        events += outcome.events;
        operations += outcome.operations;
        unknown += outcome.unknown;
    }
    println!(
        "{mode:?}: {events} events, {operations} operations ({unknown} unknown), {faults:?}, {checks:?}"
    );
    assert!(faults.len() >= kinds, "few kinds really struck: {faults:?}");
    assert!(operations - unknown > 5_000, "few operations: {operations}");
    let idle: Vec<_> = checks.iter().filter(|(_, n)| **n == 0).collect();
    assert!(idle.is_empty(), "never judged: {idle:?}");
}

/// AC1 to AC5 in a synchronous network whose nodes crash and come back.
#[test]
fn classic_mode_holds_inside_its_assumptions() {
    holds(Mode::Classic, 0..250, 8);
}

#[test]
fn classic_mode_holds_inside_its_assumptions_on_more_seeds() {
    holds(Mode::Classic, 250..500, 8);
}

/// AC1 to AC5 whatever the network does.
#[test]
fn quorum_mode_holds_under_partitions_and_any_delay() {
    holds(Mode::Quorum, 0..500, 12);
}

/// TH-04: the partition that breaks three-phase commit is found, and said to be expected.
#[test]
fn partitions_divide_classic_mode_as_expected() {
    let settings = Settings {
        faults: vec![FaultKind::Cut, FaultKind::Isolate],
        ..Settings::default()
    };
    let mut divided = 0;
    for seed in 0..100 {
        let outcome = run(seed, Mode::Classic, &settings);
        assert!(
            outcome.violation.is_none(),
            "{seed}: {:?}",
            outcome.violation
        );
        divided += u64::from(outcome.expected.is_some());
    }
    println!("{divided} of 100 seeds diverge");
    assert!(divided > 0);
}

/// A bound shorter than any message takes is only a hint in quorum mode: whoever is elected waits longer
/// each time, and ends what the others left.
#[test]
fn quorum_mode_ends_although_its_bound_is_too_short() {
    let settings = Settings {
        faults: vec![FaultKind::Cut, FaultKind::Drop, FaultKind::Delay],
        ..Settings::default()
    };
    // Of these, 653 did not end while every election waited as long as the first.
    for seed in (0..20).chain([653]) {
        let hasty = |options: &mut Options| {
            force(options, Mode::Quorum);
            options.bound = std::time::Duration::from_millis(5);
            options.votes = std::time::Duration::from_millis(40);
            options.eager = true;
        };
        let outcome = run_with::<ThreePhase>(seed, &settings, &hasty, None);
        let violation = outcome.violation;
        assert!(violation.is_none(), "seed {seed}: {violation:?}");
    }
}

#[test]
fn the_same_partitions_do_not_divide_quorum_mode() {
    let settings = Settings {
        faults: vec![FaultKind::Cut, FaultKind::Isolate],
        ..Settings::default()
    };
    for seed in 0..100 {
        let outcome = run(seed, Mode::Quorum, &settings);
        assert!(
            outcome.violation.is_none(),
            "{seed}: {:?}",
            outcome.violation
        );
        assert!(outcome.expected.is_none());
    }
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_010)
            .map(|seed| consensus_core::sim::run::<ThreePhase>(seed, &Settings::default()));
        outcomes.map(|o| (o.trace_hash, o.events)).collect()
    };
    let [first, second] = [0, 1].map(hashes);
    assert_eq!(first, second);
}

/// Each planted bug breaks one rule; each has to be found within a stated number of seeds. Run by
/// `cargo test -p threephase --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use threephase::Fault;

    /// How many seeds each may survive, in the mode whose rule it breaks.
    fn bound(fault: Fault) -> (u64, Mode) {
        match fault {
            Fault::VoteBeforeDisk
            | Fault::UnloggedPreCommit
            | Fault::SilenceIsConsent
            | Fault::ReportsBeforeElected => (20, Mode::Quorum),
            // They need failures one after the other, each in the right moment: 1,500 seeds did not hit
            // them. `tests/model.rs` finds the first in every order of steps, `tests/divided.rs` shows what
            // comes of the second, and `tests/scenarios.rs` tells both.
            Fault::RecoveredDecides => (0, Mode::Classic),
            Fault::IgnoresAttempts => (0, Mode::Quorum),
        }
    }

    #[test]
    fn every_planted_bug_is_found_within_its_seeds() {
        for fault in Fault::ALL {
            let (seeds, mode) = bound(fault);
            let plant = |options: &mut Options| {
                force(options, mode);
                options.fault = Some(fault);
            };
            let found = (0..seeds).find_map(|seed| {
                let outcome = run_with::<ThreePhase>(seed, &Settings::default(), &plant, None);
                Some((seed, outcome.violation?.property))
            });
            println!("{fault:?}: {found:?}");
            assert!(
                found.is_some() || seeds == 0,
                "{fault:?} survived {seeds} seeds"
            );
        }
    }
}
