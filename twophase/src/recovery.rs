//! What a log says, and what a node does first when it starts.

use crate::{
    Message, Presumption, Record, Timer, TwoPhase,
    coordinator::{Live, Phase},
    garbage::At,
    participant::{Doubt, Effect, Part, State},
};
use alloc::vec::Vec;
use consensus_core::{
    Boot, Effects, Lsn, NodeId,
    contract::atomic_commit::{AbortReason, Event, Outcome, Transaction},
};

// Replay.
impl TwoPhase {
    pub(crate) fn replay(&mut self, lsn: Lsn, record: Record) {
        match record {
            Record::Collecting {
                transaction,
                participants,
            } => {
                // Collecting without a commit means abort.
                let (presumption, outcome) = (Presumption::Commit, Outcome::Abort);
                self.replay_decision(lsn, transaction, presumption, outcome, participants);
            }
            Record::Decided {
                transaction,
                outcome,
                presumption,
                participants,
            } => self.replay_decision(lsn, transaction, presumption, outcome, participants),
            Record::End { transaction } => {
                self.coordinator.live.remove(&transaction);
            }
            Record::Prepared {
                transaction,
                presumption,
                participants,
                redo,
            } => self.replay_prepared(lsn, transaction, presumption, participants, redo),
            Record::Committed {
                transaction,
                order,
                redo,
            } => self.replay_committed(lsn, transaction, order, redo),
            Record::Aborted { transaction } => {
                let part = self.part(transaction);
                part.state = State::Aborted { done: true };
                self.participant.contradict(transaction);
            }
            Record::ByHand {
                transaction,
                outcome,
                order,
            } => self.replay_by_hand(transaction, outcome, order),
            Record::Damage {
                transaction,
                by_hand,
                truth,
            } => {
                self.part(transaction).state = match truth {
                    Outcome::Commit => State::Committed {
                        order: 0,
                        one_phase: false,
                        done: true,
                        at: At::NONE,
                    },
                    Outcome::Abort => State::Aborted { done: true },
                };
                if truth == Outcome::Abort {
                    self.participant.contradict(transaction);
                }
                let damage = (by_hand, truth, At::new(lsn));
                self.participant.damage.insert(transaction, damage);
            }
            Record::Seen { transaction } => {
                self.participant.damage.remove(&transaction);
            }
            Record::Checkpoint { state, open } => {
                let participant = &mut self.participant;
                let redo = &mut participant.redo;
                redo.retain(|_, effect| open.contains(&effect.transaction));
                let by_hand = &mut participant.by_hand;
                by_hand.retain(|_, order| redo.contains_key(order));
                self.participant.checkpoint = Some((state, At::new(lsn)));
            }
        }
    }

    fn replay_decision(
        &mut self,
        lsn: Lsn,
        transaction: Transaction,
        presumption: Presumption,
        outcome: Outcome,
        participants: Vec<NodeId>,
    ) {
        if participants.is_empty() {
            // Nobody will ask who could not be answered by the presumption.
            self.coordinator.live.remove(&transaction);
            return;
        }
        let mut at = At::new(lsn);
        if let Some(live) = self.coordinator.live.get(&transaction) {
            at = live.at;
        }
        let live = Live {
            presumption,
            phase: Phase::Decided {
                outcome,
                reason: match outcome {
                    Outcome::Commit => AbortReason::None,
                    Outcome::Abort => AbortReason::Recovery,
                },
                unacknowledged: participants.into_iter().collect(),
            },
            token: None,
            inquiries: Vec::new(),
            rounds: 0,
            at,
        };
        self.coordinator.live.insert(transaction, live);
    }

    fn part(&mut self, transaction: Transaction) -> &mut Part {
        let presumption = self.config.options().presumption;
        let part = self.participant.parts.entry(transaction);
        part.or_insert_with(|| Part {
            presumption,
            participants: Vec::new(),
            state: State::Aborted { done: true },
        })
    }

    fn replay_prepared(
        &mut self,
        lsn: Lsn,
        transaction: Transaction,
        presumption: Presumption,
        participants: Vec<(NodeId, Boot)>,
        redo: bytes::Bytes,
    ) {
        // Written anew, it may stand behind what became of it.
        if self.participant.parts.contains_key(&transaction) {
            return;
        }
        let doubt = Doubt {
            redo,
            at: At::new(lsn),
            ..Doubt::default()
        };
        let part = Part {
            presumption,
            participants,
            state: State::Prepared(doubt),
        };
        self.participant.parts.insert(transaction, part);
    }

