//! What may be forgotten, in memory and on disk.

use crate::{Message, Record, ThreePhase, Timer, coordinator::Phase, participant::State};
use alloc::{collections::BTreeSet, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Aside, Boot, Effects, Lsn, NodeId,
    contract::atomic_commit::{Outcome, Transaction},
};

/// The place on disk of the oldest record that something needs. Bookkeeping: two states that differ in
/// nothing else behave the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct At(Aside<Option<Lsn>>);

impl At {
    pub(crate) const NONE: Self = Self(Aside(None));

    pub(crate) const fn new(lsn: Lsn) -> Self {
        Self(Aside(Some(lsn)))
    }

    const fn is_none(self) -> bool {
        self.0.0.is_none()
    }

    pub(crate) const fn lsn(self) -> Option<Lsn> {
        self.0.0
    }

    fn is_before(self, before: Lsn) -> bool {
        self.0.is_some_and(|at| at < before)
    }
}

// In memory, while the coordinator that began a transaction runs: it says when everybody has
// acknowledged.
impl ThreePhase {
    /// Whether a question about `transaction` comes too late: it is over everywhere, or its coordinator
    /// has failed since.
    pub(crate) fn is_past(&self, transaction: Transaction) -> bool {
        let coordinator = transaction.coordinator;
        let oldest = self.participant.oldest_live.get(&coordinator);
        oldest.is_some_and(|oldest| transaction < *oldest) || self.is_orphan(transaction)
    }

    fn is_orphan(&self, transaction: Transaction) -> bool {
        let boot = self.boots.get(&transaction.coordinator);
        boot.is_some_and(|boot| *boot > transaction.boot)
    }

    /// Of the run that `oldest_live` was begun in, everything older is over everywhere.
    pub(crate) fn forget_before(
        &mut self,
        oldest_live: Transaction,
        effects: Option<&mut Effects<Self>>,
    ) {
        let known = &mut self.participant.oldest_live;
        let known = known.entry(oldest_live.coordinator).or_insert(oldest_live);
        *known = oldest_live.max(*known);
        let first = Transaction {
            sequence: 0,
            ..oldest_live
        };
        let parts = self.participant.parts.range(first..oldest_live);
        let past = parts.filter(|(_, part)| part.is_over());
        let past: Vec<_> = past.map(|(transaction, _)| *transaction).collect();
        for transaction in &past {
            self.participant.parts.remove(transaction);
        }
        if let Some(effects) = effects {
            for transaction in past {
                effects.cancel_timer(Timer::Participant(transaction));
            }
        }
    }

    pub(crate) fn drop_past(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let oldest = self.participant.oldest_live.get(&transaction.coordinator);
        let same_run = oldest.is_some_and(|o| o.boot == transaction.boot && transaction < *o);
        if same_run {
            self.forget(transaction, effects);
        }
    }

    fn forget(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        self.participant.parts.remove(&transaction);
        effects.cancel_timer(Timer::Participant(transaction));
    }
}

// In memory, when that coordinator has failed: participants ask each other.
impl ThreePhase {
    /// Tries to forget what is over here.
    pub(crate) fn settle(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let (orphan, me) = (self.is_orphan(transaction), self.config.node());
        let boot = self.boots.get(&transaction.coordinator).copied();
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        if part.at.is_none() && part.is_over() && orphan {
            // It never voted, and is not asked any more.
            return self.forget(transaction, effects);
        }
        if !orphan {
            // Its coordinator will say, or come back in a new run.
            if transaction.coordinator != me {
                effects.send(transaction.coordinator, Message::Greet {});
            }
        } else if let Some(boot) = boot
            && let Some(outcome) = part.outcome()
        {
            let others = part.others(me);
            let settling = part
                .settling
                .get_or_insert_with(|| others.into_iter().collect::<BTreeSet<_>>());
            let silent: Vec<_> = settling.iter().copied().collect();
            if silent.is_empty() && part.is_over() {
                return self.forget(transaction, effects);
            }
            for node in silent {
                let message = Message::Settle {
                    transaction,
                    outcome,
                    boot,
                };
                effects.send(node, message);
            }
        }
        self.wait_for_outcome(transaction, effects);
    }

