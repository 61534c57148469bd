//! Multi-Paxos under everything that the simulator can do to it.

use consensus_core::{
    fault::FaultKind,
    service::Unrest,
    sim::{Outcome, Settings, run, run_with},
};
use multipaxos::MultiPaxos;
use std::{collections::BTreeMap, time::Duration};

fn replay(outcome: &Outcome) -> String {
    format!(
        "{:?}\nreplay with: cargo xtask sim --algorithm multipaxos --seed {}",
        outcome.violation, outcome.seed
    )
}

/// Safety under faults, then progress of the healed core, then a linearizable history: every seed.
#[test]
fn three_hundred_seeds_keep_every_promise() {
    let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut events, mut operations, mut unknown) = (0, 0, 0);
    let mut snapshots = (0, 0);
    for seed in 0..300 {
        let outcome = run::<MultiPaxos>(seed, &Settings::default());
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
        outcome
            .faults
            .iter()
            .for_each(|(kind, n)| *faults.entry(*kind).or_default() += n);
        outcome
            .checks
            .iter()
            .for_each(|(name, n)| *checks.entry(name).or_default() += n);
        snapshots.0 += outcome.snapshots.0;
        snapshots.1 += outcome.snapshots.1;
        events += outcome.events;
        operations += outcome.operations;
        unknown += outcome.unknown;
    }
    println!(
        "{events} events, {operations} operations ({unknown} unknown), {snapshots:?} snapshots kept and received, {faults:?}, {checks:?}"
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

fn restless(options: &mut multipaxos::Options) {
    options.unrest = Unrest {
        every: 7,
        voters: true,
    };
    options.alpha = 2 + options.alpha % 30;
}

/// Voters come and go all the time, several at once, and learners with them. Everybody is healed in
/// the end, so that progress is owed whoever votes by then.
#[test]
fn members_and_leaders_may_change_under_faults() {
    for seed in 0..500 {
        let outcome = run_with::<MultiPaxos>(seed, &Settings::default(), &restless, None);
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
    }
}

/// A leader without a quorum notices within three and a half rounds, and others campaign after two: what
/// keeps its reads fresh in between is the lease, which lasts for so many half rounds.
fn leased(options: &mut multipaxos::Options, halves: u32) {
    options.heartbeat = Duration::from_millis(100);
    options.campaign = Duration::ZERO..=Duration::from_millis(5);
    options.lease = Some(options.heartbeat * halves / 2);
}

/// Clocks run too fast and too slow, as far as leases allow for, nodes pause, links fail and leaders
/// change: no read from a lease is stale.
#[test]
fn reads_from_a_lease_are_fresh_while_clocks_are_off() {
    let settings = Settings {
        faults: vec![
            FaultKind::Skew,
            FaultKind::Pause,
            FaultKind::Isolate,
            FaultKind::Mute,
            FaultKind::Kill,
        ],
        ..Settings::default()
    };
    let mut skewed = 0;
    for seed in 0..150 {
        let leased = |options: &mut multipaxos::Options| leased(options, 4 + seed as u32 % 20);
        let outcome = run_with::<MultiPaxos>(seed, &settings, &leased, None);
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
        skewed += outcome.faults.get(&FaultKind::Skew).copied().unwrap_or(0);
    }
    assert!(skewed > 300, "few clocks were off: {skewed}");
}

/// Nothing is kept for those who are behind: they need snapshots.
#[test]
fn replicas_that_fall_behind_catch_up_by_snapshots() {
    let forgetful = |options: &mut multipaxos::Options| {
        (options.snapshot_bytes, options.keep_bytes) = (60, 0);
    };
    let mut snapshots = (0, 0);
    for seed in 0..100 {
        let outcome = run_with::<MultiPaxos>(seed, &Settings::default(), &forgetful, None);
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
        snapshots.0 += outcome.snapshots.0;
        snapshots.1 += outcome.snapshots.1;
    }
    println!("{snapshots:?} snapshots kept and received");
    assert!(
        snapshots.0 > 1_000 && snapshots.1 > 60,
        "few snapshots: {snapshots:?}"
    );
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_020).map(|seed| run::<MultiPaxos>(seed, &Settings::default()));
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
    use multipaxos::{Fault, Options};

    /// How many seeds each planted bug may survive. A late acceptance has to arrive when its receiver
    /// leads again and somebody else's value has taken the slot meanwhile: that is left to the model
    /// checker, which finds it (`tests/model.rs`). A stale read needs a leader that is asked
    /// between its successor's first write and the moment at which it notices that it hears nobody:
    /// leases are left to their scenarios (`testdata/mp10_*`), for it takes about 700 seeds.
    const fn bound(fault: Fault) -> Option<u64> {
        match fault {
            Fault::PromiseBeforeDisk => Some(20),
            Fault::TrimmedSaysNothing | Fault::ChosenUnverified => Some(300),
            Fault::OnePromiseForAll | Fault::HoleFilledWithCommand => Some(1_000),
            Fault::ChangeInForceAtOnce | Fault::NewGroupNotAsked => Some(1_000),
            Fault::LateAcceptances | Fault::LeaseNotKept | Fault::LeaseWithoutBound => None,
        }
    }

    #[test]
    fn every_planted_bug_is_found_within_its_seeds() {
        for fault in Fault::ALL {
            let Some(seeds) = bound(fault) else {
                continue;
            };
            let changes = matches!(fault, Fault::ChangeInForceAtOnce | Fault::NewGroupNotAsked);
            let plant = |options: &mut Options| {
                options.fault = Some(fault);
                if changes {
                    restless(options);
                }
            };
            let found = (0..seeds).find_map(|seed| {
                let outcome = run_with::<MultiPaxos>(seed, &Settings::default(), &plant, None);
                outcome
                    .violation
                    .map(|violation| (seed, violation.property))
            });
            println!("{fault:?}: {found:?}");
            assert!(found.is_some(), "{fault:?} survived {seeds} seeds");
        }
    }
}
