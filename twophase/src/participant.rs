//! The participant: prepares, votes, is in doubt, and does as it is told.

use crate::{Ballot, Message, Presumption, Record, Timer, TwoPhase, garbage::At};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Aside, Boot, Early, Effects, Lsn, NodeId, Time,
    contract::atomic_commit::{Event, Kept, Outcome, Transaction, Vote},
};

/// What a participant knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Participant {
    /// Everything that it has a part in, until the coordinator knows it no more.
    pub(crate) parts: BTreeMap<Transaction, Part>,
    /// Commits that no checkpoint covers, in their order.
    pub(crate) redo: BTreeMap<u64, Effect>,
    /// Where each commit by hand stands in `redo`: the truth may have replaced, and the coordinator's
    /// word forgotten, the part that would say so before the resource is done.
    pub(crate) by_hand: BTreeMap<Transaction, u64>,
    /// How many commits there have been.
    pub(crate) commits: u64,
    pub(crate) checkpoint: Option<(Bytes, At)>,
    /// Of each coordinator: it knows nothing older.
    pub(crate) oldest_live: BTreeMap<NodeId, Transaction>,
    /// Decisions by hand that were wrong and that nobody has seen: by hand, and in truth.
    pub(crate) damage: BTreeMap<Transaction, (Outcome, Outcome, At)>,
}

/// One transaction here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Part {
    pub(crate) presumption: Presumption,
    /// All participants, and in which run each was asked to prepare.
    pub(crate) participants: Vec<(NodeId, Boot)>,
    pub(crate) state: State,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum State {
    /// The resource has been asked.
    Working { one_phase: bool },
    /// It voted no.
    Refused { reason: Bytes },
    /// It voted read-only.
    ReadOnly,
    /// It voted yes and is in doubt.
    Prepared(Doubt),
    /// An operator decided; in doubt about the truth all the same.
    ByHand {
        outcome: Outcome,
        /// Its commit, if it is one.
        order: u64,
        doubt: Doubt,
    },
    /// Committed, as the `order`-th here; `done`: the resource has carried it out; `at`: the record of a
    /// decision that was this participant's, while its coordinator may ask for it.
    Committed {
        order: u64,
        one_phase: bool,
        done: bool,
        at: At,
    },
    /// Aborted, or never to be prepared.
    Aborted { done: bool },
}

/// What a participant in doubt has and has heard.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Doubt {
    pub(crate) redo: Bytes,
    pub(crate) at: At,
    /// On this node's clock.
    pub(crate) since: Aside<Time>,
    /// How often it has inquired.
    pub(crate) rounds: u32,
    /// Who could not say either.
    pub(crate) undecided: Vec<NodeId>,
}

/// A commit that has to be done again if the resource is rebuilt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Effect {
    pub(crate) transaction: Transaction,
    pub(crate) redo: Bytes,
    pub(crate) done: bool,
    /// Committed by hand, and aborted in truth: the resource has done it, and nobody may be told that
    /// it was right.
    pub(crate) wrong: bool,
    /// The oldest record that it needs.
    pub(crate) at: At,
}

impl Part {
    pub(crate) fn boot_of(&self, node: NodeId) -> Boot {
        let found = self.participants.iter().find(|(named, _)| *named == node);
        found.map_or(Boot(0), |(_, boot)| *boot)
    }

    pub(crate) const fn is_in_doubt(&self) -> bool {
        matches!(self.state, State::Prepared(_) | State::ByHand { .. })
    }
}

impl Participant {
    /// What its log left in doubt has been so since the start at the latest.
    pub(crate) fn found_in_doubt(&mut self, now: Time) {
        for part in self.parts.values_mut() {
            if let State::Prepared(doubt) | State::ByHand { doubt, .. } = &mut part.state {
                *doubt.since = now;
            }
        }
    }

