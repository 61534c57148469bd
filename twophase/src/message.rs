//! What nodes say to each other.

use crate::Presumption;
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Boot, DecodeError, Decoder, Field, NodeId, codec,
    contract::atomic_commit::{Outcome, Transaction},
};

/// A participant's vote.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ballot {
    /// Its disk holds all that it takes to commit or abort.
    Yes,
    /// It has aborted. Why, in the words of its resource.
    No(Bytes),
    /// It has let go already, and either outcome is the same to it.
    ReadOnly,
}

impl Field for Ballot {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Yes => 1u32.put(out),
            Self::ReadOnly => 2u32.put(out),
            Self::No(reason) => {
                3u32.put(out);
                reason.put(out);
            }
        }
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        match u32::take(input)? {
            1 => Ok(Self::Yes),
            2 => Ok(Self::ReadOnly),
            3 => Ok(Self::No(Field::take(input)?)),
            kind => Err(DecodeError::UnknownKind {
                kind: kind as u8,
                what: "Ballot",
            }),
        }
    }
}

/// A message of the protocol. Any of them may be lost, repeated or late.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// First phase, from the coordinator: can you commit? Whoever votes yes may ask the others named.
    Prepare {
        /// Which.
        transaction: Transaction,
        /// All of the work here.
        work: Bytes,
        /// All participants, and the run of each that this question is meant for. A participant in
        /// another run votes no: what it did before, it may have forgotten.
        participants: Vec<(NodeId, Boot)>,
        /// The rule that it goes by.
        presumption: Presumption,
        /// The sender knows nothing older any more: whatever is remembered for its sake may go.
        oldest_live: Transaction,
    },
    /// First phase, from a participant. After a yes it is in doubt until it is told the outcome.
    Vote {
        /// Which.
        transaction: Transaction,
        /// Yes, no or read-only.
        vote: Ballot,
        /// The sender's run.
        boot: Boot,
    },
    /// Second phase, from the coordinator; or from a participant that knows and was asked. Durable
    /// where it has to be.
    Decision {
        /// Which.
        transaction: Transaction,
        /// For ever.
        outcome: Outcome,
        /// The rule that it goes by.
        presumption: Presumption,
        /// From the coordinator: as in [`Message::Prepare`].
        oldest_live: Option<Transaction>,
    },
    /// Second phase, from a participant that will never ask again: its resource has carried the outcome
    /// out, and its disk says so.
    Acknowledge {
        /// Which.
        transaction: Transaction,
    },
    /// From the coordinator to the only participant: commit if you can. The decision is yours.
    CommitOnePhase {
        /// Which.
        transaction: Transaction,
        /// All of the work.
        work: Bytes,
        /// The run that this is meant for: another one has not committed it and never will, unless its
        /// disk says so.
        boot: Boot,
        /// As in [`Message::Prepare`].
        oldest_live: Transaction,
    },
    /// The answer to [`Message::CommitOnePhase`].
    Ended {
        /// Which.
        transaction: Transaction,
        /// For ever.
        outcome: Outcome,
        /// Why not, in the words of the resource.
        reason: Bytes,
    },
    /// From a participant in doubt to the coordinator, which may take it for a yes vote, and to other
    /// participants: what became of it?
    Inquire {
        /// Which.
        transaction: Transaction,
        /// The rule that it goes by.
        presumption: Presumption,
        /// The run of the addressee that was asked to prepare.
        boot: Boot,
    },
    /// From a participant that was asked and cannot say: it is in doubt itself, or it knows nothing that
    /// would prove anything.
    Undecided {
        /// Which.
        transaction: Transaction,
    },
    /// From a coordinator that does not know in which run a participant is.
    Greet {},
    /// From a participant at its start, and when greeted: this is the run that I am in.
    Hello {
        /// The sender's run.
        boot: Boot,
    },
}

// One class for all: nothing is more urgent than the rest, and a batch to one peer leaves in one write.
codec! {
    Message version 1 {
        1 since 1 Log => Prepare { transaction, work, participants, presumption, oldest_live },
        2 since 1 Log => Vote { transaction, vote, boot },
        3 since 1 Log => Decision { transaction, outcome, presumption, oldest_live },
        4 since 1 Log => Acknowledge { transaction },
        5 since 1 Log => CommitOnePhase { transaction, work, boot, oldest_live },
        6 since 1 Log => Ended { transaction, outcome, reason },
        7 since 1 Log => Inquire { transaction, presumption, boot },
        8 since 1 Log => Undecided { transaction },
        9 since 1 Log => Greet {},
        10 since 1 Log => Hello { boot },
    }
}
