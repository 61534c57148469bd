//! Three real nodes on loopback, with a log on disk: they answer, and one that went comes back from
//! its folder.

#![allow(clippy::unwrap_used)]

use bench::app::bank;
use bytes::Bytes;
use consensus_core::{
    ClientId, ClusterId, NodeId, Sequence, Wire,
    bank::Outcome,
    kv::{self, Operation},
    runtime::Runnable,
    service::{Answer, Refusal},
};
use net_quic::{
    Client, ClusterCa, Limits, Role,
    node::{self, Durability, RunningNode, Settings},
};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use twophase::TwoPhase;

const CLUSTER: ClusterId = ClusterId(0xC0FFEE);
/// Longer than anything here takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn of(&self, node: u16) -> PathBuf {
        self.0.join(node.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn start<A: Runnable>(ca: &ClusterCa, folder: &Folder, id: u16) -> RunningNode<A> {
    let identity = ca.issue(Role::Node(NodeId(id))).unwrap();
    let members = (1..=3).map(|id| (NodeId(id), ANYWHERE.into())).collect();
    let settings = Settings::<A> {
        durability: Durability::fsync(folder.of(id)),
        ..Settings::new(CLUSTER, NodeId(id), identity, members)
    };
    node::start(settings).await.unwrap()
}

fn introduce<A: Runnable>(nodes: &BTreeMap<u16, RunningNode<A>>) -> BTreeMap<NodeId, SocketAddr> {
    let addresses: BTreeMap<_, _> = nodes
        .iter()
        .map(|(id, node)| (NodeId(*id), node.address()))
        .collect();
    for node in nodes.values() {
        node.set_addresses(addresses.clone());
    }
    addresses
}

/// Asks under one session until the answer is one that asking again would not change.
async fn ask(client: &Client, sequence: u64, body: Bytes) -> Bytes {
    loop {
        let call = client.call(ClientId(9), Sequence(sequence), body.clone(), PATIENCE);
        match call.await.unwrap() {
            Answer::Done(result) => return result,
            Answer::Refused(Refusal::NotLeader(_) | Refusal::Busy) | Answer::Unknown => {}
            // No sessions are kept, so none can be opened.
            Answer::Refused(Refusal::Malformed) if sequence == 0 => return Bytes::new(),
            Answer::Refused(other) => panic!("{other}"),
        }
    }
}

async fn put(client: &Client, sequence: u64, key: &'static str) {
    let operation = Operation::Put {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from(sequence.to_string()),
    };
    ask(client, sequence, kv::encode(&operation)).await;
}

async fn get(client: &Client, sequence: u64, key: &'static str) -> Bytes {
    let key = Bytes::from_static(key.as_bytes());
    let result = ask(client, sequence, kv::encode(&Operation::Get { key })).await;
    match kv::Outcome::decode(result).unwrap() {
        kv::Outcome::Value { value, .. } => value,
        other => panic!("a value was asked for: {other:?}"),
    }
}

async fn a_node_comes_back_from_its_folder<A: Runnable>() {
    let folder = Folder::new(A::NAME);
    let ca = ClusterCa::generate(CLUSTER).unwrap();
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        node::init(&folder.of(id), CLUSTER, NodeId(id)).unwrap();
        nodes.insert(id, start::<A>(&ca, &folder, id).await);
    }
    let identity = ca.issue(Role::Client).unwrap();
    let connect = |addresses| Client::connect(addresses, &identity, Limits::default(), None);

    let client = connect(introduce(&nodes)).unwrap();
    ask(&client, 0, Bytes::new()).await;
    for sequence in 1..=100 {
        put(&client, sequence, "first").await;
    }
    let text = client.inspect(NodeId(1), PATIENCE).await.unwrap();
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["algorithm"], A::NAME);
    assert_eq!(seen["boot"], 1);
    assert!(seen["counts"]["syncs"].as_u64().unwrap() > 0, "{text}");

    nodes.remove(&2).unwrap().shutdown().await.unwrap();
    for sequence in 101..=110 {
        put(&client, sequence, "second").await;
    }

    let back = start::<A>(&ca, &folder, 2).await;
    assert_eq!(back.boot().0, 2);
    nodes.insert(2, back);
    // Whatever happens from here on needs the one that came back.
    nodes.remove(&3).unwrap().shutdown().await.unwrap();
    let client = connect(introduce(&nodes)).unwrap();
    assert_eq!(get(&client, 111, "first").await, "100");
    assert_eq!(get(&client, 112, "second").await, "110");
    put(&client, 113, "third").await;
    assert_eq!(get(&client, 114, "third").await, "113");
    for node in nodes.into_values() {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_paxos_node_comes_back_from_its_folder() {
    a_node_comes_back_from_its_folder::<paxos::Paxos>().await;
}

#[tokio::test]
async fn a_raft_node_comes_back_from_its_folder() {
    a_node_comes_back_from_its_folder::<raft::Raft>().await;
}

#[tokio::test]
async fn a_multipaxos_node_comes_back_from_its_folder() {
    a_node_comes_back_from_its_folder::<multipaxos::MultiPaxos>().await;
}

/// The coordinator and a participant go and come back between transfers: what nodes hold in the end is
/// what was committed, at every node.
#[tokio::test]
async fn transfers_survive_the_nodes_that_made_them() {
    let folder = Folder::new("transfers");
    let ca = ClusterCa::generate(CLUSTER).unwrap();
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        node::init(&folder.of(id), CLUSTER, NodeId(id)).unwrap();
        nodes.insert(id, start::<TwoPhase>(&ca, &folder, id).await);
    }
    let identity = ca.issue(Role::Client).unwrap();
    let connect = |addresses| Client::connect(addresses, &identity, Limits::default(), None);
    let mut committed = 0;
    let mut sequence = 0;
    for gone in [2, 1, 3] {
        let client = connect(introduce(&nodes)).unwrap();
        let goal = committed + 20;
        while committed < goal {
            sequence += 1;
            let body = bank::body(&bank::transfer(3, 7, sequence, Bytes::new()));
            let answer = client.call_at(NodeId(1), ClientId(9), Sequence(sequence), body, PATIENCE);
            match Outcome::decode(done(answer.await)).unwrap() {
                Outcome::Committed { .. } => committed += 1,
                // A node that has just come back is not known to run yet.
                Outcome::Aborted { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
                other => panic!("a transfer was asked for: {other:?}"),
            }
        }
        nodes.remove(&gone).unwrap().shutdown().await.unwrap();
        nodes.insert(gone, start::<TwoPhase>(&ca, &folder, gone).await);
    }
    let client = connect(introduce(&nodes)).unwrap();
    for (node, each) in [(1, -2), (2, 1), (3, 1)] {
        let held = loop {
            let body = bank::body(&consensus_core::bank::Operation::Audit {});
            let answer = client.call_at(NodeId(node), ClientId(9), Sequence(1), body, PATIENCE);
            match Outcome::decode(done(answer.await)).unwrap() {
                Outcome::Holdings {
                    changed, prepared, ..
                } if prepared.is_empty() => break changed,
                // In doubt since its restart: it asks.
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].delta, each * committed, "node {node}");
    }
    for node in nodes.into_values() {
        node.shutdown().await.unwrap();
    }
}

fn done(answer: Result<Answer, net_quic::CallError>) -> Bytes {
    match answer.unwrap() {
        Answer::Done(result) => result,
        other => panic!("nothing else was going on: {other:?}"),
    }
}

#[tokio::test]
async fn a_folder_that_was_never_formatted_does_not_become_a_node() {
    let folder = Folder::new("unformatted");
    let ca = ClusterCa::generate(CLUSTER).unwrap();
    let identity = ca.issue(Role::Node(NodeId(1))).unwrap();
    let members = BTreeMap::from([(NodeId(1), ANYWHERE.into())]);
    let settings = Settings::<paxos::Paxos> {
        durability: Durability::fsync(folder.of(1)),
        ..Settings::new(CLUSTER, NodeId(1), identity, members)
    };
    let error = node::start(settings).await.unwrap_err();
    assert!(matches!(error, node::StartError::Log(_)), "{error}");
    assert!(!folder.of(1).exists(), "a start leaves nothing behind");
}
