//! The participant: votes, is made ready, and does as it is told.

use crate::{
    Epoch, Message, Record, ThreePhase, Timer,
    config::{backoff, first},
    election::Election,
    garbage::At,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;
use consensus_core::{
    Aside, Boot, Early, Effects, Lsn, NodeId, Time,
    contract::atomic_commit::{AbortReason, Event, Kept, Outcome, Transaction, Vote},
};

/// What a participant knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Participant {
    /// Everything that it has a part in and that may not be over everywhere.
    pub(crate) parts: BTreeMap<Transaction, Part>,
    /// Commits that no checkpoint covers, in their order.
    pub(crate) redo: BTreeMap<u64, Effect>,
    /// How many commits there have been.
    pub(crate) commits: u64,
    pub(crate) checkpoint: Option<(Bytes, At)>,
    /// Of each coordinator: of that run, everything older is over everywhere.
    pub(crate) oldest_live: BTreeMap<NodeId, Transaction>,
}

/// One transaction here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Part {
    /// All participants, and in which run each was asked.
    pub(crate) participants: Vec<(NodeId, Boot)>,
    pub(crate) state: State,
    pub(crate) redo: Bytes,
    /// The newest round it takes part in.
    pub(crate) elected: Epoch,
    /// The newest round it has heard of: its own next one is later.
    pub(crate) heard: u64,
    /// The round of its newest pre-commit or pre-abort.
    pub(crate) attempt: Epoch,
    /// It has failed since it voted: it is not operational in the sense of the termination protocol.
    pub(crate) recovered: bool,
    pub(crate) election: Option<Election>,
    /// How often it has waited in vain.
    pub(crate) rounds: u32,
    /// Who has yet to say that it carried the outcome out too, once it wants to forget.
    pub(crate) settling: Option<BTreeSet<NodeId>>,
    pub(crate) at: At,
    /// When it voted, on this node's clock.
    pub(crate) since: Aside<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum State {
    /// The resource has been asked.
    Working,
    /// Voted yes.
    Wait,
    PreCommitted,
    PreAborted,
    /// `done`: the resource has carried it out.
    Committed {
        order: u64,
        done: bool,
    },
    Aborted {
        done: bool,
    },
}

/// A commit that has to be done again if the resource is rebuilt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Effect {
    pub(crate) transaction: Transaction,
    pub(crate) redo: Bytes,
    pub(crate) done: bool,
    pub(crate) at: At,
}

impl Part {
    pub(crate) fn new(
        transaction: Transaction,
        participants: Vec<(NodeId, Boot)>,
        state: State,
    ) -> Self {
        Self {
            participants,
            state,
            redo: Bytes::new(),
            elected: first(transaction),
            heard: 1,
            attempt: Epoch::default(),
            recovered: false,
            election: None,
            rounds: 0,
            settling: None,
            at: At::NONE,
            since: Aside::default(),
        }
    }

    pub(crate) const fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Committed { .. } => Some(Outcome::Commit),
            State::Aborted { .. } => Some(Outcome::Abort),
            State::Working | State::Wait | State::PreCommitted | State::PreAborted => None,
        }
    }

    pub(crate) const fn is_in_doubt(&self) -> bool {
        matches!(
            self.state,
            State::Wait | State::PreCommitted | State::PreAborted
        )
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(
            self.state,
            State::Committed { done: true, .. } | State::Aborted { done: true }
        )
    }

    pub(crate) fn others(&self, me: NodeId) -> Vec<NodeId> {
        let nodes = self.participants.iter().map(|(node, _)| *node);
        nodes.filter(|node| *node != me).collect()
    }
}

impl Participant {
    /// What its log left in doubt has been so since the start at the latest.
    pub(crate) fn found_in_doubt(&mut self, now: Time) {
        for part in self.parts.values_mut() {
            *part.since = now;
        }
    }

    pub(crate) fn oldest_in_doubt(&self) -> Option<Time> {
        let doubts = self.parts.values().filter(|part| part.is_in_doubt());
        doubts.map(|part| *part.since).min()
    }
}

