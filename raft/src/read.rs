//! Linearizable reads without a log entry [Ongaro14 §6.4], at the leader and, through its commit index,
//! at everybody else.

use crate::{
    message::Message,
    node::{Raft, Role, Timer},
};
use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{
    Boot, Early, Effects, Index, NodeId, Time, Token,
    contract::replicated_log::{Event, Reason},
};

/// Who wants to read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reader {
    /// This node's application.
    Own(Token),
    /// That of another node, in whose run this question has this number.
    Peer(NodeId, Boot, u64),
}

/// A read that waits for proof that its leader still led when it was asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    reader: Reader,
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
        // Other nodes find out by themselves that their leader is gone.
        let own = |read: Waiting| match read.reader {
            Reader::Own(token) => Some(token),
            Reader::Peer(..) => None,
        };
        self.waiting.drain(..).filter_map(own).collect()
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        self.waiting
            .retain(|read| read.reader != Reader::Own(token));
    }

    /// No lease holds any more in this term.
    pub(crate) fn void_lease(&mut self) {
        self.lease_void = true;
        self.confirmed = None;
        self.begun.clear();
    }

    /// A quorum has answered round `round`.
    fn confirm(&mut self, round: u64, commit: Index, ready: &mut Vec<(Reader, Index)>) {
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
            ready.push((read.reader, read.index.unwrap_or(commit)));
            self.waiting.pop_front();
        }
    }
}

impl Raft {
    pub(crate) fn on_read(&mut self, now: Time, token: Token, effects: &mut Effects<Self>) {
        match self.role {
            Role::Leader(_) => self.read(now, Reader::Own(token), effects),
            _ => self.forwarded.waiting.push_back((token, None)),
        }
    }

    pub(crate) fn on_read_index(
        &mut self,
        now: Time,
        from: NodeId,
        (boot, number): (Boot, u64),
        effects: &mut Effects<Self>,
    ) {
        self.read(now, Reader::Peer(from, boot, number), effects);
    }

    /// Answers from the lease, or in the next round of heartbeats.
    fn read(&mut self, now: Time, reader: Reader, effects: &mut Effects<Self>) {
        let (commit, shortest) = (self.commit, *self.config.election_timeout.start());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if let Some(percent) = self.config.lease_percent
            && leader.reads.may_serve
            && let Some(confirmed) = leader.reads.confirmed
            && now < confirmed + shortest * u32::from(percent) / 100
        {
            let why = Early::LeaseHolds;
            return self.answer_read(reader, commit, why, effects);
        }
        if planted!(self.config, AnswersUnconfirmed) && matches!(reader, Reader::Peer(..)) {
            return self.answer_read(reader, commit, Early::QuorumHolds, effects);
        }
        if planted!(self.config, ReadBeforeOwnCommit) {
            leader.reads.may_serve = true;
        }
        let index = leader.reads.may_serve.then_some(commit);
        leader.reads.waiting.push_back(Waiting {
            reader,
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
        for (reader, index) in ready {
            // What a quorum has committed it holds on its disks.
            self.answer_read(reader, index, Early::QuorumHolds, effects);
        }
    }

    fn answer_read(&self, reader: Reader, index: Index, why: Early, effects: &mut Effects<Self>) {
        match reader {
            Reader::Own(token) => effects.emit_early(Event::ReadReady { token, index }, why),
            Reader::Peer(node, boot, number) => {
                let answer = Message::ReadIndexed {
                    term: self.term,
                    boot,
                    number,
                    index,
                };
                effects.send_early(node, answer, why);
            }
        }
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        self.forwarded.waiting.retain(|(held, _)| *held != token);
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.cancel(token);
        }
    }
}

/// Reads asked of a node that does not lead, and under which of its questions to the leader; without
/// one until the end of the batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Forwarded {
    number: u64,
    waiting: VecDeque<(Token, Option<u64>)>,
    /// How often in a row the leader was asked again.
    asked_again: u32,
}

/// Reads at a follower or learner.
impl Raft {
    /// One question for all reads of a batch.
    #[inline]
    pub(crate) fn forward_reads(&mut self, effects: &mut Effects<Self>) {
        let newest = self.forwarded.waiting.back();
        if newest.is_some_and(|(_, number)| number.is_none()) {
            self.forward(effects);
        }
    }

    fn forward(&mut self, effects: &mut Effects<Self>) {
        let elsewhere = self.leader.filter(|leader| *leader != self.config.node);
        let Some(leader) = elsewhere else {
            return self.reject_forwarded(effects);
        };
        self.forwarded.number += 1;
        for (_, number) in &mut self.forwarded.waiting {
            number.get_or_insert(self.forwarded.number);
        }
        self.ask(leader, effects);
    }

    /// The leader, or its answer, was not heard: the newest question stands for all. A leader that can
    /// be heard and does not hear is asked for one election timeout; then whoever reads may ask it
    /// better.
    pub(crate) fn ask_again(&mut self, effects: &mut Effects<Self>) {
        if self.forwarded.waiting.is_empty() {
            return;
        }
        self.forwarded.asked_again += 1;
        let asked_for = self.config.heartbeat * self.forwarded.asked_again;
        match self.leader {
            Some(leader) if asked_for < *self.config.election_timeout.end() => {
                self.ask(leader, effects);
            }
            _ => self.reject_forwarded(effects),
        }
    }

    /// It says which term this node is in, and nothing else that its disk must hold.
    fn ask(&self, leader: NodeId, effects: &mut Effects<Self>) {
        let question = Message::ReadIndex {
            term: self.term,
            boot: self.config.boot(),
            number: self.forwarded.number,
        };
        if self.since.is_durable() {
            effects.send_early(leader, question, Early::Authority(self.authority()));
        } else {
            effects.send(leader, question);
        }
        effects.set_timer(Timer::Reads, self.config.heartbeat..=self.config.heartbeat);
    }

    /// Whatever was asked here before that question left may be answered once `index` is applied.
    pub(crate) fn on_read_indexed(
        &mut self,
        (boot, number): (Boot, u64),
        index: Index,
        effects: &mut Effects<Self>,
    ) {
        if boot != self.config.boot() && !planted!(self.config, AnswersAcrossRuns) {
            return;
        }
        self.forwarded.asked_again = 0;
        while let Some((token, asked)) = self.forwarded.waiting.front().copied()
            && asked.is_some_and(|asked| asked <= number)
        {
            effects.emit_early(Event::ReadReady { token, index }, Early::QuorumHolds);
            self.forwarded.waiting.pop_front();
        }
        if self.forwarded.waiting.is_empty() {
            effects.cancel_timer(Timer::Reads);
        }
    }

    /// The leader that was asked leads no more, or there is none to ask.
    pub(crate) fn reject_forwarded(&mut self, effects: &mut Effects<Self>) {
        if self.forwarded.waiting.is_empty() {
            return;
        }
        effects.cancel_timer(Timer::Reads);
        self.forwarded.asked_again = 0;
        let hint = self.leader;
        while let Some((token, _)) = self.forwarded.waiting.pop_front() {
            self.reject(Some(token), Reason::NotLeader { hint }, effects);
        }
    }
}
