//! What harnesses ask of an algorithm.

use crate::{Config, Mode, Options, ThreePhase, ThreePhaseInvariants};
use alloc::string::{String, ToString};
use consensus_core::{
    Algorithm, Boot, Contract, Members, NodeId,
    fault::FaultKind,
    service::{atomic_commit::CommitService, locks::LockPolicy},
};
use core::{ops::RangeInclusive, time::Duration};

impl Algorithm for ThreePhase {
    const NAME: &'static str = "threephase";
    const CONTRACT: Contract = Contract::AtomicCommit;

    /// A partition, or a site that is slow and not dead: the operational sites are not who they seem.
    const EXPECTED: &'static [&'static str] = &["ac1_agreement"];

    type Options = Options;
    type Service = CommitService;
    type Invariants = ThreePhaseInvariants;

    fn config(options: &Options, members: &Members, node: NodeId) -> Result<Config, String> {
        Config::new(node, members.clone(), options.clone()).map_err(|error| error.to_string())
    }

    fn service(options: &Options, _: &Members, node: NodeId, _: Boot) -> CommitService {
        options.service.service(node, options.coordinator)
    }

    fn draw(_: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options {
        let mut options = Options {
            mode: match chance(0..=1) {
                0 => Mode::Classic,
                _ => Mode::Quorum,
            },
            votes: Duration::from_millis(chance(100..=800)),
            ..Options::default()
        };
        options.bound = match options.mode {
            // True in whatever weather the simulator makes without a fault that is outside.
            Mode::Classic => Duration::from_millis(chance(600..=1_000)),
            // Often not: elections collide with coordinators that are alive.
            Mode::Quorum => Duration::from_millis(chance(10..=500)),
        };
        options.eager = chance(0..=2) == 0;
        options.remembered_max = chance(0..=20) as usize;
        options.reclaim_step = chance(1..=8) as usize;
        options.service.policy = match chance(0..=2) {
            0 => LockPolicy::NoWait,
            1 => LockPolicy::WaitDie,
            _ => LockPolicy::WoundWait,
        };
        options.service.initial = chance(6..=40) as i64;
        options.service.checkpoint_every = chance(1..=30) as usize;
        options
    }

    /// Everybody votes, so nobody can be spared.
    fn needed(_: &Options, members: &Members) -> usize {
        members.count()
    }

    /// Classic mode assumes that messages arrive, and within the bound: only a failed site is silent.
    fn outside(options: &Options) -> &'static [FaultKind] {
        match options.mode {
            Mode::Classic => &[
                FaultKind::Drop,
                FaultKind::Delay,
                FaultKind::Cut,
                FaultKind::Isolate,
                FaultKind::Deaf,
                FaultKind::Mute,
                FaultKind::Star,
                FaultKind::Chain,
                FaultKind::Pause,
            ],
            Mode::Quorum => &[],
        }
    }

    /// Until the last participant has lost patience with its coordinator, and its election is over.
    fn harmful_after(options: &Options) -> Duration {
        options.votes + options.bound * 8
    }

    fn leader(&self) -> Option<NodeId> {
        self.config.options().coordinator
    }
}
