//! Elections: who ends an orphaned transaction. Any participant that has waited long may campaign; a
//! round is used once, and **a site stores a round before it reports to it** and takes part in no older
//! one from then on. What the reports mean is said in `termination` and `quorum_termination`.

use crate::{
    Epoch, Message, Record, Stage, ThreePhase, Timer,
    config::backoff,
    participant::{Part, State},
    quorum_termination, termination,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use consensus_core::{
    Boot, Early, Effects, NodeId,
    contract::atomic_commit::{Event, Outcome, Transaction},
    majority,
};

/// A campaign of this node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Election {
    pub(crate) epoch: Epoch,
    pub(crate) reports: BTreeMap<NodeId, Report>,
    /// What is attempted, and whose disks hold it.
    pub(crate) attempt: Option<(Outcome, BTreeSet<NodeId>)>,
}

/// Where a site stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Report {
    pub(crate) stage: Stage,
    pub(crate) attempt: Epoch,
    pub(crate) recovered: bool,
}

/// What an elected coordinator makes of the reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// More may come.
    Wait,
    /// Bring everybody to pre-commit or pre-abort first.
    Attempt(Outcome),
    Decide(Outcome),
    /// Nothing can be decided without these.
    Blocked(Vec<NodeId>),
}

impl Part {
    fn report(&self) -> Option<Report> {
        let stage = match self.state {
            State::Wait => Stage::Wait,
            State::PreCommitted => Stage::PreCommitted,
            State::PreAborted => Stage::PreAborted,
            State::Working | State::Committed { .. } | State::Aborted { .. } => return None,
        };
        Some(Report {
            stage,
            attempt: self.attempt,
            recovered: self.recovered,
        })
    }
}

// The candidate.
impl ThreePhase {
    pub(crate) fn campaign(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let me = self.config.node();
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let Some(report) = part.report() else {
            return;
        };
        let epoch = Epoch {
            round: part.elected.round.max(part.heard).saturating_add(1),
            node: me,
        };
        part.elected = epoch;
        part.election = Some(Election {
            epoch,
            reports: BTreeMap::from([(me, report)]),
            attempt: None,
        });
        let participants = part.participants.clone();
        effects.persist(Record::Elected { transaction, epoch });
        self.counters.elections += 1;
        let mut asked: BTreeSet<_> = participants.iter().map(|(node, _)| *node).collect();
        asked.insert(transaction.coordinator);
        asked.remove(&me);
        for node in asked {
            let participants = participants.clone();
            let message = Message::Elect {
                transaction,
                epoch,
                participants,
            };
            effects.send(node, message);
        }
        // In both of its roles this node stands where its own round stands.
        self.depose(transaction, effects);
        self.arm_election(transaction, effects);
        self.judge(transaction, false, effects);
    }

    fn arm_election(&self, transaction: Transaction, effects: &mut Effects<Self>) {
        // A message there and one back. Where the bound is a hint it may be shorter than that, and one who
        // never waits longer would never hear a quorum.
        let part = self.participant.parts.get(&transaction);
        let rounds = part.filter(|_| !self.config.is_classic());
        let rounds = rounds.map_or(0, |part| part.rounds.saturating_sub(1));
        let after = *backoff(self.config.options().bound * 2, rounds).start();
        effects.set_timer(Timer::Election(transaction), after..=after);
    }

    pub(crate) fn on_report(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        (stage, attempt, recovered): (Stage, Epoch, bool),
        effects: &mut Effects<Self>,
    ) {
        let part = self.participant.parts.get_mut(&transaction);
        let Some(part) = part else {
            return;
        };
        let known = from == transaction.coordinator
            || part.participants.iter().any(|(node, _)| *node == from);
        let Some(election) = part.election.as_mut().filter(|e| e.epoch == epoch && known) else {
            return;
        };
        if election.attempt.is_some() {
            return;
        }
        let report = Report {
            stage,
            attempt,
            recovered,
        };
        election.reports.insert(from, report);
        self.judge(transaction, false, effects);
    }

