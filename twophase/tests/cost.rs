//! What a transaction costs, counted exactly in virtual time, against the figures of the literature. A
//! message to oneself is free and not counted.

use bytes::Bytes;
use consensus_core::{
    NodeId,
    contract::atomic_commit::{Outcome, Vote},
    sim::measure::{Bill, Laboratory},
};
use std::time::Duration;
use twophase::{Options, Presumption, TwoPhase};

const DELAY: Duration = Duration::from_millis(1);
/// Short enough to change no order, so that a moment tells delays and syncs.
const SYNC: Duration = Duration::from_micros(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Will {
    Yes,
    No,
    ReadOnly,
}

impl Will {
    fn vote(self) -> Vote {
        match self {
            Self::Yes => Vote::Yes { redo: Bytes::new() },
            Self::No => Vote::No {
                reason: Bytes::new(),
            },
            Self::ReadOnly => Vote::ReadOnly,
        }
    }
}

/// What one node did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Count {
    records: u64,
    forced: u64,
    sent: u64,
}

/// One transaction over all that have a will, at nodes 1 to `nodes`, which have said hello.
fn bill(nodes: usize, options: Options, wills: &[(u16, Will)]) -> Bill {
    let laboratory = Laboratory {
        nodes,
        options,
        delay: DELAY,
        sync: SYNC,
        settle: DELAY * 50,
        ..Laboratory::default()
    };
    let wills = wills
        .iter()
        .map(|(node, will)| (NodeId(*node), will.vote()));
    let votes: Vec<_> = wills.collect();
    laboratory
        .transact::<TwoPhase>(&votes)
        .expect("nothing stands in the way")
}

fn counts(bill: &Bill) -> Vec<Count> {
    let count = bill
        .counts
        .iter()
        .map(|counts| count(counts.records, counts.forced, counts.messages));
    count.collect()
}

/// How many delays and how many syncs one after the other are in a moment.
fn parts(moment: Duration) -> (u128, u128) {
    let (whole, rest) = (
        moment.as_nanos() / DELAY.as_nanos(),
        moment.as_nanos() % DELAY.as_nanos(),
    );
    (whole, rest / SYNC.as_nanos())
}

/// Node 1 coordinates and takes no part; nodes 2 to N+1 do.
fn apart(presumption: Presumption, wills: &[Will]) -> Bill {
    let options = Options {
        presumption,
        one_phase: false,
        ..Options::default()
    };
    let wills: Vec<_> = (2..).zip(wills.iter().copied()).collect();
    bill(wills.len() + 1, options, &wills)
}

fn count(records: u64, forced: u64, sent: u64) -> Count {
    Count {
        records,
        forced,
        sent,
    }
}

/// Coordinator, then each participant: records, of which forced, messages. [Mohan86], and
/// [LampsonLomet93] §2.
fn check(presumption: Presumption, wills: &[Will], coordinator: Count, participants: &[Count]) {
    let bill = apart(presumption, wills);
    println!("{presumption:?} {wills:?}: {bill:?}");
    let counts = counts(&bill);
    assert_eq!(
        counts[0], coordinator,
        "coordinator, {presumption:?} {wills:?}"
    );
    assert_eq!(counts[1..], *participants, "{presumption:?} {wills:?}");
}

/// Updates everywhere, committed: 2 messages to each; 2, 2 and 1 from each.
#[test]
fn a_commit_costs_what_its_presumption_says() {
    for n in [2, 3, 5, 7] {
        let wills = vec![Will::Yes; n];
        let sent = 2 * n as u64;
        check(
            Presumption::Abort,
            &wills,
            count(2, 1, sent),
            &vec![count(2, 2, 2); n],
        );
        check(
            Presumption::Commit,
            &wills,
            count(2, 2, sent),
            &vec![count(2, 1, 1); n],
        );
        check(
            Presumption::Nothing,
            &wills,
            count(2, 1, sent),
            &vec![count(2, 2, 2); n],
        );
    }
}

