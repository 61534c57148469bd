//! Log replication [Ongaro14 §3.5]: appends, acknowledgements, and finding where two logs part.

use crate::{
    message::Message,
    node::{Leader, Raft, Role, Timer},
    record::Record,
};
use alloc::vec::Vec;
use consensus_core::{
    Early, Effects, Epoch, Index, NodeId, Time, Token,
    contract::replicated_log::{Event, Reason},
    log::{Commands, EntryKind, Run},
};

/// The leader's side.
impl Raft {
    #[inline]
    pub(crate) fn propose(
        &mut self,
        token: Option<Token>,
        commands: Commands,
        effects: &mut Effects<Self>,
    ) {
        let (bound, hint) = (self.config.uncommitted_bytes_max, self.leader);
        let Role::Leader(leader) = &mut self.role else {
            return self.reject(token, Reason::NotLeader { hint }, effects);
        };
        let bytes = commands.payload_bytes();
        let full = leader.uncommitted_bytes > 0 && leader.uncommitted_bytes + bytes > bound;
        if leader.transfer.is_some() || full {
            return self.reject(token, Reason::Busy, effects);
        }
        if commands.is_empty() {
            return;
        }
        leader.uncommitted_bytes += bytes;
        leader.proposed.push((token, commands));
    }

    /// Appends a leader's own entries and writes them down.
    #[inline]
    pub(crate) fn append_own(&mut self, run: Run, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let lsn = effects.persist(Record::Append { run: run.clone() });
        self.marks.appended(lsn, run.first());
        leader.unsynced.push(lsn, run.last());
        if planted!(self.config, OwnAckBeforeSync) {
            (leader.own, leader.moved) = (run.last(), true);
        }
        self.log.append(run);
    }

    #[inline]
    pub(crate) fn flush_leader(&mut self, now: Time, effects: &mut Effects<Self>) {
        self.append_proposed(effects);
        self.advance_commit(effects);
        self.start_read_round(now, effects);
        self.replicate(effects);
        self.drive_transfer(effects);
        self.leave_when_removed(effects);
    }

    /// Makes one run of everything proposed in this batch.
    #[inline]
    fn append_proposed(&mut self, effects: &mut Effects<Self>) {
        let epoch = self.epoch();
        let why = Early::Authority(self.authority());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.proposed.is_empty() {
            return;
        }
        let place = self.log.next_place(epoch);
        let mut first = place.first;
        let mut all = Commands::default();
        for (token, commands) in leader.proposed.drain(..) {
            let count = commands.count() as u64;
            if let Some(token) = token {
                // A fact about this leader's own memory; the disk has no say in it.
                effects.emit_early(
                    Event::Appended {
                        token,
                        first,
                        epoch,
                    },
                    why,
                );
            }
            first = Index(first.0 + count);
            all.append(commands);
        }
        self.append_own(all.place(place), effects);
    }

    /// Sends everybody what they lack, within their windows.
    #[inline]
    fn replicate(&mut self, effects: &mut Effects<Self>) {
        let (term, commit, last) = (self.term, self.commit, self.log.last());
        let why = Early::Authority(self.authority());
        let early = self.config.parallel_write;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        for progress in &mut leader.progress {
            let mut carried = false;
            if core::mem::take(&mut progress.forgetful) {
                // Its newest entry again: with it comes all that is before [Ongaro14 §3.5].
                let newest = progress.matched;
                match self.log.gather(newest, 1) {
                    Some(run) => {
                        let message = Message::Append { term, run, commit };
                        effects.send_early(progress.peer, message, why);
                    }
                    None => {
                        crate::snapshot::send_snapshot(&self.members, progress, term, why, effects);
                    }
                }
            }
            while progress.next <= last
                && progress.has_room(
                    self.config.inflight_appends_max,
                    self.config.inflight_bytes_max,
                )
            {
                let run = if progress.next > self.log.base() {
                    self.log.gather(progress.next, self.config.append_bytes_max)
                } else {
                    None
                };
                let Some(run) = run else {
                    crate::snapshot::send_snapshot(&self.members, progress, term, why, effects);
                    break;
                };
                progress.sent(run.last(), run.payload_bytes());
                let message = Message::Append { term, run, commit };
                if early {
                    effects.send_early(progress.peer, message, why);
                } else {
                    effects.send(progress.peer, message);
                }
                carried = true;
            }
            if carried {
                progress.announced = commit;
            } else if progress.announced < commit && progress.matched >= commit {
                // Nothing to ride on: the commit is announced by itself.
                progress.announced = commit;
                effects.send_early(
                    progress.peer,
                    Message::Commit { term, commit },
                    Early::QuorumHolds,
                );
            }
        }
    }

