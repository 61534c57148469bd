//! Snapshots between a service and its driver: the service says what to keep, send or open; the
//! driver, which alone knows files and streams, does it and reports back.
//!
//! | order | the driver | and reports |
//! |---|---|---|
//! | [`SnapshotOrder::Keep`] | writes the bytes, syncs file and folder | [`SnapshotReport::Kept`] |
//! | [`SnapshotOrder::Send`] | moves a copy to another node, on a way of its own | [`SnapshotReport::Progress`] at both ends, [`SnapshotReport::Received`] there or [`SnapshotReport::Failed`] here |
//! | [`SnapshotOrder::Open`] | reads the bytes | [`SnapshotReport::Opened`], before anything else happens at this service |
//!
//! The bytes never pass through a protocol. What is kept stays until newer ones are kept and
//! recorded; a snapshot that comes twice is kept once.

use crate::{
    NodeId,
    contract::replicated_log::{Manifest, SnapshotId},
};
use alloc::vec::Vec;
use bytes::Bytes;

/// What a service wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotOrder {
    /// Keep this state through any crash from the report on.
    Keep {
        /// What it is.
        manifest: Manifest,
        /// Its bytes, in order.
        chunks: Vec<Bytes>,
    },
    /// Bring a copy of what is kept to another node.
    Send {
        /// The receiver.
        to: NodeId,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotReport {
    /// It is whole and synced here.
    Kept(Manifest),
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
        chunks: Vec<Bytes>,
    },
}
