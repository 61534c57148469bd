//! The coordinator: asks, makes all ready, decides, tells, and forgets.

use crate::{
    Config, Message, Record, ThreePhase, Timer,
    config::{backoff, first},
    garbage::At,
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
    majority,
};

/// Clients that may wait for the outcome of one transaction, besides the one that began it.
const INQUIRIES_MAX: usize = 64;

/// What a coordinator knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Coordinator {
    /// The newest transaction of this run.
    newest: Transaction,
    /// Everything that is not forgotten.
    pub(crate) live: BTreeMap<Transaction, Live>,
    /// Outcomes that nobody but a client may still ask after.
    remembered: BTreeMap<Transaction, (Outcome, AbortReason)>,
}

/// A transaction that is not forgotten.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Live {
    pub(crate) participants: Vec<NodeId>,
    pub(crate) phase: Phase,
    /// Clients that wait for the outcome.
    tokens: Vec<Token>,
    /// How often something was said again.
    rounds: u32,
    /// The record that must stay.
    pub(crate) at: At,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// Waiting to hear in which run the participants are.
    Greeting { work: BTreeMap<NodeId, Bytes> },
    /// Waiting for votes.
    Collecting { yes: BTreeSet<NodeId> },
    /// All have voted yes. `deposed`: an election has taken the decision out of its hands.
    PreCommitting {
        ready: BTreeSet<NodeId>,
        deposed: bool,
    },
    /// Decided; on disk, if it is a commit.
    Decided {
        outcome: Outcome,
        reason: AbortReason,
        unacknowledged: BTreeSet<NodeId>,
    },
}

impl Live {
    /// A commit found on disk, with those that may not have heard of it.
    pub(crate) fn resumed(participants: Vec<NodeId>, at: At) -> Self {
        Self {
            phase: Phase::Decided {
                outcome: Outcome::Commit,
                reason: AbortReason::None,
                unacknowledged: participants.iter().copied().collect(),
            },
            participants,
            tokens: Vec::new(),
            rounds: 0,
            at,
        }
    }
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

    /// Of this run, nothing older is known here.
    fn oldest_live(&self) -> Transaction {
        let run = Transaction {
            sequence: 0,
            ..self.newest
        };
        let oldest = self.live.range(run..).next();
        oldest.map_or_else(|| self.next(), |(oldest, _)| *oldest)
    }

    fn remember(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        config: &Config,
    ) {
        self.remembered.insert(transaction, (outcome, reason));
        while self.remembered.len() > config.options().remembered_max {
            self.remembered.pop_first();
        }
    }
}

// First phase.
impl ThreePhase {
    pub(crate) fn on_begin(
        &mut self,
        token: Token,
        work: Vec<(NodeId, Bytes)>,
        effects: &mut Effects<Self>,
    ) {
        if let Some(reason) = self.unfit(&work) {
            return effects.emit(Event::Rejected { token, reason });
        }
        let transaction = self.coordinator.next();
        self.coordinator.newest = transaction;
        let participants: Vec<_> = work.iter().map(|(node, _)| *node).collect();
        for node in &participants {
            if !self.boots.contains_key(node) {
                effects.send_early(*node, Message::Greet {}, Early::Authority(Lsn::ZERO));
            }
        }
        let live = Live {
            participants,
            phase: Phase::Greeting {
                work: work.into_iter().collect(),
            },
            tokens: vec![token],
            rounds: 0,
            at: At::NONE,
        };
        self.coordinator.live.insert(transaction, live);
        // The name contains the boot, which is durable since before the start.
        effects.emit_early(
            Event::Started { token, transaction },
            Early::Authority(Lsn::ZERO),
        );
        let votes = self.config.options().votes;
        effects.set_timer(Timer::Coordinator(transaction), votes..=votes);
        self.ask(transaction, effects);
    }

    fn unfit(&self, work: &[(NodeId, Bytes)]) -> Option<Reason> {
        let named: BTreeSet<NodeId> = work.iter().map(|(node, _)| *node).collect();
        let known = |node: &NodeId| self.config.members().contains(*node);
        if !self.config.coordinates() {
            Some(Reason::NotCoordinator { hint: None })
        } else if named.is_empty() || named.len() < work.len() || !named.iter().all(known) {
            Some(Reason::BadParticipants)
        } else if self.coordinator.live.len() >= self.config.options().running_max {
            Some(Reason::Busy)
        } else {
            None
        }
    }

