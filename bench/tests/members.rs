//! Members of a group of real nodes change while clients call: nodes join, vote, lead and leave, and
//! nothing acknowledged is lost.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consensus_core::{
    ClusterId, DiskId, NodeId, Time, Wire,
    check::{History, linearizable},
    contract::replicated_log::LogRole,
    kv::{self, Operation},
    runtime::{ManageError, Management},
};
use net_quic::{
    Client, ClusterCa, Counter, Limits, Role,
    node::{self, Durability, Joins, LogProtocol, RunningNode, Settings},
};
use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const CLUSTER: ClusterId = ClusterId(0xC0FFEE);
/// Longer than anything here takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A group, its clients, and the folder that all of it is in.
struct Group<A: LogProtocol> {
    dir: PathBuf,
    ca: ClusterCa,
    options: A::Options,
    nodes: BTreeMap<u16, RunningNode<A>>,
    founders: BTreeMap<NodeId, SocketAddr>,
    clients: Client,
    operator: Client,
}

impl<A: LogProtocol> Drop for Group<A> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl<A: LogProtocol> Group<A> {
    async fn of_three(name: &str, options: A::Options) -> Self {
        let dir = format!("{name}-{}-{}", A::NAME, std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(dir);
        let _ = fs::remove_dir_all(&dir);
        let ca = ClusterCa::generate(CLUSTER).unwrap();
        let unknown: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), ANYWHERE.into())).collect();
        let mut nodes = BTreeMap::new();
        for id in 1..=3 {
            node::init(&dir.join(id.to_string()), CLUSTER, NodeId(id)).unwrap();
            let settings = settings::<A>(&ca, &dir, id, &options, unknown.clone());
            nodes.insert(id, node::start(settings).await.unwrap());
        }
        let places = nodes.iter().map(|(id, node)| (NodeId(*id), node.address()));
        let founders: BTreeMap<_, _> = places.collect();
        for node in nodes.values() {
            node.set_addresses(founders.clone());
        }
        let connect = |role| {
            let identity = ca.issue(role).unwrap();
            Client::connect(founders.clone(), &identity, Limits::default(), None).unwrap()
        };
        let (clients, operator) = (connect(Role::Client), connect(Role::Operator));
        Self {
            dir,
            ca,
            options,
            nodes,
            founders,
            clients,
            operator,
        }
    }

    fn data(&self, id: u16) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn format(&self, id: u16) -> DiskId {
        node::init(&self.data(id), CLUSTER, NodeId(id)).unwrap()
    }

    /// Starts a node that did not found the group, where it was before if it was anywhere.
    async fn join(&mut self, id: u16, joins: Joins, listen: Option<SocketAddr>) -> SocketAddr {
        if let Some(address) = listen {
            until("the port is free", || UdpSocket::bind(address).is_ok()).await;
        }
        let founders = self.founders.clone();
        let mut settings = settings::<A>(&self.ca, &self.dir, id, &self.options, founders);
        settings.joins = joins;
        settings.listen = Some(listen.unwrap_or(ANYWHERE.into()));
        let node = node::start(settings).await.unwrap();
        let address = node.address();
        self.nodes.insert(id, node);
        for client in [&self.clients, &self.operator] {
            client.set_address(NodeId(id), address);
        }
        address
    }

    async fn stop(&mut self, id: u16) {
        self.nodes.remove(&id).unwrap().shutdown().await.unwrap();
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&RunningNode<A>| {
            let view = node.status().log;
            view.is_some_and(|view| view.role == LogRole::Leader)
        };
        self.nodes.values().find(leads).map(RunningNode::id)
    }
}

fn settings<A: LogProtocol>(
    ca: &ClusterCa,
    dir: &Path,
    id: u16,
    options: &A::Options,
    members: BTreeMap<NodeId, SocketAddr>,
) -> Settings<A> {
    let identity = ca.issue(Role::Node(NodeId(id))).unwrap();
    Settings {
        durability: Durability::fsync(dir.join(id.to_string())),
        protocol: options.clone(),
        ..Settings::new(CLUSTER, NodeId(id), identity, members)
    }
}

