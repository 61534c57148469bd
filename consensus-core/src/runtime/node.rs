//! Puts a node together, and takes it down again.

use super::{
    applier::{self, Host, Link},
    bell::Bell,
    clock::{Clock, Dice},
    gateway::Handle,
    housekeeping::Housekeeping,
    inbox::{Inbox, Taken},
    options::{Options, Placement},
    pump::{Application, Pump},
    reports::Reports,
    snapshots::{Resting, Snapshots},
    stats::{Counters, Counts, Status},
    transport::Transport,
    way_out::{Records, WayOut},
};
use crate::{
    Algorithm, Boot, DecodeError, Effects, Gate, Lsn, Members, NodeId, RecoverError, Timers, Wire,
    service::{Group, Service},
    storage::{Disk, DiskFailure, Recovered},
};
use alloc::{boxed::Box, collections::VecDeque, string::String, sync::Arc, vec::Vec};
use core::task::Waker;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::{sync::watch, task::JoinHandle};

/// What a node is made of.
pub struct NodeParts<A: Algorithm, T> {
    /// Who it is.
    pub node: NodeId,
    /// Which run of it this is: raised and synced by whoever opened the disk.
    pub boot: Boot,
    /// All members of its cluster, itself included.
    pub members: Members,
    /// Choices that hold for the whole cluster.
    pub protocol: A::Options,
    /// Bounds and habits of this node's driver.
    pub options: Options,
    /// What was found on the disk of this group, in order.
    pub recovered: Vec<Recovered>,
    /// The newest record that the disk has ever numbered for this group; it may be released since.
    pub durable: Lsn,
    /// Takes what will be written.
    pub disk: Box<dyn Disk>,
    /// What that disk says; its [`completion`](Reports::completion) was given to the disk.
    pub reports: Reports,
    /// Made by [`inbox`], filled by the transport.
    pub inbox: Inbox<A::Message>,
    /// Sends to peers.
    pub transport: T,
}

/// A node's inbox, to be given to its transport before the node starts.
#[must_use]
pub fn inbox<M: Wire>(reports: &Reports, options: &Options) -> Inbox<M> {
    Inbox::new(Arc::clone(reports.bell()), options)
}

/// Why a node did not start or has stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The options do not fit the members. Correct them.
    #[error("the configuration of node {node} is not valid: {reason}")]
    Config {
        /// Whose.
        node: NodeId,
        /// A sentence for a person.
        reason: String,
    },
    /// A record passed its checksum and yet is not a record of this protocol: the log is another
    /// protocol's, or a newer version's. Nothing was changed.
    #[error("record {lsn} of the log cannot be decoded: {source}")]
    Record {
        /// Which one.
        lsn: Lsn,
        /// What is wrong with its bytes.
        source: DecodeError,
    },
    /// No legal state can be rebuilt from the log. Nothing was changed.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The disk failed: nothing in this process is trusted any more.
    #[error(transparent)]
    Disk(#[from] DiskFailure),
    /// The snapshot on which the log rests cannot be restored. The reason names the file and the way
    /// out. Nothing was changed.
    #[error("the state cannot be restored: {reason}")]
    Restore {
        /// A sentence for a person.
        reason: String,
    },
    /// A bug: an invariant of the protocol or of the service is broken, and the node has stopped
    /// rather than go on. What is on its disk is intact; the panic's message is on standard error.
    #[error("the {task} task panicked")]
    Panicked {
        /// Whose code.
        task: &'static str,
    },
}

/// What tasks may run: any algorithm whose types may move between threads.
pub trait Runnable:
    Algorithm<
        Config: Send,
        Message: Send,
        Record: Send,
        Request: Send,
        Event: Send,
        Timer: Send,
        Service: Send,
    > + Send
    + 'static
{
}

impl<A> Runnable for A where
    A: Algorithm<
            Config: Send,
            Message: Send,
            Record: Send,
            Request: Send,
            Event: Send,
            Timer: Send,
            Service: Send,
        > + Send
        + 'static
{
}

/// A node that runs. Dropping it shuts the node down without waiting for that.
#[derive(Debug)]
pub struct Running<A: Algorithm> {
    node: NodeId,
    handle: Handle,
    inbox: Inbox<A::Message>,
    status: watch::Receiver<Status>,
    group: watch::Receiver<Option<Arc<Group>>>,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    bell: Arc<Bell>,
    pump: JoinHandle<Result<(), NodeError>>,
}

/// Rebuilds the protocol from what its disk holds and starts the node's tasks on the runtime of the
/// caller.
///
/// # Errors
/// When the configuration is not valid or the log cannot be read as this protocol's; the disk is
/// then dropped unchanged.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start<A: Runnable, T: Transport<A::Message>>(
    parts: NodeParts<A, T>,
) -> Result<Running<A>, NodeError> {
    let service = A::service(&parts.protocol, &parts.members, parts.node, parts.boot);
    start_with(parts, Box::new(service), None)
}

