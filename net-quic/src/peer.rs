//! Every node that is or was connected, and which connection to it counts.

use crate::config::Limits;
use crate::handshake::Settled;
use crate::known::Whereabouts;
use crate::lane::Lane;
use consensus_core::{Boot, Class, DiskId, NodeId};
use quinn::{Connection, SendStream};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU32, Ordering::Relaxed},
    },
};
use tokio::sync::Notify;

/// One stream a class and direction, in the order of [`Class`].
pub(crate) const CLASSES: [Class; 3] = [Class::Control, Class::Log, Class::Bulk];

/// The place of a class in [`CLASSES`].
pub(crate) const fn place(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Log => 1,
        Class::Bulk => 2,
    }
}

/// A node as this one sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) lanes: [Lane; 3],
    /// The newest version that both speak.
    pub(crate) version: AtomicU8,
    /// The longest frame that it accepts.
    pub(crate) frame_bytes_max: AtomicU32,
    /// Its newest run. Frames of earlier ones are dropped, even from streams still open.
    boot: AtomicU32,
    seat: Mutex<Seat>,
    /// Wakes the dialer: the address or the connection has changed.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Seat {
    address: Option<SocketAddr>,
    /// The only disk that counts, where the group says which.
    admitted: Option<DiskId>,
    /// The one last seen.
    disk: Option<DiskId>,
    current: Option<Current>,
}

/// The connection that counts.
#[derive(Debug)]
struct Current {
    connection: Connection,
    boot: Boot,
    /// Whether the node with the lower id dialled it, as is the rule.
    is_regular: bool,
}

/// Why a connection does not become the one that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unseated {
    #[error("a later run of the node is connected")]
    StaleBoot,
    #[error("another disk under the same node id")]
    OtherDisk,
    #[error("the connection dialled by the lower id goes before")]
    Duplicate,
}

/// What a connection took its place from.
#[derive(Debug)]
pub(crate) struct Seated {
    /// One a lane.
    pub(crate) epochs: [u64; 3],
    /// The connection that counted before, and whether it is of the same run.
    pub(crate) before: Option<(Connection, bool)>,
}

impl Peer {
    pub(crate) fn new(node: NodeId, limits: &Limits) -> Self {
        Self {
            node,
            lanes: std::array::from_fn(|_| Lane::new(limits.queue_bytes)),
            version: AtomicU8::new(0),
            frame_bytes_max: AtomicU32::new(0),
            boot: AtomicU32::new(0),
            seat: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn seat(&self) -> std::sync::MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.seat().address
    }

    /// The peer is to be found there, or (without a place) nowhere any more. The connection that must
    /// end because of that, if there is one.
    pub(crate) fn place(&self, place: Option<Whereabouts>) -> Option<Connection> {
        let mut seat = self.seat();
        let (address, admitted) = match place {
            Some(place) => (Some(place.address), place.disk),
            None => (None, None),
        };
        if (seat.address, seat.admitted) == (address, admitted) {
            return None;
        }
        let is_gone = address.is_none();
        let is_other_disk = admitted.is_some() && seat.disk.is_some_and(|d| Some(d) != admitted);
        (seat.address, seat.admitted) = (address, admitted);
        let mut ended = None;
        if is_gone || is_other_disk {
            // Whoever comes under this number again may have another disk, whose runs are counted anew.
            seat.disk = None;
            self.boot.store(0, Relaxed);
            let current = seat.current.as_ref();
            ended = current.map(|current| current.connection.clone());
        }
        drop(seat);
        self.changed.notify_waiters();
        ended
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.seat().current.is_some()
    }

    /// Whether a frame of that run still counts.
    pub(crate) fn is_current(&self, boot: Boot) -> bool {
        self.boot.load(Relaxed) == boot.0
    }

    /// Makes `connection` the one that counts, if it wins against the one that does now. Both ends
    /// judge by the same rule, so both keep the same one: a later run goes before an earlier; within
    /// a run, what the lower id dialled goes before what the higher dialled; of two alike the newer.
    pub(crate) fn seat_connection(
        &self,
        connection: &Connection,
        is_regular: bool,
        settled: &Settled,
        streams: [SendStream; 3],
        other_disk: bool,
    ) -> Result<Seated, Unseated> {
        let hello = &settled.hello;
        let mut seat = self.seat();
        let is_same_disk = seat.disk.is_none_or(|disk| disk == hello.disk);
        let may_write = match seat.admitted {
            Some(admitted) => admitted == hello.disk,
            None => is_same_disk || other_disk,
        };
        if !may_write {
            return Err(Unseated::OtherDisk);
        }
        // The counter of starts lives on the disk: runs of two disks cannot be compared.
        if is_same_disk && hello.boot.0 < self.boot.load(Relaxed) {
            return Err(Unseated::StaleBoot);
        }
        if let Some(current) = &seat.current {
            let is_same_run = is_same_disk && current.boot == hello.boot;
            let is_open = current.connection.close_reason().is_none();
            if is_same_run && is_open && current.is_regular && !is_regular {
                return Err(Unseated::Duplicate);
            }
        }
        seat.disk = Some(hello.disk);
        self.boot.store(hello.boot.0, Relaxed);
        self.version.store(settled.version, Relaxed);
        self.frame_bytes_max.store(hello.frame_bytes_max, Relaxed);
        let now = Current {
            connection: connection.clone(),
            boot: hello.boot,
            is_regular,
        };
        let before = seat.current.replace(now);
        let before = before.map(|old| (old.connection, is_same_disk && old.boot == hello.boot));
        let mut streams = streams.into_iter();
        let epochs = std::array::from_fn(|place| {
            let stream = streams.next();
            stream.map_or(0, |stream| self.lanes[place].attach(stream))
        });
        drop(seat);
        self.changed.notify_waiters();
        Ok(Seated { epochs, before })
    }

    /// `connection` is lost. True when it was the one that counts.
    pub(crate) fn unseat(&self, connection: &Connection, epochs: [u64; 3]) -> bool {
        let mut seat = self.seat();
        for (lane, epoch) in self.lanes.iter().zip(epochs) {
            lane.detach(epoch);
        }
        let id = connection.stable_id();
        let counted = seat
            .current
            .as_ref()
            .map(|current| current.connection.stable_id());
        if counted != Some(id) {
            return false;
        }
        seat.current = None;
        drop(seat);
        self.changed.notify_waiters();
        true
    }

    /// The connection that counts.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.seat()
            .current
            .as_ref()
            .map(|current| current.connection.clone())
    }
}

/// All peers by id. Nodes of the cluster that are no members have an entry once they connect: who is
/// a member is the protocol's question.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
}

impl Roster {
    pub(crate) fn find(&self, node: NodeId) -> Option<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&node).cloned()
    }

    /// The peer, and whether it is new.
    pub(crate) fn enter(&self, node: NodeId, limits: &Limits) -> (Arc<Peer>, bool) {
        if let Some(peer) = self.find(node) {
            return (peer, false);
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !peers.contains_key(&node);
        let entry = peers.entry(node);
        let peer = entry.or_insert_with(|| Arc::new(Peer::new(node, limits)));
        (Arc::clone(peer), is_new)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().cloned().collect()
    }
}
