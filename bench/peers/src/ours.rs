//! Ours, as `cargo bench` drives them.

use crate::Cluster;
use bench::harness::{Load, LogLoad, in_memory::InMemory};
use consensus_core::Algorithm;

impl<A: Algorithm, L: Load<A>> Cluster for InMemory<A, L> {
    fn decide(&mut self, window: usize) {
        InMemory::decide(self, window);
    }
}

fn start<A: Algorithm + 'static>() -> Box<dyn Cluster>
where
    LogLoad: Load<A>,
{
    let cluster = InMemory::<A, LogLoad>::new(3, &A::Options::default());
    Box::new(cluster.expect("the default options fit three members"))
}

pub(crate) fn multipaxos() -> Box<dyn Cluster> {
    start::<multipaxos::MultiPaxos>()
}

pub(crate) fn raft() -> Box<dyn Cluster> {
    start::<raft::Raft>()
}