    #[inline]
    pub(crate) fn on_appended(&mut self, from: NodeId, matched: Index) {
        let last = self.log.last();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        // Nobody can have more than the leader of the term.
        if matched > last {
            return;
        }
        if let Some(progress) = leader.progress.iter_mut().find(|p| p.peer == from) {
            if matched < progress.matched && progress.is_idle(last) {
                progress.forgetful = true;
            }
            leader.moved |= progress.accepted(matched);
        }
    }

    /// Takes the follower's hint to where the logs may agree: at most one exchange a term of the
    /// follower's log [Ongaro14 §3.5, the optimisation at its end].
    pub(crate) fn on_conflict(&mut self, from: NodeId, asked: Index, hint: Index, hint_term: u64) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.iter_mut().find(|p| p.peer == from) else {
            return;
        };
        let (hint, _) = self.log.latest_at_most(hint, Epoch::of_term(hint_term));
        progress.refused(asked, hint);
    }

    pub(crate) fn on_heartbeat_due(&mut self, now: Time, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader
            .progress
            .iter_mut()
            .for_each(crate::progress::Progress::tick);
        self.send_heartbeats(now, effects);
        effects.set_timer(
            Timer::Heartbeat,
            self.config.heartbeat..=self.config.heartbeat,
        );
    }

    /// Begins a new round.
    pub(crate) fn send_heartbeats(&mut self, now: Time, effects: &mut Effects<Self>) {
        let (term, commit) = (self.term, self.commit);
        let why = Early::Authority(self.authority());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let round = leader
            .reads
            .begin_round(now, self.config.lease_percent.is_some());
        for progress in &mut leader.progress {
            progress.announced = progress.announced.max(commit);
            effects.send_early(
                progress.peer,
                Message::Heartbeat {
                    term,
                    commit,
                    round,
                },
                why,
            );
        }
    }

    /// What waited at a leader that leads no more.
    pub(crate) fn reject_waiting(&self, mut leader: Leader, effects: &mut Effects<Self>) {
        let reason = Reason::NotLeader { hint: self.leader };
        for (token, _) in leader.proposed.drain(..) {
            self.reject(token, reason.clone(), effects);
        }
        for token in leader.reads.take_all() {
            self.reject(Some(token), reason.clone(), effects);
        }
    }
}

/// The follower's side.
impl Raft {
    /// A message of the term's leader: whoever sends it is the leader.
    #[inline]
    pub(crate) fn hear_leader(&mut self, from: NodeId, effects: &mut Effects<Self>) -> bool {
        if self.leader == Some(from) && matches!(self.role, Role::Follower) {
            self.heard = true;
            return true;
        }
        self.follow(from, effects)
    }

    #[cold]
    fn follow(&mut self, from: NodeId, effects: &mut Effects<Self>) -> bool {
        if matches!(self.role, Role::Leader(_)) {
            // Two leaders of one term: only a broken or hostile peer says so.
            return false;
        }
        if self.leader.is_some_and(|leader| leader != from) {
            return false;
        }
        self.role = Role::Follower;
        self.dismissed = false;
        self.leader = Some(from);
        self.verified = Index::ZERO;
        self.leader_commit = Index::ZERO;
        self.heard = true;
        self.tell_leader(effects);
        true
    }

