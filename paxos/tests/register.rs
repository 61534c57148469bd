//! Versions of one key, linearizable reads, and the log that is written anew.

mod cluster;

use bytes::Bytes;
use cluster::*;
use consensus_core::{
    Input, Wire,
    contract::register::{Event, Request, Version},
};
use paxos::{Message, Timer};

/// A quiet read takes one round trip and writes nothing.
#[test]
fn a_quiet_read_takes_one_round_trip() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle();
    let (sent, written) = (c.sent, c.node(2).forced_writes);
    let token = c.read(3);
    c.settle();
    assert_eq!(c.newest(3, token), Some((1, &b"x"[..])));
    assert_eq!(c.sent - sent, 4);
    assert_eq!(c.node(2).forced_writes, written);
}

/// A quorum that reports one ballot is proof enough after everybody has forgotten what was learned.
#[test]
fn a_read_after_a_power_loss_needs_no_repair() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle();
    (1..=3).for_each(|node| c.crash(node));
    let token = c.read(2);
    c.settle();
    assert_eq!(c.newest(2, token), Some((1, &b"x"[..])));
}

/// Before the first choice a read answers version zero, even while something is promised.
#[test]
fn a_read_before_the_first_choice_finds_nothing() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.deliver(1, 2, "Prepare");
    c.network.clear();
    let token = c.read(3);
    c.settle();
    assert_eq!(c.newest(3, token), Some((0, &b""[..])));
}

/// A value accepted by some is never answered before it is known to be chosen; the reader completes
/// it when its proposer does not.
#[test]
fn a_read_completes_what_it_finds_open() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.deliver(1, 2, "Prepare");
    c.deliver(2, 1, "Promise");
    c.network.clear(); // Accepted by 1 alone.
    c.crash(1);
    let token = c.read(2);
    c.deliver(2, 1, "Query");
    c.deliver(1, 2, "Report");
    c.settle();
    assert_eq!(c.told(2, token), None);
    assert!(c.fire(2, Timer::Ask));
    c.settle();
    if c.fire(2, Timer::Retry) {
        c.settle();
    }
    assert_eq!(c.newest(2, token), Some((1, &b"x"[..])));
}

/// If the proposer finishes in time, the reader does not get in its way.
#[test]
fn a_read_waits_for_a_living_proposer() {
    let mut c = cluster(3);
    let proposal = c.propose(1, "x");
    c.deliver(1, 2, "Prepare");
    c.deliver(2, 1, "Promise");
    let token = c.read(3);
    for from in [1, 2] {
        c.deliver(3, from, "Query");
        c.deliver(from, 3, "Report");
    }
    assert_eq!(c.told(3, token), None);
    c.settle();
    assert_eq!(c.chosen(1, proposal), Some(&b"x"[..]));
    assert_eq!(c.newest(3, token), Some((1, &b"x"[..])));
    assert!(c.node(3).timers.is_empty());
}

/// A newer version that is only promised replaces nothing: the value before it is found, in a
/// second round in which all reports are younger than its choice.
#[test]
fn a_promise_for_the_next_version_hides_nothing() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle_without(&[3]); // 3 has not heard of it.
    (1..=2).for_each(|node| c.crash(node)); // Nobody remembers that it was chosen.
    c.propose_version(1, 2, "y");
    c.deliver(1, 3, "Prepare");
    c.deliver(1, 2, "Prepare");
    c.network.clear();
    c.crash(1);
    c.crash(2);
    let token = c.read(3);
    c.deliver(3, 2, "Query");
    c.deliver(2, 3, "Report");
    assert_eq!(
        c.told(3, token),
        None,
        "one old report may be older than the choice"
    );
    c.settle_without(&[1]);
    assert_eq!(c.newest(3, token), Some((1, &b"x"[..])));
}

/// Reports given at different moments must not be mixed: 3 reported before anything was chosen.
#[test]
fn a_read_does_not_mix_reports_from_before_a_choice() {
    let mut c = cluster(3);
    let token = c.read(3);
    c.lose(3, 1, "Query");
    // 3 has answered itself: nothing accepted. Now x is chosen by 1 and 3, and 2 hears of version 2.
    c.propose(1, "x");
    c.deliver(1, 3, "Prepare");
    c.deliver(3, 1, "Promise");
    c.deliver(1, 3, "Accept");
    c.deliver(3, 1, "Accepted");
    c.network
        .retain(|l| matches!(l.message, Message::Query { .. }));
    c.propose_version(1, 2, "y");
    c.deliver(1, 2, "Prepare");
    c.deliver(3, 2, "Query");
    c.deliver(2, 3, "Report");
    // Nothing accepted in either report: "nothing chosen" is right, for the read began before.
    assert_eq!(c.newest(3, token), Some((0, &b""[..])));
    // A read that begins now finds it.
    let token = c.read(3);
    c.settle();
    let (version, value) = c.newest(3, token).expect("all are alive");
    assert!((version, value) == (1, b"x") || (version, value) == (2, b"y"));
}

/// An acceptor that takes part in version 2 answers superseded for version 1, for ever.
#[test]
fn an_older_version_is_superseded() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle_without(&[3]);
    c.propose_version(1, 2, "y");
    c.settle_without(&[3]);
    (1..=2).for_each(|node| c.crash(node));
    let token = c.propose(3, "z");
    c.settle();
    assert_eq!(
        c.told(3, token),
        Some(&Event::Superseded {
            token,
            instance: instance(1),
            by: Version(2),
            offered: false
        })
    );
    let token = c.propose(1, "z");
    assert!(matches!(c.told(1, token), Some(Event::Superseded { .. })));
}

