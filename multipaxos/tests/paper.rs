//! The claims of the papers, one test each, at one node by hand.

mod cluster;

use cluster::{Cluster, members};
use consensus_core::{
    Ballot, Boot, Index, NodeId, Token,
    contract::replicated_log::{Event, Manifest, Reason, Request, SnapshotId},
    log::{Commands, EntryKind, Place, Run},
};
use multipaxos::{Message, Options, Page, Record, Role};
use std::time::Duration;

/// Nobody campaigns unless told to.
fn quiet() -> Options {
    Options {
        elections: false,
        #[cfg(feature = "faults")]
        fault: planted::FAULT.get(),
        ..Options::default()
    }
}

fn ballot(round: u64, node: u16) -> Ballot {
    Ballot {
        round,
        node: NodeId(node),
        boot: Boot(1),
    }
}

/// Commands from slot `first` on, first proposed under `ballot`.
fn run(first: u64, ballot: Ballot, commands: &[&str]) -> Run {
    let mut all = Commands::default();
    commands
        .iter()
        .for_each(|command| all.push(command.as_bytes()));
    all.place(Place {
        first: Index(first),
        epoch: ballot.into(),
        ..Place::default()
    })
}

fn lead(node: u16) -> Request {
    Request::TransferLeadership {
        token: Token(0),
        to: Some(NodeId(node)),
    }
}

fn promise(ballot: Ballot, after: u64, accepted: Vec<(Ballot, Run)>) -> Message {
    let last = accepted.last().map_or(Index(after), |(_, run)| run.last());
    let page = Page {
        after: Index(after),
        through: last,
        last: true,
        chosen: Index::ZERO,
        accepted,
    };
    Message::Promise {
        ballot,
        page: Box::new(page),
    }
}

fn accept(ballot: Ballot, run: Run, chosen: u64) -> Message {
    Message::Accept {
        ballot,
        run,
        chosen: Index(chosen),
    }
}

/// Slots that `from` has proposed to `to` under `ballot`: kind and command.
fn proposed(cluster: &Cluster, from: u16, to: u16, under: Ballot) -> Vec<(u64, EntryKind, String)> {
    let mut slots = Vec::new();
    for (source, target, message) in &cluster.sent {
        let Message::Accept { ballot, run, .. } = message else {
            continue;
        };
        if (*source, *target) == (from, to) && *ballot == under {
            for (offset, payload) in run.iter().enumerate() {
                let text = String::from_utf8_lossy(payload).into_owned();
                slots.push((run.first().0 + offset as u64, run.kind(), text));
            }
        }
    }
    slots
}

fn answers(cluster: &Cluster, from: u16) -> Vec<&Message> {
    let mine = cluster.sent.iter().filter(|(source, ..)| *source == from);
    mine.map(|(_, _, message)| message).collect()
}

/// Candidate 2 of three, whose ballot follows what it has promised to node 1.
fn candidate(cluster: &mut Cluster) -> Ballot {
    cluster.ask(2, lead(2));
    let promised = cluster.status(2).promised;
    assert_eq!(promised.node, NodeId(2));
    promised
}

/// Phase 1 is run once, however many slots follow [Lamport01 §3].
#[test]
fn a_stable_leader_prepares_once() {
    let mut cluster = Cluster::new(3, quiet());
    cluster.ask(1, lead(1));
    cluster.run(Duration::from_millis(10));
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.run(Duration::from_millis(10));
    }
    let count =
        |wanted: fn(&Message) -> bool| cluster.sent.iter().filter(|(_, _, m)| wanted(m)).count();
    assert_eq!(count(|m| matches!(m, Message::Prepare { .. })), 2);
    assert_eq!(count(|m| matches!(m, Message::Accept { .. })), 6);
    assert_eq!(count(|m| matches!(m, Message::Accepted { .. })), 6);
    assert_eq!(cluster.told(3).len(), 3);
}

