//! Raft under everything that the simulator can do to it.

use consensus_core::{
    fault::FaultKind,
    service::Unrest,
    sim::{Outcome, Settings, run, run_with},
};
use raft::Raft;
use std::collections::BTreeMap;

fn replay(outcome: &Outcome) -> String {
    format!(
        "{:?}\nreplay with: cargo xtask sim --algorithm raft --seed {}",
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
        let outcome = run::<Raft>(seed, &Settings::default());
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
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
        snapshots.0 += outcome.snapshots.0;
        snapshots.1 += outcome.snapshots.1;
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
    assert!(
        snapshots.0 > 1_000 && snapshots.1 > 30,
        "few snapshots: {snapshots:?}"
    );
    let idle: Vec<_> = checks.iter().filter(|(_, n)| **n == 0).collect();
    assert!(idle.is_empty(), "never judged: {idle:?}");
}

/// What the seeds draw is really done: members change, leadership is handed over, snapshots are kept and
/// received, and reads are answered.
#[test]
fn members_change_leaders_hand_over_and_reads_are_answered() {
    let traced = Settings {
        trace: true,
        ..Settings::default()
    };
    let words = [
        "Append { run: [", // with `Membership` behind it
        "MembersChanged",
        "TimeoutNow",
        "Restore(",
        "ReadReady",
        "ReadIndexed", // at nodes that do not lead
    ];
    let mut counts = [0_u64; 6];
    for seed in 0..40 {
        let outcome = run::<Raft>(seed, &traced);
        assert!(outcome.violation.is_none(), "{}", replay(&outcome));
        for line in outcome.trace.iter().map(ToString::to_string) {
            for (count, word) in counts.iter_mut().zip(words) {
                let appends = word.starts_with("Append") && !line.contains(" Membership ");
                *count += u64::from(line.contains(word) && !appends);
            }
        }
    }
    println!("40 seeds: {words:?} {counts:?}");
    assert!(
        counts.iter().all(|count| *count > 40),
        "{words:?} {counts:?}"
    );
}

/// Voters come and go, one at a time and jointly. The core that is healed in the end may be no quorum
/// of those that are left, so progress is not owed; everything else is.
#[test]
fn members_and_leaders_may_change_under_faults() {
    let restless = |options: &mut raft::Options| {
        options.unrest = Unrest {
            every: 7,
            voters: true,
        };
    };
    let mut alive = 0;
    for seed in 0..200 {
        let outcome = run_with::<Raft>(seed, &Settings::default(), &restless, None);
        match &outcome.violation {
            None => alive += 1,
            Some(violation) => assert_eq!(violation.property, "liveness", "{}", replay(&outcome)),
        }
    }
    println!("{alive} of 200 healed cores were a quorum");
    assert!(alive > 50, "hardly anything was done: {alive}");
}

/// Nothing is kept for those who are behind: they need snapshots.
#[test]
fn nodes_that_fall_behind_catch_up_by_snapshots() {
    let forgetful = |options: &mut raft::Options| {
        (options.snapshot_bytes, options.keep_bytes) = (60, 0);
    };
    let mut snapshots = (0, 0);
    for seed in 0..100 {
        let outcome = run_with::<Raft>(seed, &Settings::default(), &forgetful, None);
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

/// Without the quorum check a leader that hears nobody stays leader for as long as it is heard, so
/// progress is only owed where links work in both directions or in none.
#[test]
fn without_the_quorum_check_safety_holds() {
    let unchecked = |options: &mut raft::Options| {
        (options.check_quorum, options.lease_percent) = (false, None);
    };
    for seed in 0..100 {
        let outcome = run_with::<Raft>(seed, &Settings::default(), &unchecked, None);
        if let Some(violation) = &outcome.violation {
            assert_eq!(violation.property, "liveness", "{}", replay(&outcome));
        }
    }
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_020).map(|seed| run::<Raft>(seed, &Settings::default()));
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
    use raft::Fault;

    /// How many seeds each planted bug may survive. The others need an order of events that is rare
    /// at random, and that scenarios tell.
    const BOUNDS: [(Fault, u64); 8] = [
        (Fault::VoteBeforeDisk, 200),
        (Fault::TermAndVoteApart, 20),
        (Fault::OwnAckBeforeSync, 20),
        (Fault::CountsOldTerms, 300),
        (Fault::ShorterAppendTruncates, 20),
        (Fault::CommitsUnverified, 60),
        (Fault::ReadBeforeOwnCommit, 150),
        (Fault::AnswersUnconfirmed, 150),
    ];

    #[test]
    fn planted_bugs_are_found_within_their_seeds() {
        let mut survived = Vec::new();
        for (fault, seeds) in BOUNDS {
            let plant = |options: &mut raft::Options| {
                options.fault = Some(fault);
            };
            let found = (0..seeds).find_map(|seed| {
                let outcome = run_with::<Raft>(seed, &Settings::default(), &plant, None);
                let violation = outcome.violation?;
                (violation.property != "liveness").then_some((seed, violation.property))
            });
            println!("{fault:?}: {found:?}");
            if found.is_none() {
                survived.push(fault);
            }
        }
        assert!(survived.is_empty(), "{survived:?} survived their seeds");
    }
}
