//! The transport of one group: what a node's runtime sends with.

use crate::endpoint::Shared;
use crate::lane::Pushed;
use crate::peer::{CLASSES, Peer, place};
use crate::stats::Counter;
use consensus_core::{Field, GroupId, NodeId, Wire, runtime::Transport};
use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Sends a group's messages to peers; implements [`Transport`].
///
/// A message is encoded once, into the peer's bounded queue of its class; [`flush`](Transport::flush)
/// writes each queue straight into its stream. Messages to a peer that is not connected are dropped
/// and counted.
pub struct Peers<M> {
    shared: Arc<Shared>,
    group: GroupId,
    /// Peers and places of lanes that were written to since the last flush.
    touched: Vec<(Arc<Peer>, [bool; 3])>,
    message: PhantomData<fn(M)>,
}

impl<M> fmt::Debug for Peers<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl<M> Peers<M> {
    pub(crate) const fn new(shared: Arc<Shared>, group: GroupId) -> Self {
        Self {
            shared,
            group,
            touched: Vec::new(),
            message: PhantomData,
        }
    }

    fn touch(&mut self, to: NodeId) -> Option<&mut (Arc<Peer>, [bool; 3])> {
        // A handful of peers: looking through them costs less than anything cleverer.
        if let Some(at) = self.touched.iter().position(|(peer, _)| peer.node == to) {
            return self.touched.get_mut(at);
        }
        let peer = self.shared.roster.find(to)?;
        self.touched.push((peer, [false; 3]));
        self.touched.last_mut()
    }
}

impl<M: Wire + Send + 'static> Transport<M> for Peers<M> {
    fn send(&mut self, to: NodeId, message: M) {
        let group = self.group;
        let shared = Arc::clone(&self.shared);
        let stats = &shared.stats;
        let Some((peer, lanes)) = self.touch(to) else {
            stats.add(Counter::DroppedUnreachable, 1);
            return;
        };
        if message.since() > peer.version.load(Relaxed) && peer.is_connected() {
            stats.add(Counter::DroppedTooNew, 1);
            return;
        }
        let class = message.class();
        let most = peer.frame_bytes_max.load(Relaxed) as usize;
        let pushed = peer.lanes[place(class)].push(most, |out| {
            group.put(out);
            message.encode(out);
        });
        match pushed {
            Pushed::Queued { bytes, dropped } => {
                lanes[place(class)] = true;
                stats.sent(class, bytes);
                stats.add(Counter::DroppedFull, dropped as u64);
            }
            Pushed::Closed => stats.add(Counter::DroppedUnreachable, 1),
            Pushed::Oversize(length) => {
                let why = format!("a message of {length} bytes exceeds what the node accepts");
                stats.refuse(Counter::DroppedOversize, to, why);
            }
        }
    }

    fn flush(&mut self) {
        for (peer, lanes) in &mut self.touched {
            for (lane, is_touched) in peer.lanes.iter().zip(lanes) {
                if std::mem::take(is_touched) {
                    lane.flush();
                }
            }
        }
        // Entries stay for the next batch; peers are few and never leave the roster.
        debug_assert!(
            self.touched
                .iter()
                .all(|(_, lanes)| *lanes == [false; CLASSES.len()])
        );
    }
}
