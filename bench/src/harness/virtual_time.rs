//! Virtual time: what a commit takes when a message takes a constant time and a disk none, and how long
//! proposers duel. Exact, and the same on every machine.

use super::load::Load;
use consensus_core::{
    Algorithm, Input, NodeId, Time, Token,
    contract::register,
    sim::{
        Counts, Step, World,
        measure::{Duel, Laboratory, Verdict},
    },
};
use paxos::{Backoff, GiveUp, Options, Paxos};
use std::time::Duration;

/// One way, in every measurement here.
pub const DELAY: Duration = Duration::from_millis(1);
/// A command that is not decided after so long is never.
const LIMIT: Duration = Duration::from_secs(60);
/// By then everything that a command leads to has arrived.
const REST: Duration = Duration::from_millis(10);
/// Longer than any election with default options takes.
const SETTLE: Duration = Duration::from_secs(5);

/// A cluster in virtual time with one client.
pub struct VirtualTime<A: Algorithm, L> {
    world: World<A>,
    load: L,
}

impl<A: Algorithm, L> std::fmt::Debug for VirtualTime<A, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualTime")
            .field("now", &self.world.now())
            .finish_non_exhaustive()
    }
}

impl<A: Algorithm, L: Load<A>> VirtualTime<A, L> {
    /// Nodes 1 to `nodes`, after any election; disks are free.
    ///
    /// # Errors
    /// When the options do not fit, an invariant breaks, or the cluster cannot take commands.
    pub fn new(nodes: u16, options: &A::Options) -> Result<Self, String> {
        Self::with_disks(nodes, options, Duration::ZERO)
    }

    /// The same with disk writes that take `sync`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_disks(nodes: u16, options: &A::Options, sync: Duration) -> Result<Self, String> {
        let laboratory = Laboratory {
            options: options.clone(),
            sync,
            ..Laboratory::default()
        };
        Self::settled(nodes, laboratory)
    }

    fn settled(nodes: u16, laboratory: Laboratory<A::Options>) -> Result<Self, String> {
        let laboratory = Laboratory {
            nodes: usize::from(nodes),
            delay: DELAY,
            ..laboratory
        };
        let mut cluster = Self {
            world: laboratory.world::<A>()?,
            load: L::new(nodes),
        };
        cluster.run(SETTLE, |_, load, _| load.is_ready())?;
        // What an election leaves under way is not the first command's.
        cluster.run_for(100 * DELAY)?;
        Ok(cluster)
    }

    /// What is sent and written for `count` commands in a cluster of `nodes`, each proposed when the one
    /// before is acknowledged: nodes gather inputs for a moment, so that the two meet in one batch. What
    /// an idle cluster sends in as long a time is not among it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn stream(nodes: u16, options: &A::Options, count: u32) -> Result<Counts, String> {
        let laboratory = Laboratory {
            options: options.clone(),
            gather: DELAY / 10,
            ..Laboratory::default()
        };
        let round = 2 * (laboratory.delay + laboratory.gather);
        let mut cluster = Self::settled(nodes, laboratory)?;
        let before = cluster.world.counts();
        for _ in 0..count {
            let mut asked = Vec::new();
            cluster
                .load
                .propose(1, &mut |node, request| asked.push((node, request)));
            cluster.ask(asked, None)?;
            cluster.run_for(round)?;
        }
        let busy = cluster.world.counts();
        cluster.run_for(count * round)?;
        let idle = cluster.world.counts().since(busy);
        Ok(busy.since(before).without(idle))
    }

    /// From propose to the answer at the node that was asked, in virtual time; then lets everything
    /// under way arrive.
    ///
    /// # Errors
    /// When an invariant breaks, or there is no answer within a minute.
    pub fn decide(&mut self) -> Result<Duration, String> {
        Ok(self.bill()?.0)
    }

    /// The same, and all that was sent and written until then: a heartbeat that falls into that time
    /// is among it.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn bill(&mut self) -> Result<(Duration, Counts), String> {
        let before = self.world.counts();
        let mut asked = Vec::new();
        self.load
            .propose(1, &mut |node, request| asked.push((node, request)));
        let start = self.world.now();
        let proposer = asked.first().map(|(node, _)| *node);
        let mut answered = self.ask(asked, proposer)?;
        if !answered {
            self.run(LIMIT, |told, _, _| {
                answered |= told
                    .iter()
                    .any(|(node, event)| Some(*node) == proposer && L::is_answer(event));
                answered
            })?;
        }
        let latency = self.world.now().since(start);
        self.run_for(REST)?;
        Ok((latency, self.world.counts().since(before)))
    }

    /// Hands requests over; whether that answered `proposer` at once.
    fn ask(
        &mut self,
        requests: Vec<(NodeId, A::Request)>,
        proposer: Option<NodeId>,
    ) -> Result<bool, String> {
        for (node, request) in requests {
            let place = usize::from(node.0) - 1;
            self.world
                .input(place, Input::Request(request))
                .map_err(|e| e.to_string())?;
        }
        let told = self.hear()?;
        Ok(told
            .iter()
            .any(|(node, event)| Some(*node) == proposer && L::is_answer(event)))
    }

    /// Gives the applications what they were told, and the nodes what those ask, until nothing more
    /// follows at this moment.
    fn hear(&mut self) -> Result<Vec<(NodeId, A::Event)>, String> {
        let mut heard = Vec::new();
        loop {
            let told = self.world.take_told();
            if told.is_empty() {
                return Ok(heard);
            }
            for (node, event) in told {
                let mut requests = Vec::new();
                self.load
                    .told(node, event.clone(), &mut |request| requests.push(request));
                heard.push((node, event));
                for request in requests {
                    let place = usize::from(node.0) - 1;
                    self.world
                        .input(place, Input::Request(request))
                        .map_err(|e| e.to_string())?;
                }
            }
        }
    }

    fn run(
        &mut self,
        limit: Duration,
        mut reached: impl FnMut(&[(NodeId, A::Event)], &L, &World<A>) -> bool,
    ) -> Result<(), String> {
        let end = self.world.now() + limit;
        loop {
            let told = self.hear()?;
            if reached(&told, &self.load, &self.world) {
                return Ok(());
            }
            let late = self.world.next().is_none_or(|next| next > end);
            if late || self.world.step().map_err(|e| e.to_string())? == Step::Idle {
                return Err(format!(
                    "{} is not there after {limit:?} of virtual time",
                    A::NAME
                ));
            }
        }
    }

    fn run_for(&mut self, span: Duration) -> Result<(), String> {
        let end = self.world.now() + span;
        // Time passes even if nothing happens.
        self.world.call_at(end, 0);
        while self.world.next().is_some_and(|next| next <= end) {
            self.world.step().map_err(|e| e.to_string())?;
            self.hear()?;
        }
        Ok(())
    }
}

