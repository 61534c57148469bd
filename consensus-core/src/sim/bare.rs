//! Nodes with nothing around them: disks write at once and keep nothing, what is sent arrives at once
//! and in order, alarms go off by hand. For tests that count what a command costs in memory: in the
//! steady state nothing here allocates.

use crate::{Algorithm, Boot, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Protocol, Time};
use alloc::{vec, vec::Vec};
use core::{fmt, mem};

struct Out<P: Protocol> {
    messages: Vec<(NodeId, P::Message)>,
    events: Vec<P::Event>,
}

impl<P: Protocol> Outlet<P::Message, P::Event> for Out<P> {
    fn message(&mut self, to: NodeId, message: P::Message) {
        self.messages.push((to, message));
    }
    fn event(&mut self, event: P::Event) {
        self.events.push(event);
    }
    fn release(&mut self, _: Lsn) {}
}

struct Node<P: Protocol> {
    protocol: P,
    effects: Effects<P>,
    gate: Gate,
    inbox: Vec<Input<P>>,
    /// An empty inbox, swapped with the one that is being read.
    spare: Vec<Input<P>>,
    out: Out<P>,
}

impl<P: Protocol> Node<P> {
    /// Everything that has come is one batch; the disk's report begins the next.
    fn batch(&mut self) {
        mem::swap(&mut self.inbox, &mut self.spare);
        for input in self.spare.drain(..) {
            self.protocol.handle(Time::ZERO, input, &mut self.effects);
        }
        self.protocol.flush(Time::ZERO, &mut self.effects);
        self.gate.admit(&mut self.effects, &mut self.out);
        self.effects.take_timers().for_each(drop);
        let (last, _, records) = self.effects.take_records();
        records.for_each(drop);
        if last > self.gate.durable() {
            self.gate.open(last, &mut self.effects, &mut self.out);
            self.inbox.push(Input::Durable(last));
        }
    }
}

/// Nodes 1 to N.
pub struct Bare<P: Protocol>(Vec<Node<P>>);

impl<P: Protocol> fmt::Debug for Bare<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bare").field(&self.0.len()).finish()
    }
}

impl<A: Algorithm> Bare<A> {
    /// Nodes 1 to `count`, about to start.
    ///
    /// # Panics
    /// When the options do not fit.
    #[must_use]
    pub fn new(count: u16, options: &A::Options) -> Self {
        let members = Members::new((1..=count).map(NodeId)).expect("distinct nodes");
        let node = |id| {
            let config = A::config(options, &members, id).expect("options that fit");
            Node {
                protocol: A::recover(config, Boot(1), []).expect("an empty disk"),
                effects: Effects::new(Lsn::ZERO),
                gate: Gate::new(Lsn::ZERO),
                inbox: vec![Input::Start],
                spare: Vec::new(),
                out: Out {
                    messages: Vec::new(),
                    events: Vec::new(),
                },
            }
        };
        Self(members.iter().map(node).collect())
    }
}

impl<P: Protocol> Bare<P> {
    fn node(&mut self, node: NodeId) -> &mut Node<P> {
        &mut self.0[usize::from(node.0) - 1]
    }

    /// A node, as it is.
    #[must_use]
    pub fn protocol(&mut self, node: NodeId) -> &P {
        &self.node(node).protocol
    }

    /// The newest record that a node has written.
    #[must_use]
    pub fn durable(&mut self, node: NodeId) -> Lsn {
        self.node(node).gate.durable()
    }

    /// Something comes to a node, which takes note of it when things [settle](Self::settle).
    pub fn input(&mut self, node: NodeId, input: Input<P>) {
        self.node(node).inbox.push(input);
    }

    /// Goes on until nothing is under way. `application` hears every event, and may ask for something.
    pub fn settle(&mut self, mut application: impl FnMut(NodeId, P::Event) -> Option<P::Request>) {
        while self.0.iter().any(|node| !node.inbox.is_empty()) {
            for place in 0..self.0.len() {
                let (node, id) = (&mut self.0[place], NodeId(place as u16 + 1));
                node.batch();
                let told = node.out.events.drain(..);
                let asked = told.filter_map(|event| application(id, event));
                node.inbox.extend(asked.map(Input::Request));
                // The buffer is kept: nobody sends to himself.
                let mut messages = mem::take(&mut node.out.messages);
                for (to, message) in messages.drain(..) {
                    self.input(to, Input::Receive { from: id, message });
                }
                self.0[place].out.messages = messages;
            }
        }
    }
}
