//! A whole node: a log on disk, the tokio runtime and this transport around one algorithm.
//!
//! ```no_run
//! # async fn run<A: consensus_core::runtime::Runnable>(
//! #     identity: net_quic::Identity,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use consensus_core::{ClusterId, NodeId};
//! use net_quic::node::{self, Durability, Settings};
//!
//! let cluster = ClusterId(7);
//! // Once in the life of a folder: the explicit act by which a node begins.
//! node::init("data".as_ref(), cluster, NodeId(1))?;
//! let members = [(NodeId(1), "127.0.0.1:7001".parse()?)];
//! let mut node = node::start(Settings::<A> {
//!     durability: Durability::fsync("data"),
//!     ..Settings::new(cluster, NodeId(1), identity, members.into())
//! })
//! .await?;
//! node.wait().await?;
//! # Ok(())
//! # }
//! ```

mod durability;
mod inspect;
mod replica;
mod timekeeper;

pub use durability::Durability;
pub use replica::{LogProtocol, ReplicaNode, start_replica};

use crate::snapshots::{Depot, Keeper, SnapshotStatus};
use crate::{
    Endpoint, EndpointConfig, Gateway, Identity, Inbound, Limits, LinkControl, NetError, Stats,
};
use bytes::Bytes;
use consensus_core::{
    Boot, ClientId, ClusterId, Contract, DiskId, GroupId, Index, Members, NodeId, QuorumError,
    Sequence, Wire,
    runtime::{
        self, Counts, Handle, Inbox, NodeError, NodeParts, Reports, Runnable, Running,
        SnapshotReports, Snapshots, Status,
    },
    service::{Answer, Group, Manage, Service},
    storage::snapshots::SnapshotError,
    storage::wal::{self, FileSystem, FormatError, OpenError, RealFileSystem},
};
use rand::{TryRng, rngs::SysRng};
use std::{collections::BTreeMap, fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;

/// A leader that shuts down waits no longer than this for another to lead.
const HAND_OVER: Duration = Duration::from_millis(500);

/// The one group of a node that runs one algorithm.
const GROUP: GroupId = GroupId(0);

/// What an operator says about a node.
pub struct Settings<A: Runnable> {
    /// The cluster; must be what `identity` names.
    pub cluster: ClusterId,
    /// Which node; must be what `identity` names.
    pub node: NodeId,
    /// Certificate, key and trusted authorities.
    pub identity: Identity,
    /// All who found the group and where they are, this node included unless it
    /// [`joins`](Self::joins). Who founded it is never said otherwise later, at any node; who belongs
    /// now is said by the group's own log, and where they are by the members' contexts in it (see
    /// [`member`](crate::member)) or by [`RunningNode::set_addresses`].
    pub members: BTreeMap<NodeId, SocketAddr>,
    /// Whether the group takes this node in, rather than having been founded with it. Default: it
    /// founded it.
    pub joins: Joins,
    /// Nodes besides the founders that a node which joins, or comes back after the others have
    /// changed, may turn to. Default none: those with lower ids, which it has to dial, must be founders
    /// then.
    pub contacts: BTreeMap<NodeId, SocketAddr>,
    /// Where to listen, if that is not this node's address among the members. Port 0 lets the
    /// operating system choose.
    pub listen: Option<SocketAddr>,
    /// What survives a crash.
    pub durability: Durability,
    /// What the log is kept on: the operating system's files, unless a test wants some that fail.
    pub files: Arc<dyn FileSystem>,
    /// Choices that hold for the whole cluster.
    pub protocol: A::Options,
    /// Bounds and habits of the driver. Its seed is replaced by a drawn one.
    pub runtime: runtime::Options,
    /// Bounds of the network.
    pub limits: Limits,
    /// Emulated links, when wanted.
    pub link: Option<LinkControl>,
}

/// How a node came to its group. Said anew, and the same, at each of its starts.
///
/// Only groups with a replicated log take anybody in; by whom and how, see
/// [`Management`](consensus_core::runtime::Management). Whoever is taken in follows, and votes when the
/// log says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Joins {
    /// It is one of those that founded it.
    #[default]
    Founds,
    /// The group has never had a node of this number. It may start before it is taken in.
    New,
    /// The group has had a node of this number, whose disk is lost or damaged. That one was
    /// [removed](consensus_core::runtime::Management::remove); then this one, with a disk newly
    /// [formatted](init), was [taken in as a learner](consensus_core::runtime::Management::add_learner),
    /// by this entry of the log.
    ///
    /// **Never start it before that**: it has forgotten what its disk had promised, and until the group
    /// has gone on without it, its word could be counted for a leader of the past.
    Again(Index),
}

