//! The interface: a protocol is a deterministic value, inputs in, effects out, no waiting.

use crate::{Boot, Effects, Lsn, NodeId, Time, Wire};
use core::{fmt, hash};

/// An agreement protocol at one node.
///
/// Everything a protocol may depend on is an argument: it reads no clock, no global randomness, no
/// environment, and iterates nothing in hash order. Hence the same value runs, unmodified, in the
/// simulator, the model checker, a benchmark and on a real node.
///
/// The order of calls, which drivers keep: [`recover`](Self::recover) once, then
/// [`Input::Start`] first of all inputs; then batches, each any number of
/// [`handle`](Self::handle) and one [`flush`](Self::flush).
pub trait Protocol: Sized {
    /// What an operator chooses; validated when it is made.
    type Config;
    /// What nodes say to each other.
    type Message: Wire + Clone + Eq + hash::Hash + fmt::Debug;
    /// What must survive a crash, replayed in order.
    type Record: Wire + Clone + Eq + hash::Hash + fmt::Debug;
    /// From this node's application; a type of the contract that the protocol speaks.
    type Request: Clone + Eq + hash::Hash + fmt::Debug;
    /// To this node's application; a type of the contract.
    type Event: Clone + Eq + hash::Hash + fmt::Debug;
    /// The names of alarms.
    type Timer: Copy + Ord + hash::Hash + fmt::Debug;
    /// What an operator wants to see.
    type Status;

    /// Rebuilds what a crash left behind, from records that the driver has read and decoded, in
    /// order. Emits nothing; [`Input::Start`] follows.
    ///
    /// The records are a prefix of what was persisted, from some released point on, and every such
    /// prefix is a legal state: facts that belong together are one record.
    ///
    /// # Errors
    /// When the records contradict each other or the configuration; the node must not start.
    fn recover(
        config: Self::Config,
        boot: Boot,
        records: impl IntoIterator<Item = (Lsn, Self::Record)>,
    ) -> Result<Self, RecoverError>;

    /// Takes one input. Cannot fail: stale messages are dropped, refusals are events, and a broken
    /// invariant panics by name.
    fn handle(&mut self, now: Time, input: Input<Self>, effects: &mut Effects<Self>);

    /// Ends a batch of inputs; what is worth coalescing goes out here.
    fn flush(&mut self, now: Time, effects: &mut Effects<Self>);

    /// A look inside for operators. Cheap; never waits for the disk.
    fn status(&self) -> Self::Status;
}

/// What a protocol is told.
pub enum Input<P: Protocol> {
    /// The first input after [`Protocol::recover`].
    Start,
    /// A peer's message. Which node sent it has been verified by the transport.
    Receive {
        /// The verified sender.
        from: NodeId,
        /// What it says.
        message: P::Message,
    },
    /// The application asks; one request may carry many commands.
    Request(P::Request),
    /// An alarm set by [`Effects::set_timer`] has gone off.
    Timer(P::Timer),
    /// Every record up to this one is on disk. A register, not a queue: the newest value, delivered
    /// first in its batch.
    Durable(Lsn),
    /// The transport has lost its connection to a peer. A hint: neither reliable nor lasting.
    Unreachable(NodeId),
    /// The log is long: write anew what still lives below this, a little each call, then
    /// [`Effects::release`] it. Repeated until it is released.
    Reclaim(Lsn),
}

// By hand: a derive would ask each trait of `P` itself.
impl<P: Protocol> Clone for Input<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Start => Self::Start,
            Self::Receive { from, message } => Self::Receive {
                from: *from,
                message: message.clone(),
            },
            Self::Request(request) => Self::Request(request.clone()),
            Self::Timer(timer) => Self::Timer(*timer),
            Self::Durable(lsn) => Self::Durable(*lsn),
            Self::Unreachable(node) => Self::Unreachable(*node),
            Self::Reclaim(lsn) => Self::Reclaim(*lsn),
        }
    }
}

