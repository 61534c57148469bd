//! What an operator wants to see.

use crate::Paxos;
use consensus_core::{Ballot, Boot, NodeId};
use core::hash;

/// A look inside one node. Counters start at zero with each run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Whose.
    pub node: NodeId,
    /// Which run.
    pub boot: Boot,
    /// Keys of which this acceptor holds a promise or an acceptance.
    pub keys: usize,
    /// Keys of which this learner knows a chosen version.
    pub learned: usize,
    /// Proposals under way.
    pub proposals: usize,
    /// Reads under way.
    pub reads: usize,
    /// The highest ballot of the proposals under way.
    pub ballot: Option<Ballot>,
    /// Ballots begun.
    pub rounds: u64,
    /// Ballots lost to a higher one.
    pub preempted: u64,
    /// What was not believed.
    pub refused: Refused,
}

/// What no correct peer would send. Not zero: a broken or hostile peer, or a misconfiguration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Refused {
    /// Ballots used by a node that does not own them.
    pub foreign_ballots: u64,
    /// Rounds or versions too large for arithmetic, or zero.
    pub unsound_numbers: u64,
    /// A second value for one ballot.
    pub second_values: u64,
    /// Messages from outside the group.
    pub strangers: u64,
}

/// History, not state: two nodes that differ in nothing else behave the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rounds: u64,
    pub(crate) preempted: u64,
    pub(crate) refused: Refused,
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

impl Paxos {
    pub(crate) fn look_inside(&self) -> Status {
        Status {
            node: self.config.node(),
            boot: self.boot,
            keys: self.acceptor.count(),
            learned: self.learner.len(),
            proposals: self.proposals.len(),
            reads: self.reads.len(),
            ballot: self.proposals.values().map(|p| p.ballot).max(),
            rounds: self.counters.rounds,
            preempted: self.counters.preempted,
            refused: self.counters.refused,
        }
    }
}
