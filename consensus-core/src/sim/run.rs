//! One seed: a safety phase in which anything may fail, a liveness phase in which nothing more may,
//! and the judgement.

use super::{
    chance::Chance,
    faults::{Faults, KINDS},
    network::Weather,
    phases::{Clients, Phases},
    trace::Happening,
    transfers::Transfers,
    workload::{KeyValue, Workload},
    world::{Climate, World, purpose},
};
use crate::{
    Algorithm, Contract, Invariants, Members, NodeId, Violation,
    fault::{FaultKind, Rate},
};
use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

const MILLI: u64 = 1_000_000;

/// What is run, apart from the seed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many nodes; none: 3 to 7, as the seed draws.
    pub nodes: Option<usize>,
    /// Operations of the safety phase.
    pub operations: u64,
    /// Which kinds of fault may be drawn; [`KINDS`] are known. All of them: all that are inside the
    /// algorithm's assumptions.
    pub faults: Vec<FaultKind>,
    /// Keep every step for people to read.
    pub trace: bool,
    /// The longest that the safety phase may take, in virtual time.
    pub safety: Duration,
    /// How long the healed core may take, in virtual time, to complete what it is asked.
    pub liveness: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: None,
            operations: 200,
            faults: KINDS.to_vec(),
            trace: false,
            safety: Duration::from_secs(120),
            liveness: Duration::from_secs(60),
        }
    }
}

/// What came of one seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// How many nodes it drew.
    pub nodes: usize,
    /// What it drew, for a person.
    pub drawn: String,
    /// Steps of the world.
    pub events: u64,
    /// Equal exactly when two runs took the same steps.
    pub trace_hash: u64,
    /// Operations that were answered: done, or unknown.
    pub operations: u64,
    /// Operations of unknown outcome among them.
    pub unknown: u64,
    /// Snapshots kept by their own node, and received from another.
    pub snapshots: (u64, u64),
    /// Faults by kind, that really struck.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often each property was judged.
    pub checks: BTreeMap<&'static str, u64>,
    /// The property that does not hold.
    pub violation: Option<Violation>,
    /// The property that does not hold, where that is [expected](Algorithm::EXPECTED): a fault outside
    /// the algorithm's assumptions was asked for by name, and struck.
    pub expected: Option<Violation>,
    /// Every step, if it was asked for.
    pub trace: Vec<Happening>,
}

/// Runs one seed with the workload of the algorithm's contract.
///
/// A panic of the protocol is a violation of the property `panic`.
#[must_use]
pub fn run<A: Algorithm>(seed: u64, settings: &Settings) -> Outcome {
    run_with::<A>(seed, settings, &|_| {}, None)
}

