//! Nodes in one process: typed messages go straight into the peers' inboxes, nothing is encoded, and
//! nothing outlives the process.

use super::{Inbox, NodeError, NodeParts, Options, Reports, Runnable, Running, Transport};
use crate::{Boot, GroupId, Lsn, Members, NodeId, Wire, storage::MemoryDisk};
use alloc::{boxed::Box, vec::Vec};

/// A transport to nodes of the same process. A full inbox loses its oldest messages.
#[derive(Debug)]
pub struct Peers<M> {
    node: NodeId,
    peers: Vec<Peer<M>>,
}

#[derive(Debug)]
struct Peer<M> {
    node: NodeId,
    inbox: Inbox<M>,
    /// What this batch sends there.
    messages: Vec<M>,
}

impl<M> Peers<M> {
    /// From `node` to everybody in `inboxes`, itself excepted.
    pub fn new<'a>(node: NodeId, inboxes: impl IntoIterator<Item = (NodeId, &'a Inbox<M>)>) -> Self
    where
        M: 'a,
    {
        let others = inboxes.into_iter().filter(|(peer, _)| *peer != node);
        let peers = others
            .map(|(node, inbox)| Peer {
                node,
                inbox: inbox.clone(),
                messages: Vec::new(),
            })
            .collect();
        Self { node, peers }
    }
}

impl<M: Wire + Send + 'static> Transport<M> for Peers<M> {
    #[inline]
    fn send(&mut self, to: NodeId, message: M) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == to) {
            peer.messages.push(message);
        }
    }

    #[inline]
    fn flush(&mut self) {
        for peer in &mut self.peers {
            peer.inbox.deliver(self.node, &mut peer.messages);
        }
    }
}

/// Starts `nodes` fresh nodes, numbered from 1, that talk over channels and keep nothing: every
/// record counts as durable when it is handed over. For benchmarks and examples.
///
/// Each node draws its alarms from [`Options::seed`] plus its number.
///
/// # Errors
/// When the protocol's options do not fit that many nodes.
///
/// # Panics
/// Outside a tokio runtime, and when `nodes` is not a possible number of members.
pub fn cluster<A: Runnable>(
    nodes: u16,
    protocol: &A::Options,
    options: &Options,
) -> Result<Vec<Running<A>>, NodeError> {
    let members = Members::new((1..=nodes).map(NodeId)).expect("a possible number of members");
    let ends: Vec<_> = members
        .iter()
        .map(|node| {
            let reports = Reports::new(GroupId(0));
            let inbox = super::inbox(&reports, options);
            (node, reports, inbox)
        })
        .collect();
    ends.iter()
        .map(|(node, reports, inbox)| {
            let inboxes = ends.iter().map(|(node, _, inbox)| (*node, inbox));
            let mut options = options.clone();
            options.seed = options.seed.wrapping_add(u64::from(node.0));
            super::start(NodeParts {
                node: *node,
                boot: Boot(1),
                members: members.clone(),
                protocol: protocol.clone(),
                options,
                recovered: Vec::new(),
                durable: Lsn::ZERO,
                disk: Box::new(MemoryDisk::new(reports.completion())),
                reports: reports.clone(),
                inbox: inbox.clone(),
                transport: Peers::new(*node, inboxes),
            })
        })
        .collect()
}
