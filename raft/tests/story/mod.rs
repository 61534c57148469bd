//! Short stories in the words of scenarios, for tests that need many of them.
#![allow(dead_code, reason = "each test file uses a part")]

use consensus_core::sim::{
    What,
    scenario::{LogWords, Transcript, play_with},
};
use raft::{Options, Raft};

/// Plays it to its healed end.
#[track_caller]
pub(crate) fn play(text: &str) -> Transcript {
    play_with::<Raft, LogWords>(&format!("{text}\nheal\nuntil converged\n"), &Options::set)
        .unwrap_or_else(|error| panic!("{error}\n{}", error.transcript))
}

/// A node's election timeout passes.
pub(crate) fn timeout(node: char) -> String {
    format!("tick Quiet at {node}\ntick Election at {node}\n")
}

/// What was sent, by kind, and how many forced writes there were, while this line was played.
pub(crate) fn bill(transcript: &Transcript, line: &str) -> (Vec<&'static str>, usize) {
    let (mut within, mut sent, mut forced) = (false, Vec::new(), 0);
    for happening in &transcript.happenings {
        match &happening.what {
            What::Note(text) => within = text == line,
            What::Sent { kind, .. } if within => sent.push(*kind),
            What::Wrote { forced: true, .. } if within => forced += 1,
            _ => {}
        }
    }
    (sent, forced)
}
