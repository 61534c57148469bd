//! What a log still says when it was written anew: outcomes, doubts, and what hands did.

mod presumptions;

use bytes::Bytes;
use consensus_core::{
    Boot, Input, NodeId, Protocol as _,
    contract::atomic_commit::{AbortReason, Event, Kept, Outcome, Request, Transaction},
    sim::by_hand::first,
};
use presumptions::{ALL, Cluster, cluster, each};
use twophase::{Message, Options, Presumption, Record, Timer};

/// The whole log of `node` is written anew, as many steps as that takes.
fn write_anew(c: &mut Cluster, node: u16) {
    let last = c.node(node).last();
    while (c.node(node).disk.keys().next()).is_some_and(|first| *first <= last) {
        c.input(node, Input::Reclaim(last.next()));
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
            write_anew(&mut c, node);
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

/// Node 2 votes for `transaction`, and an operator decides there before it hears more.
fn decide_by_hand_at_2(c: &mut Cluster, transaction: Transaction, outcome: Outcome) -> Transaction {
    let asks = |message: &Message| matches!(message, Message::Prepare { transaction: t, .. } if *t == transaction);
    let prepare = (c.network.iter()).position(|(_, to, message)| *to == 2 && asks(message));
    let (_, _, message) = c.network.remove(prepare.expect("it is asked"));
    let from = NodeId(1);
    c.input(2, Input::Receive { from, message });
    let decide = Request::DecideByHand {
        transaction,
        outcome,
    };
    c.input(2, Input::Request(decide));
    transaction
}

/// It is told to commit, and then the others are heard.
fn commit_by_hand_at_2(c: &mut Cluster) -> Transaction {
    let transaction = decide_by_hand_at_2(c, first(1), Outcome::Commit);
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
    write_anew(&mut c, 2);
    let whole = c.node(2).disk.clone();
    for length in 1..=whole.len() {
        // A power loss may keep any prefix of what was written anew, on top of the old records.
        c.node(2).disk = whole.clone().into_iter().take(length).collect();
        c.crash(2);
        c.settle();
        assert_ne!(answer_of_2(&mut c, transaction), Some(Outcome::Commit));
    }
}

/// What node 2 says to another participant that asks it for the outcome.
fn answer_of_2(c: &mut Cluster, transaction: Transaction) -> Option<Outcome> {
    let (presumption, boot, from) = (Presumption::Abort, Boot(1), NodeId(3));
    let message = Message::Inquire {
        transaction,
        presumption,
        boot,
    };
    c.network.clear();
    c.input(2, Input::Receive { from, message });
    c.network
        .drain(..)
        .find_map(|(_, _, message)| match message {
            Message::Decision { outcome, .. } => Some(outcome),
            _ => None,
        })
}

/// A commit by hand is no answer to anybody else before the truth is known either, and is compared with
/// it when it comes, although the log was written anew between.
#[test]
fn a_hand_whose_truth_is_not_known_stays_a_hand_after_reclaiming() {
    let mut c = cluster(3, &Options::default());
    c.refusing = vec![3];
    c.begin(1, &[1, 2, 3]);
    let transaction = decide_by_hand_at_2(&mut c, first(1), Outcome::Commit);
    let undelivered: Vec<_> = c.network.drain(..).collect();
    write_anew(&mut c, 2);
    c.crash(2);
    assert_eq!(
        c.outcome(2, transaction),
        Some(Outcome::Commit),
        "it is rebuilt"
    );
    assert_eq!(answer_of_2(&mut c, transaction), None);
    c.network.extend(undelivered);
    c.settle();
    c.input(2, Input::Timer(Timer::Outcome(transaction)));
    c.settle();
    assert_eq!(c.node(2).protocol.status().damage, 1);
}

/// A checkpoint holds what a hand has committed: written anew behind it, the hand is not told again.
#[test]
fn a_commit_by_hand_that_a_checkpoint_covers_is_not_told_again_after_reclaiming() {
    for truth in [Outcome::Commit, Outcome::Abort] {
        let mut c = cluster(3, &Options::default());
        if truth == Outcome::Abort {
            c.refusing = vec![3];
        }
        c.begin(1, &[1, 2, 3]);
        let transaction = decide_by_hand_at_2(&mut c, first(1), Outcome::Commit);
        let undelivered: Vec<_> = c.network.drain(..).collect();
        let before = c.node(2).last().next();
        let state = Bytes::from_static(b"with it");
        c.input(2, Input::Request(Request::Checkpoint { state }));
        // All but the checkpoint is written anew, behind it.
        c.input(2, Input::Reclaim(before));
        c.crash(2);
        assert_eq!(c.outcome(2, transaction), None, "{truth:?}");
        c.network.extend(undelivered);
        c.settle();
        c.input(2, Input::Timer(Timer::Outcome(transaction)));
        c.settle();
        let damage = usize::from(truth == Outcome::Abort);
        assert_eq!(c.node(2).protocol.status().damage, damage, "{truth:?}");
        assert_eq!(c.node(2).protocol.status().in_doubt, [], "{truth:?}");
    }
}

/// Written anew a record at a time, no decision by hand falls between two steps.
#[test]
fn every_hand_is_remembered_however_small_the_steps_are() {
    let options = Options {
        reclaim_step: 1,
        ..Options::default()
    };
    let mut c = cluster(3, &options);
    let second = Transaction {
        sequence: 2,
        ..first(1)
    };
    c.begin(1, &[1, 2, 3]);
    c.begin(2, &[1, 2, 3]);
    for transaction in [first(1), second] {
        decide_by_hand_at_2(&mut c, transaction, Outcome::Abort);
    }
    let undelivered: Vec<_> = c.network.drain(..).collect();
    write_anew(&mut c, 2);
    c.crash(2);
    c.network.extend(undelivered);
    c.settle();
    for transaction in [first(1), second] {
        c.input(2, Input::Timer(Timer::Outcome(transaction)));
        c.settle();
    }
    assert_eq!(c.node(2).protocol.status().damage, 2, "all else committed");
}

/// The only participant's commit is the decision. Its coordinator, which has not heard it, is told so by
/// a later run too, although nothing but its answer needs the record any more.
#[test]
fn a_decision_of_the_only_participant_is_kept_until_its_coordinator_moves_on() {
    let mut c = cluster(2, &Options::default());
    let transaction = first(1);
    c.begin(1, &[2]);
    while c.deliver_to(2) {}
    assert_eq!(c.outcome(2, transaction), Some(Outcome::Commit));
    c.network.clear();
    let state = Bytes::from_static(b"with it");
    c.input(2, Input::Request(Request::Checkpoint { state }));
    for _ in 0..2 {
        write_anew(&mut c, 2);
        c.crash(2);
        c.network.clear();
        assert_eq!(c.outcome(2, transaction), None, "the checkpoint covers it");
    }
    c.input(1, Input::Timer(Timer::Votes(transaction)));
    c.settle();
    assert_eq!(c.answer(1), Some((Outcome::Commit, AbortReason::None)));
    // Its coordinator says by the next that it has moved on, and the record may go.
    c.begin(2, &[2]);
    c.settle();
    write_anew(&mut c, 2);
    let of_first = |record: &Record| matches!(record, Record::Committed { transaction: t, .. } if *t == transaction);
    assert!(!c.node(2).disk.values().any(of_first));
}

/// What a hand has aborted and the resource still holds after a crash is let go, whether or not the truth
/// has come.
#[test]
fn what_a_hand_has_aborted_is_no_orphan_of_the_resource() {
    for truth_is_known in [false, true] {
        let mut c = cluster(3, &Options::default());
        c.begin(1, &[1, 2, 3]);
        let transaction = decide_by_hand_at_2(&mut c, first(1), Outcome::Abort);
        if truth_is_known {
            c.settle();
            assert_eq!(c.node(2).protocol.status().damage, 1);
        }
        c.crash(2);
        assert_eq!(c.outcome(2, transaction), None);
        let transactions = vec![transaction];
        c.input(2, Input::Request(Request::FoundPrepared { transactions }));
        assert_eq!(c.outcome(2, transaction), Some(Outcome::Abort));
    }
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
