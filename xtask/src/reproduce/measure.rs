//! What the names of measurements in the tables mean.

use super::{commit, consensus, elections, leaders, livelock};

/// Measures one row.
///
/// # Errors
/// When there is no such measurement, or it could not be made.
pub(super) fn measure(what: &str) -> Result<Vec<f64>, String> {
    let words: Vec<&str> = what.split(' ').collect();
    let (kind, rest) = words.split_first().expect("split gives one at least");
    let row = match *kind {
        "paxos" => consensus::paxos(rest),
        "multipaxos" => consensus::multipaxos(rest),
        "raft" => consensus::raft(rest),
        "sites" => consensus::sites(rest),
        "twophase" | "threephase" => commit::transaction(kind, rest),
        "nothing" | "abort" | "commit" => commit::presumption(kind, rest),
        "election" => elections::outage(rest),
        "split" => elections::split(rest),
        "wide" => elections::wide(rest),
        "succession" => leaders::succession(rest),
        "partial" => leaders::partial(rest),
        "duel" => livelock::duels(rest),
        "staged" => livelock::duel(rest),
        _ => None,
    };
    row.unwrap_or_else(|| Err(format!("nobody knows how to measure `{what}`")))
}

/// A row, or why it could not be measured; none where the words mean nothing.
pub(super) type Measured = Option<Result<Vec<f64>, String>>;
