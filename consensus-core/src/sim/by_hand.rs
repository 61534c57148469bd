//! A cluster of an atomic commit protocol in the hands of a test: every message waits until it is
//! delivered or lost, every disk writes at once, alarms go off when the test says so, and the
//! protocol's safety properties are judged after every step.

use crate::{
    Algorithm, Boot, Effects, Gate, Input, Invariants, Lsn, Members, NodeId, Outlet, Time, Token,
    Violation,
    contract::atomic_commit::{AbortReason, Event, Kept, Outcome, Request, Transaction, Vote},
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;

/// What may be run by hand.
pub trait ByHand: Algorithm<Request = Request, Event = Event> {}

impl<A: Algorithm<Request = Request, Event = Event>> ByHand for A {}

/// One node.
pub struct Node<A: ByHand> {
    /// As it is.
    pub protocol: A,
    /// What its disk holds.
    pub disk: BTreeMap<Lsn, A::Record>,
    /// What its application has been told in this run.
    pub events: Vec<Event>,
    config: A::Config,
    boot: Boot,
    effects: Effects<A>,
    gate: Gate,
}

impl<A: ByHand> Node<A> {
    /// The newest record that its disk has ever held.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.gate.durable()
    }
}

struct Out<A: ByHand> {
    messages: Vec<(NodeId, A::Message)>,
    events: Vec<Event>,
    released: Option<Lsn>,
}

impl<A: ByHand> Outlet<A::Message, Event> for Out<A> {
    fn message(&mut self, to: NodeId, message: A::Message) {
        self.messages.push((to, message));
    }
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
    fn release(&mut self, before: Lsn) {
        self.released = Some(before);
    }
}

/// Nodes 1 to N, and what is under way between them. Resources vote yes, and keep what they are told in
/// the participant's log.
pub struct Cluster<A: ByHand> {
    nodes: Vec<Node<A>>,
    invariants: A::Invariants,
    /// From, to, and what: in the order of sending.
    pub network: Vec<(u16, u16, A::Message)>,
    /// Whose resources vote no.
    pub refusing: Vec<u16>,
    /// Whose resources do not say when they have carried an outcome out.
    pub slow: Vec<u16>,
    /// Whose resources do not vote.
    pub silent: Vec<u16>,
    /// Properties that are not judged: to see what comes of it where they do not hold.
    pub overlooked: Vec<&'static str>,
}

impl<A: ByHand> Cluster<A> {
    /// Nodes 1 to `count`, started, with nothing under way.
    ///
    /// # Panics
    /// When the options do not fit.
    #[must_use]
    pub fn new(count: u16, options: &A::Options) -> Self {
        let members = Members::new((1..=count).map(NodeId)).expect("distinct nodes");
        let nodes: Vec<Node<A>> = members
            .iter()
            .map(|id| {
                let config = A::config(options, &members, id).expect("options that fit");
                Node {
                    protocol: A::recover(config.clone(), Boot(1), []).expect("an empty disk"),
                    disk: BTreeMap::new(),
                    events: Vec::new(),
                    config,
                    boot: Boot(1),
                    effects: Effects::new(Lsn::ZERO),
                    gate: Gate::new(Lsn::ZERO),
                }
            })
            .collect();
        let mut cluster = Self {
            invariants: A::Invariants::new(&nodes[0].config),
            nodes,
            network: Vec::new(),
            refusing: Vec::new(),
            slow: Vec::new(),
            silent: Vec::new(),
            overlooked: Vec::new(),
        };
        for node in 1..=count {
            cluster.input(node, Input::Start);
        }
        cluster.settle();
        cluster
    }

    /// One of them.
    pub fn node(&mut self, node: u16) -> &mut Node<A> {
        &mut self.nodes[usize::from(node) - 1]
    }

    /// Lets node `at` handle one input, and its disk write what comes of it.
    ///
    /// # Panics
    /// When a safety property no longer holds.
    pub fn input(&mut self, at: u16, input: Input<A>) {
        let mut out = Out::<A> {
            messages: Vec::new(),
            events: Vec::new(),
            released: None,
        };
        let node = self.node(at);
        node.protocol.handle(Time::ZERO, input, &mut node.effects);
        node.protocol.flush(Time::ZERO, &mut node.effects);
        node.gate.admit(&mut node.effects, &mut out);
        let before = node.gate.durable();
        let (last, _, records) = node.effects.take_records();
        let records: Vec<_> = records.collect();
        let numbers = (1..).map(|i| Lsn(before.0 + i));
        node.disk.extend(numbers.zip(records.iter().cloned()));
        node.effects.take_timers().for_each(drop);
        if !records.is_empty() {
            node.gate.open(last, &mut node.effects, &mut out);
        }
        if let Some(before) = out.released {
            node.disk.retain(|lsn, _| *lsn >= before);
        }
        let id = NodeId(at);
        for record in &records {
            let judged = self.invariants.durable(id, record);
            self.holds(judged);
        }
        for (to, message) in out.messages {
            let judged = self.invariants.sent(id, &message);
            self.holds(judged);
            self.network.push((at, to.0, message));
        }
        for event in out.events {
            self.told(at, event);
        }
        let protocol = &self.nodes[usize::from(at) - 1].protocol;
        let judged = self.invariants.stepped(id, protocol);
        self.holds(judged);
    }

