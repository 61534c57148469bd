//! One test a claim of the paper, and one a story of what goes wrong without it.

mod cluster;

use cluster::*;
use consensus_core::{
    Ballot, Early, Lsn, Members, NodeId,
    contract::register::{Event, Reason},
};
use core::time::Duration;
use paxos::{Backoff, Config, ConfigError, GiveUp, Message, Options, Timer};

/// A failure free decision takes four delays and 4(N−1) messages at the proposer, N−1 more to tell
/// the learners, and two writes one after the other [Lamport01 §2.2, §2.3].
#[test]
fn a_decision_takes_four_messages_a_peer_and_one_to_tell_it() {
    for n in [1u16, 3, 5, 7] {
        let mut c = cluster(n);
        let token = c.propose(1, "x");
        c.settle();
        assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
        assert_eq!(c.sent, 5 * (usize::from(n) - 1), "{n} nodes");
        for node in 1..=n {
            assert_eq!(c.node(node).forced_writes, 2, "{n} nodes");
        }
    }
}

/// Thriftily 4(Q−1) at the proposer: only a quorum is asked.
#[test]
fn a_thrifty_decision_asks_only_a_quorum() {
    for (n, q) in [(3, 2), (5, 3), (7, 4)] {
        let mut c = with(n, thrifty());
        let token = c.propose(1, "x");
        c.settle();
        assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
        assert_eq!(c.sent, 4 * (q - 1) + usize::from(n) - 1, "{n} nodes");
    }
}

/// A thrifty question that stays unanswered goes to everybody, and the next one avoids the silent.
#[test]
fn a_thrifty_proposer_asks_the_others_when_a_peer_is_silent() {
    let mut c = with(3, thrifty());
    let token = c.propose(1, "x");
    c.settle_without(&[2]);
    assert_eq!(c.chosen(1, token), None);
    assert!(c.fire(1, Timer::Resend));
    c.settle_without(&[2]);
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
    let next = c.propose_version(1, 2, "y");
    c.settle_without(&[2]);
    assert_eq!(c.chosen(1, next), Some(&b"y"[..]));
}

fn thrifty() -> Options {
    Options {
        thrifty: true,
        ..Options::default()
    }
}

/// Prepare and accept leave before this node's own disk is done, under the ballot whose boot is
/// durable; but nothing is chosen on the strength of what only memory holds.
#[test]
fn a_proposer_does_not_count_its_own_acceptor_before_its_disk() {
    let mut c = cluster(3);
    c.instant_disks = false;
    let token = c.propose(1, "x");
    assert_eq!(c.network[0].early, Some(Early::Authority(Lsn::ZERO)));
    c.deliver(1, 2, "Prepare");
    assert!(
        !c.has(2, 1, "Promise"),
        "the promise waits for the disk of 2"
    );
    c.sync(2);
    c.deliver(2, 1, "Promise");
    assert!(!c.has(1, 2, "Accept"), "one promise on disk is no quorum");
    c.sync(1);
    c.deliver(1, 2, "Accept");
    assert!(
        !c.has(2, 1, "Accepted"),
        "the acceptance waits for the disk of 2"
    );
    c.sync(2);
    c.deliver(2, 1, "Accepted");
    assert_eq!(
        c.chosen(1, token),
        None,
        "one acceptance on disk is no quorum"
    );
    c.sync(1);
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
}

/// PX-01: an acceptor that answered keeps its promise through a crash.
#[test]
fn px_01_a_promise_survives_a_crash() {
    let mut c = cluster(3);
    c.invent(1, 2, prepare(1, 1));
    c.instant_disks = false;
    c.invent(3, 2, prepare(2, 3));
    assert!(!c.has(2, 3, "Promise"), "no promise leaves before its sync");
    c.sync(2);
    c.deliver(2, 3, "Promise");
    c.instant_disks = true;
    c.crash(2);
    c.invent(1, 2, accept(1, 1, "x"));
    assert!(c.has(2, 1, "Reject"));
    assert!(!c.has(2, 1, "Accepted"));
}

/// The other half of PX-01: a promise that no disk held binds nobody, because nobody heard it.
#[test]
fn a_promise_lost_by_a_crash_was_never_sent() {
    let mut c = cluster(3);
    c.instant_disks = false;
    c.invent(3, 2, prepare(2, 3));
    c.crash(2);
    assert!(!c.has(2, 3, "Promise"));
    c.invent(1, 2, accept(1, 1, "x"));
    c.sync(2);
    assert!(c.has(2, 1, "Accepted"));
}

