//! Claims of the literature, a test each, on the whole cluster in the hands of the test.

use bytes::Bytes;
use consensus_core::{
    Boot, Input, NodeId, Protocol as _, Token, Wire,
    contract::atomic_commit::{AbortReason, Event, Kept, Outcome, Reason, Request, Transaction},
    sim::by_hand::{self, first},
};
use twophase::{Message, Options, Presumption, Record, Timer, TwoPhase};

type Cluster = by_hand::Cluster<TwoPhase>;

fn cluster(count: u16, options: &Options) -> Cluster {
    Cluster::new(count, options)
}

fn each(presumption: Presumption) -> Options {
    Options {
        presumption,
        ..Options::default()
    }
}

const ALL: [Presumption; 3] = [
    Presumption::Abort,
    Presumption::Commit,
    Presumption::Nothing,
];

/// AC4, *non-triviality*: all vote yes and nothing fails: commit.
#[test]
fn all_vote_yes_and_nothing_fails_commits() {
    for presumption in ALL {
        for nodes in [1, 2, 3, 5, 7] {
            let mut c = cluster(nodes, &each(presumption));
            let participants: Vec<u16> = (1..=nodes).collect();
            c.begin(1, &participants);
            c.settle();
            assert_eq!(c.answer(1), Some((Outcome::Commit, AbortReason::None)));
            for node in 1..=nodes {
                assert_eq!(c.outcome(node, first(1)), Some(Outcome::Commit));
                assert_eq!(c.node(node).protocol.status().in_doubt, []);
            }
            assert_eq!(c.node(1).protocol.status().live, 0);
        }
    }
}

/// AC3: one no aborts everywhere, and its reason reaches the client.
#[test]
fn one_no_aborts_everywhere() {
    for presumption in ALL {
        let mut c = cluster(3, &each(presumption));
        c.refusing = vec![2];
        c.begin(1, &[1, 2, 3]);
        c.settle();
        let reason = AbortReason::VotedNo {
            node: NodeId(2),
            reason: "no".into(),
        };
        assert_eq!(c.answer(1), Some((Outcome::Abort, reason)));
        assert_eq!(c.outcome(1, first(1)), Some(Outcome::Abort));
        assert_eq!(c.outcome(3, first(1)), Some(Outcome::Abort));
        assert_eq!(c.node(1).protocol.status().live, 0);
    }
}

/// A log that is written anew gives the same node: outcomes told, doubts, uncovered commits.
#[test]
fn a_log_written_anew_recovers_the_same() {
    for presumption in ALL {
        let mut c = cluster(3, &each(presumption));
        for token in 1..=5 {
            c.begin(token, &[1, 2, 3]);
            c.settle();
        }
        c.begin(6, &[1, 2, 3]);
        // Node 2 has voted and hears nothing more.
        c.settle_without(&[3]);
        for node in [1, 2] {
            c.crash(node);
            let before = c.node(node).protocol.status();
            let last = c.node(node).last();
            while c
                .node(node)
                .disk
                .keys()
                .next()
                .is_some_and(|first| *first <= last)
            {
                c.input(node, Input::Reclaim(last.next()));
            }
            c.crash(node);
            let after = c.node(node).protocol.status();
            assert_eq!(before.in_doubt, after.in_doubt);
            assert_eq!(before.uncovered, after.uncovered);
            assert_eq!(before.live, after.live);
        }
    }
}

/// What a checkpoint covers is not told again; what it does not cover is, in order.
#[test]
fn a_resource_is_rebuilt_from_its_checkpoint_and_what_came_after() {
    let mut c = cluster(2, &Options::default());
    for token in 1..=4 {
        c.begin(token, &[1, 2]);
        c.settle();
        if token == 2 {
            let state = Bytes::from_static(b"two");
            c.input(2, Input::Request(Request::Checkpoint { state }));
        }
    }
    c.crash(2);
    let told: Vec<_> = c.node(2).events.iter().collect();
    assert!(matches!(told[0], Event::Restore { state } if state == "two"));
    let commits = told.iter().filter_map(|event| match event {
        Event::Commit { transaction, redo } => Some((transaction.sequence, redo.clone())),
        _ => None,
    });
    let redo = Bytes::from_static(b"work");
    assert_eq!(commits.collect::<Vec<_>>(), [(3, redo.clone()), (4, redo)]);
}

/// Node 2 votes for the first transaction, and is told to commit by hand before it hears more.
fn commit_by_hand_at_2(c: &mut Cluster) -> Transaction {
    let transaction = first(1);
    let prepare = c.network.iter().position(|(_, to, _)| *to == 2);
    let (_, _, message) = c.network.remove(prepare.expect("it is asked"));
    let from = NodeId(1);
    c.input(2, Input::Receive { from, message });
    let decide = Request::DecideByHand {
        transaction,
        outcome: Outcome::Commit,
    };
    c.input(2, Input::Request(decide));
    c.settle();
    transaction
}

/// A participant that was decided to commit by hand, whose resource carries that out after the truth has
/// come, and whose checkpoint holds it.
fn committed_by_hand(truth: Outcome) -> Cluster {
    let mut c = cluster(3, &Options::default());
    c.slow = vec![2];
    if truth == Outcome::Abort {
        c.refusing = vec![3];
    }
    c.begin(1, &[1, 2, 3]);
    let transaction = commit_by_hand_at_2(&mut c);
    // The coordinator says, by a later transaction, that it has moved on.
    c.begin(2, &[1, 2, 3]);
    c.settle();
    if truth == Outcome::Abort {
        c.input(2, Input::Timer(Timer::Outcome(transaction)));
        c.settle();
    }
    let kept = Kept::Log;
    c.input(2, Input::Request(Request::Done { transaction, kept }));
    let state = Bytes::from_static(b"with it");
    c.input(2, Input::Request(Request::Checkpoint { state }));
    c
}