/// MP-01: a hole is filled with a no-op [Lamport01 §3], and new commands come after everything taken
/// over.
#[test]
fn a_hole_is_filled_with_a_no_op() {
    let mut cluster = Cluster::new(3, quiet());
    let old = ballot(1, 1);
    cluster.receive(1, 2, accept(old, run(1, old, &["x"]), 0));
    cluster.receive(1, 2, accept(old, run(3, old, &["z"]), 0));
    let mine = candidate(&mut cluster);
    cluster.propose(2, "early");
    cluster.receive(3, 2, promise(mine, 0, vec![]));
    cluster.propose(2, "new");
    let expected = [
        (1, EntryKind::Command, "x".into()),
        (2, EntryKind::Noop, String::new()),
        (3, EntryKind::Command, "z".into()),
        (4, EntryKind::Command, "new".into()),
    ];
    assert_eq!(proposed(&cluster, 2, 3, mine), expected);
}

/// MP-02: the old leader comes back with its value in the hole, and adopts the no-op.
#[test]
fn an_old_leader_gives_its_value_in_a_filled_hole_up() {
    let old = ballot(1, 1);
    let mut cluster = Cluster::new(3, quiet());
    let promised = Record::Promised { ballot: old };
    let accepted = |run| Record::Accepted { ballot: old, run };
    cluster.stop(1);
    let disk = vec![promised, accepted(run(1, old, &["x", "B", "z"]))];
    cluster.start(1, disk);
    cluster.receive(1, 2, accept(old, run(1, old, &["x"]), 0));
    cluster.receive(1, 2, accept(old, run(3, old, &["z"]), 0));
    let mine = candidate(&mut cluster);
    cluster.cut(1, 2);
    cluster.receive(3, 2, promise(mine, 0, vec![]));
    cluster.run(Duration::from_millis(20));
    cluster.heal();
    cluster.run(Duration::from_secs(1));
    let told = [(1, Some("x".into())), (2, None), (3, Some("z".into()))];
    for node in 1..=3 {
        assert_eq!(cluster.told(node), told, "node {node}");
    }
}

/// MP-03: a promise carries every accepted slot above the asker's watermark, and counts only once all
/// of its pages have come.
#[test]
fn a_promise_counts_only_when_all_its_pages_have_come() {
    let mut cluster = Cluster::new(3, quiet());
    let old = ballot(1, 1);
    let mine = candidate(&mut cluster);
    let page = |after, through, last, commands: &[&str]| Message::Promise {
        ballot: mine,
        page: Box::new(Page {
            after: Index(after),
            through: Index(through),
            last,
            chosen: Index::ZERO,
            accepted: vec![(old, run(after + 1, old, commands))],
        }),
    };
    cluster.receive(3, 2, page(0, 2, false, &["a", "b"]));
    assert_eq!(cluster.status(2).role, Role::Candidate);
    // A page that leaves a gap proves nothing.
    cluster.receive(3, 2, page(3, 4, true, &["d"]));
    assert_eq!(cluster.status(2).role, Role::Candidate);
    cluster.receive(3, 2, page(2, 4, true, &["c", "d"]));
    assert_eq!(cluster.status(2).role, Role::Leader);
    let slots = proposed(&cluster, 2, 3, mine);
    let commands: Vec<_> = slots
        .iter()
        .map(|(_, _, command)| command.as_str())
        .collect();
    assert_eq!(commands, ["a", "b", "c", "d"]);
}

/// An acceptor that cannot tell everything at once says so.
#[test]
fn a_long_promise_comes_in_pages() {
    let options = Options {
        append_bytes_max: 4,
        ..quiet()
    };
    let mut cluster = Cluster::new(3, options);
    let old = ballot(1, 1);
    cluster.receive(1, 3, accept(old, run(1, old, &["aaa", "bbb", "ccc"]), 0));
    cluster.stop(1);
    let mine = candidate(&mut cluster);
    cluster.run(Duration::from_millis(10));
    let pages = cluster
        .sent
        .iter()
        .filter(|(from, _, message)| *from == 3 && matches!(message, Message::Promise { .. }));
    assert_eq!(pages.count(), 3);
    assert_eq!(proposed(&cluster, 2, 3, mine).len(), 3);
}

