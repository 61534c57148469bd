//! What may be forgotten, in memory and on disk.

use crate::{
    Record, TwoPhase,
    coordinator::Phase,
    participant::{Part, Participant, State},
};
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{Aside, Boot, Effects, Lsn, contract::atomic_commit::Transaction};

/// The place on disk of the oldest record that something needs. Bookkeeping: two states that differ in
/// nothing else behave the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct At(Aside<Option<Lsn>>);

impl At {
    pub(crate) const NONE: Self = Self(Aside(None));

    pub(crate) const fn new(lsn: Lsn) -> Self {
        Self(Aside(Some(lsn)))
    }

    /// `lsn` is needed too.
    pub(crate) fn keep(&mut self, lsn: Lsn) {
        self.0 = Aside(Some(self.0.map_or(lsn, |at| at.min(lsn))));
    }

    fn is_before(self, before: Lsn) -> bool {
        self.0.is_some_and(|at| at < before)
    }
}

// In memory.
impl TwoPhase {
    /// Whether the coordinator of `transaction` is known to have moved on.
    pub(crate) fn is_past(&self, transaction: Transaction) -> bool {
        let oldest = self.participant.oldest_live.get(&transaction.coordinator);
        oldest.is_some_and(|oldest| transaction < *oldest)
    }

    /// The coordinator of `oldest_live` knows nothing before it: what was remembered for its sake goes.
    pub(crate) fn forget_before(&mut self, oldest_live: Transaction) {
        if planted!(self.config, LatePrepare) {
            return;
        }
        let coordinator = oldest_live.coordinator;
        let known = &mut self.participant.oldest_live;
        let known = known.entry(coordinator).or_insert(oldest_live);
        *known = oldest_live.max(*known);
        let first = Transaction {
            boot: Boot(0),
            sequence: 0,
            ..oldest_live
        };
        let past: Vec<_> = self
            .participant
            .parts
            .range(first..oldest_live)
            .filter(|(_, part)| part.is_over())
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in past {
            self.participant.parts.remove(&transaction);
        }
    }

    /// As [`Self::forget_before`], for one transaction that has just come to its end.
    pub(crate) fn drop_past(&mut self, transaction: Transaction) {
        let over = |part: &Part| part.is_over();
        if self.is_past(transaction) && self.participant.parts.get(&transaction).is_some_and(over) {
            self.participant.parts.remove(&transaction);
        }
    }

    /// The resource's state as it is now: what it covers is never told again.
    pub(crate) fn on_checkpoint(&mut self, state: Bytes, effects: &mut Effects<Self>) {
        let participant = &mut self.participant;
        let redo = &mut participant.redo;
        redo.retain(|_, effect| !effect.done);
        participant
            .by_hand
            .retain(|_, order| redo.contains_key(order));
        let open = self.participant.open();
        let at = At::new(effects.persist_lazily(Record::Checkpoint {
            state: state.clone(),
            open,
        }));
        self.participant.checkpoint = Some((state, at));
    }
}

impl Participant {
    fn open(&self) -> Vec<Transaction> {
        let open = self.redo.values();
        open.map(|effect| effect.transaction).collect()
    }
}

impl Part {
    const fn is_over(&self) -> bool {
        match self.state {
            State::Refused { .. } | State::ReadOnly => true,
            State::Committed { done, .. } | State::Aborted { done } => done,
            State::Working { .. } | State::Prepared(_) | State::ByHand { .. } => false,
        }
    }
}

