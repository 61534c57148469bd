//! The coordinator: asks, decides, tells, and forgets.

use crate::{
    Ballot, Config, Message, Presumption, Record, Timer, TwoPhase, config::backoff, garbage::At,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use bytes::Bytes;
use consensus_core::{
    Boot, Early, Effects, Lsn, NodeId, Token,
    contract::atomic_commit::{AbortReason, Event, Outcome, Reason, Transaction},
};

/// Clients that may wait for the outcome of one transaction, besides the one that began it.
const INQUIRIES_MAX: usize = 64;

/// What a coordinator knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Coordinator {
    /// The newest transaction of this run.
    pub(crate) newest: Transaction,
    /// Everything that is not forgotten.
    pub(crate) live: BTreeMap<Transaction, Live>,
    /// Outcomes that nobody but a client may still ask after.
    pub(crate) remembered: BTreeMap<Transaction, (Outcome, AbortReason)>,
}

/// A transaction that is not forgotten.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Live {
    pub(crate) presumption: Presumption,
    pub(crate) phase: Phase,
    /// The client that began it, while it has no answer. None after a restart.
    pub(crate) token: Option<Token>,
    /// Clients that have asked since.
    pub(crate) inquiries: Vec<Token>,
    /// How often something was asked or told again.
    pub(crate) rounds: u32,
    /// The record that must stay.
    pub(crate) at: At,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// Waiting to hear in which run the participants are.
    Greeting { work: BTreeMap<NodeId, Bytes> },
    /// Waiting for votes.
    Collecting {
        participants: Vec<(NodeId, Boot)>,
        /// The work of those that have not voted.
        missing: BTreeMap<NodeId, Bytes>,
        yes: BTreeSet<NodeId>,
    },
    /// The only participant decides.
    Delegated { to: NodeId, boot: Boot, work: Bytes },
    /// Decided, and written where the presumption asks for it.
    Decided {
        outcome: Outcome,
        reason: AbortReason,
        unacknowledged: BTreeSet<NodeId>,
    },
}

