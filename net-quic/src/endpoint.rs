//! One socket for peers and clients.

use crate::config::{EndpointConfig, Limits};
use crate::error::NetError;
use crate::group::{Deliver, Inbound, Typed};
use crate::handshake::Refused;
use crate::hello::Hello;
use crate::identity::{Identity, Role};
use crate::known::Known;
use crate::link::LinkControl;
use crate::peer::{Peer, Roster};
use crate::peers::Peers;
use crate::revocation::Revoked;
use crate::server::{Gateway, Serve, Service};
use crate::snapshots::Depot;
use crate::stats::{Counter, Stats};
use crate::{accept, connection, dial, expiry, handshake, tls, transport};
use consensus_core::{
    GroupId, NodeId, Wire, runtime::SnapshotReports, service::Group,
    storage::snapshots::SnapshotStore,
};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use rand::RngExt;
use rand_pcg::Pcg64;
use socket2::SockRef;
use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicUsize},
    time::{Duration, SystemTime},
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet, time::timeout};

/// Time that calls under way are given to end when the endpoint closes.
const DRAIN: Duration = Duration::from_secs(1);

/// A node's socket: dials and answers peers, serves clients.
///
/// Dropping it ends everything at once; [`close`](Self::close) first answers what is under way.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// Bytes that may wait in the system until this process reads them. The usual 208 KiB are some ninety
/// packets: thousands of clients send as many while another process has the core.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What all tasks of an endpoint share.
pub(crate) struct Shared {
    pub(crate) hello: Hello,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<Stats>,
    pub(crate) roster: Roster,
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) link: Option<LinkControl>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) handshakes: AtomicUsize,
    /// Newcomers, by where they come from.
    pub(crate) door: accept::Crowd<IpAddr>,
    pub(crate) clients: AtomicUsize,
    /// Clients, by their certificates.
    pub(crate) certificates: accept::Crowd<Vec<u8>>,
    /// When this node's own certificate ends.
    pub(crate) not_after: watch::Sender<SystemTime>,
    revoked: watch::Sender<Revoked>,
    known: Mutex<Known>,
    dialer: RwLock<quinn::ClientConfig>,
    groups: RwLock<BTreeMap<GroupId, Arc<dyn Deliver>>>,
    depots: RwLock<BTreeMap<GroupId, Arc<Depot>>>,
    service: RwLock<Option<Arc<dyn Serve>>>,
    chance: Mutex<Pcg64>,
    tasks: Mutex<Option<JoinSet<()>>>,
    /// Where its tasks run, whoever starts them.
    runtime: Handle,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Binds the socket and begins to dial and to listen. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound, or the certificate names another node or cluster.
    pub fn bind(config: EndpointConfig) -> Result<Self, NetError> {
        let (name, limits) = (config.identity.name(), config.limits);
        if (name.cluster, name.role) != (config.cluster, Role::Node(config.node)) {
            return Err(NetError::WrongIdentity {
                found: format!("{} of cluster {}", name.role, name.cluster),
                expected: format!("node/{} of cluster {}", config.node, config.cluster),
            });
        }
        let hello = Hello {
            cluster: config.cluster,
            node: config.node,
            disk: config.disk,
            boot: config.boot,
            versions: limits.versions.clone(),
            frame_bytes_max: limits.frame_bytes_max,
        };
        let quinn = open(
            config.address,
            transport::endpoint(&config.identity),
            Some(transport::server(&config.identity, &limits)?),
            config.link.as_ref(),
        )?;
        let shared = Arc::new(Shared {
            hello,
            stats: Arc::default(),
            roster: Roster::default(),
            quinn,
            link: config.link,
            closing: watch::Sender::new(false),
            handshakes: AtomicUsize::new(0),
            door: accept::Crowd::default(),
            certificates: accept::Crowd::default(),
            clients: AtomicUsize::new(0),
            not_after: watch::Sender::new(name.not_after),
            revoked: watch::Sender::new(Revoked::of(config.identity.revoked())?),
            known: Mutex::default(),
            dialer: RwLock::new(transport::client(&config.identity, tls::PEER, &limits)?),
            groups: RwLock::default(),
            depots: RwLock::default(),
            service: RwLock::default(),
            chance: Mutex::new(transport::chance()),
            tasks: Mutex::new(Some(JoinSet::new())),
            runtime: Handle::current(),
            limits,
        });
        let endpoint = Self { shared };
        endpoint.set_members(config.members);
        endpoint
            .shared
            .spawn(accept::run(Arc::clone(&endpoint.shared)));
        endpoint
            .shared
            .spawn(expiry::watch(Arc::clone(&endpoint.shared)));
        Ok(endpoint)
    }

    /// The address bound.
    ///
    /// # Errors
    /// When the operating system has lost the socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.quinn.local_addr()
    }

    /// Says anew where the nodes are. Connections to nodes that are no longer named end; others go
    /// on.
    pub fn set_members(&self, members: BTreeMap<NodeId, SocketAddr>) {
        self.shared.learn(|known| known.tell(members));
    }

    /// Follows what a group says of its members, until nobody says anything more: newcomers are reached
    /// and who was removed is let go, without an operator.
    pub(crate) fn follow(&self, mut group: watch::Receiver<Option<Arc<Group>>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            loop {
                let said = group.borrow_and_update().clone();
                if let Some(said) = said {
                    shared.learn(|known| known.group(said));
                }
                if group.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Has messages of `group` given to `inbound`, and returns what to send with. Frames of a group
    /// without a handler are dropped and counted.
    pub fn peers<M: Wire + Send + 'static>(
        &self,
        group: GroupId,
        inbound: impl Inbound<M>,
    ) -> Peers<M> {
        let handler: Arc<dyn Deliver> = Arc::new(Typed::<M, _>::new(inbound));
        let groups = &self.shared.groups;
        let mut groups = groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.insert(group, handler);
        drop(groups);
        Peers::new(Arc::clone(&self.shared), group)
    }

    /// Takes and sends snapshots of `group` from now on, kept in `store`; what becomes of them goes to
    /// `reports`.
    pub(crate) fn depot(
        &self,
        group: GroupId,
        store: SnapshotStore,
        reports: SnapshotReports,
    ) -> Arc<Depot> {
        let depot = Depot::new(&self.shared, group, store, reports);
        let depots = &self.shared.depots;
        let mut depots = depots.write().unwrap_or_else(PoisonError::into_inner);
        depots.insert(group, Arc::clone(&depot));
        depot
    }

    /// Serves clients from now on: calls go to `gateway`, and operators' questions are answered with
    /// the text of `inspect`. Before this, clients are turned away.
    pub fn serve(
        &self,
        gateway: impl Gateway,
        inspect: impl Fn() -> String + Send + Sync + 'static,
    ) {
        let service: Arc<dyn Serve> = Arc::new(Service::new(gateway, inspect));
        let place = &self.shared.service;
        *place.write().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    /// Uses another certificate, key, trusted authorities and lists of revoked certificates for every
    /// handshake from now on. Connections that stand on a revoked certificate end at once; others are
    /// replaced by their age.
    ///
    /// # Errors
    /// When the identity is not this node's; the old one stays in use.
    pub fn reload(&self, identity: &Identity) -> Result<(), NetError> {
        let (name, hello) = (identity.name(), &self.shared.hello);
        if (name.cluster, name.role) != (hello.cluster, Role::Node(hello.node)) {
            return Err(NetError::WrongIdentity {
                found: format!("{} of cluster {}", name.role, name.cluster),
                expected: format!("node/{} of cluster {}", hello.node, hello.cluster),
            });
        }
        let limits = &self.shared.limits;
        let server = transport::server(identity, limits)?;
        let client = transport::client(identity, tls::PEER, limits)?;
        let revoked = Revoked::of(identity.revoked())?;
        self.shared.quinn.set_server_config(Some(server));
        *self
            .shared
            .dialer
            .write()
            .unwrap_or_else(PoisonError::into_inner) = client;
        self.shared.not_after.send_replace(name.not_after);
        self.shared.revoked.send_replace(revoked);
        Ok(())
    }

    /// How long this node's own certificate is still valid; zero when it is not.
    #[must_use]
    pub fn certificate_expires(&self) -> Duration {
        self.shared.certificate_expires()
    }

    /// Nodes to which a connection stands.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        self.shared.connected()
    }

    /// Both, for whoever must not keep the endpoint alive.
    pub(crate) fn look_later(&self) -> impl Fn() -> (Vec<NodeId>, Duration) + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            shared.upgrade().map_or_else(Default::default, |shared| {
                (shared.connected(), shared.certificate_expires())
            })
        }
    }

    /// How long a packet takes to each connected node and back, as last measured.
    #[must_use]
    pub fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        self.shared.round_trips()
    }

    /// The same, for whoever must not keep the endpoint alive.
    pub(crate) fn round_trips_later(
        &self,
    ) -> impl Fn() -> BTreeMap<NodeId, Duration> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let shared = shared.upgrade();
            shared.map_or_else(BTreeMap::new, |shared| shared.round_trips())
        }
    }

    /// What has been counted since the endpoint was bound.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Answers the calls under way, for at most a second, and tells everybody good-bye.
    pub async fn close(self) {
        self.shared.closing.send_replace(true);
        let served = async {
            let mut closing = self.shared.closing.subscribe();
            let clients = &self.shared.clients;
            while clients.load(std::sync::atomic::Ordering::Acquire) > 0 {
                if closing.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(DRAIN, served).await;
        self.shared
            .quinn
            .close(connection::CLOSED, b"shutting down");
        self.shared.end();
        let _ = timeout(DRAIN, self.shared.quinn.wait_idle()).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.end();
        self.shared.quinn.close(connection::CLOSED, b"ended");
    }
}

impl Shared {
    /// Runs a task that ends with the endpoint.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = &mut *tasks {
            while tasks.try_join_next().is_some() {}
            tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Runs what waits for the disk on a thread where that is nobody's loss, whoever asks.
    pub(crate) fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.spawn_blocking(work);
    }

    pub(crate) fn depot(&self, group: GroupId) -> Option<Arc<Depot>> {
        let depots = self.depots.read().unwrap_or_else(PoisonError::into_inner);
        depots.get(&group).cloned()
    }

    fn end(&self) {
        let tasks = self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Aborts them, outside the lock: their values may want it while they are dropped.
        drop(tasks);
    }

    /// Something is known anew of who is where.
    fn learn(self: &Arc<Self>, how: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut known);
        let places = known.all(self.hello.node);
        if let Some(link) = &self.link {
            let addresses = places.iter().map(|(node, place)| (*node, place.address));
            link.set_members(&addresses.collect());
        }
        // Under the lock: the newest word must be the last that is obeyed.
        for (node, place) in &places {
            if *node != self.hello.node
                && let Some(ended) = self.enter(*node).place(Some(*place))
            {
                ended.close(connection::CLOSED, b"another disk is the member now");
            }
        }
        for peer in self.roster.all() {
            if peer.address().is_some()
                && !places.contains_key(&peer.node)
                && let Some(ended) = peer.place(None)
            {
                ended.close(connection::CLOSED, b"no longer a member");
            }
        }
    }

    /// The peer; a new one is dialled from now on, once its address is known.
    pub(crate) fn enter(self: &Arc<Self>, node: NodeId) -> Arc<Peer> {
        let (peer, is_new) = self.roster.enter(node, &self.limits);
        if is_new {
            self.spawn(dial::keep(Arc::clone(self), Arc::clone(&peer)));
        }
        peer
    }

    fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        let peers = self.roster.all();
        let measured = peers.iter().filter_map(|peer| {
            let connection = peer.connection()?;
            Some((peer.node, connection.rtt()))
        });
        measured.collect()
    }

    fn connected(&self) -> Vec<NodeId> {
        let peers = self.roster.all();
        let connected = peers.iter().filter(|peer| peer.is_connected());
        connected.map(|peer| peer.node).collect()
    }

    fn certificate_expires(&self) -> Duration {
        let ends = self.not_after.borrow();
        ends.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Ends when the certificate that `connection` stands on is taken back.
    pub(crate) async fn revoked(&self, connection: &quinn::Connection) -> Refused {
        let chain = handshake::chain(connection);
        let is_theirs = |revoked: &Revoked| chain.iter().any(|one| revoked.contains(one));
        let mut revoked = self.revoked.subscribe();
        if revoked.wait_for(is_theirs).await.is_err() {
            // The endpoint ends, and so does every connection.
            std::future::pending::<()>().await;
        }
        Refused::new(Counter::CertificateRevoked, "the certificate was revoked")
    }

    pub(crate) fn dialer(&self) -> quinn::ClientConfig {
        self.dialer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn group(&self, group: GroupId) -> Option<Arc<dyn Deliver>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(&group).cloned()
    }

    pub(crate) fn service(&self) -> Option<Arc<dyn Serve>> {
        self.service
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells every group that the connection to `node` is lost.
    pub(crate) fn unreachable(&self, node: NodeId) {
        let groups = self
            .groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for handler in groups.values() {
            handler.unreachable(node);
        }
    }

    /// A number in 0..1, for jitter.
    pub(crate) fn draw(&self) -> f64 {
        self.chance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random()
    }
}

/// Opens a socket, with emulated links in front of it when wanted.
pub(crate) fn open(
    address: SocketAddr,
    config: quinn::EndpointConfig,
    server: Option<quinn::ServerConfig>,
    link: Option<&LinkControl>,
) -> Result<quinn::Endpoint, NetError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => NetError::AddressInUse(address),
        _ => NetError::Bind { address, source },
    };
    let socket = UdpSocket::bind(address).map_err(failed)?;
    // Whatever the system grants: a smaller buffer loses packets sooner, and that is all.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    let runtime = Arc::new(TokioRuntime);
    let mut socket: Arc<dyn AsyncUdpSocket> = runtime.wrap_udp_socket(socket).map_err(failed)?;
    if let Some(link) = link {
        socket = link.wrap(socket);
    }
    quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime).map_err(failed)
}