    /// A newer round is under way elsewhere.
    pub(crate) fn on_refuse(
        &mut self,
        transaction: Transaction,
        elected: Epoch,
        effects: &mut Effects<Self>,
    ) {
        if self.coordinator.live.contains_key(&transaction)
            && elected > crate::config::first(transaction)
        {
            self.depose(transaction, effects);
        }
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        if part.election.as_ref().is_some_and(|e| e.epoch < elected) {
            part.election = None;
            // The next campaign outranks it.
            part.heard = part.heard.max(elected.round);
            effects.cancel_timer(Timer::Election(transaction));
            self.wait_for_outcome(transaction, effects);
        }
    }

    pub(crate) fn on_election_late(
        &mut self,
        transaction: Transaction,
        effects: &mut Effects<Self>,
    ) {
        self.judge(transaction, true, effects);
    }

    /// Looks at what has come in; `late`: nothing more is expected.
    fn judge(&mut self, transaction: Transaction, late: bool, effects: &mut Effects<Self>) {
        let Some(part) = self.participant.parts.get(&transaction) else {
            return;
        };
        let Some(election) = &part.election else {
            return;
        };
        if let Some((outcome, ready)) = &election.attempt {
            let outcome = *outcome;
            let count = part.participants.len();
            let enough = match self.config.is_classic() {
                // Who was asked and keeps silent has failed.
                true => late || election.reports.keys().all(|n| ready.contains(n)),
                false => ready.len() >= majority(count),
            };
            if enough {
                self.decide_elected(transaction, outcome, effects);
            } else if late {
                let missing = part.participants.iter().map(|(node, _)| *node);
                let missing = missing.filter(|node| !ready.contains(node)).collect();
                self.blocked(transaction, missing, effects);
            }
            return;
        }
        let verdict = if self.config.is_classic() {
            let all_equal = planted!(self.config, RecoveredDecides);
            termination::judge(
                self.config.node(),
                transaction,
                part,
                election,
                late,
                all_equal,
            )
        } else {
            let any = planted!(self.config, IgnoresAttempts);
            quorum_termination::judge(
                part,
                election,
                late || self.config.options().eager,
                late,
                any,
            )
        };
        match verdict {
            Verdict::Wait => {}
            Verdict::Attempt(outcome) => self.attempt(transaction, outcome, effects),
            Verdict::Decide(outcome) => self.decide_elected(transaction, outcome, effects),
            Verdict::Blocked(missing) => self.blocked(transaction, missing, effects),
        }
    }

    /// Brings those who reported to where a decision can follow, itself first.
    fn attempt(&mut self, transaction: Transaction, outcome: Outcome, effects: &mut Effects<Self>) {
        let me = self.config.node();
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            return;
        };
        let Some(election) = &mut part.election else {
            return;
        };
        let epoch = election.epoch;
        election
            .reports
            .retain(|_, report| report.stage != Stage::Gone);
        election.attempt = Some((outcome, BTreeSet::from([me])));
        let participants = part.participants.iter().map(|(node, _)| *node);
        // A coordinator without work has nothing to be made ready.
        election
            .reports
            .retain(|node, _| participants.clone().any(|p| p == *node));
        let to: Vec<_> = participants
            .filter(|node| *node != me)
            .filter(|node| !self.config.is_classic() || election.reports.contains_key(node))
            .collect();
        part.attempt = epoch;
        part.state = match outcome {
            Outcome::Commit => State::PreCommitted,
            Outcome::Abort => State::PreAborted,
        };
        effects.persist(Record::Attempted {
            transaction,
            epoch,
            outcome,
        });
        for node in to {
            effects.send(node, Message::attempt(transaction, epoch, outcome));
        }
        self.arm_election(transaction, effects);
        self.judge(transaction, false, effects);
    }

    pub(crate) fn on_attempt_acknowledged(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        effects: &mut Effects<Self>,
    ) {
        let part = self.participant.parts.get_mut(&transaction);
        let Some(part) = part else {
            return;
        };
        let known = part.participants.iter().any(|(node, _)| *node == from);
        let election = part.election.as_mut().filter(|e| e.epoch == epoch && known);
        if let Some((_, ready)) = election.and_then(|e| e.attempt.as_mut()) {
            ready.insert(from);
            self.judge(transaction, false, effects);
        }
    }

    fn decide_elected(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        effects: &mut Effects<Self>,
    ) {
        let me = self.config.node();
        let Some(part) = self.participant.parts.get(&transaction) else {
            return;
        };
        let mut told: BTreeSet<_> = part.others(me).into_iter().collect();
        told.insert(transaction.coordinator);
        self.carry_out(transaction, outcome, effects);
        for node in told {
            self.tell(node, transaction, outcome, effects);
        }
    }

    /// Cannot end it now; the next alarm of the participant campaigns again.
    fn blocked(
        &mut self,
        transaction: Transaction,
        waiting_for: Vec<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        if let Some(part) = self.participant.parts.get_mut(&transaction) {
            part.election = None;
        }
        effects.emit(Event::Blocked {
            transaction,
            waiting_for,
        });
        self.wait_for_outcome(transaction, effects);
    }
}

