//! Checkers of what clients saw: were the answers possible under the contract's promise?
//!
//! A checker is fed a recorded history and knows nothing of the protocol that made it. It judges
//! after a run; what a node's disk holds is judged during a run, by
//! [`Invariants`](crate::Invariants).
//!
//! | contract | promise | checker |
//! |---|---|---|
//! | register, replicated log | every operation takes effect at one moment between call and answer | [`linearizable`] |
//! | atomic commit | one outcome a transaction, and no money made or lost | [`atomicity`] |

pub mod atomicity;
pub mod history;
#[expect(
    clippy::disallowed_types,
    reason = "hash tables are looked up and never iterated"
)]
pub mod linearizable;

pub use history::{Entry, History, Pending};
