//! What an operator sees of a replicated log, whichever protocol keeps it.

use crate::{Epoch, Index, NodeId};
use alloc::vec::Vec;

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogRole {
    /// Follows whoever leads.
    Follower,
    /// Wants to lead.
    Candidate,
    /// Leads.
    Leader,
}

impl LogRole {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// One node's log at a glance. Invariant: `base ≤ commit ≤ last`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogView {
    /// What the node does.
    pub role: LogRole,
    /// Under which epoch: the newest that it takes part in.
    pub epoch: Epoch,
    /// The last entry it holds.
    pub last: Index,
    /// The last entry it knows to be committed.
    pub commit: Index,
    /// The last entry it no longer holds: a snapshot covers it.
    pub base: Index,
    /// Bytes of entries in memory.
    pub bytes: usize,
    /// At a leader: everybody else.
    pub peers: Vec<PeerView>,
}

/// One node as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// Who.
    pub node: NodeId,
    /// Everything up to here is on its disk.
    pub matched: Index,
    /// What is sent next.
    pub next: Index,
    /// It is being brought a snapshot, because what it lacks is no longer in the log.
    pub snapshot: bool,
    /// Heard from lately; none where the protocol keeps no count.
    pub active: Option<bool>,
}

impl PeerView {
    /// Entries on their way to it.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.next.0.saturating_sub(self.matched.0 + 1)
    }
}