    pub(crate) fn oldest_in_doubt(&self) -> Option<Time> {
        let doubts = self.parts.values().filter_map(|part| match &part.state {
            State::Prepared(doubt) | State::ByHand { doubt, .. } => Some(*doubt.since),
            _ => None,
        });
        doubts.min()
    }
}

// First phase.
impl TwoPhase {
    pub(crate) fn on_prepare(
        &mut self,
        transaction: Transaction,
        work: Bytes,
        participants: Vec<(NodeId, Boot)>,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        if let Some(part) = self.participant.parts.get(&transaction) {
            if let Some(vote) = part.vote() {
                self.vote(transaction, vote, effects);
            }
            return;
        }
        let me = self.config.node();
        let Some((_, boot)) = participants.iter().find(|(node, _)| *node == me) else {
            self.counters.refused.foreign_transactions += 1;
            return;
        };
        if self.is_past(transaction) {
            // A late one: its coordinator has forgotten it.
            return;
        }
        if *boot != self.boot && !planted!(self.config, LatePrepare) {
            // What an older run did with this transaction, this one may have forgotten. It has no
            // record of a yes, so a no is the truth.
            let reason = Bytes::from_static(b"restarted");
            return self.vote(transaction, Ballot::No(reason), effects);
        }
        if self.participant.parts.len() as u64 >= self.parts_max() {
            let reason = Bytes::from_static(b"busy");
            return self.vote(transaction, Ballot::No(reason), effects);
        }
        let state = State::Working { one_phase: false };
        self.begin_working(transaction, work, participants, presumption, state, effects);
    }

    pub(crate) fn begin_working(
        &mut self,
        transaction: Transaction,
        work: Bytes,
        participants: Vec<(NodeId, Boot)>,
        presumption: Presumption,
        state: State,
        effects: &mut Effects<Self>,
    ) {
        let part = Part {
            presumption,
            participants,
            state,
        };
        self.participant.parts.insert(transaction, part);
        // Asking the resource rests on nothing of ours, and binds nobody.
        let why = Early::Authority(Lsn::ZERO);
        effects.emit_early(Event::Prepare { transaction, work }, why);
    }

    /// Room for what runs and for what has to be remembered of it.
    fn parts_max(&self) -> u64 {
        let options = self.config.options();
        options.span_max.max(options.running_max as u64) * 2
    }

    fn vote(&mut self, transaction: Transaction, vote: Ballot, effects: &mut Effects<Self>) {
        let boot = self.boot;
        let message = Message::Vote {
            transaction,
            vote,
            boot,
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
        let Some(part) = part.filter(|part| matches!(part.state, State::Working { .. })) else {
            // Aborted meanwhile, or not asked at all.
            return;
        };
        if let State::Working { one_phase: true } = part.state {
            return self.decide_alone(transaction, vote, effects);
        }
        let presumes_nothing = part.presumption == Presumption::Nothing;
        let read_only = self.config.options().read_only && !presumes_nothing;
        match vote {
            Vote::Yes { redo } => self.prepare(transaction, redo, effects),
            Vote::ReadOnly if !read_only => self.prepare(transaction, Bytes::new(), effects),
            Vote::ReadOnly => {
                part.state = State::ReadOnly;
                self.vote(transaction, Ballot::ReadOnly, effects);
            }
            Vote::No { reason } => {
                part.state = State::Refused {
                    reason: reason.clone(),
                };
                self.vote(transaction, Ballot::No(reason), effects);
            }
        }
    }

    fn prepare(&mut self, transaction: Transaction, redo: Bytes, effects: &mut Effects<Self>) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let at = At::new(effects.persist(Record::Prepared {
            transaction,
            presumption: part.presumption,
            participants: part.participants.clone(),
            redo: redo.clone(),
        }));
        part.state = State::Prepared(Doubt {
            redo,
            at,
            since: self.now,
            ..Doubt::default()
        });
        self.inquire_later(transaction, 0, effects);
        let coordinator = transaction.coordinator;
        if planted!(self.config, VoteBeforeDisk) && coordinator != self.config.node() {
            let (vote, boot) = (Ballot::Yes, self.boot);
            let message = Message::Vote {
                transaction,
                vote,
                boot,
            };
            return effects.send_early(coordinator, message, Early::QuorumHolds);
        }
        self.vote(transaction, Ballot::Yes, effects);
    }
}

