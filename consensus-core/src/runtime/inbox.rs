//! What peers have sent and the pump has not taken yet.

use super::{
    bell::{Bell, lock},
    options::Options,
};
use crate::{Class, NodeId, Wire};
use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::mem;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// A node's inbox, from the transport's side. Bounded by count and bytes.
///
/// Two lanes: control messages keep flowing while the log lane waits for a slow disk or a slow
/// application, so that back-pressure on commands never silences a heartbeat.
#[derive(Debug)]
pub struct Inbox<M>(Arc<Shared<M>>);

impl<M> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The node has stopped: nobody will read what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// A message on its way in: from whom, what, and how many bytes it counts for.
pub(super) type Arrived<M> = (NodeId, u32, M);

#[derive(Debug)]
struct Shared<M> {
    lanes: Mutex<Lanes<M>>,
    space: Notify,
    bell: Arc<Bell>,
    count_limit: usize,
    bytes_limit: usize,
}

#[derive(Debug)]
struct Lanes<M> {
    control: Lane<M>,
    log: Lane<M>,
    unreachable: BTreeSet<NodeId>,
    dropped: u64,
    bytes: u64,
    somebody_waits: bool,
    stopped: bool,
}

#[derive(Debug)]
struct Lane<M> {
    items: VecDeque<Arrived<M>>,
    bytes: usize,
}

impl<M> Default for Lane<M> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<M> Inbox<M> {
    pub(super) fn new(bell: Arc<Bell>, options: &Options) -> Self {
        Self(Arc::new(Shared {
            lanes: Mutex::new(Lanes {
                control: Lane::default(),
                log: Lane::default(),
                unreachable: BTreeSet::new(),
                dropped: 0,
                bytes: 0,
                somebody_waits: false,
                stopped: false,
            }),
            space: Notify::new(),
            bell,
            count_limit: options.inbox_messages,
            bytes_limit: options.inbox_bytes,
        }))
    }

    /// Takes in a message of `bytes` encoded bytes from a verified peer. Waits while its lane is
    /// full: do not read on from that peer's stream meanwhile.
    ///
    /// # Errors
    /// When the node has stopped.
    pub async fn receive(&self, from: NodeId, message: M, bytes: usize) -> Result<(), Stopped>
    where
        M: Wire,
    {
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let class = message.class();
        let mut arrived = Some((from, size, message));
        loop {
            // Made before the look, so that room made in between wakes it.
            let space = self.0.space.notified();
            {
                let mut lanes = lock(&self.0.lanes);
                if lanes.stopped {
                    return Err(Stopped);
                }
                if self.has_room(lanes.lane(class), bytes)
                    && let Some(arrived) = arrived.take()
                {
                    lanes.push(class, arrived);
                    drop(lanes);
                    self.0.bell.ring();
                    return Ok(());
                }
                lanes.somebody_waits = true;
            }
            space.await;
        }
    }

    /// Takes in a batch and never waits: what does not fit pushes out the oldest of its lane.
    pub(super) fn deliver(&self, from: NodeId, messages: &mut Vec<M>)
    where
        M: Wire,
    {
        if messages.is_empty() {
            return;
        }
        {
            let mut lanes = lock(&self.0.lanes);
            if lanes.stopped {
                messages.clear();
                return;
            }
            for message in messages.drain(..) {
                let class = message.class();
                if !self.has_room(lanes.lane(class), 0) {
                    lanes.lane(class).pop();
                    lanes.dropped += 1;
                }
                lanes.push(class, (from, 0, message));
            }
        }
        self.0.bell.ring();
    }

    /// The connection to `node` is lost. A hint to the protocol.
    pub fn unreachable(&self, node: NodeId) {
        lock(&self.0.lanes).unreachable.insert(node);
        self.0.bell.ring();
    }

    // A message larger than the whole bound still passes through an empty lane.
    fn has_room(&self, lane: &Lane<M>, bytes: usize) -> bool {
        lane.items.len() < self.0.count_limit
            && (lane.items.is_empty() || lane.bytes + bytes <= self.0.bytes_limit)
    }

    /// For the pump: moves whole lanes into its own empty ones. `log`: none to leave that lane alone.
    pub(super) fn take(&self, taken: &mut Taken<M>, reads: Reads) {
        let mut lanes = lock(&self.0.lanes);
        if reads != Reads::Nothing && taken.control.is_empty() {
            lanes.control.swap(&mut taken.control);
        }
        if reads == Reads::Everything && taken.log.is_empty() {
            lanes.log.swap(&mut taken.log);
        }
        if !lanes.unreachable.is_empty() {
            taken.unreachable = mem::take(&mut lanes.unreachable);
        }
        taken.dropped = lanes.dropped;
        taken.bytes = lanes.bytes;
        if mem::take(&mut lanes.somebody_waits) {
            self.0.space.notify_waiters();
        }
    }

    /// Nobody will take anything any more.
    pub(super) fn stop(&self) {
        let mut lanes = lock(&self.0.lanes);
        lanes.stopped = true;
        lanes.control = Lane::default();
        lanes.log = Lane::default();
        drop(lanes);
        self.0.space.notify_waiters();
    }
}

/// How much the pump reads from peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reads {
    Everything,
    ControlOnly,
    Nothing,
}

/// What the pump has taken and not handled yet.
#[derive(Debug)]
pub(super) struct Taken<M> {
    pub(super) control: VecDeque<Arrived<M>>,
    pub(super) log: VecDeque<Arrived<M>>,
    pub(super) unreachable: BTreeSet<NodeId>,
    /// Messages pushed out of full lanes so far.
    pub(super) dropped: u64,
    /// Bytes taken in so far.
    pub(super) bytes: u64,
}

impl<M> Default for Taken<M> {
    fn default() -> Self {
        Self {
            control: VecDeque::new(),
            log: VecDeque::new(),
            unreachable: BTreeSet::new(),
            dropped: 0,
            bytes: 0,
        }
    }
}

impl<M> Lanes<M> {
    fn lane(&mut self, class: Class) -> &mut Lane<M> {
        match class {
            Class::Control => &mut self.control,
            Class::Log | Class::Bulk => &mut self.log,
        }
    }

    #[inline]
    fn push(&mut self, class: Class, arrived: Arrived<M>) {
        self.bytes += u64::from(arrived.1);
        let lane = self.lane(class);
        lane.bytes += arrived.1 as usize;
        lane.items.push_back(arrived);
    }
}

impl<M> Lane<M> {
    fn pop(&mut self) {
        if let Some((_, bytes, _)) = self.items.pop_front() {
            self.bytes -= bytes as usize;
        }
    }

    fn swap(&mut self, empty: &mut VecDeque<Arrived<M>>) {
        mem::swap(&mut self.items, empty);
        self.bytes = 0;
    }
}
