//! What can happen next, and what comes of it.

use super::{
    Checkable, Envelope, State, World,
    state::{Bag, Node},
};
use crate::{Boot, Effects, Gate, Input, Lsn, NodeId, Outlet, Time, Violation};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One thing that happens.
pub enum Action<A: Checkable> {
    /// A message arrives.
    Deliver(Arc<Envelope<A::Message>>),
    /// A message arrives and is still under way.
    Repeat(Arc<Envelope<A::Message>>),
    /// The application at a node makes a request.
    Ask(NodeId, A::Request),
    /// Everything written at a node is on disk.
    Sync(NodeId),
    /// Power fails at a node, and it starts again.
    Crash {
        /// Which node.
        node: NodeId,
        /// How many of the records that were not known to be on disk are found there.
        kept: usize,
        /// How many there were.
        of: usize,
    },
    /// A node that is down starts again. Only where time-outs can be trusted.
    Start(NodeId),
    /// An alarm goes off.
    Fire(NodeId, A::Timer),
    /// A node is to write anew everything that is on its disk.
    Reclaim(NodeId),
}

impl<A: Checkable> Clone for Action<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Deliver(envelope) => Self::Deliver(envelope.clone()),
            Self::Repeat(envelope) => Self::Repeat(envelope.clone()),
            Self::Ask(node, request) => Self::Ask(*node, request.clone()),
            Self::Sync(node) => Self::Sync(*node),
            Self::Crash { node, kept, of } => Self::Crash {
                node: *node,
                kept: *kept,
                of: *of,
            },
            Self::Start(node) => Self::Start(*node),
            Self::Fire(node, timer) => Self::Fire(*node, *timer),
            Self::Reclaim(node) => Self::Reclaim(*node),
        }
    }
}

impl<A: Checkable> PartialEq for Action<A> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deliver(a), Self::Deliver(b)) | (Self::Repeat(a), Self::Repeat(b)) => a == b,
            (Self::Ask(a, r), Self::Ask(b, s)) => a == b && r == s,
            (Self::Sync(a), Self::Sync(b))
            | (Self::Reclaim(a), Self::Reclaim(b))
            | (Self::Start(a), Self::Start(b)) => a == b,
            (
                Self::Crash {
                    node: a, kept: k, ..
                },
                Self::Crash {
                    node: b, kept: l, ..
                },
            ) => a == b && k == l,
            (Self::Fire(a, t), Self::Fire(b, u)) => a == b && t == u,
            _ => false,
        }
    }
}

impl<A: Checkable> fmt::Display for Action<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(envelope) => write!(
                f,
                "{} -> {}  {:?}",
                envelope.from, envelope.to, envelope.message
            ),
            Self::Repeat(envelope) => write!(
                f,
                "{} -> {}  {:?}, not for the last time",
                envelope.from, envelope.to, envelope.message
            ),
            Self::Ask(node, request) => write!(f, "{node}  asked for {request:?}"),
            Self::Sync(node) => write!(f, "{node}  syncs"),
            Self::Crash { node, kept, of } => {
                write!(
                    f,
                    "{node}  crashes, {kept} of {of} unsynced records survive"
                )
            }
            Self::Start(node) => write!(f, "{node}  starts again"),
            Self::Fire(node, timer) => write!(f, "{node}  alarm {timer:?}"),
            Self::Reclaim(node) => write!(f, "{node}  is to write its log anew"),
        }
    }
}

impl<A: Checkable> fmt::Debug for Action<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes what leaves a node.
struct Out<'a, A: Checkable> {
    world: &'a World<A>,
    from: NodeId,
    network: &'a mut Bag<Envelope<A::Message>>,
    told: &'a mut Bag<(NodeId, A::Event)>,
    released: &'a mut Lsn,
    down: u32,
}

impl<A: Checkable> Outlet<A::Message, A::Event> for Out<'_, A> {
    fn message(&mut self, to: NodeId, message: A::Message) {
        let from = self.from;
        let envelope = Envelope { from, to, message };
        // Whoever is down never hears it.
        if self
            .world
            .place(to)
            .is_some_and(|at| self.down & 1 << at == 0)
        {
            self.network.add(envelope, false);
        }
    }

    fn event(&mut self, event: A::Event) {
        if (self.world.remembers)(&event) {
            self.told.add((self.from, event), true);
        }
    }

    fn release(&mut self, before: Lsn) {
        *self.released = before.max(*self.released);
    }
}