/// MP-05: the value of the highest ballot of each slot, not of each promise.
#[test]
fn each_slot_takes_the_value_of_its_own_highest_ballot() {
    let (one, two, three) = (ballot(1, 1), ballot(2, 3), ballot(3, 1));
    let options = Options {
        phase1: Some(3),
        phase2: Some(1),
        ..quiet()
    };
    let mut cluster = Cluster::new(3, options);
    let mine = candidate(&mut cluster);
    let first = vec![(one, run(1, one, &["X"])), (three, run(2, three, &["Z"]))];
    let second = vec![(two, run(1, two, &["Y"]))];
    cluster.receive(1, 2, promise(mine, 0, first));
    cluster.receive(3, 2, promise(mine, 0, second));
    let slots = proposed(&cluster, 2, 3, mine);
    let commands: Vec<_> = slots
        .iter()
        .map(|(_, _, command)| command.as_str())
        .collect();
    assert_eq!(commands, ["Y", "Z"]);
}

fn manifest(index: u64, ballot: Ballot) -> Manifest {
    Manifest {
        id: SnapshotId(1),
        index: Index(index),
        epoch: ballot.into(),
        members: members(&[1, 2, 3]),
        coming: Vec::new(),
        size: 0,
    }
}

/// MP-06: an acceptor that has trimmed what it is asked about says so and sends its snapshot; it never
/// says that there is nothing.
#[test]
fn a_trimmed_acceptor_sends_its_snapshot() {
    let mut cluster = Cluster::new(3, quiet());
    let old = ballot(1, 1);
    cluster.receive(1, 3, accept(old, run(1, old, &["a", "b"]), 2));
    cluster.ask(3, Request::SnapshotTaken(Box::new(manifest(2, old))));
    let mine = candidate(&mut cluster);
    cluster.stop(1);
    cluster.run(Duration::from_millis(10));
    let trimmed = Message::Trimmed {
        ballot: mine,
        through: Index(2),
    };
    assert!(answers(&cluster, 3).contains(&&trimmed));
    let sends = |event: &Event| matches!(event, Event::SendSnapshot { to: NodeId(2), .. });
    assert!(cluster.events(3).any(sends));
    assert_eq!(cluster.status(2).role, Role::Candidate);
    let received = Request::SnapshotReceived {
        from: NodeId(3),
        manifest: Box::new(manifest(2, old)),
    };
    cluster.ask(2, received);
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.status(2).role, Role::Leader);
    assert!(proposed(&cluster, 2, 3, mine).is_empty());
    assert_eq!(cluster.status(2).chosen, Index(2));
}

/// MP-07: what was accepted under an older ballot is not executed because the leader calls its slot
/// chosen.
#[test]
fn a_slot_is_executed_only_if_it_was_accepted_under_the_leaders_ballot() {
    let mut cluster = Cluster::new(3, quiet());
    let (old, new) = (ballot(1, 1), ballot(3, 3));
    cluster.receive(1, 2, accept(old, run(1, old, &["old"]), 0));
    cluster.receive(3, 2, accept(new, run(3, new, &["third"]), 2));
    assert!(cluster.told(2).is_empty());
    let runs = vec![run(1, new, &["new", "second"])];
    let chosen = Index(2);
    cluster.receive(3, 2, Message::Learn { runs, chosen });
    assert_eq!(
        cluster.told(2),
        [(1, Some("new".into())), (2, Some("second".into()))]
    );
    cluster.receive(
        3,
        2,
        Message::Decide {
            ballot: new,
            chosen: Index(3),
        },
    );
    assert_eq!(cluster.told(2).last(), Some(&(3, Some("third".into()))));
}

