//! The group's log is compacted: what a replica knows of the hosted node's disk is its snapshot.
//!
//! That is small, since the hosted node reclaims it, so it is a record on the machine's disk and one
//! message to a replica that is far behind. It stands in the log before the group's own record that rests
//! on it, so no prefix of the log has the one without the other.

use super::{Hosting, Message, Record, Replicated, Timer, log::Log};
use crate::{
    Algorithm as _, Effects, Epoch, Index, Lsn, NodeId,
    contract::replicated_log::{Manifest, Request, SnapshotId},
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::{ops::RangeInclusive, time::Duration};

/// Longer than one message takes: then it counts as lost, and the leader looks where the replica is.
const LOST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(2);

/// What is kept of the hosted node's disk, up to some entry of the group's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    pub(super) manifest: Box<Manifest>,
    pub(super) state: Bytes,
    /// Where it is on the machine's disk.
    pub(super) at: Lsn,
}

impl<H: Hosting> Replicated<H> {
    /// The entry up to which the group's log is gone, or could be.
    pub(super) fn compacted(&self) -> Index {
        let newest = self.snapshots.iter().map(|kept| kept.manifest.index);
        newest.max().unwrap_or(Index::ZERO)
    }

    /// After an entry of `epoch` was applied: takes a snapshot when the last one is old.
    pub(super) fn compact(&mut self, epoch: Epoch, effects: &mut Effects<Self>) {
        let since = self.applied.0 - self.compacted().0.min(self.applied.0);
        let Some(members) = self.members.clone() else {
            return;
        };
        if since < self.config.compact_every as u64 {
            return;
        }
        let state = self.log.encode();
        let (node, boot) = (u128::from(self.config.node.0), u128::from(self.boot.0));
        let manifest = Box::new(Manifest {
            id: SnapshotId(node << 112 | boot << 64 | u128::from(self.applied.0)),
            index: self.applied,
            epoch,
            members,
            coming: Vec::new(),
            size: state.len() as u64,
        });
        self.keep(manifest.clone(), state, effects);
        self.asks.push(Request::SnapshotTaken(manifest));
    }

    /// Carried to disk by the group's record that rests on it.
    fn keep(&mut self, manifest: Box<Manifest>, state: Bytes, effects: &mut Effects<Self>) {
        let at = effects.persist_lazily(Record::Snapshot {
            manifest: manifest.clone(),
            state: state.clone(),
        });
        let kept = Snapshot {
            manifest,
            state,
            at,
        };
        self.snapshots.push(kept);
    }

    fn kept(&self, id: SnapshotId) -> Option<&Snapshot> {
        self.snapshots.iter().find(|kept| kept.manifest.id == id)
    }

    /// A replica is so far behind that it needs what is compacted.
    pub(super) fn send_snapshot(
        &mut self,
        to: NodeId,
        manifest: &Manifest,
        effects: &mut Effects<Self>,
    ) {
        let Some(kept) = self.kept(manifest.id) else {
            let (peer, id) = (to, manifest.id);
            return self.asks.push(Request::SnapshotFailed { peer, id });
        };
        let message = Message::Snapshot {
            manifest: kept.manifest.clone(),
            state: kept.state.clone(),
        };
        effects.send(to, message);
        self.sent.insert(to, manifest.id);
        effects.set_timer(Timer::Snapshot(to), LOST);
    }

    /// If it has arrived, to be told otherwise does no harm.
    pub(super) fn on_snapshot_lost(&mut self, peer: NodeId) {
        if let Some(id) = self.sent.remove(&peer) {
            self.asks.push(Request::SnapshotFailed { peer, id });
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: NodeId,
        manifest: Box<Manifest>,
        state: Bytes,
        effects: &mut Effects<Self>,
    ) {
        if self.group.is_none() || manifest.index <= self.applied {
            return;
        }
        if self.kept(manifest.id).is_none() {
            self.keep(manifest.clone(), state, effects);
        }
        self.asks.push(Request::SnapshotReceived { from, manifest });
    }

    /// What is known of the hosted node's disk begins anew from a snapshot.
    pub(super) fn restore(&mut self, manifest: &Manifest, effects: &mut Effects<Self>) {
        let kept = self.kept(manifest.id).map(|kept| kept.state.clone());
        let Some(Ok(log)) = kept.map(Log::decode) else {
            panic!(
                "the log rests on snapshot {:?}, whose record comes before",
                manifest.id
            );
        };
        self.log = log;
        self.restored += 1;
        self.applied = manifest.index;
        if let Some((node, ..)) = self.log.holder {
            self.found_host(self.log.run, node);
        }
        self.lose(effects);
    }

    /// Keeps the snapshot that the group's log rests on, and the newest: it may rest on that next. Returns
    /// from where on the machine's disk is needed for them.
    pub(super) fn forget_snapshots(&mut self) -> Option<Lsn> {
        let rests_on = self.group.as_ref()?.protocol.snapshot();
        let newest = self.compacted();
        self.snapshots
            .retain(|kept| Some(kept.manifest.id) == rests_on || kept.manifest.index == newest);
        self.snapshots.iter().map(|kept| kept.at).min()
    }

    /// Writes anew what stands before `before`.
    pub(super) fn reclaim_snapshots(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        for kept in &mut self.snapshots {
            if kept.at < before {
                kept.at = effects.persist_lazily(Record::Snapshot {
                    manifest: kept.manifest.clone(),
                    state: kept.state.clone(),
                });
            }
        }
    }
}
