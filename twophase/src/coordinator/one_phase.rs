//! One phase: a single participant decides.

use super::Phase;
use crate::{Message, Timer, TwoPhase};
use bytes::Bytes;
use consensus_core::{
    Early, Effects, Lsn, NodeId,
    contract::atomic_commit::{AbortReason, Outcome, Transaction},
};

impl TwoPhase {
    pub(super) fn delegate(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let oldest_live = self.coordinator.oldest_live();
        let live = self.coordinator.live.get(&transaction);
        if let Some(Phase::Delegated { to, boot, work }) = live.map(|live| &live.phase) {
            let (to, boot, work) = (*to, *boot, work.clone());
            let message = Message::CommitOnePhase {
                transaction,
                work,
                boot,
                oldest_live,
            };
            if to == self.config.node() {
                self.local.push_back(message);
            } else {
                // As for a prepare: the name's boot is on disk.
                effects.send_early(to, message, Early::Authority(Lsn::ZERO));
            }
        }
    }

    pub(crate) fn on_ended(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        outcome: Outcome,
        reason: Bytes,
        effects: &mut Effects<Self>,
    ) {
        let live = self.coordinator.live.get(&transaction);
        let Some(Phase::Delegated { to, .. }) = live.map(|live| &live.phase) else {
            return;
        };
        if *to != from {
            return;
        }
        let reason = match outcome {
            Outcome::Commit => AbortReason::None,
            Outcome::Abort => AbortReason::VotedNo { node: from, reason },
        };
        effects.cancel_timer(Timer::Votes(transaction));
        self.answer(transaction, outcome, &reason, effects);
        self.forget(transaction, outcome, reason);
    }
}