    #[inline]
    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        run: Run,
        commit: Index,
        effects: &mut Effects<Self>,
    ) {
        if !self.hear_leader(from, effects) {
            return;
        }
        let before = run.first().previous();
        if before < self.log.base() {
            // What a snapshot covers is committed: skip it, keep the rest.
            match run.cut(self.log.base().next()..run.last().next()) {
                Some(rest) => return self.on_append(from, rest, commit, effects),
                None => {
                    self.verified = self.verified.max(self.log.base());
                    self.ack = true;
                    return;
                }
            }
        }
        if self.log.epoch(before) != Some(run.previous()) {
            let (hint, epoch) = self.log.latest_at_most(before, run.previous());
            let (term, hint_term) = (self.term, epoch.round());
            effects.send(
                from,
                Message::Conflict {
                    term,
                    asked: before,
                    hint,
                    hint_term,
                },
            );
            return;
        }
        self.verified = self.verified.max(run.last());
        self.leader_commit = self.leader_commit.max(commit);
        self.ack = true;
        if before == self.log.last() {
            let lsn = effects.persist(Record::Append { run: run.clone() });
            self.marks.appended(lsn, run.first());
            if run.kind() == EntryKind::Membership {
                self.membership_appended(&run, effects);
            }
            self.log.append(run);
        } else {
            self.reconcile(run, effects);
        }
    }

    /// Keeps what agrees, replaces from the first entry that does not: a late, shorter append
    /// truncates nothing [Ongaro14 §3.5].
    #[cold]
    fn reconcile(&mut self, run: Run, effects: &mut Effects<Self>) {
        let differs = (run.first().0..=run.last().0)
            .map(Index)
            .find(|index| self.log.epoch(*index) != Some(run.epoch()));
        let cut = differs.and_then(|first| run.cut(first..run.last().next()));
        let cuts = planted!(self.config, ShorterAppendTruncates);
        let Some(rest) = cut.or_else(|| cuts.then_some(run)) else {
            return;
        };
        assert!(
            rest.first() > self.commit,
            "leader completeness: {rest:?} would replace committed entries up to {}",
            self.commit
        );
        let lsn = effects.persist(Record::Append { run: rest.clone() });
        self.marks.appended(lsn, rest.first());
        self.truncate_members(rest.first(), effects);
        self.log.truncate(rest.first().previous());
        if rest.kind() == EntryKind::Membership {
            self.membership_appended(&rest, effects);
        }
        self.log.append(rest);
    }

    #[inline]
    pub(crate) fn on_commit(&mut self, from: NodeId, commit: Index, effects: &mut Effects<Self>) {
        if self.hear_leader(from, effects) {
            self.leader_commit = self.leader_commit.max(commit);
        }
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        from: NodeId,
        commit: Index,
        round: u64,
        effects: &mut Effects<Self>,
    ) {
        if !self.hear_leader(from, effects) {
            return;
        }
        // The leader has said already that more is committed than it has sent, and has sent no more
        // since: it may wait for an acknowledgement that was lost, of a snapshot above all.
        let waited = self.leader_commit > self.verified;
        self.leader_commit = self.leader_commit.max(commit);
        // This node began anew within the term: what it has proven to this leader it no longer knows,
        // and of a leader with nothing to send it would not hear. To one that has just been elected it
        // says nothing new.
        let began_anew = self.verified == Index::ZERO && commit > self.commit;
        if waited || began_anew {
            let (term, matched) = (self.term, self.verified);
            effects.send(from, Message::Appended { term, matched });
        }
        // It says which term this node is in, and nothing else that its disk must hold: entries on
        // their way to the disk do not delay reads and leadership.
        let heard = Message::Heard {
            term: self.term,
            round,
        };
        if self.since.is_durable() {
            effects.send_early(from, heard, Early::Authority(self.authority()));
        } else {
            effects.send(from, heard);
        }
    }

    #[inline]
    pub(crate) fn flush_follower(&mut self, effects: &mut Effects<Self>) {
        if core::mem::take(&mut self.heard) {
            if core::mem::replace(&mut self.sticky, true) {
                // Only the end of stickiness arms the second alarm.
                self.await_quiet(effects);
            } else {
                self.await_leader(effects);
            }
        }
        if core::mem::take(&mut self.ack)
            && let Some(leader) = self.leader
        {
            let message = Message::Appended {
                term: self.term,
                matched: self.verified,
            };
            effects.send(leader, message);
        }
        // Never beyond what the present leader's appends have verified: entries after that may be
        // another leader's.
        let verified = if planted!(self.config, CommitsUnverified) {
            self.log.last()
        } else {
            self.verified
        };
        let commit = self.leader_commit.min(verified);
        if commit > self.commit {
            self.commit = commit;
        }
    }

    pub(crate) fn on_unreachable(&mut self, node: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.iter_mut().find(|p| p.peer == node)
        {
            progress.snapshot_failed();
        }
    }

    /// Nodes in the order of their ids, for tests and status.
    #[must_use]
    pub fn followers(&self) -> Vec<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.progress.iter().map(|p| p.peer).collect(),
            _ => Vec::new(),
        }
    }
}
