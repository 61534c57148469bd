//! Elections [Ongaro14 §3.4]: timeouts, pre-vote, votes, and taking office.

use crate::{
    message::Message,
    node::{Leader, Raft, Role, Timer},
    progress::Progress,
    read::Reads,
    record::Record,
};
use alloc::{boxed::Box, vec, vec::Vec};
use consensus_core::{
    Early, Effects, Index, Lsn, NodeId, Since, Token, Unsynced,
    contract::replicated_log::{Event, Reason},
    log::{EntryKind, Place, Run},
};
use core::time::Duration;

impl Raft {
    pub(crate) fn start(&mut self, effects: &mut Effects<Self>) {
        self.since.settle(effects.durable());
        // It may have heard a leader just before it went down, whose lease counts on that.
        self.sticky = self.config.lease_percent.is_some();
        self.tell_members(effects);
        if let Some(manifest) = self.members.snapshot() {
            effects.emit(Event::Restore(Box::new(manifest.clone())));
        }
        self.await_leader(effects);
    }

    /// The record that a leader's requests rest on: its term, which is on disk already.
    #[inline]
    pub(crate) fn authority(&self) -> Lsn {
        if planted!(self.config, LeadsBeforeDisk) {
            Lsn::ZERO
        } else {
            self.since.lsn()
        }
    }

    /// Starts the election timeout anew: first the part in which candidates are ignored, then the
    /// drawn rest. Together they are one draw from the configured range.
    pub(crate) fn await_leader(&self, effects: &mut Effects<Self>) {
        self.await_quiet(effects);
        effects.cancel_timer(Timer::Election);
    }

    #[inline]
    pub(crate) fn await_quiet(&self, effects: &mut Effects<Self>) {
        let shortest = *self.config.election_timeout.start();
        effects.set_timer(Timer::Quiet, shortest..=shortest);
    }

