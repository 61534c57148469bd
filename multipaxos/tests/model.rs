//! Every order of two candidates, three acceptors, their disks and a crash, by the production code.
//! Nodes campaign when they are told to, so that no heartbeat multiplies the states.

use consensus_core::contract::replicated_log::{Event, Request};
use consensus_core::log::{Commands, EntryKind};
use consensus_core::model::{Bounds, Exploration, State, World};
use consensus_core::{Members, NodeId, Token};
use multipaxos::{MultiPaxos, Options, Record};

fn lead(node: u16) -> Request {
    Request::TransferLeadership {
        token: Token(0),
        to: Some(NodeId(node)),
    }
}

fn propose(command: &[u8]) -> Request {
    Request::Propose {
        token: None,
        commands: Commands::one(command),
    }
}

fn quiet() -> Options {
    Options {
        elections: false,
        ..Options::default()
    }
}

fn told(state: &State<MultiPaxos>, command: &[u8]) -> bool {
    state.told().any(|(_, event)| match event {
        Event::Committed(run) => run.iter().any(|entry| entry == command),
        _ => false,
    })
}

/// *Validity*: disks hold nothing that nobody proposed.
fn only_proposals_are_accepted(state: &State<MultiPaxos>) -> bool {
    let mut records = state.nodes().flat_map(|(_, node)| node.records());
    records.all(|record| match record {
        Record::Accepted { run, .. } | Record::Learned { run } => {
            run.kind() == EntryKind::Noop || run.iter().all(|c| [&b"x"[..], b"y"].contains(&c))
        }
        _ => true,
    })
}

/// Node 1 leads and wants x; node 2 leads and wants y.
fn duel() -> [Vec<Request>; 2] {
    [vec![lead(1), propose(b"x")], vec![lead(2), propose(b"y")]]
}

fn explore(options: &Options, bounds: Bounds, requests: &[Vec<Request>]) -> Exploration {
    let members = Members::new([1, 2, 3].map(NodeId)).expect("three nodes are a cluster");
    let mut world = World::<MultiPaxos>::new(options, &members, bounds).expect("the options fit");
    for (node, requests) in members.iter().zip(requests) {
        for request in requests {
            world = world.ask(node, request.clone());
        }
    }
    world
        .remember(|event| matches!(event, Event::Committed(_)))
        .always("validity", only_proposals_are_accepted)
        .sometimes("x is chosen", |state| told(state, b"x"))
        .sometimes("y is chosen", |state| told(state, b"y"))
        .explore()
}

/// At most this many messages are under way, so that the space ends.
const NARROW: Bounds = Bounds {
    crashes: 0,
    alarms: 0,
    reclaims: 0,
    messages: 2,
    repeats: 0,
    transitions: 3_000_000,
};

#[test]
fn two_leaders_agree() {
    let found = explore(&quiet(), NARROW, &duel());
    eprintln!("two leaders: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 10_000, "{found}");
}

#[test]
fn two_leaders_agree_through_a_crash() {
    let bounds = Bounds {
        crashes: 1,
        ..NARROW
    };
    let found = explore(&quiet(), bounds, &duel());
    eprintln!("two leaders, one crash: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 150_000, "{found}");
}

#[test]
fn two_leaders_agree_although_a_log_is_written_anew_before_a_crash() {
    let bounds = Bounds {
        crashes: 1,
        reclaims: 1,
        ..NARROW
    };
    let requests = [vec![lead(1), propose(b"x")], vec![lead(2)]];
    let found = explore(&quiet(), bounds, &requests);
    eprintln!("two leaders, one crash, one log written anew: {found}");
    assert!(found.exhausted, "{found}");
    assert_eq!(found.unreached, ["y is chosen"]);
    assert!(found.states > 300_000, "{found}");
}

/// Each planted bug breaks one sentence of the paper; each has to be found. Run by
/// `cargo test -p multipaxos --features faults`.
#[cfg(feature = "faults")]
mod planted {
    use super::*;
    use multipaxos::Fault;

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

    #[test]
    fn a_promise_before_the_disk_is_found() {
        finds(Fault::PromiseBeforeDisk, quiet(), NARROW, &duel());
    }

    /// Everybody must accept: an acceptance of node 2 that the first ballot asked for arrives when
    /// node 1 leads again, and node 2 never hears of that.
    #[test]
    fn an_acceptance_counted_after_a_pre_emption_is_found() {
        let options = Options {
            phase1: Some(1),
            phase2: Some(3),
            ..quiet()
        };
        let requests = [vec![lead(1), propose(b"x"), lead(1)], vec![], vec![lead(3)]];
        let bounds = Bounds {
            messages: 3,
            ..NARROW
        };
        finds(Fault::LateAcceptances, options, bounds, &requests);
    }
}