/// The last participant votes no. It is not told what it knows.
#[test]
fn an_abort_costs_what_its_presumption_says() {
    let wills = [Will::Yes, Will::Yes, Will::No];
    let refuses = count(0, 0, 1);
    let told = |records, forced, sent| {
        vec![
            count(records, forced, sent),
            count(records, forced, sent),
            refuses,
        ]
    };
    // Nothing at the coordinator, which forgets at once; no acknowledgement.
    check(Presumption::Abort, &wills, count(0, 0, 5), &told(2, 1, 1));
    // Collecting forced, abort and end lazy; acknowledged.
    check(Presumption::Commit, &wills, count(3, 1, 5), &told(2, 2, 2));
    check(Presumption::Nothing, &wills, count(2, 1, 5), &told(2, 2, 2));
}

/// A read-only participant has no second phase; if all are, there is nothing to write but *collecting*
/// and its end.
#[test]
fn a_read_only_participant_costs_one_message() {
    let reads = count(0, 0, 1);
    let some = [Will::Yes, Will::ReadOnly];
    check(
        Presumption::Abort,
        &some,
        count(2, 1, 3),
        &[count(2, 2, 2), reads],
    );
    check(
        Presumption::Commit,
        &some,
        count(2, 2, 3),
        &[count(2, 1, 1), reads],
    );
    // Presumed nothing knows no read-only participant.
    check(
        Presumption::Nothing,
        &some,
        count(2, 1, 4),
        &[count(2, 2, 2); 2],
    );
    let all = [Will::ReadOnly; 3];
    check(Presumption::Abort, &all, count(0, 0, 3), &[reads; 3]);
    check(Presumption::Commit, &all, count(2, 1, 3), &[reads; 3]);
}

/// The textbook: 3N messages until everybody knows and 4N with acknowledgements; the coordinator
/// decides after 2 delays, participants know after 3.
///
/// [GrayLamport06 §3.3] counts 3N−1 and 4 delays: there the request comes from a participant, which is
/// a delay more, and brings its own readiness, which is a prepare less.
#[test]
fn apart_it_takes_three_delays_and_four_messages_each() {
    for n in [3, 5, 7] {
        let bill = apart(Presumption::Abort, &vec![Will::Yes; n]);
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        // N prepared records and the decision, two of them one after the other.
        assert_eq!(bill.writes_answered, n as u64 + 1);
        assert_eq!((parts(bill.answered), parts(bill.known)), ((2, 2), (3, 3)));
        assert_eq!(bill.messages_known, 3 * n as u64);
        assert_eq!(bill.messages(), 4 * n as u64);
    }
}

/// Co-located, the first participant being the coordinator [GrayLamport06 §3.3]: 3N−3 messages, 3
/// delays, N+1 stable writes.
#[test]
fn co_located_it_costs_what_gray_and_lamport_count() {
    for n in [3u16, 5, 7] {
        let wills: Vec<_> = (1..=n).map(|node| (node, Will::Yes)).collect();
        let bill = bill(n.into(), Options::default(), &wills);
        let n = u64::from(n);
        println!("{n} nodes: {bill:?}");
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        assert_eq!((parts(bill.answered), parts(bill.known)), ((2, 2), (3, 3)));
        assert_eq!(bill.writes_answered, n + 1);
        // Three rounds, and a fourth of acknowledgements.
        assert_eq!(bill.messages_known, 3 * n - 3);
        assert_eq!(bill.messages(), 4 * (n - 1));
    }
}

/// One participant needs one phase: 2 messages, one forced write, and it is the participant's.
#[test]
fn one_phase_costs_one_message_each_way() {
    let bill = bill(2, Options::default(), &[(2, Will::Yes)]);
    assert_eq!(bill.outcome, Some(Outcome::Commit));
    assert_eq!(counts(&bill), [count(0, 0, 1), count(1, 1, 1)]);
    assert_eq!(parts(bill.answered), (2, 1));
}