    pub(crate) fn on_settle(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        outcome: Outcome,
        boot: Boot,
        effects: &mut Effects<Self>,
    ) {
        // What a node says of itself counts for itself only.
        if transaction.coordinator != self.config.node() {
            self.note_boot(transaction.coordinator, boot);
        }
        match self.participant.parts.get(&transaction) {
            Some(part) if part.outcome().is_none() => {
                self.on_decision(transaction, outcome, effects);
            }
            Some(part) if !part.is_over() => {}
            Some(_) | None => self.post(from, Message::Settled { transaction }, effects),
        }
    }

    pub(crate) fn on_settled(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let over = part.is_over();
        if let Some(settling) = &mut part.settling {
            settling.remove(&from);
            if settling.is_empty() && over {
                self.forget(transaction, effects);
            }
        }
    }
}

// On disk.
impl ThreePhase {
    /// The resource's state as it is now: what it covers is never told again.
    pub(crate) fn on_checkpoint(&mut self, state: Bytes, effects: &mut Effects<Self>) {
        self.participant.redo.retain(|_, effect| !effect.done);
        let open = self.open();
        let at = At::new(effects.persist_lazily(Record::Checkpoint {
            state: state.clone(),
            open,
        }));
        self.participant.checkpoint = Some((state, at));
    }

    fn open(&self) -> Vec<Transaction> {
        let open = self.participant.redo.values();
        open.map(|effect| effect.transaction).collect()
    }

    /// Writes anew what lives below `before`, a few records a call, and lets go of the rest when
    /// nothing is left.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let mut left = self.config.options().reclaim_step;
        let open = self.open();
        if let Some((state, at)) = &mut self.participant.checkpoint
            && at.is_before(before)
        {
            let state = state.clone();
            *at = At::new(effects.persist_lazily(Record::Checkpoint { state, open }));
        }
        let done = self.rewrite_commits(before, &mut left, effects)
            && self.rewrite_parts(before, &mut left, effects)
            && self.rewrite_effects(before, &mut left, effects);
        if done {
            effects.release(before);
        }
    }

    fn rewrite_commits(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        for (transaction, live) in &mut self.coordinator.live {
            let Phase::Decided { unacknowledged, .. } = &live.phase else {
                continue;
            };
            if live.at.is_before(before) {
                if !spend(left) {
                    return false;
                }
                live.at = At::new(effects.persist_lazily(Record::Committed {
                    transaction: *transaction,
                    participants: unacknowledged.iter().copied().collect(),
                }));
            }
        }
        true
    }

    fn rewrite_parts(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        for (transaction, part) in &mut self.participant.parts {
            if !part.at.is_before(before) {
                continue;
            }
            if !spend(left) {
                return false;
            }
            let (transaction, participants) = (*transaction, part.participants.clone());
            if let Some(outcome) = part.outcome() {
                // What it did stands in an effect of its own, or in the checkpoint.
                part.at = At::new(effects.persist_lazily(Record::Over {
                    transaction,
                    participants,
                    outcome,
                }));
                continue;
            }
            part.at = At::new(effects.persist_lazily(Record::Voted {
                transaction,
                participants,
                redo: part.redo.clone(),
                // Nothing is older.
                oldest_live: Transaction {
                    sequence: 0,
                    ..transaction
                },
            }));
            let outcome = match part.state {
                State::PreCommitted => Some(Outcome::Commit),
                State::PreAborted => Some(Outcome::Abort),
                _ => None,
            };
            if let Some(outcome) = outcome {
                let epoch = part.attempt;
                effects.persist_lazily(Record::Attempted {
                    transaction,
                    epoch,
                    outcome,
                });
            }
            let epoch = part.elected;
            effects.persist_lazily(Record::Elected { transaction, epoch });
        }
        true
    }

    fn rewrite_effects(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        for (order, effect) in &mut self.participant.redo {
            if !effect.at.is_before(before) {
                continue;
            }
            if !spend(left) {
                return false;
            }
            effect.at = At::new(effects.persist_lazily(Record::Effect {
                transaction: effect.transaction,
                order: *order,
                redo: effect.redo.clone(),
            }));
        }
        true
    }
}

fn spend(left: &mut usize) -> bool {
    let has = *left > 0;
    *left = left.saturating_sub(1);
    has
}
