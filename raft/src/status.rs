//! What an operator wants to see.

use crate::progress::{Flow, Progress};
use alloc::vec::Vec;
use consensus_core::{
    Epoch, Index, NodeId,
    contract::replicated_log::{LogRole, LogView, PeerView},
};

/// What a node does in its term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Follows whoever leads.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// One node at a glance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it does.
    pub role: Role,
    /// In which term.
    pub term: u64,
    /// Whom it follows, itself included.
    pub leader: Option<NodeId>,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry known to be committed.
    pub commit: Index,
    /// The last entry told to the application.
    pub told: Index,
    /// The last entry covered by its snapshot.
    pub base: Index,
    /// Payload bytes of the log in memory.
    pub log_bytes: usize,
    /// At a leader: everybody else.
    pub peers: Vec<Peer>,
}

/// One follower as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Who.
    pub node: NodeId,
    /// Up to here its log agrees and is on its disk.
    pub matched: Index,
    /// What is sent next.
    pub next: Index,
    /// It is being sent a snapshot.
    pub snapshot: bool,
    /// Heard from since the last quorum check.
    pub active: bool,
}

impl From<&Progress> for Peer {
    fn from(progress: &Progress) -> Self {
        Self {
            node: progress.peer,
            matched: progress.matched,
            next: progress.next,
            snapshot: matches!(progress.flow, Flow::Snapshot(_)),
            active: progress.active,
        }
    }
}

impl From<Status> for LogView {
    fn from(status: Status) -> Self {
        let peer = |peer: &Peer| PeerView {
            node: peer.node,
            matched: peer.matched,
            next: peer.next,
            snapshot: peer.snapshot,
            active: Some(peer.active),
        };
        Self {
            role: match status.role {
                Role::Follower => LogRole::Follower,
                Role::PreCandidate | Role::Candidate => LogRole::Candidate,
                Role::Leader => LogRole::Leader,
            },
            epoch: Epoch::of_term(status.term),
            last: status.last,
            commit: status.commit,
            base: status.base,
            bytes: status.log_bytes,
            peers: status.peers.iter().map(peer).collect(),
        }
    }
}
