//! Where a batch's effects go: the transport, the disk, the application.

use super::{reports::Reports, transport::Transport};
use crate::{
    Lsn, NodeId, Outlet, Time,
    storage::{Append, Disk},
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

/// Where effects go.
pub(super) struct WayOut<M, T, E> {
    pub(super) node: NodeId,
    /// Messages from this node to itself: the next batch's.
    pub(super) home: Vec<M>,
    pub(super) transport: T,
    pub(super) events: Vec<E>,
    pub(super) release: Option<Lsn>,
    pub(super) sent: u64,
}

impl<M, E, T: Transport<M>> Outlet<M, E> for WayOut<M, T, E> {
    #[inline]
    fn message(&mut self, to: NodeId, message: M) {
        if to == self.node {
            return self.home.push(message);
        }
        self.sent += 1;
        self.transport.send(to, message);
    }
    #[inline]
    fn event(&mut self, event: E) {
        self.events.push(event);
    }
    #[inline]
    fn release(&mut self, before: Lsn) {
        self.release = self.release.max(Some(before));
    }
}

/// The disk and what is on its way to it.
pub(super) struct Records {
    pub(super) disk: Box<dyn Disk>,
    pub(super) reports: Reports,
    /// Forced writes not yet reported, and when they were handed over.
    pub(super) under_way: VecDeque<(Lsn, Time)>,
    /// Handed over so far.
    pub(super) bytes: u64,
}

impl Records {
    pub(super) fn append(&mut self, append: Append) {
        self.bytes += append.bytes.len() as u64;
        self.disk.append(append);
    }
}
