//! One phase: the only participant decides at once, and is the only one who remembers.

use crate::{
    Message, Record, TwoPhase,
    garbage::At,
    participant::{State, next_order},
};
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Boot, Effects,
    contract::atomic_commit::{Outcome, Transaction, Vote},
};

impl TwoPhase {
    pub(crate) fn on_commit_one_phase(
        &mut self,
        transaction: Transaction,
        work: Bytes,
        boot: Boot,
        effects: &mut Effects<Self>,
    ) {
        let ended = match self
            .participant
            .parts
            .get(&transaction)
            .map(|part| &part.state)
        {
            Some(State::Committed { done: true, .. } | State::ReadOnly) => {
                Some((Outcome::Commit, Bytes::new()))
            }
            Some(State::Refused { reason }) => Some((Outcome::Abort, reason.clone())),
            Some(State::Aborted { .. }) => Some((Outcome::Abort, Bytes::new())),
            // Its answer will come, or what it says cannot be.
            Some(_) => None,
            None if self.is_past(transaction) => None,
            // Not on disk, so not committed; and this run takes only what it is asked itself, which the
            // coordinator has to know.
            None if boot != self.boot => {
                let boot = self.boot;
                self.post(transaction.coordinator, Message::Hello { boot }, effects);
                Some((Outcome::Abort, Bytes::from_static(b"restarted")))
            }
            None => {
                let (participants, presumption) = (Vec::new(), self.config.options().presumption);
                let state = State::Working { one_phase: true };
                self.begin_working(transaction, work, participants, presumption, state, effects);
                None
            }
        };
        if let Some((outcome, reason)) = ended {
            self.report_end(transaction, outcome, reason, effects);
        }
    }

    /// The decision is this participant's, and its record is the decision.
    pub(crate) fn decide_alone(
        &mut self,
        transaction: Transaction,
        vote: Vote,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        match vote {
            Vote::Yes { redo } => {
                let order = next_order(&mut self.participant.commits);
                let at = At::new(effects.persist(Record::Committed {
                    transaction,
                    order,
                    redo: Some(redo.clone()),
                }));
                part.state = State::Committed {
                    order,
                    one_phase: true,
                    done: false,
                    at,
                };
                self.carry_out(transaction, order, redo, at, effects);
            }
            Vote::ReadOnly => {
                part.state = State::ReadOnly;
                self.report_end(transaction, Outcome::Commit, Bytes::new(), effects);
            }
            Vote::No { reason } => {
                part.state = State::Refused {
                    reason: reason.clone(),
                };
                self.report_end(transaction, Outcome::Abort, reason, effects);
            }
        }
    }

    pub(crate) fn report_end(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: Bytes,
        effects: &mut Effects<Self>,
    ) {
        let message = Message::Ended {
            transaction,
            outcome,
            reason,
        };
        self.post(transaction.coordinator, message, effects);
    }
}
