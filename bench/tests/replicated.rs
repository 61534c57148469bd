//! Two-phase commit whose coordinator is hosted by a replicated log, under everything that the
//! simulator can do to it.

use bench::replicated::{OverMultiPaxos, OverRaft};
use consensus_core::{
    Algorithm,
    fault::FaultKind,
    sim::{Outcome, Settings, run},
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Sum {
    faults: BTreeMap<FaultKind, u64>,
    checks: BTreeMap<&'static str, u64>,
    operations: u64,
    unknown: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let fired = outcome.faults.iter();
        fired.for_each(|(kind, n)| *self.faults.entry(*kind).or_default() += n);
        let judged = outcome.checks.iter();
        judged.for_each(|(name, n)| *self.checks.entry(name).or_default() += n);
        self.operations += outcome.operations;
        self.unknown += outcome.unknown;
    }
}

/// AC1 to AC3 and one disk under all faults, then progress once a core is healed, then money that adds
/// up.
fn keeps_every_promise<A: Algorithm>(seeds: u64) {
    let mut sum = Sum::default();
    for seed in 0..seeds {
        let outcome = run::<A>(seed, &Settings::default());
        let violation = &outcome.violation;
        assert!(
            violation.is_none(),
            "seed {seed}: {violation:?}\n{}",
            outcome.drawn
        );
        sum.add(&outcome);
    }
    println!("{sum:?}");
    for kind in [
        FaultKind::Kill,
        FaultKind::Cut,
        FaultKind::Isolate,
        FaultKind::Pause,
        FaultKind::Powerloss,
    ] {
        assert!(sum.faults.contains_key(&kind), "{kind} never struck");
    }
    let answered = sum.operations - sum.unknown;
    assert!(
        answered > seeds * 20,
        "few operations were answered: {answered}"
    );
    for name in [
        "ac1_agreement",
        "ac3_validity",
        "decision_is_durable",
        "one_disk",
        "leadership_is_proven",
    ] {
        assert!(
            sum.checks.get(name).is_some_and(|n| *n > 0),
            "{name} was never judged"
        );
    }
}

#[test]
fn three_hundred_seeds_over_raft_keep_every_promise() {
    keeps_every_promise::<OverRaft>(300);
}

#[test]
fn a_hundred_seeds_over_multipaxos_keep_every_promise() {
    keeps_every_promise::<OverMultiPaxos>(100);
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_010).map(|seed| run::<OverRaft>(seed, &Settings::default()));
        outcomes
            .map(|outcome| (outcome.trace_hash, outcome.events))
            .collect()
    };
    let [first, second] = [0, 1].map(hashes);
    assert_eq!(first, second);
}

/// A planted bug: a host that writes nothing answers without proof that it still leads.
#[cfg(feature = "faults")]
#[test]
fn answering_without_proof_of_leadership_is_found() {
    use consensus_core::sim::run_with;
    const SEEDS: u64 = 100;
    let found = (0..SEEDS).find_map(|seed| {
        let plant = |options: &mut <OverRaft as Algorithm>::Options| options.unproven = true;
        let outcome = run_with::<OverRaft>(seed, &Settings::default(), &plant, None);
        Some((seed, outcome.violation?.property))
    });
    println!("{found:?}");
    assert!(found.is_some(), "it survived {SEEDS} seeds");
}
