//! What a driver needs of a disk.
//!
//! A driver hands over encoded records in order and goes on; the disk reports through a
//! [`Completion`] what is safe. One disk may serve several groups; each group numbers its own
//! records.

mod memory;
#[cfg(feature = "wal")]
pub mod snapshots;
#[cfg(feature = "wal")]
pub mod wal;

pub use memory::MemoryDisk;

use crate::{GroupId, Lsn};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;

/// Records on their way to disk: one batch of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// Whose.
    pub group: GroupId,
    /// The number of the first; the others follow without a gap.
    pub first: Lsn,
    /// Each record's bytes, concatenated.
    pub bytes: Vec<u8>,
    /// Where each record ends in `bytes`, ascending; as many as there are records.
    pub ends: Vec<u32>,
    /// Whether somebody waits for them. Records that nobody waits for ride with the next that
    /// somebody does, or are written within 100 ms.
    pub forced: bool,
}

impl Append {
    /// An empty batch whose first record will be `first`.
    #[must_use]
    pub const fn new(group: GroupId, first: Lsn) -> Self {
        Self {
            group,
            first,
            bytes: Vec::new(),
            ends: Vec::new(),
            forced: false,
        }
    }

    /// The same, whose records are encoded into `buffer`: what it holds is discarded, the room it has
    /// is used, such as that of [`Disk::buffer`].
    #[must_use]
    pub fn in_buffer(group: GroupId, first: Lsn, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            bytes: buffer,
            ..Self::new(group, first)
        }
    }

    /// Adds a record by letting `encode` write its bytes.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a batch is bounded by the driver"));
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The number of the last record; the one before `first` when there are none.
    #[must_use]
    pub fn last(&self) -> Lsn {
        Lsn(self.first.0 + self.ends.len() as u64 - 1)
    }

    /// The records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Lsn, &[u8])> + '_ {
        let mut start = 0;
        self.ends.iter().enumerate().map(move |(i, end)| {
            let record = &self.bytes[start..*end as usize];
            start = *end as usize;
            (Lsn(self.first.0 + i as u64), record)
        })
    }
}

/// A record as it was found on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Whose.
    pub group: GroupId,
    /// Its number.
    pub lsn: Lsn,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a disk no longer takes records. After any of these but a full disk, nothing in this process
/// is trusted again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskFailure {
    /// A write or a sync failed. The file system may have marked the lost pages clean, so a second
    /// sync would lie: nothing is acknowledged, the node stops, the next start decides.
    #[error(
        "{operation} of {file} failed: {reason}; the node stops, restart it when the disk is well"
    )]
    Broken {
        /// `write`, `fdatasync`, …
        operation: &'static str,
        /// Which file.
        file: String,
        /// The system's words.
        reason: String,
    },
}

/// How a disk reports. Called on the disk's own thread; must not block.
pub trait Completion: Send + 'static {
    /// Every record of `group` up to `lsn` is on disk.
    fn durable(&self, group: GroupId, lsn: Lsn);
    /// Nothing more will become durable.
    fn failed(&self, failure: DiskFailure);
    /// The disk is full (`true`): records wait in memory and are retried; or has room again.
    fn full(&self, full: bool);
}

/// A disk, from the driver's side. Dropping it writes and syncs what is pending and seals the log.
pub trait Disk: Send + 'static {
    /// Takes records in order and returns at once.
    fn append(&mut self, append: Append);
    /// Records of `group` before `before` will not be asked for again.
    fn release(&mut self, group: GroupId, before: Lsn);
    /// Bytes handed over and not yet on disk. The driver stops reading from peers above a bound.
    fn backlog(&self) -> usize;
    /// Whether anybody will ever read what is handed over. Where nobody will, the driver does not encode
    /// records, and hands over empty ones.
    fn keeps(&self) -> bool {
        true
    }
    /// A buffer for the next batch: of a batch that is on disk already, where the disk has one left.
    /// Fresh memory costs a large batch as much as its checksum.
    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }
    /// The group's log is longer than the disk would like: the driver passes
    /// [`Input::Reclaim`](crate::Input::Reclaim) with this number until it is released.
    fn reclaim(&self, group: GroupId) -> Option<Lsn> {
        let _ = group;
        None
    }
}