/// Nodes in a duel, acceptors all of them.
pub const DUEL_NODES: usize = 9;
/// How proposers in a duel wait after a lost ballot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Its name in benchmarks.
    pub name: &'static str,
    /// The policy.
    pub backoff: Backoff,
}

/// The policies that are compared. The uniform one is wide enough for two or three; the exponential
/// one need not know for how many.
pub const POLICIES: [Policy; 3] = [
    Policy {
        name: "none",
        backoff: Backoff::None,
    },
    Policy {
        name: "uniform",
        backoff: Backoff::Uniform {
            low: Duration::ZERO,
            high: Duration::from_millis(16),
        },
    },
    Policy {
        name: "exponential",
        backoff: Backoff::Exponential {
            base: DELAY,
            cap: Duration::from_millis(64),
        },
    },
];

/// One duel of `proposers` of [`DUEL_NODES`] nodes for one instance: one-way delay [`DELAY`] plus or
/// minus a tenth, uniform; starts uniform over four delays; ballots above all that was seen, given up
/// at the first rejection. Undecided after `cutoff` delays.
///
/// # Errors
/// When an invariant breaks.
pub fn duel(policy: Policy, proposers: usize, cutoff: u64, seed: u64) -> Result<Verdict, String> {
    let duel = Duel {
        nodes: DUEL_NODES,
        proposers,
        options: duel_options(policy.backoff, GiveUp::FirstReject),
        delay: DELAY,
        spread: 4,
        cutoff,
    };
    duel.fight::<Paxos>(seed, &duel_request, "Prepare", &|event| {
        matches!(event, register::Event::Chosen { .. })
    })
}

/// Paxos as it duels.
#[must_use]
pub fn duel_options(backoff: Backoff, give_up: GiveUp) -> Options {
    Options {
        backoff,
        give_up,
        // Nothing is lost in a duel; asking again would only blur it.
        resend: LIMIT,
        ..Options::default()
    }
}

/// What `node` proposes in a duel: a value of its own for the one instance.
#[must_use]
pub fn duel_request(node: NodeId) -> register::Request {
    register::Request::Propose {
        token: Token(1),
        instance: register::Instance {
            key: crate::app::kv::key(0),
            version: register::Version(1),
        },
        value: crate::app::kv::key(node.0.into()),
    }
}

/// One way in a [`staged`] duel: three thirds, so that moments between them are whole.
pub const STAGED_DELAY: Duration = Duration::from_millis(3);

/// A duel with nothing left to chance: `nodes` nodes a constant [`STAGED_DELAY`] apart, of which one
/// each proposes at the moments `starts` and retries at once. When the first of them knows a decision,
/// if within `limit`; and how many ballots were begun.
///
/// # Errors
/// When an invariant breaks.
pub fn staged(
    nodes: usize,
    starts: &[Duration],
    limit: Duration,
) -> Result<(Option<Duration>, u64), String> {
    let laboratory = Laboratory {
        nodes,
        // Every node is an acceptor, so a retry is refused at home before it is heard of elsewhere: one
        // rejection is no loss yet.
        options: duel_options(Backoff::None, GiveUp::QuorumLost),
        delay: STAGED_DELAY,
        ..Laboratory::default()
    };
    let mut world = laboratory.world::<Paxos>()?;
    for (place, start) in starts.iter().enumerate() {
        world.call_at(Time::ZERO + *start, place as u64);
    }
    let ballots = |world: &World<Paxos>| world.sent_of("Prepare") / (nodes as u64 - 1);
    while world.next().is_some_and(|next| next <= Time::ZERO + limit) {
        if let Step::Called(place) = world.step().map_err(|e| e.to_string())? {
            let request = duel_request(NodeId(place as u16 + 1));
            world
                .input(place as usize, Input::Request(request))
                .map_err(|e| e.to_string())?;
        }
        let told = world.take_told();
        if told
            .iter()
            .any(|(_, event)| matches!(event, register::Event::Chosen { .. }))
        {
            return Ok((Some(world.now().since(Time::ZERO)), ballots(&world)));
        }
    }
    Ok((None, ballots(&world)))
}
