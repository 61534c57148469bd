//! Every order of everything, at small bounds: the adapter to the stateright model checker.
//!
//! The checker runs the production types. What a simulator draws at random it tries in full: which
//! message arrives next, when a disk syncs, where in its unsynced records a crash cuts, when an
//! alarm goes off. Each input is a batch of its own. A [`World`] is the model, a [`State`] one moment
//! of it.
//!
//! | action | what happens |
//! |---|---|
//! | [`Action::Deliver`] | a message that was sent arrives |
//! | [`Action::Repeat`] | a message arrives and is still under way |
//! | [`Action::Ask`] | a request from the fixed list is made |
//! | [`Action::Sync`] | everything written at a node is on disk: the gate opens, the protocol hears of it |
//! | [`Action::Crash`] | power fails at a node; a prefix of what was not on disk is found there, and the node starts again |
//! | [`Action::Start`] | a node that is down starts again; only under [`World::synchronous`] |
//! | [`Action::Fire`] | an alarm that is set goes off, whatever its moment |
//! | [`Action::Reclaim`] | a disk asks for everything on it to be written anew; what is then released is not there after a crash |
//!
//! Some things need no action. A lost message is one that is never delivered; a node that is down is
//! one that nothing is delivered to, so crash and restart are one step. Time stands still
//! ([`Time::ZERO`](crate::Time::ZERO) is all that protocols are told), so leases are out of reach
//! here.
//!
//! In every state the records on all disks, then the messages and events known, then the nodes
//! themselves are shown to fresh [`Invariants`], in that order: a property that only holds for one
//! interleaving of several nodes' records cannot be judged this way. A panic and a disk that cannot
//! be recovered from are violations as well.

pub mod commit;
mod state;
mod step;

use crate::{Algorithm, Invariants, Members, NodeId, Violation};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{fmt, hash::Hash};
use stateright::{Checker, HasDiscoveries, Model, Property};

pub use state::{Envelope, Node, State};
pub use step::Action;

/// An algorithm whose states the checker can tell apart and share between threads. Implemented by
/// everything that can.
pub trait Checkable:
    Algorithm<
        Config: Send + Sync,
        Message: Send + Sync,
        Record: Send + Sync,
        Request: Send + Sync,
        Event: Send + Sync,
        Timer: Send + Sync,
    > + Eq
    + Hash
    + Send
    + Sync
    + 'static
{
}

impl<A> Checkable for A where
    A: Algorithm<
            Config: Send + Sync,
            Message: Send + Sync,
            Record: Send + Sync,
            Request: Send + Sync,
            Event: Send + Sync,
            Timer: Send + Sync,
        > + Eq
        + Hash
        + Send
        + Sync
        + 'static
{
}

/// How far the exploration goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// Crashes in all.
    pub crashes: u8,
    /// Alarms that go off in all.
    pub alarms: u8,
    /// Requests to write the log anew, in all.
    pub reclaims: u8,
    /// Messages under way at once; states with more are cut off.
    pub messages: usize,
    /// Messages that arrive and stay under way, to arrive once more, in all.
    pub repeats: u8,
    /// Steps to take at most, to known states as well as to new ones; an exploration that gets
    /// there is not [`exhausted`](Exploration::exhausted).
    pub transitions: usize,
}

impl Default for Bounds {
    /// No crashes, alarms or requests to reclaim, no message twice, ten million transitions.
    fn default() -> Self {
        Self {
            crashes: 0,
            alarms: 0,
            reclaims: 0,
            messages: usize::MAX,
            repeats: 0,
            transitions: 10_000_000,
        }
    }
}

type Reached<A> = fn(&State<A>) -> bool;
type Within<A> = Box<dyn Fn(&State<A>) -> bool + Send + Sync>;