// Everybody else.
impl ThreePhase {
    pub(crate) fn on_elect(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        participants: &[(NodeId, Boot)],
        effects: &mut Effects<Self>,
    ) {
        let me = self.config.node();
        if transaction.coordinator == me {
            self.depose(transaction, effects);
        }
        let Some((_, boot)) = participants.iter().find(|(node, _)| *node == me) else {
            return self.report_as_coordinator(from, transaction, epoch, effects);
        };
        let Some(part) = self.participant.parts.get_mut(&transaction) else {
            if *boot == self.boot && !self.is_past(transaction) {
                // The question may still come, and must find that this site has aborted.
                let (named, state) = (participants.to_vec(), State::Aborted { done: true });
                let part = Part::new(transaction, named, state);
                self.participant.parts.insert(transaction, part);
                self.wait_for_outcome(transaction, effects);
            }
            // No record of a yes, and there never will be one.
            return self.tell(from, transaction, Outcome::Abort, effects);
        };
        if let Some(outcome) = part.outcome() {
            return self.tell(from, transaction, outcome, effects);
        }
        let Some(report) = part.report() else {
            // Not voted yet: it may abort, and does.
            self.carry_out(transaction, Outcome::Abort, effects);
            return self.tell(from, transaction, Outcome::Abort, effects);
        };
        if epoch < part.elected {
            let elected = part.elected;
            let message = Message::Refuse {
                transaction,
                elected,
            };
            return self.post(from, message, effects);
        }
        let message = Message::Report {
            transaction,
            epoch,
            stage: report.stage,
            attempt: report.attempt,
            recovered: report.recovered,
        };
        if planted!(self.config, ReportsBeforeElected) {
            return effects.send_early(from, message, Early::QuorumHolds);
        }
        if epoch > part.elected {
            part.elected = epoch;
            effects.persist(Record::Elected { transaction, epoch });
            if part.election.take().is_some() {
                effects.cancel_timer(Timer::Election(transaction));
                self.wait_for_outcome(transaction, effects);
            }
        }
        self.post(from, message, effects);
    }

    /// A coordinator that has no part in the work says what it knows.
    fn report_as_coordinator(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        epoch: Epoch,
        effects: &mut Effects<Self>,
    ) {
        use crate::coordinator::Phase;
        if transaction.coordinator != self.config.node() {
            self.counters.refused.foreign_transactions += 1;
            return;
        }
        let live = self.coordinator.live.get(&transaction);
        let (stage, attempt) = match live.map(|live| &live.phase) {
            Some(Phase::Decided { outcome, .. }) => {
                let outcome = *outcome;
                return self.tell(from, transaction, outcome, effects);
            }
            Some(Phase::PreCommitting { .. }) => {
                (Stage::PreCommitted, crate::config::first(transaction))
            }
            Some(Phase::Greeting { .. } | Phase::Collecting { .. }) | None => {
                (Stage::Gone, Epoch::default())
            }
        };
        let message = Message::Report {
            transaction,
            epoch,
            stage,
            attempt,
            recovered: stage == Stage::Gone,
        };
        self.post(from, message, effects);
    }
}
