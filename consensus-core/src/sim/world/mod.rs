//! N nodes, one thread, virtual time: whatever is due next happens next, and nothing else does.

mod disks;
mod mail;
mod nodes;
mod snapshots;

use super::{
    chance::{Chance, TraceHash},
    network::{Network, Weather},
    process::{Node, Output},
    trace::{Happening, What},
};
use crate::{
    Algorithm, Invariants, Lsn, Members, NodeId, Time, Violation,
    service::{Answer, CallId},
};
use alloc::{collections::BinaryHeap, string::String, vec::Vec};
use core::{cmp::Ordering, hash::Hasher, time::Duration};

/// Purposes of draws.
pub(crate) mod purpose {
    pub(crate) const NETWORK: u64 = 1;
    pub(crate) const DISK: u64 = 2;
    pub(crate) const TIMER: u64 = 3;
    pub(crate) const WORKLOAD: u64 = 4;
    pub(crate) const SHAPE: u64 = 5;
    pub(crate) const OPTIONS: u64 = 6;
    pub(crate) const CORE: u64 = 7;
    pub(crate) const SNAPSHOT: u64 = 8;
    pub(crate) const FAULT: u64 = 100;
}

/// What a world is like before anything is done to it.
#[derive(Clone, Debug)]
pub struct Climate {
    /// Links.
    pub weather: Weather,
    /// Nanoseconds that a sync takes at least.
    pub sync_least: u64,
    /// Mean of what comes on top.
    pub sync_jitter: u64,
    /// Syncs that may be under way at one node at once, at least one.
    pub sync_depth: u32,
    /// Nanoseconds that a node gathers inputs before it starts a batch; zero: a batch an input.
    pub gather: u64,
    /// Records are forgotten in segments of so many.
    pub segment: u64,
    /// A log of more records than this is asked to be reclaimed; zero: never.
    pub reclaim: usize,
    /// Every message goes through its bytes.
    pub wire: bool,
}

impl Climate {
    /// A constant delay, disks that take `sync`, nothing else.
    #[must_use]
    pub fn constant(delay: Duration, sync: Duration) -> Self {
        Self {
            weather: Weather::constant(delay.as_nanos() as u64),
            sync_least: sync.as_nanos() as u64,
            sync_jitter: 0,
            sync_depth: 1,
            gather: 0,
            segment: 1,
            reclaim: 0,
            wire: false,
        }
    }
}

/// What is due. Small: the queue is the hot path.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The message in this place arrives.
    Arrive(u32),
    /// A node starts a batch.
    Run { node: u16, life: u32 },
    /// Alarms of a node may have gone off.
    Alarms { node: u16, life: u32 },
    /// A sync has ended.
    Synced { node: u16, life: u32, upto: u64 },
    /// Records that nobody waits for are synced.
    Lazy { node: u16, life: u32 },
    /// The snapshot in this place is kept, or moves on.
    Snapshot(u32),
    /// Whoever drives the world asked to be called.
    Call(u64),
}

struct Entry {
    at: u64,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives its greatest: the earliest, and among equals the one scheduled first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// A message under way.
#[derive(Clone)]
pub(crate) struct Flight<M> {
    pub(crate) id: u64,
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) message: M,
}

/// What [`World::step`] came upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something in the world.
    Event,
    /// A call that [`World::call_at`] asked for.
    Called(u64),
    /// Nothing is due any more.
    Idle,
}

/// Exact counts of what the nodes did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages that left a node for another.
    pub messages: u64,
    /// Their bytes, where they were counted.
    pub bytes: u64,
    /// Syncs that ended.
    pub syncs: u64,
    /// Records written.
    pub records: u64,
    /// Those of them that were forced, or stood before one that was in the same batch.
    pub forced: u64,
    /// Snapshots kept by their own node, and received from another.
    pub snapshots: (u64, u64),
}