/// As [`run`], with options `adjust`ed after the seed has drawn them and, instead of the contract's,
/// a `workload`.
#[must_use]
pub fn run_with<A: Algorithm>(
    seed: u64,
    settings: &Settings,
    adjust: &dyn Fn(&mut A::Options),
    workload: Option<Box<dyn Workload>>,
) -> Outcome {
    let mut shape = Chance::new(seed, purpose::SHAPE);
    let drawn = *[3, 3, 3, 5, 5, 4, 7]
        .get(shape.below(7) as usize)
        .unwrap_or(&3);
    let count = settings.nodes.unwrap_or(drawn).max(1);
    let climate = climate(&mut shape);
    let mut outcome = Outcome {
        seed,
        nodes: count,
        ..Outcome::default()
    };
    let mut options_chance = Chance::new(seed, purpose::OPTIONS);
    let members = match Members::new((1..=count as u16).map(NodeId)) {
        Ok(members) => members,
        Err(e) => return refuse(outcome, &e),
    };
    let mut options = A::draw(&members, &mut |range| options_chance.within(range));
    adjust(&mut options);
    let budget = count.saturating_sub(A::needed(&options, &members));
    let outside = A::outside(&options);
    let kinds: Vec<FaultKind> = match settings.faults == KINDS {
        true => {
            let inside = KINDS.iter().filter(|kind| !outside.contains(kind));
            inside.copied().collect()
        }
        false => settings.faults.clone(),
    };
    let mut faults = Faults::draw(seed, &kinds, budget);
    faults.prolong(outside, A::harmful_after(&options));
    outcome.drawn = format!("{options:?} {climate:?} faults {:?}", faults.kinds());
    let workload = workload.unwrap_or_else(|| match A::CONTRACT {
        Contract::Register | Contract::ReplicatedLog => Box::new(KeyValue::draw(&mut shape)),
        Contract::AtomicCommit => {
            let nodes: Vec<NodeId> = members.iter().collect();
            Box::new(Transfers::draw(&nodes, &mut shape))
        }
    });
    let mut world = match World::<A>::new(seed, members, options, climate) {
        Ok(world) => world,
        Err(e) => return refuse(outcome, &e),
    };
    world.loses = (faults.is_on(FaultKind::Lost), faults.is_on(FaultKind::Torn));
    world.trace = settings.trace.then(Vec::new);
    let clients = 1 + shape.below(8) as usize;
    let think = shape.within(0..=40 * MILLI);
    let patience = shape.within(100 * MILLI..=2_000 * MILLI);
    let mut run = Phases::new(
        world,
        faults,
        workload,
        Clients {
            count: clients,
            think,
            patience,
        },
    );
    let result = catch_unwind(AssertUnwindSafe(|| run.whole(seed, settings)));
    outcome.violation = match result {
        Ok(Ok(judged)) => {
            outcome.checks.extend(judged);
            None
        }
        Ok(Err(violation)) => Some(violation),
        Err(panic) => Some(Violation {
            property: "panic",
            detail: message(panic.as_ref()),
        }),
    };
    run.faults.collect(&run.world);
    let judged = run.world.invariants.judged();
    outcome.checks.extend(
        A::Invariants::PROPERTIES
            .iter()
            .copied()
            .zip(judged.iter().copied()),
    );
    outcome.events = run.world.events;
    outcome.trace_hash = run.world.trace_hash();
    outcome.snapshots = run.world.counts.snapshots;
    outcome.operations = run.answered;
    outcome.unknown = run.unknown;
    outcome.faults = run.faults.fired;
    let excused = outcome.faults.keys().any(|kind| outside.contains(kind));
    if excused {
        let expected = |violation: &mut Violation| A::EXPECTED.contains(&violation.property);
        outcome.expected = outcome.violation.take_if(expected);
    }
    outcome.trace = run.world.trace.take().unwrap_or_default();
    outcome
}

fn refuse(outcome: Outcome, why: &dyn core::fmt::Display) -> Outcome {
    let violation = Violation {
        property: "configuration",
        detail: format!("{why}"),
    };
    Outcome {
        violation: Some(violation),
        ..outcome
    }
}

fn message(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
        .into()
}

fn climate(shape: &mut Chance) -> Climate {
    let mut up_to = |least: u64, most: u64| {
        // As likely small as large: uniform in the number of doublings.
        let doublings = (most / least.max(1)).max(1).ilog2();
        let high = least << shape.below(u64::from(doublings) + 1);
        shape.within(least..=high.max(least))
    };
    let least = up_to(20_000, 4 * MILLI);
    let jitter = up_to(10_000, 8 * MILLI);
    let sync_least = up_to(10_000, 4 * MILLI);
    let sync_jitter = up_to(10_000, 4 * MILLI);
    let sync_depth = up_to(1, 4) as u32;
    let segment = up_to(1, 32);
    Climate {
        weather: Weather {
            least,
            jitter,
            tailed: shape.one_in(1, 2),
            ordered: shape.one_in(1, 2),
            drop: Rate(0),
            only: None,
            dup: Rate(0),
            echo: MILLI,
            reorder: Rate(0),
            slower: 1,
        },
        sync_least,
        sync_jitter,
        sync_depth,
        gather: if shape.one_in(1, 2) {
            shape.within(1_000..=MILLI)
        } else {
            0
        },
        segment,
        reclaim: if shape.one_in(1, 2) {
            shape.within(4..=200) as usize
        } else {
            0
        },
        wire: shape.one_in(1, 8),
    }
}
