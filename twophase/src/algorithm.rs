//! What harnesses ask of an algorithm.

use crate::{Config, Options, Presumption, TwoPhase, TwoPhaseInvariants};
use alloc::string::{String, ToString};
use consensus_core::{
    Algorithm, Boot, Contract, Members, NodeId,
    service::{atomic_commit::CommitService, locks::LockPolicy},
};
use core::{ops::RangeInclusive, time::Duration};

impl Algorithm for TwoPhase {
    const NAME: &'static str = "twophase";
    const CONTRACT: Contract = Contract::AtomicCommit;

    type Options = Options;
    type Service = CommitService;
    type Invariants = TwoPhaseInvariants;

    fn config(options: &Options, members: &Members, node: NodeId) -> Result<Config, String> {
        Config::new(node, members.clone(), options.clone()).map_err(|error| error.to_string())
    }

    fn service(options: &Options, _: &Members, node: NodeId, _: Boot) -> CommitService {
        options.service.service(node, options.coordinator)
    }

    fn draw(_: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options {
        let mut options = Options {
            presumption: match chance(0..=2) {
                0 => Presumption::Abort,
                1 => Presumption::Commit,
                _ => Presumption::Nothing,
            },
            read_only: chance(0..=3) > 0,
            one_phase: chance(0..=3) > 0,
            resend: Duration::from_millis(chance(10..=150)),
            vote_rounds: chance(3..=10) as u32,
            inquire: Duration::from_millis(chance(5..=300)),
            remembered_max: chance(0..=20) as usize,
            reclaim_step: chance(1..=8) as usize,
            ..Options::default()
        };
        options.service.policy = match chance(0..=2) {
            0 => LockPolicy::NoWait,
            1 => LockPolicy::WaitDie,
            _ => LockPolicy::WoundWait,
        };
        if chance(0..=3) == 0 {
            options.coordinator = None;
        }
        options.service.initial = chance(6..=40) as i64;
        options.service.checkpoint_every = chance(1..=30) as usize;
        options
    }

    /// Nobody can be spared: a participant that never comes back leaves the others in doubt, and a
    /// coordinator too.
    fn needed(_: &Options, members: &Members) -> usize {
        members.count()
    }

    fn leader(&self) -> Option<NodeId> {
        self.config.options().coordinator
    }
}