    fn replay_committed(
        &mut self,
        lsn: Lsn,
        transaction: Transaction,
        order: u64,
        redo: Option<bytes::Bytes>,
    ) {
        self.participant.commits = self.participant.commits.max(order);
        let rewritten = redo.is_some();
        let state = self
            .participant
            .parts
            .get(&transaction)
            .map(|part| &part.state);
        // An abort before it is the truth about a hand that had committed.
        let wrong = matches!(state, Some(State::Aborted { .. }));
        let (found, one_phase) = match state {
            Some(State::Prepared(doubt)) => (Some((doubt.redo.clone(), doubt.at)), false),
            Some(State::ByHand { .. }) => (None, false),
            // No prepared record: as far as its log still tells, this participant decided.
            _ => (redo.map(|redo| (redo, At::new(lsn))), true),
        };
        if !wrong && !self.participant.damage.contains_key(&transaction) {
            self.part(transaction).state = State::Committed {
                order,
                one_phase,
                done: true,
                at: At::new(lsn),
            };
        }
        if let Some((redo, at)) = found {
            let effect = Effect {
                transaction,
                redo,
                done: false,
                wrong,
                at,
            };
            self.participant.redo.entry(order).or_insert(effect);
            if rewritten {
                // Written anew, it may be the last trace of a commit by hand; an abort stands before it if
                // that was wrong.
                self.participant.by_hand.insert(transaction, order);
            }
        }
    }

    fn replay_by_hand(&mut self, transaction: Transaction, outcome: Outcome, order: u64) {
        self.participant.commits = self.participant.commits.max(order);
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let State::Prepared(doubt) = &mut part.state else {
            return;
        };
        let doubt = core::mem::take(doubt);
        // Without an order its resource needs it no more.
        if outcome == Outcome::Commit && order > 0 {
            let effect = Effect {
                transaction,
                redo: doubt.redo.clone(),
                done: false,
                wrong: false,
                at: doubt.at,
            };
            self.participant.redo.insert(order, effect);
            self.participant.by_hand.insert(transaction, order);
        }
        part.state = State::ByHand {
            outcome,
            order,
            doubt,
        };
    }
}

// Start.
impl TwoPhase {
    pub(crate) fn start(&mut self, effects: &mut Effects<Self>) {
        self.rebuild_resource(effects);
        self.resume_doubts(effects);
        self.resume_decisions(effects);
        self.introduce(effects);
        for (transaction, (by_hand, truth, _)) in &self.participant.damage {
            effects.emit(Event::Damage {
                transaction: *transaction,
                by_hand: *by_hand,
                truth: *truth,
            });
        }
    }

    /// The state, then the commits that it does not hold, in their order.
    fn rebuild_resource(&mut self, effects: &mut Effects<Self>) {
        if let Some((state, _)) = &self.participant.checkpoint {
            let state = state.clone();
            effects.emit(Event::Restore { state });
        }
        for effect in self.participant.redo.values() {
            effects.emit(Event::Commit {
                transaction: effect.transaction,
                redo: effect.redo.clone(),
            });
            // Not over before the resource has it: it may have to be told again.
            if let Some(part) = self.participant.parts.get_mut(&effect.transaction)
                && let State::Committed { done, .. } = &mut part.state
            {
                *done = false;
            }
        }
    }

    /// Locks first, before anything is served; then the question.
    fn resume_doubts(&mut self, effects: &mut Effects<Self>) {
        let parts = self.participant.parts.iter();
        let doubts: Vec<_> = parts
            .filter(|(_, part)| part.is_in_doubt())
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in &doubts {
            let part = self.participant.parts.get(transaction);
            if let Some(State::Prepared(doubt)) = part.map(|part| &part.state) {
                effects.emit(Event::Recovered {
                    transaction: *transaction,
                    redo: doubt.redo.clone(),
                });
            }
        }
        for transaction in doubts {
            self.inquire(transaction, false, effects);
            self.inquire_later(transaction, 0, effects);
        }
    }

    /// Decisions that somebody may not have heard of.
    fn resume_decisions(&mut self, effects: &mut Effects<Self>) {
        let open: Vec<_> = self.coordinator.live.keys().copied().collect();
        for transaction in open {
            self.tell(transaction, None, effects);
            let resend = self.config.options().resend;
            effects.set_timer(Timer::Acknowledgements(transaction), resend..=resend * 2);
        }
    }

    /// Coordinators ask only whom they know to run.
    fn introduce(&mut self, effects: &mut Effects<Self>) {
        let boot = self.boot;
        let coordinator = self.config.options().coordinator;
        let members = self.config.members().clone();
        for node in members.others(self.config.node()) {
            if coordinator.is_none_or(|coordinator| coordinator == node) {
                effects.send(node, Message::Hello { boot });
            }
        }
    }
}