impl Counts {
    /// What came on top of an earlier count.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.combined(before, |now, before| now - before)
    }

    /// The same without what `others` count, nothing below zero.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        self.combined(others, u64::saturating_sub)
    }

    fn combined(self, other: Self, how: fn(u64, u64) -> u64) -> Self {
        Self {
            messages: how(self.messages, other.messages),
            bytes: how(self.bytes, other.bytes),
            syncs: how(self.syncs, other.syncs),
            records: how(self.records, other.records),
            forced: how(self.forced, other.forced),
            snapshots: (
                how(self.snapshots.0, other.snapshots.0),
                how(self.snapshots.1, other.snapshots.1),
            ),
        }
    }
}

/// A cluster in virtual time.
pub struct World<A: Algorithm> {
    pub(crate) members: Members,
    pub(crate) options: A::Options,
    config: Vec<A::Config>,
    pub(crate) climate: Climate,
    pub(crate) nodes: Vec<Node<A>>,
    pub(crate) network: Network,
    pub(crate) invariants: A::Invariants,
    pub(crate) now: u64,
    sequence: u64,
    queue: BinaryHeap<Entry>,
    flights: Vec<Option<Flight<A::Message>>>,
    free: Vec<u32>,
    messages: u64,
    out: Output<A>,
    bytes: Vec<u8>,
    disk_chance: Chance,
    snapshot_chance: Chance,
    transfers: Vec<Option<snapshots::Transfer>>,
    timer_chance: Chance,
    hash: TraceHash,
    /// Names of message kinds seen so far.
    pub(crate) kinds: Vec<&'static str>,
    /// How many were sent of each.
    kind_counts: Vec<u64>,
    /// Nothing moves by itself: messages, syncs and alarms wait to be called by name.
    pub(crate) by_hand: bool,
    /// Events go to the services. Else they are only kept in `told`.
    pub(crate) serve: bool,
    /// Events told to applications, kept when somebody wants to see them.
    pub(crate) told: Option<Vec<(NodeId, A::Event)>>,
    /// Clients' answers since they were last taken.
    pub(crate) answers: Vec<(NodeId, CallId, Answer)>,
    pub(crate) counts: Counts,
    /// The same by node, without snapshots.
    by_node: Vec<Counts>,
    pub(crate) events: u64,
    /// Which records a crash may take: lost, torn.
    pub(crate) loses: (bool, bool),
    /// How often a crash lost, tore.
    pub(crate) losses: (u64, u64),
    /// Nodes that stopped because a sync failed, since they were last taken.
    pub(crate) stopped: Vec<usize>,
    /// Nodes that have walked into the trap set for them, since they were last taken.
    pub(crate) trapped: Vec<usize>,
    pub(crate) trace: Option<Vec<Happening>>,
}

