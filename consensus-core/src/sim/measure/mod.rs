//! Exact costs in virtual time: no faults, a constant one-way delay, disks that are free or take a
//! constant time.
//!
//! Conventions, as in the published tables: a message to oneself is free and not counted; a stable
//! write is a forced write that must precede a sending; messages are counted up to the step in which
//! somebody learns the decision, so what is sent to spread the word afterwards is not among them.

mod commit;

pub use commit::Bill;

use super::world::{Climate, Counts, Step, World};
use crate::{Algorithm, Input, Members, NodeId, Time, fault::Rate};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

/// A cluster to measure in.
#[derive(Clone, Debug)]
pub struct Laboratory<O> {
    /// How many nodes.
    pub nodes: usize,
    /// The algorithm's choices.
    pub options: O,
    /// One way.
    pub delay: Duration,
    /// What a sync takes; zero: disks are free.
    pub sync: Duration,
    /// How long a node gathers inputs before it starts a batch; zero: a batch an input.
    pub gather: Duration,
    /// How long the cluster runs before it is asked anything: elections need it.
    pub settle: Duration,
}

impl<O: Default> Default for Laboratory<O> {
    /// Three nodes, a millisecond one way, free disks.
    fn default() -> Self {
        Self {
            nodes: 3,
            options: O::default(),
            delay: Duration::from_millis(1),
            sync: Duration::ZERO,
            gather: Duration::ZERO,
            settle: Duration::ZERO,
        }
    }
}

/// What it took until somebody knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Virtual time since the request.
    pub latency: Duration,
    /// Messages that had been sent.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Syncs that had ended, at all nodes.
    pub forced_writes: u64,
    /// Syncs that had to end one after the other: how often the latency contains the time of one.
    pub sequential_writes: u64,
}

/// What a decision took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// Until the node that was asked knew.
    pub asked: Cost,
    /// Until every node knew.
    pub everybody: Cost,
    /// All that was sent, written and synced for it until nothing was left to do; as at
    /// `everybody` where the protocol is never idle.
    pub total: Counts,
}

/// Virtual time after which a decision counts as never made.
const LIMIT: Duration = Duration::from_secs(60);

impl<O: Clone> Laboratory<O> {
    /// A settled cluster, its events kept for [`Self::decide`] and not given to services.
    ///
    /// # Errors
    /// When the options do not fit, or an invariant breaks.
    pub fn world<A: Algorithm<Options = O>>(&self) -> Result<World<A>, String> {
        let members =
            Members::new((1..=self.nodes as u16).map(NodeId)).map_err(|e| e.to_string())?;
        let mut climate = Climate::constant(self.delay, self.sync);
        climate.wire = true;
        climate.gather = self.gather.as_nanos() as u64;
        let mut world = World::new(1, members, self.options.clone(), climate)?;
        world.observe();
        for place in 0..self.nodes {
            world.start(place).map_err(|e| e.to_string())?;
        }
        let end = world.now() + self.settle;
        while world.next().is_some_and(|next| next <= end) {
            world.step().map_err(|e| e.to_string())?;
        }
        world.now = world.now.max(end.as_nanos());
        Ok(world)
    }

    /// Asks `node` for `request`; `tells` says whether an event tells the node the decision.
    ///
    /// # Errors
    /// When the options do not fit, an invariant breaks, or nothing is decided within a minute.
    pub fn decide<A: Algorithm<Options = O>>(
        &self,
        node: NodeId,
        request: &A::Request,
        tells: &dyn Fn(&A::Event) -> bool,
    ) -> Result<Decision, String> {
        let mut decision = self.once::<A>(node, request, tells)?;
        // A sync so short that it changes no order: what it adds to the latency counts the syncs on
        // the path.
        let probe = (self.delay / 1_000).max(Duration::from_nanos(1));
        let longer = Self {
            sync: self.sync + probe,
            ..self.clone()
        };
        let longer = longer.once::<A>(node, request, tells)?;
        let writes = |a: Cost, b: Cost| {
            (b.latency.saturating_sub(a.latency).as_nanos() / probe.as_nanos()) as u64
        };
        decision.asked.sequential_writes = writes(decision.asked, longer.asked);
        decision.everybody.sequential_writes = writes(decision.everybody, longer.everybody);
        Ok(decision)
    }