/// PX-02: an acceptance survives a crash and is reported to the next proposer, who completes it.
#[test]
fn px_02_an_acceptance_survives_a_crash() {
    let mut c = cluster(3);
    let first = c.propose(1, "x");
    c.settle_without(&[3]);
    assert_eq!(c.chosen(1, first), Some(&b"x"[..]));
    c.crash(2);
    let second = c.propose(3, "y");
    c.settle_without(&[1]);
    assert_eq!(c.chosen(3, second), Some(&b"x"[..]));
}

/// PX-03: ballots carry the boot, so promises to an earlier run count for nothing.
#[test]
fn px_03_a_restarted_proposer_never_uses_a_ballot_twice() {
    let mut c = cluster(3);
    c.instant_disks = false;
    c.propose(1, "x");
    let old = c.lose(1, 2, "Prepare");
    c.crash(1); // Its own promise was not on disk: nothing says that ballot 1 was used.
    c.instant_disks = true;
    let token = c.propose(1, "y");
    c.invent(2, 1, promise(1, 1, None));
    c.invent(3, 1, promise(1, 1, None));
    assert!(
        !c.has(1, 2, "Accept"),
        "promises to the run before count for nothing"
    );
    c.receive(1, 2, old);
    c.settle();
    assert!(c.fire(1, Timer::Retry) || c.chosen(1, token).is_some());
    c.settle();
    assert_eq!(c.chosen(1, token), Some(&b"y"[..]));
}

/// PX-03: an acceptor refuses a second value for one ballot and says so to its operator.
#[test]
fn px_03_one_ballot_carries_one_value() {
    let mut c = cluster(3);
    c.invent(1, 2, accept(1, 1, "x"));
    c.deliver(2, 1, "Accepted");
    c.invent(1, 2, accept(1, 1, "y"));
    assert!(!c.has(2, 1, "Accepted"));
    let status = consensus_core::Protocol::status(&c.node(2).protocol);
    assert_eq!(status.refused.second_values, 1);
    c.invent(1, 2, accept(1, 1, "x"));
    assert!(c.has(2, 1, "Accepted"), "a repeat of the first is answered");
}

/// PX-05: a quorum is a set of acceptors; a duplicate changes nothing.
#[test]
fn px_05_a_duplicate_answer_counts_once() {
    let mut c = cluster(5);
    let token = c.propose(1, "x");
    c.deliver(1, 2, "Prepare");
    let repeated = c.deliver(2, 1, "Promise");
    c.receive(2, 1, repeated.clone());
    c.receive(2, 1, repeated);
    assert!(!c.has(1, 2, "Accept"));
    c.deliver(1, 3, "Prepare");
    c.deliver(3, 1, "Promise");
    c.deliver(1, 2, "Accept");
    let repeated = c.deliver(2, 1, "Accepted");
    c.receive(2, 1, repeated.clone());
    c.receive(2, 1, repeated);
    assert_eq!(c.chosen(1, token), None);
    c.deliver(1, 3, "Accept");
    c.deliver(3, 1, "Accepted");
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
}

/// PX-06: the value of the highest ballot among the promises, in whatever order they come
/// [Lamport01 §2.2, P2c].
#[test]
fn px_06_the_highest_ballot_decides_the_value() {
    let orders = permutations(5);
    assert_eq!(orders.len(), 120);
    for order in orders {
        let mut c = cluster(5);
        for node in [1, 2] {
            c.invent(3, node, accept(1, 3, "x"));
        }
        for node in [3, 4, 5] {
            c.invent(
                if node == 4 { 5 } else { 4 },
                node,
                match node {
                    4 => accept(1, 5, "y"), // Owned by 5, which orders it above (1, 3).
                    _ => accept(2, 4, "y"),
                },
            );
        }
        c.invent(5, 1, prepare(2, 5)); // So that 1 chooses round 3, above all of these.
        c.network.clear();
        c.instant_disks = false;
        c.propose(1, "z");
        for to in 2..=5 {
            c.deliver(1, to, "Prepare");
            c.sync(to);
        }
        for place in order {
            match place {
                0 => c.sync(1), // Its own promise.
                _ => drop(c.deliver(place as u16 + 1, 1, "Promise")),
            }
        }
        let accept = c.lose(1, 2, "Accept");
        let Message::Accept { value, .. } = accept else {
            panic!("{accept:?}");
        };
        assert_eq!(value, "y");
    }
}

