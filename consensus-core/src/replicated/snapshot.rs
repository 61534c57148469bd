//! The group's log is compacted: what a replica knows of the hosted node's disk is its snapshot.
//!
//! The hosted node reclaims that, so it is one record on the machine's disk. It stands in the log before
//! the group's own record that rests on it, so no prefix of the log has the one without the other. To a
//! replica that is far behind it goes in parts, each asked for when the one before has come: what a
//! transport takes for one message bounds the parts, and not the whole.

use super::{Hosting, Message, Record, Replicated, Timer, log::Log};
use crate::{
    Algorithm as _, Effects, Epoch, Index, Lsn, NodeId,
    contract::replicated_log::{Manifest, Request, SnapshotId},
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::{ops::RangeInclusive, time::Duration};

/// Longer than a part takes and the question for the next: then they count as lost, and the leader looks
/// where the replica is. Whatever has come there stays.
const LOST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(2);

/// What is kept of the hosted node's disk, up to some entry of the group's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    pub(super) manifest: Box<Manifest>,
    pub(super) state: Bytes,
    /// Where it is on the machine's disk.
    pub(super) at: Lsn,
}

/// What has come of a snapshot, from its beginning on. Gone with a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Incoming {
    manifest: Box<Manifest>,
    state: Vec<u8>,
}

impl Incoming {
    const fn new(manifest: Box<Manifest>) -> Self {
        let state = Vec::new();
        Self { manifest, state }
    }

    fn has(&self) -> u64 {
        self.state.len() as u64
    }

    /// Takes in what follows on what has come. False when it does not, or would be more than all.
    fn take(&mut self, at: u64, part: &[u8]) -> bool {
        let fits = at == self.has() && at + part.len() as u64 <= self.manifest.size;
        if fits {
            self.state.extend_from_slice(part);
        }
        fits
    }
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
        let (peer, id) = (to, manifest.id);
        if self.kept(id).is_none() {
            return self.asks.push(Request::SnapshotFailed { peer, id });
        }
        self.sent.insert(to, id);
        self.send_part(to, id, 0, effects);
    }

    /// What follows after `at`, if that is still being sent to the replica that asks.
    pub(super) fn send_part(
        &mut self,
        to: NodeId,
        id: SnapshotId,
        at: u64,
        effects: &mut Effects<Self>,
    ) {
        let Some(kept) = self.kept(id).filter(|_| self.sent.get(&to) == Some(&id)) else {
            return;
        };
        let size = kept.state.len();
        let Some(start) = usize::try_from(at).ok().filter(|start| *start < size) else {
            return;
        };
        let end = size.min(start.saturating_add(self.config.snapshot_part));
        let message = Message::Snapshot {
            manifest: kept.manifest.clone(),
            at,
            part: kept.state.slice(start..end),
        };
        effects.send(to, message);
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
        at: u64,
        part: &[u8],
        effects: &mut Effects<Self>,
    ) {
        if self.group.is_none() || manifest.index <= self.applied {
            return;
        }
        let id = manifest.id;
        if self.kept(id).is_some() {
            return self.asks.push(Request::SnapshotReceived { from, manifest });
        }
        let other = |incoming: &Incoming| incoming.manifest.id != id;
        if at == 0 && self.incoming.as_ref().is_none_or(other) {
            self.incoming = Some(Incoming::new(manifest));
        }
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| !other(incoming)) else {
            return;
        };
        let (took, has) = (incoming.take(at, part), incoming.has());
        if has == incoming.manifest.size
            && let Some(Incoming { manifest, state }) = self.incoming.take()
        {
            self.keep(manifest.clone(), state.into(), effects);
            self.asks.push(Request::SnapshotReceived { from, manifest });
        } else if took || at == 0 {
            // A part that came twice is answered once, or all that follow would come twice. One that
            // begins anew finds what has come already.
            effects.send(from, Message::SnapshotWanted { id, at: has });
        }
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

    /// Keeps the snapshot that the group's log rests on, the newest, for it may rest on that next, and all
    /// that are yet to be restored: one that is newer may come while the disk is at them. Returns from
    /// where on the machine's disk is needed for them.
    pub(super) fn forget_snapshots(&mut self) -> Option<Lsn> {
        let rests_on = self.group.as_ref()?.protocol.snapshot();
        let newest = self.compacted();
        self.snapshots.retain(|kept| {
            let Manifest { id, index, .. } = *kept.manifest;
            Some(id) == rests_on || index == newest || index > self.applied
        });
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
