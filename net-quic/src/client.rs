//! The client's side: many calls under way on one connection a node.

use crate::call::{Ask, Reply};
use crate::config::{Limits, WIRE_VERSIONS};
use crate::error::{CallError, NetError};
use crate::handshake;
use crate::hello::Hello;
use crate::identity::{Identity, dns};
use crate::line::Line;
use crate::link::LinkControl;
use crate::{connection, endpoint, tls, transport};
use bytes::Bytes;
use consensus_core::{
    Boot, ClientId, ClusterId, DiskId, NodeId, Sequence,
    runtime::Management,
    service::{Answer, Manage, Refusal},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Calls nodes. Cheap to clone; all clones share one connection a node.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    quinn: quinn::Endpoint,
    limits: Limits,
    hello: Hello,
    nodes: RwLock<BTreeMap<NodeId, Arc<Place>>>,
    /// The node that answered last as one that decides.
    leader: Mutex<Option<NodeId>>,
}

/// What only the node that decides can answer.
#[derive(Clone)]
enum What {
    Call(ClientId, Sequence, Bytes),
    Manage(Manage),
}

/// A node and the line to it, if one has been laid.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    line: Mutex<Option<Arc<Line>>>,
    /// Held by whoever lays a line; others wait for it instead of laying their own.
    laying: tokio::sync::Mutex<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.quinn.close(connection::CLOSED, b"client ended");
    }
}