// On disk.
impl TwoPhase {
    /// Writes anew what lives below `before`, a few records a call, and lets go of the rest when
    /// nothing is left.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let mut left = self.config.options().reclaim_step;
        let done = self.rewrite_decisions(before, &mut left, effects)
            && self.rewrite_doubts(before, &mut left, effects)
            && self.rewrite_outcomes(before, &mut left, effects)
            && self.rewrite_effects(before, &mut left, effects);
        if done {
            effects.release(before);
        }
    }

    fn rewrite_decisions(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        for (transaction, live) in &mut self.coordinator.live {
            if !live.at.is_before(before) {
                continue;
            }
            let record = match &live.phase {
                Phase::Collecting { participants, .. } => Record::Collecting {
                    transaction: *transaction,
                    participants: participants.iter().map(|(node, _)| *node).collect(),
                },
                Phase::Decided {
                    outcome,
                    unacknowledged,
                    ..
                } => Record::Decided {
                    transaction: *transaction,
                    outcome: *outcome,
                    presumption: live.presumption,
                    participants: unacknowledged.iter().copied().collect(),
                },
                Phase::Greeting { .. } | Phase::Delegated { .. } => continue,
            };
            if !spend(left) {
                return false;
            }
            live.at = At::new(effects.persist_lazily(record));
        }
        true
    }

    fn rewrite_doubts(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        let Participant { parts, redo, .. } = &mut self.participant;
        for (transaction, part) in parts {
            let transaction = *transaction;
            let by_hand = match part.state {
                State::ByHand { outcome, order, .. } => Some((outcome, order)),
                _ => None,
            };
            let (State::Prepared(doubt) | State::ByHand { doubt, .. }) = &mut part.state else {
                continue;
            };
            if !doubt.at.is_before(before) {
                continue;
            }
            if !spend(left) {
                return false;
            }
            doubt.at = At::new(effects.persist_lazily(Record::Prepared {
                transaction,
                presumption: part.presumption,
                participants: part.participants.clone(),
                redo: doubt.redo.clone(),
            }));
            if let Some((outcome, order)) = by_hand {
                effects.persist_lazily(Record::ByHand {
                    transaction,
                    outcome,
                    // Without one, its resource is not told again: it holds this commit already.
                    order: if redo.contains_key(&order) { order } else { 0 },
                });
            }
        }
        true
    }

    /// What hands did wrong and nobody has seen, and what was decided here and its coordinator, which
    /// knows nothing of the outcome but from here, may ask for.
    fn rewrite_outcomes(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        for (transaction, (by_hand, truth, at)) in &mut self.participant.damage {
            if at.is_before(before) {
                *at = At::new(effects.persist_lazily(Record::Damage {
                    transaction: *transaction,
                    by_hand: *by_hand,
                    truth: *truth,
                }));
            }
        }
        let Participant { parts, redo, .. } = &mut self.participant;
        for (transaction, part) in parts {
            let State::Committed {
                one_phase: true,
                order,
                at,
                ..
            } = &mut part.state
            else {
                continue;
            };
            // What has an effect is written anew with that.
            if !at.is_before(before) || redo.contains_key(order) {
                continue;
            }
            if !spend(left) {
                return false;
            }
            *at = At::new(effects.persist_lazily(Record::Committed {
                transaction: *transaction,
                order: *order,
                redo: None,
            }));
        }
        true
    }

    fn rewrite_effects(
        &mut self,
        before: Lsn,
        left: &mut usize,
        effects: &mut Effects<Self>,
    ) -> bool {
        let open = self.participant.open();
        if let Some((state, at)) = &mut self.participant.checkpoint
            && at.is_before(before)
        {
            // All that is open now: what came after the old one is written behind it anyhow.
            *at = At::new(effects.persist_lazily(Record::Checkpoint {
                state: state.clone(),
                open,
            }));
        }
        let Participant { parts, redo, .. } = &mut self.participant;
        for (order, effect) in redo {
            if !effect.at.is_before(before) {
                continue;
            }
            let transaction = effect.transaction;
            if let Some(State::ByHand { doubt, .. }) = parts.get(&transaction).map(|p| &p.state) {
                // Nobody knows yet whether it is right: what the hand did says all there is to say.
                effect.at = doubt.at;
                continue;
            }
            if !spend(left) {
                return false;
            }
            effect.at = At::NONE;
            if effect.wrong {
                // Read back, the commit alone would say that it was right.
                let aborted = Record::Aborted { transaction };
                effect.at.keep(effects.persist_lazily(aborted));
            }
            effect.at.keep(effects.persist_lazily(Record::Committed {
                transaction,
                order: *order,
                redo: Some(effect.redo.clone()),
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