/// As [`start`], with another application's side than the harnesses', and with somebody who keeps its
/// snapshots.
///
/// # Errors
/// As [`start`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn start_with<A: Runnable, T: Transport<A::Message>>(
    parts: NodeParts<A, T>,
    mut service: Box<dyn Service<A> + Send>,
    snapshots: Option<Snapshots>,
) -> Result<Running<A>, NodeError> {
    let node = parts.node;
    let config = A::config(&parts.protocol, &parts.members, node)
        .map_err(|reason| NodeError::Config { node, reason })?;
    let (protocol, durable) = recover::<A>(config, parts.boot, parts.recovered, parts.durable)?;
    let clock = Clock::start();
    let options = parts.options;
    let bell = Arc::clone(parts.reports.bell());
    let counters = Arc::<Counters>::default();
    let stopping = Arc::<AtomicBool>::default();
    let (status, published) = watch::channel(Status::default());
    let service_bell = match options.placement {
        Placement::Together => Arc::clone(&bell),
        Placement::Apart => Arc::default(),
    };
    service.woken_by(Waker::from(Arc::clone(&service_bell)));
    let handle = Handle::new(
        Arc::clone(&service_bell),
        parts.reports.clone(),
        Arc::clone(&counters),
        &options,
    );
    let calls = Arc::clone(handle.calls());
    let keeper = snapshots.as_ref().map(|snapshots| {
        snapshots.reports.wakes(&service_bell);
        Arc::clone(&snapshots.keeper)
    });
    let (told, group) = watch::channel(None);
    let host = Host::new(
        (service, snapshots),
        told,
        Arc::clone(&calls),
        Arc::clone(&counters),
        clock,
        &options,
    );
    let application = match options.placement {
        Placement::Together => Application::Together(Box::new(host)),
        Placement::Apart => {
            let link = Arc::new(Link::new(Arc::clone(&bell), service_bell));
            let task = applier::run(host, Arc::clone(&link), options.events_waiting);
            Application::Apart(link, tokio::spawn(task))
        }
    };
    let pump = Pump {
        protocol,
        effects: Effects::new(durable),
        gate: Gate::new(durable),
        timers: Timers::default(),
        dice: Dice::new(options.seed),
        clock,
        way_out: WayOut {
            node,
            home: Vec::new(),
            transport: parts.transport,
            events: Vec::new(),
            release: None,
            sent: 0,
        },
        records: Records {
            disk: parts.disk,
            reports: parts.reports,
            under_way: VecDeque::new(),
            bytes: 0,
        },
        inbox: parts.inbox.clone(),
        taken: Taken::default(),
        application,
        requests: Vec::new(),
        calls,
        counters: Arc::clone(&counters),
        status,
        options,
        stopping: Arc::clone(&stopping),
        bell: Arc::clone(&bell),
        housekeeping: Housekeeping::default(),
        keeper,
        resting: Resting::default(),
        inputs: 0,
    };
    Ok(Running {
        node,
        handle,
        inbox: parts.inbox,
        status: published,
        group,
        counters,
        stopping,
        bell,
        pump: tokio::spawn(pump.run()),
    })
}

/// Decodes the log and rebuilds the protocol. Also returns the newest record of the log.
fn recover<A: Algorithm>(
    config: A::Config,
    boot: Boot,
    recovered: Vec<Recovered>,
    durable: Lsn,
) -> Result<(A, Lsn), NodeError> {
    let mut records = Vec::with_capacity(recovered.len());
    let mut last = None;
    for Recovered { lsn, bytes, .. } in recovered {
        if last.is_some_and(|last: Lsn| last.next() != lsn) {
            return Err(NodeError::Recover(RecoverError {
                lsn,
                reason: "records before it are missing",
            }));
        }
        last = Some(lsn);
        let record =
            A::Record::decode(bytes).map_err(|source| NodeError::Record { lsn, source })?;
        records.push((lsn, record));
    }
    let protocol = A::recover(config, boot, records)?;
    Ok((protocol, last.unwrap_or(durable).max(durable)))
}

impl<A: Algorithm> Running<A> {
    /// Who it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Its clients' side.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Its peers' side.
    #[must_use]
    pub const fn inbox(&self) -> &Inbox<A::Message> {
        &self.inbox
    }

    /// A look inside that never waits for the node, not even when its disk hangs.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Who belongs to its group, each time that changes. None before the protocol has said so, and for
    /// ever where the contract knows no members.
    #[must_use]
    pub fn group(&self) -> watch::Receiver<Option<Arc<Group>>> {
        self.group.clone()
    }

    /// Every status as it is published.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            status: self.status.clone(),
            counters: Arc::clone(&self.counters),
        }
    }

    /// What it has counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Waits until the node stops by itself, which it does only when something breaks.
    ///
    /// # Errors
    /// What broke.
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        match (&mut self.pump).await {
            Ok(ended) => ended,
            Err(_) => Err(NodeError::Panicked { task: "protocol" }),
        }
    }

    /// Refuses new calls, gives open ones [`Options::drain`] to end, answers the rest with *unknown*,
    /// and closes the disk.
    ///
    /// # Errors
    /// What broke before or while shutting down.
    pub async fn shutdown(mut self) -> Result<(), NodeError> {
        self.stop();
        self.wait().await
    }

    /// Begins a shutdown; [`wait`](Self::wait) for its end.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.bell.ring();
    }
}

impl<A: Algorithm> Drop for Running<A> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A node's status and counts, for whoever reports on it. Cheap to clone; outlives the node.
#[derive(Clone, Debug)]
pub struct Watch {
    status: watch::Receiver<Status>,
    counters: Arc<Counters>,
}

impl Watch {
    /// The status last published.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What the node has counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Waits for the next status. False when the node has stopped.
    pub async fn changed(&mut self) -> bool {
        self.status.changed().await.is_ok()
    }
}
