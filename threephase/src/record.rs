//! What must survive a crash.

use crate::Epoch;
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Boot, NodeId, codec,
    contract::atomic_commit::{Outcome, Transaction},
};

/// One fact on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Record {
    /// Participant: votes yes. Forced. Losing this would allow a participant whose yes has been counted
    /// to know nothing of the transaction.
    Voted {
        /// Which.
        transaction: Transaction,
        /// All participants, and the run of each that was asked.
        participants: Vec<(NodeId, Boot)>,
        /// The work and its locks, in the resource's encoding.
        redo: Bytes,
        /// Everything older of that coordinator's run was over everywhere.
        oldest_live: Transaction,
    },
    /// Participant: takes part in no round before this (`last_elected`). Forced before it reports.
    /// Losing this would allow it to obey a coordinator that was deposed on its own word.
    Elected {
        /// Which.
        transaction: Transaction,
        /// The round.
        epoch: Epoch,
    },
    /// Participant: pre-committed or pre-aborted in a round (`last_attempt`), and takes part in none
    /// before it. Forced before it acknowledges. Losing this would allow others to decide as if nobody
    /// had counted it.
    Attempted {
        /// Which.
        transaction: Transaction,
        /// The round.
        epoch: Epoch,
        /// Pre-committed or pre-aborted.
        outcome: Outcome,
    },
    /// Participant: committed or aborted. Forced: others may forget once it is acknowledged.
    Decided {
        /// Which.
        transaction: Transaction,
        /// For ever.
        outcome: Outcome,
        /// The how many-th commit here it is; zero for an abort.
        order: u64,
    },
    /// Coordinator: committed, and who has yet to acknowledge. Forced before anybody is told.
    Committed {
        /// Which.
        transaction: Transaction,
        /// Who is told until it acknowledges.
        participants: Vec<NodeId>,
    },
    /// Coordinator: everybody has acknowledged. Lazy: losing it costs a round of messages.
    End {
        /// Which.
        transaction: Transaction,
    },
    /// Participant: decided and carried out, but perhaps not everywhere, written anew.
    Over {
        /// Which.
        transaction: Transaction,
        /// As in [`Record::Voted`].
        participants: Vec<(NodeId, Boot)>,
        /// For ever.
        outcome: Outcome,
    },
    /// Participant: a commit that must be done again when the resource is rebuilt, written anew.
    Effect {
        /// Which.
        transaction: Transaction,
        /// Its place among the commits here.
        order: u64,
        /// The work.
        redo: Bytes,
    },
    /// Participant: the whole state of the resource. Lazy: what it covers stays on disk until it is
    /// there.
    Checkpoint {
        /// In the resource's encoding.
        state: Bytes,
        /// Commits before this that the state does not hold.
        open: Vec<Transaction>,
    },
}

codec! {
    Record version 1 {
        1 since 1 Log => Voted { transaction, participants, redo, oldest_live },
        2 since 1 Log => Elected { transaction, epoch },
        3 since 1 Log => Attempted { transaction, epoch, outcome },
        4 since 1 Log => Decided { transaction, outcome, order },
        5 since 1 Log => Committed { transaction, participants },
        6 since 1 Log => End { transaction },
        7 since 1 Log => Over { transaction, participants, outcome },
        8 since 1 Log => Effect { transaction, order, redo },
        9 since 1 Log => Checkpoint { state, open },
    }
}
