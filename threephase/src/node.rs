//! One node: coordinator and participant, and nothing but the way from an input to a verb of one of
//! them.

use crate::{
    Config, Message, Record,
    coordinator::Coordinator,
    participant::Participant,
    status::{Counters, Status},
};
use alloc::collections::{BTreeMap, VecDeque};
use consensus_core::{
    Aside, Boot, Early, Effects, Input, Lsn, NodeId, Protocol, RecoverError, Time,
    contract::atomic_commit::{Event, Outcome, Request, Transaction},
};

/// Three-phase commit at one node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ThreePhase {
    pub(crate) config: Config,
    pub(crate) boot: Boot,
    pub(crate) coordinator: Coordinator,
    pub(crate) participant: Participant,
    /// What one role at this node says to the other. Empty between inputs.
    pub(crate) local: VecDeque<Message>,
    /// The newest run of each node that it has told of.
    pub(crate) boots: BTreeMap<NodeId, Boot>,
    pub(crate) counters: Counters,
    /// What its clock said at the newest input: told to operators, never asked by the protocol.
    pub(crate) now: Aside<Time>,
}

/// The names of alarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// A coordinator waits: for votes, for acknowledgements of a pre-commit, for final ones.
    Coordinator(Transaction),
    /// A participant waits: for its resource, for the outcome, for leave to forget.
    Participant(Transaction),
    /// One that wants to be elected waits for reports, or for acknowledgements of its attempt.
    Election(Transaction),
}

impl Protocol for ThreePhase {
    type Config = Config;
    type Message = Message;
    type Record = Record;
    type Request = Request;
    type Event = Event;
    type Timer = Timer;
    type Status = Status;

    fn recover(
        config: Config,
        boot: Boot,
        records: impl IntoIterator<Item = (Lsn, Record)>,
    ) -> Result<Self, RecoverError> {
        let mut node = Self {
            coordinator: Coordinator::new(config.node(), boot),
            participant: Participant::default(),
            local: VecDeque::new(),
            boots: BTreeMap::from([(config.node(), boot)]),
            counters: Counters::default(),
            now: Aside::default(),
            config,
            boot,
        };
        for (lsn, record) in records {
            node.replay(lsn, record);
        }
        Ok(node)
    }

    fn handle(&mut self, now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        *self.now = now;
        match input {
            Input::Start => {
                self.participant.found_in_doubt(now);
                self.start(effects);
            }
            Input::Receive { from, message } => {
                let me = self.config.node();
                if from == me || !self.config.members().contains(from) {
                    self.counters.refused.strangers += 1;
                } else {
                    self.receive(from, message, effects);
                }
            }
            Input::Request(request) => self.request(request, effects),
            Input::Timer(Timer::Coordinator(transaction)) => {
                self.on_coordinator_late(transaction, effects);
            }
            Input::Timer(Timer::Participant(transaction)) => {
                self.on_participant_late(transaction, effects);
            }
            Input::Timer(Timer::Election(transaction)) => {
                self.on_election_late(transaction, effects);
            }
            // Nothing counts before its time: what rests on a record is held by the gate, and what one
            // role here tells the other rests on records of the same log that come first.
            Input::Durable(_) => {}
            // Only silence for longer than the bound counts as a failure.
            Input::Unreachable(_) => {}
            Input::Reclaim(before) => self.on_reclaim(before, effects),
        }
        while let Some(message) = self.local.pop_front() {
            self.receive(self.config.node(), message, effects);
        }
    }

    fn flush(&mut self, _now: Time, _effects: &mut Effects<Self>) {
        // Transactions are independent: there is nothing to coalesce.
    }

    fn status(&self) -> Status {
        self.look_inside()
    }
}

