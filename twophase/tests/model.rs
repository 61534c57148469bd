//! Every order of one transaction's messages, its votes, the disks and a crash, by the production code.

use consensus_core::{
    NodeId,
    contract::atomic_commit::Request,
    model::{
        Bounds, Exploration,
        commit::{begin, done, no, world, yes},
    },
};
use twophase::{Options, Presumption, TwoPhase};

fn options(presumption: Presumption) -> Options {
    Options {
        presumption,
        remembered_max: 0,
        vote_rounds: 1,
        ..Options::default()
    }
}

/// A cluster whose coordinator is node 1.
fn explore(
    options: &Options,
    nodes: u16,
    bounds: Bounds,
    requests: &[(NodeId, Request)],
) -> Exploration {
    let world = world::<TwoPhase>(options, nodes, bounds, requests);
    world.expect("the options fit").explore()
}

const PRESUMPTIONS: [Presumption; 3] = [
    Presumption::Abort,
    Presumption::Commit,
    Presumption::Nothing,
];

const CRASH: Bounds = Bounds {
    crashes: 1,
    alarms: 1,
    reclaims: 0,
    messages: usize::MAX,
    repeats: 0,
    transitions: 3_000_000,
};

/// Two participants, a crash of anybody at any point, an alarm of anybody.
#[test]
fn one_outcome_through_a_crash_and_an_alarm() {
    for presumption in PRESUMPTIONS {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2), done(2)];
        let found = explore(&options(presumption), 2, CRASH, &requests);
        eprintln!("{presumption:?}: {found}");
        assert!(found.exhausted && found.unreached.is_empty(), "{found}");
        assert!(found.states > 1_000, "{found}");
    }
}

/// Two participants besides the coordinator, and nobody crashes.
#[test]
fn one_outcome_among_three() {
    for presumption in PRESUMPTIONS {
        let bounds = Bounds {
            crashes: 0,
            ..CRASH
        };
        let requests = [begin(1, &[2, 3]), yes(2), yes(3)];
        let found = explore(&options(presumption), 3, bounds, &requests);
        eprintln!("{presumption:?}: {found}");
        assert!(found.exhausted && found.unreached.is_empty(), "{found}");
        assert!(found.states > 1_000, "{found}");
    }
}

/// One participant votes no, and messages repeat.
#[test]
fn a_no_aborts_although_messages_repeat_and_a_node_crashes() {
    for presumption in PRESUMPTIONS {
        let bounds = Bounds {
            alarms: 0,
            repeats: 1,
            ..CRASH
        };
        let requests = [begin(1, &[1, 2]), yes(1), no(2)];
        let found = explore(&options(presumption), 2, bounds, &requests);
        eprintln!("{presumption:?}: {found}");
        assert!(found.exhausted, "{found}");
        assert_eq!(found.unreached, ["committed"]);
        assert!(found.states > 500, "{found}");
    }
}

/// A log is written anew before a crash.
#[test]
fn one_outcome_although_a_log_is_written_anew() {
    for presumption in PRESUMPTIONS {
        let bounds = Bounds {
            alarms: 0,
            reclaims: 1,
            ..CRASH
        };
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        let found = explore(&options(presumption), 2, bounds, &requests);
        eprintln!("{presumption:?}: {found}");
        assert!(found.exhausted && found.unreached.is_empty(), "{found}");
        assert!(found.states > 1_000, "{found}");
    }
}

/// The only participant decides, and its coordinator hears of it in the end: although messages repeat,
/// or the participant writes its log anew.
#[test]
fn one_phase_has_one_outcome_through_a_crash() {
    for (repeats, reclaims) in [(1, 0), (0, 1)] {
        let bounds = Bounds {
            repeats,
            reclaims,
            ..CRASH
        };
        let requests = [begin(1, &[2]), yes(2), done(2)];
        let found = explore(&options(Presumption::Abort), 2, bounds, &requests);
        eprintln!("one phase: {found}");
        assert!(found.exhausted, "{found}");
        assert_eq!(found.unreached, ["aborted"]);
        assert!(found.states > 200, "{found}");
    }
}

/// Each planted bug breaks one rule; each has to be found. Run by
/// `cargo test -p twophase --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use consensus_core::model::commit::T;
    use twophase::Fault;

    #[track_caller]
    fn finds(
        fault: Fault,
        presumption: Presumption,
        bounds: Bounds,
        requests: &[(NodeId, Request)],
    ) {
        let options = Options {
            fault: Some(fault),
            ..options(presumption)
        };
        let last = requests.iter().map(|(node, _)| node.0).max();
        let nodes = last.unwrap_or_default();
        let found = explore(&options, nodes, bounds, requests);
        eprintln!("{fault:?}: {found}");
        assert!(found.counterexample.is_some(), "{fault:?}: {found}");
    }

    #[test]
    fn a_yes_before_the_disk_is_found() {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        finds(Fault::VoteBeforeDisk, Presumption::Abort, CRASH, &requests);
    }

    #[test]
    fn a_commit_before_the_disk_is_found() {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        finds(
            Fault::CommitBeforeDisk,
            Presumption::Abort,
            CRASH,
            &requests,
        );
    }

    #[test]
    fn a_wrong_reason_to_overtake_the_disk_is_found() {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        finds(Fault::WrongEarly, Presumption::Abort, CRASH, &requests);
    }

    #[test]
    fn consent_taken_from_silence_is_found() {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        finds(
            Fault::SilenceIsConsent,
            Presumption::Abort,
            CRASH,
            &requests,
        );
    }

    #[test]
    fn a_commit_forgotten_early_is_found() {
        let requests = [begin(1, &[2, 3]), yes(2), yes(3), done(2)];
        let bounds = Bounds {
            crashes: 0,
            alarms: 0,
            ..CRASH
        };
        finds(Fault::ForgetsEarly, Presumption::Abort, bounds, &requests);
    }

    #[test]
    fn an_abort_out_of_impatience_is_found() {
        let requests = [begin(1, &[1, 2]), yes(1), yes(2)];
        let bounds = Bounds {
            crashes: 0,
            alarms: 2,
            ..CRASH
        };
        finds(
            Fault::InDoubtTimesOut,
            Presumption::Abort,
            bounds,
            &requests,
        );
    }

    #[test]
    fn an_id_used_again_is_found() {
        let give_up = (NodeId(1), Request::Abort { transaction: T });
        let requests = [
            begin(1, &[1, 2]),
            give_up,
            yes(1),
            yes(2),
            begin(2, &[1, 2]),
        ];
        finds(Fault::IdReused, Presumption::Abort, CRASH, &requests);
    }
}
