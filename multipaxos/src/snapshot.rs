//! Snapshots: the protocol exchanges manifests, the drivers move the bytes.

use crate::{
    group::Group,
    node::{MultiPaxos, Role},
    record::Record,
};
use alloc::{boxed::Box, sync::Arc};
use consensus_core::{
    Ballot, Effects, Index, NodeId,
    contract::replicated_log::{Event, Manifest, Membership, SnapshotId},
};

/// Heartbeat rounds without a word of a transfer after which it counts as lost.
const QUIET_ROUNDS: u8 = 20;

/// A snapshot on its way to somebody.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sending {
    to: NodeId,
    id: SnapshotId,
    /// Heartbeat rounds since bytes last moved.
    quiet: u8,
}

impl MultiPaxos {
    /// Has the driver send this node's newest snapshot, unless it is on its way; none if there is none.
    pub(crate) fn send_snapshot(
        &mut self,
        to: NodeId,
        effects: &mut Effects<Self>,
    ) -> Option<Index> {
        let manifest = self.snapshot.as_ref()?;
        let under_way = |sending: &Sending| sending.to == to && sending.id == manifest.id;
        if !self.sending.iter().any(under_way) {
            self.sending.retain(|sending| sending.to != to);
            self.sending.push(Sending {
                to,
                id: manifest.id,
                quiet: 0,
            });
            effects.emit(Event::SendSnapshot {
                to,
                manifest: manifest.clone(),
            });
        }
        Some(manifest.index)
    }

    /// Whether a snapshot is on its way to `node`.
    pub(crate) fn is_sending_to(&self, node: NodeId) -> bool {
        self.sending.iter().any(|sending| sending.to == node)
    }

    /// A heartbeat round is over: a transfer that nobody has heard of for long may be tried again.
    pub(crate) fn snapshot_round_over(&mut self) {
        self.sending.retain_mut(|sending| {
            sending.quiet += 1;
            sending.quiet < QUIET_ROUNDS
        });
    }

    /// Bytes moved to or from `peer`.
    pub(crate) fn on_snapshot_progress(&mut self, peer: NodeId) {
        for sending in self.sending.iter_mut().filter(|s| s.to == peer) {
            sending.quiet = 0;
        }
    }

    pub(crate) fn on_snapshot_failed(&mut self, peer: NodeId) {
        self.sending.retain(|sending| sending.to != peer);
    }

    pub(crate) fn on_snapshot_sent(&mut self, _through: Index) {
        self.pulse.leader_spoke |= self.leader != Ballot::ZERO;
    }

    /// This node's own snapshot is whole on its disk: what it covers may be trimmed.
    pub(crate) fn on_snapshot_taken(
        &mut self,
        mut manifest: Box<Manifest>,
        effects: &mut Effects<Self>,
    ) {
        let known = self.snapshot.as_ref().map_or(Index::ZERO, |m| m.index);
        if manifest.index <= known.max(self.slots.base()) || manifest.index > self.told {
            return;
        }
        (manifest.members, manifest.coming) = self.group.as_of(manifest.index);
        Arc::make_mut(&mut self.group).forget(manifest.index);
        effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        let through = self.trimming_point(manifest.index);
        if let Some(epoch) = self.slots.epoch(through) {
            self.slots.compact(through, epoch);
        }
        self.snapshot = Some(manifest);
    }

    /// Up to where slots may go: `covered`, less what is kept for replicas that are a little behind.
    fn trimming_point(&self, covered: Index) -> Index {
        let Role::Leader(leader) = &self.role else {
            return covered;
        };
        let reached = leader.windows.iter().map(|window| window.through);
        let behind = reached.min().unwrap_or(covered);
        let mut through = covered;
        let mut kept = 0;
        for accepted in self
            .slots
            .runs()
            .rev()
            .skip_while(|accepted| accepted.run.first() > covered)
        {
            kept += accepted.run.payload_bytes();
            if kept > self.config.options.keep_bytes || behind >= accepted.run.last() {
                break;
            }
            through = accepted.run.first().previous();
        }
        through
    }

    /// Somebody's snapshot is whole, synced and verified here: the state begins anew from it. What
    /// stands in later slots stays, for it was accepted there.
    pub(crate) fn on_snapshot_received(
        &mut self,
        manifest: Box<Manifest>,
        effects: &mut Effects<Self>,
    ) {
        if manifest.index <= self.chosen || matches!(self.role, Role::Leader(_)) {
            return;
        }
        let coming = manifest.coming.iter().map(|(_, members)| members);
        // Only a broken or hostile peer sends a snapshot of a group in which nobody decides.
        if !coming.chain([&manifest.members]).all(Membership::is_sound) {
            return;
        }
        effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        self.slots.compact(manifest.index, manifest.epoch);
        (self.chosen, self.told) = (manifest.index, manifest.index);
        self.group = Arc::new(Group::restored(&manifest, &self.config.options));
        self.group_changed = true;
        self.chosen_recorded = manifest.index;
        self.snapshot = Some(manifest.clone());
        // Held, and so is every event behind it: the application never applies the next entry to the
        // old state.
        effects.emit(Event::Restore(manifest));
    }
}
