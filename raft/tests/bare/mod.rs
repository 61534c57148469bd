//! Nodes with nothing around them: what a batch of inputs leads to. Disks write at once, alarms go off
//! by hand, and what is sent arrives when it is told to.

use consensus_core::{
    Boot, Effects, Gate, Index, Input, Lsn, NodeId, Outlet, Protocol, RecoverError, Time,
    contract::replicated_log::{Event, Manifest, Member, Membership, Request, SnapshotId},
    log::Commands,
};
use raft::{Config, Message, Raft, Record, Timer};

/// What leaves a node.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) sent: Vec<(NodeId, Message)>,
    pub(crate) told: Vec<Event>,
    pub(crate) released: Lsn,
}

impl Outlet<Message, Event> for Out {
    fn message(&mut self, to: NodeId, message: Message) {
        self.sent.push((to, message));
    }
    fn event(&mut self, event: Event) {
        self.told.push(event);
    }
    fn release(&mut self, before: Lsn) {
        self.released = self.released.max(before);
    }
}

pub(crate) struct Node {
    pub(crate) raft: Raft,
    effects: Effects<Raft>,
    gate: Gate,
    pub(crate) out: Out,
    /// What was written.
    pub(crate) disk: Vec<(Lsn, Record)>,
    inbox: Vec<Input<Raft>>,
    spare: Vec<Input<Raft>>,
}

/// The configuration of `node` in a group of the voters 1 to `voters`.
pub(crate) fn config(node: u16, voters: u16) -> Config {
    let member = |node| Member {
        node: NodeId(node),
        disk: Default::default(),
        context: Default::default(),
    };
    let members = Membership {
        voters: (1..=voters).map(member).collect(),
        ..Membership::default()
    };
    Config::new(NodeId(node), members)
}

impl Node {
    /// Starts from what a disk holds.
    pub(crate) fn start(config: Config, disk: Vec<(Lsn, Record)>) -> Result<Self, RecoverError> {
        let last = disk.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
        let mut node = Self {
            raft: Raft::recover(config, Boot(1), disk.iter().cloned())?,
            effects: Effects::new(last),
            gate: Gate::new(last),
            out: Out::default(),
            disk,
            inbox: Vec::new(),
            spare: Vec::new(),
        };
        node.batch([Input::Start]);
        Ok(node)
    }

    /// With these records on its disk, numbered from one.
    pub(crate) fn with(config: Config, records: impl IntoIterator<Item = Record>) -> Self {
        let numbered = records.into_iter().zip(1..).map(|(r, lsn)| (Lsn(lsn), r));
        Self::start(config, numbered.collect()).expect("a legal disk")
    }

    /// One batch, and the disk's answer.
    pub(crate) fn batch(&mut self, inputs: impl IntoIterator<Item = Input<Raft>>) {
        self.inbox.extend(inputs);
        while !self.inbox.is_empty() {
            std::mem::swap(&mut self.inbox, &mut self.spare);
            for input in self.spare.drain(..) {
                self.raft.handle(Time::ZERO, input, &mut self.effects);
            }
            self.raft.flush(Time::ZERO, &mut self.effects);
            self.gate.admit(&mut self.effects, &mut self.out);
            self.effects.take_timers().for_each(drop);
            let durable = self.gate.durable();
            let (last, _, records) = self.effects.take_records();
            let numbered = records.zip(durable.0 + 1..);
            self.disk
                .extend(numbered.map(|(record, lsn)| (Lsn(lsn), record)));
            if last > durable {
                self.gate.open(last, &mut self.effects, &mut self.out);
                self.inbox.push(Input::Durable(last));
            }
        }
    }

    pub(crate) fn receive(&mut self, from: u16, message: Message) {
        let from = NodeId(from);
        self.batch([Input::Receive { from, message }]);
    }

    pub(crate) fn propose(&mut self, commands: Commands) {
        self.batch([Input::Request(Request::Propose {
            token: None,
            commands,
        })]);
    }

    /// A snapshot of everything told is whole.
    pub(crate) fn snapshot(&mut self, index: Index, epoch: consensus_core::Epoch) -> Manifest {
        let manifest = Manifest {
            id: SnapshotId(u128::from(index.0)),
            index,
            epoch,
            members: Membership::default(),
            coming: Vec::new(),
            size: 0,
        };
        self.batch([Input::Request(Request::SnapshotTaken(Box::new(
            manifest.clone(),
        )))]);
        manifest
    }

    /// What it has sent since the last time.
    pub(crate) fn take_sent(&mut self) -> Vec<(NodeId, Message)> {
        std::mem::take(&mut self.out.sent)
    }
}

/// Nodes 1 to n.
pub(crate) struct Group(pub(crate) Vec<Node>);

impl Group {
    pub(crate) fn node(&mut self, node: u16) -> &mut Node {
        &mut self.0[usize::from(node) - 1]
    }

    /// Everything sent arrives, and what that leads to, until nothing is under way. `seen` hears of
    /// every message with its sender.
    pub(crate) fn settle(&mut self, mut seen: impl FnMut(NodeId, &Message)) {
        while self.0.iter().any(|node| !node.out.sent.is_empty()) {
            for place in 0..self.0.len() {
                let mut sent = std::mem::take(&mut self.0[place].out.sent);
                let from = NodeId(place as u16 + 1);
                for (to, message) in sent.drain(..) {
                    seen(from, &message);
                    let node = &mut self.0[usize::from(to.0) - 1];
                    node.inbox.push(Input::Receive { from, message });
                }
                // Whatever it sends to itself is nothing: its buffer is kept.
                self.0[place].out.sent = sent;
            }
            for node in &mut self.0 {
                node.batch([]);
            }
        }
    }

    /// `node`'s election timeout passes.
    pub(crate) fn stand(&mut self, node: u16) {
        let alarms = [Timer::Quiet, Timer::Election].map(Input::Timer);
        self.node(node).batch(alarms);
    }
}