// Second phase.
impl TwoPhase {
    pub(crate) fn on_decision(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return self.on_unknown(transaction, outcome, presumption, effects);
        };
        match (&part.state, outcome) {
            (State::Prepared(_), Outcome::Commit) => self.commit(transaction, effects),
            (State::Prepared(_) | State::Working { one_phase: false }, Outcome::Abort) => {
                self.abort(transaction, effects);
            }
            (State::ByHand { .. }, truth) => self.learn_truth(transaction, truth, effects),
            // A volatile no becomes a tombstone where the coordinator will forget.
            (State::Refused { .. } | State::ReadOnly, Outcome::Abort) => {
                part.state = State::Aborted { done: true };
                self.bury(transaction, presumption, effects);
            }
            (State::Committed { done, .. }, Outcome::Commit)
            | (State::Aborted { done }, Outcome::Abort) => {
                if *done {
                    self.acknowledge(transaction, outcome, presumption, effects);
                }
            }
            (State::ReadOnly, Outcome::Commit) => {
                self.acknowledge(transaction, outcome, presumption, effects);
            }
            // No coordinator would say so.
            (State::Working { .. } | State::Refused { .. }, _)
            | (State::Committed { .. } | State::Aborted { .. }, _) => {
                self.counters.refused.reversed_outcomes += 1;
            }
        }
    }

    fn on_unknown(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        if outcome == Outcome::Commit || self.is_past(transaction) {
            // Carried out, acknowledged and forgotten; or so old that no prepare can follow.
            return self.acknowledge(transaction, outcome, presumption, effects);
        }
        if planted!(self.config, LatePrepare) {
            return self.acknowledge(transaction, outcome, presumption, effects);
        }
        if self.participant.parts.len() as u64 >= self.parts_max() {
            // It will be told again.
            return;
        }
        let part = Part {
            presumption,
            participants: Vec::new(),
            state: State::Aborted { done: true },
        };
        self.participant.parts.insert(transaction, part);
        self.bury(transaction, presumption, effects);
    }

    /// A transaction that has no part here never will have one. Forced before it is acknowledged:
    /// otherwise, under presumed commit, a prepare that was overtaken would be voted yes, inquired after
    /// and found committed.
    fn bury(
        &mut self,
        transaction: Transaction,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        if presumption.acknowledges(Outcome::Abort) {
            effects.persist(Record::Aborted { transaction });
            self.acknowledge(transaction, Outcome::Abort, presumption, effects);
        }
    }

    pub(crate) fn acknowledge(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        presumption: Presumption,
        effects: &mut Effects<Self>,
    ) {
        if presumption.acknowledges(outcome) {
            let message = Message::Acknowledge { transaction };
            self.post(transaction.coordinator, message, effects);
        }
    }

    fn commit(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let State::Prepared(doubt) = &mut part.state else {
            return;
        };
        let (redo, at) = (core::mem::take(&mut doubt.redo), doubt.at);
        let order = next_order(&mut self.participant.commits);
        part.state = State::Committed {
            order,
            one_phase: false,
            done: false,
            at: At::NONE,
        };
        let forced = part.presumption.acknowledges(Outcome::Commit);
        let record = Record::Committed {
            transaction,
            order,
            redo: None,
        };
        match forced {
            true => effects.persist(record),
            // Losing it is asking again.
            false => effects.persist_lazily(record),
        };
        effects.cancel_timer(Timer::Outcome(transaction));
        self.carry_out(transaction, order, redo, at, effects);
    }

    pub(crate) fn carry_out(
        &mut self,
        transaction: Transaction,
        order: u64,
        redo: Bytes,
        at: At,
        effects: &mut Effects<Self>,
    ) {
        let effect = Effect {
            transaction,
            redo: redo.clone(),
            done: false,
            wrong: false,
            at,
        };
        self.participant.redo.insert(order, effect);
        effects.emit(Event::Commit { transaction, redo });
    }

    pub(crate) fn abort(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let was_prepared = matches!(part.state, State::Prepared(_));
        part.state = State::Aborted { done: false };
        let record = Record::Aborted { transaction };
        if part.presumption.acknowledges(Outcome::Abort) {
            effects.persist(record);
        } else if was_prepared {
            effects.persist_lazily(record);
        }
        effects.cancel_timer(Timer::Outcome(transaction));
        effects.emit(Event::Abort { transaction });
    }

    /// The resource's own acknowledgement.
    pub(crate) fn on_done(
        &mut self,
        transaction: Transaction,
        kept: Kept,
        effects: &mut Effects<Self>,
    ) {
        let part = self.participant.parts.get(&transaction);
        let order = match part.map(|part| &part.state) {
            Some(State::Committed { order, .. } | State::ByHand { order, .. }) => Some(*order),
            _ => self.participant.by_hand.get(&transaction).copied(),
        };
        if let Some(order) = order {
            self.participant.effect_done(order, kept);
        }
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let presumption = part.presumption;
        match &mut part.state {
            State::Committed {
                done,
                one_phase: false,
                ..
            } => {
                *done = true;
                self.acknowledge(transaction, Outcome::Commit, presumption, effects);
            }
            State::Committed { done, .. } => {
                *done = true;
                self.report_end(transaction, Outcome::Commit, Bytes::new(), effects);
            }
            State::Aborted { done } => {
                *done = true;
                self.acknowledge(transaction, Outcome::Abort, presumption, effects);
            }
            // A decision by hand was carried out: nobody waits for that.
            State::ByHand { .. } => {}
            State::Working { .. }
            | State::Refused { .. }
            | State::ReadOnly
            | State::Prepared(_) => {}
        }
        self.drop_past(transaction);
    }
}

