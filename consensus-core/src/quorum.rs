//! Quorums: which sets of nodes may decide. Overlap is checked when a system is made, never when it
//! is used.

use crate::NodeId;
use alloc::vec::Vec;

/// Why a quorum system cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A group without members decides nothing.
    #[error("a group needs at least one member")]
    NoMembers,
    /// The same node is named twice.
    #[error("node {0} is named twice among the members")]
    Duplicate(NodeId),
    /// More members than [`Tally`] can count.
    #[error("{0} members are more than the {max} that one group can have", max = Members::MAX)]
    TooMany(usize),
    /// A quorum of no nodes or of more than there are.
    #[error("a quorum of {size} cannot be gathered from {members} members")]
    Size {
        /// Nodes asked for.
        size: usize,
        /// Nodes there are.
        members: usize,
    },
    /// Phase 1 and phase 2 could decide without each other \[Howard16\].
    #[error(
        "phase 1 quorum {phase1} + phase 2 quorum {phase2} must exceed {members} members, so that any two overlap"
    )]
    NoOverlap {
        /// Nodes in a phase 1 quorum.
        phase1: usize,
        /// Nodes in a phase 2 quorum.
        phase2: usize,
        /// Nodes there are.
        members: usize,
    },
}

/// The members of a group, in ascending order of their ids.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Members(Vec<NodeId>);

impl Members {
    /// The most members one group can have: what a [`Tally`] counts in one word.
    pub const MAX: usize = 64;

    /// Takes any order.
    ///
    /// # Errors
    /// When there is nobody, somebody twice, or more than [`Members::MAX`].
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        if nodes.is_empty() {
            return Err(QuorumError::NoMembers);
        }
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(QuorumError::Duplicate(pair[0]));
        }
        if nodes.len() > Self::MAX {
            return Err(QuorumError::TooMany(nodes.len()));
        }
        Ok(Self(nodes))
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether `node` is one of them.
    #[inline]
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.position(node).is_some()
    }

    /// Where `node` stands in the order.
    #[inline]
    #[must_use]
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.0.iter().position(|member| *member == node)
    }

    /// All of them in ascending order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    /// All of them but `node`, in ascending order.
    #[inline]
    pub fn others(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.iter().filter(move |member| *member != node)
    }
}

/// Who has answered: a set of members, never a counter, so that a duplicate changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tally(u64);

impl Tally {
    /// Nobody yet.
    pub const EMPTY: Self = Self(0);

    /// Counts `node` in; whether that was news. A stranger never is.
    #[inline]
    pub fn add(&mut self, members: &Members, node: NodeId) -> bool {
        let Some(position) = members.position(node) else {
            return false;
        };
        let before = self.0;
        self.0 |= 1 << position;
        self.0 != before
    }

    /// Whether `node` is counted.
    #[inline]
    #[must_use]
    pub fn has(self, members: &Members, node: NodeId) -> bool {
        members
            .position(node)
            .is_some_and(|position| self.0 & (1 << position) != 0)
    }

    /// How many are counted.
    #[inline]
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// How many are counted here and in `other`, a tally of the same members.
    #[inline]
    #[must_use]
    pub const fn common(self, other: Self) -> usize {
        (self.0 & other.0).count_ones() as usize
    }

    /// Who is counted, in ascending order.
    pub fn iter(self, members: &Members) -> impl Iterator<Item = NodeId> + '_ {
        members
            .iter()
            .enumerate()
            .filter(move |(i, _)| self.0 & (1 << i) != 0)
            .map(|(_, n)| n)
    }
}

/// The smallest number of nodes that is more than half of `members`.
#[inline]
#[must_use]
pub const fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// Quorums by size that may differ between the phases \[Howard16\]: any phase 1 quorum meets any
/// phase 2 quorum; two of the same phase need not meet.
///
/// ```
/// use consensus_core::{Flexible, Members, NodeId};
/// let members = Members::new((1..=4).map(NodeId)).unwrap();
/// assert!(Flexible::new(members.clone(), 3, 2).is_ok());
/// assert!(Flexible::new(members, 2, 2).is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Flexible {
    members: Members,
    phase1: usize,
    phase2: usize,
}

impl Flexible {
    /// A system in which phase 1 needs `phase1` members and phase 2 needs `phase2`.
    ///
    /// # Errors
    /// When a size is impossible or the two need not overlap.
    pub fn new(members: Members, phase1: usize, phase2: usize) -> Result<Self, QuorumError> {
        let count = members.count();
        for size in [phase1, phase2] {
            if size == 0 || size > count {
                return Err(QuorumError::Size {
                    size,
                    members: count,
                });
            }
        }
        if phase1 + phase2 <= count {
            return Err(QuorumError::NoOverlap {
                phase1,
                phase2,
                members: count,
            });
        }
        Ok(Self {
            members,
            phase1,
            phase2,
        })
    }

