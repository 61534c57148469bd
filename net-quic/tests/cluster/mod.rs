//! Two-line clusters of real endpoints on loopback, with a real authority.
#![allow(dead_code, unreachable_pub)]

pub mod raw;

use bytes::Bytes;
use consensus_core::{
    Boot, ClientId, ClusterId, DiskId, GroupId, NodeId, Sequence, codec,
    runtime::Transport,
    service::{Answer, Refusal},
};
use net_quic::{
    Client, ClusterCa, Counter, Endpoint, EndpointConfig, Gateway, Identity, Inbound, Limits,
    LinkControl, Peers, Role,
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::sync::mpsc;

pub const CLUSTER: ClusterId = ClusterId(0xC0FFEE);
pub const GROUP: GroupId = GroupId(1);
/// Longer than anything here takes: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Beat { number: u64 },
    Entry { number: u64, payload: Bytes },
    Novelty { number: u64 },
    Chunk { payload: Bytes },
}

codec! {
    Message version 2 {
        1 since 1 Control => Beat { number },
        2 since 1 Log => Entry { number, payload },
        3 since 2 Control => Novelty { number },
        4 since 1 Bulk => Chunk { payload },
    }
}

#[derive(Clone)]
pub struct Inbox {
    pub messages: mpsc::Sender<(NodeId, Message)>,
    pub lost: mpsc::UnboundedSender<NodeId>,
}

impl Inbound<Message> for Inbox {
    async fn receive(&self, from: NodeId, message: Message, _bytes: usize) {
        // A test that no longer listens has seen what it wanted.
        let _ = self.messages.send((from, message)).await;
    }
    fn unreachable(&self, node: NodeId) {
        let _ = self.lost.send(node);
    }
}

pub struct Node {
    pub endpoint: Endpoint,
    pub peers: Peers<Message>,
    pub inbox: mpsc::Receiver<(NodeId, Message)>,
    pub lost: mpsc::UnboundedReceiver<NodeId>,
    pub address: SocketAddr,
}

pub fn authority() -> ClusterCa {
    ClusterCa::generate(CLUSTER).expect("randomness")
}

pub fn config(identity: Identity, node: u16, boot: u32) -> EndpointConfig {
    EndpointConfig {
        node: NodeId(node),
        boot: Boot(boot),
        disk: DiskId(node.into()),
        cluster: CLUSTER,
        address: ([127, 0, 0, 1], 0).into(),
        identity,
        members: BTreeMap::new(),
        limits: Limits::default(),
        link: None,
    }
}

pub fn start(config: EndpointConfig) -> Node {
    let endpoint = Endpoint::bind(config).expect("a free port");
    let (messages, inbox) = mpsc::channel(1024);
    let (lost_sender, lost) = mpsc::unbounded_channel();
    let inbound = Inbox {
        messages,
        lost: lost_sender,
    };
    let peers = endpoint.peers(GROUP, inbound);
    let address = endpoint.local_address().expect("bound");
    Node {
        endpoint,
        peers,
        inbox,
        lost,
        address,
    }
}

pub fn node(ca: &ClusterCa, id: u16, boot: u32) -> Node {
    let identity = ca.issue(Role::Node(NodeId(id))).expect("issued");
    start(config(identity, id, boot))
}

/// Tells all nodes, which are 1, 2, … in this order, where the others are.
pub fn introduce(nodes: &[&Node]) {
    let members: BTreeMap<NodeId, SocketAddr> = (1..)
        .map(NodeId)
        .zip(nodes.iter().map(|node| node.address))
        .collect();
    for node in nodes {
        node.endpoint.set_members(members.clone());
    }
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

impl Node {
    pub async fn connected_to(&self, id: u16) {
        until(&format!("node {id} is connected"), || {
            self.endpoint.connected().contains(&NodeId(id))
        })
        .await;
    }

    pub fn say(&mut self, to: u16, message: Message) {
        self.peers.send(NodeId(to), message);
        self.peers.flush();
    }

    pub async fn hear(&mut self) -> (NodeId, Message) {
        let heard = tokio::time::timeout(PATIENCE, self.inbox.recv()).await;
        heard.expect("a message in time").expect("an open inbox")
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.endpoint.stats().count(counter)
    }
}

/// Gives back what it was called with.
pub struct Echo;

impl Gateway for Echo {
    async fn call(&self, _: ClientId, sequence: Sequence, body: Bytes) -> Answer {
        match &body[..] {
            b"who leads" => Answer::Refused(Refusal::NotLeader(Some(NodeId(2)))),
            b"never" => std::future::pending().await,
            b"unknown" => Answer::Unknown,
            _ => Answer::Done([&sequence.0.to_le_bytes()[..], &body].concat().into()),
        }
    }
}

pub fn client(ca: &ClusterCa, role: Role, nodes: &[&Node]) -> Client {
    let identity = ca.issue(role).expect("issued");
    let addresses = (1..)
        .map(NodeId)
        .zip(nodes.iter().map(|node| node.address))
        .collect();
    Client::connect(
        addresses,
        &identity,
        Limits::default(),
        None::<&LinkControl>,
    )
    .expect("a free port")
}
