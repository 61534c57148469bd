//! What nodes say to each other.

use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Ballot, Boot, DecodeError, Decoder, Field, codec,
    contract::register::{Instance, Key, Version},
    wire::put_varint,
};

/// What an acceptor has accepted for one instance: a numbered proposal in the words of
/// [Lamport01 §2.2].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Acceptance {
    /// Under which ballot. One ballot carries one value.
    pub ballot: Ballot,
    /// The value.
    pub value: Bytes,
}

impl Field for Acceptance {
    fn put(&self, out: &mut Vec<u8>) {
        self.ballot.put(out);
        self.value.put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            ballot: Field::take(input)?,
            value: Field::take(input)?,
        })
    }
}

/// Names one round of one read, never used twice: answers to an older round, or to an older run of
/// the same node, were given before this round began and say nothing about what was chosen since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadId {
    /// The run of the node that reads.
    pub boot: Boot,
    /// Which read of that run.
    pub number: u64,
    /// Which round of that read, from 1 upwards.
    pub round: u64,
}

impl Field for ReadId {
    fn put(&self, out: &mut Vec<u8>) {
        self.boot.put(out);
        put_varint(self.number, out);
        put_varint(self.round, out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            boot: Field::take(input)?,
            number: input.varint("read")?,
            round: input.varint("round of a read")?,
        })
    }
}

/// A message of the Synod, or of a read. Any of them may be lost, repeated or late.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Phase 1a. From a proposer to acceptors: promise to take part in nothing below `ballot`.
    Prepare {
        /// What is to be decided.
        instance: Instance,
        /// A ballot that the sender owns.
        ballot: Ballot,
    },
    /// Phase 1b. From an acceptor whose disk holds the promise: it accepts nothing below `ballot`
    /// any more, and `accepted` is the highest that it has accepted so far.
    Promise {
        /// What is to be decided.
        instance: Instance,
        /// The ballot prepared.
        ballot: Ballot,
        /// The acceptance of the highest ballot below `ballot`, if there is one.
        accepted: Option<Acceptance>,
    },
    /// Phase 2a. From a proposer that holds promises of a phase 1 quorum.
    Accept {
        /// What is to be decided.
        instance: Instance,
        /// The ballot that was promised.
        ballot: Ballot,
        /// The value of the highest acceptance among the promises; the proposer's own if none.
        value: Bytes,
    },
    /// Phase 2b. From an acceptor whose disk holds the acceptance.
    Accepted {
        /// What is being decided.
        instance: Instance,
        /// The ballot accepted.
        ballot: Ballot,
    },
    /// From an acceptor that has promised more: the proposer need not wait, and learns what to
    /// outrank. Binds nobody.
    Reject {
        /// What was to be decided.
        instance: Instance,
        /// The ballot refused.
        ballot: Ballot,
        /// The ballot promised.
        promised: Ballot,
    },
    /// From whoever knows: a phase 2 quorum's disks hold `ballot` and its one value, for ever.
    Chosen {
        /// What is decided.
        instance: Instance,
        /// A ballot that carries the chosen value: that of the quorum, or a higher one.
        ballot: Ballot,
        /// The value; left out towards an acceptor that has accepted this very ballot.
        value: Option<Bytes>,
    },
    /// From a node that takes part in a newer version of the key. Its proposer knew this one to be
    /// chosen, so nothing is left to decide here.
    Superseded {
        /// What was asked about.
        instance: Instance,
        /// The newest version that the sender takes part in.
        by: Version,
    },
    /// From a reader: what have you accepted for `key`?
    Query {
        /// The register.
        key: Key,
        /// Names the round.
        read: ReadId,
    },
    /// From an acceptor, all of it on its disk: the answer to [`Message::Query`].
    Report {
        /// The register.
        key: Key,
        /// The round that it answers.
        read: ReadId,
        /// The newest version in which the sender takes part. A reader may conclude that the one
        /// before is chosen.
        version: Version,
        /// The sender's acceptance of its newest accepted version.
        accepted: Option<(Version, Acceptance)>,
        /// Whether the sender knows that what stands in `accepted` is chosen.
        chosen: bool,
    },
}

// One class for all: nothing in the Synod is more urgent than the rest, and a batch to one peer then
// leaves in one write.
codec! {
    Message version 1 {
        1 since 1 Log => Prepare { instance, ballot },
        2 since 1 Log => Promise { instance, ballot, accepted },
        3 since 1 Log => Accept { instance, ballot, value },
        4 since 1 Log => Accepted { instance, ballot },
        5 since 1 Log => Reject { instance, ballot, promised },
        6 since 1 Log => Chosen { instance, ballot, value },
        7 since 1 Log => Superseded { instance, by },
        8 since 1 Log => Query { key, read },
        9 since 1 Log => Report { key, read, version, accepted, chosen },
    }
}