impl ThreePhase {
    fn receive(&mut self, from: NodeId, message: Message, effects: &mut Effects<Self>) {
        match message {
            Message::CanCommit {
                transaction,
                work,
                participants,
                oldest_live,
            } => {
                if from == transaction.coordinator && from == oldest_live.coordinator {
                    self.note_boot(from, transaction.boot);
                    self.forget_before(oldest_live, Some(&mut *effects));
                    self.on_can_commit(transaction, work, participants, effects);
                } else {
                    self.counters.refused.foreign_transactions += 1;
                }
            }
            Message::Vote {
                transaction,
                yes,
                reason,
            } => self.on_vote(from, transaction, yes, reason, effects),
            Message::PreCommit { transaction, epoch } => {
                self.on_attempt(from, transaction, epoch, Outcome::Commit, effects);
            }
            Message::PreAbort { transaction, epoch } => {
                self.on_attempt(from, transaction, epoch, Outcome::Abort, effects);
            }
            Message::Attempted { transaction, epoch } => {
                self.on_attempted(from, transaction, epoch, effects);
            }
            Message::DoCommit { transaction } => {
                self.on_decision(transaction, Outcome::Commit, effects);
            }
            Message::DoAbort { transaction } => {
                self.on_decision(transaction, Outcome::Abort, effects);
            }
            Message::Acknowledge { transaction } => {
                self.on_acknowledge(from, transaction, effects);
            }
            Message::Elect {
                transaction,
                epoch,
                participants,
            } => {
                if epoch.node == from {
                    self.on_elect(from, transaction, epoch, &participants, effects);
                } else {
                    self.counters.refused.foreign_transactions += 1;
                }
            }
            Message::Report {
                transaction,
                epoch,
                stage,
                attempt,
                recovered,
            } => self.on_report(
                from,
                transaction,
                epoch,
                (stage, attempt, recovered),
                effects,
            ),
            Message::Refuse {
                transaction,
                elected,
            } => self.on_refuse(transaction, elected, effects),
            Message::Settle {
                transaction,
                outcome,
                boot,
            } => self.on_settle(from, transaction, outcome, boot, effects),
            Message::Settled { transaction } => self.on_settled(from, transaction, effects),
            Message::Greet {} => {
                let boot = self.boot;
                effects.send(from, Message::Hello { boot });
            }
            Message::Hello { boot } => {
                self.note_boot(from, boot);
                self.greeted(effects);
            }
        }
    }

    fn request(&mut self, request: Request, effects: &mut Effects<Self>) {
        match request {
            Request::Begin { token, work } => self.on_begin(token, work, effects),
            Request::Vote { transaction, vote } => {
                self.on_resource_votes(transaction, vote, effects);
            }
            Request::Abort { transaction } => self.on_give_up(transaction, effects),
            Request::Done { transaction, kept } => self.on_done(transaction, kept, effects),
            Request::Checkpoint { state } => self.on_checkpoint(state, effects),
            Request::FoundPrepared { transactions } => {
                self.on_found_prepared(transactions, effects);
            }
            Request::Inquire { token, transaction } => {
                self.on_client_inquires(token, transaction, effects);
            }
            // Not offered: counted, so that an operator sees that it was in vain.
            Request::DecideByHand { .. } | Request::AcknowledgeDamage { .. } => {
                self.counters.refused.by_hand += 1;
            }
            Request::ListInDoubt { token } => {
                let transactions = self.in_doubt();
                effects.emit(Event::InDoubt {
                    token,
                    transactions,
                });
            }
        }
    }

    /// Sends, held; what one role says to the other at this node arrives at the end of the input.
    ///
    /// That is sound although nothing is on disk yet: whatever the other role writes because of it comes
    /// later in the same log, and whatever it sends is held for both.
    pub(crate) fn post(&mut self, to: NodeId, message: Message, effects: &mut Effects<Self>) {
        if to == self.config.node() {
            self.local.push_back(message);
        } else {
            effects.send(to, message);
        }
    }

    /// As [`Self::post`], ahead of the disk when it holds already what the message rests on.
    pub(crate) fn post_resting_on(
        &mut self,
        record: Option<Lsn>,
        to: NodeId,
        message: Message,
        effects: &mut Effects<Self>,
    ) {
        match record.filter(|lsn| *lsn <= effects.durable()) {
            Some(lsn) if to != self.config.node() => {
                effects.send_early(to, message, Early::Authority(lsn));
            }
            _ => self.post(to, message, effects),
        }
    }

    /// `node` runs for the `boot`-th time at least.
    pub(crate) fn note_boot(&mut self, node: NodeId, boot: Boot) {
        let known = self.boots.entry(node).or_insert(boot);
        *known = boot.max(*known);
    }
}
