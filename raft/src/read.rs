//! Linearizable reads without a log entry [Ongaro14 §6.4].

use crate::node::{Raft, Role};
use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{
    Early, Effects, Index, NodeId, Time, Token,
    contract::replicated_log::{Event, Reason},
};

/// A read that waits for proof that its leader still led when it was asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    token: Token,
    /// The commit index when it was asked; none while the term has committed nothing of its own.
    index: Option<Index>,
    /// Confirmed by this round or a later one; none while it has not begun.
    round: Option<u64>,
}

/// A leader's reads and heartbeat rounds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Reads {
    round: u64,
    waiting: VecDeque<Waiting>,
    /// An entry of the own term is committed, so the commit index is known to be complete.
    may_serve: bool,
    /// When rounds that are not confirmed yet began; kept only where leases are on.
    begun: VecDeque<(u64, Time)>,
    /// When the newest confirmed round began.
    confirmed: Option<Time>,
    /// This term serves no more reads from a lease.
    lease_void: bool,
}

impl Reads {
    pub(crate) const fn may_serve(&self) -> bool {
        self.may_serve
    }

    pub(crate) const fn serve_from_now(&mut self) {
        self.may_serve = true;
    }

    pub(crate) fn begin_round(&mut self, now: Time, lease: bool) -> u64 {
        self.round += 1;
        for read in &mut self.waiting {
            read.round.get_or_insert(self.round);
        }
        if lease && !self.lease_void {
            self.begun.push_back((self.round, now));
        }
        self.round
    }

    pub(crate) fn take_all(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|read| read.token).collect()
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        self.waiting.retain(|read| read.token != token);
    }

    /// No lease holds any more in this term.
    pub(crate) fn void_lease(&mut self) {
        self.lease_void = true;
        self.confirmed = None;
        self.begun.clear();
    }

    /// A quorum has answered round `round`.
    fn confirm(&mut self, round: u64, commit: Index, ready: &mut Vec<(Token, Index)>) {
        while let Some((begun, at)) = self.begun.front().copied()
            && begun <= round
        {
            self.confirmed = Some(at);
            self.begun.pop_front();
        }
        if !self.may_serve {
            return;
        }
        while let Some(read) = self.waiting.front()
            && read.round.is_some_and(|needed| needed <= round)
        {
            ready.push((read.token, read.index.unwrap_or(commit)));
            self.waiting.pop_front();
        }
    }
}

impl Raft {
    pub(crate) fn on_read(&mut self, now: Time, token: Token, effects: &mut Effects<Self>) {
        let hint = self.leader;
        let (commit, shortest) = (self.commit, *self.config.election_timeout.start());
        let Role::Leader(leader) = &mut self.role else {
            let reason = Reason::NotLeader { hint };
            return effects.emit(Event::Rejected {
                token: Some(token),
                reason,
            });
        };
        if let Some(percent) = self.config.lease_percent
            && leader.reads.may_serve
            && let Some(confirmed) = leader.reads.confirmed
            && now < confirmed + shortest * u32::from(percent) / 100
        {
            return effects.emit_early(
                Event::ReadReady {
                    token,
                    index: commit,
                },
                Early::LeaseHolds,
            );
        }
        if planted!(self.config, ReadBeforeOwnCommit) {
            leader.reads.may_serve = true;
        }
        let index = leader.reads.may_serve.then_some(commit);
        leader.reads.waiting.push_back(Waiting {
            token,
            index,
            round: None,
        });
    }

    /// One round of heartbeats for all reads of a batch.
    #[inline]
    pub(crate) fn start_read_round(&mut self, now: Time, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader
            .reads
            .waiting
            .back()
            .is_some_and(|read| read.round.is_none())
        {
            self.send_heartbeats(now, effects);
            self.confirm_rounds(effects);
        }
    }

    pub(crate) fn on_heard(
        &mut self,
        _now: Time,
        from: NodeId,
        round: u64,
        effects: &mut Effects<Self>,
    ) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.iter_mut().find(|p| p.peer == from) else {
            return;
        };
        progress.active = true;
        progress.round = progress.round.max(round.min(leader.reads.round));
        self.confirm_rounds(effects);
    }

    /// The newest round that a quorum has answered confirms every read that waited for it or an
    /// older one.
    pub(crate) fn confirm_rounds(&mut self, effects: &mut Effects<Self>) {
        let (node, commit) = (self.config.node, self.commit);
        let voters = self.members.voters();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (own, progress) = (leader.reads.round, &leader.progress);
        let round = voters.reached(|voter| {
            if voter == node {
                own
            } else {
                progress
                    .iter()
                    .find(|p| p.peer == voter)
                    .map_or(0, |p| p.round)
            }
        });
        let mut ready = Vec::new();
        leader.reads.confirm(round, commit, &mut ready);
        for (token, index) in ready {
            // What a quorum has committed it holds on its disks.
            effects.emit_early(Event::ReadReady { token, index }, Early::QuorumHolds);
        }
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.cancel(token);
        }
    }
}