    /// Somebody has said in which run it is.
    pub(crate) fn greeted(&mut self, effects: &mut Effects<Self>) {
        let live = self.coordinator.live.iter();
        let greeting: Vec<_> = live
            .filter(|(_, live)| matches!(live.phase, Phase::Greeting { .. }))
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in greeting {
            self.ask(transaction, effects);
        }
    }

    fn ask(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let oldest_live = self.coordinator.oldest_live();
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Greeting { work } = &mut live.phase else {
            return;
        };
        let boots = &self.boots;
        let run = |node: &NodeId| Some((*node, *boots.get(node)?));
        let Some(participants) = live
            .participants
            .iter()
            .map(run)
            .collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let work = core::mem::take(work);
        live.phase = Phase::Collecting {
            yes: BTreeSet::new(),
        };
        for (node, work) in work {
            let message = Message::CanCommit {
                transaction,
                work,
                participants: participants.clone(),
                oldest_live,
            };
            // A question binds nobody.
            self.post_resting_on(Some(Lsn::ZERO), node, message, effects);
        }
    }

    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        yes: bool,
        reason: Bytes,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Collecting { yes: votes } = &mut live.phase else {
            return;
        };
        if !live.participants.contains(&from) {
            self.counters.refused.foreign_transactions += 1;
        } else if !yes {
            let reason = AbortReason::VotedNo { node: from, reason };
            self.decide(transaction, Outcome::Abort, reason, effects);
        } else if votes.insert(from) && votes.len() == live.participants.len() {
            self.pre_commit(transaction, effects);
        }
    }
}

// Second phase.
impl ThreePhase {
    fn pre_commit(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.phase = Phase::PreCommitting {
            ready: BTreeSet::new(),
            deposed: false,
        };
        live.rounds = 0;
        self.say_again(transaction, effects);
    }

    /// Counts an acknowledgement of this coordinator's own pre-commit.
    pub(crate) fn on_ready(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let count = live.participants.len();
        let Phase::PreCommitting { ready, deposed } = &mut live.phase else {
            return;
        };
        if live.participants.contains(&from) {
            ready.insert(from);
        }
        // A quorum's word stands whoever has been elected since; that of all, only while they obey.
        let enough = match self.config.is_classic() {
            true => !*deposed && ready.len() == count,
            false => ready.len() >= majority(count),
        };
        if enough {
            self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
        }
    }

    /// An election asks. A coordinator that has not decided leaves the decision to it, and one that has
    /// not heard all votes need not wait: it may always abort.
    pub(crate) fn depose(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let live = self.coordinator.live.get_mut(&transaction);
        match live.map(|live| &mut live.phase) {
            Some(Phase::Greeting { .. } | Phase::Collecting { .. }) => {
                self.decide(transaction, Outcome::Abort, AbortReason::Recovery, effects);
            }
            Some(Phase::PreCommitting { deposed, .. }) => *deposed = true,
            Some(Phase::Decided { .. }) | None => {}
        }
    }
}

// Third phase.
impl ThreePhase {
    pub(crate) fn decide(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        // Nobody has been asked: nobody need be told.
        let asked = !matches!(live.phase, Phase::Greeting { .. });
        let told = live.participants.iter().copied().filter(|_| asked);
        live.phase = Phase::Decided {
            outcome,
            reason: reason.clone(),
            unacknowledged: told.collect(),
        };
        live.rounds = 0;
        if outcome == Outcome::Commit {
            let participants = live.participants.clone();
            live.at = At::new(effects.persist(Record::Committed {
                transaction,
                participants,
            }));
        }
        for token in core::mem::take(&mut live.tokens) {
            let reason = reason.clone();
            effects.emit(Event::Ended {
                token,
                transaction,
                outcome,
                reason,
            });
        }
        self.counters.ended(outcome);
        if asked {
            self.say_again(transaction, effects);
        } else {
            self.end(transaction, effects);
        }
    }

    pub(crate) fn on_acknowledge(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let live = self.coordinator.live.get_mut(&transaction);
        if let Some(Phase::Decided { unacknowledged, .. }) = live.map(|live| &mut live.phase) {
            unacknowledged.remove(&from);
            if unacknowledged.is_empty() {
                self.end(transaction, effects);
            }
        }
    }

