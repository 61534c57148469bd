//! What must survive a crash.

use alloc::boxed::Box;
use consensus_core::{Ballot, Index, codec, contract::replicated_log::Manifest, log::Run};

/// One fact on disk. Every prefix of the records is a legal state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Record {
    /// Forced. Losing it would allow an acceptance under an older ballot after a newer leader was told
    /// that there is none [Lamport01 §2.2].
    Promised {
        /// Nothing below is promised or accepted any more.
        ballot: Ballot,
    },
    /// Forced. Losing it would forget a part of a quorum that has chosen a value. Promises its ballot
    /// as well.
    Accepted {
        /// Under which ballot the entries were accepted.
        ballot: Ballot,
        /// The entries; their epoch names the ballot that first proposed them.
        run: Run,
    },
    /// Lazy. Chosen entries that follow all others known as chosen here. Losing them costs only time:
    /// whoever told them tells them again.
    Learned {
        /// The entries.
        run: Run,
    },
    /// Lazy. Everything up to here is chosen, and what stands here is what was chosen. Losing it costs
    /// only time.
    Chosen {
        /// The last such slot.
        through: Index,
    },
    /// Lazy. An [`Accepted`](Self::Accepted) from before, written anew: its ballot may be older than what
    /// was promised by then. Read, and not written any more.
    Kept {
        /// Under which ballot the entries were accepted.
        ballot: Ballot,
        /// The entries.
        run: Run,
    },
    /// Forced. The log begins after this snapshot, whose file was whole, synced and verified before.
    Snapshot {
        /// What it is.
        manifest: Box<Manifest>,
    },
}

codec! {
    Record version 1 {
        1 since 1 Control => Promised { ballot },
        2 since 1 Log => Accepted { ballot, run },
        3 since 1 Log => Learned { run },
        4 since 1 Control => Chosen { through },
        5 since 1 Control => Snapshot { manifest },
        6 since 1 Log => Kept { ballot, run },
    }
}
