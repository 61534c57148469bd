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
        Options {
            group: H::Group::draw(members, chance),
            outer: H::Outer::draw(members, chance),
            reclaim_every: chance(4..=64) as usize,
            ..Options::default()
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
        self.group.protocol.leader()
    }
}