impl<A: Algorithm> World<A> {
    /// A cluster whose nodes are all down.
    ///
    /// # Errors
    /// When the options do not fit the members.
    pub fn new(
        seed: u64,
        members: Members,
        options: A::Options,
        climate: Climate,
    ) -> Result<Self, String> {
        let config = members
            .iter()
            .map(|node| A::config(&options, &members, node))
            .collect::<Result<Vec<_>, _>>()?;
        let network = Network::new(
            members.count(),
            climate.weather.clone(),
            Chance::new(seed, purpose::NETWORK),
        );
        Ok(Self {
            invariants: A::Invariants::new(&config[0]),
            nodes: members.iter().map(Node::new).collect(),
            by_node: alloc::vec![Counts::default(); members.count()],
            members,
            options,
            config,
            climate,
            network,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            flights: Vec::new(),
            free: Vec::new(),
            messages: 0,
            out: Output::default(),
            bytes: Vec::new(),
            disk_chance: Chance::new(seed, purpose::DISK),
            snapshot_chance: Chance::new(seed, purpose::SNAPSHOT),
            transfers: Vec::new(),
            timer_chance: Chance::new(seed, purpose::TIMER),
            hash: TraceHash::default(),
            kinds: Vec::new(),
            kind_counts: Vec::new(),
            by_hand: false,
            serve: true,
            told: None,
            answers: Vec::new(),
            counts: Counts::default(),
            events: 0,
            loses: (true, true),
            losses: (0, 0),
            stopped: Vec::new(),
            trapped: Vec::new(),
            trace: None,
        })
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// What happened so far, in one number.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Exact counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// One node's part in them: what it sent, synced and wrote. Zero for a stranger.
    #[must_use]
    pub fn counts_of(&self, node: NodeId) -> Counts {
        let place = self.members.position(node);
        place.map_or(Counts::default(), |place| self.by_node[place])
    }

    /// Loses what `from` sends to `to` from now on, until [`mend`](Self::mend). Nothing happens to
    /// strangers.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        if let Some((from, to)) = self.link(from, to) {
            self.network.close(from, to);
        }
    }

    /// Takes one [`cut`](Self::cut) back.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if let Some((from, to)) = self.link(from, to) {
            self.network.open(from, to);
        }
    }

    /// What `from` sends to `to` takes this much longer than the climate says.
    pub fn distance(&mut self, from: NodeId, to: NodeId, more: Duration) {
        if let Some((from, to)) = self.link(from, to) {
            self.network.lengthen(from, to, more.as_nanos() as u64);
        }
    }

    fn link(&self, from: NodeId, to: NodeId) -> Option<(usize, usize)> {
        Some((self.members.position(from)?, self.members.position(to)?))
    }

    /// Clients' answers since they were last taken: who answered which call with what.
    pub fn take_answers(&mut self) -> Vec<(NodeId, CallId, Answer)> {
        core::mem::take(&mut self.answers)
    }

    /// How many messages of a kind have left their nodes, those to oneself included.
    #[must_use]
    pub fn sent_of(&self, kind: &str) -> u64 {
        let known = self.kinds.iter().position(|known| *known == kind);
        known.map_or(0, |known| self.kind_counts[known])
    }

    /// From now on services hear nothing: events are kept for [`take_told`](Self::take_told).
    pub fn observe(&mut self) {
        self.serve = false;
        self.told = Some(Vec::new());
    }

    /// Events told to applications since they were last taken; only where somebody
    /// [observes](Self::observe), as a [`Laboratory`](super::measure::Laboratory) does.
    pub fn take_told(&mut self) -> Vec<(NodeId, A::Event)> {
        self.told.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// A node's protocol; none while it is down.
    #[must_use]
    pub fn protocol(&self, node: NodeId) -> Option<&A> {
        let place = self.members.position(node)?;
        self.nodes[place]
            .process
            .as_ref()
            .map(|process| &process.protocol)
    }

    /// Has [`step`](Self::step) return [`Step::Called`] with `what` at `at`.
    pub fn call_at(&mut self, at: Time, what: u64) {
        self.push(at.as_nanos(), Due::Call(what));
    }

    fn push(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        self.queue.push(Entry {
            at,
            sequence: self.sequence,
            due,
        });
    }

    pub(crate) fn note(&mut self, place: Option<usize>, what: impl FnOnce() -> What) {
        if let Some(trace) = &mut self.trace {
            let node = place.map_or(NodeId(0), |place| self.nodes[place].id);
            trace.push(Happening {
                at: Time::from_nanos(self.now),
                node,
                what: what(),
            });
        }
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    /// The property that it breaks.
    pub fn step(&mut self) -> Result<Step, Violation> {
        let Some(Entry { at, due, .. }) = self.queue.pop() else {
            return Ok(Step::Idle);
        };
        debug_assert!(at >= self.now, "time runs backwards");
        self.now = at;
        self.events += 1;
        self.hash.write_u64(at);
        match due {
            Due::Arrive(flight) => {
                if let Some(flight) = self.take_flight(flight) {
                    self.arrive(flight)?;
                }
            }
            Due::Run { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.nodes[node].due = false;
                    self.run(node)?;
                }
            }
            Due::Alarms { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life && self.nodes[node].armed == at {
                    self.nodes[node].armed = u64::MAX;
                    self.ready(node)?;
                }
            }
            Due::Synced { node, life, upto } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.sync_ended(node, Lsn(upto))?;
                }
            }
            Due::Lazy { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.nodes[node].lazy = false;
                    if self.nodes[node].disk.is_dirty() {
                        self.start_sync(node);
                    }
                }
            }
            Due::Snapshot(place) => self.snapshot_due(place)?,
            Due::Call(what) => {
                self.hash.write_u64(what);
                return Ok(Step::Called(what));
            }
        }
        Ok(Step::Event)
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.peek().map(|entry| Time::from_nanos(entry.at))
    }
}
