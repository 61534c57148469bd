//! The operations of the bank, the worked application of atomic commit: accounts on several nodes,
//! and transfers between them.

use crate::{
    DecodeError, Decoder, Field, NodeId, codec, contract::atomic_commit::Transaction, wire,
};
use alloc::vec::Vec;
use bytes::Bytes;

/// A change of one account at one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Update {
    /// Where the account is kept.
    pub node: NodeId,
    /// Which account there.
    pub account: u64,
    /// What is added to it; negative is taken.
    pub delta: i64,
}

impl Field for Update {
    fn put(&self, out: &mut Vec<u8>) {
        self.node.put(out);
        self.account.put(out);
        // Zigzag: small amounts of either sign are short.
        wire::put_varint(((self.delta << 1) ^ (self.delta >> 63)) as u64, out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let node = NodeId::take(input)?;
        let account = u64::take(input)?;
        let coded = u64::take(input)?;
        Ok(Self {
            node,
            account,
            delta: (coded >> 1) as i64 ^ -((coded & 1) as i64),
        })
    }
}

/// What a client asks of a bank. The body of a [`Call`](crate::service::Call) to the coordinator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// All of these updates or none. An update of zero only reads, and a node where all are zero
    /// votes read-only.
    Transfer {
        /// The age of the transfer for wait-die and wound-wait; a retry keeps its first, otherwise
        /// it could starve.
        age: u64,
        /// At which nodes which accounts change by how much; the sum should be zero.
        updates: Vec<Update>,
        /// Carried along, to give transfers a size.
        note: Bytes,
    },
    /// What this node holds: for checks at rest, not transactional.
    Audit {},
}

codec! {
    Operation version 1 {
        1 since 1 Log => Transfer { age, updates, note },
        2 since 1 Control => Audit {},
    }
}

/// The result of an [`Operation`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Everywhere.
    Committed {
        /// Its name.
        transaction: Transaction,
    },
    /// Nowhere.
    Aborted {
        /// Its name.
        transaction: Transaction,
        /// Why: see [`refusal`].
        reason: Bytes,
    },
    /// What this node holds: accounts that differ from the initial balance, with how much they hold
    /// above it; and what is prepared but not decided.
    Holdings {
        /// Who answers.
        node: NodeId,
        /// Account and zigzag-coded difference.
        changed: Vec<Update>,
        /// In doubt or not yet told: the updates they would make here.
        prepared: Vec<(Transaction, Vec<Update>)>,
        /// How many locks are held here; none where nothing is prepared.
        locks: u64,
    },
}

codec! {
    Outcome version 1 {
        1 since 1 Log => Committed { transaction },
        2 since 1 Log => Aborted { transaction, reason },
        3 since 1 Control => Holdings { node, changed, prepared, locks },
    }
}

/// Why a participant of the bank votes no: the reasons of [`Vote::No`].
///
/// [`Vote::No`]: crate::contract::atomic_commit::Vote::No
pub mod refusal {
    /// Another transaction holds a lock that this one may not wait for.
    pub const LOCKED: &[u8] = b"locked";
    /// An older transaction took a lock away from this one.
    pub const WOUNDED: &[u8] = b"wounded";
    /// The account does not hold enough.
    pub const FUNDS: &[u8] = b"insufficient funds";
    /// The work is not a list of updates.
    pub const MALFORMED: &[u8] = b"malformed";
}

/// One participant's part of a transfer, as it is sent with the prepare and logged as redo.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Work {
    /// The age of the transfer.
    pub age: u64,
    /// This node's updates.
    pub updates: Vec<Update>,
    /// Carried along.
    pub note: Bytes,
}

impl Work {
    /// The bytes of the work.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.age.put(&mut out);
        self.updates.put(&mut out);
        self.note.put(&mut out);
        out.into()
    }

    /// Reads work.
    ///
    /// # Errors
    /// When the bytes are not exactly one.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let work = Self {
            age: Field::take(&mut input)?,
            updates: Field::take(&mut input)?,
            note: Field::take(&mut input)?,
        };
        input.finish("work")?;
        Ok(work)
    }
}
