//! A cluster whose every message, sync and crash the test decides. Invariants run after each step.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use bytes::Bytes;
use consensus_core::{
    Ballot, Boot, Early, Effects, Gate, Input, Invariants, Lsn, Members, NodeId, Outlet, Protocol,
    Time, Token, Violation, Wire,
    contract::register::{Event, Instance, Request, Version},
};
use paxos::{Acceptance, Config, Message, Options, Paxos, PaxosInvariants, Record, Timer};
use std::collections::BTreeMap;

/// One message under way.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: u16,
    pub to: u16,
    pub message: Message,
    pub early: Option<Early>,
}

#[derive(Default)]
struct Out {
    letters: Vec<(NodeId, Message, Option<Early>)>,
    events: Vec<Event>,
    released: Option<Lsn>,
}

impl Outlet<Message, Event> for Out {
    fn message(&mut self, to: NodeId, message: Message) {
        self.letters.push((to, message, None));
    }
    fn early_message(&mut self, to: NodeId, message: Message, why: Early) {
        self.letters.push((to, message, Some(why)));
    }
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
    fn release(&mut self, before: Lsn) {
        self.released = Some(before);
    }
}

pub struct Node {
    pub protocol: Paxos,
    effects: Effects<Paxos>,
    gate: Gate,
    config: Config,
    boot: u32,
    /// What a crash leaves.
    pub disk: BTreeMap<Lsn, Record>,
    pending: Vec<Record>,
    pub released: Lsn,
    pub timers: BTreeMap<Timer, core::ops::RangeInclusive<core::time::Duration>>,
    pub events: Vec<Event>,
    pub forced_writes: usize,
}

pub struct Cluster {
    nodes: Vec<Node>,
    pub network: Vec<Letter>,
    pub sent: usize,
    invariants: PaxosInvariants,
    tokens: u64,
    /// Disks sync by themselves after each step.
    pub instant_disks: bool,
    /// Nothing has been made up so far, so the invariants hold.
    honest: bool,
}

pub fn cluster(count: u16) -> Cluster {
    with(count, Options::default())
}

pub fn with(count: u16, options: Options) -> Cluster {
    let members = Members::new((1..=count).map(NodeId)).expect("distinct");
    let configs: Vec<Config> = (1..=count)
        .map(|n| Config::new(NodeId(n), members.clone(), options.clone()).expect("valid"))
        .collect();
    let mut cluster = Cluster {
        invariants: PaxosInvariants::new(&configs[0]),
        nodes: configs.into_iter().map(Node::new).collect(),
        network: Vec::new(),
        sent: 0,
        tokens: 0,
        instant_disks: true,
        honest: true,
    };
    for node in 1..=count {
        cluster.input(node, Input::Start);
    }
    cluster
}

impl Node {
    fn new(config: Config) -> Self {
        Self {
            protocol: Paxos::recover(config.clone(), Boot(1), []).expect("an empty disk"),
            effects: Effects::new(Lsn::ZERO),
            gate: Gate::new(Lsn::ZERO),
            config,
            boot: 1,
            disk: BTreeMap::new(),
            pending: Vec::new(),
            released: Lsn::ZERO,
            timers: BTreeMap::new(),
            events: Vec::new(),
            forced_writes: 0,
        }
    }

    fn last(&self) -> Lsn {
        self.gate.durable()
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Version `version` of the key that all stories are about.
pub fn instance(version: u64) -> Instance {
    Instance {
        key: bytes("k"),
        version: Version(version),
    }
}

pub fn ballot(round: u64, node: u16) -> Ballot {
    Ballot {
        round,
        node: NodeId(node),
        boot: Boot(1),
    }
}

pub fn prepare(round: u64, node: u16) -> Message {
    Message::Prepare {
        instance: instance(1),
        ballot: ballot(round, node),
    }
}

pub fn accept(round: u64, node: u16, value: &str) -> Message {
    Message::Accept {
        instance: instance(1),
        ballot: ballot(round, node),
        value: bytes(value),
    }
}

pub fn promise(round: u64, node: u16, accepted: Option<(u64, u16, &str)>) -> Message {
    Message::Promise {
        instance: instance(1),
        ballot: ballot(round, node),
        accepted: accepted.map(|(round, node, value)| Acceptance {
            ballot: ballot(round, node),
            value: bytes(value),
        }),
    }
}

pub fn accepted(round: u64, node: u16) -> Message {
    Message::Accepted {
        instance: instance(1),
        ballot: ballot(round, node),
    }
}

impl Cluster {
    pub fn node(&self, node: u16) -> &Node {
        &self.nodes[usize::from(node) - 1]
    }

    fn node_mut(&mut self, node: u16) -> &mut Node {
        &mut self.nodes[usize::from(node) - 1]
    }

    pub fn input(&mut self, node: u16, input: Input<Paxos>) {
        self.step(node, input);
        while self.instant_disks && !self.node(node).pending.is_empty() {
            self.sync(node);
        }
    }

    fn step(&mut self, at: u16, input: Input<Paxos>) {
        let mut out = Out::default();
        let node = self.node_mut(at);
        node.protocol.handle(Time::ZERO, input, &mut node.effects);
        node.protocol.flush(Time::ZERO, &mut node.effects);
        node.gate.admit(&mut node.effects, &mut out);
        let (_, _, records) = node.effects.take_records();
        let records: Vec<Record> = records.collect();
        if !records.is_empty() {
            node.forced_writes += 1;
        }
        node.pending.extend(records);
        for (timer, after) in node.effects.take_timers().collect::<Vec<_>>() {
            match after {
                Some(after) => node.timers.insert(timer, after),
                None => node.timers.remove(&timer),
            };
        }
        self.carry_out(at, out);
    }

    fn carry_out(&mut self, at: u16, out: Out) {
        for (to, message, early) in out.letters {
            let verdict = self.invariants.sent(NodeId(at), &message);
            self.judge(verdict);
            self.sent += 1;
            self.network.push(Letter {
                from: at,
                to: to.0,
                message,
                early,
            });
        }
        for event in out.events {
            let verdict = self.invariants.told(NodeId(at), &event);
            self.judge(verdict);
            self.node_mut(at).events.push(event);
        }
        if let Some(before) = out.released {
            let node = self.node_mut(at);
            node.released = node.released.max(before);
            node.disk.retain(|lsn, _| *lsn >= before);
        }
        let node = &self.nodes[usize::from(at) - 1];
        let verdict = self.invariants.stepped(NodeId(at), &node.protocol);
        self.judge(verdict);
    }

    /// The disk of `at` completes what it was given.
    pub fn sync(&mut self, at: u16) {
        let node = self.node_mut(at);
        let mut lsn = node.last();
        for record in std::mem::take(&mut node.pending) {
            lsn = lsn.next();
            let verdict = self.invariants.durable(NodeId(at), &record);
            self.judge(verdict);
            self.node_mut(at).disk.insert(lsn, record);
        }
        let mut out = Out::default();
        let node = self.node_mut(at);
        node.gate.open(lsn, &mut node.effects, &mut out);
        self.carry_out(at, out);
        self.step(at, Input::Durable(lsn));
    }

    /// Loses what is not on disk, and starts again.
    pub fn crash(&mut self, at: u16) {
        let node = self.node_mut(at);
        node.boot += 1;
        let records = node.disk.clone();
        let last = node.last();
        node.protocol = Paxos::recover(node.config.clone(), Boot(node.boot), records)
            .expect("a prefix of a log is a legal state");
        node.effects = Effects::new(last);
        node.gate = Gate::new(last);
        node.pending.clear();
        node.timers.clear();
        self.input(at, Input::Start);
    }

    pub fn propose_version(&mut self, at: u16, version: u64, value: &str) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let request = Request::Propose {
            token,
            instance: instance(version),
            value: bytes(value),
        };
        self.input(at, Input::Request(request));
        token
    }

    pub fn propose(&mut self, at: u16, value: &str) -> Token {
        self.propose_version(at, 1, value)
    }

    pub fn read(&mut self, at: u16) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let key = bytes("k");
        self.input(at, Input::Request(Request::Read { token, key }));
        token
    }

