//! Epochs of authority: the [`Ballot`] of the Paxos family, and [`Epoch`], the common coin in which
//! log runs carry either a ballot or a Raft term.

use crate::{Boot, NodeId};
use core::fmt;

/// A ballot number [Lamport01 §2.2]: totally ordered, owned by one run of one node.
///
/// The order is round, then node, then boot, so two nodes never share a ballot and neither do two
/// runs of one node: a restarted proposer needs no write a round to keep its promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot {
    /// Counts attempts; see [`Ballot::ROUND_LIMIT`].
    pub round: u64,
    /// The only node that may propose under this ballot.
    pub node: NodeId,
    /// The run of that node.
    pub boot: Boot,
}

impl Ballot {
    /// Below every ballot that a node can own.
    pub const ZERO: Self = Self {
        round: 0,
        node: NodeId(0),
        boot: Boot(0),
    };

    /// Rounds at or above this come from a broken or hostile peer and are refused: a node that took
    /// one over could never go past it.
    pub const ROUND_LIMIT: u64 = 1 << 62;

    /// The first ballot of this run of `node`.
    #[inline]
    #[must_use]
    pub const fn first(node: NodeId, boot: Boot) -> Self {
        Self {
            round: 1,
            node,
            boot,
        }
    }

    /// The lowest ballot of this owner above `seen`; none when the rounds are used up, which takes a
    /// hostile peer.
    #[inline]
    #[must_use]
    pub fn above(self, seen: Self) -> Option<Self> {
        let round = self.round.max(seen.round).checked_add(1)?;
        (round < Self::ROUND_LIMIT).then_some(Self { round, ..self })
    }

    /// Whether a ballot of this shape can come from a correct node.
    #[inline]
    #[must_use]
    pub const fn is_sound(self) -> bool {
        self.round > 0 && self.round < Self::ROUND_LIMIT && self.node.0 > 0
    }
}

impl fmt::Display for Ballot {
    /// `round.node`, and the boot only from the second run on: `7.2`, `7.2.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)?;
        if self.boot.0 > 1 {
            write!(f, ".{}", self.boot)
        } else {
            Ok(())
        }
    }
}

/// The epoch under which a log run was placed: a Raft term or a ballot. Ordered like either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch {
    round: u64,
    owner: u64,
}

impl Epoch {
    /// Before every epoch.
    pub const ZERO: Self = Self { round: 0, owner: 0 };

    /// An epoch without an owner: a Raft term.
    #[inline]
    #[must_use]
    pub const fn of_term(term: u64) -> Self {
        Self {
            round: term,
            owner: 0,
        }
    }

    /// The term, when the epoch is one; the round of a ballot otherwise.
    #[inline]
    #[must_use]
    pub const fn round(self) -> u64 {
        self.round
    }

    /// The ballot, when the epoch is one.
    #[inline]
    #[must_use]
    pub const fn ballot(self) -> Ballot {
        Ballot {
            round: self.round,
            node: NodeId((self.owner >> 32) as u16),
            boot: Boot(self.owner as u32),
        }
    }

    /// The two words in which logs and wire frames hold an epoch.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        [self.round, self.owner]
    }

    /// The reverse of [`Epoch::to_words`].
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self {
            round: words[0],
            owner: words[1],
        }
    }
}

impl From<Ballot> for Epoch {
    #[inline]
    fn from(ballot: Ballot) -> Self {
        Self {
            round: ballot.round,
            owner: u64::from(ballot.node.0) << 32 | u64::from(ballot.boot.0),
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner == 0 {
            write!(f, "{}", self.round)
        } else {
            self.ballot().fmt(f)
        }
    }
}