/// Clients that write and read a few keys until they are told to stop, and remember everything.
struct Load {
    stop: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    done: Arc<Mutex<u64>>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(clients: &Client) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            history: Arc::default(),
            done: Arc::default(),
            clients: JoinSet::new(),
        };
        let began = Instant::now();
        for number in 0..4 {
            let (stop, history) = (Arc::clone(&load.stop), Arc::clone(&load.history));
            let (done, client) = (Arc::clone(&load.done), clients.clone());
            load.clients.spawn(async move {
                let now = || Time::from_nanos(began.elapsed().as_nanos() as u64);
                let mut session = client.session(PATIENCE).await.unwrap();
                for round in 0u64.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let key = Bytes::from(format!("key {}", round % 3));
                    let operation = if round % 4 == 3 {
                        Operation::Get { key }
                    } else {
                        // Nobody else ever writes this; and enough of it for snapshots.
                        let value = Bytes::from(format!("{number} {round} {:500}", ""));
                        Operation::Put { key, value }
                    };
                    let asked = history
                        .lock()
                        .unwrap()
                        .invoke(number, now(), operation.clone());
                    // Patience outlasts every change of members: a call that fails here failed.
                    let result = session.call(kv::encode(&operation)).await.unwrap();
                    let outcome = kv::Outcome::decode(result).unwrap();
                    history.lock().unwrap().answer(asked, now(), outcome);
                    *done.lock().unwrap() += 1;
                }
            });
        }
        load
    }

    /// Waits until `count` more operations are done.
    async fn goes_on(&self, count: u64) {
        let goal = *self.done.lock().unwrap() + count;
        until("clients go on", || *self.done.lock().unwrap() >= goal).await;
    }

    /// Ends the load; everything that it saw must have been possible.
    async fn end(self) {
        self.stop.store(true, SeqCst);
        for ended in self.clients.join_all().await {
            let () = ended;
        }
        let history = Arc::into_inner(self.history).unwrap().into_inner().unwrap();
        let report = linearizable::check(&history.finish());
        assert!(report.is_ok(), "{report:?}");
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

async fn a_group_is_replaced_node_by_node<A: LogProtocol>(options: A::Options) {
    let mut group = Group::<A>::of_three("replaced", options).await;
    let operator = group.operator.clone();
    let load = Load::start(&group.clients);
    load.goes_on(200).await;
    let led = operator
        .transfer_leadership(Some(NodeId(1)), PATIENCE)
        .await;
    // It may lead already, and then there is nothing to hand over.
    assert!(
        led == Ok(NodeId(1)) || group.leader() == Some(NodeId(1)),
        "{led:?}"
    );

    // What makes no sense, or comes too early, is refused by name.
    let stranger = operator.promote(NodeId(9), PATIENCE).await;
    assert_eq!(stranger, Err(ManageError::Impossible));
    let disk = group.format(4);
    let address = ([127, 0, 0, 1], 9).into();
    let nowhere = net_quic::member(NodeId(4), disk, address);
    operator.add_learner(nowhere, PATIENCE).await.unwrap();
    let early = operator
        .promote(NodeId(4), Duration::from_millis(100))
        .await;
    assert!(
        matches!(
            early,
            Err(ManageError::NotCaughtUp(NodeId(4)) | ManageError::Unknown)
        ),
        "{early:?}"
    );
    let not_here = group.nodes[&2].handle().remove(NodeId(4), PATIENCE).await;
    assert!(
        matches!(not_here, Err(ManageError::NotLeader(_))),
        "{not_here:?}"
    );
    operator.remove(NodeId(4), PATIENCE).await.unwrap();

    // A newcomer runs first, is taken in, catches up, and votes.
    let address = group.join(4, Joins::New, None).await;
    let member = net_quic::member(NodeId(4), disk, address);
    operator.add_learner(member, PATIENCE).await.unwrap();
    operator.promote(NodeId(4), PATIENCE).await.unwrap();
    // The answer is the leader's; the newcomer hears of it a message later.
    until("it votes, and applies what the others do", || {
        let of = |id| {
            group.nodes[&id]
                .counts()
                .iter()
                .find(|(name, _)| *name == "applied")
        };
        let applies = of(4)
            .zip(of(2))
            .is_some_and(|(four, two)| four.1 > 0 && four.1 + 5000 > two.1);
        let known = group.nodes[&4].group();
        applies && known.is_some_and(|known| known.is_voter(NodeId(4)))
    })
    .await;

    // The leader goes by its own hand: it steps down, and the others elect another.
    let leader = group.leader().unwrap_or(NodeId(1));
    operator.remove(leader, PATIENCE).await.unwrap();
    until("another leads", || {
        group.leader().is_some_and(|now| now != leader)
    })
    .await;
    load.goes_on(50).await;
    group.stop(leader.0).await;
    until("nobody looks for it any more", || {
        let mut nodes = group.nodes.values();
        nodes.all(|node| {
            node.group()
                .is_some_and(|group| group.member(leader).is_none())
        })
    })
    .await;
    let heir = operator
        .transfer_leadership(Some(NodeId(4)), PATIENCE)
        .await;
    assert!(
        heir == Ok(NodeId(4)) || group.leader() == Some(NodeId(4)),
        "{heir:?}"
    );
    load.goes_on(50).await;

    // A leader that joined later goes like any other, and comes back as a newcomer would.
    operator.remove(NodeId(4), PATIENCE).await.unwrap();
    load.goes_on(50).await;
    let member = net_quic::member(NodeId(4), disk, address);
    operator.add_learner(member, PATIENCE).await.unwrap();
    operator.promote(NodeId(4), PATIENCE).await.unwrap();

    // Two of three are left, and the newcomer is one of them: its vote and its disk count.
    let other = *group.nodes.keys().find(|id| **id != 4).unwrap();
    group.stop(other).await;
    load.goes_on(50).await;
    group.stop(4).await;

    // Another disk under its number is not the member: nobody talks to it.
    fs::rename(group.data(4), group.dir.join("kept")).unwrap();
    group.format(4);
    group.join(4, Joins::New, Some(address)).await;
    let left = *group.nodes.keys().find(|id| **id != 4).unwrap();
    until("it is turned away", || {
        group.nodes[&left].stats().count(Counter::OtherDisk) > 0
            || group.nodes[&4].stats().count(Counter::OtherDisk) > 0
    })
    .await;
    group.stop(4).await;
    fs::remove_dir_all(group.data(4)).unwrap();
    fs::rename(group.dir.join("kept"), group.data(4)).unwrap();
    group.join(4, Joins::New, Some(address)).await;
    load.goes_on(50).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raft_group_is_replaced_node_by_node_under_load() {
    a_group_is_replaced_node_by_node::<raft::Raft>(raft::Options {
        keep_bytes: 0,
        snapshot_bytes: 64 << 10,
        ..raft::Options::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipaxos_group_is_replaced_node_by_node_under_load() {
    a_group_is_replaced_node_by_node::<multipaxos::MultiPaxos>(multipaxos::Options {
        keep_bytes: 0,
        snapshot_bytes: 64 << 10,
        alpha: 64,
        ..multipaxos::Options::default()
    })
    .await;
}

/// A node whose disk is lost comes back under its number with another disk: the group goes on without it,
/// takes it in as a learner, and counts its vote only when it has caught up.
async fn a_lost_disk_is_replaced<A: LogProtocol>(options: A::Options) {
    let mut group = Group::<A>::of_three("lost", options).await;
    let operator = group.operator.clone();
    let load = Load::start(&group.clients);
    load.goes_on(200).await;
    let address = group.founders[&NodeId(2)];
    group.stop(2).await;
    fs::remove_dir_all(group.data(2)).unwrap();
    load.goes_on(50).await;

    let disk = group.format(2);
    let member = net_quic::member(NodeId(2), disk, address);
    let index = operator.readmit(member.clone(), PATIENCE).await.unwrap();
    // Not once more: it is a member now, whoever asks.
    let again = operator.add_learner(member, PATIENCE).await;
    assert_eq!(again, Err(ManageError::Impossible));
    group.join(2, Joins::Again(index), Some(address)).await;
    operator.promote(NodeId(2), PATIENCE).await.unwrap();

    until("everybody knows the new disk", || {
        let known = group.nodes[&1].group();
        known.is_some_and(|known| known.member(NodeId(2)).is_some_and(|two| two.disk == disk))
    })
    .await;
    group.stop(3).await;
    load.goes_on(50).await;
    // And again after a start of its own, for its log now says who it is.
    group.stop(2).await;
    group.join(2, Joins::Again(index), Some(address)).await;
    load.goes_on(50).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_of_a_raft_group_is_replaced() {
    a_lost_disk_is_replaced::<raft::Raft>(raft::Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_of_a_multipaxos_group_is_replaced() {
    a_lost_disk_is_replaced::<multipaxos::MultiPaxos>(multipaxos::Options::default()).await;
}
