//! How a proposal ends, or loses a ballot and goes on: chosen, superseded, undecided, cancelled.

use crate::{
    GiveUp, Message, Paxos, Timer,
    node::Work,
    proposer::{MY_BALLOT, Phase, Proposal, current},
};
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Ballot, Early, Effects, NodeId, Tally, Token,
    contract::register::{Event, Instance, Key, Reason, Version},
};

impl Paxos {
    /// Somebody has promised more. Whether the ballot is lost is a matter of policy; what to outrank
    /// is known now.
    pub(crate) fn on_reject(
        &mut self,
        from: NodeId,
        instance: &Instance,
        ballot: Ballot,
        promised: Ballot,
        effects: &mut Effects<Self>,
    ) {
        if !promised.is_sound() {
            self.counters.refused.unsound_numbers += 1;
            return;
        }
        let quorums = self.config.quorums();
        let give_up = self.config.options().give_up;
        let Some(proposal) = current(&mut self.proposals, instance, ballot) else {
            return; // Of an older ballot.
        };
        proposal.seen = proposal.seen.max(promised);
        proposal.rejected.add(quorums.members(), from);
        let needed = match proposal.phase {
            Phase::Preparing { .. } => quorums.phase1_size(),
            Phase::Accepting { .. } => quorums.phase2_size(),
            Phase::Waiting => return,
        };
        let left = quorums.members().count() - proposal.rejected.count();
        if give_up == GiveUp::FirstReject || left < needed {
            self.lose(&instance.key, effects);
        }
    }

    /// The ballot is lost: wait as the policy says, then try the next.
    fn lose(&mut self, key: &Key, effects: &mut Effects<Self>) {
        let Some(proposal) = self.proposals.get_mut(key) else {
            return;
        };
        self.counters.preempted += 1;
        proposal.phase = Phase::Waiting;
        proposal.lost = proposal.lost.saturating_add(1);
        let (number, wait) = (
            proposal.number,
            self.config.options().backoff.wait(proposal.lost),
        );
        if self.has_given_up(key) {
            self.undecided(key, effects);
            return;
        }
        effects.cancel_timer(Timer::Resend(number));
        effects.set_timer(Timer::Retry(number), wait);
    }

    fn has_given_up(&self, key: &Key) -> bool {
        let limit = self.config.options().attempts;
        let made = self.proposals.get(key).map_or(0, |p| p.attempts);
        limit.is_some_and(|limit| made >= limit)
    }

    /// The back-off is over.
    pub(crate) fn on_retry(&mut self, number: u64, effects: &mut Effects<Self>) {
        let Some(key) = self.numbers.get(&number).cloned() else {
            return;
        };
        if self
            .proposals
            .get(&key)
            .is_some_and(|proposal| proposal.phase == Phase::Waiting)
        {
            self.prepare(key, effects);
        }
    }

    /// Answers are late: ask again, and everybody this time. A round that somebody has rejected is
    /// given up instead, because those who are silent may be dead.
    pub(crate) fn on_resend(&mut self, number: u64, effects: &mut Effects<Self>) {
        let Some(key) = self.numbers.get(&number).cloned() else {
            return;
        };
        if self.has_given_up(&key) {
            self.undecided(&key, effects);
            return;
        }
        let Some(proposal) = self.proposals.get_mut(&key) else {
            return;
        };
        if proposal.phase == Phase::Waiting {
            return; // The alarm went off while it was being taken back.
        }
        if proposal.rejected != Tally::EMPTY {
            self.lose(&key, effects);
            return;
        }
        proposal.attempts = proposal.attempts.saturating_add(1);
        let (asked, answered) = (proposal.asked, proposal.answered());
        self.suspect(asked, answered);
        self.widen(&key, |_| true, effects);
        self.arm(Timer::Resend(number), effects);
    }

    /// A peer may be gone: what it was asked, thriftily, the others are asked at once.
    pub(crate) fn on_unreachable(&mut self, node: NodeId, effects: &mut Effects<Self>) {
        if !self.config.options().thrifty {
            return;
        }
        self.silent.insert(node);
        let members = self.config.quorums().members().clone();
        let affected: Vec<Key> = self
            .proposals
            .iter()
            .filter(|(_, proposal)| proposal.asked.has(&members, node))
            .map(|(key, _)| key.clone())
            .collect();
        for key in affected {
            let asked = self
                .proposals
                .get(&key)
                .map_or(Tally::EMPTY, |proposal| proposal.asked);
            self.widen(&key, |other| !asked.has(&members, other), effects);
        }
    }

