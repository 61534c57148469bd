//! A cluster by hand: virtual time, one millisecond a link, disks that write at once, links to cut.
#![allow(dead_code, reason = "each test file uses a part")]

use consensus_core::{
    Algorithm, Boot, DiskId, Effects, Gate, Index, Input, Lsn, Members, NodeId, Outlet, Protocol,
    Time,
    contract::replicated_log::{Event, Member, Membership, Request},
    log::{Commands, EntryKind},
};
use multipaxos::{Message, MultiPaxos, Options, Record, Role, Status, Timer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A group of these voters.
pub(crate) fn members(voters: &[u16]) -> Membership {
    let voters = voters.iter().map(|node| member(*node));
    Membership {
        voters: voters.collect(),
        ..Membership::default()
    }
}

/// A member, and where it is to be found.
pub(crate) fn member(node: u16) -> Member {
    Member {
        node: NodeId(node),
        disk: DiskId::default(),
        context: format!("host-{node}").into(),
    }
}

/// An entry told: its slot and its command, or nothing for a no-op.
pub(crate) type Told = (u64, Option<String>);

struct Node {
    protocol: MultiPaxos,
    effects: Effects<MultiPaxos>,
    gate: Gate,
    disk: Vec<Record>,
    alarms: BTreeMap<Timer, Time>,
}

/// Nodes 1 to n and what is under way between them.
pub(crate) struct Cluster {
    options: Options,
    members: Members,
    nodes: BTreeMap<NodeId, Node>,
    wire: BTreeMap<(Time, u64), (NodeId, NodeId, Message)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    now: Time,
    chance: u64,
    /// Everything that ever left a node.
    pub(crate) sent: Vec<(u16, u16, Message)>,
    events: Vec<(NodeId, Event)>,
}

struct Out<'a> {
    from: NodeId,
    sent: &'a mut Vec<(NodeId, NodeId, Message)>,
    events: &'a mut Vec<(NodeId, Event)>,
}

impl Outlet<Message, Event> for Out<'_> {
    fn message(&mut self, to: NodeId, message: Message) {
        self.sent.push((self.from, to, message));
    }
    fn event(&mut self, event: Event) {
        self.events.push((self.from, event));
    }
    fn release(&mut self, _: Lsn) {}
}

impl Cluster {
    /// Starts all nodes.
    pub(crate) fn new(count: u16, options: Options) -> Self {
        let members = Members::new((1..=count).map(NodeId)).expect("distinct");
        let mut cluster = Self {
            options,
            nodes: BTreeMap::new(),
            wire: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Time::ZERO,
            chance: 1,
            sent: Vec::new(),
            events: Vec::new(),
            members: members.clone(),
        };
        for node in members.iter() {
            cluster.start(node.0, Vec::new());
        }
        cluster
    }

    /// Starts a node with what its disk holds.
    pub(crate) fn start(&mut self, node: u16, disk: Vec<Record>) {
        let node = NodeId(node);
        let config = MultiPaxos::config(&self.options, &self.members, node).expect("it fits");
        let lsn = Lsn(disk.len() as u64);
        let records = disk.iter().cloned().enumerate();
        let records = records.map(|(at, record)| (Lsn(at as u64 + 1), record));
        let protocol = MultiPaxos::recover(config, Boot(1), records).expect("a legal disk");
        self.nodes.insert(
            node,
            Node {
                protocol,
                effects: Effects::new(lsn),
                gate: Gate::new(lsn),
                disk,
                alarms: BTreeMap::new(),
            },
        );
        self.input(node.0, Input::Start);
    }

    /// The end of a node, and what its disk holds.
    pub(crate) fn stop(&mut self, node: u16) -> Vec<Record> {
        self.nodes
            .remove(&NodeId(node))
            .map_or(Vec::new(), |n| n.disk)
    }

    /// Nothing passes between the two any more, in either direction.
    pub(crate) fn cut(&mut self, a: u16, b: u16) {
        self.cut.insert((NodeId(a), NodeId(b)));
        self.cut.insert((NodeId(b), NodeId(a)));
    }

