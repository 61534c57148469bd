//! Claims of the literature, a test each, on the whole cluster in the hands of the test.

mod presumptions;

use bytes::Bytes;
use consensus_core::{
    Boot, Input, NodeId, Protocol as _, Token, Wire,
    contract::atomic_commit::{AbortReason, Event, Outcome, Reason, Request},
    sim::by_hand::first,
};
use presumptions::{ALL, cluster, each};
use twophase::{Message, Options, Presumption, Record, Timer};

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

/// TP-18: a time-out that goes off although the last yes has come is ignored, and so is the yes that comes
/// after it.
#[test]
fn tp18_a_time_out_and_the_last_yes_race_in_both_orders() {
    for presumption in ALL {
        for vote_is_first in [true, false] {
            let options = Options {
                vote_rounds: 1,
                ..each(presumption)
            };
            let mut c = cluster(3, &options);
            c.begin(1, &[2, 3]);
            while c.deliver_to(2) || c.deliver_to(3) {}
            let late = Input::Timer(Timer::Votes(first(1)));
            c.deliver_to(1);
            if vote_is_first {
                c.deliver_to(1);
                c.input(1, late);
            } else {
                c.input(1, late);
                c.deliver_to(1);
            }
            c.settle();
            let outcome = match vote_is_first {
                true => Outcome::Commit,
                false => Outcome::Abort,
            };
            assert_eq!(c.answer(1).map(|(outcome, _)| outcome), Some(outcome));
            for node in [2, 3] {
                assert_eq!(c.outcome(node, first(1)), Some(outcome), "{presumption:?}");
            }
        }
    }
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
