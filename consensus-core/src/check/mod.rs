//! Checkers of what clients saw: were the answers possible under the contract's promise?
//!
//! A checker is fed a recorded history and knows nothing of the protocol that made it. It judges
//! after a run; what a node's disk holds is judged during a run, by
//! [`Invariants`](crate::Invariants).

pub mod history;

pub use history::Entry;
