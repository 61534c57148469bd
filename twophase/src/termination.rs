//! Termination: what a participant in doubt does, and what an operator may do for it.

use crate::{
    Message, Presumption, Record, Timer, TwoPhase,
    config::backoff,
    garbage::At,
    participant::{Effect, Part, State, next_order},
};
use alloc::vec::Vec;
use consensus_core::{
    Boot, Effects, NodeId,
    contract::atomic_commit::{Event, Outcome, Transaction},
};

/// Inquiries after which a participant says that it is blocked.
const PATIENCE: u32 = 3;

// In doubt.
impl TwoPhase {
    pub(crate) fn inquire_later(
        &self,
        transaction: Transaction,
        round: u32,
        effects: &mut Effects<Self>,
    ) {
        let after = backoff(self.config.options().inquire, round);
        effects.set_timer(Timer::Outcome(transaction), after);
    }

    pub(crate) fn on_outcome_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let (State::Prepared(doubt) | State::ByHand { doubt, .. }) = &mut part.state else {
            return;
        };
        doubt.rounds = doubt.rounds.saturating_add(1);
        let rounds = doubt.rounds;
        if planted!(self.config, InDoubtTimesOut)
            && rounds > 1
            && matches!(part.state, State::Prepared(_))
        {
            return self.abort(transaction, effects);
        }
        if rounds == PATIENCE {
            let waiting_for = self.waiting_for(transaction);
            effects.emit(Event::Blocked {
                transaction,
                waiting_for,
            });
        }
        self.inquire(transaction, rounds > 1, effects);
        self.inquire_later(transaction, rounds, effects);
    }

    /// Asks the coordinator, and `everybody` else who was asked to prepare.
    pub(crate) fn inquire(
        &mut self,
        transaction: Transaction,
        everybody: bool,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get(&transaction) else {
            return;
        };
        let (me, coordinator) = (self.config.node(), transaction.coordinator);
        let presumption = part.presumption;
        let mut asked: Vec<(NodeId, Boot)> = part.participants.clone();
        asked.retain(|(node, _)| everybody && *node != me && *node != coordinator);
        asked.insert(0, (coordinator, part.boot_of(coordinator)));
        for (node, boot) in asked {
            let message = Message::Inquire {
                transaction,
                presumption,
                boot,
            };
            self.post(node, message, effects);
        }
    }

    pub(crate) fn on_inquire(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        presumption: Presumption,
        boot: Boot,
        effects: &mut Effects<Self>,
    ) {
        if transaction.coordinator == self.config.node() {
            return self.on_participant_inquires(from, transaction, presumption, effects);
        }
        let undecided = Message::Undecided { transaction };
        let state = self
            .participant
            .parts
            .get(&transaction)
            .map(|part| &part.state);
        let outcome = match state {
            Some(State::Committed { .. }) => Outcome::Commit,
            // Without this vote nobody can commit.
            Some(State::Aborted { .. } | State::Refused { .. }) => Outcome::Abort,
            // Not voted: it aborts now, and never votes for it.
            Some(State::Working { one_phase: false }) => {
                self.renounce(transaction, presumption, effects);
                Outcome::Abort
            }
            None if self.never_voted(transaction, boot) => {
                self.renounce(transaction, presumption, effects);
                Outcome::Abort
            }
            // A decision by hand is nobody else's truth.
            Some(State::Prepared(_) | State::ByHand { .. })
            | Some(State::ReadOnly | State::Working { .. })
            | None => return self.post(from, undecided, effects),
        };
        let message = Message::Decision {
            transaction,
            outcome,
            presumption,
            oldest_live: None,
        };
        self.post(from, message, effects);
    }

    /// Without a record, only the very run that was asked to prepare knows that it has not voted:
    /// another may have voted read-only, or have committed, acknowledged and forgotten. So may this one
    /// where the coordinator has moved on.
    fn never_voted(&self, transaction: Transaction, boot: Boot) -> bool {
        planted!(self.config, AmnesiacVoter) || (boot == self.boot && !self.is_past(transaction))
    }

    /// Aborts what was not voted for. Forced before anybody is told.
    fn renounce(
        &mut self,
        transaction: Transaction,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        let done = !self.participant.parts.contains_key(&transaction);
        let part = Part {
            presumption,
            participants: Vec::new(),
            state: State::Aborted { done },
        };
        self.participant.parts.insert(transaction, part);
        effects.persist(Record::Aborted { transaction });
        if !done {
            effects.emit(Event::Abort { transaction });
        }
    }

    pub(crate) fn on_undecided(&mut self, from: NodeId, transaction: Transaction) {
        let part = self.participant.parts.get_mut(&transaction);
        if let Some(State::Prepared(doubt) | State::ByHand { doubt, .. }) =
            part.map(|part| &mut part.state)
            && !doubt.undecided.contains(&from)
            && self.config.members().contains(from)
        {
            doubt.undecided.push(from);
        }
    }

    /// Whose word would end it: the coordinator's, and that of everybody who has not said that it does
    /// not know.
    pub(crate) fn waiting_for(&self, transaction: Transaction) -> Vec<NodeId> {
        let mut nodes = alloc::vec![transaction.coordinator];
        let Some(part) = self.participant.parts.get(&transaction) else {
            return nodes;
        };
        let (State::Prepared(doubt) | State::ByHand { doubt, .. }) = &part.state else {
            return nodes;
        };
        let me = self.config.node();
        let others = part.participants.iter().map(|(node, _)| *node);
        nodes.extend(others.filter(|node| {
            *node != me && *node != transaction.coordinator && !doubt.undecided.contains(node)
        }));
        nodes
    }

    pub(crate) fn in_doubt(&self) -> Vec<(Transaction, Vec<NodeId>)> {
        let parts = self.participant.parts.iter();
        parts
            .filter(|(_, part)| part.is_in_doubt())
            .map(|(transaction, _)| (*transaction, self.waiting_for(*transaction)))
            .collect()
    }
}

