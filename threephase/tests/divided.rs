//! What the two rules of E3PC are there for \[KeidarDolev98\]: where one is broken, a quorum commits beside
//! another that aborts. The bugs have to be planted for that: `cargo test -p threephase --features
//! faults`.
#![cfg(feature = "faults")]

use consensus_core::{
    contract::atomic_commit::{Outcome, Transaction},
    sim::by_hand::{self, first},
};
use threephase::{Fault, Message, Mode, Options, ThreePhase, Timer};

type Cluster = by_hand::Cluster<ThreePhase>;

const T: Transaction = first(1);

/// Delivers what is under way from `from` to `to`, if it is such a message.
fn deliver(c: &mut Cluster, from: u16, to: u16, what: fn(&Message) -> bool) {
    let chosen = |(f, t, message): &(u16, u16, Message)| (*f, *t) == (from, to) && what(message);
    let place = c.network.iter().position(chosen);
    let flight = c.network.remove(place.expect("it is under way"));
    c.network.insert(0, flight);
    c.deliver_to(to);
}

/// Three sites, each a participant, quorums of two. All have voted yes, the coordinator's pre-commits are
/// under way, and node 3 has been asked by node 2, which campaigns.
fn asked_by_a_candidate(fault: Option<Fault>) -> Cluster {
    let options = Options {
        mode: Mode::Quorum,
        fault,
        ..Options::default()
    };
    let mut c = Cluster::new(3, &options);
    if fault.is_some() {
        // Further than the property that notices the bug first.
        c.overlooked = vec!["report_is_durable"];
    }
    c.begin(1, &[1, 2, 3]);
    for node in [2, 3] {
        deliver(&mut c, 1, node, |m| matches!(m, Message::CanCommit { .. }));
        deliver(&mut c, node, 1, |m| matches!(m, Message::Vote { .. }));
    }
    c.alarm(2, Timer::Participant(T));
    deliver(&mut c, 2, 3, |m| matches!(m, Message::Elect { .. }));
    c
}

/// Node 3 hears the coordinator's pre-commit after it has reported.
fn reported_before_the_pre_commit(fault: Option<Fault>) -> Cluster {
    let mut c = asked_by_a_candidate(fault);
    deliver(&mut c, 1, 3, |m| matches!(m, Message::PreCommit { .. }));
    c
}

/// What node 2 makes of the report, and node 3 of that.
fn elected_by_the_report(c: &mut Cluster) {
    deliver(c, 3, 2, |m| matches!(m, Message::Report { .. }));
    c.alarm(2, Timer::Election(T));
    deliver(c, 2, 3, |m| matches!(m, Message::PreAbort { .. }));
    deliver(c, 3, 2, |m| matches!(m, Message::Attempted { .. }));
}

#[test]
#[should_panic(expected = "ac1_agreement")]
fn th16_a_stale_report_divides_a_quorum() {
    let mut c = reported_before_the_pre_commit(Some(Fault::ReportsBeforeElected));
    deliver(&mut c, 3, 1, |m| matches!(m, Message::Attempted { .. }));
    assert_eq!(c.outcome(1, T), Some(Outcome::Commit));
    elected_by_the_report(&mut c);
}

/// The same steps with the rule: the pre-commit is refused, and nobody can commit.
#[test]
fn th16_a_stored_election_refuses_what_would_divide_it() {
    let mut c = reported_before_the_pre_commit(None);
    deliver(&mut c, 3, 1, |m| matches!(m, Message::Refuse { .. }));
    assert_eq!(c.outcome(1, T), None);
    elected_by_the_report(&mut c);
    assert_eq!(c.outcome(2, T), Some(Outcome::Abort));
    c.settle();
    assert_eq!(c.outcome(1, T), Some(Outcome::Abort));
    assert_eq!(c.outcome(3, T), Some(Outcome::Abort));
}

/// TH-14: node 1 is pre-committed in the coordinator's round, and nodes 2 and 3 have pre-aborted in a newer
/// one and aborted at node 2. Node 3 asks node 1.
fn an_older_attempt_is_reported(fault: Option<Fault>) -> Cluster {
    let mut c = asked_by_a_candidate(fault);
    elected_by_the_report(&mut c);
    assert_eq!(c.outcome(2, T), Some(Outcome::Abort));
    c.network.clear();
    c.alarm(3, Timer::Participant(T));
    deliver(&mut c, 3, 1, |m| matches!(m, Message::Elect { .. }));
    deliver(&mut c, 1, 3, |m| matches!(m, Message::Report { .. }));
    c.alarm(3, Timer::Election(T));
    c
}

#[test]
#[should_panic(expected = "ac1_agreement")]
fn th14_an_older_attempt_that_is_heeded_divides_a_quorum() {
    let mut c = an_older_attempt_is_reported(Some(Fault::IgnoresAttempts));
    deliver(&mut c, 3, 1, |m| matches!(m, Message::PreCommit { .. }));
    deliver(&mut c, 1, 3, |m| matches!(m, Message::Attempted { .. }));
}

#[test]
fn th14_the_newest_attempt_goes_on_as_it_was() {
    let mut c = an_older_attempt_is_reported(None);
    deliver(&mut c, 3, 1, |m| matches!(m, Message::PreAbort { .. }));
    deliver(&mut c, 1, 3, |m| matches!(m, Message::Attempted { .. }));
    assert_eq!(c.outcome(3, T), Some(Outcome::Abort));
    c.settle();
    assert_eq!(c.outcome(1, T), Some(Outcome::Abort));
}