impl<A: Runnable> Settings<A> {
    /// Defaults for everything that has one. Nothing survives a crash until `durability` says so:
    /// a folder is the operator's to name.
    #[must_use]
    pub fn new(
        cluster: ClusterId,
        node: NodeId,
        identity: Identity,
        members: BTreeMap<NodeId, SocketAddr>,
    ) -> Self {
        Self {
            cluster,
            node,
            identity,
            members,
            joins: Joins::Founds,
            contacts: BTreeMap::new(),
            listen: None,
            durability: Durability::Memory,
            files: Arc::new(RealFileSystem),
            protocol: A::Options::default(),
            runtime: runtime::Options::default(),
            limits: Limits::default(),
            link: None,
        }
    }
}

impl<A: Runnable> fmt::Debug for Settings<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("members", &self.members)
            .field("durability", &self.durability)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// Formats an empty or missing folder for a node: done once, by hand or by a tool, never by a start.
///
/// # Errors
/// When the folder is not empty, or the system refuses.
pub fn init(dir: &Path, cluster: ClusterId, node: NodeId) -> Result<DiskId, FormatError> {
    wal::format(dir, wal::Identity { cluster, node })
}

/// Why a node did not start. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node is not among the members and does not join a replicated log either, has no address, or
    /// the members are too many.
    #[error("node {node} cannot be one of these members")]
    Members {
        /// Which node.
        node: NodeId,
        /// What is wrong with them.
        source: Option<QuorumError>,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The folder of snapshots cannot be used.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The socket or the certificate is of no use.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The protocol cannot be rebuilt.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operating system gave no randomness, or ended a thread.
    #[error("the operating system failed: {0}")]
    System(#[from] io::Error),
}

/// A node that runs. Dropping it ends it without waiting.
pub struct RunningNode<A: Runnable> {
    running: Running<A>,
    endpoint: Endpoint,
    address: SocketAddr,
    boot: Boot,
    disk: DiskId,
    report: wal::Report,
    depot: Option<Arc<Depot>>,
}

impl<A: Runnable> fmt::Debug for RunningNode<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningNode")
            .field("node", &self.running.node())
            .field("address", &self.address)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// Opens the disk, binds the socket and starts the node.
///
/// # Errors
/// [`StartError`]. A log that was opened has counted this start, and is closed again.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start<A: Runnable>(settings: Settings<A>) -> Result<RunningNode<A>, StartError> {
    start_with(settings, |options, members, node, boot| {
        Box::new(A::service(options, members, node, boot))
    })
    .await
}

/// As [`start`], with another application's side than the harnesses': what `service` makes of the
/// protocol's options, the members, the node and its run.
///
/// # Errors
/// As [`start`].
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start_with<A: Runnable>(
    settings: Settings<A>,
    service: impl FnOnce(&A::Options, &Members, NodeId, Boot) -> Box<dyn Service<A> + Send>,
) -> Result<RunningNode<A>, StartError> {
    let node = settings.node;
    let founders = settings.members.keys().copied();
    let founders = founders.filter(|founder| settings.joins == Joins::Founds || *founder != node);
    let members = Members::new(founders);
    let members = members.map_err(|source| StartError::Members {
        node,
        source: Some(source),
    })?;
    let own = settings.listen.or(settings.members.get(&node).copied());
    let may_start = match settings.joins {
        Joins::Founds => members.contains(node),
        Joins::New => {
            A::CONTRACT == Contract::ReplicatedLog && !settings.members.contains_key(&node)
        }
        Joins::Again(_) => A::CONTRACT == Contract::ReplicatedLog,
    };
    let Some(address) = own.filter(|_| may_start) else {
        return Err(StartError::Members { node, source: None });
    };
    let mut addresses = settings.contacts;
    addresses.extend(settings.members);
    let mut options = settings.runtime;
    options.seed = draw()?;
    let reports = Reports::new(GROUP);
    let identity = wal::Identity {
        cluster: settings.cluster,
        node,
    };
    let kept = (settings.durability, settings.files);
    let opened = durability::open(kept, identity, reports.clone()).await?;

    let inbox = runtime::inbox::<A::Message>(&reports, &options);
    let endpoint = Endpoint::bind(EndpointConfig {
        node,
        boot: opened.boot,
        disk: opened.disk_id,
        cluster: settings.cluster,
        address,
        identity: settings.identity,
        members: addresses,
        limits: settings.limits,
        link: settings.link,
    })?;
    let address = endpoint.local_address()?;
    let transport = endpoint.peers::<A::Message>(GROUP, Arrivals(inbox.clone()));
    let told = SnapshotReports::default();
    let depot = opened
        .snapshots
        .map(|store| endpoint.depot(GROUP, store, told.clone()));
    let snapshots = depot.clone().map(|depot| Snapshots {
        keeper: Arc::new(Keeper(depot)),
        reports: told,
    });
    let service = service(&settings.protocol, &members, node, opened.boot);
    let parts = NodeParts {
        node,
        boot: opened.boot,
        members,
        protocol: settings.protocol,
        options,
        recovered: opened.records,
        durable: opened.durable,
        disk: opened.disk,
        reports,
        inbox,
        transport,
    };
    let running = runtime::start_with::<A, _>(parts, service, snapshots)?;
    endpoint.follow(running.group());
    let inspected = inspect::Inspected {
        algorithm: A::NAME,
        node,
        boot: opened.boot,
        disk: opened.disk_id,
        watch: running.watch(),
        group: running.group(),
        stats: endpoint.stats(),
        depot: depot.clone(),
    };
    let look = endpoint.look_later();
    let round_trips = endpoint.round_trips_later();
    endpoint.serve(Calls(running.handle().clone()), move || {
        let (connected, certificate_expires) = look();
        inspected.text(&connected, certificate_expires, &round_trips())
    });
    Ok(RunningNode {
        running,
        endpoint,
        address,
        boot: opened.boot,
        disk: opened.disk_id,
        report: opened.report,
        depot,
    })
}

