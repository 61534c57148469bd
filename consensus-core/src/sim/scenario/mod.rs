//! Worked examples as text: one step a line, played on unmodified protocol code with every message,
//! disk write and alarm in the author's hand.
//!
//! Nothing moves that the text does not move: a message that is not mentioned is withheld, not lost.
//! Disks write at once unless they are taken in hand. The invariants run after every line, and every
//! file ends alive: with `until converged`, or with `expect stuck` or `breaks` where that is the lesson,
//! and what is expected of that.
//!
//! | step | what it does |
//! |---|---|
//! | `nodes 3 [name=value …]` | first step: the cluster a, b, c and its options |
//! | `disk b by hand`, `disk b at once` | who syncs; `all` is everybody |
//! | `deliver a->b Prepare [text]` | the oldest such message arrives; `*` is every node; `all` instead: everything, until nothing is under way |
//! | `duplicate a->b Prepare [text]` | the same choice is under way once more |
//! | `drop a->b Prepare [text]` | all such messages that are under way are lost |
//! | `hold a->b Prepare [text]` | such messages, now and later, move only by name, until `heal` |
//! | `inject a->b 01ff…` | bytes that a never sent arrive at b |
//! | `sync b`, `fail-sync b` | what b wrote is on disk; or its disk fails and it stops |
//! | `sync b up to 3` | its records up to the third are: the rest was written while that sync ran |
//! | `crash b [keeping synced, all or torn 1]` | what stays of the records that were not synced; `synced` when not said |
//! | `restart b`, `wipe b` | from what its disk holds; its disk is emptied, which it must notice |
//! | `reclaim b` | its disk wants room: b writes anew what lives of all that is there, and what nothing needs is gone |
//! | `tick Resend at a`, `advance 10ms` | one alarm now; the clock, and whatever alarms go off |
//! | `expect sent a->b Accept [text]` | such a message is under way |
//! | `expect no message Accept from a` | none is |
//! | `expect disk b [no] text` | a record on b's disk, synced, says so |
//! | `expect status b text` | b's status says so |
//! | `expect up b`, `expect down b` | |
//! | `expect blocked` | somebody waits for an answer, and nothing is under way |
//! | `heal` | nodes restart, nothing is held, disks write at once |
//! | `breaks PROPERTY by STEP` | after the step the property does not hold, as [is expected](crate::Algorithm::EXPECTED) of the algorithm; nothing follows |
//! | `until converged` | everything moves freely until everybody is answered and nothing is under way |
//! | `until EXPECTATION` | everything moves freely until what `expect` would want is so |
//! | `run 2s` | everything moves freely for so long |
//! | `elect a` | everything moves freely, but nobody's alarms go off except a's, until a leads |
//! | `expect stuck` | everything moves freely and somebody is still not answered |
//!
//! The words of a contract come on top ([`RegisterWords`], [`LogWords`], [`CommitWords`]). In texts to
//! look for, epochs and ids are written as [`plain`] does. `#` begins a comment; comments at the top tell the story. After a line
//! `----` follows the transcript, as golden files have it.

mod commit;
mod corpus;
mod golden;
mod log;
mod plain;
mod play;
mod register;
mod shared;
mod stage;
mod step;

pub use commit::CommitWords;
pub use corpus::Corpus;
pub use golden::{GoldenError, golden};
pub use log::LogWords;
pub use plain::plain;
pub use play::{Configure, Transcript, Words, play, play_with};
pub use register::RegisterWords;
pub use shared::{REPLICATED_LOG, play_shared};

use alloc::string::String;

/// A scenario that does not go as its text says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, `{text}`: {reason}")]
pub struct ScenarioError {
    /// Counted from 1.
    pub line: usize,
    /// The step.
    pub text: String,
    /// What went otherwise.
    pub reason: String,
    /// What had happened up to there.
    pub transcript: String,
}