impl Part {
    /// What it has voted.
    fn vote(&self) -> Option<Ballot> {
        match &self.state {
            State::Working { .. } => None,
            State::Refused { reason } => Some(Ballot::No(reason.clone())),
            State::Aborted { .. } => Some(Ballot::No(Bytes::from_static(b"aborted"))),
            State::ReadOnly => Some(Ballot::ReadOnly),
            State::Prepared(_) | State::ByHand { .. } | State::Committed { .. } => {
                Some(Ballot::Yes)
            }
        }
    }
}

/// The place of one more commit.
pub(crate) const fn next_order(commits: &mut u64) -> u64 {
    *commits += 1;
    *commits
}

impl Participant {
    /// What was committed by hand was not to be.
    pub(crate) fn contradict(&mut self, transaction: Transaction) {
        let order = self.by_hand.get(&transaction);
        if let Some(effect) = order.and_then(|order| self.redo.get_mut(order)) {
            effect.wrong = true;
        }
    }

    pub(crate) fn was_aborted_by_hand(&self, transaction: Transaction) -> bool {
        let damage = self.damage.get(&transaction);
        let by_hand = match self.parts.get(&transaction).map(|part| &part.state) {
            Some(State::ByHand { outcome, .. }) => Some(*outcome),
            _ => damage.map(|(by_hand, ..)| *by_hand),
        };
        by_hand == Some(Outcome::Abort)
    }

    fn effect_done(&mut self, order: u64, kept: Kept) {
        match kept {
            Kept::Resource => {
                if let Some(effect) = self.redo.remove(&order) {
                    self.by_hand.remove(&effect.transaction);
                }
            }
            Kept::Log => {
                if let Some(effect) = self.redo.get_mut(&order) {
                    effect.done = true;
                }
            }
        }
    }
}
