//! A whole cluster on one thread: messages move between vectors, and the disk is durable at once. What
//! is left to measure is the protocol.
//!
//! Each node in turn takes everything that has arrived as one batch, with the disk's report first, as
//! a real driver does. There is no clock: alarms go off only when nothing else can happen, which in
//! the steady state is never.

use super::alarms::Alarms;
use super::load::Load;
use consensus_core::{Algorithm, Boot, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Time};

/// Alarms in a row without a decision, after which a cluster counts as stuck.
const PATIENCE: usize = 100_000;

/// A cluster in memory.
#[derive(Debug)]
pub struct InMemory<A: Algorithm, L> {
    nodes: Vec<Node<A>>,
    world: World<A, L>,
    /// An empty inbox, swapped with the one that is being read.
    spare: Vec<Input<A>>,
    now: Time,
    alarms: u64,
}

#[derive(Debug)]
struct Node<A: Algorithm> {
    id: NodeId,
    protocol: A,
    effects: Effects<A>,
    gate: Gate,
    /// The disk's report: a register, not a queue.
    durable: Option<Lsn>,
    alarms: Alarms<A::Timer>,
}

/// What is outside of the nodes.
#[derive(Debug)]
struct World<A: Algorithm, L> {
    inboxes: Vec<Vec<Input<A>>>,
    decided: Vec<u64>,
    load: L,
}

impl<A: Algorithm, L: Load<A>> InMemory<A, L> {
    /// Starts nodes 1 to `nodes` and waits until they can take commands.
    ///
    /// # Errors
    /// A sentence for a person when the options do not fit the members.
    ///
    /// # Panics
    /// When the cluster gets stuck, which is a bug of the protocol.
    pub fn new(nodes: u16, options: &A::Options) -> Result<Self, String> {
        let members = Members::new((1..=nodes).map(NodeId)).map_err(|error| error.to_string())?;
        let start = |id| {
            let config = A::config(options, &members, id)?;
            let protocol = A::recover(config, Boot(1), []).map_err(|error| error.to_string())?;
            Ok::<_, String>(Node {
                id,
                protocol,
                effects: Effects::new(Lsn::ZERO),
                gate: Gate::new(Lsn::ZERO),
                durable: None,
                alarms: Alarms::seeded(id.0.into()),
            })
        };
        let mut cluster = Self {
            nodes: members.iter().map(start).collect::<Result<_, _>>()?,
            world: World {
                inboxes: members.iter().map(|_| vec![Input::Start]).collect(),
                decided: vec![0; members.count()],
                load: L::new(nodes),
            },
            spare: Vec::new(),
            now: Time::ZERO,
            alarms: 0,
        };
        cluster.until(|world| world.load.is_ready());
        Ok(cluster)
    }

    /// Proposes `count` commands and returns when every node has decided all of them and nothing is
    /// under way.
    ///
    /// # Panics
    /// When the cluster gets stuck, which is a bug of the protocol.
    pub fn decide(&mut self, count: usize) {
        let World {
            inboxes,
            load,
            decided,
        } = &mut self.world;
        let goal = decided[0] + count as u64;
        load.propose(count, &mut |node, request| {
            inboxes[index(node)].push(Input::Request(request));
        });
        self.until(|world| world.decided.iter().all(|decided| *decided == goal));
    }

    /// Alarms that went off so far: none in a steady state without failures.
    #[must_use]
    pub const fn alarms(&self) -> u64 {
        self.alarms
    }

    fn until(&mut self, reached: impl Fn(&World<A, L>) -> bool) {
        for _ in 0..PATIENCE {
            while self.sweep() {}
            if reached(&self.world) {
                return;
            }
            if !self.alarm() {
                break;
            }
        }
        panic!("{} is stuck: decided {:?}", A::NAME, self.world.decided);
    }

    /// One batch at every node that has something to do; whether there was one.
    fn sweep(&mut self) -> bool {
        let mut busy = false;
        for at in 0..self.nodes.len() {
            if self.nodes[at].durable.is_none() && self.world.inboxes[at].is_empty() {
                continue;
            }
            busy = true;
            core::mem::swap(&mut self.spare, &mut self.world.inboxes[at]);
            self.nodes[at].batch(self.now, &mut self.spare, &mut self.world);
        }
        busy
    }

    /// Lets time pass until the next alarm; whether there is one.
    #[cold]
    fn alarm(&mut self) -> bool {
        for node in &mut self.nodes {
            node.alarms.fold(self.now);
        }
        let next = |node: &Node<A>| node.alarms.next();
        let Some(moment) = self.nodes.iter().filter_map(next).min() else {
            return false;
        };
        self.now = self.now.max(moment);
        for (node, inbox) in self.nodes.iter_mut().zip(&mut self.world.inboxes) {
            while let Some(timer) = node.alarms.pop(self.now) {
                self.alarms += 1;
                inbox.push(Input::Timer(timer));
            }
        }
        true
    }
}

impl<A: Algorithm> Node<A> {
    fn batch<L: Load<A>>(&mut self, now: Time, inbox: &mut Vec<Input<A>>, world: &mut World<A, L>) {
        if let Some(lsn) = self.durable.take() {
            self.protocol
                .handle(now, Input::Durable(lsn), &mut self.effects);
        }
        for input in inbox.drain(..) {
            self.protocol.handle(now, input, &mut self.effects);
        }
        self.protocol.flush(now, &mut self.effects);
        let mut wire = Wire {
            from: self.id,
            world,
        };
        self.gate.admit(&mut self.effects, &mut wire);
        if self.effects.has_records() {
            let (last, _, records) = self.effects.take_records();
            // The disk: what is dropped is durable.
            drop(records);
            self.gate.open(last, &mut self.effects, &mut wire);
            self.durable = Some(last);
        }
        self.alarms.note(self.effects.take_timers(), now);
    }
}

struct Wire<'a, A: Algorithm, L> {
    from: NodeId,
    world: &'a mut World<A, L>,
}

impl<A: Algorithm, L: Load<A>> Outlet<A::Message, A::Event> for Wire<'_, A, L> {
    #[inline]
    fn message(&mut self, to: NodeId, message: A::Message) {
        let from = self.from;
        self.world.inboxes[index(to)].push(Input::Receive { from, message });
    }

    #[inline]
    fn event(&mut self, event: A::Event) {
        let World {
            inboxes,
            decided,
            load,
        } = &mut *self.world;
        let inbox = &mut inboxes[index(self.from)];
        let mut ask = |request| inbox.push(Input::Request(request));
        decided[index(self.from)] += load.told(self.from, event, &mut ask);
    }

    #[inline]
    fn release(&mut self, _before: Lsn) {}
}

const fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}
