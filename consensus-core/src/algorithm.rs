//! A protocol as the harnesses see it: simulator, benchmarks and real nodes run anything that says
//! these few things about itself.

use crate::{
    Boot, Invariants, Members, NodeId, Protocol,
    contract::replicated_log::{LogView, SnapshotId},
    fault::FaultKind,
    majority,
    service::Service,
};
use alloc::string::String;
use core::{fmt, ops::RangeInclusive, time::Duration};

/// What a protocol's applications agree on, which decides workload and checker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Contract {
    /// [`contract::register`](crate::contract::register): key-value operations, linearizable.
    Register,
    /// [`contract::replicated_log`](crate::contract::replicated_log): key-value operations,
    /// linearizable.
    ReplicatedLog,
    /// [`contract::atomic_commit`](crate::contract::atomic_commit): transfers, atomic.
    AtomicCommit,
}

/// A protocol that harnesses can run by name.
pub trait Algorithm: Protocol<Config: Clone, Status: fmt::Debug> + fmt::Debug + Clone {
    /// What it is called on the command line and in reports.
    const NAME: &'static str;
    /// What it speaks.
    const CONTRACT: Contract;
    /// Properties that may fail under faults from [`outside`](Self::outside) its assumptions: harnesses
    /// report that as expected, and inside as a violation.
    const EXPECTED: &'static [&'static str] = &[];

    /// Choices that hold for a whole cluster; the default is what production would use.
    type Options: Clone + fmt::Debug + Default;
    /// The application's side that harnesses run on it.
    type Service: Service<Self>;
    /// Its safety properties.
    type Invariants: Invariants<Self>;

    /// One node's configuration.
    ///
    /// # Errors
    /// A sentence for a person when the options do not fit the members.
    fn config(
        options: &Self::Options,
        members: &Members,
        node: NodeId,
    ) -> Result<Self::Config, String>;

    /// One run's application side.
    fn service(
        options: &Self::Options,
        members: &Members,
        node: NodeId,
        boot: Boot,
    ) -> Self::Service;

    /// Options for one simulator seed: rare paths made common (tiny batches, thrifty quorums, needless
    /// back-off). `chance` draws uniformly from a range.
    fn draw(members: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64)
    -> Self::Options;

    /// How many members must work, and reach each other, for everything to complete: what harnesses
    /// leave alone of the faults that last. A majority unless the options say otherwise.
    fn needed(options: &Self::Options, members: &Members) -> usize {
        let _ = options;
        majority(members.count())
    }

    /// Faults that break what it assumes under these options. They are not drawn unless they are asked
    /// for by name.
    fn outside(options: &Self::Options) -> &'static [FaultKind] {
        let _ = options;
        &[]
    }

    /// The snapshot on which this node's log rests, as its newest record of one says: what drivers must
    /// not delete. None when the log begins at its beginning.
    fn snapshot(&self) -> Option<SnapshotId> {
        None
    }

    /// How long a fault from [`outside`](Self::outside) has to last to do harm under these options.
    /// Zero: any length will do. Simulations that are asked for such faults let them last longer.
    fn harmful_after(options: &Self::Options) -> Duration {
        let _ = options;
        Duration::ZERO
    }

    /// What an operator sees of its log. None where there is none. Cheap; never waits for the disk.
    fn view(&self) -> Option<LogView> {
        None
    }

    /// The node that decides for the others, as this one knows: the target that fault specifications
    /// call `leader` and `coordinator`. None where nobody is set apart.
    fn leader(&self) -> Option<NodeId>;
}
