//! The application beside a protocol in the in-memory harness: the least that each contract allows, so
//! that what is timed is the protocol.

use bytes::Bytes;
use consensus_core::{
    Epoch, Index, NodeId, Protocol, Token,
    contract::{atomic_commit, register, replicated_log},
    log::{Commands, EntryKind, Run},
};

/// Bytes a command.
const PAYLOAD: usize = 64;

/// An application that proposes commands, and counts what is decided at every node.
pub trait Load<P: Protocol> {
    /// The application of a cluster of nodes 1 to `nodes`.
    fn new(nodes: u16) -> Self;

    /// Whether the cluster can take commands.
    fn is_ready(&self) -> bool {
        true
    }

    /// Proposes `count` commands through `ask`.
    fn propose(&mut self, count: usize, ask: &mut impl FnMut(NodeId, P::Request));

    /// Whether an event is the answer that whoever proposed a command waits for.
    fn is_answer(event: &P::Event) -> bool;

    /// `node` is told; `ask` asks something of the same node. Returns how many commands are decided
    /// there by this event.
    fn told(&mut self, node: NodeId, event: P::Event, ask: &mut impl FnMut(P::Request)) -> u64;
}

/// One proposer; every command is the next version of a register of its own. A fixed set of
/// registers, so that memory is bounded: of each, a node keeps the newest version.
#[derive(Debug)]
pub struct RegisterLoad {
    keys: Vec<(Bytes, register::Version)>,
    payload: [u8; PAYLOAD],
    token: u64,
}

impl<P> Load<P> for RegisterLoad
where
    P: Protocol<Request = register::Request, Event = register::Event>,
{
    fn new(_nodes: u16) -> Self {
        Self {
            keys: Vec::new(),
            payload: [7; PAYLOAD],
            token: 0,
        }
    }

    fn propose(&mut self, count: usize, ask: &mut impl FnMut(NodeId, P::Request)) {
        while self.keys.len() < count {
            let number = self.keys.len() as u64;
            self.keys
                .push((crate::app::kv::key(number), register::Version::ZERO));
        }
        for (key, version) in &mut self.keys[..count] {
            *version = version.next();
            self.token += 1;
            self.payload[..8].copy_from_slice(&self.token.to_le_bytes());
            let request = register::Request::Propose {
                token: Token(self.token),
                instance: register::Instance {
                    key: key.clone(),
                    version: *version,
                },
                value: Bytes::copy_from_slice(&self.payload),
            };
            ask(NodeId(1), request);
        }
    }

    fn is_answer(event: &P::Event) -> bool {
        matches!(event, register::Event::Chosen { token: Some(_), .. })
    }

    #[inline]
    fn told(&mut self, _node: NodeId, event: P::Event, _ask: &mut impl FnMut(P::Request)) -> u64 {
        match event {
            register::Event::Chosen { .. } => 1,
            register::Event::Newest { .. } => 0,
            other => panic!("a lone proposer without failures was told {other:?}"),
        }
    }
}

/// The leader is given all commands in one request, as a gateway does. Every node takes a snapshot
/// (of nothing) now and then, so that the log stays short.
#[derive(Debug)]
pub struct LogLoad {
    leader: Option<NodeId>,
    nodes: Vec<LogNode>,
    payload: [u8; PAYLOAD],
    proposed: u64,
}

#[derive(Debug, Default)]
struct LogNode {
    leader: Option<NodeId>,
    members: replicated_log::Membership,
    compacted: Index,
}

/// How many commands of the load there are. Looks at each, as applying would.
fn commands(run: &Run) -> u64 {
    match run.kind() {
        EntryKind::Command => run
            .iter()
            .filter(|command| command.len() == PAYLOAD)
            .count() as u64,
        EntryKind::Noop | EntryKind::Membership => 0,
    }
}

/// Entries between two snapshots of a node.
const COMPACT_EVERY: u64 = 8_192;

impl LogLoad {
    fn node(&mut self, node: NodeId) -> &mut LogNode {
        &mut self.nodes[usize::from(node.0) - 1]
    }