    fn end(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(live) = self.coordinator.live.remove(&transaction) else {
            return;
        };
        effects.cancel_timer(Timer::Coordinator(transaction));
        if let Phase::Decided {
            outcome, reason, ..
        } = live.phase
        {
            if outcome == Outcome::Commit {
                effects.persist_lazily(Record::End { transaction });
            }
            self.coordinator
                .remember(transaction, outcome, reason, &self.config);
        }
    }
}

// Time, and clients.
impl ThreePhase {
    pub(crate) fn on_coordinator_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.rounds += 1;
        match &live.phase {
            Phase::Greeting { work } => {
                let silent = work.keys().find(|node| !self.boots.contains_key(*node));
                let node = silent.copied().unwrap_or(transaction.coordinator);
                let reason = AbortReason::Timeout { node };
                self.decide(transaction, Outcome::Abort, reason, effects);
            }
            Phase::Collecting { yes } => {
                if planted!(self.config, SilenceIsConsent) {
                    return self.pre_commit(transaction, effects);
                }
                let silent = live.participants.iter().find(|node| !yes.contains(node));
                let node = silent.copied().unwrap_or(transaction.coordinator);
                let reason = AbortReason::Timeout { node };
                self.decide(transaction, Outcome::Abort, reason, effects);
            }
            // Whoever keeps silent has failed and will ask when it is back. One that has heard is needed:
            // if all fail now, somebody must remember that a commit was possible.
            Phase::PreCommitting { ready, deposed } => {
                if self.config.is_classic() && !deposed && !ready.is_empty() {
                    self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
                } else {
                    self.say_again(transaction, effects);
                }
            }
            Phase::Decided { .. } => self.say_again(transaction, effects),
        }
    }

    /// Says what the phase says to all that have not answered, and waits.
    pub(crate) fn say_again(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(live) = self.coordinator.live.get(&transaction) else {
            return;
        };
        let (message, to, rests_on): (_, Vec<_>, _) = match &live.phase {
            Phase::Greeting { .. } | Phase::Collecting { .. } => return,
            Phase::PreCommitting { ready, .. } => {
                let silent = live
                    .participants
                    .iter()
                    .filter(|node| !ready.contains(*node));
                let epoch = first(transaction);
                (
                    Message::PreCommit { transaction, epoch },
                    silent.copied().collect(),
                    self.own_vote(transaction),
                )
            }
            Phase::Decided {
                outcome,
                unacknowledged,
                ..
            } => (
                Message::decision(transaction, *outcome),
                unacknowledged.iter().copied().collect(),
                None,
            ),
        };
        let after = backoff(self.config.options().bound * 2, live.rounds);
        for node in to {
            self.post_resting_on(rests_on, node, message.clone(), effects);
        }
        effects.set_timer(Timer::Coordinator(transaction), after);
    }

    /// The record of this node's own yes, on which a pre-commit rests like on everybody else's: who loses
    /// it has never voted, and others would be ready to commit. Its own pre-commit need not be on disk: it
    /// is one of the acknowledgements that are counted, and the decision comes later in the same log.
    fn own_vote(&self, transaction: Transaction) -> Option<Lsn> {
        let part = self.participant.parts.get(&transaction);
        part.map_or(Some(Lsn::ZERO), |part| part.at.lsn())
    }

    pub(crate) fn on_give_up(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let live = self.coordinator.live.get(&transaction);
        if let Some(Phase::Greeting { .. } | Phase::Collecting { .. }) = live.map(|l| &l.phase) {
            self.decide(transaction, Outcome::Abort, AbortReason::Asked, effects);
        }
    }

    pub(crate) fn on_client_inquires(
        &mut self,
        token: Token,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        let ended = |outcome, reason| Event::Ended {
            token,
            transaction,
            outcome,
            reason,
        };
        if let Some(live) = self.coordinator.live.get_mut(&transaction) {
            match &live.phase {
                Phase::Decided {
                    outcome, reason, ..
                } => effects.emit(ended(*outcome, reason.clone())),
                _ if live.tokens.len() > INQUIRIES_MAX => {
                    let reason = Reason::Busy;
                    effects.emit(Event::Rejected { token, reason });
                }
                _ => live.tokens.push(token),
            }
        } else if let Some((outcome, reason)) = self.coordinator.remembered.get(&transaction) {
            effects.emit(ended(*outcome, reason.clone()));
        } else {
            // Decided long ago, or by the participants after this node's crash.
            effects.emit(Event::Forgotten { token, transaction });
        }
    }
}
