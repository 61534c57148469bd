//! Snapshots [Ongaro14 §5]: the protocol exchanges manifests, the drivers move the bytes.

use crate::{
    membership::Configurations,
    message::Message,
    node::{Raft, Role},
    progress::{Flow, Progress},
    record::Record,
};
use alloc::boxed::Box;
use consensus_core::{
    Early, Effects, Index, NodeId,
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
    let Some(manifest) = members.snapshot().cloned().map(Box::new) else {
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
    pub(crate) fn on_snapshot_taken(
        &mut self,
        mut manifest: Box<Manifest>,
        effects: &mut Effects<Self>,
    ) {
        let newest = self.members.snapshot().map_or(Index::ZERO, |m| m.index);
        if manifest.index <= newest || manifest.index > self.told {
            return;
        }
        // The application may not know: it hears of members when they are appended.
        manifest.members = self.members.as_of(manifest.index).clone();
        let lsn = effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        self.marks.snapshot(lsn);
        let through = self.compaction_point(manifest.index);
        self.members.restored(manifest);
        self.log.compact(through);
        self.marks.compacted(self.log.base(), self.log.last());
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
            // What follows a snapshot under way is kept until it has arrived: a follower that takes
            // longer to install it than this node to take the next one would never catch up.
            let under_way = leader.progress.iter().filter_map(|p| match p.flow {
                Flow::Snapshot(at) => Some(at),
                Flow::Probe(_) | Flow::Replicate => None,
            });
            through = under_way.fold(through, Index::min);
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
        manifest: Box<Manifest>,
        effects: &mut Effects<Self>,
    ) {
        if self.leader != Some(from) {
            return;
        }
        if manifest.index <= self.commit {
            // The log has caught up meanwhile, and the leader, which may not have heard of that, sends
            // nothing else until it hears that the snapshot has arrived.
            self.verified = self.verified.max(manifest.index);
            self.ack = true;
            return;
        }
        let lsn = effects.persist(Record::Snapshot {
            manifest: manifest.clone(),
        });
        self.marks.snapshot(lsn);
        if self.log.epoch(manifest.index) == Some(manifest.epoch) {
            self.log.compact(manifest.index);
        } else {
            self.log = Tail::after(manifest.index, manifest.epoch);
            self.members.truncate(Index::ZERO);
        }
        self.marks.compacted(self.log.base(), self.log.last());
        (self.commit, self.told) = (manifest.index, manifest.index);
        self.commit_recorded = manifest.index;
        self.verified = self.verified.max(manifest.index);
        self.ack = true;
        self.members.restored(manifest.clone());
        // Held, and so is every event behind it: the application never applies the next entry to the
        // old state.
        if planted!(self.config, CommitOvertakesSnapshot) {
            #[cfg(feature = "faults")]
            self.late_restore.replace(manifest);
        } else {
            effects.emit(Event::Restore(manifest));
        }
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
}