    pub(crate) fn on_quiet(&mut self, effects: &mut Effects<Self>) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        self.sticky = false;
        let range = &self.config.election_timeout;
        effects.set_timer(
            Timer::Election,
            Duration::ZERO..=(*range.end() - *range.start()),
        );
    }

    pub(crate) fn on_election_timeout(&mut self, effects: &mut Effects<Self>) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        self.leader = None;
        self.sticky = false;
        self.await_leader(effects);
        // A node whose disk has not even stored its last candidacy could not take office. A term that
        // somebody else's request brought is another matter: its record is only just being written.
        let hangs = matches!(self.role, Role::Candidate { .. }) && !self.since.is_durable();
        let unfit = hangs || self.hung.is_some() || self.dismissed;
        if unfit || !self.voters().contains(self.config.node) {
            return;
        }
        if self.config.pre_vote {
            self.pre_campaign(effects);
        } else {
            self.campaign(false, effects);
        }
    }

    /// Asks whether it would be elected. Changes nothing durable, here or anywhere.
    fn pre_campaign(&mut self, effects: &mut Effects<Self>) {
        self.role = Role::PreCandidate {
            granted: vec![self.config.node],
        };
        if self.is_elected() {
            return self.campaign(false, effects);
        }
        let Some(term) = self.term.checked_add(1) else {
            return;
        };
        let request = self.vote_request(term, true, false);
        for peer in self.voting_peers() {
            effects.send(peer, request.clone());
        }
    }

    /// Stands for election. Asks while the own term is being written, but takes office only when it
    /// is on disk: otherwise it could lead the same term twice.
    pub(crate) fn campaign(&mut self, transfer: bool, effects: &mut Effects<Self>) {
        let Some(term) = self.term.checked_add(1) else {
            return;
        };
        self.enter_term(term, Some(self.config.node), effects);
        self.leader = None;
        let mut granted = Vec::new();
        if planted!(self.config, LeadsBeforeDisk) {
            granted.push(self.config.node);
        }
        self.role = Role::Candidate { granted };
        let request = self.vote_request(term, false, transfer);
        for peer in self.voting_peers() {
            effects.send_early(peer, request.clone(), Early::Campaign);
        }
    }

    fn vote_request(&self, term: u64, pre: bool, transfer: bool) -> Message {
        let (last, last_term) = (self.log.last(), self.log.last_epoch().round());
        Message::RequestVote {
            term,
            last,
            last_term,
            pre,
            transfer,
        }
    }

    fn voting_peers(&self) -> Vec<NodeId> {
        self.peers()
            .into_iter()
            .filter(|peer| self.voters().contains(*peer))
            .collect()
    }

    /// Writes a term and the vote in it as one record.
    fn enter_term(&mut self, term: u64, vote: Option<NodeId>, effects: &mut Effects<Self>) {
        assert!(
            term > self.term || (term == self.term && self.vote.is_none()),
            "election safety: term {} with vote {:?} cannot become {term} with {vote:?}",
            self.term,
            self.vote,
        );
        if term > self.term {
            self.verified = Index::ZERO;
            self.leader_commit = Index::ZERO;
            self.ack = false;
        }
        if planted!(self.config, TermAndVoteApart) && term > self.term {
            let term = self.term;
            effects.persist(Record::HardState { term, vote });
        }
        let lsn = effects.persist(Record::HardState { term, vote });
        self.marks.hard_state(lsn);
        (self.term, self.vote) = (term, vote);
        self.since = Since::new(lsn, effects.durable());
    }

    /// Follows in `term`, of which nobody's leadership is known yet.
    pub(crate) fn become_follower(&mut self, term: u64, effects: &mut Effects<Self>) {
        if term > self.term {
            self.enter_term(term, None, effects);
            self.leader = None;
        }
        self.resign(effects);
    }

    /// Stops leading or standing for election. What waits at a leader is answered.
    pub(crate) fn resign(&mut self, effects: &mut Effects<Self>) {
        match core::mem::replace(&mut self.role, Role::Follower) {
            Role::Leader(leader) => {
                effects.cancel_timer(Timer::Heartbeat);
                effects.cancel_timer(Timer::CheckQuorum);
                effects.cancel_timer(Timer::Transfer);
                if self.leader == Some(self.config.node) {
                    self.leader = None;
                }
                self.sticky = false;
                self.reject_waiting(*leader, effects);
                self.await_leader(effects);
            }
            Role::Follower | Role::PreCandidate { .. } | Role::Candidate { .. } => {}
        }
    }

    /// The one place where terms are compared: every message passes here first.
    /// Whether its content may be looked at.
    #[inline]
    pub(crate) fn accepts_term(
        &mut self,
        from: NodeId,
        message: &Message,
        effects: &mut Effects<Self>,
    ) -> bool {
        let term = message.term();
        if term == self.term {
            return true;
        }
        self.other_term(from, term, message, effects)
    }

    #[cold]
    fn other_term(
        &mut self,
        from: NodeId,
        term: u64,
        message: &Message,
        effects: &mut Effects<Self>,
    ) -> bool {
        self.tell_removed(from, message, effects);
        match message {
            // A pre-vote names a term that nobody has: it is judged, not adopted.
            Message::RequestVote { pre: true, .. } => true,
            // A granted pre-vote answers such a request.
            Message::Vote {
                pre: true,
                granted: true,
                ..
            } => true,
            Message::RequestVote {
                transfer: false, ..
            } if self.ignores_candidates() => {
                if term < self.term {
                    self.refuse_vote(from, false, effects);
                }
                false
            }
            // It speaks of a log, not of a term.
            Message::Removed { .. } if term < self.term => true,
            _ if term < self.term => {
                self.answer_stale(from, message, effects);
                false
            }
            // A peer that claims a term so high that no successor fits is broken or hostile.
            _ if term >= Self::TERM_LIMIT => false,
            _ => {
                self.become_follower(term, effects);
                true
            }
        }
    }

    /// Terms at or above this are refused: a node that took one over could never go past it.
    pub const TERM_LIMIT: u64 = 1 << 62;

    /// Tells a sender of an old term the present one; without that it would stay there for ever.
    fn answer_stale(&mut self, from: NodeId, message: &Message, effects: &mut Effects<Self>) {
        match message {
            Message::RequestVote { pre, .. } => self.refuse_vote(from, *pre, effects),
            Message::Append { .. }
            | Message::Heartbeat { .. }
            | Message::Commit { .. }
            | Message::InstallSnapshot { .. }
            | Message::ReadIndex { .. } => {
                effects.send(
                    from,
                    Message::Heard {
                        term: self.term,
                        round: 0,
                    },
                );
            }
            Message::Vote { .. }
            | Message::Appended { .. }
            | Message::Conflict { .. }
            | Message::Heard { .. }
            | Message::ReadIndexed { .. }
            | Message::Removed { .. }
            | Message::TimeoutNow { .. } => {}
        }
    }

    /// A leader is known and was heard within the shortest election timeout [Ongaro14 §4.2.3].
    fn ignores_candidates(&self) -> bool {
        self.config.check_quorum && (self.sticky || matches!(self.role, Role::Leader(_)))
    }

    fn refuse_vote(&self, to: NodeId, pre: bool, effects: &mut Effects<Self>) {
        effects.send(
            to,
            Message::Vote {
                term: self.term,
                granted: false,
                pre,
            },
        );
    }

    pub(crate) fn on_request_vote(
        &mut self,
        from: NodeId,
        term: u64,
        (last, last_term): (Index, u64),
        pre: bool,
        transfer: bool,
        effects: &mut Effects<Self>,
    ) {
        // The last entry's term first, then the length; equal is fine [Ongaro14 §3.6.1].
        let own = (self.log.last_epoch().round(), self.log.last());
        let up_to_date = (last_term, last) >= own;
        if pre {
            let free = term > self.term && term < Self::TERM_LIMIT;
            if free && up_to_date && !self.ignores_candidates() {
                effects.send(
                    from,
                    Message::Vote {
                        term,
                        granted: true,
                        pre,
                    },
                );
            } else {
                self.refuse_vote(from, pre, effects);
            }
            return;
        }
        if self.ignores_candidates() && !transfer {
            return;
        }
        let free = self.vote.is_none_or(|vote| vote == from) && self.leader.is_none();
        if !(free && up_to_date) {
            return self.refuse_vote(from, pre, effects);
        }
        if self.vote.is_none() {
            self.enter_term(term, Some(from), effects);
        }
        let granted = Message::Vote {
            term,
            granted: true,
            pre,
        };
        if planted!(self.config, VoteBeforeDisk) {
            effects.send_early(from, granted, Early::QuorumHolds);
        } else {
            // Held: it leaves when the vote is on disk.
            effects.send(from, granted);
        }
        self.await_leader(effects);
    }

    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        term: u64,
        granted: bool,
        pre: bool,
        effects: &mut Effects<Self>,
    ) {
        if !granted {
            return;
        }
        let expected = if pre {
            self.term.saturating_add(1)
        } else {
            self.term
        };
        let granted = match &mut self.role {
            Role::PreCandidate { granted } if pre && term == expected => granted,
            Role::Candidate { granted } if !pre && term == expected => granted,
            _ => return,
        };
        // A set of ids: a duplicate changes nothing.
        if granted.contains(&from) {
            return;
        }
        granted.push(from);
        granted.sort_unstable();
        if self.is_elected() {
            if pre {
                self.campaign(false, effects)
            } else {
                self.take_office(effects)
            }
        }
    }

    /// Whether those who granted are a quorum. A candidate's own vote counts when it is on disk, so
    /// without it nobody takes office.
    fn is_elected(&self) -> bool {
        let (Role::PreCandidate { granted } | Role::Candidate { granted }) = &self.role else {
            return false;
        };
        granted.contains(&self.config.node) && self.voters().is_quorum(|n| granted.contains(&n))
    }

    pub(crate) fn on_durable(&mut self, lsn: Lsn, effects: &mut Effects<Self>) {
        self.since.settle(lsn);
        if let Some(hung) = &mut self.hung {
            hung.settle(lsn);
            self.hung = Some(*hung).filter(|hung| !hung.is_durable());
        }
        #[cfg(feature = "faults")]
        if let Some(manifest) = self.late_restore.take() {
            effects.emit(Event::Restore(manifest));
        }
        match &mut self.role {
            Role::Leader(leader) => {
                if let Some((waiting, _)) = &mut leader.waiting {
                    waiting.settle(lsn);
                }
                if let Some(own) = leader.unsynced.settle_newest(lsn) {
                    leader.own = own;
                    leader.moved = true;
                }
            }
            Role::Candidate { granted }
                if self.since.is_durable() && !granted.contains(&self.config.node) =>
            {
                granted.push(self.config.node);
                granted.sort_unstable();
                if self.is_elected() {
                    self.take_office(effects);
                }
            }
            Role::Follower | Role::PreCandidate { .. } | Role::Candidate { .. } => {}
        }
    }

    fn take_office(&mut self, effects: &mut Effects<Self>) {
        assert!(
            self.since.is_durable() || planted!(self.config, LeadsBeforeDisk),
            "a term led twice: term {} is not on disk",
            self.term
        );
        let last = self.log.last();
        let progress = self
            .peers()
            .into_iter()
            .map(|peer| Progress::new(peer, last))
            .collect();
        self.role = Role::Leader(Box::new(Leader {
            progress,
            proposed: Vec::new(),
            unsynced: Unsynced::new(effects.durable()),
            own: last,
            moved: false,
            uncommitted_bytes: 0,
            waiting: None,
            idle: 0,
            reads: Reads::default(),
            transfer: None,
        }));
        self.leader = Some(self.config.node);
        self.sticky = false;
        self.ack = false;
        effects.cancel_timer(Timer::Quiet);
        effects.cancel_timer(Timer::Election);
        let shortest = *self.config.election_timeout.start();
        effects.set_timer(
            Timer::Heartbeat,
            self.config.heartbeat..=self.config.heartbeat,
        );
        effects.set_timer(Timer::CheckQuorum, shortest..=shortest);
        // An entry of the own term, so that those before it can be committed [Ongaro14 §6.4].
        let place = Place {
            kind: EntryKind::Noop,
            ..self.log.next_place(self.epoch())
        };
        self.append_own(Run::single(place, b""), effects);
    }

    /// An idle leader writes something after so many checks: a disk that hangs, or is full, shows
    /// only when it is asked.
    const IDLE_CHECKS: u8 = 8;

    /// Once an election timeout: a leader that does not hear from a quorum [Ongaro14 §6.2] leaves
    /// leadership to others. So does one whose own disk has had a record waiting for the longest election
    /// timeout: disks stall for the shortest now and then, and another leader's may be no better.
    pub(crate) fn on_check_quorum(&mut self, effects: &mut Effects<Self>) {
        let shortest = *self.config.election_timeout.start();
        let (node, commit) = (self.config.node, self.commit);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.waiting = leader.waiting.filter(|(record, _)| !record.is_durable());
        if let Some((record, checks)) = &mut leader.waiting {
            *checks += 1;
            if shortest * *checks >= *self.config.election_timeout.end() {
                self.hung = Some(*record);
                return self.resign(effects);
            }
        }
        leader.idle += 1;
        if leader.idle >= Self::IDLE_CHECKS {
            effects.persist(Record::Commit { index: commit });
        }
        let (last, durable) = (effects.last(), effects.durable());
        if last > durable {
            let noted = (Since::new(last, durable), 0);
            leader.waiting.get_or_insert(noted);
            leader.idle = 0;
        }
        let active: Vec<NodeId> = leader
            .progress
            .iter()
            .filter(|p| p.active)
            .map(|p| p.peer)
            .collect();
        leader
            .progress
            .iter_mut()
            .for_each(|progress| progress.active = false);
        if !self.config.check_quorum
            || self
                .voters()
                .is_quorum(|n| n == node || active.contains(&n))
        {
            effects.set_timer(Timer::CheckQuorum, shortest..=shortest);
        } else {
            self.resign(effects);
        }
    }

    /// Tells the application of what concerns this node's memory alone, under a term that is on disk: a
    /// disk that hangs keeps nobody from looking for another leader.
    pub(crate) fn tell(&self, event: Event, effects: &mut Effects<Self>) {
        if self.since.is_durable() {
            effects.emit_early(event, Early::Authority(self.authority()));
        } else {
            effects.emit(event);
        }
    }

    /// Certainly not done.
    pub(crate) fn reject(&self, token: Option<Token>, reason: Reason, effects: &mut Effects<Self>) {
        self.tell(Event::Rejected { token, reason }, effects);
    }

    /// Tells the application who leads, once a change.
    pub(crate) fn tell_leader(&mut self, effects: &mut Effects<Self>) {
        if self.leader_told != Some((self.term, self.leader)) {
            self.leader_told = Some((self.term, self.leader));
            self.reject_forwarded(effects);
            let told = Event::LeaderChanged {
                epoch: self.epoch(),
                leader: self.leader,
            };
            self.tell(told, effects);
        }
    }
}
