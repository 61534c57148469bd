//! What a transaction costs, counted exactly in virtual time, against the figures of the textbook. A
//! message to oneself is free and not counted.

use bytes::Bytes;
use consensus_core::{
    NodeId,
    contract::atomic_commit::{Outcome, Vote},
    sim::measure::{Bill, Laboratory},
};
use std::time::Duration;
use threephase::{Mode, Options, ThreePhase};

const DELAY: Duration = Duration::from_millis(1);
/// Short enough to change no order, so that a moment tells delays and syncs.
const SYNC: Duration = Duration::from_micros(1);

/// One transaction over nodes `first` to `first + n - 1`; all vote yes but, if so, the last. Node 1
/// coordinates.
fn bill(mode: Mode, first: u16, n: u16, all: bool) -> Bill {
    let options = Options {
        mode,
        ..Options::default()
    };
    let laboratory = Laboratory {
        nodes: usize::from(first + n - 1),
        options,
        delay: DELAY,
        sync: SYNC,
        settle: DELAY * 50,
        ..Laboratory::default()
    };
    let vote = |i: u16| match all || i + 1 < n {
        true => Vote::Yes { redo: Bytes::new() },
        false => Vote::No {
            reason: Bytes::new(),
        },
    };
    let votes: Vec<_> = (0..n).map(|i| (NodeId(first + i), vote(i))).collect();
    let bill = laboratory.transact::<ThreePhase>(&votes);
    bill.expect("nothing stands in the way")
}

/// How many delays and how many syncs one after the other are in a moment.
fn parts(moment: Duration) -> (u128, u128) {
    let (delay, sync) = (DELAY.as_nanos(), SYNC.as_nanos());
    let nanos = moment.as_nanos();
    (nanos / delay, nanos % delay / sync)
}

/// Records, of which forced, and messages of each node.
fn counts(bill: &Bill) -> Vec<(u64, u64, u64)> {
    let counts = bill.counts.iter();
    counts
        .map(|node| (node.records, node.forced, node.messages))
        .collect()
}

/// The textbook: 5N messages until everybody knows and 6N with final acknowledgements; the coordinator
/// decides after 4 delays, participants know after 5.
#[test]
fn apart_it_takes_five_delays_and_six_messages_each() {
    for n in [3, 5, 7] {
        let bill = bill(Mode::Classic, 2, n, true);
        let n = u64::from(n);
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        // A vote, a pre-commit and the decision, one after the other.
        assert_eq!((parts(bill.answered), parts(bill.known)), ((4, 3), (5, 4)));
        // N votes, N pre-commits and the decision.
        assert_eq!(bill.writes_answered, 2 * n + 1);
        assert_eq!(bill.messages_known, 5 * n);
        assert_eq!(bill.messages(), 6 * n);
        // The decision forced, its end lazy; voted, pre-committed and committed, all forced.
        let mut expected = vec![(2, 1, 3 * n)];
        expected.resize(bill.counts.len(), (3, 3, 3));
        assert_eq!(counts(&bill), expected);
    }
}

/// Co-located, the first participant being the coordinator: every round costs one message less, and no
/// sync more is on the path: others are asked for their pre-commits while the coordinator's own is
/// written.
#[test]
fn co_located_every_round_is_one_message_less() {
    for n in [3, 5, 7] {
        let bill = bill(Mode::Classic, 1, n, true);
        let n = u64::from(n);
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        assert_eq!((parts(bill.answered), parts(bill.known)), ((4, 3), (5, 4)));
        assert_eq!(bill.writes_answered, 2 * n + 1);
        assert_eq!(bill.messages_known, 5 * (n - 1));
        assert_eq!(bill.messages(), 6 * (n - 1));
    }
}

/// With quorums the failure-free run sends the same messages, and decides as early.
#[test]
fn a_quorum_costs_no_message_more() {
    for n in [3, 5, 7] {
        for first in [1, 2] {
            let (quorum, classic) = (
                bill(Mode::Quorum, first, n, true),
                bill(Mode::Classic, first, n, true),
            );
            assert_eq!(quorum.outcome, Some(Outcome::Commit));
            assert_eq!(quorum.messages(), classic.messages());
            assert_eq!(parts(quorum.answered), parts(classic.answered));
            assert_eq!(parts(quorum.known), parts(classic.known));
        }
    }
}

/// A no ends it in the first phase: the coordinator writes nothing, and whoever refused writes nothing.
#[test]
fn an_abort_costs_one_phase_and_no_record_at_the_coordinator() {
    for n in [3, 5, 7] {
        let bill = bill(Mode::Classic, 2, n, false);
        assert_eq!(bill.outcome, Some(Outcome::Abort));
        let counts = counts(&bill);
        assert_eq!((counts[0].0, counts[0].1), (0, 0));
        let last = counts[counts.len() - 1];
        assert_eq!((last.0, last.1), (0, 0));
        // Voted and aborted.
        let others = &counts[1..counts.len() - 1];
        assert!(
            others.iter().all(|(_, forced, _)| *forced == 2),
            "{counts:?}"
        );
        assert_eq!(bill.messages(), 4 * u64::from(n));
    }
}
