//! Snapshots between a service and its driver: the service says what to keep, send or open; the
//! driver, which alone knows files and streams, does it and reports back.
//!
//! | order | the driver | and reports |
//! |---|---|---|
//! | [`SnapshotOrder::Keep`] | reads the frozen state beside everything else, writes it, syncs file and folder | [`SnapshotReport::Kept`], or [`SnapshotReport::NotKept`] |
//! | [`SnapshotOrder::Send`] | moves a copy to another node, on a way of its own | [`SnapshotReport::Progress`] at both ends, [`SnapshotReport::Received`] there or [`SnapshotReport::Failed`] here |
//! | [`SnapshotOrder::Open`] | reads the bytes | [`SnapshotReport::Opened`], before anything else happens at this service |
//!
//! The bytes never pass through a protocol. What is kept stays until newer ones are kept and
//! recorded; a snapshot that comes twice is kept once.

use crate::{
    Epoch, NodeId,
    contract::replicated_log::{Manifest, SnapshotId},
};
use alloc::boxed::Box;
use bytes::Bytes;
use core::fmt;

/// A frozen state's bytes, read piece by piece by whoever keeps or restores it: the whole is never
/// in memory for that.
pub struct Chunks(Box<dyn Iterator<Item = Bytes> + Send>);

impl Chunks {
    /// What `chunks` yields.
    pub fn new<I>(chunks: I) -> Self
    where
        I: IntoIterator<Item = Bytes>,
        I::IntoIter: Send + 'static,
    {
        Self(Box::new(chunks.into_iter()))
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.0.next()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunks")
    }
}

/// What a service wants done.
#[derive(Debug)]
pub enum SnapshotOrder {
    /// Keep this state through any crash from the report on.
    Keep {
        /// What it is; its size is not known yet, and told by the report.
        manifest: Manifest,
        /// Its bytes, in order.
        chunks: Chunks,
    },
    /// Bring a copy of what is kept to another node.
    Send {
        /// The receiver.
        to: NodeId,
        /// Under which leader's authority: what a later one sends goes before.
        epoch: Epoch,
        /// Which.
        manifest: Manifest,
    },
    /// Read what is kept.
    Open {
        /// Which.
        manifest: Manifest,
    },
}

/// What a driver has done.
#[derive(Debug)]
pub enum SnapshotReport {
    /// It is whole and synced here.
    Kept(Manifest),
    /// It could not be written, for want of room perhaps. What was kept before still is.
    NotKept(SnapshotId),
    /// Another node's is whole, synced and verified here.
    Received {
        /// The sender.
        from: NodeId,
        /// Which.
        manifest: Manifest,
    },
    /// Bytes move.
    Progress {
        /// The other end.
        peer: NodeId,
        /// Which.
        id: SnapshotId,
        /// How many so far.
        bytes: u64,
    },
    /// It did not arrive.
    Failed {
        /// The receiver.
        peer: NodeId,
        /// Which.
        id: SnapshotId,
    },
    /// Its bytes, in order.
    Opened {
        /// Which.
        manifest: Manifest,
        /// As they were kept.
        chunks: Chunks,
    },
}
