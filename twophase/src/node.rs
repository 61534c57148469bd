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
    Aside, Boot, Effects, Input, Lsn, NodeId, Protocol, RecoverError, Time,
    contract::atomic_commit::{Event, Request, Transaction},
};

/// Two-phase commit at one node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TwoPhase {
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
    /// Votes are late.
    Votes(Transaction),
    /// Acknowledgements are late.
    Acknowledgements(Transaction),
    /// The outcome is late.
    Outcome(Transaction),
}

impl Protocol for TwoPhase {
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
        let forgets_boot = planted!(config, IdReused);
        let named = if forgets_boot { Boot(1) } else { boot };
        let mut node = Self {
            coordinator: Coordinator::new(config.node(), named),
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
            Input::Timer(Timer::Votes(transaction)) => self.on_votes_late(transaction, effects),
            Input::Timer(Timer::Acknowledgements(transaction)) => {
                self.on_acknowledgements_late(transaction, effects);
            }
            Input::Timer(Timer::Outcome(transaction)) => self.on_outcome_late(transaction, effects),
            // Nothing counts before its time: what rests on a record is held by the gate, and what one
            // role here tells the other rests on records of the same log that come first.
            Input::Durable(_) => {}
            // Alarms ask again in any case, and a connection that is lost is no vote.
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

impl TwoPhase {
    fn receive(&mut self, from: NodeId, message: Message, effects: &mut Effects<Self>) {
        match message {
            Message::Prepare {
                transaction,
                work,
                participants,
                presumption,
                oldest_live,
            } => {
                if from == transaction.coordinator {
                    self.forget_before(oldest_live);
                    self.on_prepare(transaction, work, participants, presumption, effects);
                } else {
                    self.counters.refused.foreign_transactions += 1;
                }
            }
            Message::Vote {
                transaction,
                vote,
                boot,
            } => self.on_vote(from, transaction, vote, boot, effects),
            Message::Decision {
                transaction,
                outcome,
                presumption,
                oldest_live,
            } => {
                if let Some(oldest_live) = oldest_live
                    && from == oldest_live.coordinator
                {
                    self.forget_before(oldest_live);
                }
                self.on_decision(transaction, outcome, presumption, effects);
            }
            Message::Acknowledge { transaction } => {
                self.on_acknowledge(from, transaction, effects);
            }
            Message::CommitOnePhase {
                transaction,
                work,
                boot,
                oldest_live,
            } => {
                if from == transaction.coordinator {
                    self.forget_before(oldest_live);
                    self.on_commit_one_phase(transaction, work, boot, effects);
                } else {
                    self.counters.refused.foreign_transactions += 1;
                }
            }
            Message::Ended {
                transaction,
                outcome,
                reason,
            } => self.on_ended(from, transaction, outcome, reason, effects),
            Message::Inquire {
                transaction,
                presumption,
                boot,
            } => self.on_inquire(from, transaction, presumption, boot, effects),
            Message::Undecided { transaction } => self.on_undecided(from, transaction),
            Message::Greet {} => {
                let boot = self.boot;
                effects.send(from, Message::Hello { boot });
            }
            Message::Hello { boot } => self.on_hello(from, boot, effects),
        }
    }

    fn request(&mut self, request: Request, effects: &mut Effects<Self>) {
        match request {
            Request::Begin { token, work } => self.on_begin(token, work, effects),
            Request::Vote { transaction, vote } => {
                self.on_resource_votes(transaction, vote, effects)
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
            Request::DecideByHand {
                transaction,
                outcome,
            } => self.on_decide_by_hand(transaction, outcome, effects),
            Request::ListInDoubt { token } => {
                let transactions = self.in_doubt();
                effects.emit(Event::InDoubt {
                    token,
                    transactions,
                });
            }
            Request::AcknowledgeDamage { transaction } => {
                if self.participant.damage.remove(&transaction).is_some() {
                    effects.persist_lazily(Record::Seen { transaction });
                }
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
}