    /// A message that the test has made up: from here on invariants are not judged.
    pub fn invent(&mut self, from: u16, to: u16, message: Message) {
        self.honest = false;
        self.receive(from, to, message);
    }

    /// A message that was really sent, perhaps once more.
    pub fn receive(&mut self, from: u16, to: u16, message: Message) {
        let from = NodeId(from);
        self.input(to, Input::Receive { from, message });
    }

    fn judge(&self, verdict: Result<(), Violation>) {
        if self.honest {
            verdict.expect("every safety property holds");
        }
    }

    /// Delivers the oldest message of this kind between the two.
    pub fn deliver(&mut self, from: u16, to: u16, kind: &str) -> Message {
        let message = self.lose(from, to, kind);
        self.receive(from, to, message.clone());
        message
    }

    /// Takes the oldest message of this kind out of the network.
    pub fn lose(&mut self, from: u16, to: u16, kind: &str) -> Message {
        let found = self
            .network
            .iter()
            .position(|l| l.from == from && l.to == to && l.message.kind() == kind);
        let Some(found) = found else {
            panic!("no {kind} from {from} to {to} in {:#?}", self.network);
        };
        self.network.remove(found).message
    }

    pub fn has(&self, from: u16, to: u16, kind: &str) -> bool {
        let mut letters = self.network.iter();
        letters.any(|l| l.from == from && l.to == to && l.message.kind() == kind)
    }

    /// Delivers everything, oldest first, except to and from the nodes named.
    pub fn settle_without(&mut self, down: &[u16]) {
        self.network
            .retain(|l| !down.contains(&l.from) && !down.contains(&l.to));
        while !self.network.is_empty() {
            let letter = self.network.remove(0);
            self.receive(letter.from, letter.to, letter.message);
            self.network
                .retain(|l| !down.contains(&l.from) && !down.contains(&l.to));
        }
    }

    pub fn settle(&mut self) {
        self.settle_without(&[]);
    }

    /// Lets an alarm go off; whether it was set.
    pub fn fire(&mut self, at: u16, name: fn(u64) -> Timer) -> bool {
        let found = (1..100)
            .map(name)
            .find(|t| self.node(at).timers.contains_key(t));
        let Some(timer) = found else {
            return false;
        };
        self.node_mut(at).timers.remove(&timer);
        self.input(at, Input::Timer(timer));
        true
    }

    /// What node `at` was told for `token`.
    pub fn told(&self, at: u16, token: Token) -> Option<&Event> {
        self.node(at).events.iter().find(|event| match event {
            Event::Chosen { token: t, .. } => *t == Some(token),
            Event::Newest { token: t, .. }
            | Event::Superseded { token: t, .. }
            | Event::Undecided { token: t }
            | Event::Rejected { token: t, .. } => *t == token,
        })
    }

    /// The value chosen, as the proposal `token` was told.
    pub fn chosen(&self, at: u16, token: Token) -> Option<&[u8]> {
        match self.told(at, token)? {
            Event::Chosen { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Version and value that the read `token` was told.
    pub fn newest(&self, at: u16, token: Token) -> Option<(u64, &[u8])> {
        match self.told(at, token)? {
            Event::Newest { version, value, .. } => Some((version.0, value)),
            _ => None,
        }
    }
}
