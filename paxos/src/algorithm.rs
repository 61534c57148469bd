//! What harnesses ask of an algorithm.

use crate::{Backoff, Ballots, Config, GiveUp, Options, Paxos, PaxosInvariants};
use alloc::string::{String, ToString};
use consensus_core::{
    Algorithm, Boot, Contract, Members, NodeId, service::register::RegisterService,
};
use core::{ops::RangeInclusive, time::Duration};

impl Algorithm for Paxos {
    const NAME: &'static str = "paxos";
    const CONTRACT: Contract = Contract::Register;

    type Options = Options;
    type Service = RegisterService;
    type Invariants = PaxosInvariants;

    fn config(options: &Options, members: &Members, node: NodeId) -> Result<Config, String> {
        Config::new(node, members.clone(), options.clone()).map_err(|error| error.to_string())
    }

    fn service(options: &Options, _: &Members, node: NodeId, _: Boot) -> RegisterService {
        RegisterService::new(node, options.service)
    }

    fn draw(members: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options {
        let count = members.count() as u64;
        let mut options = Options::default();
        if chance(0..=2) == 0 {
            let phase2 = chance(1..=count);
            options.phase2 = usize::try_from(phase2).ok();
            options.phase1 = usize::try_from(chance(count - phase2 + 1..=count)).ok();
        }
        options.thrifty = chance(0..=3) == 0;
        options.backoff = match chance(0..=2) {
            0 => Backoff::Uniform {
                low: Duration::ZERO,
                high: Duration::from_millis(chance(5..=60)),
            },
            _ => Backoff::Exponential {
                base: Duration::from_micros(chance(100..=4_000)),
                cap: Duration::from_millis(chance(20..=200)),
            },
        };
        if chance(0..=3) == 0 {
            options.ballots = Ballots::Increment;
        }
        if chance(0..=2) == 0 {
            options.give_up = GiveUp::FirstReject;
        }
        options.resend = Duration::from_millis(chance(5..=150));
        options.repair = Duration::from_millis(chance(0..=20));
        options.reclaim_step = usize::try_from(chance(1..=8)).unwrap_or(1);
        options.service.history = usize::try_from(chance(0..=4)).unwrap_or(1);
        if chance(0..=3) == 0 {
            options.service.cached_keys_max = 1;
        }
        options
    }

    fn needed(options: &Options, members: &Members) -> usize {
        let majority = consensus_core::majority(members.count());
        let size = |quorum: Option<usize>| quorum.unwrap_or(majority);
        size(options.phase1).max(size(options.phase2))
    }

    fn leader(&self) -> Option<NodeId> {
        None
    }
}
