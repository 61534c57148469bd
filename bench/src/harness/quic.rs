//! Three real nodes in this process: QUIC on loopback with mutual TLS, a log on disk that is synced, one
//! client. What a commit takes on this machine.

use crate::{app::Client, recorder::Outcome};
use consensus_core::{ClusterId, NodeId, runtime::Runnable, service::Answer};
use net_quic::{
    ClusterCa, Limits, Role,
    node::{self, Durability, RunningNode, Settings},
};
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const CLUSTER: ClusterId = ClusterId(1);
const NODES: u16 = 3;
/// Bytes a command.
const PAYLOAD: usize = 64;
/// Longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Transactions tried for one that commits: more than connections that still come up abort.
const ATTEMPTS: u32 = 20;
/// Before asking again where nobody could tell who leads.
const PAUSE: Duration = Duration::from_millis(5);

/// A cluster, its folder and its one client.
pub struct Quic<A: Runnable> {
    // Dropped first: the nodes' tasks end on it, and it waits for their threads.
    tokio: Option<Runtime>,
    nodes: Vec<RunningNode<A>>,
    line: net_quic::Client,
    client: Client,
    folder: PathBuf,
}

impl<A: Runnable> std::fmt::Debug for Quic<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quic")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl<A: Runnable> Quic<A> {
    /// Starts the nodes with their logs below `parent`, and opens the client's session.
    ///
    /// # Errors
    /// When a folder, a socket or a thread cannot be had.
    pub fn new(parent: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let tokio = Builder::new_multi_thread().enable_all().build()?;
        let folder = parent.join(format!("{}-{}", A::NAME, std::process::id()));
        let ca = ClusterCa::generate(CLUSTER)?;
        let (nodes, line) = tokio.block_on(start::<A>(&ca, &folder))?;
        let mut cluster = Self {
            tokio: Some(tokio),
            nodes,
            line,
            client: Client::new(A::CONTRACT, 0, NODES, PAYLOAD),
            folder,
        };
        cluster.each(0..1);
        // Whoever leads has been found, and every connection is up.
        cluster.run(3);
        Ok(cluster)
    }

    /// Lets the client do `operations` operations, one after the other. Returns how long that took, with
    /// the attempts that a time-out of the protocol had aborted.
    ///
    /// # Panics
    /// When an operation is not done, which without failures is a bug.
    pub fn run(&mut self, operations: u64) -> Duration {
        self.each(1..operations + 1)
    }

    /// Asks so many times in a row; the first time of `0..` opens the session.
    fn each(&mut self, work: Range<u64>) -> Duration {
        let (client, line) = (&mut self.client, &self.line);
        let tokio = self.tokio.as_ref().expect("taken by drop alone");
        tokio.block_on(async {
            let start = Instant::now();
            for number in work {
                if number > 0 {
                    client.advance();
                }
                let answer = carry_out(line, client).await;
                // Where there are no sessions none can be opened.
                let done = number == 0 || client.outcome(&answer) == Outcome::Done;
                assert!(done, "{answer:?} though nothing failed");
            }
            start.elapsed()
        })
    }
}

async fn start<A: Runnable>(
    ca: &ClusterCa,
    folder: &Path,
) -> Result<(Vec<RunningNode<A>>, net_quic::Client), Box<dyn std::error::Error>> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut nodes = Vec::new();
    for id in (1..=NODES).map(NodeId) {
        let data = folder.join(id.to_string());
        fs::create_dir_all(&data)?;
        node::init(&data, CLUSTER, id)?;
        let members = (1..=NODES).map(|id| (NodeId(id), anywhere)).collect();
        let settings = Settings::<A> {
            durability: Durability::fsync(data),
            ..Settings::new(CLUSTER, id, ca.issue(Role::Node(id))?, members)
        };
        nodes.push(node::start(settings).await?);
    }
    let addresses: BTreeMap<_, _> = nodes
        .iter()
        .map(|node| (node.id(), node.address()))
        .collect();
    for node in &nodes {
        node.set_addresses(addresses.clone());
    }
    let identity = ca.issue(Role::Client)?;
    let line = net_quic::Client::connect(addresses, &identity, Limits::default(), None)?;
    Ok((nodes, line))
}

/// Asks, and anew where a transaction was aborted: on a slow disk a vote can miss its deadline.
async fn carry_out(line: &net_quic::Client, client: &mut Client) -> Answer {
    for _ in 1..ATTEMPTS {
        let answer = ask(line, client).await;
        if client.outcome(&answer) != Outcome::Aborted {
            return answer;
        }
        client.advance();
    }
    ask(line, client).await
}

/// Asks until there is an answer that asking again would not change.
async fn ask(line: &net_quic::Client, client: &mut Client) -> Answer {
    loop {
        let (sequence, body) = (client.sequence(), client.body());
        let asked = line.call_at(client.home(), client.id(), sequence, body, PATIENCE);
        match asked.await {
            Ok(Answer::Refused(refusal)) if client.retries(refusal) => {}
            Ok(answer) => return answer,
            // Connections come up in their own time.
            Err(error) if !error.is_unknown() => {}
            Err(_) => return Answer::Unknown,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl<A: Runnable> Drop for Quic<A> {
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            let _within = tokio.enter();
            self.nodes.clear();
        }
        // Nothing to be done about a folder that will not go, and nobody to tell.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
