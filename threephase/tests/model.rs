//! Every order of one transaction's messages, its votes, the disks and its alarms, by the production
//! code.

use consensus_core::model::{
    Bounds, Exploration, World,
    commit::{self, begin, yes},
};
use threephase::{Mode, Options, ThreePhase};

/// Decides with the first quorum, so that no alarm is spent on waiting for more.
fn options(mode: Mode) -> Options {
    Options {
        mode,
        eager: true,
        remembered_max: 0,
        ..Options::default()
    }
}

/// Nodes 1 to `nodes` take part; node 1 coordinates.
fn explore(options: &Options, nodes: u16, bounds: Bounds) -> Exploration {
    world(options, nodes, bounds).explore()
}

fn world(options: &Options, nodes: u16, bounds: Bounds) -> World<ThreePhase> {
    let all: Vec<_> = (1..=nodes).collect();
    let mut requests = vec![begin(1, &all)];
    requests.extend(all.iter().map(|node| yes(*node)));
    commit::world(options, nodes, bounds, &requests).expect("the options fit")
}

const CALM: Bounds = Bounds {
    crashes: 0,
    alarms: 1,
    reclaims: 0,
    messages: usize::MAX,
    repeats: 0,
    transitions: 3_000_000,
};

/// Three sites, messages in any order and late at will, four of them under way at most, and an election
/// at any moment.
#[test]
fn a_quorum_of_three_has_one_outcome_through_an_election() {
    let bounds = Bounds {
        messages: 4,
        transitions: 5_000_000,
        ..CALM
    };
    let found = explore(&options(Mode::Quorum), 3, bounds);
    eprintln!("quorum of three: {found}");
    assert!(found.counterexample.is_none(), "{found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 10_000, "{found}");
}

/// Two sites, and one of them crashes.
#[test]
fn a_quorum_of_two_has_one_outcome_through_a_crash() {
    let bounds = Bounds { crashes: 1, ..CALM };
    let found = explore(&options(Mode::Quorum), 2, bounds);
    eprintln!("quorum of two: {found}");
    assert!(found.counterexample.is_none(), "{found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 1_000, "{found}");
}

/// Inside the assumptions of classic mode: nobody runs out of patience while the others live.
#[test]
fn classic_mode_has_one_outcome_while_nobody_is_silent() {
    let bounds = Bounds { alarms: 0, ..CALM };
    let found = explore(&options(Mode::Classic), 3, bounds);
    eprintln!("classic: {found}");
    assert!(found.counterexample.is_none(), "{found}");
    assert!(found.exhausted, "{found}");
    assert_eq!(found.unreached, ["aborted"]);
    assert!(found.states > 100, "{found}");
}

/// Inside them too, with what they are about: a node crashes at any point, its disk keeps any prefix, and
/// alarms go off when nothing else can happen; it comes back at any point of what follows.
#[test]
fn classic_mode_has_one_outcome_through_a_crash_that_is_noticed_in_time() {
    for (nodes, alarms) in [(2, 3), (3, 3)] {
        let bounds = Bounds {
            crashes: 1,
            alarms,
            ..CALM
        };
        let found = world(&options(Mode::Classic), nodes, bounds)
            .synchronous()
            .explore();
        eprintln!("classic, synchronous, {nodes} sites: {found}");
        assert!(found.counterexample.is_none(), "{found}");
        assert!(found.exhausted && found.unreached.is_empty(), "{found}");
        assert!(found.states > 1_000, "{found}");
    }
}

/// Outside them, TH-04: alarms although the others live, and two of them divide it.
#[test]
fn classic_mode_divides_when_the_living_are_taken_for_failed() {
    // The coordinator's patience with node 2; node 2's with the coordinator, twice.
    let bounds = Bounds { alarms: 3, ..CALM };
    let found = explore(&options(Mode::Classic), 2, bounds);
    eprintln!("classic, impatient: {found}");
    let counterexample = found.counterexample.as_ref().expect("it divides");
    assert!(
        format!("{counterexample:?}").contains("ac1_agreement"),
        "{found}"
    );
}

/// Each planted bug breaks one rule; each has to be found. Run by
/// `cargo test -p threephase --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use threephase::Fault;

    #[track_caller]
    fn finds(fault: Fault, mode: Mode, nodes: u16, bounds: Bounds) {
        let options = Options {
            fault: Some(fault),
            ..options(mode)
        };
        let found = explore(&options, nodes, bounds);
        eprintln!("{fault:?}: {found}");
        assert!(found.counterexample.is_some(), "{fault:?}: {found}");
    }

    #[test]
    fn a_yes_before_the_disk_is_found() {
        finds(Fault::VoteBeforeDisk, Mode::Classic, 2, CALM);
    }

    #[test]
    fn a_pre_commit_acknowledged_before_the_disk_is_found() {
        finds(Fault::UnloggedPreCommit, Mode::Classic, 2, CALM);
    }

    #[test]
    fn consent_taken_from_silence_is_found() {
        finds(Fault::SilenceIsConsent, Mode::Quorum, 3, CALM);
    }

    /// TH-09: two sites, and the one that comes back decides by what it had been.
    #[test]
    fn a_recovered_site_that_decides_alone_is_found() {
        let options = Options {
            fault: Some(Fault::RecoveredDecides),
            ..options(Mode::Classic)
        };
        let bounds = Bounds {
            crashes: 2,
            alarms: 4,
            ..CALM
        };
        let found = world(&options, 2, bounds).synchronous().explore();
        eprintln!("RecoveredDecides: {found}");
        assert!(found.counterexample.is_some(), "{found}");
    }

    /// TH-16.
    #[test]
    fn a_report_before_the_election_is_stored_is_found() {
        finds(Fault::ReportsBeforeElected, Mode::Quorum, 3, CALM);
    }
}