    /// Judged after every step.
    fn holds(&self, judged: Result<(), Violation>) {
        if let Err(violation) = judged
            && !self.overlooked.contains(&violation.property)
        {
            panic!("{violation}");
        }
    }

    fn told(&mut self, at: u16, event: Event) {
        let judged = self.invariants.told(NodeId(at), &event);
        self.holds(judged);
        self.node(at).events.push(event.clone());
        let request = match event {
            Event::Prepare { .. } if self.silent.contains(&at) => return,
            Event::Prepare { transaction, work } => {
                let vote = match self.refusing.contains(&at) {
                    true => Vote::No {
                        reason: "no".into(),
                    },
                    false => Vote::Yes { redo: work },
                };
                Request::Vote { transaction, vote }
            }
            Event::Commit { transaction, .. } | Event::Abort { transaction }
                if !self.slow.contains(&at) =>
            {
                let kept = Kept::Log;
                Request::Done { transaction, kept }
            }
            _ => return,
        };
        self.input(at, Input::Request(request));
    }

    /// Asks the protocol at `at`.
    pub fn ask(&mut self, at: u16, request: Request) {
        self.input(at, Input::Request(request));
    }

    /// An alarm goes off.
    pub fn alarm(&mut self, at: u16, timer: A::Timer) {
        self.input(at, Input::Timer(timer));
    }

    /// A crash, and the next run. What is under way stays so.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn crash(&mut self, at: u16) {
        let node = self.node(at);
        node.boot = Boot(node.boot.0 + 1);
        let last = node.gate.durable();
        let recovered = A::recover(node.config.clone(), node.boot, node.disk.clone());
        node.protocol = recovered.expect("a prefix of a log is a legal state");
        (node.effects, node.gate) = (Effects::new(last), Gate::new(last));
        node.events.clear();
        self.input(at, Input::Start);
    }

    /// Begins a transaction at node 1.
    pub fn begin(&mut self, token: u64, nodes: &[u16]) {
        let work = nodes
            .iter()
            .map(|node| (NodeId(*node), Bytes::from_static(b"work")));
        let (token, work) = (Token(token), work.collect());
        self.ask(1, Request::Begin { token, work });
    }

    /// Delivers the oldest message to `to`, if there is one.
    pub fn deliver_to(&mut self, to: u16) -> bool {
        let found = self.network.iter().position(|(_, at, _)| *at == to);
        if let Some(place) = found {
            self.deliver(place);
        }
        found.is_some()
    }

    fn deliver(&mut self, place: usize) {
        let (from, to, message) = self.network.remove(place);
        let from = NodeId(from);
        self.input(to, Input::Receive { from, message });
    }

    /// Delivers everything, oldest first; what is to or from `down` is lost.
    pub fn settle_without(&mut self, down: &[u16]) {
        loop {
            self.network
                .retain(|(from, to, _)| !down.contains(from) && !down.contains(to));
            if self.network.is_empty() {
                return;
            }
            self.deliver(0);
        }
    }

    /// Delivers everything, oldest first.
    pub fn settle(&mut self) {
        self.settle_without(&[]);
    }

    /// What node 1 has told whoever began a transaction.
    pub fn answer(&mut self, token: u64) -> Option<(Outcome, AbortReason)> {
        self.node(1).events.iter().find_map(|event| match event {
            Event::Ended {
                token: told,
                outcome,
                reason,
                ..
            } if told.0 == token => Some((*outcome, reason.clone())),
            _ => None,
        })
    }

    /// What the resource of `at` was told in this run.
    pub fn outcome(&mut self, at: u16, transaction: Transaction) -> Option<Outcome> {
        self.node(at).events.iter().find_map(|event| match event {
            Event::Commit { transaction: t, .. } if *t == transaction => Some(Outcome::Commit),
            Event::Abort { transaction: t } if *t == transaction => Some(Outcome::Abort),
            _ => None,
        })
    }
}

/// The first transaction of a run of node 1.
#[must_use]
pub const fn first(boot: u32) -> Transaction {
    Transaction {
        coordinator: NodeId(1),
        boot: Boot(boot),
        sequence: 1,
    }
}