    /// All links work.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.chance >> 33) % (bound + 1)
    }

    /// One batch of one input.
    pub(crate) fn input(&mut self, node: u16, input: Input<MultiPaxos>) {
        let mut next = Some(input);
        let mut sent = Vec::new();
        let mut timers = Vec::new();
        let Some(it) = self.nodes.get_mut(&NodeId(node)) else {
            return;
        };
        while let Some(input) = next.take() {
            it.protocol.handle(self.now, input, &mut it.effects);
            it.protocol.flush(self.now, &mut it.effects);
            let mut out = Out {
                from: NodeId(node),
                sent: &mut sent,
                events: &mut self.events,
            };
            it.gate.admit(&mut it.effects, &mut out);
            let (last, _, records) = it.effects.take_records();
            let before = it.disk.len();
            it.disk.extend(records);
            if it.disk.len() > before {
                it.gate.open(last, &mut it.effects, &mut out);
                next = Some(Input::Durable(last));
            }
            timers.extend(it.effects.take_timers());
        }
        for (timer, after) in timers {
            let alarm = after.map(|after| {
                let span = (*after.end() - *after.start()).as_micros() as u64;
                self.now + *after.start() + Duration::from_micros(self.draw(span))
            });
            let alarms = &mut self.nodes.get_mut(&NodeId(node)).expect("it runs").alarms;
            match alarm {
                Some(moment) => alarms.insert(timer, moment),
                None => alarms.remove(&timer),
            };
        }
        for (from, to, message) in sent {
            self.sent.push((from.0, to.0, message.clone()));
            let key = (self.now + Duration::from_millis(1), self.sent.len() as u64);
            if !self.cut.contains(&(from, to)) {
                self.wire.insert(key, (from, to, message));
            }
        }
    }

    /// A message arrives.
    pub(crate) fn receive(&mut self, from: u16, to: u16, message: Message) {
        let from = NodeId(from);
        self.input(to, Input::Receive { from, message });
    }

    /// The application asks.
    pub(crate) fn ask(&mut self, node: u16, request: Request) {
        self.input(node, Input::Request(request));
    }

    /// A command without a token.
    pub(crate) fn propose(&mut self, node: u16, command: &str) {
        let commands = Commands::one(command.as_bytes());
        self.ask(
            node,
            Request::Propose {
                token: None,
                commands,
            },
        );
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let alarms = self.nodes.iter().flat_map(|(id, node)| {
                node.alarms
                    .iter()
                    .map(move |(timer, at)| (*at, *id, *timer))
            });
            let alarm = alarms.min();
            let message = self.wire.first_key_value().map(|(key, _)| *key);
            let next = alarm
                .map(|(at, ..)| at)
                .into_iter()
                .chain(message.map(|(at, _)| at))
                .min();
            let Some(moment) = next.filter(|moment| *moment <= end) else {
                break;
            };
            self.now = moment;
            if let Some(key) = message.filter(|(at, _)| *at == moment) {
                let (from, to, message) = self.wire.remove(&key).expect("it is there");
                if !self.cut.contains(&(from, to)) {
                    self.receive(from.0, to.0, message);
                }
            } else if let Some((_, node, timer)) = alarm {
                self.nodes
                    .get_mut(&node)
                    .expect("it runs")
                    .alarms
                    .remove(&timer);
                self.input(node.0, Input::Timer(timer));
            }
        }
        self.now = end;
    }

    /// A node's status.
    pub(crate) fn status(&self, node: u16) -> Status {
        self.nodes[&NodeId(node)].protocol.status()
    }

    /// Who leads in its own eyes.
    pub(crate) fn leaders(&self) -> Vec<u16> {
        let leads = |(id, node): (&NodeId, &Node)| {
            (node.protocol.status().role == Role::Leader).then_some(id.0)
        };
        self.nodes.iter().filter_map(leads).collect()
    }

    /// What the application at a node was told, in order.
    pub(crate) fn told(&self, node: u16) -> Vec<Told> {
        let mut told = Vec::new();
        for (_, event) in self.events.iter().filter(|(at, _)| at.0 == node) {
            let Event::Committed(run) = event else {
                continue;
            };
            for (offset, payload) in run.iter().enumerate() {
                let Index(first) = run.first();
                let command = (run.kind() == EntryKind::Command)
                    .then(|| String::from_utf8_lossy(payload).into_owned());
                told.push((first + offset as u64, command));
            }
        }
        told
    }

    /// All events of a node.
    pub(crate) fn events(&self, node: u16) -> impl Iterator<Item = &Event> {
        let mine = self.events.iter().filter(move |(at, _)| at.0 == node);
        mine.map(|(_, event)| event)
    }
}
