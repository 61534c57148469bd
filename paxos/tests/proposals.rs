//! What whoever proposes may count on: that losing costs one round, that repeats and losses do no harm,
//! that bounds hold, and that everybody is told once.

mod cluster;

use cluster::*;
use consensus_core::{
    Boot, Input, Lsn, Members, NodeId,
    contract::register::{Event, Instance, Reason, Request, Version},
};
use paxos::{Config, Message, Options, Record, Timer};

/// A rejection carries the ballot to outrank, so one loss suffices to catch up.
#[test]
fn a_rejected_proposer_outranks_at_once() {
    let mut c = cluster(3);
    for node in [2, 3] {
        let from = if node == 2 { 3 } else { 2 };
        c.invent(from, node, prepare(40, from));
    }
    c.network.clear();
    let token = c.propose(1, "x");
    c.settle();
    assert!(c.fire(1, Timer::Retry));
    c.settle();
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
    assert_eq!(
        consensus_core::Protocol::status(&c.node(1).protocol).rounds,
        2
    );
}

/// Lost messages are sent again, and repeats of everything do no harm [Lamport01 §2.1: messages can
/// be duplicated and lost].
#[test]
fn a_lossy_network_only_delays() {
    let mut c = cluster(3);
    let token = c.propose(1, "x");
    c.network.clear();
    assert!(c.fire(1, Timer::Resend));
    c.deliver(1, 2, "Prepare");
    c.lose(2, 1, "Promise");
    assert!(c.fire(1, Timer::Resend));
    let repeated = c.deliver(1, 2, "Prepare");
    c.receive(1, 2, repeated);
    c.deliver(2, 1, "Promise");
    c.lose(1, 2, "Accept");
    assert!(c.fire(1, Timer::Resend));
    let repeated = c.deliver(1, 2, "Accept");
    c.receive(1, 2, repeated);
    c.lose(2, 1, "Accepted");
    assert!(c.fire(1, Timer::Resend));
    c.settle();
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
    assert!(c.node(1).timers.is_empty(), "nothing is left to wait for");
}

/// Attempts are bounded only if the configuration says so.
#[test]
fn a_bounded_proposer_gives_up_as_undecided() {
    let mut c = with(
        3,
        Options {
            attempts: Some(3),
            ..Options::default()
        },
    );
    let token = c.propose(1, "x");
    for _ in 0..2 {
        assert!(c.fire(1, Timer::Resend));
        assert_eq!(c.told(1, token), None);
    }
    assert!(c.fire(1, Timer::Resend));
    assert_eq!(c.told(1, token), Some(&Event::Undecided { token }));
    assert!(c.node(1).timers.is_empty());
}

/// Recovery from any prefix of a log is a legal state: promise and acceptance are one record.
#[test]
fn every_prefix_of_a_log_is_a_legal_state() {
    let record = |round, value: Option<&str>| {
        let (instance, ballot) = (instance(1), ballot(round, 2));
        match value {
            Some(value) => Record::Accepted {
                instance,
                ballot,
                value: bytes(value),
            },
            None => Record::Promised { instance, ballot },
        }
    };
    let log = [
        record(1, None),
        record(1, Some("x")),
        record(3, None),
        record(3, Some("y")),
    ];
    let members = Members::new((1..=3).map(NodeId)).expect("distinct");
    let config = Config::new(NodeId(1), members, Options::default()).expect("valid");
    for cut in 0..=log.len() {
        let records = (1..).map(Lsn).zip(log[..cut].iter().cloned());
        let recovered =
            <paxos::Paxos as consensus_core::Protocol>::recover(config.clone(), Boot(2), records);
        assert!(recovered.is_ok(), "cut at {cut}");
    }
    let contradiction = [record(1, Some("x")), record(1, Some("y"))];
    let records = (1..).map(Lsn).zip(contradiction);
    let refused = <paxos::Paxos as consensus_core::Protocol>::recover(config, Boot(2), records);
    assert_eq!(refused.map(drop).map_err(|error| error.lsn), Err(Lsn(2)));
}

/// Proposals for one instance at one node share one proposal; each is answered.
#[test]
fn proposals_of_one_node_share_a_ballot() {
    let mut c = cluster(3);
    let tokens = [c.propose(1, "x"), c.propose(1, "y")];
    c.settle();
    assert_eq!(c.sent, 5 * 2);
    for token in tokens {
        assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
    }
}

/// A cancelled proposal is not answered, and leaves nothing behind.
#[test]
fn a_cancelled_proposal_is_not_answered() {
    let mut c = cluster(3);
    let token = c.propose(1, "x");
    c.input(1, Input::Request(Request::Cancel { token }));
    c.settle();
    assert_eq!(c.told(1, token), None);
    assert!(c.node(1).timers.is_empty());
    assert_eq!(
        consensus_core::Protocol::status(&c.node(1).protocol).proposals,
        0
    );
}

/// What runs at a time is bounded; version zero is no version.
#[test]
fn too_many_proposals_and_version_zero_are_rejected() {
    let mut c = with(
        3,
        Options {
            running_max: 1,
            ..Options::default()
        },
    );
    c.propose(1, "x");
    let reject = |reason| move |token| Event::Rejected { token, reason };
    let token = c.read(1);
    assert_eq!(c.told(1, token), Some(&reject(Reason::Busy)(token)));
    let token = c.propose_version(1, 0, "x");
    let expected = reject(Reason::NoSuchVersion)(token);
    assert_eq!(c.told(1, token), Some(&expected));
}

/// Learners other than the proposer are told once each.
#[test]
fn learners_are_told_once() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle();
    let repeat = Message::Chosen {
        instance: instance(1),
        ballot: ballot(1, 1),
        value: Some(bytes("x")),
    };
    c.receive(1, 2, repeat);
    let told = Event::Chosen {
        token: None,
        instance: Instance {
            key: bytes("k"),
            version: Version(1),
        },
        value: bytes("x"),
    };
    for node in [2, 3] {
        assert_eq!(c.node(node).events, std::slice::from_ref(&told));
    }
}