impl<P: Protocol> PartialEq for Input<P> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Start, Self::Start) => true,
            (
                Self::Receive {
                    from: a,
                    message: m,
                },
                Self::Receive {
                    from: b,
                    message: n,
                },
            ) => a == b && m == n,
            (Self::Request(a), Self::Request(b)) => a == b,
            (Self::Timer(a), Self::Timer(b)) => a == b,
            (Self::Durable(a), Self::Durable(b)) | (Self::Reclaim(a), Self::Reclaim(b)) => a == b,
            (Self::Unreachable(a), Self::Unreachable(b)) => a == b,
            _ => false,
        }
    }
}

impl<P: Protocol> Eq for Input<P> {}

impl<P: Protocol> hash::Hash for Input<P> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        core::mem::discriminant(self).hash(state);
        match self {
            Self::Start => {}
            Self::Receive { from, message } => (from, message).hash(state),
            Self::Request(request) => request.hash(state),
            Self::Timer(timer) => timer.hash(state),
            Self::Durable(lsn) | Self::Reclaim(lsn) => lsn.hash(state),
            Self::Unreachable(node) => node.hash(state),
        }
    }
}

impl<P: Protocol> fmt::Debug for Input<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("Start"),
            Self::Receive { from, message } => write!(f, "Receive {message:?} from {from}"),
            Self::Request(request) => write!(f, "Request {request:?}"),
            Self::Timer(timer) => write!(f, "Timer {timer:?}"),
            Self::Durable(lsn) => write!(f, "Durable {lsn}"),
            Self::Unreachable(node) => write!(f, "Unreachable {node}"),
            Self::Reclaim(lsn) => write!(f, "Reclaim {lsn}"),
        }
    }
}

/// Records from which no legal state can be rebuilt: the node must not start.
///
/// Nobody's bug but the disk's, another node's file's, or ours; never safe to retry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {lsn} cannot follow what came before it: {reason}")]
pub struct RecoverError {
    /// The first record that does not fit.
    pub lsn: Lsn,
    /// What it contradicts.
    pub reason: &'static str,
}

/// A safety property of a paper that does not hold: the name of the property and what contradicts
/// it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{property}: {detail}")]
pub struct Violation {
    /// The paper's name of the property, such as `agreement`.
    pub property: &'static str,
    /// The nodes, places and values that contradict each other.
    pub detail: alloc::string::String,
}

/// A protocol's safety properties, judged from what is durable and not from what nodes believe.
///
/// One value watches a whole cluster. The simulator calls it after every step; the model checker
/// replays the records of each state's disks into a fresh one; debug builds use the same functions.
/// It is history, not state: it never influences a run.
pub trait Invariants<P: Protocol>: Clone {
    /// Names of the properties that this value checks, for reports.
    const PROPERTIES: &'static [&'static str];

    /// A cluster in which nothing has happened. `config` is any member's.
    fn new(config: &P::Config) -> Self;

    /// `record` has just become durable at `node`, or is found there after a restart. Called in the
    /// order of the log; a repeat of an old record is legal.
    ///
    /// # Errors
    /// The property that no longer holds.
    fn durable(&mut self, node: NodeId, record: &P::Record) -> Result<(), Violation>;

    /// `message` has just left `node`.
    ///
    /// # Errors
    /// The property that no longer holds.
    fn sent(&mut self, node: NodeId, message: &P::Message) -> Result<(), Violation>;

    /// The application at `node` has just been told `event`.
    ///
    /// # Errors
    /// The property that no longer holds.
    fn told(&mut self, node: NodeId, event: &P::Event) -> Result<(), Violation>;

    /// `state` is what `node` has become by a step. Also called once after recovery.
    ///
    /// # Errors
    /// The property that no longer holds.
    fn stepped(&mut self, node: NodeId, state: &P) -> Result<(), Violation>;

    /// How often each property of [`Self::PROPERTIES`] has been judged, in that order, so that a
    /// report can show that a check really ran.
    fn judged(&self) -> &[u64];
}
