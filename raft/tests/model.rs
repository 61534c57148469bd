//! Every order of two candidates, three voters, their disks and a crash, by the production code. The
//! bound on alarms bounds terms; requests bound entries.

use consensus_core::contract::replicated_log::{Event, Request};
use consensus_core::log::{Commands, EntryKind};
use consensus_core::model::{Bounds, Exploration, State, World};
use consensus_core::{Members, NodeId};
use raft::{Options, Raft, Record};

fn propose(command: &[u8]) -> Request {
    Request::Propose {
        token: None,
        commands: Commands::one(command),
    }
}

/// Elections as in the paper's third section; pre-votes and the quorum check have their own tests.
fn plain() -> Options {
    Options {
        pre_vote: false,
        check_quorum: false,
        ..Options::default()
    }
}

fn told(state: &State<Raft>, command: &[u8]) -> bool {
    state.told().any(|(_, event)| match event {
        Event::Committed(run) => run.iter().any(|entry| entry == command),
        _ => false,
    })
}

/// Disks hold nothing that nobody proposed.
fn only_proposals_are_appended(state: &State<Raft>) -> bool {
    let mut records = state.nodes().flat_map(|(_, node)| node.records());
    records.all(|record| match record {
        Record::Append { run } => {
            run.kind() == EntryKind::Noop || run.iter().all(|c| [&b"x"[..], b"y"].contains(&c))
        }
        _ => true,
    })
}

fn explore(options: &Options, bounds: Bounds, requests: &[Vec<Request>]) -> Exploration {
    let members = Members::new([1, 2, 3].map(NodeId)).expect("three nodes are a cluster");
    let mut world = World::<Raft>::new(options, &members, bounds).expect("the options fit");
    for (node, requests) in members.iter().zip(requests) {
        for request in requests {
            world = world.ask(node, request.clone());
        }
    }
    world
        .remember(|event| matches!(event, Event::Committed(_)))
        .always("validity", only_proposals_are_appended)
        .sometimes("x is committed", |state| told(state, b"x"))
        .sometimes("y is committed", |state| told(state, b"y"))
        .explore()
}

/// At most this many messages are under way, so that the space ends. Two alarms make a candidacy.
const NARROW: Bounds = Bounds {
    crashes: 0,
    alarms: 4,
    reclaims: 0,
    messages: 2,
    repeats: 0,
    transitions: 4_000_000,
};

#[test]
fn two_candidates_agree() {
    let requests = [vec![propose(b"x")], vec![propose(b"y")]];
    let found = explore(&plain(), NARROW, &requests);
    eprintln!("two candidates: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 10_000, "{found}");
}

#[test]
fn one_leader_and_a_crash() {
    let bounds = Bounds {
        crashes: 1,
        alarms: 2,
        ..NARROW
    };
    let requests = [vec![propose(b"x"), propose(b"y")]];
    let found = explore(&plain(), bounds, &requests);
    eprintln!("one leader, one crash: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 1_000, "{found}");
}

/// Each planted bug breaks one sentence of the paper; each has to be found. Run by
/// `cargo test -p raft --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use raft::Fault;

    #[track_caller]
    fn finds(fault: Fault, bounds: Bounds, requests: &[Vec<Request>]) {
        let options = Options {
            fault: Some(fault),
            ..plain()
        };
        let found = explore(&options, bounds, requests);
        eprintln!("{fault:?}: {found}");
        assert!(found.counterexample.is_some(), "{fault:?}: {found}");
    }

    #[test]
    fn an_own_acknowledgement_before_the_disk_is_found() {
        let bounds = Bounds {
            crashes: 1,
            alarms: 2,
            ..NARROW
        };
        finds(Fault::OwnAckBeforeSync, bounds, &[vec![propose(b"x")]]);
    }
}