    fn snapshot(&mut self, node: NodeId, index: Index, epoch: Epoch) -> replicated_log::Request {
        let node = self.node(node);
        node.compacted = index;
        replicated_log::Request::SnapshotTaken(Box::new(replicated_log::Manifest {
            id: replicated_log::SnapshotId(u128::from(index.0)),
            index,
            epoch,
            members: node.members.clone(),
            coming: Vec::new(),
            size: 0,
        }))
    }
}

impl<P> Load<P> for LogLoad
where
    P: Protocol<Request = replicated_log::Request, Event = replicated_log::Event>,
{
    fn new(nodes: u16) -> Self {
        Self {
            leader: None,
            nodes: (0..nodes).map(|_| LogNode::default()).collect(),
            payload: [7; PAYLOAD],
            proposed: 0,
        }
    }

    fn is_ready(&self) -> bool {
        let leader = self.nodes[0].leader;
        leader.is_some() && self.nodes.iter().all(|node| node.leader == leader)
    }

    fn propose(&mut self, count: usize, ask: &mut impl FnMut(NodeId, P::Request)) {
        let leader = self.leader.expect("is_ready comes first");
        let mut commands = Commands::default();
        for _ in 0..count {
            self.proposed += 1;
            self.payload[..8].copy_from_slice(&self.proposed.to_le_bytes());
            commands.push(&self.payload);
        }
        ask(
            leader,
            replicated_log::Request::Propose {
                token: None,
                commands,
            },
        );
    }

    fn is_answer(event: &P::Event) -> bool {
        matches!(event, replicated_log::Event::Committed(run) if commands(run) > 0)
    }

    #[inline]
    fn told(&mut self, node: NodeId, event: P::Event, ask: &mut impl FnMut(P::Request)) -> u64 {
        match event {
            replicated_log::Event::Committed(run) => {
                let last = run.last();
                if last.0 - self.node(node).compacted.0 >= COMPACT_EVERY {
                    ask(self.snapshot(node, last, run.epoch()));
                }
                commands(&run)
            }
            replicated_log::Event::LeaderChanged { leader, .. } => {
                self.node(node).leader = leader;
                self.leader = leader.or(self.leader);
                0
            }
            replicated_log::Event::MembersChanged { members, .. } => {
                self.node(node).members = *members;
                0
            }
            replicated_log::Event::Rejected { reason, .. } => {
                panic!("a steady leader without failures refused: {reason:?}")
            }
            _ => 0,
        }
    }
}

/// Node 1 coordinates; every node is a participant of every transaction and votes yes at once.
#[derive(Debug)]
pub struct AtomicCommitLoad {
    nodes: u16,
    work: Bytes,
    token: u64,
}

impl<P> Load<P> for AtomicCommitLoad
where
    P: Protocol<Request = atomic_commit::Request, Event = atomic_commit::Event>,
{
    fn new(nodes: u16) -> Self {
        Self {
            nodes,
            work: Bytes::from_static(&[7; PAYLOAD]),
            token: 0,
        }
    }

    fn propose(&mut self, count: usize, ask: &mut impl FnMut(NodeId, P::Request)) {
        for _ in 0..count {
            self.token += 1;
            let work = (1..=self.nodes)
                .map(|node| (NodeId(node), self.work.clone()))
                .collect();
            ask(
                NodeId(1),
                atomic_commit::Request::Begin {
                    token: Token(self.token),
                    work,
                },
            );
        }
    }

    fn is_answer(event: &P::Event) -> bool {
        matches!(event, atomic_commit::Event::Ended { .. })
    }

    #[inline]
    fn told(&mut self, _node: NodeId, event: P::Event, ask: &mut impl FnMut(P::Request)) -> u64 {
        match event {
            atomic_commit::Event::Prepare { transaction, work } => {
                let vote = atomic_commit::Vote::Yes { redo: work };
                ask(atomic_commit::Request::Vote { transaction, vote });
                0
            }
            atomic_commit::Event::Commit { transaction, .. } => {
                // A resource with storage of its own: the log may forget at once.
                let kept = atomic_commit::Kept::Resource;
                ask(atomic_commit::Request::Done { transaction, kept });
                1
            }
            atomic_commit::Event::Abort { transaction } => {
                panic!("{transaction} aborted without a no vote or a failure")
            }
            _ => 0,
        }
    }
}