    /// Majorities in both phases.
    #[must_use]
    pub fn majority(members: Members) -> Self {
        let size = majority(members.count());
        Self {
            members,
            phase1: size,
            phase2: size,
        }
    }

    /// Who may be asked.
    #[inline]
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Members in a phase 1 quorum.
    #[inline]
    #[must_use]
    pub const fn phase1_size(&self) -> usize {
        self.phase1
    }

    /// Members in a phase 2 quorum.
    #[inline]
    #[must_use]
    pub const fn phase2_size(&self) -> usize {
        self.phase2
    }

    /// Whether those counted are a phase 1 quorum.
    #[inline]
    #[must_use]
    pub const fn is_phase1(&self, tally: Tally) -> bool {
        tally.count() >= self.phase1
    }

    /// Whether those counted are a phase 2 quorum.
    #[inline]
    #[must_use]
    pub const fn is_phase2(&self, tally: Tally) -> bool {
        tally.count() >= self.phase2
    }
}

/// The voters of a replicated log: one set of members, or two while a change is under way and both
/// must agree [Ongaro14 §4.3].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Joint {
    incoming: Members,
    outgoing: Option<Members>,
}

impl Joint {
    /// One set.
    #[must_use]
    pub const fn simple(members: Members) -> Self {
        Self {
            incoming: members,
            outgoing: None,
        }
    }

    /// Two sets that must both agree.
    #[must_use]
    pub const fn both(incoming: Members, outgoing: Members) -> Self {
        Self {
            incoming,
            outgoing: Some(outgoing),
        }
    }

    /// The set that stays.
    #[inline]
    #[must_use]
    pub const fn incoming(&self) -> &Members {
        &self.incoming
    }

    /// The set that leaves, while a change is under way.
    #[inline]
    #[must_use]
    pub const fn outgoing(&self) -> Option<&Members> {
        self.outgoing.as_ref()
    }

    /// Whether `node` votes in either set.
    #[inline]
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.incoming.contains(node) || self.outgoing.as_ref().is_some_and(|o| o.contains(node))
    }

    /// Whether those for whom `agrees` holds are a majority of each set.
    #[inline]
    pub fn is_quorum(&self, mut agrees: impl FnMut(NodeId) -> bool) -> bool {
        let mut enough = |members: &Members| {
            members.iter().filter(|node| agrees(*node)).count() >= majority(members.count())
        };
        enough(&self.incoming) && self.outgoing.as_ref().is_none_or(enough)
    }

    /// The greatest value that a majority of each set has reached.
    #[inline]
    pub fn reached(&self, mut value_of: impl FnMut(NodeId) -> u64) -> u64 {
        let mut of = |members: &Members| {
            // Groups are small: a fixed array on the stack, sorted, beats anything that allocates.
            let mut values = [0u64; Members::MAX];
            let count = members.count();
            for (value, node) in values.iter_mut().zip(members.iter()) {
                *value = value_of(node);
            }
            values[..count].sort_unstable();
            values[count - majority(count)]
        };
        let incoming = of(&self.incoming);
        self.outgoing
            .as_ref()
            .map_or(incoming, |outgoing| incoming.min(of(outgoing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u16) -> Members {
        Members::new((1..=count).map(NodeId)).expect("distinct ids")
    }

    /// Any two quorums of opposite phases share a member, checked against every pair of sets.
    #[test]
    fn flexible_quorums_overlap_exactly_when_the_sizes_say_so() {
        for n in 1..=5u16 {
            for q1 in 1..=usize::from(n) {
                for q2 in 1..=usize::from(n) {
                    let sets =
                        |q: usize| (0u32..1 << n).filter(move |s| s.count_ones() as usize == q);
                    let overlap = sets(q1).all(|a| sets(q2).all(|b| a & b != 0));
                    assert_eq!(
                        Flexible::new(members(n), q1, q2).is_ok(),
                        overlap,
                        "{n} {q1} {q2}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_duplicate_answer_counts_once_and_a_stranger_never() {
        let members = members(5);
        let mut tally = Tally::EMPTY;
        assert!(tally.add(&members, NodeId(2)));
        assert!(!tally.add(&members, NodeId(2)));
        assert!(!tally.add(&members, NodeId(9)));
        assert_eq!(tally.count(), 1);
    }

    /// `reached` against its dumb twin: try every value, ask whether a quorum has it.
    #[test]
    fn reached_agrees_with_counting() {
        for values in 0..4u64.pow(4) {
            let of = |node: NodeId| values / 4u64.pow(u32::from(node.0) - 1) % 4;
            let three = Members::new([NodeId(1), NodeId(2), NodeId(3)]).expect("distinct");
            let two = Members::new([NodeId(3), NodeId(4)]).expect("distinct");
            for voters in [
                Joint::simple(three.clone()),
                Joint::both(three.clone(), two),
            ] {
                let slow = (0..4).rev().find(|v| voters.is_quorum(|n| of(n) >= *v));
                assert_eq!(Some(voters.reached(of)), slow);
            }
        }
    }
}