/// PX-07: accepting a ballot raises the promise to it, which the paper leaves open.
#[test]
fn px_07_accept_raises_the_promise() {
    let mut c = cluster(5);
    for node in [1, 2] {
        c.invent(4, node, prepare(1, 4));
    }
    for node in [2, 3] {
        c.invent(5, node, prepare(2, 5));
    }
    for node in [1, 3] {
        c.invent(5, node, accept(2, 5, "y"));
    }
    c.network.clear();
    c.invent(4, 1, accept(1, 4, "x"));
    assert!(c.has(1, 4, "Reject") && !c.has(1, 4, "Accepted"));
    c.crash(1);
    c.network.clear();
    c.invent(4, 1, accept(1, 4, "x"));
    assert!(c.has(1, 4, "Reject"), "the raised promise is durable");
}

/// PX-09: a value is learned from one quorum at one ballot, not from a sum over ballots.
#[test]
fn px_09_acceptances_of_different_ballots_are_not_added_up() {
    let mut c = cluster(5);
    let token = c.propose(1, "x");
    for peer in [2, 3] {
        c.deliver(1, peer, "Prepare");
        c.deliver(peer, 1, "Promise");
    }
    c.deliver(1, 2, "Accept");
    let late = c.deliver(2, 1, "Accepted"); // Two of five: 1 and 2.
    let higher = Message::Reject {
        instance: instance(1),
        ballot: ballot(1, 1),
        promised: ballot(1, 5),
    };
    for from in [3, 4, 5] {
        c.invent(from, 1, higher.clone());
    }
    assert!(c.fire(1, Timer::Retry));
    c.network
        .retain(|l| matches!(&l.message, Message::Prepare { ballot, .. } if ballot.round == 2));
    for peer in [3, 4] {
        c.deliver(1, peer, "Prepare");
        c.deliver(peer, 1, "Promise");
    }
    c.deliver(1, 3, "Accept");
    c.deliver(3, 1, "Accepted"); // Two of five again: 1 and 3.
    c.receive(2, 1, late);
    assert_eq!(c.chosen(1, token), None);
    c.deliver(1, 4, "Accept");
    c.deliver(4, 1, "Accepted");
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
}

/// Plays duelling proposers: each one's prepare reaches the acceptors between the other's prepare
/// and accept. How many rounds it took until something was chosen, at most `most`.
fn duel(backoff: Backoff, most: usize) -> Option<usize> {
    let mut c = with(
        3,
        Options {
            backoff,
            give_up: GiveUp::FirstReject,
            ..Options::default()
        },
    );
    let tokens = [c.propose(1, "x"), c.propose(2, "y")];
    for round in 0..most {
        let (me, rival) = if round % 2 == 0 { (1, 2) } else { (2, 1) };
        // Who backs off does not come in between: with a wait longer than a round the duel ends.
        let waits = |c: &Cluster, node: u16| {
            let mut timers = c.node(node).timers.iter();
            timers.any(|(t, after)| {
                matches!(t, Timer::Retry(_)) && *after.end() > Duration::ZERO && node == 2
            })
        };
        if !waits(&c, me) {
            c.fire(me, Timer::Retry);
        }
        while c.has(me, 3, "Prepare") {
            c.deliver(me, 3, "Prepare");
        }
        while c.has(3, me, "Promise") {
            c.deliver(3, me, "Promise");
        }
        // The rival's accept, sent in its own turn, comes too late now.
        while c.has(rival, 3, "Accept") {
            c.deliver(rival, 3, "Accept");
        }
        while c.has(3, rival, "Reject") {
            c.deliver(3, rival, "Reject");
        }
        while c.has(3, rival, "Accepted") {
            c.deliver(3, rival, "Accepted");
        }
        c.network.retain(|l| l.to == 3 || l.from == 3);
        let decided = |node: u16| c.chosen(node, tokens[usize::from(node) - 1]).is_some();
        if decided(1) || decided(2) {
            return Some(round);
        }
    }
    let lost = [1, 2]
        .map(|node| consensus_core::Protocol::status(&c.node(node).protocol).preempted as usize);
    assert!(
        lost[0] + lost[1] >= most - 2,
        "every loss is counted: {lost:?}"
    );
    None
}

/// PX-10: proposers can overtake each other for ever [Lamport01 §2.4]; when one of them backs off,
/// the other decides.
#[test]
fn px_10_duelling_proposers_need_a_back_off() {
    assert_eq!(duel(Backoff::None, 1000), None);
    let patient = Backoff::Exponential {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(64),
    };
    assert!(duel(patient, 10).is_some());
}

