//! What is committed, and telling it.

use crate::{
    node::{Raft, Role},
    record::Record,
};
use consensus_core::{Early, Effects, Index, contract::replicated_log::Event};

impl Raft {
    /// A leader counts replicas only for entries of its own term; older ones are committed through
    /// them [Ongaro14 §3.6.2].
    #[inline]
    pub(crate) fn advance_commit(&mut self, effects: &mut Effects<Self>) {
        let (node, term) = (self.config.node, self.term);
        let voters = self.members.voters();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !core::mem::take(&mut leader.moved) {
            return;
        }
        let (own, progress) = (leader.own, &leader.progress);
        let reached = voters.reached(|voter| {
            if voter == node {
                own.0
            } else {
                progress
                    .iter()
                    .find(|p| p.peer == voter)
                    .map_or(0, |p| p.matched.0)
            }
        });
        let reached = Index(reached);
        let own = self.log.epoch(reached).map(|epoch| epoch.round()) == Some(term);
        if reached <= self.commit || !(own || planted!(self.config, CountsOldTerms)) {
            return;
        }
        let mut bytes = 0;
        self.log.each(self.commit.next(), reached, |run| {
            bytes += run.payload_bytes()
        });
        leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(bytes);
        let first = self.commit < reached && !leader.reads.may_serve();
        self.commit = reached;
        if first {
            leader.reads.serve_from_now();
            self.confirm_rounds(effects);
        }
        self.membership_committed(effects);
    }

    /// Tells the application what is newly committed, and notes it now and then, so that a restart
    /// need not wait for a leader to apply what it knew.
    #[inline]
    pub(crate) fn tell_committed(&mut self, effects: &mut Effects<Self>) {
        if self.told >= self.commit {
            return;
        }
        self.log.each(self.told.next(), self.commit, |run| {
            effects.emit_early(Event::Committed(run), Early::QuorumHolds);
        });
        self.told = self.commit;
        if self.commit.0 - self.commit_recorded.0 >= 4096 {
            self.commit_recorded = self.commit;
            effects.persist_lazily(Record::Commit { index: self.commit });
        }
    }
}
