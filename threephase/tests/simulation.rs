//! Three-phase commit under partitions: classic mode diverges, as is known, and quorum mode does not.

use consensus_core::{
    fault::FaultKind,
    sim::{Outcome, Settings, run_with},
};
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

/// CONTRACTS, TH-04: the partition that breaks three-phase commit is found, and said to be expected.
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