    fn once<A: Algorithm<Options = O>>(
        &self,
        node: NodeId,
        request: &A::Request,
        tells: &dyn Fn(&A::Event) -> bool,
    ) -> Result<Decision, String> {
        let mut world = self.world::<A>()?;
        let place = world
            .members
            .position(node)
            .ok_or_else(|| format!("no node {node}"))?;
        let (start, before) = (world.now(), world.counts());
        let end = start + LIMIT;
        let cost = |world: &World<A>, counts: Counts| Cost {
            latency: world.now().since(start),
            messages: counts.messages - before.messages,
            bytes: counts.bytes - before.bytes,
            forced_writes: counts.syncs - before.syncs,
            sequential_writes: 0,
        };
        let mut decision = Decision::default();
        let mut knows = vec![false; self.nodes];
        let mut counts = world.counts();
        if let Some(told) = &mut world.told {
            told.clear();
        }
        world
            .input(place, Input::Request(request.clone()))
            .map_err(|e| e.to_string())?;
        loop {
            for (who, event) in world.told.take().unwrap_or_default() {
                if let Some(at) = world.members.position(who)
                    && tells(&event)
                    && !knows[at]
                {
                    knows[at] = true;
                    if at == place {
                        decision.asked = cost(&world, counts);
                    }
                    if knows.iter().all(|knows| *knows) {
                        decision.everybody = cost(&world, counts);
                    }
                }
            }
            world.told = Some(Vec::new());
            if knows.iter().all(|knows| *knows) {
                break;
            }
            counts = world.counts();
            if world.now() > end || world.step().map_err(|e| e.to_string())? == Step::Idle {
                let missing = knows.iter().filter(|knows| !**knows).count();
                return Err(format!("{missing} nodes know nothing after {:?}", LIMIT));
            }
        }
        decision.total = self.rest(&mut world, before)?;
        Ok(decision)
    }

    /// Lets what the decision led to come to its end, for a few delays.
    fn rest<A: Algorithm<Options = O>>(
        &self,
        world: &mut World<A>,
        before: Counts,
    ) -> Result<Counts, String> {
        let end = world.now() + 4 * (self.delay + self.sync);
        while world.next().is_some_and(|next| next <= end) {
            world.step().map_err(|e| e.to_string())?;
        }
        Ok(world.counts().since(before))
    }
}

/// Proposers that compete for one decision.
#[derive(Clone, Debug)]
pub struct Duel<O> {
    /// Nodes in all; each is an acceptor too.
    pub nodes: usize,
    /// How many of them propose.
    pub proposers: usize,
    /// The algorithm's choices, the back-off among them.
    pub options: O,
    /// One way, plus or minus a tenth.
    pub delay: Duration,
    /// Proposals begin at moments drawn from zero to so many delays.
    pub spread: u64,
    /// A duel that is not decided after so many delays counts as undecided.
    pub cutoff: u64,
}

/// How a duel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// When the first proposer knew; none: not before the cut-off.
    pub decided: Option<Duration>,
    /// Messages of the kind that begins an attempt, divided by the peers that each goes to.
    pub attempts: u64,
}

impl<O: Clone> Duel<O> {
    /// Fights one duel. `request` makes the proposal of one node; `attempt` is the message kind that
    /// begins an attempt, such as `Prepare`; `tells` says whether an event tells a decision.
    ///
    /// # Errors
    /// When the options do not fit or an invariant breaks.
    pub fn fight<A: Algorithm<Options = O>>(
        &self,
        seed: u64,
        request: &dyn Fn(NodeId) -> A::Request,
        attempt: &'static str,
        tells: &dyn Fn(&A::Event) -> bool,
    ) -> Result<Verdict, String> {
        let members =
            Members::new((1..=self.nodes as u16).map(NodeId)).map_err(|e| e.to_string())?;
        let mut climate = Climate::constant(self.delay, Duration::ZERO);
        let delay = self.delay.as_nanos() as u64;
        climate.weather.least = delay - delay / 10;
        climate.weather.jitter = delay / 10;
        climate.weather.ordered = false;
        climate.weather.drop = Rate(0);
        let mut world = World::<A>::new(seed, members, self.options.clone(), climate)?;
        world.observe();
        for place in 0..self.nodes {
            world.start(place).map_err(|e| e.to_string())?;
        }
        let mut chance = super::Chance::new(seed, 1_000);
        for proposer in 0..self.proposers.min(self.nodes) as u64 {
            let at = Time::from_nanos(chance.below((self.spread * delay).max(1)));
            world.call_at(at, proposer);
        }
        let cutoff = self.delay * u32::try_from(self.cutoff).unwrap_or(u32::MAX);
        let mut decided = None;
        while decided.is_none() && world.next().is_some_and(|next| next <= Time::ZERO + cutoff) {
            if let Step::Called(proposer) = world.step().map_err(|e| e.to_string())? {
                let place = proposer as usize;
                let input = Input::Request(request(NodeId(place as u16 + 1)));
                world.input(place, input).map_err(|e| e.to_string())?;
            }
            let told = world.told.as_mut().map(core::mem::take).unwrap_or_default();
            if told.iter().any(|(_, event)| tells(event)) {
                decided = Some(world.now().since(Time::ZERO));
            }
        }
        let peers = self.nodes.saturating_sub(1).max(1) as u64;
        Ok(Verdict {
            decided,
            attempts: world.sent_of(attempt).div_ceil(peers),
        })
    }
}