/// MP-15: a replica that has missed accepts asks for exactly the gap.
#[test]
fn a_replica_fetches_exactly_what_it_lacks() {
    let mut cluster = Cluster::new(3, quiet());
    let leader = ballot(1, 1);
    cluster.stop(1);
    cluster.receive(1, 2, accept(leader, run(1, leader, &["a"]), 0));
    cluster.receive(1, 2, accept(leader, run(5, leader, &["e", "f"]), 6));
    assert_eq!(cluster.told(2).len(), 1);
    cluster.run(Duration::from_millis(70));
    let gap = Message::Fetch {
        after: Index(1),
        through: Index(4),
    };
    assert!(
        answers(&cluster, 2).contains(&&gap),
        "{:?}",
        answers(&cluster, 2)
    );
    let runs = vec![run(2, leader, &["b", "c", "d"])];
    cluster.receive(
        1,
        2,
        Message::Learn {
            runs,
            chosen: Index(6),
        },
    );
    assert_eq!(cluster.told(2).len(), 6);
}

/// MP-09: a leader that somebody has outranked unseen answers no read.
#[test]
fn a_read_waits_for_a_quorum_that_still_obeys() {
    let mut cluster = Cluster::new(3, quiet());
    cluster.ask(1, lead(1));
    cluster.run(Duration::from_millis(10));
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    cluster.ask(2, lead(2));
    cluster.run(Duration::from_millis(10));
    cluster.propose(2, "newer");
    cluster.run(Duration::from_millis(10));
    cluster.ask(1, Request::Read { token: Token(7) });
    cluster.run(Duration::from_secs(1));
    let ready = |event: &Event| matches!(event, Event::ReadReady { .. });
    assert!(!cluster.events(1).any(ready));
    cluster.heal();
    cluster.run(Duration::from_secs(1));
    assert!(!cluster.events(1).any(ready));
    let refused = |event: &Event| {
        *event
            == Event::Rejected {
                token: Some(Token(7)),
                reason: Reason::NotLeader { hint: None },
            }
    };
    assert!(cluster.events(1).any(refused));
    cluster.ask(2, Request::Read { token: Token(8) });
    cluster.run(Duration::from_millis(10));
    let fresh = Event::ReadReady {
        token: Token(8),
        index: Index(1),
    };
    assert!(cluster.events(2).any(|event| *event == fresh));
}

/// An acceptor that has promised more refuses less, in words [Lamport01 §2.4].
#[test]
fn an_acceptor_never_accepts_below_its_promise() {
    let mut cluster = Cluster::new(3, quiet());
    let (low, high) = (ballot(1, 1), ballot(2, 3));
    let after = Index::ZERO;
    cluster.receive(
        3,
        2,
        Message::Prepare {
            ballot: high,
            after,
            released: Ballot::default(),
        },
    );
    cluster.receive(1, 2, accept(low, run(1, low, &["x"]), 1));
    let rejected = Message::Reject {
        ballot: low,
        promised: high,
    };
    assert!(answers(&cluster, 2).contains(&&rejected));
    assert!(cluster.told(2).is_empty());
    // Nor does anybody propose under a ballot that is another's.
    cluster.receive(1, 2, accept(high, run(1, high, &["x"]), 1));
    assert!(cluster.told(2).is_empty());
}

/// Each claim fails where the bug it warns of is planted.
#[cfg(feature = "faults")]
mod planted {
    use multipaxos::Fault;
    use std::{cell::Cell, panic::catch_unwind};

    thread_local! {
        pub(super) static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    #[test]
    fn every_claim_notices_its_bug() {
        let claims: [(Fault, fn()); 4] = [
            (
                Fault::OnePromiseForAll,
                super::each_slot_takes_the_value_of_its_own_highest_ballot,
            ),
            (
                Fault::HoleFilledWithCommand,
                super::a_hole_is_filled_with_a_no_op,
            ),
            (
                Fault::TrimmedSaysNothing,
                super::a_trimmed_acceptor_sends_its_snapshot,
            ),
            (
                Fault::ChosenUnverified,
                super::a_slot_is_executed_only_if_it_was_accepted_under_the_leaders_ballot,
            ),
        ];
        for (fault, claim) in claims {
            FAULT.set(Some(fault));
            assert!(catch_unwind(claim).is_err(), "{fault:?} goes unnoticed");
        }
        FAULT.set(None);
    }
}