impl Coordinator {
    pub(crate) const fn new(node: NodeId, boot: Boot) -> Self {
        Self {
            newest: Transaction {
                coordinator: node,
                boot,
                sequence: 0,
            },
            live: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    fn next(&self) -> Transaction {
        Transaction {
            sequence: self.newest.sequence + 1,
            ..self.newest
        }
    }

    /// Nothing older is known here.
    pub(crate) fn oldest_live(&self) -> Transaction {
        let oldest = self.live.first_key_value();
        oldest.map_or_else(|| self.next(), |(oldest, _)| *oldest)
    }

    fn remember(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        max: usize,
    ) {
        self.remembered.insert(transaction, (outcome, reason));
        while self.remembered.len() > max {
            self.remembered.pop_first();
        }
    }
}

fn refusal(config: &Config, coordinator: &Coordinator, work: &[(NodeId, Bytes)]) -> Option<Reason> {
    let options = config.options();
    let nodes: BTreeSet<NodeId> = work.iter().map(|(node, _)| *node).collect();
    let known = |node: &NodeId| config.members().contains(*node);
    let oldest = coordinator.oldest_live();
    let span = match oldest.boot == coordinator.newest.boot {
        true => coordinator.newest.sequence + 1 - oldest.sequence,
        false => coordinator.newest.sequence,
    };
    if !config.coordinates() {
        Some(Reason::NotCoordinator {
            hint: options.coordinator,
        })
    } else if work.is_empty() || nodes.len() < work.len() || !nodes.iter().all(known) {
        Some(Reason::BadParticipants)
    } else if coordinator.live.len() >= options.running_max || span >= options.span_max {
        Some(Reason::Busy)
    } else {
        None
    }
}

// First phase.
impl TwoPhase {
    pub(crate) fn on_begin(
        &mut self,
        token: Token,
        work: Vec<(NodeId, Bytes)>,
        effects: &mut Effects<Self>,
    ) {
        if let Some(reason) = refusal(&self.config, &self.coordinator, &work) {
            return effects.emit_early(
                Event::Rejected { token, reason },
                Early::Authority(Lsn::ZERO),
            );
        }
        let transaction = self.coordinator.next();
        self.coordinator.newest = transaction;
        // The name contains the boot, on disk since before the start: nothing else bears it.
        let why = Early::Authority(Lsn::ZERO);
        effects.emit_early(Event::Started { token, transaction }, why);
        let live = Live {
            presumption: self.config.options().presumption,
            phase: Phase::Greeting {
                work: work.into_iter().collect(),
            },
            token: Some(token),
            inquiries: Vec::new(),
            rounds: 0,
            at: At::NONE,
        };
        self.coordinator.live.insert(transaction, live);
        self.ask_again_later(transaction, effects);
        self.begin_asking(transaction, effects);
    }

    fn ask_again_later(&self, transaction: Transaction, effects: &mut Effects<Self>) {
        let resend = self.config.options().resend;
        effects.set_timer(Timer::Votes(transaction), resend..=resend * 2);
    }

    /// Once it is known in which run each participant is, asks them all.
    fn begin_asking(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Greeting { work } = &mut live.phase else {
            return;
        };
        let boot = |node: &NodeId| self.boots.get(node).copied();
        if work.keys().any(|node| boot(node).is_none()) {
            for node in work.keys().filter(|node| boot(node).is_none()) {
                effects.send_early(*node, Message::Greet {}, Early::Authority(Lsn::ZERO));
            }
            return;
        }
        let participants: Vec<_> = work
            .keys()
            .map(|node| (*node, boot(node).unwrap_or_default()))
            .collect();
        let work = core::mem::take(work);
        if self.config.options().one_phase
            && let [(to, boot)] = participants[..]
            && let Some(work) = work.get(&to).cloned()
        {
            live.phase = Phase::Delegated { to, boot, work };
            return self.delegate(transaction, effects);
        }
        live.phase = Phase::Collecting {
            participants,
            missing: work,
            yes: BTreeSet::new(),
        };
        if live.presumption == Presumption::Commit {
            let nodes = match &live.phase {
                Phase::Collecting { missing, .. } => missing.keys().copied().collect(),
                _ => vec![],
            };
            live.at = At::new(effects.persist(Record::Collecting {
                transaction,
                participants: nodes,
            }));
        }
        self.ask(transaction, effects);
    }

    /// Asks those that have not voted.
    fn ask(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let oldest_live = self.coordinator.oldest_live();
        let Some(live) = self.coordinator.live.get(&transaction) else {
            return;
        };
        let (me, presumption) = (self.config.node(), live.presumption);
        let Phase::Collecting {
            participants,
            missing,
            ..
        } = &live.phase
        else {
            return;
        };
        for (node, work) in missing {
            let message = Message::Prepare {
                transaction,
                work: work.clone(),
                participants: participants.clone(),
                presumption,
                oldest_live,
            };
            if *node == me {
                self.local.push_back(message);
            } else if presumption == Presumption::Commit {
                // Held: whoever is asked must be on disk as asked.
                effects.send(*node, message);
            } else {
                // The name's boot is on disk since before the start, and a question binds nobody.
                effects.send_early(*node, message, Early::Authority(Lsn::ZERO));
            }
        }
    }

    pub(crate) fn on_votes_late(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let rounds = self.config.options().vote_rounds;
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.rounds = live.rounds.saturating_add(1);
        let late = live.rounds >= rounds;
        match &mut live.phase {
            Phase::Greeting { work } if late => {
                let boot = |node: &&NodeId| !self.boots.contains_key(node);
                let node = work.keys().find(boot).copied().unwrap_or_default();
                self.decide_early(transaction, AbortReason::Timeout { node }, effects);
            }
            Phase::Greeting { .. } => {
                self.begin_asking(transaction, effects);
                self.ask_again_later(transaction, effects);
            }
            Phase::Collecting { missing, yes, .. } if late => {
                let node = missing.keys().next().copied().unwrap_or_default();
                if planted!(self.config, SilenceIsConsent) {
                    yes.extend(core::mem::take(missing).into_keys());
                    self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
                } else {
                    self.decide(
                        transaction,
                        Outcome::Abort,
                        AbortReason::Timeout { node },
                        effects,
                    );
                }
            }
            Phase::Collecting { .. } => {
                self.ask(transaction, effects);
                self.ask_again_later(transaction, effects);
            }
            // Neither outcome is certain before the answer comes.
            Phase::Delegated { .. } => {
                let after = backoff(self.config.options().resend, live.rounds);
                effects.set_timer(Timer::Votes(transaction), after);
                self.delegate(transaction, effects);
            }
            Phase::Decided { .. } => {}
        }
    }

    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        vote: Ballot,
        boot: Boot,
        effects: &mut Effects<Self>,
    ) {
        self.on_hello(from, boot, effects);
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            // Forgotten: the voter will ask under the presumption that it was told.
            return;
        };
        match &mut live.phase {
            Phase::Collecting { missing, yes, .. } => {
                if missing.remove(&from).is_none() {
                    return;
                }
                match vote {
                    Ballot::Yes => {
                        yes.insert(from);
                    }
                    Ballot::ReadOnly => {}
                    Ballot::No(reason) => {
                        let reason = AbortReason::VotedNo { node: from, reason };
                        return self.decide(transaction, Outcome::Abort, reason, effects);
                    }
                }
                if missing.is_empty() {
                    self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
                }
            }
            // A late vote: the decision stands, and the voter is being told.
            Phase::Decided { .. } | Phase::Greeting { .. } | Phase::Delegated { .. } => {}
        }
    }

