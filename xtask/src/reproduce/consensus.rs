//! Messages, delays and writes of agreeing on one command.

use super::measure::Measured;
use bench::{
    cost::{self, Cost, NODES},
    harness::{
        LogLoad, election,
        sites::commit_latency,
        virtual_time::{VirtualTime, duel_request},
    },
    planet::SITES,
};
use consensus_core::{
    NodeId,
    contract::register::Event,
    sim::measure::{Decision, Laboratory},
};
use multipaxos::MultiPaxos;
use paxos::Paxos;
use raft::Raft;
use std::time::Duration;

/// Commands of a stream: the last one's commitment rides along with nothing, which must not count.
const STREAM: u32 = 2_000;

/// One figure for each number of nodes.
pub(super) fn by_nodes(figure: impl Fn(u16) -> Result<f64, String>) -> Result<Vec<f64>, String> {
    NODES.into_iter().map(figure).collect()
}

fn decree(nodes: u16, thrifty: bool) -> Result<Decision, String> {
    let laboratory = Laboratory {
        nodes: nodes.into(),
        options: paxos::Options {
            thrifty,
            ..paxos::Options::default()
        },
        ..Laboratory::default()
    };
    let chosen = |event: &Event| matches!(event, Event::Chosen { .. });
    laboratory.decide::<Paxos>(NodeId(1), &duel_request(NodeId(1)), &chosen)
}

pub(super) fn paxos(words: &[&str]) -> Measured {
    let figure: fn(Decision) -> u64 = match words {
        ["delays"] => |decision| decision.asked.latency.as_millis() as u64,
        ["messages" | "thrifty"] => |decision| decision.asked.messages,
        ["learners"] => |decision| decision.everybody.messages - decision.asked.messages,
        ["writes"] => |decision| decision.asked.sequential_writes,
        _ => return None,
    };
    let thrifty = words == ["thrifty"];
    Some(by_nodes(|nodes| Ok(figure(decree(nodes, thrifty)?) as f64)))
}

fn part(cost: Cost, words: &[&str]) -> Option<u64> {
    Some(match words {
        ["delays"] => cost.delays,
        ["messages"] => cost.messages,
        ["writes" | "first", ..] => cost.sequential_writes,
        _ => return None,
    })
}

/// Messages a command, of many that follow each other.
fn streamed(messages: u64) -> f64 {
    messages as f64 / f64::from(STREAM)
}

pub(super) fn multipaxos(words: &[&str]) -> Measured {
    let options = multipaxos::Options {
        parallel_write: words != ["writes", "first"],
        ..multipaxos::Options::default()
    };
    if words == ["stream"] {
        return Some(by_nodes(|nodes| {
            let counts = VirtualTime::<MultiPaxos, LogLoad>::stream(nodes, &options, STREAM)?;
            Ok(streamed(counts.messages))
        }));
    }
    part(Cost::default(), words)?;
    Some(by_nodes(|nodes| {
        let cost = cost::of::<MultiPaxos, LogLoad>(nodes, &options)?;
        Ok(part(cost, words).unwrap_or_default() as f64)
    }))
}

pub(super) fn raft(words: &[&str]) -> Measured {
    let options = raft::Options {
        parallel_write: words != ["writes", "first"],
        ..raft::Options::default()
    };
    let stream = |nodes| {
        let counts = VirtualTime::<Raft, LogLoad>::stream(nodes, &options, STREAM)?;
        Ok(streamed(counts.messages))
    };
    match words {
        ["election", what] => return elected(false, what),
        ["pre-vote", what] => return elected(true, what),
        ["stream"] => return Some(by_nodes(stream)),
        // Every message is the leader's, to it or from it; the client's two come on top.
        ["leader"] => return Some(by_nodes(|nodes| Ok(stream(nodes)? + 2.0))),
        _ => {}
    }
    part(Cost::default(), words)?;
    Some(by_nodes(|nodes| {
        let cost = cost::of::<Raft, LogLoad>(nodes, &options)?;
        Ok(part(cost, words).unwrap_or_default() as f64)
    }))
}

fn elected(pre_vote: bool, what: &str) -> Measured {
    let figure: fn((u64, u64)) -> u64 = match what {
        "delays" => |(delays, _)| delays,
        "messages" => |(_, messages)| messages,
        _ => return None,
    };
    Some(by_nodes(|nodes| {
        Ok(figure(election::cost(nodes, pre_vote)?) as f64)
    }))
}

pub(super) fn sites(words: &[&str]) -> Measured {
    let latency: fn(usize) -> Result<Duration, String> = match words {
        ["multipaxos"] => |leader| {
            let options = multipaxos::Options {
                elections: false,
                ..multipaxos::Options::default()
            };
            commit_latency::<MultiPaxos>(leader, &options)
        },
        ["raft"] => |leader| {
            // Timeouts that suit the longest round trip.
            let options = raft::Options {
                election_timeout: Duration::from_secs(2)..=Duration::from_secs(4),
                heartbeat: Duration::from_millis(500),
                ..raft::Options::default()
            };
            commit_latency::<Raft>(leader, &options)
        },
        _ => return None,
    };
    let sites = 0..SITES.len();
    Some(
        sites
            .map(|leader| Ok(latency(leader)?.as_secs_f64() * 1e3))
            .collect(),
    )
}
