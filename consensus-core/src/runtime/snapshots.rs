//! What a node does about its service's snapshots: who keeps and moves them, and how that is told.

use super::bell::{Bell, lock};
use crate::{
    Epoch, Lsn, NodeId,
    contract::replicated_log::{Manifest, SnapshotId},
    service::{Chunks, SnapshotReport},
};
use alloc::{string::String, vec::Vec};
use core::{fmt, mem};
use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// Keeps a node's snapshots and moves them to others. Knows files and streams, which this crate's
/// runtime does not. Nothing here may wait but [`open`](Self::open); what takes long is told through
/// [`SnapshotReports`].
pub trait SnapshotKeeper: Send + Sync + 'static {
    /// Writes a frozen state somewhere safe, beside everything else. Told by
    /// [`SnapshotReport::Kept`] or [`SnapshotReport::NotKept`].
    fn keep(&self, manifest: Manifest, chunks: Chunks);

    /// Brings a copy to another node, under the authority of `epoch`. Told by
    /// [`SnapshotReport::Progress`] and, when it did not arrive, [`SnapshotReport::Failed`].
    fn send(&self, to: NodeId, epoch: Epoch, manifest: Manifest);

    /// Reads what is kept. May wait for the disk.
    ///
    /// # Errors
    /// A sentence that names the file; the node stops with it.
    fn open(&self, manifest: &Manifest) -> Result<Chunks, String>;

    /// The log rests on this snapshot, and the record that says so is durable: older ones may go.
    fn rests_on(&self, id: SnapshotId);
}

/// The way back from a [`SnapshotKeeper`] to its node's service. Made before the node starts.
#[derive(Clone, Default)]
pub struct SnapshotReports(Arc<Told>);

#[derive(Default)]
struct Told {
    reports: Mutex<Vec<SnapshotReport>>,
    waiting: AtomicBool,
    bell: OnceLock<Arc<Bell>>,
}

impl fmt::Debug for SnapshotReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotReports")
    }
}

impl SnapshotReports {
    /// Tells the service, in order. Never waits.
    pub fn tell(&self, report: SnapshotReport) {
        lock(&self.0.reports).push(report);
        self.0.waiting.store(true, SeqCst);
        if let Some(bell) = self.0.bell.get() {
            bell.ring();
        }
    }

    pub(super) fn wakes(&self, bell: &Arc<Bell>) {
        // A second node with the same reports would be a bug; the first keeps them.
        let _ = self.0.bell.set(Arc::clone(bell));
    }

    #[inline]
    fn take(&self) -> Vec<SnapshotReport> {
        if !self.0.waiting.swap(false, SeqCst) {
            return Vec::new();
        }
        mem::take(&mut lock(&self.0.reports))
    }
}

/// Who keeps a node's snapshots.
#[derive(Clone)]
pub struct Snapshots {
    /// Carries orders out.
    pub keeper: Arc<dyn SnapshotKeeper>,
    /// What it says.
    pub reports: SnapshotReports,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshots")
    }
}

impl Snapshots {
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.reports.0.waiting.load(SeqCst)
    }

    #[inline]
    pub(super) fn take(&self) -> Vec<SnapshotReport> {
        self.reports.take()
    }
}

/// Finds out when the record of the snapshot that a log rests on is durable.
#[derive(Debug, Default)]
pub(super) struct Resting {
    on: Option<SnapshotId>,
    /// The record is this one or an earlier.
    since: Lsn,
    told: bool,
}

impl Resting {
    /// What the protocol says now, after its newest record was numbered `last`. The snapshot, once,
    /// when it is durable.
    pub(super) fn look(
        &mut self,
        on: Option<SnapshotId>,
        last: Lsn,
        durable: Lsn,
    ) -> Option<SnapshotId> {
        if self.on != on {
            (self.on, self.since, self.told) = (on, last, false);
        }
        if self.told || durable < self.since {
            return None;
        }
        self.told = true;
        on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_rested_on_once_its_record_is_durable() {
        let mut resting = Resting::default();
        let id = Some(SnapshotId(7));
        assert_eq!(resting.look(None, Lsn(3), Lsn(3)), None);
        assert_eq!(resting.look(id, Lsn(5), Lsn(4)), None);
        assert_eq!(resting.look(id, Lsn(9), Lsn(4)), None);
        assert_eq!(resting.look(id, Lsn(9), Lsn(5)), id);
        assert_eq!(resting.look(id, Lsn(9), Lsn(9)), None);
    }
}