    /// Repeats this phase's question to those who have not answered it and whom `who` names.
    fn widen(&mut self, key: &Key, who: impl Fn(NodeId) -> bool, effects: &mut Effects<Self>) {
        let members = self.config.quorums().members();
        let Some(proposal) = self.proposals.get_mut(key) else {
            return;
        };
        let instance = Instance {
            key: key.clone(),
            version: proposal.version,
        };
        let ballot = proposal.ballot;
        let (answered, message) = match &proposal.phase {
            Phase::Preparing { promised, .. } => (*promised, Message::Prepare { instance, ballot }),
            Phase::Accepting { value } => {
                let value = value.clone();
                let message = Message::Accept {
                    instance,
                    ballot,
                    value,
                };
                (proposal.accepted, message)
            }
            Phase::Waiting => return,
        };
        for node in members.others(self.config.node()) {
            if !answered.has(members, node) && who(node) {
                proposal.asked.add(members, node);
                effects.send_early(node, message.clone(), MY_BALLOT);
            }
        }
    }

    /// Somebody takes part in a newer version, so `instance` was decided.
    pub(crate) fn on_superseded(
        &mut self,
        instance: &Instance,
        by: Version,
        effects: &mut Effects<Self>,
    ) {
        if by <= instance.version || by.0 >= 1 << 62 {
            return; // Says nothing that a correct node would say.
        }
        if self
            .proposals
            .get(&instance.key)
            .is_some_and(|proposal| proposal.version == instance.version)
        {
            self.supersede(&instance.key, by, effects);
        }
    }

    /// Ends the proposal of `key` without knowing its outcome.
    pub(crate) fn supersede(&mut self, key: &Key, by: Version, effects: &mut Effects<Self>) {
        let Some(proposal) = self.end(key, effects) else {
            return;
        };
        for (token, same) in &proposal.waiting {
            effects.emit(Event::Superseded {
                token: *token,
                instance: Instance {
                    key: key.clone(),
                    version: proposal.version,
                },
                by,
                offered: proposal.offered && *same,
            });
        }
        self.restart_reads(key, by, effects);
    }

    /// `value` is chosen for `instance`: answers the proposal for it or for an older version of the
    /// key. Whether anybody was told of this very choice.
    pub(crate) fn settle_proposal(
        &mut self,
        instance: &Instance,
        value: &Bytes,
        effects: &mut Effects<Self>,
    ) -> bool {
        let Some(running) = self.proposals.get(&instance.key) else {
            return false;
        };
        if running.version > instance.version {
            return false;
        }
        if running.version < instance.version {
            self.supersede(&instance.key, instance.version, effects);
            return false;
        }
        let Some(proposal) = self.end(&instance.key, effects) else {
            return false;
        };
        for (token, _) in &proposal.waiting {
            let event = Event::Chosen {
                token: Some(*token),
                instance: instance.clone(),
                value: value.clone(),
            };
            effects.emit_early(event, Early::QuorumHolds);
        }
        !proposal.waiting.is_empty()
    }

    fn undecided(&mut self, key: &Key, effects: &mut Effects<Self>) {
        let Some(proposal) = self.end(key, effects) else {
            return;
        };
        for (token, _) in &proposal.waiting {
            effects.emit(Event::Undecided { token: *token });
        }
        self.give_up_reads(key, effects);
    }

    /// No ballot is left. A value that was never put to anybody is certainly not chosen.
    pub(crate) fn exhausted(&mut self, key: &Key, effects: &mut Effects<Self>) {
        let Some(proposal) = self.end(key, effects) else {
            return;
        };
        for (token, same) in &proposal.waiting {
            let token = *token;
            effects.emit(if proposal.offered && *same {
                Event::Undecided { token }
            } else {
                let reason = Reason::Exhausted;
                Event::Rejected { token, reason }
            });
        }
        self.give_up_reads(key, effects);
    }

    /// Takes the proposal of `key` out, with its alarms and tokens.
    pub(crate) fn end(&mut self, key: &Key, effects: &mut Effects<Self>) -> Option<Proposal> {
        let proposal = self.proposals.remove(key)?;
        self.numbers.remove(&proposal.number);
        for (token, _) in &proposal.waiting {
            self.tokens.remove(token);
        }
        effects.cancel_timer(match proposal.phase {
            Phase::Waiting => Timer::Retry(proposal.number),
            Phase::Preparing { .. } | Phase::Accepting { .. } => Timer::Resend(proposal.number),
        });
        Some(proposal)
    }

    /// Nobody waits for `token` any more. What it proposed may still be chosen.
    pub(crate) fn on_cancel(&mut self, token: Token, effects: &mut Effects<Self>) {
        match self.tokens.remove(&token) {
            None => {}
            Some(Work::Read(number)) => self.cancel_read(number, effects),
            Some(Work::Proposal(key)) => {
                let Some(proposal) = self.proposals.get_mut(&key) else {
                    return;
                };
                proposal.waiting.retain(|(waiting, _)| *waiting != token);
                // Who had not answered by now may be gone, even if the alarm for that was still to
                // come: clients may be less patient than this node.
                let (asked, answered) = (proposal.asked, proposal.answered());
                let idle = proposal.waiting.is_empty();
                self.suspect(asked, answered);
                if idle && !self.wants_repair(&key) {
                    self.end(&key, effects);
                }
            }
        }
    }
}
