//! What an operator wants to see.

use crate::TwoPhase;
use alloc::vec::Vec;
use consensus_core::{
    Boot, NodeId, Time,
    contract::atomic_commit::{Outcome, Transaction},
};
use core::hash;

/// A look inside one node. Counters start at zero with each run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Whose.
    pub node: NodeId,
    /// Which run.
    pub boot: Boot,
    /// Transactions that this coordinator has under way or whose outcome somebody has not acknowledged.
    pub live: usize,
    /// Transactions in doubt here, and whose word would end each: blocked if it does not come.
    pub in_doubt: Vec<(Transaction, Vec<NodeId>)>,
    /// Since when, on this node's clock, the oldest of them has been in doubt; one that was found at the start,
    /// since the start.
    pub oldest_in_doubt: Option<Time>,
    /// Transactions that this participant has a part in or remembers.
    pub parts: usize,
    /// Commits that no checkpoint of the resource covers.
    pub uncovered: usize,
    /// Decisions by hand that were wrong and that nobody has seen.
    pub damage: usize,
    /// Transactions committed by this coordinator.
    pub committed: u64,
    /// Transactions aborted by this coordinator.
    pub aborted: u64,
    /// What was not believed.
    pub refused: Refused,
}

/// What no correct peer would send. Not zero: a broken or hostile peer, or a misconfiguration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Refused {
    /// Messages from outside the group.
    pub strangers: u64,
    /// Transactions that are not the sender's, or not meant for this node.
    pub foreign_transactions: u64,
    /// Outcomes that contradict an earlier one.
    pub reversed_outcomes: u64,
}

/// History, not state: two nodes that differ in nothing else behave the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    committed: u64,
    aborted: u64,
    pub(crate) refused: Refused,
}

impl Counters {
    pub(crate) const fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Commit => self.committed += 1,
            Outcome::Abort => self.aborted += 1,
        }
    }
}

impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Counters {}

impl hash::Hash for Counters {
    fn hash<H: hash::Hasher>(&self, _: &mut H) {}
}

impl TwoPhase {
    pub(crate) fn look_inside(&self) -> Status {
        Status {
            node: self.config.node(),
            boot: self.boot,
            live: self.coordinator.live.len(),
            in_doubt: self.in_doubt(),
            oldest_in_doubt: self.participant.oldest_in_doubt(),
            parts: self.participant.parts.len(),
            uncovered: self.participant.redo.len(),
            damage: self.participant.damage.len(),
            committed: self.counters.committed,
            aborted: self.counters.aborted,
            refused: self.counters.refused,
        }
    }
}
