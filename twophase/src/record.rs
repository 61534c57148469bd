//! What coordinators and participants must remember.
//!
//! Whether a record is forced is decided where it is written, as the presumption says; the table stands
//! on the front page. One log a node: a coordinator that is a participant too needs no write to hear
//! itself.

use crate::Presumption;
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Boot, NodeId, codec,
    contract::atomic_commit::{Outcome, Transaction},
};

/// One fact. Every prefix of a log, and every log that repeats older facts, is a legal state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Record {
    /// Coordinator, presumed commit: these are about to be asked. Forced. Losing this would allow a
    /// transaction that was never decided to be presumed committed.
    Collecting {
        /// Which.
        transaction: Transaction,
        /// All that will be asked.
        participants: Vec<NodeId>,
    },
    /// Coordinator: the decision, and who has yet to acknowledge it. Losing a commit would allow the
    /// presumption, or the next start, to abort what a participant has committed.
    Decided {
        /// Which.
        transaction: Transaction,
        /// For ever.
        outcome: Outcome,
        /// The rule that it goes by.
        presumption: Presumption,
        /// Who has to be told until it acknowledges.
        participants: Vec<NodeId>,
    },
    /// Coordinator: everybody has acknowledged. Lazy: losing it costs a round of messages.
    End {
        /// Which.
        transaction: Transaction,
    },
    /// Participant: votes yes. Forced. Losing this would allow a participant whose yes has been counted
    /// to know nothing of the transaction.
    Prepared {
        /// Which.
        transaction: Transaction,
        /// The rule that it goes by.
        presumption: Presumption,
        /// Whom to ask besides the coordinator, and in which run each was asked to prepare.
        participants: Vec<(NodeId, Boot)>,
        /// The work and its locks, in the resource's encoding.
        redo: Bytes,
    },
    /// Participant: committed. Losing it is being in doubt again; once it is acknowledged nobody is
    /// left to ask, so it is forced where commits are acknowledged.
    Committed {
        /// Which.
        transaction: Transaction,
        /// The how many-th commit of this participant it is: the order in which a resource is rebuilt.
        order: u64,
        /// The work, where no prepared record holds it.
        redo: Option<Bytes>,
    },
    /// Participant: aborted, perhaps before it was ever asked. Losing it is being in doubt again, or
    /// having never voted.
    Aborted {
        /// Which.
        transaction: Transaction,
    },
    /// Participant: an operator has decided. Forced. Losing this would hide a decision that may be
    /// wrong.
    ByHand {
        /// Which.
        transaction: Transaction,
        /// What the hand decided.
        outcome: Outcome,
        /// As in [`Record::Committed`].
        order: u64,
    },
    /// Participant: the hand was wrong. Forced.
    Damage {
        /// Which.
        transaction: Transaction,
        /// What the hand decided.
        by_hand: Outcome,
        /// What was right.
        truth: Outcome,
    },
    /// Participant: an operator has seen the damage. Lazy.
    Seen {
        /// Which.
        transaction: Transaction,
    },
    /// Participant: the whole state of the resource. Lazy: what it covers stays on disk until it is
    /// there.
    Checkpoint {
        /// In the resource's encoding.
        state: Bytes,
        /// Commits before this one that the state does not hold yet.
        open: Vec<Transaction>,
    },
}

codec! {
    Record version 1 {
        1 since 1 Log => Collecting { transaction, participants },
        2 since 1 Log => Decided { transaction, outcome, presumption, participants },
        3 since 1 Log => End { transaction },
        4 since 1 Log => Prepared { transaction, presumption, participants, redo },
        5 since 1 Log => Committed { transaction, order, redo },
        6 since 1 Log => Aborted { transaction },
        7 since 1 Log => ByHand { transaction, outcome, order },
        8 since 1 Log => Damage { transaction, by_hand, truth },
        9 since 1 Log => Seen { transaction },
        10 since 1 Log => Checkpoint { state, open },
    }
}
