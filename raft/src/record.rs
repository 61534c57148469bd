//! What must survive a crash.

use alloc::boxed::Box;
use consensus_core::{Index, NodeId, codec, contract::replicated_log::Manifest, log::Run};

/// One fact on disk. Every prefix of the records is a legal state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Record {
    /// Forced. Losing it would allow a second vote in the same term [Ongaro14 §3.8]. Term and vote
    /// are one record: apart, a crash between them would allow the same.
    HardState {
        /// The newest term seen.
        term: u64,
        /// Who got this node's vote in it.
        vote: Option<NodeId>,
    },
    /// Forced. Drops everything from the run's first entry on, then appends. Losing it would forget
    /// an acknowledged entry.
    Append {
        /// The entries.
        run: Run,
    },
    /// Lazy. Losing it costs only time: a leader tells it again.
    Commit {
        /// Everything up to here is committed.
        index: Index,
    },
    /// Forced. The log begins after this snapshot, whose file was whole, synced and verified before.
    Snapshot {
        /// What it is.
        manifest: Box<Manifest>,
    },
}

codec! {
    Record version 1 {
        1 since 1 Control => HardState { term, vote },
        2 since 1 Log => Append { run },
        3 since 1 Control => Commit { index },
        4 since 1 Control => Snapshot { manifest },
    }
}