impl Client {
    /// A client of the nodes at `addresses`. Connects when first called: a node that is down does
    /// not matter before it is needed. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When no socket can be had, or the identity cannot be used.
    pub fn connect(
        addresses: BTreeMap<NodeId, SocketAddr>,
        identity: &Identity,
        limits: Limits,
        link: Option<&LinkControl>,
    ) -> Result<Self, NetError> {
        let is_v6 = addresses.values().any(SocketAddr::is_ipv6);
        let local: SocketAddr = if is_v6 {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        let config = transport::client(identity, tls::CLIENT, &limits)?;
        if let Some(link) = link {
            link.set_members(&addresses);
        }
        let mut quinn = endpoint::open(local, transport::endpoint(identity), None, link)?;
        quinn.set_default_client_config(config);
        let nodes = addresses
            .into_iter()
            .map(|(node, address)| (node, Place::new(address)));
        let inner = Inner {
            quinn,
            hello: hello(identity.name().cluster, &limits),
            limits,
            nodes: RwLock::new(nodes.collect()),
            leader: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The nodes known.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        let nodes: Vec<_> = self.places().keys().copied().collect();
        nodes.into_iter()
    }

    /// Says where a node is: a new one, or one that has moved.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        let nodes = &self.inner.nodes;
        let mut nodes = nodes.write().unwrap_or_else(PoisonError::into_inner);
        if nodes
            .get(&node)
            .is_none_or(|place| place.address != address)
        {
            nodes.insert(node, Place::new(address));
        }
    }

    fn places(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Arc<Place>>> {
        let nodes = &self.inner.nodes;
        nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one node, once.
    ///
    /// # Errors
    /// When no answer came; [`CallError::is_unknown`] tells whether it may have been carried out.
    pub async fn call_at(
        &self,
        node: NodeId,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let ask = |id| Ask::Call {
            id,
            client,
            sequence,
            body,
        };
        answer(self.ask(node, patience, ask).await?)
    }

    /// Asks whichever node decides: follows hints, and goes to the next node where nothing has been
    /// carried out. Never repeats what may have been; [`CallError::is_unknown`] tells, and only a
    /// caller whose service keeps sessions may then repeat it under the same sequence.
    ///
    /// # Errors
    /// When no node answered in time.
    pub async fn call(
        &self,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let what = What::Call(client, sequence, body);
        self.route(patience, what).await
    }

    async fn once(
        &self,
        node: NodeId,
        what: What,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        match what {
            What::Call(client, sequence, body) => {
                self.call_at(node, client, sequence, body, patience).await
            }
            What::Manage(what) => self.manage_at(node, what, patience).await,
        }
    }

    /// Asks one node after another until one answers as one that decides.
    async fn route(&self, patience: Duration, what: What) -> Result<Answer, CallError> {
        const PAUSE: Duration = Duration::from_millis(10);
        let until = Instant::now() + patience;
        let mut node = self.leader().or_else(|| self.nodes().next());
        let mut failed = CallError::Timeout;
        while let Some(at) = node {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let next = match self.once(at, what.clone(), left).await {
                Ok(Answer::Refused(refusal)) => match refusal {
                    Refusal::NotLeader(Some(hint)) if self.places().contains_key(&hint) => hint,
                    Refusal::NotLeader(_) | Refusal::ShuttingDown => self.after(at),
                    other => return Ok(Answer::Refused(other)),
                },
                Ok(answer) => {
                    self.set_leader(Some(at));
                    return Ok(answer);
                }
                Err(error @ CallError::Unreachable { .. }) => {
                    failed = error;
                    self.after(at)
                }
                Err(error) => {
                    if error.is_unknown() {
                        self.set_leader(Some(self.after(at)));
                    }
                    return Err(error);
                }
            };
            self.set_leader(Some(next));
            if next <= at {
                // Once around, or back to where somebody sent us from: an election takes time.
                sleep(PAUSE.min(left)).await;
            }
            node = Some(next);
        }
        // Nothing was sent in vain: every attempt before ended with a certain no.
        match failed {
            CallError::Timeout => Ok(Answer::Refused(Refusal::NotLeader(None))),
            other => Err(other),
        }
    }

    /// What the node wants an operator to see.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn inspect(&self, node: NodeId, patience: Duration) -> Result<String, CallError> {
        text(self.ask(node, patience, |id| Ask::Inspect { id }).await?)
    }

    /// Changes the node's emulated links; see [`LinkControl::command`]. Needs the certificate of an
    /// operator.
    ///
    /// # Errors
    /// When the node refuses, or no answer came.
    pub async fn link(
        &self,
        node: NodeId,
        command: &str,
        patience: Duration,
    ) -> Result<(), CallError> {
        let command = command.to_owned();
        text(
            self.ask(node, patience, |id| Ask::Link { id, command })
                .await?,
        )
        .map(|_| ())
    }

    /// Asks one node to change members or leader, once. Needs the certificate of an operator.
    ///
    /// # Errors
    /// When the node refuses to listen, or no answer came.
    pub async fn manage_at(
        &self,
        node: NodeId,
        what: Manage,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let ask = |id| Ask::Manage { id, what };
        answer(self.ask(node, patience, ask).await?)
    }

    /// The node after `node` in the order of ids, around.
    #[must_use]
    pub fn after(&self, node: NodeId) -> NodeId {
        let nodes = self.places();
        let next = nodes.keys().copied().find(|other| *other > node);
        next.or_else(|| nodes.keys().copied().next())
            .unwrap_or(node)
    }

    fn leader(&self) -> Option<NodeId> {
        *self
            .inner
            .leader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set_leader(&self, node: Option<NodeId>) {
        *self
            .inner
            .leader
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = node;
    }

    async fn ask(
        &self,
        node: NodeId,
        patience: Duration,
        ask: impl FnOnce(u64) -> Ask,
    ) -> Result<Reply, CallError> {
        let until = Instant::now() + patience;
        let place = self.places().get(&node).cloned();
        let place = place.ok_or(CallError::UnknownNode(node))?;
        let line = match place.open() {
            Some(line) => line,
            None => self.lay(node, &place, until).await?,
        };
        line.ask(ask, until).await
    }

    /// Connects to a node, once for all who wait.
    async fn lay(
        &self,
        node: NodeId,
        place: &Place,
        until: Instant,
    ) -> Result<Arc<Line>, CallError> {
        let unreachable = |reason: String| CallError::Unreachable { node, reason };
        let slow = |_| unreachable("no connection in time".into());
        timeout_at(until, async {
            let _laying = place.laying.lock().await;
            if let Some(line) = place.open() {
                return Ok(line);
            }
            let Inner {
                quinn,
                limits,
                hello,
                ..
            } = &*self.inner;
            let name = dns(hello.cluster, node);
            let connecting = quinn.connect(place.address, &name);
            let connecting = connecting.map_err(|error| unreachable(error.to_string()))?;
            let connected = timeout(limits.handshake_deadline, connecting)
                .await
                .map_err(slow)?;
            let connection = connected.map_err(|error| unreachable(error.to_string()))?;
            let settled = handshake::dialled(&connection, hello, limits, node).await;
            let settled = settled.map_err(|refused| {
                connection.close(connection::CLOSED, refused.why.as_bytes());
                let told = connection.close_reason().map(|reason| reason.to_string());
                unreachable(told.unwrap_or(refused.why))
            })?;
            let line = Line::lay(node, connection, settled, limits);
            place.set(&line);
            Ok(line)
        })
        .await
        .map_err(slow)?
    }
}

/// Goes to whichever node leads, and needs the certificate of an operator.
impl Management for Client {
    async fn manage(&self, what: Manage, within: Duration) -> Answer {
        match self.route(within, What::Manage(what)).await {
            Ok(answer) => answer,
            Err(error) if error.is_unknown() => Answer::Unknown,
            Err(CallError::Denied(_)) => Answer::Refused(Refusal::Unmanaged),
            Err(_) => Answer::Refused(Refusal::NotLeader(None)),
        }
    }
}

impl Place {
    fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            address,
            line: Mutex::default(),
            laying: tokio::sync::Mutex::default(),
        })
    }

    fn open(&self) -> Option<Arc<Line>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.as_ref().filter(|line| line.is_open()).cloned()
    }

    fn set(&self, line: &Arc<Line>) {
        let mut place = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::clone(line));
    }
}

fn answer(reply: Reply) -> Result<Answer, CallError> {
    match reply {
        Reply::Done { result, .. } => Ok(Answer::Done(result)),
        Reply::Refused { reason, .. } => Ok(Answer::Refused(reason.0)),
        Reply::Unknown { .. } => Ok(Answer::Unknown),
        Reply::Text { .. } => Err(CallError::Denied("a text answered a call".into())),
        Reply::Denied { why, .. } => Err(CallError::Denied(why)),
    }
}

fn text(reply: Reply) -> Result<String, CallError> {
    match reply {
        Reply::Text { text, .. } => Ok(text),
        Reply::Denied { why, .. } => Err(CallError::Denied(why)),
        _ => Err(CallError::Denied("the node answered something else".into())),
    }
}

fn hello(cluster: ClusterId, limits: &Limits) -> Hello {
    Hello {
        cluster,
        node: NodeId(0),
        disk: DiskId(0),
        boot: Boot(0),
        versions: WIRE_VERSIONS,
        frame_bytes_max: limits.frame_bytes_max,
    }
}
