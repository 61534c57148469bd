//! What a log says, and what a node does first when it starts.

use crate::{
    Message, Record, ThreePhase,
    coordinator::Live,
    garbage::At,
    participant::{Effect, Part, State},
};
use alloc::vec::Vec;
use consensus_core::{
    Effects, Lsn,
    contract::atomic_commit::{Event, Outcome, Transaction},
};

// Replay.
impl ThreePhase {
    pub(crate) fn replay(&mut self, lsn: Lsn, record: Record) {
        match record {
            Record::Voted {
                transaction,
                participants,
                redo,
                oldest_live,
            } => {
                self.forget_before(oldest_live, None);
                let part = Part {
                    redo,
                    recovered: true,
                    at: At::new(lsn),
                    ..Part::new(transaction, participants, State::Wait)
                };
                // Written anew, it may stand behind what became of it.
                self.participant.parts.entry(transaction).or_insert(part);
            }
            Record::Elected { transaction, epoch } => {
                if let Some(part) = self.participant.parts.get_mut(&transaction) {
                    part.elected = part.elected.max(epoch);
                }
            }
            Record::Attempted {
                transaction,
                epoch,
                outcome,
            } => {
                if let Some(part) = self.participant.parts.get_mut(&transaction)
                    && part.is_in_doubt()
                    && epoch >= part.attempt
                {
                    part.state = match outcome {
                        Outcome::Commit => State::PreCommitted,
                        Outcome::Abort => State::PreAborted,
                    };
                    part.attempt = epoch;
                    part.elected = part.elected.max(epoch);
                }
            }
            Record::Decided {
                transaction,
                outcome,
                order,
            } => self.replay_decision(transaction, outcome, order),
            Record::Committed {
                transaction,
                participants,
            } => {
                let live = Live::resumed(participants, At::new(lsn));
                self.coordinator.live.insert(transaction, live);
            }
            Record::End { transaction } => {
                self.coordinator.live.remove(&transaction);
            }
            Record::Over {
                transaction,
                participants,
                outcome,
            } => {
                let state = match outcome {
                    Outcome::Commit => State::Committed {
                        order: 0,
                        done: true,
                    },
                    Outcome::Abort => State::Aborted { done: true },
                };
                let part = Part {
                    at: At::new(lsn),
                    ..Part::new(transaction, participants, state)
                };
                self.participant.parts.entry(transaction).or_insert(part);
            }
            Record::Effect {
                transaction,
                order,
                redo,
            } => {
                self.participant.commits = self.participant.commits.max(order);
                let effect = Effect {
                    transaction,
                    redo,
                    done: false,
                    at: At::new(lsn),
                };
                self.participant.redo.entry(order).or_insert(effect);
            }
            Record::Checkpoint { state, open } => {
                let redo = &mut self.participant.redo;
                redo.retain(|_, effect| open.contains(&effect.transaction));
                self.participant.checkpoint = Some((state, At::new(lsn)));
            }
        }
    }

    fn replay_decision(&mut self, transaction: Transaction, outcome: Outcome, order: u64) {
        self.participant.commits = self.participant.commits.max(order);
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        if !part.is_in_doubt() {
            return;
        }
        match outcome {
            Outcome::Commit => {
                part.state = State::Committed { order, done: true };
                let effect = Effect {
                    transaction,
                    redo: part.redo.clone(),
                    done: false,
                    at: part.at,
                };
                self.participant.redo.insert(order, effect);
            }
            Outcome::Abort => part.state = State::Aborted { done: true },
        }
    }
}

// Start.
impl ThreePhase {
    pub(crate) fn start(&mut self, effects: &mut Effects<Self>) {
        self.rebuild_resource(effects);
        let known: Vec<_> = self.participant.parts.keys().copied().collect();
        for transaction in &known {
            // Locks first, before anything is served.
            if let Some(part) = self.participant.parts.get(transaction)
                && part.is_in_doubt()
            {
                effects.emit(Event::Recovered {
                    transaction: *transaction,
                    redo: part.redo.clone(),
                });
            }
        }
        for transaction in known {
            self.wait_for_outcome(transaction, effects);
        }
        let open: Vec<_> = self.coordinator.live.keys().copied().collect();
        for transaction in open {
            self.say_again(transaction, effects);
        }
        let (boot, me) = (self.boot, self.config.node());
        let only = self.config.options().coordinator;
        // Coordinators ask only whom they know to run; everybody learns that a coordinator has failed.
        let members = self.config.members().clone();
        for node in members.others(me) {
            if only.is_none_or(|only| only == node || only == me) {
                effects.send(node, Message::Hello { boot });
            }
        }
    }

    /// The state, then the commits that it does not hold, in their order.
    fn rebuild_resource(&mut self, effects: &mut Effects<Self>) {
        if let Some((state, _)) = &self.participant.checkpoint {
            let state = state.clone();
            effects.emit(Event::Restore { state });
        }
        for (order, effect) in &self.participant.redo {
            let transaction = effect.transaction;
            effects.emit(Event::Commit {
                transaction,
                redo: effect.redo.clone(),
            });
            // Not over before the resource has it.
            if let Some(part) = self.participant.parts.get_mut(&transaction)
                && part.outcome() == Some(Outcome::Commit)
            {
                part.state = State::Committed {
                    order: *order,
                    done: false,
                };
            }
        }
    }
}
