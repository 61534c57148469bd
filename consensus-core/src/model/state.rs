//! One moment of a cluster. Shared where it did not change, hashed where it was made.

use super::Checkable;
use crate::{Boot, Effects, Gate, Lsn, NodeId, Violation};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::{
    fmt,
    hash::{Hash, Hasher},
};
use std::hash::DefaultHasher;

/// A message that was sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Envelope<M> {
    /// Who sent it.
    pub from: NodeId,
    /// Who it is for.
    pub to: NodeId,
    /// What it says.
    pub message: M,
}

/// The same for the same value in every run.
fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Values without an order of their own, in the order of their fingerprints: equal bags look equal.
pub(super) struct Bag<T>(Vec<(u64, Arc<T>)>);

impl<T> Clone for Bag<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Hash + Eq> Bag<T> {
    pub(super) const EMPTY: Self = Self(Vec::new());

    fn place(&self, value: &T) -> Result<usize, (u64, usize)> {
        let print = fingerprint(value);
        let start = self.0.partition_point(|(other, _)| *other < print);
        let same = self.0[start..]
            .iter()
            .take_while(|(other, _)| *other == print);
        same.enumerate()
            .find(|(_, (_, other))| **other == *value)
            .map(|(i, _)| start + i)
            .ok_or((print, start))
    }

    /// Adds `value`; `unique`: unless it is there.
    pub(super) fn add(&mut self, value: T, unique: bool) {
        match self.place(&value) {
            Ok(_) if unique => {}
            Ok(at) => self.0.insert(at, self.0[at].clone()),
            Err((print, at)) => self.0.insert(at, (print, Arc::new(value))),
        }
    }

    pub(super) fn remove(&mut self, value: &T) {
        if let Ok(at) = self.place(value) {
            self.0.remove(at);
        }
    }

    /// Lets go of values for which `keep` does not hold.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|(_, value)| keep(value));
    }

    /// All values; equal ones follow each other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> + '_ {
        self.0.iter().map(|(_, value)| value)
    }

    /// All different values.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &Arc<T>> + '_ {
        let mut last: Option<&Arc<T>> = None;
        self.iter().filter(move |value| {
            let first = last.is_none_or(|last| last != *value);
            last = Some(value);
            first
        })
    }
}

impl<T: PartialEq> PartialEq for Bag<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Hash for Bag<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        self.0.iter().for_each(|(print, _)| print.hash(state));
    }
}

/// A node with its disk.
pub struct Node<A: Checkable> {
    pub(super) boot: Boot,
    pub(super) protocol: A,
    pub(super) effects: Effects<A>,
    pub(super) gate: Gate,
    pub(super) alarms: BTreeSet<A::Timer>,
    /// Everything that ever was on disk: records are numbered by their place, from 1.
    pub(super) durable: Vec<A::Record>,
    /// Written and not known to be on disk.
    pub(super) pending: Vec<A::Record>,
    /// Records before this one are forgotten at the next start.
    pub(super) released: Lsn,
    pub(super) print: u64,
}

impl<A: Checkable> Node<A> {
    /// What the protocol has become.
    pub const fn protocol(&self) -> &A {
        &self.protocol
    }

    /// Which run of the node this is, from 1.
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// Everything that ever was on its disk, in order.
    pub fn records(&self) -> impl Iterator<Item = &A::Record> + '_ {
        self.durable.iter()
    }

    /// To be called when it has changed.
    pub(super) fn seal(&mut self) {
        let print = fingerprint(&self.parts());
        self.print = print;
    }

    fn parts(&self) -> impl Hash + Eq + '_ {
        (
            self.boot,
            &self.protocol,
            (&self.effects, &self.gate, &self.alarms),
            (&self.durable, &self.pending, self.released),
        )
    }
}

impl<A: Checkable> Clone for Node<A> {
    fn clone(&self) -> Self {
        Self {
            boot: self.boot,
            protocol: self.protocol.clone(),
            effects: self.effects.clone(),
            gate: self.gate.clone(),
            alarms: self.alarms.clone(),
            durable: self.durable.clone(),
            pending: self.pending.clone(),
            released: self.released,
            print: self.print,
        }
    }
}

impl<A: Checkable> PartialEq for Node<A> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print && self.parts() == other.parts()
    }
}

// Lets `Arc` see at once that a node is itself.
impl<A: Checkable> Eq for Node<A> {}

/// One moment of a cluster.
pub struct State<A: Checkable> {
    pub(super) ids: Arc<[NodeId]>,
    pub(super) nodes: Vec<Arc<Node<A>>>,
    pub(super) network: Bag<Envelope<A::Message>>,
    pub(super) told: Bag<(NodeId, A::Event)>,
    /// Which requests have been made, a bit each.
    pub(super) asked: u32,
    /// Which nodes are down, a bit each. Only where time-outs can be trusted.
    pub(super) down: u32,
    pub(super) crashes: u8,
    pub(super) alarms: u8,
    pub(super) repeats: u8,
    pub(super) reclaims: u8,
    /// A panic or a disk that cannot be recovered from, on the way here.
    pub(super) violation: Option<Violation>,
}

impl<A: Checkable> State<A> {
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node<A>)> + '_ {
        let nodes = self.nodes.iter().map(|node| &**node);
        self.ids.iter().copied().zip(nodes)
    }

    /// Messages that can still arrive.
    pub fn network(&self) -> impl ExactSizeIterator<Item = &Envelope<A::Message>> + '_ {
        self.network.0.iter().map(|(_, envelope)| &**envelope)
    }

    /// Events that applications have been told, by node, without repeats.
    pub fn told(&self) -> impl Iterator<Item = (NodeId, &A::Event)> + '_ {
        self.told.iter().map(|told| (told.0, &told.1))
    }

    /// How many crashes there were.
    pub const fn crashes(&self) -> u8 {
        self.crashes
    }
}

impl<A: Checkable> Clone for State<A> {
    fn clone(&self) -> Self {
        Self {
            ids: self.ids.clone(),
            nodes: self.nodes.clone(),
            network: self.network.clone(),
            told: self.told.clone(),
            asked: self.asked,
            down: self.down,
            crashes: self.crashes,
            alarms: self.alarms,
            repeats: self.repeats,
            reclaims: self.reclaims,
            violation: self.violation.clone(),
        }
    }
}

impl<A: Checkable> PartialEq for State<A> {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && self.network == other.network
            && self.told == other.told
            && self.asked == other.asked
            && self.down == other.down
            && self.crashes == other.crashes
            && self.alarms == other.alarms
            && self.repeats == other.repeats
            && self.reclaims == other.reclaims
            && self.violation == other.violation
    }
}

impl<A: Checkable> Hash for State<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nodes.iter().for_each(|node| node.print.hash(state));
        self.network.hash(state);
        self.told.hash(state);
        (self.asked, self.down, self.crashes, self.alarms).hash(state);
        (self.repeats, self.reclaims).hash(state);
        self.violation.is_some().hash(state);
    }
}

impl<A: Checkable> fmt::Debug for State<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes() {
            writeln!(f, "node {id}, boot {}: {:?}", node.boot, node.protocol)?;
            writeln!(
                f,
                "  on disk {:?}, pending {:?}",
                node.durable, node.pending
            )?;
        }
        for envelope in self.network() {
            writeln!(f, "{envelope:?}")?;
        }
        self.told()
            .try_for_each(|told| writeln!(f, "told {told:?}"))
    }
}
