//! A replicated coordinator as the harnesses see it.

use super::{Config, Hosting, Options, Replicated, ReplicatedInvariants};
use crate::{Algorithm, Boot, Contract, Members, NodeId, fault::FaultKind};
use alloc::string::String;
use core::ops::RangeInclusive;

impl<H: Hosting> Algorithm for Replicated<H> {
    const NAME: &'static str = H::NAME;
    const CONTRACT: Contract = H::Outer::CONTRACT;
    const EXPECTED: &'static [&'static str] = H::Outer::EXPECTED;

    type Options = Options<H>;
    type Service = H::Service;
    type Invariants = ReplicatedInvariants<H>;

    fn config(options: &Options<H>, members: &Members, node: NodeId) -> Result<Config<H>, String> {
        Config::new(options, members, node)
    }

    fn service(options: &Options<H>, members: &Members, node: NodeId, boot: Boot) -> H::Service {
        H::service(&H::outer(&options.outer), members, node, boot)
    }

    fn draw(members: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options<H> {
        let count = members.count() as u64;
        let replicas = (chance(0..=1) == 0).then(|| chance(1..=count));
        let first = count - replicas.unwrap_or(count);
        Options {
            group: match Members::new(members.iter().skip(first as usize)) {
                Ok(group) => H::Group::draw(&group, chance),
                Err(_) => Default::default(),
            },
            replicas: replicas.map(|count| count as usize),
            outer: H::Outer::draw(members, chance),
            reclaim_every: chance(4..=64) as usize,
            compact_every: chance(1..=60) as usize,
            snapshot_part: chance(64..=1_024) as usize,
            #[cfg(feature = "faults")]
            unproven: false,
        }
    }

    fn needed(options: &Options<H>, members: &Members) -> usize {
        let outer = H::Outer::needed(&H::outer(&options.outer), members);
        H::Group::needed(&options.group, members).max(outer)
    }

    fn outside(options: &Options<H>) -> &'static [FaultKind] {
        H::Outer::outside(&options.outer)
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.group {
            Some(group) => group.protocol.leader(),
            None => self.host.1,
        }
    }
}