/// PX-11: what a quorum has accepted is completed by any later proposer, whose own value is not
/// chosen and who is told so.
#[test]
fn px_11_a_later_proposer_completes_what_was_chosen() {
    let mut c = cluster(3);
    c.propose(1, "x");
    c.deliver(1, 2, "Prepare");
    c.deliver(2, 1, "Promise");
    c.deliver(1, 2, "Accept"); // Chosen by 1 and 2; nobody knows.
    c.crash(1);
    c.network.clear();
    let token = c.propose(3, "y");
    c.settle_without(&[1]);
    if c.fire(3, Timer::Retry) {
        c.settle_without(&[1]);
    }
    assert_eq!(c.chosen(3, token), Some(&b"x"[..]));
}

/// PX-14: quorums that could decide without each other are refused when they are configured
/// [Howard16].
#[test]
fn px_14_quorums_that_need_not_meet_are_refused() {
    let members = Members::new((1..=4).map(NodeId)).expect("distinct");
    let config = |phase1, phase2| {
        let options = Options {
            phase1: Some(phase1),
            phase2: Some(phase2),
            ..Options::default()
        };
        Config::new(NodeId(1), members.clone(), options)
    };
    assert!(matches!(config(2, 2), Err(ConfigError::Quorums(_))));
    assert!(matches!(config(5, 1), Err(ConfigError::Quorums(_))));
    assert!(config(3, 2).is_ok());
    let stranger = Config::new(NodeId(9), members, Options::default());
    assert_eq!(stranger, Err(ConfigError::NotAMember(NodeId(9))));
}

/// Phase 2 quorums may be smaller than a majority if phase 1 quorums are larger [Howard16].
#[test]
fn flexible_quorums_decide_with_two_of_four() {
    let mut c = with(
        4,
        Options {
            phase1: Some(3),
            phase2: Some(2),
            ..Options::default()
        },
    );
    let token = c.propose(1, "x");
    for peer in [2, 3] {
        assert!(!c.has(1, 2, "Accept"));
        c.deliver(1, peer, "Prepare");
        c.deliver(peer, 1, "Promise");
    }
    c.deliver(1, 4, "Accept");
    c.deliver(4, 1, "Accepted");
    assert_eq!(c.chosen(1, token), Some(&b"x"[..]));
}

/// PX-15: ballots that no correct node can have are refused and counted; nothing wraps.
#[test]
fn px_15_extreme_and_foreign_ballots_are_refused() {
    let mut c = cluster(3);
    for round in [0, Ballot::ROUND_LIMIT, u64::MAX] {
        c.invent(1, 2, prepare(round, 1));
        c.invent(1, 2, accept(round, 1, "x"));
    }
    c.invent(1, 2, prepare(5, 3));
    c.invent(1, 2, accept(5, 3, "x"));
    c.invent(9, 2, prepare(5, 9));
    let extreme = Message::Prepare {
        instance: instance(u64::MAX),
        ballot: ballot(1, 1),
    };
    c.invent(1, 2, extreme);
    assert!(c.network.is_empty(), "{:?}", c.network);
    let refused = consensus_core::Protocol::status(&c.node(2).protocol).refused;
    assert_eq!(
        (
            refused.unsound_numbers,
            refused.foreign_ballots,
            refused.strangers
        ),
        (7, 2, 1)
    );
    // A rejection that claims an unreachable promise does not use up our ballots.
    let token = c.propose(2, "x");
    let reject = Message::Reject {
        instance: instance(1),
        ballot: ballot(1, 2),
        promised: ballot(u64::MAX, 3),
    };
    c.invent(3, 2, reject);
    c.settle();
    assert_eq!(c.chosen(2, token), Some(&b"x"[..]));
}

/// PX-15: when a hostile peer has really used up the rounds, the answer says so, and nothing panics.
#[test]
fn px_15_exhausted_ballots_are_a_refusal() {
    let mut c = cluster(3);
    c.invent(1, 2, prepare(Ballot::ROUND_LIMIT - 1, 1));
    let token = c.propose(2, "x");
    let reason = Reason::Exhausted;
    assert_eq!(c.told(2, token), Some(&Event::Rejected { token, reason }));
}

/// PX-17: ballots of the same round are ordered by their owners.
#[test]
fn px_17_ballots_of_one_round_are_ordered_by_node() {
    let mut c = cluster(3);
    c.invent(2, 3, prepare(5, 2));
    assert!(c.has(3, 2, "Promise"));
    c.invent(1, 3, prepare(5, 1));
    let reject = c.lose(3, 1, "Reject");
    assert_eq!(
        reject,
        Message::Reject {
            instance: instance(1),
            ballot: ballot(5, 1),
            promised: ballot(5, 2)
        }
    );
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    let at = |order: &Vec<usize>| (0..count).map(|at| insert(order, at)).collect::<Vec<_>>();
    shorter.iter().flat_map(at).collect()
}