// First phase.
impl ThreePhase {
    pub(crate) fn on_can_commit(
        &mut self,
        transaction: Transaction,
        work: Bytes,
        participants: Vec<(NodeId, Boot)>,
        effects: &mut Effects<Self>,
    ) {
        if let Some(part) = self.participant.parts.get(&transaction) {
            return match part.outcome() {
                Some(outcome) => self.tell(transaction.coordinator, transaction, outcome, effects),
                None if part.is_in_doubt() => self.vote(transaction, true, b"", effects),
                None => {}
            };
        }
        let me = self.config.node();
        let Some((_, boot)) = participants.iter().find(|(node, _)| *node == me) else {
            self.counters.refused.foreign_transactions += 1;
            return;
        };
        if self.is_past(transaction) {
            return;
        }
        if *boot != self.boot {
            // This run has no record of a yes, and never will have one. Its coordinator has missed that
            // it began, and would ask the older one for ever.
            let boot = self.boot;
            effects.send(transaction.coordinator, Message::Hello { boot });
            return self.vote(transaction, false, b"restarted", effects);
        }
        if self.participant.parts.len() >= self.config.options().parts_max {
            return self.vote(transaction, false, b"busy", effects);
        }
        let part = Part::new(transaction, participants, State::Working);
        self.participant.parts.insert(transaction, part);
        self.wait_for_outcome(transaction, effects);
        // Asking the resource rests on nothing of ours, and binds nobody.
        let why = Early::Authority(Lsn::ZERO);
        effects.emit_early(Event::Prepare { transaction, work }, why);
    }

    fn vote(
        &mut self,
        transaction: Transaction,
        yes: bool,
        reason: &'static [u8],
        effects: &mut Effects<Self>,
    ) {
        let message = Message::Vote {
            transaction,
            yes,
            reason: Bytes::from_static(reason),
        };
        self.post(transaction.coordinator, message, effects);
    }

    pub(crate) fn on_resource_votes(
        &mut self,
        transaction: Transaction,
        vote: Vote,
        effects: &mut Effects<Self>,
    ) {
        let part = self.participant.parts.get_mut(&transaction);
        let Some(part) = part.filter(|part| part.state == State::Working) else {
            // Aborted meanwhile, or not asked at all.
            return;
        };
        let redo = match vote {
            Vote::Yes { redo } => redo,
            // It is taken along like the others, with nothing to do.
            Vote::ReadOnly => Bytes::new(),
            Vote::No { reason } => {
                // Nothing is written: what has no record of a yes is never taken for one.
                part.state = State::Aborted { done: true };
                let message = Message::Vote {
                    transaction,
                    yes: false,
                    reason,
                };
                return self.post(transaction.coordinator, message, effects);
            }
        };
        part.redo = redo.clone();
        part.state = State::Wait;
        part.since = self.now;
        let oldest = self.participant.oldest_live.get(&transaction.coordinator);
        part.at = At::new(effects.persist(Record::Voted {
            transaction,
            participants: part.participants.clone(),
            redo,
            oldest_live: oldest.copied().unwrap_or(transaction),
        }));
        self.wait_for_outcome(transaction, effects);
        if planted!(self.config, VoteBeforeDisk) && transaction.coordinator != self.config.node() {
            let message = Message::Vote {
                transaction,
                yes: true,
                reason: Bytes::new(),
            };
            return effects.send_early(transaction.coordinator, message, Early::QuorumHolds);
        }
        self.vote(transaction, true, b"", effects);
    }
}

// Second phase.
impl ThreePhase {
    /// A pre-commit or pre-abort of `epoch`.
    pub(crate) fn on_attempt(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        if let Some(outcome) = part.outcome() {
            return self.tell(from, transaction, outcome, effects);
        }
        if !part.is_in_doubt() || epoch.node != from {
            self.counters.refused.foreign_transactions += 1;
            return;
        }
        if epoch < part.elected {
            let elected = part.elected;
            let message = Message::Refuse {
                transaction,
                elected,
            };
            return self.post(from, message, effects);
        }
        let target = match outcome {
            Outcome::Commit => State::PreCommitted,
            Outcome::Abort => State::PreAborted,
        };
        if part.attempt != epoch {
            effects.persist(Record::Attempted {
                transaction,
                epoch,
                outcome,
            });
            (part.elected, part.attempt, part.state) = (epoch, epoch, target);
            part.election = None;
            self.wait_for_outcome(transaction, effects);
        }
        let message = Message::Attempted { transaction, epoch };
        if planted!(self.config, UnloggedPreCommit) && from != self.config.node() {
            return effects.send_early(from, message, Early::QuorumHolds);
        }
        self.post(from, message, effects);
    }

