//! The second phase: the decision is written, told, acknowledged, and forgotten.

use super::Phase;
use crate::{Message, Presumption, Record, Timer, TwoPhase, config::backoff};
use alloc::{collections::BTreeSet, vec, vec::Vec};
use consensus_core::{
    Early, Effects, NodeId,
    contract::atomic_commit::{AbortReason, Event, Outcome, Transaction},
};

impl TwoPhase {
    /// Aborts before anybody was asked: there is nobody to tell but the client.
    pub(super) fn decide_early(
        &mut self,
        transaction: Transaction,
        reason: AbortReason,
        effects: &mut Effects<Self>,
    ) {
        effects.cancel_timer(Timer::Votes(transaction));
        self.answer(transaction, Outcome::Abort, &reason, effects);
        self.forget(transaction, Outcome::Abort, reason);
    }

    pub(super) fn decide(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Collecting { missing, yes, .. } = &mut live.phase else {
            return;
        };
        let mut told = core::mem::take(yes);
        if outcome == Outcome::Abort {
            told.extend(missing.keys().copied());
        }
        let acknowledges = live.presumption.acknowledges(outcome);
        live.phase = Phase::Decided {
            outcome,
            reason: reason.clone(),
            unacknowledged: told.clone(),
        };
        live.rounds = 0;
        effects.cancel_timer(Timer::Votes(transaction));
        self.write_decision(transaction, outcome, &told, effects);
        self.answer(transaction, outcome, &reason, effects);
        self.tell(transaction, None, effects);
        if told.is_empty() || !acknowledges {
            return self.end(transaction);
        }
        let resend = self.config.options().resend;
        effects.set_timer(Timer::Acknowledgements(transaction), resend..=resend * 2);
    }

    /// What a decision costs in records is what the presumptions differ in.
    fn write_decision(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        told: &BTreeSet<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let acknowledges = live.presumption.acknowledges(outcome);
        let record = Record::Decided {
            transaction,
            outcome,
            presumption: live.presumption,
            participants: match acknowledges {
                true => told.iter().copied().collect(),
                false => vec![],
            },
        };
        match (live.presumption, outcome) {
            (Presumption::Abort, Outcome::Abort) => {}
            // Everybody has let go already: nobody will ask.
            (Presumption::Abort, Outcome::Commit) if told.is_empty() => {}
            // Collecting without a commit means abort.
            (Presumption::Commit, Outcome::Abort) => live.at.keep(effects.persist_lazily(record)),
            (Presumption::Commit, Outcome::Commit) if told.is_empty() => {
                effects.persist_lazily(record);
            }
            (Presumption::Abort | Presumption::Commit, Outcome::Commit)
            | (Presumption::Nothing, _) => live.at.keep(effects.persist(record)),
        }
    }

    pub(super) fn answer(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: &AbortReason,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let early = planted!(self.config, WrongEarly);
        for token in live
            .token
            .take()
            .into_iter()
            .chain(live.inquiries.drain(..))
        {
            let event = Event::Ended {
                token,
                transaction,
                outcome,
                reason: reason.clone(),
            };
            if early {
                effects.emit_early(event, Early::QuorumHolds);
            } else {
                effects.emit(event);
            }
        }
        self.counters.ended(outcome);
    }

    /// Tells the decision to one participant, or to all that have not acknowledged it.
    pub(crate) fn tell(
        &mut self,
        transaction: Transaction,
        to: Option<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        let oldest_live = Some(self.coordinator.oldest_live());
        let Some(live) = self.coordinator.live.get(&transaction) else {
            return;
        };
        let Phase::Decided {
            outcome,
            unacknowledged,
            ..
        } = &live.phase
        else {
            return;
        };
        let message = Message::Decision {
            transaction,
            outcome: *outcome,
            presumption: live.presumption,
            oldest_live,
        };
        let nodes: Vec<NodeId> = match to {
            Some(node) => vec![node],
            None => unacknowledged.iter().copied().collect(),
        };
        let early = planted!(self.config, CommitBeforeDisk);
        for node in nodes {
            if early && node != self.config.node() {
                effects.send_early(node, message.clone(), Early::QuorumHolds);
            } else {
                self.post(node, message.clone(), effects);
            }
        }
    }

    pub(crate) fn on_acknowledge(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let live = self.coordinator.live.get_mut(&transaction);
        let Some(Phase::Decided { unacknowledged, .. }) = live.map(|live| &mut live.phase) else {
            return;
        };
        unacknowledged.remove(&from);
        if unacknowledged.is_empty() || planted!(self.config, ForgetsEarly) {
            effects.cancel_timer(Timer::Acknowledgements(transaction));
            effects.persist_lazily(Record::End { transaction });
            self.end(transaction);
        }
    }

    pub(crate) fn on_acknowledgements_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.rounds = live.rounds.saturating_add(1);
        let after = backoff(self.config.options().resend, live.rounds);
        effects.set_timer(Timer::Acknowledgements(transaction), after);
        self.tell(transaction, None, effects);
    }

    /// Nobody will ask who could not be answered by the presumption.
    pub(crate) fn end(&mut self, transaction: Transaction) {
        let live = self.coordinator.live.get(&transaction);
        if let Some(Phase::Decided {
            outcome, reason, ..
        }) = live.map(|live| &live.phase)
        {
            let (outcome, reason) = (*outcome, reason.clone());
            self.forget(transaction, outcome, reason);
        }
    }

    pub(super) fn forget(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
    ) {
        self.coordinator.live.remove(&transaction);
        let max = self.config.options().remembered_max;
        self.coordinator.remember(transaction, outcome, reason, max);
    }
}