/// A cluster, what is asked of it and how far to look.
pub struct World<A: Checkable> {
    nodes: Vec<(NodeId, A::Config)>,
    requests: Vec<(NodeId, A::Request)>,
    bounds: Bounds,
    synchronous: bool,
    remembers: fn(&A::Event) -> bool,
    within: Within<A>,
    always: Vec<(&'static str, Reached<A>)>,
    sometimes: Vec<(&'static str, Reached<A>)>,
}

impl<A: Checkable> World<A> {
    /// A cluster of `members`, asked for nothing yet.
    ///
    /// # Errors
    /// The algorithm's sentence when the options do not fit the members.
    pub fn new(options: &A::Options, members: &Members, bounds: Bounds) -> Result<Self, String> {
        let nodes = members
            .iter()
            .map(|node| Ok((node, A::config(options, members, node)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self {
            nodes,
            requests: Vec::new(),
            bounds,
            synchronous: false,
            remembers: |_| true,
            within: Box::new(|_| true),
            always: Vec::new(),
            sometimes: Vec::new(),
        })
    }

    /// The application at `node` asks for this at some time, once.
    ///
    /// # Panics
    /// Beyond 32 requests.
    #[must_use]
    pub fn ask(mut self, node: NodeId, request: A::Request) -> Self {
        self.requests.push((node, request));
        assert!(self.requests.len() <= 32, "at most 32 requests are tracked");
        self
    }

    /// Time-outs can be trusted: an alarm goes off only when no message to a node that is up is under way,
    /// no disk of one is behind and nothing is left to be asked of one. A node that crashes is down until
    /// it starts again, and what is sent to it meanwhile is lost. What protocols for synchronous networks
    /// assume.
    ///
    /// # Panics
    /// Beyond 32 nodes.
    #[must_use]
    pub fn synchronous(mut self) -> Self {
        assert!(self.nodes.len() <= 32, "at most 32 nodes are tracked");
        self.synchronous = true;
        self
    }

    /// Only events for which `remembers` holds are kept and shown to the invariants. Fewer events
    /// kept, fewer states.
    #[must_use]
    pub fn remember(mut self, remembers: fn(&A::Event) -> bool) -> Self {
        self.remembers = remembers;
        self
    }

    /// States for which `within` does not hold are cut off.
    #[must_use]
    pub fn within(mut self, within: impl Fn(&State<A>) -> bool + Send + Sync + 'static) -> Self {
        self.within = Box::new(within);
        self
    }

    /// Every state has to be like this, besides what the invariants say.
    #[must_use]
    pub fn always(mut self, name: &'static str, holds: fn(&State<A>) -> bool) -> Self {
        self.always.push((name, holds));
        self
    }

    /// Some state should be like this: shows that the bounds let something happen.
    ///
    /// # Panics
    /// Beyond 8 of them.
    #[must_use]
    pub fn sometimes(mut self, name: &'static str, reached: fn(&State<A>) -> bool) -> Self {
        self.sometimes.push((name, reached));
        assert!(self.sometimes.len() <= 8, "at most 8 are tracked");
        self
    }

    /// Visits every state within the bounds, nearest first, until the first violation.
    ///
    /// # Panics
    /// Never for what a protocol does; only when the checker's own thread fails.
    #[must_use]
    pub fn explore(self) -> Exploration {
        let names: Vec<_> = self.sometimes.iter().map(|(name, _)| *name).collect();
        let limit = self.bounds.transitions;
        let checker = self
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .target_state_count(limit)
            .spawn_bfs()
            .join();
        let mut reached = checker.discoveries();
        let world = checker.model();
        let counterexample = reached
            .remove(SAFETY)
            .map(|path| Counterexample::new(world, path.into_actions()));
        Exploration {
            states: checker.unique_state_count(),
            transitions: checker.state_count(),
            depth: checker.max_depth(),
            exhausted: counterexample.is_none() && checker.state_count() < limit,
            unreached: names
                .into_iter()
                .filter(|name| !reached.contains_key(name))
                .collect(),
            counterexample,
        }
    }

    /// Leaves out steps that the violation can do without, until none is left.
    fn shrink(&self, mut actions: Vec<Action<A>>) -> (Vec<Action<A>>, Option<Violation>) {
        let mut violation = self.replay(&actions);
        let mut at = actions.len();
        while at > 0 {
            at -= 1;
            let mut fewer = actions.clone();
            fewer.remove(at);
            let same = self.replay(&fewer).filter(|shorter| {
                let property = violation.as_ref().map(|violation| violation.property);
                Some(shorter.property) == property
            });
            if same.is_some() {
                (actions, violation) = (fewer, same);
                at = actions.len();
            }
        }
        (actions, violation)
    }

    /// What is wrong at the end; nothing if some step is not possible.
    fn replay(&self, actions: &[Action<A>]) -> Option<Violation> {
        let mut state = self.start();
        let mut choices = Vec::new();
        for action in actions {
            choices.clear();
            self.choices(&state, &mut choices);
            choices.contains(action).then_some(())?;
            state = self.step(&state, action)?;
        }
        self.judge(&state).err()
    }

    /// Called once a state and not once a step: most steps lead to a state that is known.
    fn judge(&self, state: &State<A>) -> Result<(), Violation> {
        if let Some(violation) = &state.violation {
            return Err(violation.clone());
        }
        let mut invariants = A::Invariants::new(&self.nodes[0].1);
        for (node, it) in state.nodes() {
            it.records()
                .try_for_each(|record| invariants.durable(node, record))?;
        }
        for envelope in state.network() {
            invariants.sent(envelope.from, &envelope.message)?;
        }
        for (node, event) in state.told() {
            invariants.told(node, event)?;
        }
        for (node, it) in state.nodes() {
            invariants.stepped(node, it.protocol())?;
        }
        match self.always.iter().find(|(_, holds)| !holds(state)) {
            None => Ok(()),
            Some((property, _)) => Err(Violation {
                property,
                detail: format!("{state:?}"),
            }),
        }
    }
}

const SAFETY: &str = "safety";

impl<A: Checkable> Model for World<A> {
    type State = State<A>;
    type Action = Action<A>;

    fn init_states(&self) -> Vec<State<A>> {
        alloc::vec![self.start()]
    }

    fn actions(&self, state: &State<A>, actions: &mut Vec<Action<A>>) {
        self.choices(state, actions);
    }

    fn next_state(&self, last: &State<A>, action: Action<A>) -> Option<State<A>> {
        self.step(last, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn sometimes<A: Checkable, const I: usize>(world: &World<A>, state: &State<A>) -> bool {
            (world.sometimes[I].1)(state)
        }
        // Properties are plain functions and cannot say which one they are.
        let nth: [fn(&Self, &State<A>) -> bool; 8] = [
            sometimes::<A, 0>,
            sometimes::<A, 1>,
            sometimes::<A, 2>,
            sometimes::<A, 3>,
            sometimes::<A, 4>,
            sometimes::<A, 5>,
            sometimes::<A, 6>,
            sometimes::<A, 7>,
        ];
        let safety = Property::always(SAFETY, |world: &Self, state: &State<A>| {
            world.judge(state).is_ok()
        });
        let sometimes = self.sometimes.iter().zip(nth);
        core::iter::once(safety)
            .chain(sometimes.map(|((name, _), reached)| Property::sometimes(name, reached)))
            .collect()
    }

    fn within_boundary(&self, state: &State<A>) -> bool {
        state.network().len() <= self.bounds.messages && (self.within)(state)
    }
}

/// What an exploration found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exploration {
    /// Different states visited.
    pub states: usize,
    /// Steps taken from one state to another, known or not.
    pub transitions: usize,
    /// Steps on the longest way to a state.
    pub depth: usize,
    /// Whether everything within the bounds was visited and nothing was wrong.
    pub exhausted: bool,
    /// Names given to [`World::sometimes`] that no state was like.
    pub unreached: Vec<&'static str>,
    /// A way to a violation from which no step can be left out.
    pub counterexample: Option<Counterexample>,
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, depth {}",
            self.states, self.transitions, self.depth
        )?;
        if self.exhausted {
            f.write_str(", exhausted")?;
        }
        if !self.unreached.is_empty() {
            write!(f, ", never {}", self.unreached.join(", never "))?;
        }
        match &self.counterexample {
            None => Ok(()),
            Some(counterexample) => write!(f, "\n{counterexample}"),
        }
    }
}

/// A way to a violation, from which no step can be left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// What no longer holds.
    pub violation: Violation,
    /// The steps that lead there.
    pub steps: Vec<String>,
}

impl Counterexample {
    fn new<A: Checkable>(world: &World<A>, actions: Vec<Action<A>>) -> Self {
        let (actions, violation) = world.shrink(actions);
        Self {
            violation: violation.unwrap_or(Violation {
                property: SAFETY,
                detail: String::new(),
            }),
            steps: actions.iter().map(|action| format!("{action}")).collect(),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:3}. {step}", i + 1)?;
        }
        write!(f, "     {}", self.violation)
    }
}