    pub(crate) fn on_attempted(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        effects: &mut Effects<Self>,
    ) {
        if epoch == first(transaction) {
            self.on_ready(from, transaction, effects);
        } else {
            self.on_attempt_acknowledged(from, transaction, epoch, effects);
        }
    }
}

// Third phase.
impl ThreePhase {
    /// The outcome, from whoever knows.
    pub(crate) fn on_decision(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        self.adopt(transaction, outcome, effects);
        let Some(part) = self.participant.parts.get(&transaction) else {
            if outcome == Outcome::Abort && !self.is_past(transaction) {
                // It may overtake the question: then the question must find it.
                let part = Part::new(transaction, Vec::new(), State::Aborted { done: true });
                self.participant.parts.insert(transaction, part);
                self.wait_for_outcome(transaction, effects);
            }
            // A commit without a record was carried out and forgotten.
            return self.acknowledge(transaction, effects);
        };
        match (part.state, outcome) {
            (State::Wait, Outcome::Commit) => {
                // Legal, since a decision is final, but whoever sent it knew that all were ready.
                self.counters.skipped += 1;
                self.carry_out(transaction, outcome, effects);
            }
            (State::PreCommitted | State::PreAborted, Outcome::Commit)
            | (
                State::Working | State::Wait | State::PreCommitted | State::PreAborted,
                Outcome::Abort,
            ) => self.carry_out(transaction, outcome, effects),
            (State::Committed { done, .. }, Outcome::Commit)
            | (State::Aborted { done }, Outcome::Abort) => {
                if done {
                    self.acknowledge(transaction, effects);
                }
            }
            // Nobody may have decided to commit without its vote, or against what is decided.
            (State::Working | State::Aborted { .. }, Outcome::Commit)
            | (State::Committed { .. }, Outcome::Abort) => {
                self.counters.refused.reversed_outcomes += 1;
            }
        }
    }

    /// The coordinator's side of a decision that others made.
    fn adopt(&mut self, transaction: Transaction, outcome: Outcome, effects: &mut Effects<Self>) {
        use crate::coordinator::Phase;
        let live = self.coordinator.live.get(&transaction);
        match live.map(|live| &live.phase) {
            Some(Phase::Collecting { .. } | Phase::PreCommitting { .. }) => {
                let reason = match outcome {
                    Outcome::Commit => AbortReason::None,
                    Outcome::Abort => AbortReason::Recovery,
                };
                self.decide(transaction, outcome, reason, effects);
            }
            Some(Phase::Greeting { .. } | Phase::Decided { .. }) | None => {}
        }
    }

    /// Makes `outcome` final here.
    pub(crate) fn carry_out(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let (voted, redo) = (part.is_in_doubt(), part.redo.clone());
        part.election = None;
        part.rounds = 0;
        let order = match outcome {
            Outcome::Commit => self.participant.commits + 1,
            Outcome::Abort => 0,
        };
        part.state = match outcome {
            Outcome::Commit => State::Committed { order, done: false },
            Outcome::Abort => State::Aborted { done: false },
        };
        if voted {
            effects.persist(Record::Decided {
                transaction,
                outcome,
                order,
            });
        }
        effects.cancel_timer(Timer::Election(transaction));
        match outcome {
            Outcome::Commit => {
                self.participant.commits = order;
                let effect = Effect {
                    transaction,
                    redo: redo.clone(),
                    done: false,
                    at: part.at,
                };
                self.participant.redo.insert(order, effect);
                effects.emit(Event::Commit { transaction, redo });
            }
            Outcome::Abort => effects.emit(Event::Abort { transaction }),
        }
        self.wait_for_outcome(transaction, effects);
    }