/// Whoever asks about a version whose outcome is known is told at once.
#[test]
fn a_late_proposer_is_told_what_was_chosen() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.settle_without(&[3]);
    c.network.clear();
    let sent = c.sent;
    let token = c.propose(3, "z");
    c.deliver(3, 2, "Prepare");
    c.settle();
    assert_eq!(c.chosen(3, token), Some(&b"x"[..]));
    assert!(c.sent - sent <= 4, "no second ballot");
}

/// What old records hold is written anew, a bounded number a call, and the rest may go; a node that
/// recovers from what is left is the same.
#[test]
fn a_reclaimed_log_recovers_to_the_same_state() {
    let options = paxos::Options {
        reclaim_step: 2,
        ..paxos::Options::default()
    };
    let mut c = with(3, options);
    for version in 1..=20 {
        c.propose_version(1, version, &format!("value {version}"));
        c.settle();
    }
    for key in ["a", "b", "c", "d", "e"] {
        let request = Request::Propose {
            token: consensus_core::Token(1000),
            instance: consensus_core::contract::register::Instance {
                key: bytes(key),
                version: Version(1),
            },
            value: bytes("v"),
        };
        c.input(1, Input::Request(request));
        c.settle();
    }
    c.propose_version(1, 21, "open"); // Promised by 1 alone.
    c.network.clear();
    let before = *c.node(1).disk.keys().last().expect("records");
    let mut calls = 0;
    while c.node(1).released < before {
        c.input(1, Input::Reclaim(before));
        calls += 1;
        assert!(calls < 20, "a pass ends");
    }
    assert!(calls >= 3, "six keys, two a call");
    assert!(c.node(1).disk.len() <= 13, "{:#?}", c.node(1).disk);
    assert!(c.node(1).disk.keys().all(|lsn| *lsn >= before));
    let full = c.node(1).protocol.clone();
    c.crash(1);
    c.crash(2);
    c.crash(3);
    let token = c.read(1);
    c.settle_without(&[3]);
    assert_eq!(c.newest(1, token), Some((20, &b"value 20"[..])));
    let count = |paxos: &paxos::Paxos| consensus_core::Protocol::status(paxos).keys;
    assert_eq!(count(&c.node(1).protocol), count(&full));
}

/// Forgetting never loses what others may need.
#[test]
fn a_forgotten_instance_is_still_superseded() {
    let mut c = cluster(3);
    for (version, value) in [(1, "x"), (2, "y")] {
        c.propose_version(1, version, value);
        c.settle();
    }
    for version in [1, 2] {
        let instance = instance(version);
        c.input(1, Input::Request(Request::Forget { instance }));
    }
    let token = c.read(1);
    c.settle();
    assert_eq!(c.newest(1, token), Some((2, &b"y"[..])));
    let token = c.propose(1, "z");
    assert!(matches!(c.told(1, token), Some(Event::Superseded { .. })));
}

/// Every message and record decodes to what was encoded; no prefix and no extension of its bytes
/// decodes at all.
#[test]
fn messages_and_records_survive_the_wire() {
    let held = || paxos::Acceptance {
        ballot: ballot(u64::MAX, u16::MAX),
        value: bytes("value"),
    };
    let read = paxos::ReadId {
        boot: consensus_core::Boot(u32::MAX),
        number: 300,
        round: 1,
    };
    let instance = || instance(1 << 40);
    let (one, key) = (ballot(1, 1), || bytes("key"));
    let mut messages = vec![
        prepare(1, 1),
        promise(7, 2, None),
        promise(7, 2, Some((6, 1, ""))),
        accept(1, 1, "value"),
        accepted(1, 1),
        Message::Reject {
            instance: instance(),
            ballot: one,
            promised: ballot(2, 2),
        },
        Message::Superseded {
            instance: instance(),
            by: Version(u64::MAX),
        },
        Message::Query { key: key(), read },
    ];
    for value in [None, Some(bytes("")), Some(bytes("v"))] {
        messages.push(Message::Chosen {
            instance: instance(),
            ballot: one,
            value,
        });
    }
    for (accepted, chosen) in [(None, false), (Some((Version(3), held())), true)] {
        messages.push(Message::Report {
            key: key(),
            read,
            version: Version(4),
            accepted,
            chosen,
        });
    }
    messages.iter().for_each(round_trip);
    let records = [
        paxos::Record::Promised {
            instance: instance(),
            ballot: one,
        },
        paxos::Record::Accepted {
            instance: instance(),
            ballot: one,
            value: bytes("value"),
        },
    ];
    records.iter().for_each(round_trip);
}

fn round_trip<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
    let mut encoded = Vec::new();
    value.encode(&mut encoded);
    assert_eq!(T::decode(encoded.clone().into()).as_ref(), Ok(value));
    for cut in 0..encoded.len() {
        let prefix = Bytes::copy_from_slice(&encoded[..cut]);
        assert!(T::decode(prefix).is_err(), "{value:?} cut at {cut}");
    }
    encoded.push(0);
    assert!(T::decode(encoded.into()).is_err(), "{value:?} and more");
}
