//! Messages, delays and writes of atomic commit.

use super::{consensus::by_nodes, measure::Measured};
use bytes::Bytes;
use consensus_core::{
    Algorithm, NodeId,
    contract::atomic_commit::{Event, Request, Vote},
    sim::{
        Counts,
        measure::{Bill, Laboratory},
    },
};
use std::time::Duration;
use threephase::ThreePhase;
use twophase::{Presumption, TwoPhase};

/// One way.
const DELAY: Duration = Duration::from_millis(1);
/// So short that it changes no order.
const SYNC: Duration = Duration::from_micros(1);

fn bill<A>(options: A::Options, apart: bool, votes: &[Vote]) -> Result<Bill, String>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    let first = if apart { 2 } else { 1 };
    let votes: Vec<_> = (first..).map(NodeId).zip(votes.iter().cloned()).collect();
    let laboratory = Laboratory {
        nodes: votes.len() + usize::from(apart),
        options,
        delay: DELAY,
        sync: SYNC,
        settle: 50 * DELAY,
        ..Laboratory::default()
    };
    laboratory.transact::<A>(&votes)
}

fn yes() -> Vote {
    Vote::Yes { redo: Bytes::new() }
}

/// `apart|among decides|known|messages|all|writes`.
pub(super) fn transaction(protocol: &str, words: &[&str]) -> Measured {
    let delays = |moment: Duration| (moment.as_nanos() / DELAY.as_nanos()) as f64;
    let [place @ ("apart" | "among"), what] = words else {
        return None;
    };
    let figure = |bill: &Bill| match *what {
        "decides" => Some(delays(bill.answered)),
        "known" => Some(delays(bill.known)),
        "messages" => Some(bill.messages_known as f64),
        "all" => Some(bill.messages() as f64),
        "writes" => Some(bill.writes_answered as f64),
        _ => None,
    };
    figure(&Bill::default())?;
    Some(by_nodes(|nodes| {
        let (apart, votes) = (*place == "apart", vec![yes(); nodes.into()]);
        let bill = if protocol == "twophase" {
            bill::<TwoPhase>(twophase::Options::default(), apart, &votes)
        } else {
            bill::<ThreePhase>(threephase::Options::default(), apart, &votes)
        }?;
        Ok(figure(&bill).unwrap_or_default())
    }))
}

/// What the coordinator wrote, forced, and sent to each of three, and what one of these did.
pub(super) fn presumption(presumed: &str, words: &[&str]) -> Measured {
    let presumption = match presumed {
        "nothing" => Presumption::Nothing,
        "abort" => Presumption::Abort,
        _ => Presumption::Commit,
    };
    let last = match words {
        ["commit"] => yes(),
        ["abort"] => Vote::No {
            reason: Bytes::new(),
        },
        ["read"] => Vote::ReadOnly,
        _ => return None,
    };
    let first = if words == ["read"] {
        last.clone()
    } else {
        yes()
    };
    let options = twophase::Options {
        presumption,
        ..twophase::Options::default()
    };
    let bill = bill::<TwoPhase>(options, true, &[first.clone(), first, last]);
    Some(bill.map(|bill| {
        let (coordinator, participant) = (bill.counts[0], bill.counts[1]);
        // Whoever votes no is asked and not told.
        let sent = (coordinator.messages as f64 / 3.0).ceil();
        let Counts {
            records, forced, ..
        } = coordinator;
        [
            records as f64,
            forced as f64,
            sent,
            participant.records as f64,
            participant.forced as f64,
            participant.messages as f64,
        ]
        .to_vec()
    }))
}