    pub(crate) fn on_hello(&mut self, from: NodeId, boot: Boot, effects: &mut Effects<Self>) {
        let known = self.boots.entry(from).or_insert(Boot(0));
        if boot <= *known {
            return;
        }
        *known = boot;
        let greeting = |live: &Live| matches!(&live.phase, Phase::Greeting { work } if work.contains_key(&from));
        let waiting: Vec<_> = self
            .coordinator
            .live
            .iter()
            .filter(|(_, live)| greeting(live))
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in waiting {
            self.begin_asking(transaction, effects);
        }
    }

    pub(crate) fn on_give_up(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        match self
            .coordinator
            .live
            .get(&transaction)
            .map(|live| &live.phase)
        {
            Some(Phase::Greeting { .. }) => {
                self.decide_early(transaction, AbortReason::Asked, effects);
            }
            Some(Phase::Collecting { .. }) => {
                self.decide(transaction, Outcome::Abort, AbortReason::Asked, effects);
            }
            // Decided, here or elsewhere.
            Some(Phase::Decided { .. } | Phase::Delegated { .. }) | None => {}
        }
    }
}

// One phase.
impl TwoPhase {
    fn delegate(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
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

// Second phase.
impl TwoPhase {
    /// Aborts before anybody was asked: there is nobody to tell but the client.
    fn decide_early(
        &mut self,
        transaction: Transaction,
        reason: AbortReason,
        effects: &mut Effects<Self>,
    ) {
        effects.cancel_timer(Timer::Votes(transaction));
        self.answer(transaction, Outcome::Abort, &reason, effects);
        self.forget(transaction, Outcome::Abort, reason);
    }

    fn decide(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Collecting { missing, yes, .. } = &mut live.phase else {
            return;
        };
        let mut told = core::mem::take(yes);
        if outcome == Outcome::Abort {
            told.extend(missing.keys().copied());
        }
        let acknowledges = live.presumption.acknowledges(outcome);
        live.phase = Phase::Decided {
            outcome,
            reason: reason.clone(),
            unacknowledged: told.clone(),
        };
        live.rounds = 0;
        effects.cancel_timer(Timer::Votes(transaction));
        self.write_decision(transaction, outcome, &told, effects);
        self.answer(transaction, outcome, &reason, effects);
        self.tell(transaction, None, effects);
        if told.is_empty() || !acknowledges {
            return self.end(transaction);
        }
        let resend = self.config.options().resend;
        effects.set_timer(Timer::Acknowledgements(transaction), resend..=resend * 2);
    }

    /// What a decision costs in records is what the presumptions differ in.
    fn write_decision(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        told: &BTreeSet<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let acknowledges = live.presumption.acknowledges(outcome);
        let record = Record::Decided {
            transaction,
            outcome,
            presumption: live.presumption,
            participants: match acknowledges {
                true => told.iter().copied().collect(),
                false => vec![],
            },
        };
        match (live.presumption, outcome) {
            (Presumption::Abort, Outcome::Abort) => {}
            // Everybody has let go already: nobody will ask.
            (Presumption::Abort, Outcome::Commit) if told.is_empty() => {}
            // Collecting without a commit means abort.
            (Presumption::Commit, Outcome::Abort) => live.at.keep(effects.persist_lazily(record)),
            (Presumption::Commit, Outcome::Commit) if told.is_empty() => {
                effects.persist_lazily(record);
            }
            (Presumption::Abort | Presumption::Commit, Outcome::Commit)
            | (Presumption::Nothing, _) => live.at.keep(effects.persist(record)),
        }
    }

    fn answer(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: &AbortReason,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let early = planted!(self.config, WrongEarly);
        for token in live
            .token
            .take()
            .into_iter()
            .chain(live.inquiries.drain(..))
        {
            let event = Event::Ended {
                token,
                transaction,
                outcome,
                reason: reason.clone(),
            };
            if early {
                effects.emit_early(event, Early::QuorumHolds);
            } else {
                effects.emit(event);
            }
        }
        self.counters.ended(outcome);
    }

    /// Tells the decision to one participant, or to all that have not acknowledged it.
    pub(crate) fn tell(
        &mut self,
        transaction: Transaction,
        to: Option<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        let oldest_live = Some(self.coordinator.oldest_live());
        let Some(live) = self.coordinator.live.get(&transaction) else {
            return;
        };
        let Phase::Decided {
            outcome,
            unacknowledged,
            ..
        } = &live.phase
        else {
            return;
        };
        let message = Message::Decision {
            transaction,
            outcome: *outcome,
            presumption: live.presumption,
            oldest_live,
        };
        let nodes: Vec<NodeId> = match to {
            Some(node) => vec![node],
            None => unacknowledged.iter().copied().collect(),
        };
        let early = planted!(self.config, CommitBeforeDisk);
        for node in nodes {
            if early && node != self.config.node() {
                effects.send_early(node, message.clone(), Early::QuorumHolds);
            } else {
                self.post(node, message.clone(), effects);
            }
        }
    }

    pub(crate) fn on_acknowledge(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let live = self.coordinator.live.get_mut(&transaction);
        let Some(Phase::Decided { unacknowledged, .. }) = live.map(|live| &mut live.phase) else {
            return;
        };
        unacknowledged.remove(&from);
        if unacknowledged.is_empty() || planted!(self.config, ForgetsEarly) {
            effects.cancel_timer(Timer::Acknowledgements(transaction));
            effects.persist_lazily(Record::End { transaction });
            self.end(transaction);
        }
    }

    pub(crate) fn on_acknowledgements_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.rounds = live.rounds.saturating_add(1);
        let after = backoff(self.config.options().resend, live.rounds);
        effects.set_timer(Timer::Acknowledgements(transaction), after);
        self.tell(transaction, None, effects);
    }

    /// Nobody will ask who could not be answered by the presumption.
    pub(crate) fn end(&mut self, transaction: Transaction) {
        let live = self.coordinator.live.get(&transaction);
        if let Some(Phase::Decided {
            outcome, reason, ..
        }) = live.map(|live| &live.phase)
        {
            let (outcome, reason) = (*outcome, reason.clone());
            self.forget(transaction, outcome, reason);
        }
    }

    fn forget(&mut self, transaction: Transaction, outcome: Outcome, reason: AbortReason) {
        self.coordinator.live.remove(&transaction);
        let max = self.config.options().remembered_max;
        self.coordinator.remember(transaction, outcome, reason, max);
    }

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