fn draw() -> Result<u64, io::Error> {
    SysRng.try_next_u64().map_err(io::Error::other)
}

impl<A: Runnable> RunningNode<A> {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.running.node()
    }

    /// Which run of the node this is.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// The disk that it writes to.
    #[must_use]
    pub const fn disk(&self) -> DiskId {
        self.disk
    }

    /// What opening the log found and did.
    #[must_use]
    pub const fn report(&self) -> &wal::Report {
        &self.report
    }

    /// Its clients' side, without a network in between.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        self.running.handle()
    }

    /// A look inside that never waits.
    #[must_use]
    pub fn status(&self) -> Status {
        self.running.status()
    }

    /// What it has counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.running.counts()
    }

    /// What became of its snapshots, and which are on their way. All zero where none are kept.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotStatus {
        self.depot
            .as_ref()
            .map(|depot| depot.status())
            .unwrap_or_default()
    }

    /// Who belongs to its group, as this node knows. None before it knows, and for ever where the
    /// contract knows no members.
    #[must_use]
    pub fn group(&self) -> Option<Arc<Group>> {
        self.running.group().borrow().clone()
    }

    /// How long a packet takes to each connected node and back, as last measured.
    #[must_use]
    pub fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        self.endpoint.round_trips()
    }

    /// The network's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.endpoint.stats()
    }

    /// Says anew where the other nodes are, as far as the group does not say so itself.
    pub fn set_addresses(&self, addresses: BTreeMap<NodeId, SocketAddr>) {
        self.endpoint.set_members(addresses);
    }

    /// Uses another certificate, key and trusted authorities for every handshake from now on.
    ///
    /// # Errors
    /// When the identity is not this node's; the old one stays in use.
    pub fn reload(&self, identity: &Identity) -> Result<(), NetError> {
        self.endpoint.reload(identity)
    }

    /// Waits until the node stops by itself, which it does only when something breaks. It then
    /// answers nobody any more.
    ///
    /// # Errors
    /// What broke.
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        self.running.wait().await
    }

    /// Hands leadership over if this node leads a replicated log, so that nobody has to miss it first;
    /// refuses new calls, lets open ones end or answers them with *unknown*, syncs and seals the log,
    /// and says good-bye.
    ///
    /// # Errors
    /// What broke before or while shutting down.
    pub async fn shutdown(self) -> Result<(), NodeError> {
        if self.running.status().leader == Some(self.id()) {
            // Whoever cannot lead elsewhere is missed for an election timeout, as after a crash.
            let handed = self.running.handle().manage(Manage::Transfer(None));
            let _ = timeout(HAND_OVER, handed).await;
        }
        let ended = self.running.shutdown().await;
        self.endpoint.close().await;
        ended
    }
}

/// Messages from the network to the pump.
struct Arrivals<M>(Inbox<M>);

impl<M> Clone for Arrivals<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Wire + Send + 'static> Inbound<M> for Arrivals<M> {
    async fn receive(&self, from: NodeId, message: M, bytes: usize) {
        // A node that has stopped hears nothing; its endpoint is about to close.
        let _ = self.0.receive(from, message, bytes).await;
    }

    fn unreachable(&self, node: NodeId) {
        self.0.unreachable(node);
    }
}

/// Clients' calls from the network to the service.
struct Calls(Handle);

impl Gateway for Calls {
    fn call(
        &self,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
    ) -> impl Future<Output = Answer> + Send {
        self.0.call(client, sequence, body)
    }

    fn manage(&self, what: Manage) -> impl Future<Output = Answer> + Send {
        self.0.manage(what)
    }
}
