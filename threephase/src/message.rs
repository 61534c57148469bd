//! What nodes say to each other.

use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Boot, DecodeError, Decoder, Field, NodeId, codec,
    contract::atomic_commit::{Outcome, Transaction},
};
use core::fmt;

/// Numbers the rounds of one transaction: the coordinator's own is the first, each election has a
/// later one. A node uses none twice: it stores its own before it speaks of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    /// Counts up. Zero: before any.
    pub round: u64,
    /// Whose.
    pub node: NodeId,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

/// As short in traces as it is read.
impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for Epoch {
    fn put(&self, out: &mut Vec<u8>) {
        self.round.put(out);
        self.node.put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            round: Field::take(input)?,
            node: Field::take(input)?,
        })
    }
}

/// Where a site that has not decided stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// A coordinator without a part in the work that knows nothing of the transaction any more.
    Gone,
    /// It has voted yes.
    Wait,
    /// It knows that all have voted yes.
    PreCommitted,
    /// It has been told to abort if nobody objects. Quorum mode only.
    PreAborted,
}

impl Field for Stage {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u32).put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        match u32::take(input)? {
            0 => Ok(Self::Gone),
            1 => Ok(Self::Wait),
            2 => Ok(Self::PreCommitted),
            3 => Ok(Self::PreAborted),
            kind => Err(DecodeError::UnknownKind {
                kind: kind as u8,
                what: "Stage",
            }),
        }
    }
}

/// A message of the protocol. Any of them may be lost, repeated or late.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// From the coordinator: can you commit?
    CanCommit {
        /// Which.
        transaction: Transaction,
        /// All of the work here.
        work: Bytes,
        /// All participants, and the run of each that this is meant for. A participant in another run
        /// votes no.
        participants: Vec<(NodeId, Boot)>,
        /// Of the transactions begun in the same run, the sender knows nothing older any more.
        oldest_live: Transaction,
    },
    /// From a participant. After a yes it is in doubt.
    Vote {
        /// Which.
        transaction: Transaction,
        /// Its disk holds all that it takes to commit or abort.
        yes: bool,
        /// Why not.
        reason: Bytes,
    },
    /// All have voted yes: be ready to commit.
    PreCommit {
        /// Which.
        transaction: Transaction,
        /// In whose round.
        epoch: Epoch,
    },
    /// From an elected coordinator, quorum mode only: be ready to abort.
    PreAbort {
        /// Which.
        transaction: Transaction,
        /// In whose round.
        epoch: Epoch,
    },
    /// The sender's disk holds the pre-commit or pre-abort of that round.
    Attempted {
        /// Which.
        transaction: Transaction,
        /// In whose round.
        epoch: Epoch,
    },
    /// Committed, for ever. From the coordinator, from one elected, or from whoever was asked and knows.
    DoCommit {
        /// Which.
        transaction: Transaction,
    },
    /// Aborted, for ever.
    DoAbort {
        /// Which.
        transaction: Transaction,
    },
    /// To the coordinator: carried out here.
    Acknowledge {
        /// Which.
        transaction: Transaction,
    },
    /// Where do you stand? And take part in no older round from now on.
    Elect {
        /// Which.
        transaction: Transaction,
        /// The sender's round.
        epoch: Epoch,
        /// As in [`Message::CanCommit`].
        participants: Vec<(NodeId, Boot)>,
    },
    /// The answer of a site that has not decided. Its disk holds the round asked in.
    Report {
        /// Which.
        transaction: Transaction,
        /// The round asked in.
        epoch: Epoch,
        /// Where it stands.
        stage: Stage,
        /// The round of its newest pre-commit or pre-abort.
        attempt: Epoch,
        /// It has failed since it voted.
        recovered: bool,
    },
    /// The sender takes part in a newer round. Binds nobody.
    Refuse {
        /// Which.
        transaction: Transaction,
        /// The newer round.
        elected: Epoch,
    },
    /// From a participant that wants to forget: have you carried this out?
    Settle {
        /// Which.
        transaction: Transaction,
        /// For ever.
        outcome: Outcome,
        /// A later run of the coordinator: it does not know the transaction any more.
        boot: Boot,
    },
    /// Yes.
    Settled {
        /// Which.
        transaction: Transaction,
    },
    /// In which run are you?
    Greet {},
    /// In this one.
    Hello {
        /// The sender's run.
        boot: Boot,
    },
}

impl Message {
    pub(crate) const fn decision(transaction: Transaction, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Commit => Self::DoCommit { transaction },
            Outcome::Abort => Self::DoAbort { transaction },
        }
    }

    pub(crate) const fn attempt(transaction: Transaction, epoch: Epoch, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Commit => Self::PreCommit { transaction, epoch },
            Outcome::Abort => Self::PreAbort { transaction, epoch },
        }
    }
}

codec! {
    Message version 1 {
        1 since 1 Log => CanCommit { transaction, work, participants, oldest_live },
        2 since 1 Log => Vote { transaction, yes, reason },
        3 since 1 Log => PreCommit { transaction, epoch },
        4 since 1 Log => PreAbort { transaction, epoch },
        5 since 1 Log => Attempted { transaction, epoch },
        6 since 1 Log => DoCommit { transaction },
        7 since 1 Log => DoAbort { transaction },
        8 since 1 Log => Acknowledge { transaction },
        9 since 1 Log => Elect { transaction, epoch, participants },
        10 since 1 Log => Report { transaction, epoch, stage, attempt, recovered },
        11 since 1 Log => Refuse { transaction, elected },
        12 since 1 Log => Settle { transaction, outcome, boot },
        13 since 1 Log => Settled { transaction },
        14 since 1 Control => Greet {},
        15 since 1 Control => Hello { boot },
    }
}
