//! Snapshots [Ongaro14 §5]: the protocol exchanges manifests, the drivers move the bytes.

use crate::{
    membership::Configurations,
    message::Message,
    node::{Raft, Role},
    progress::Progress,
    record::Record,
};
use consensus_core::{
    Early, Effects, Index, Lsn, NodeId,
    contract::replicated_log::{Event, Manifest},
    log::Tail,
};

/// A follower needs what is no longer in the log.
pub(crate) fn send_snapshot(
    members: &Configurations,
    progress: &mut Progress,
    term: u64,
    why: Early,
    effects: &mut Effects<Raft>,
) {
    let Some(manifest) = members.snapshot().cloned() else {
        return;
    };
    progress.needs_snapshot(manifest.index);
    let message = Message::InstallSnapshot {
        term,
        manifest: manifest.clone(),
    };
    effects.send_early(progress.peer, message, why);
    effects.emit(Event::SendSnapshot {
        to: progress.peer,
        manifest,
    });
}

impl Raft {
    /// This node's own snapshot is whole on its disk: what it covers may leave the log.
    pub(crate) fn on_snapshot_taken(&mut self, manifest: Manifest, effects: &mut Effects<Self>) {
        if manifest.index <= self.log.base() || manifest.index > self.told {
            return;
        }
        effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        let through = self.compaction_point(manifest.index);
        self.members.restored(manifest);
        self.log.compact(through);
    }

    /// Up to where the log may go: `covered`, less what is kept for followers that are a little behind
    /// and for those that are being sent an older snapshot.
    fn compaction_point(&self, covered: Index) -> Index {
        let mut through = covered;
        if let Role::Leader(leader) = &self.role {
            let behind = leader
                .progress
                .iter()
                .filter(|p| p.active)
                .map(|p| p.matched)
                .min();
            let mut kept = 0;
            for run in self
                .log
                .runs_reversed()
                .skip_while(|run| run.first() > covered)
            {
                kept += run.payload_bytes();
                if kept > self.config.keep_bytes || behind.is_none_or(|b| b >= run.last()) {
                    break;
                }
                through = run.first().previous();
            }
        }
        through
    }

    /// A leader announces a snapshot: its bytes come by another way, and while they do the leader is
    /// heard.
    pub(crate) fn on_install_snapshot(
        &mut self,
        from: NodeId,
        manifest: &Manifest,
        effects: &mut Effects<Self>,
    ) {
        if self.hear_leader(from, effects) && manifest.index <= self.commit {
            // It came twice, or the log has caught up meanwhile: that is success.
            self.verified = self.verified.max(manifest.index);
            self.ack = true;
        }
    }

    /// A leader's snapshot is whole, synced and verified here: the state and, unless it agrees, the
    /// log begin anew from it [Ongaro14 §5.3]. What stood here uncommitted about members counts no
    /// more.
    pub(crate) fn on_snapshot_received(
        &mut self,
        from: NodeId,
        manifest: Manifest,
        effects: &mut Effects<Self>,
    ) {
        if manifest.index <= self.commit || self.leader != Some(from) {
            return;
        }
        effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        if self.log.epoch(manifest.index) == Some(manifest.epoch) {
            self.log.compact(manifest.index);
        } else {
            self.log = Tail::after(manifest.index, manifest.epoch);
            self.members.truncate(Index::ZERO);
        }
        (self.commit, self.told) = (manifest.index, manifest.index);
        self.commit_recorded = manifest.index;
        self.verified = self.verified.max(manifest.index);
        self.ack = true;
        self.members.restored(manifest.clone());
        // Held, and so is every event behind it: the application never applies the next entry to the
        // old state.
        effects.emit(Event::Restore(manifest));
        self.tell_members(effects);
    }

    /// Bytes of a snapshot moved: the other side lives.
    pub(crate) fn on_snapshot_progress(&mut self, peer: NodeId) {
        if self.leader == Some(peer) {
            self.heard = true;
        } else if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.iter_mut().find(|p| p.peer == peer)
        {
            progress.active = true;
        }
    }

    pub(crate) fn on_snapshot_failed(&mut self, peer: NodeId) {
        self.on_unreachable(peer);
    }

    pub(crate) fn on_reclaim(&mut self, _before: Lsn, _effects: &mut Effects<Self>) {}
}