/// What a checkpoint covers is not told again, although the truth came before the resource was done
/// with what the hand had decided.
#[test]
fn a_commit_by_hand_that_a_checkpoint_covers_is_not_told_again() {
    for truth in [Outcome::Commit, Outcome::Abort] {
        let mut c = committed_by_hand(truth);
        let damage = c.node(2).protocol.status().damage;
        assert_eq!(damage, usize::from(truth == Outcome::Abort), "{truth:?}");
        c.crash(2);
        assert_eq!(c.outcome(2, first(1)), None, "{truth:?}");
    }
}

/// A commit by hand that was wrong is no answer to anybody else, however often the log is written anew
/// and although an operator has seen the damage.
#[test]
fn a_wrong_hand_is_no_truth_after_reclaiming() {
    let mut c = cluster(3, &Options::default());
    c.refusing = vec![3];
    c.begin(1, &[1, 2, 3]);
    let transaction = commit_by_hand_at_2(&mut c);
    c.input(2, Input::Timer(Timer::Outcome(transaction)));
    c.settle();
    assert_eq!(c.node(2).protocol.status().damage, 1);
    c.input(
        2,
        Input::Request(Request::AcknowledgeDamage { transaction }),
    );
    let last = c.node(2).last();
    c.input(2, Input::Reclaim(last.next()));
    c.crash(2);
    c.settle();
    let (presumption, boot) = (Presumption::Abort, Boot(1));
    let inquire = Message::Inquire {
        transaction,
        presumption,
        boot,
    };
    let from = NodeId(3);
    let message = inquire;
    c.input(2, Input::Receive { from, message });
    let said = c.network.iter().find_map(|(_, _, message)| match message {
        Message::Decision { outcome, .. } => Some(*outcome),
        _ => None,
    });
    assert_ne!(said, Some(Outcome::Commit));
}

/// Whatever the resource holds that was never voted for is let go.
#[test]
fn an_orphan_of_the_resource_is_aborted() {
    let mut c = cluster(2, &Options::default());
    let orphan = first(9);
    let transactions = vec![orphan];
    c.input(2, Input::Request(Request::FoundPrepared { transactions }));
    assert_eq!(c.outcome(2, orphan), Some(Outcome::Abort));
}

/// TP-30: a full coordinator refuses, and what runs ends.
#[test]
fn too_many_at_once_are_refused_and_the_others_end() {
    let options = Options {
        running_max: 2,
        ..Options::default()
    };
    let mut c = cluster(3, &options);
    for token in 1..=3 {
        c.begin(token, &[2, 3]);
    }
    let busy = Event::Rejected {
        token: Token(3),
        reason: Reason::Busy,
    };
    assert!(c.node(1).events.contains(&busy));
    c.settle();
    assert!(c.answer(1).is_some() && c.answer(2).is_some());
}

/// What cannot be begun is refused with the reason.
#[test]
fn what_cannot_be_begun_is_refused() {
    let mut c = cluster(3, &Options::default());
    for (token, nodes) in [(1, &[][..]), (2, &[2, 2][..]), (3, &[2, 9][..])] {
        c.begin(token, nodes);
        let refused = Event::Rejected {
            token: Token(token),
            reason: Reason::BadParticipants,
        };
        assert!(c.node(1).events.contains(&refused), "{nodes:?}");
    }
    let (token, work) = (Token(4), vec![(NodeId(1), Bytes::new())]);
    c.input(2, Input::Request(Request::Begin { token, work }));
    let refused = Event::Rejected {
        token,
        reason: Reason::NotCoordinator {
            hint: Some(NodeId(1)),
        },
    };
    assert!(c.node(2).events.contains(&refused));
}

/// A vote that does not come is an abort, and names whose it was.
#[test]
fn a_missing_vote_aborts_in_time() {
    let mut c = cluster(3, &Options::default());
    c.begin(1, &[2, 3]);
    c.settle_without(&[3]);
    for _ in 0..Options::default().vote_rounds {
        c.input(1, Input::Timer(Timer::Votes(first(1))));
        c.settle_without(&[3]);
    }
    let node = NodeId(3);
    let late = AbortReason::Timeout { node };
    assert_eq!(c.answer(1), Some((Outcome::Abort, late)));
    assert_eq!(c.outcome(2, first(1)), Some(Outcome::Abort));
}

/// Every message and record survives its own bytes.
#[test]
fn everything_written_is_read_back() {
    let transaction = first(3);
    let messages = [
        Message::Prepare {
            transaction,
            work: "w".into(),
            participants: vec![(NodeId(2), Boot(7))],
            presumption: Presumption::Nothing,
            oldest_live: transaction,
        },
        Message::Vote {
            transaction,
            vote: twophase::Ballot::No("why".into()),
            boot: Boot(2),
        },
        Message::Decision {
            transaction,
            outcome: Outcome::Abort,
            presumption: Presumption::Commit,
            oldest_live: Some(transaction),
        },
        Message::Greet {},
    ];
    for message in messages {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(Message::decode(bytes.into()), Ok(message));
    }
    let record = Record::Prepared {
        transaction,
        presumption: Presumption::Abort,
        participants: vec![(NodeId(2), Boot(7))],
        redo: "r".into(),
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(Record::decode(bytes.into()), Ok(record));
}
