//! What a coordinator answers to those who ask for an outcome: participants in doubt, and clients.

use super::{Live, Phase};
use crate::{Ballot, Message, Presumption, TwoPhase};
use consensus_core::{
    Effects, NodeId, Token,
    contract::atomic_commit::{AbortReason, Event, Reason, Transaction},
};

/// Clients that may wait for the outcome of one transaction, besides the one that began it.
const INQUIRIES_MAX: usize = 64;

impl TwoPhase {
    /// A participant in doubt asks its coordinator.
    pub(crate) fn on_participant_inquires(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        match self
            .coordinator
            .live
            .get(&transaction)
            .map(|live| &live.phase)
        {
            // Only who has voted yes inquires.
            Some(Phase::Collecting { .. }) => {
                let boot = self.boots.get(&from).copied().unwrap_or_default();
                self.on_vote(from, transaction, Ballot::Yes, boot, effects);
            }
            Some(Phase::Decided { .. }) => self.tell(transaction, Some(from), effects),
            Some(Phase::Greeting { .. } | Phase::Delegated { .. }) => {}
            None if transaction > self.coordinator.newest => {
                self.counters.refused.foreign_transactions += 1;
            }
            // No record: the presumption is the answer.
            None => {
                let message = Message::Decision {
                    transaction,
                    outcome: presumption.presumed(),
                    presumption,
                    oldest_live: Some(self.coordinator.oldest_live()),
                };
                self.post(from, message, effects);
            }
        }
    }

    pub(crate) fn on_client_inquires(
        &mut self,
        token: Token,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let known = match self.coordinator.live.get_mut(&transaction) {
            Some(Live {
                phase: Phase::Decided {
                    outcome, reason, ..
                },
                ..
            }) => Some((*outcome, reason.clone())),
            Some(live) if live.inquiries.len() >= INQUIRIES_MAX => {
                let reason = Reason::Busy;
                return effects.emit(Event::Rejected { token, reason });
            }
            Some(live) => return live.inquiries.push(token),
            None => self.coordinator.remembered.get(&transaction).cloned(),
        };
        let presumes = planted!(self.config, PresumesForClients);
        let presumed = (
            self.config.options().presumption.presumed(),
            AbortReason::Recovery,
        );
        effects.emit(match known.or(presumes.then_some(presumed)) {
            Some((outcome, reason)) => Event::Ended {
                token,
                transaction,
                outcome,
                reason,
            },
            // The presumption answers participants in doubt, and nobody else.
            None => Event::Forgotten { token, transaction },
        });
    }
}
