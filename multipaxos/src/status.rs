//! What an operator wants to see.

use crate::node::{MultiPaxos, Role as State};
use alloc::vec::Vec;
use consensus_core::{
    Ballot, Index, NodeId,
    contract::replicated_log::{LogRole, LogView, PeerView},
};

/// What a node is beside an acceptor and a replica, which every node always is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Nothing else.
    Follower,
    /// Gathers promises for its ballot.
    Candidate,
    /// Proposes under its ballot.
    Leader,
}

/// One node at a glance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// What it has promised.
    pub promised: Ballot,
    /// Who decides the next slot, as far as it knows.
    pub voters: Vec<NodeId>,
    /// The newest entry about members that it knows as chosen; zero for the founders.
    pub members_entry: Index,
    /// Whom it follows, itself included.
    pub leader: Option<NodeId>,
    /// Whether it lately reached a quorum, both ways.
    pub connected: bool,
    /// The last slot that holds something.
    pub last: Index,
    /// Every slot up to here is known as chosen.
    pub chosen: Index,
    /// The last slot told to the application.
    pub told: Index,
    /// The last slot covered by its snapshot and no longer held.
    pub base: Index,
    /// Payload bytes held in memory.
    pub log_bytes: usize,
    /// At a leader: everybody else.
    pub peers: Vec<Peer>,
}

/// One acceptor as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Who.
    pub node: NodeId,
    /// Everything up to here it has accepted, or is chosen.
    pub through: Index,
    /// What is sent next.
    pub next: Index,
}

impl Status {
    /// In the words of the contract; `sends` tells to whom a snapshot is on its way.
    pub(crate) fn view(&self, sends: impl Fn(NodeId) -> bool) -> LogView {
        let peer = |peer: &Peer| PeerView {
            node: peer.node,
            matched: peer.through,
            next: peer.next,
            snapshot: sends(peer.node),
            active: None,
        };
        LogView {
            role: match self.role {
                Role::Follower => LogRole::Follower,
                Role::Candidate => LogRole::Candidate,
                Role::Leader => LogRole::Leader,
            },
            epoch: self.promised.into(),
            last: self.last.max(self.chosen),
            commit: self.chosen,
            base: self.base,
            bytes: self.log_bytes,
            peers: self.peers.iter().map(peer).collect(),
        }
    }

    pub(crate) fn of(node: &MultiPaxos) -> Self {
        let (role, peers) = match &node.role {
            State::Follower => (Role::Follower, Vec::new()),
            State::Candidate(_) => (Role::Candidate, Vec::new()),
            State::Leader(leader) => {
                let peer = |window: &crate::window::Window| Peer {
                    node: window.peer,
                    through: window.through,
                    next: window.next,
                };
                (Role::Leader, leader.windows.iter().map(peer).collect())
            }
        };
        Self {
            role,
            promised: node.promised,
            voters: node.group.next().quorums.members().iter().collect(),
            members_entry: node.group.newest().0,
            leader: node.leader_known(),
            connected: node.pulse.connected,
            last: node.slots.last(),
            chosen: node.chosen,
            told: node.told,
            base: node.slots.base(),
            log_bytes: node.slots.bytes(),
            peers,
        }
    }
}
