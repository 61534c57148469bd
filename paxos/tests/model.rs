//! Every order of two duelling proposers, three acceptors, their disks and a crash, by the
//! production code. Rounds are bounded by the alarms that may go off: nothing else begins one again.

use bytes::Bytes;
use consensus_core::contract::register::{Event, Instance, Request, Version};
use consensus_core::model::{Bounds, Exploration, State, World};
use consensus_core::{Members, NodeId, Token};
use paxos::{GiveUp, Options, Paxos, Record};

const KEY: Bytes = Bytes::from_static(b"k");

/// Proposes for the one instance in question.
fn propose(token: u64, value: &'static str) -> Request {
    Request::Propose {
        token: Token(token),
        instance: Instance {
            key: KEY,
            version: Version(1),
        },
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn read(token: u64) -> Request {
    Request::Read {
        token: Token(token),
        key: KEY,
    }
}

/// Asks no more members than a quorum needs and gives a ballot up at the first rejection: the same
/// decisions in the fewest messages, so that rounds and crashes fit into the bounds.
fn frugal() -> Options {
    Options {
        thrifty: true,
        give_up: GiveUp::FirstReject,
        ..Options::default()
    }
}

fn chosen(state: &State<Paxos>, value: &str) -> bool {
    state.told().any(|(_, event)| {
        matches!(event, Event::Chosen { value: chosen, .. } if *chosen == value.as_bytes())
    })
}

/// *Validity*: disks hold nothing that nobody proposed.
fn only_proposals_are_accepted(state: &State<Paxos>) -> bool {
    let mut records = state.nodes().flat_map(|(_, node)| node.records());
    records.all(|record| match record {
        Record::Accepted { value, .. } => [&b"x"[..], b"y", b"z"].contains(&&value[..]),
        Record::Promised { .. } => true,
    })
}

/// Node 1 wants x and node 2 wants y.
fn duel() -> [Vec<Request>; 2] {
    [vec![propose(1, "x")], vec![propose(2, "y")]]
}

/// Three members; node 1 is asked for `requests` of the first list, node 2 of the second, and so on.
fn explore(options: &Options, bounds: Bounds, requests: &[Vec<Request>]) -> Exploration {
    let members = Members::new([1, 2, 3].map(NodeId)).expect("three nodes are a cluster");
    let mut world = World::<Paxos>::new(options, &members, bounds).expect("the options fit");
    for (node, requests) in members.iter().zip(requests) {
        for request in requests {
            world = world.ask(node, request.clone());
        }
    }
    world
        .always("validity", only_proposals_are_accepted)
        .sometimes("x is chosen", |state| chosen(state, "x"))
        .sometimes("y is chosen", |state| chosen(state, "y"))
        .explore()
}

#[test]
fn two_proposers_agree_through_a_crash_and_a_third_round() {
    let bounds = Bounds {
        crashes: 1,
        alarms: 1,
        ..Bounds::default()
    };
    let found = explore(&frugal(), bounds, &duel());
    eprintln!("two proposers, one crash, one alarm: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 100_000, "{found}");
}

#[test]
fn two_proposers_agree_although_messages_repeat_and_a_node_crashes() {
    let bounds = Bounds {
        crashes: 1,
        repeats: 1,
        ..Bounds::default()
    };
    let found = explore(&frugal(), bounds, &duel());
    eprintln!("two proposers, one crash, one repeat: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 10_000, "{found}");
}

#[test]
fn a_proposer_that_comes_back_agrees_with_itself() {
    let bounds = Bounds {
        crashes: 1,
        ..Bounds::default()
    };
    let requests = [
        vec![propose(1, "x"), propose(2, "y")],
        vec![propose(3, "z")],
    ];
    let found = explore(&frugal(), bounds, &requests);
    eprintln!("a proposer that comes back: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 20_000, "{found}");
}

#[test]
fn two_proposers_agree_although_a_log_is_written_anew_before_a_crash() {
    let bounds = Bounds {
        crashes: 1,
        reclaims: 1,
        ..Bounds::default()
    };
    let found = explore(&frugal(), bounds, &duel());
    eprintln!("two proposers, one crash, one log written anew: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 10_000, "{found}");
}

#[test]
fn a_read_beside_a_proposal_tells_only_what_is_chosen() {
    let bounds = Bounds {
        crashes: 1,
        alarms: 1,
        ..Bounds::default()
    };
    let requests = [vec![propose(1, "x")], vec![], vec![read(2)]];
    let found = explore(&frugal(), bounds, &requests);
    eprintln!("a read beside a proposal: {found}");
    assert!(found.exhausted, "{found}");
    assert_eq!(found.unreached, ["y is chosen"]);
    assert!(found.states > 20_000, "{found}");
}

/// Each planted bug breaks one sentence of the paper; each has to be found. Run by
/// `cargo test -p paxos --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use paxos::Fault;

    #[track_caller]
    fn finds(fault: Fault, options: Options, bounds: Bounds, requests: &[Vec<Request>]) {
        let options = Options {
            fault: Some(fault),
            ..options
        };
        let found = explore(&options, bounds, requests);
        eprintln!("{fault:?}: {found}");
        assert!(found.counterexample.is_some(), "{fault:?}: {found}");
    }

    const CRASH: Bounds = Bounds {
        crashes: 1,
        alarms: 0,
        reclaims: 0,
        messages: usize::MAX,
        repeats: 0,
        transitions: 2_000_000,
    };

    const ALARM: Bounds = Bounds {
        crashes: 0,
        alarms: 1,
        ..CRASH
    };

    #[test]
    fn a_promise_before_the_disk_is_found() {
        finds(Fault::PromiseBeforeDisk, frugal(), CRASH, &duel());
    }

    #[test]
    fn an_acceptance_before_the_disk_is_found() {
        finds(Fault::AcceptedBeforeDisk, frugal(), CRASH, &duel());
    }

    #[test]
    fn a_wrong_reason_to_overtake_the_disk_is_found() {
        finds(Fault::WrongEarly, frugal(), CRASH, &duel());
    }

    #[test]
    fn a_ballot_used_again_after_a_restart_is_found() {
        let requests = [vec![propose(1, "x"), propose(2, "y")]];
        // Not thrifty: the others' promises have to suffice while this disk is slow.
        let options = Options {
            thrifty: false,
            ..frugal()
        };
        finds(Fault::BallotReused, options, CRASH, &requests);
    }

    #[test]
    fn acceptances_of_several_ballots_counted_together_are_found() {
        finds(Fault::LearnerMixesBallots, frugal(), ALARM, &duel());
    }

    #[test]
    fn the_value_of_the_wrong_promise_is_found() {
        finds(Fault::WrongPromiseValue, frugal(), ALARM, &duel());
    }

    #[test]
    fn a_promise_not_raised_by_accepting_is_found() {
        let options = Options {
            thrifty: false,
            ..frugal()
        };
        let bounds = Bounds {
            crashes: 0,
            ..CRASH
        };
        finds(Fault::AcceptDoesNotRaisePromise, options, bounds, &duel());
    }

    #[test]
    fn a_read_of_what_is_not_chosen_is_found() {
        let requests = [vec![propose(1, "x")], vec![], vec![read(2)]];
        let bounds = Bounds {
            crashes: 0,
            ..CRASH
        };
        finds(Fault::ReadUnchosen, frugal(), bounds, &requests);
    }
}
