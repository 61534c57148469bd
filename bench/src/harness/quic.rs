//! Whole nodes on loopback: QUIC with mutual TLS, and a write-ahead log that is synced before anything
//! depends on it.

use crate::{app::Client, recorder::Outcome};
use bytes::Bytes;
use consensus_core::{ClusterId, NodeId, Sequence, runtime::Runnable, service::Answer};
use net_quic::{
    ClusterCa, Limits, NetError, Role,
    node::{self, Durability, RunningNode, Settings, StartError},
};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const CLUSTER: ClusterId = ClusterId(1);
/// Bytes a command.
const PAYLOAD: usize = 256;
/// A single call may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections and elections take no longer.
const START: Duration = Duration::from_secs(20);
/// Before asking again.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// The system gave no threads, or no folder.
    #[error("the system refused what a cluster needs")]
    System(#[from] io::Error),
    /// No certificate, or no socket.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A folder cannot become a node's.
    #[error(transparent)]
    Format(#[from] consensus_core::storage::wal::FormatError),
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Nobody answered.
    #[error("no answer within {START:?} of the start: {0}")]
    Silent(String),
}

/// Nodes on loopback with their logs in one folder, and one client.
#[derive(Debug)]
pub struct Quic<A: Runnable> {
    nodes: Vec<RunningNode<A>>,
    network: net_quic::Client,
    client: Client,
    // Last: everything above ends on it.
    tokio: Runtime,
}

impl<A: Runnable> Quic<A> {
    /// Starts nodes 1 to `nodes`, whose logs go into `folder`, which must be empty or missing; returns
    /// once the client has been served.
    ///
    /// # Errors
    /// [`QuicError`].
    pub fn new(nodes: u16, options: &A::Options, folder: &Path) -> Result<Self, QuicError> {
        let tokio = Builder::new_multi_thread().enable_all().build()?;
        let ca = ClusterCa::generate(CLUSTER)?;
        let (running, network) = tokio.block_on(start::<A>(nodes, options, folder, &ca))?;
        let client = Client::new(A::CONTRACT, 0, nodes, PAYLOAD);
        let mut cluster = Self {
            nodes: running,
            network,
            client,
            tokio,
        };
        cluster.open()?;
        Ok(cluster)
    }

    /// Opens the session and does one operation, however often that has to be tried.
    fn open(&mut self) -> Result<(), QuicError> {
        let Self {
            tokio,
            network,
            client,
            ..
        } = self;
        let end = Instant::now() + START;
        let calls = [client.opening(), client.operation()];
        for (sequence, body) in calls {
            loop {
                let why = match tokio.block_on(ask(network, client, sequence, &body)) {
                    Ok(Answer::Done(_)) => break,
                    // A contract without sessions need not understand an opening.
                    Ok(Answer::Refused(_)) if sequence == Sequence(0) => break,
                    Ok(answer) => format!("{answer:?}"),
                    Err(error) => error.to_string(),
                };
                if Instant::now() > end {
                    return Err(QuicError::Silent(why));
                }
                tokio.block_on(tokio::time::sleep(PAUSE));
            }
        }
        Ok(())
    }

    /// Lets the client do `operations` operations, one after the other; how long that took.
    ///
    /// # Panics
    /// When an operation is not done, which without failures is a bug.
    pub fn run(&mut self, operations: u64) -> Duration {
        let Self {
            tokio,
            network,
            client,
            ..
        } = self;
        let start = Instant::now();
        tokio.block_on(async {
            for _ in 0..operations {
                let (sequence, body) = client.operation();
                let answer = ask(network, client, sequence, &body).await;
                let answer = answer.unwrap_or_else(|error| panic!("nothing failed, but {error}"));
                let outcome = client.outcome(&answer);
                assert_eq!(outcome, Outcome::Done, "{answer:?} though nothing failed");
            }
        });
        start.elapsed()
    }

    /// Forced writes of all nodes so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.nodes.iter().map(|node| node.counts().syncs).sum()
    }
}

async fn start<A: Runnable>(
    nodes: u16,
    options: &A::Options,
    folder: &Path,
    ca: &ClusterCa,
) -> Result<(Vec<RunningNode<A>>, net_quic::Client), QuicError> {
    let anywhere: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let members: BTreeMap<_, _> = (1..=nodes).map(|node| (NodeId(node), anywhere)).collect();
    let mut running = Vec::new();
    for node in members.keys() {
        let dir = folder.join(format!("node-{node}"));
        std::fs::create_dir_all(&dir)?;
        node::init(&dir, CLUSTER, *node)?;
        let identity = ca.issue(Role::Node(*node))?;
        running.push(
            node::start(Settings::<A> {
                durability: Durability::fsync(&dir),
                protocol: options.clone(),
                ..Settings::new(CLUSTER, *node, identity, members.clone())
            })
            .await?,
        );
    }
    let addresses: BTreeMap<_, _> = members
        .into_keys()
        .zip(running.iter().map(RunningNode::address))
        .collect();
    for node in &running {
        node.set_addresses(addresses.clone());
    }
    let identity = ca.issue(Role::Client)?;
    let network = net_quic::Client::connect(addresses, &identity, Limits::default(), None)?;
    Ok((running, network))
}

/// Asks until there is an answer that asking again would not change.
async fn ask(
    network: &net_quic::Client,
    client: &mut Client,
    sequence: Sequence,
    body: &Bytes,
) -> Result<Answer, net_quic::CallError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (home, id) = (client.home(), client.id());
        match network
            .call_at(home, id, sequence, body.clone(), PATIENCE)
            .await?
        {
            Answer::Refused(refusal) if client.retries(refusal) && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return Ok(answer),
        }
    }
}