impl<A: Checkable> World<A> {
    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|(id, _)| *id == node)
    }

    /// Every node has started for the first time and done what it does then.
    pub(super) fn start(&self) -> State<A> {
        let mut state = State {
            ids: self.nodes.iter().map(|(id, _)| *id).collect(),
            nodes: Vec::new(),
            network: Bag::EMPTY,
            told: Bag::EMPTY,
            asked: 0,
            down: 0,
            crashes: 0,
            alarms: 0,
            repeats: 0,
            reclaims: 0,
            violation: None,
        };
        state.violation = guarded(|| {
            for place in 0..self.nodes.len() {
                let node = self.recover(place, Boot(1), Vec::new(), Lsn(1))?;
                state.nodes.push(Arc::new(node));
                self.input(&mut state, place, Input::Start);
            }
            Ok(())
        })
        .err();
        state
    }

    pub(super) fn choices(&self, state: &State<A>, actions: &mut Vec<Action<A>>) {
        if state.violation.is_some() {
            return;
        }
        actions.extend(state.network.distinct().cloned().map(Action::Deliver));
        if state.repeats < self.bounds.repeats {
            actions.extend(state.network.distinct().cloned().map(Action::Repeat));
        }
        for (i, (node, request)) in self.requests.iter().enumerate() {
            if state.asked & 1 << i == 0 && !self.is_down(state, *node) {
                actions.push(Action::Ask(*node, request.clone()));
            }
        }
        // Where time-outs can be trusted, nothing is on its way any more when one strikes.
        let quiet = !self.synchronous || actions.is_empty() && self.is_quiet(state);
        for (id, node) in state.nodes() {
            if self.is_down(state, id) {
                actions.push(Action::Start(id));
                continue;
            }
            if !node.pending.is_empty() {
                actions.push(Action::Sync(id));
            }
            if state.crashes < self.bounds.crashes {
                let of = node.pending.len();
                let crash = |kept| Action::Crash { node: id, kept, of };
                actions.extend((0..=of).map(crash));
            }
            if state.reclaims < self.bounds.reclaims && !node.durable.is_empty() {
                actions.push(Action::Reclaim(id));
            }
            if state.alarms < self.bounds.alarms && quiet {
                actions.extend(node.alarms.iter().map(|timer| Action::Fire(id, *timer)));
            }
        }
    }

    fn is_down(&self, state: &State<A>, node: NodeId) -> bool {
        self.place(node).is_some_and(|at| state.down & 1 << at > 0)
    }

    /// No disk of a node that is up is behind.
    fn is_quiet(&self, state: &State<A>) -> bool {
        let mut up = state.nodes().filter(|(id, _)| !self.is_down(state, *id));
        up.all(|(_, node)| node.pending.is_empty())
    }

    /// The state after `action`; none if nothing changes.
    pub(super) fn step(&self, last: &State<A>, action: &Action<A>) -> Option<State<A>> {
        let mut state = last.clone();
        state.violation = guarded(|| self.act(&mut state, action)).err();
        (state != *last).then_some(state)
    }

    fn act(&self, state: &mut State<A>, action: &Action<A>) -> Result<(), Violation> {
        match action {
            Action::Deliver(envelope) => {
                state.network.remove(envelope);
                self.deliver(state, envelope);
            }
            Action::Repeat(envelope) => {
                state.repeats += 1;
                self.deliver(state, envelope);
            }
            Action::Ask(node, request) => {
                let asked = |(at, r): &(NodeId, A::Request)| at == node && r == request;
                // The first equal one that was not made yet: which of several does not matter.
                let fresh = (0..self.requests.len())
                    .find(|i| state.asked & 1 << i == 0 && asked(&self.requests[*i]));
                state.asked |= fresh.map_or(0, |i| 1 << i);
                self.input_at(state, *node, Input::Request(request.clone()));
            }
            Action::Sync(node) => {
                if let Some(place) = self.place(*node) {
                    self.sync(state, place);
                }
            }
            Action::Crash { node, kept, .. } => {
                state.crashes += 1;
                if let Some(place) = self.place(*node) {
                    self.crash(state, place, *kept)?;
                }
            }
            Action::Start(node) => {
                if let Some(place) = self.place(*node) {
                    state.down &= !(1 << place);
                    self.input(state, place, Input::Start);
                }
            }
            Action::Fire(node, timer) => {
                state.alarms += 1;
                if let Some(place) = self.place(*node) {
                    Arc::make_mut(&mut state.nodes[place]).alarms.remove(timer);
                    self.input(state, place, Input::Timer(*timer));
                }
            }
            Action::Reclaim(node) => {
                state.reclaims += 1;
                if let Some(place) = self.place(*node) {
                    let last = Lsn(state.nodes[place].durable.len() as u64);
                    self.input(state, place, Input::Reclaim(last.next()));
                }
            }
        }
        self.forget_alarms(state);
        Ok(())
    }

    /// Alarms that can no longer go off make no difference.
    fn forget_alarms(&self, state: &mut State<A>) {
        if state.alarms < self.bounds.alarms {
            return;
        }
        for node in &mut state.nodes {
            if !node.alarms.is_empty() {
                let node = Arc::make_mut(node);
                node.alarms.clear();
                node.seal();
            }
        }
    }

    fn deliver(&self, state: &mut State<A>, envelope: &Envelope<A::Message>) {
        let input = Input::Receive {
            from: envelope.from,
            message: envelope.message.clone(),
        };
        self.input_at(state, envelope.to, input);
    }

    fn input_at(&self, state: &mut State<A>, node: NodeId, input: Input<A>) {
        if let Some(place) = self.place(node) {
            self.input(state, place, input);
        }
    }

    /// One input as a batch of its own.
    fn input(&self, state: &mut State<A>, place: usize, input: Input<A>) {
        self.batch(state, place, |node, _| {
            node.protocol.handle(Time::ZERO, input, &mut node.effects);
        });
    }

    fn sync(&self, state: &mut State<A>, place: usize) {
        self.batch(state, place, |node, out| {
            node.durable.append(&mut node.pending);
            let durable = Lsn(node.durable.len() as u64);
            node.gate.open(durable, &mut node.effects, out);
            let input = Input::Durable(durable);
            node.protocol.handle(Time::ZERO, input, &mut node.effects);
        });
    }

    fn batch(
        &self,
        state: &mut State<A>,
        place: usize,
        handle: impl FnOnce(&mut Node<A>, &mut Out<'_, A>),
    ) {
        let node = Arc::make_mut(&mut state.nodes[place]);
        let mut released = node.released;
        let mut out = Out {
            world: self,
            from: self.nodes[place].0,
            network: &mut state.network,
            told: &mut state.told,
            released: &mut released,
            down: state.down,
        };
        handle(node, &mut out);
        node.protocol.flush(Time::ZERO, &mut node.effects);
        node.gate.admit(&mut node.effects, &mut out);
        node.released = released;
        node.pending.extend(node.effects.take_records().2);
        for (timer, after) in node.effects.take_timers() {
            if after.is_some() {
                node.alarms.insert(timer);
            } else {
                node.alarms.remove(&timer);
            }
        }
        node.seal();
    }

    fn crash(&self, state: &mut State<A>, place: usize, kept: usize) -> Result<(), Violation> {
        let node = &state.nodes[place];
        let mut records = node.durable.clone();
        records.extend_from_slice(&node.pending[..kept]);
        let boot = Boot(node.boot.0 + 1);
        let node = self.recover(place, boot, records, node.released)?;
        state.nodes[place] = Arc::new(node);
        if self.synchronous {
            state.down |= 1 << place;
            let id = self.nodes[place].0;
            state.network.retain(|envelope| envelope.to != id);
            Arc::make_mut(&mut state.nodes[place]).seal();
        } else {
            self.input(state, place, Input::Start);
        }
        Ok(())
    }

    fn recover(
        &self,
        place: usize,
        boot: Boot,
        durable: Vec<A::Record>,
        released: Lsn,
    ) -> Result<Node<A>, Violation> {
        let (id, config) = &self.nodes[place];
        let last = Lsn(durable.len() as u64);
        let numbered = durable.iter().enumerate();
        let records: Vec<_> = numbered
            .map(|(i, record)| (Lsn(i as u64 + 1), record.clone()))
            .skip_while(|(lsn, _)| *lsn < released)
            .collect();
        let protocol = A::recover(config.clone(), boot, records).map_err(|error| Violation {
            property: "every prefix of the records is a legal state",
            detail: format!("node {id}: {error}"),
        })?;
        Ok(Node {
            boot,
            protocol,
            effects: Effects::new(last),
            gate: Gate::new(last),
            alarms: BTreeSet::new(),
            durable,
            pending: Vec::new(),
            released,
            print: 0,
        })
    }
}

/// Runs `f`, and turns a panic into what it is: an invariant that does not hold.
fn guarded(f: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    // What a panic leaves half done is looked at by nobody: the way ends here.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Violation {
            property: "no assertion fails",
            detail: text.unwrap_or_default(),
        })
    })
}