// By hand.
impl TwoPhase {
    pub(crate) fn on_decide_by_hand(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        // Only a participant in doubt has anything to decide.
        let State::Prepared(doubt) = &mut part.state else {
            return;
        };
        let (redo, doubt) = (doubt.redo.clone(), core::mem::take(doubt));
        let prepared = doubt.at;
        let order = match outcome {
            Outcome::Commit => next_order(&mut self.participant.commits),
            Outcome::Abort => 0,
        };
        part.state = State::ByHand {
            outcome,
            order,
            doubt,
        };
        effects.persist(Record::ByHand {
            transaction,
            outcome,
            order,
        });
        match outcome {
            Outcome::Commit => {
                let effect = Effect {
                    transaction,
                    redo: redo.clone(),
                    done: false,
                    wrong: false,
                    at: prepared,
                };
                self.participant.redo.insert(order, effect);
                self.participant.by_hand.insert(transaction, order);
                effects.emit(Event::Commit { transaction, redo });
            }
            Outcome::Abort => effects.emit(Event::Abort { transaction }),
        }
    }

    /// The true outcome of what was decided by hand.
    pub(crate) fn learn_truth(
        &mut self,
        transaction: Transaction,
        truth: Outcome,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let State::ByHand { outcome, order, .. } = part.state else {
            return;
        };
        let presumption = part.presumption;
        part.state = match truth {
            Outcome::Commit => State::Committed {
                order,
                one_phase: false,
                done: true,
                at: At::NONE,
            },
            Outcome::Abort => State::Aborted { done: true },
        };
        effects.cancel_timer(Timer::Outcome(transaction));
        if truth == Outcome::Abort {
            self.participant.contradict(transaction);
        }
        if outcome == truth {
            let record = match truth {
                Outcome::Commit => Record::Committed {
                    transaction,
                    order,
                    redo: None,
                },
                Outcome::Abort => Record::Aborted { transaction },
            };
            effects.persist(record);
        } else {
            let at = At::new(effects.persist(Record::Damage {
                transaction,
                by_hand: outcome,
                truth,
            }));
            self.participant
                .damage
                .insert(transaction, (outcome, truth, at));
            effects.emit(Event::Damage {
                transaction,
                by_hand: outcome,
                truth,
            });
        }
        self.acknowledge(transaction, truth, presumption, effects);
        self.drop_past(transaction);
    }

    /// After a restart of the resource: whatever it holds that has no record here was never voted for.
    pub(crate) fn on_found_prepared(
        &mut self,
        transactions: Vec<Transaction>,
        effects: &mut Effects<Self>,
    ) {
        for transaction in transactions {
            let part = self.participant.parts.get(&transaction);
            let effect = self.participant.redo.values();
            let mut effect = effect.filter(|effect| effect.transaction == transaction);
            match (part.map(|part| &part.state), effect.next()) {
                (_, Some(effect)) => {
                    let redo = effect.redo.clone();
                    effects.emit(Event::Commit { transaction, redo });
                }
                (None | Some(State::Aborted { .. } | State::Refused { .. }), None) => {
                    effects.emit(Event::Abort { transaction });
                }
                // A hand has aborted it, and the resource has not carried that out.
                (Some(_), None) if self.participant.was_aborted_by_hand(transaction) => {
                    effects.emit(Event::Abort { transaction });
                }
                // It is asked for right now, in doubt, or done.
                (Some(_), None) => {}
            }
        }
    }
}
