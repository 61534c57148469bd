//! Leaders that come late: what they cost, and whether they come at all.

use super::measure::Measured;
use bench::harness::{
    partial::{self, Shape, Verdict},
    succession::{self, Cost},
};
use multipaxos::MultiPaxos;
use raft::Raft;
use std::time::Duration;

/// Entries that nobody knows to be committed.
const SUFFIXES: [u64; 4] = [0, 10, 100, 1_000];

/// `raft|multipaxos has|lacks delays|messages|bytes` until it leads, and `all-delays|…` until everything is
/// committed.
pub(super) fn succession(words: &[&str]) -> Measured {
    let [algorithm, heir @ ("has" | "lacks"), what] = words else {
        return None;
    };
    let succeed = match *algorithm {
        "raft" => succession::raft,
        "multipaxos" => succession::multipaxos,
        _ => return None,
    };
    let figure: fn(Cost) -> u64 = match what.trim_start_matches("all-") {
        "delays" => |cost| cost.delays,
        "messages" => |cost| cost.messages,
        "bytes" => |cost| cost.bytes,
        _ => return None,
    };
    let rows = SUFFIXES.map(|suffix| {
        let found = succeed(suffix, *heir == "has")?;
        let until = if what.starts_with("all-") {
            found.repaired
        } else {
            found.elected
        };
        Ok(until.map_or(f64::INFINITY, |cost| figure(cost) as f64))
    });
    Some(rows.into_iter().collect())
}

/// `quorum-loss|constrained|chain multipaxos` or the same with `raft` and its remedies.
pub(super) fn partial(words: &[&str]) -> Measured {
    let [shape, algorithm, remedies @ ..] = words else {
        return None;
    };
    let shape = match *shape {
        "quorum-loss" => Shape::QuorumLoss,
        "constrained" => Shape::Constrained,
        "chain" => Shape::Chain,
        _ => return None,
    };
    let row = match *algorithm {
        "multipaxos" => {
            let options = multipaxos::Options::default();
            let timeout = partial::multipaxos_timeout(&options);
            partial::fail::<MultiPaxos>(shape, &options).map(|found| figures(found, timeout))
        }
        "raft" => {
            let options = raft::Options {
                pre_vote: remedies.contains(&"pre-vote"),
                check_quorum: remedies.contains(&"check-quorum"),
                ..raft::Options::default()
            };
            let timeout = *options.election_timeout.end();
            partial::fail::<Raft>(shape, &options).map(|found| figures(found, timeout))
        }
        _ => return None,
    };
    Some(row)
}

fn figures(found: Verdict, timeout: Duration) -> Vec<f64> {
    let progress = found.progress.map_or(f64::INFINITY, |it| it.as_secs_f64());
    let timeouts = progress / timeout.as_secs_f64();
    vec![timeouts, progress * 1e3, found.epochs as f64]
}
