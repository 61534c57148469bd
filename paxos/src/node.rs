//! One node: all three roles, and nothing but the way from an input to a verb of one of them.

use crate::{
    Config, Message, Record,
    acceptor::Acceptor,
    learner::Learned,
    proposer::{Own, Proposal},
    reader::{Read, Report},
    status::{Counters, Status},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use consensus_core::{
    Ballot, Boot, Effects, Input, Lsn, NodeId, Protocol, RecoverError, Tally, Time, Token,
    Unsynced,
    contract::register::{Event, Key, Request},
};

/// Single-decree Paxos for any number of instances, at one node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Paxos {
    pub(crate) config: Config,
    pub(crate) boot: Boot,
    /// Node and boot of every ballot of this run; its round is zero.
    pub(crate) own: Ballot,

    // Durable, as far as it is not `unsynced`.
    pub(crate) acceptor: Acceptor,

    // Volatile.
    pub(crate) learner: BTreeMap<Key, Learned>,
    pub(crate) proposals: BTreeMap<Key, Proposal>,
    pub(crate) reads: BTreeMap<u64, Read>,
    /// The reads of each key.
    pub(crate) readers: BTreeMap<Key, Vec<u64>>,
    /// The key of each running proposal, for its alarms.
    pub(crate) numbers: BTreeMap<u64, Key>,
    /// What each waiting request has become.
    pub(crate) tokens: BTreeMap<Token, Work>,
    /// What this node's own acceptor will have said once its disk holds the record.
    pub(crate) unsynced: Unsynced<Own>,
    /// Peers that let a question go unanswered and have not been heard since: a thrifty question
    /// goes to others first.
    pub(crate) silent: BTreeSet<NodeId>,
    /// Names of proposals and reads given out in this run.
    pub(crate) named: u64,
    pub(crate) counters: Counters,
}

/// What a request has become.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Work {
    Proposal(Key),
    Read(u64),
}

/// The names of alarms. Numbers name a proposal or a read of this run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The answers to a proposal are late.
    Resend(u64),
    /// A proposal's back-off is over.
    Retry(u64),
    /// The answers to a read are late, or what it found is still open.
    Ask(u64),
}

impl Protocol for Paxos {
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
        let raise = !planted!(config, AcceptDoesNotRaisePromise);
        let mut acceptor = Acceptor::default();
        let mut last = Lsn::ZERO;
        for (lsn, record) in records {
            acceptor
                .restore(lsn, record, raise)
                .map_err(|reason| RecoverError { lsn, reason })?;
            last = lsn;
        }
        let forgets_boot = planted!(config, BallotReused);
        let own = Ballot {
            round: 0,
            node: config.node(),
            boot: if forgets_boot { Boot(1) } else { boot },
        };
        Ok(Self {
            config,
            boot,
            own,
            acceptor,
            learner: BTreeMap::new(),
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            readers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tokens: BTreeMap::new(),
            unsynced: Unsynced::new(last),
            silent: BTreeSet::new(),
            named: 0,
            counters: Counters::default(),
        })
    }

    fn handle(&mut self, _now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            // Proposals do not survive a crash, and acceptors speak when they are asked.
            Input::Start => {}
            Input::Receive { from, message } => self.receive(from, message, effects),
            Input::Request(request) => self.request(request, effects),
            Input::Timer(Timer::Resend(number)) => self.on_resend(number, effects),
            Input::Timer(Timer::Retry(number)) => self.on_retry(number, effects),
            Input::Timer(Timer::Ask(number)) => self.on_ask(number, effects),
            Input::Durable(lsn) => {
                let facts: Vec<Own> = self.unsynced.settle(lsn).collect();
                for fact in facts {
                    self.on_own(fact, effects);
                }
            }
            Input::Unreachable(node) => self.on_unreachable(node, effects),
            Input::Reclaim(before) => self.on_reclaim(before, effects),
        }
    }

    fn flush(&mut self, _now: Time, _effects: &mut Effects<Self>) {
        // Instances are independent: there is nothing to coalesce.
    }

    fn status(&self) -> Status {
        self.look_inside()
    }
}

impl Paxos {
    fn receive(&mut self, from: NodeId, message: Message, effects: &mut Effects<Self>) {
        if from == self.config.node() || !self.config.quorums().members().contains(from) {
            self.counters.refused.strangers += 1;
            return;
        }
        self.silent.remove(&from);
        match message {
            Message::Prepare { instance, ballot } => {
                self.on_prepare(from, instance, ballot, effects);
            }
            Message::Promise {
                instance,
                ballot,
                accepted,
            } => self.on_promise(from, instance, ballot, accepted, effects),
            Message::Accept {
                instance,
                ballot,
                value,
            } => self.on_accept(from, instance, ballot, value, effects),
            Message::Accepted { instance, ballot } => {
                self.on_accepted(from, &instance, ballot, effects);
            }
            Message::Reject {
                instance,
                ballot,
                promised,
            } => self.on_reject(from, &instance, ballot, promised, effects),
            Message::Chosen {
                instance,
                ballot,
                value,
            } => self.on_chosen(instance, ballot, value, effects),
            Message::Superseded { instance, by } => self.on_superseded(&instance, by, effects),
            Message::Query { key, read } => self.on_query(from, key, read, effects),
            Message::Report {
                key: _,
                read,
                version,
                accepted,
                chosen,
            } => {
                let report = Report {
                    version,
                    accepted,
                    chosen,
                };
                self.on_report(from, read, report, effects);
            }
        }
    }

    fn request(&mut self, request: Request, effects: &mut Effects<Self>) {
        match request {
            Request::Propose {
                token,
                instance,
                value,
            } => self.on_propose(token, instance, value, effects),
            Request::Read { token, key } => self.on_read(token, key, effects),
            Request::Cancel { token } => self.on_cancel(token, effects),
            Request::Forget { instance } => self.on_forget(&instance),
        }
    }

    /// Whom to ask besides oneself so that `needed` may answer: all others, or thriftily just enough,
    /// `first` before those that have been heard of before those that are silent. From one's right
    /// onwards, so that the load of all proposers is even.
    pub(crate) fn to_ask(&self, needed: usize, first: Tally) -> Vec<NodeId> {
        let (me, members) = (self.config.node(), self.config.quorums().members());
        let mut nodes: Vec<NodeId> = members.others(me).collect();
        let rank = |node: &NodeId| {
            let silent = self.silent.contains(node);
            (silent, !first.has(members, *node), *node < me, *node)
        };
        nodes.sort_unstable_by_key(rank);
        if self.config.options().thrifty {
            nodes.truncate(needed - 1);
        }
        nodes
    }

    /// A question of this node has waited long: those `asked` who have not `answered` are silent.
    pub(crate) fn suspect(&mut self, asked: Tally, answered: Tally) {
        if self.config.options().thrifty {
            let members = self.config.quorums().members();
            let silent = asked.iter(members).filter(|n| !answered.has(members, *n));
            self.silent.extend(silent);
        }
    }

    /// Names a proposal or a read.
    pub(crate) fn number(&mut self) -> u64 {
        self.named += 1;
        self.named
    }

    /// Whether no more proposals or reads are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.proposals.len() + self.reads.len() >= self.config.options().running_max
    }

    /// Sets an alarm for late answers.
    pub(crate) fn arm(&self, timer: Timer, effects: &mut Effects<Self>) {
        let after = self.config.options().resend;
        effects.set_timer(timer, after..=after.saturating_mul(2));
    }
}