    pub(crate) fn tell(
        &mut self,
        to: NodeId,
        transaction: Transaction,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        self.post(to, Message::decision(transaction, outcome), effects);
    }

    fn acknowledge(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let message = Message::Acknowledge { transaction };
        self.post(transaction.coordinator, message, effects);
    }

    /// The resource's own acknowledgement.
    pub(crate) fn on_done(
        &mut self,
        transaction: Transaction,
        kept: Kept,
        effects: &mut Effects<Self>,
    ) {
        let part = self.participant.parts.get_mut(&transaction);
        let order = match part.map(|part| &mut part.state) {
            Some(State::Committed { order, done }) => {
                *done = true;
                Some(*order)
            }
            Some(State::Aborted { done }) => {
                *done = true;
                None
            }
            Some(State::Working | State::Wait | State::PreCommitted | State::PreAborted) => return,
            // Over everywhere, and told again because the resource was rebuilt.
            None => {
                let mut redo = self.participant.redo.iter();
                let found = redo.find(|(_, effect)| effect.transaction == transaction);
                found.map(|(order, _)| *order)
            }
        };
        if let Some(order) = order {
            self.participant.effect_done(order, kept);
        }
        self.acknowledge(transaction, effects);
        self.drop_past(transaction, effects);
    }

    /// What the resource holds prepared and has no yes of ours is told to abort, what is committed and not
    /// carried out is told again, and the rest will be told.
    pub(crate) fn on_found_prepared(
        &self,
        transactions: Vec<Transaction>,
        effects: &mut Effects<Self>,
    ) {
        for transaction in transactions {
            let part = self.participant.parts.get(&transaction);
            let mut redo = self.participant.redo.values();
            let committed = redo.find(|effect| effect.transaction == transaction);
            match (part.map(|part| part.state), committed) {
                (_, Some(effect)) => {
                    let redo = effect.redo.clone();
                    effects.emit(Event::Commit { transaction, redo });
                }
                (None | Some(State::Aborted { .. }), None) => {
                    effects.emit(Event::Abort { transaction });
                }
                (Some(_), None) => {}
            }
        }
    }
}

impl Participant {
    fn effect_done(&mut self, order: u64, kept: Kept) {
        match kept {
            Kept::Resource => {
                self.redo.remove(&order);
            }
            Kept::Log => {
                if let Some(effect) = self.redo.get_mut(&order) {
                    effect.done = true;
                }
            }
        }
    }
}

// Time.
impl ThreePhase {
    /// Waits for what must come next. The lowest participant becomes impatient first, so that elections
    /// do not collide; everybody waits long enough for a living coordinator to act before.
    pub(crate) fn wait_for_outcome(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get(&transaction) else {
            return;
        };
        let (me, options) = (self.config.node(), self.config.options());
        let before = part.participants.iter().filter(|(node, _)| *node < me);
        let rank = before.count() as u32;
        let base = match part.state {
            State::Working | State::Wait if !part.recovered => options.votes + options.bound * 4,
            State::Committed { .. } | State::Aborted { .. } => options.bound * 30,
            _ => options.bound * 4,
        };
        let after = base + options.bound * rank;
        let after = backoff(after, part.rounds.saturating_sub(1));
        effects.set_timer(Timer::Participant(transaction), after);
    }

    pub(crate) fn on_participant_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        part.rounds = part.rounds.saturating_add(1);
        match part.state {
            // It has not voted yes, so it may.
            State::Working => {
                self.vote(transaction, false, b"timeout", effects);
                self.carry_out(transaction, Outcome::Abort, effects);
            }
            State::Wait | State::PreCommitted | State::PreAborted => {
                self.campaign(transaction, effects);
                self.wait_for_outcome(transaction, effects);
            }
            State::Committed { .. } | State::Aborted { .. } => self.settle(transaction, effects),
        }
    }

    /// Every transaction in doubt here, and whose word would end it.
    pub(crate) fn in_doubt(&self) -> Vec<(Transaction, Vec<NodeId>)> {
        let parts = self.participant.parts.iter();
        let doubts = parts.filter(|(_, part)| part.is_in_doubt());
        doubts
            .map(|(transaction, part)| (*transaction, part.others(self.config.node())))
            .collect()
    }
}
