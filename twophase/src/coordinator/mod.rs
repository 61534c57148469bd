//! The coordinator: asks, decides, tells, and forgets.

mod first_phase;
mod inquiry;
mod one_phase;
mod second_phase;

use crate::{Presumption, garbage::At};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;
use consensus_core::{
    Boot, NodeId, Token,
    contract::atomic_commit::{AbortReason, Outcome, Transaction},
};

/// What a coordinator knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Coordinator {
    /// The newest transaction of this run.
    pub(crate) newest: Transaction,
    /// Everything that is not forgotten.
    pub(crate) live: BTreeMap<Transaction, Live>,
    /// Outcomes that nobody but a client may still ask after.
    pub(crate) remembered: BTreeMap<Transaction, (Outcome, AbortReason)>,
}

/// A transaction that is not forgotten.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Live {
    pub(crate) presumption: Presumption,
    pub(crate) phase: Phase,
    /// The client that began it, while it has no answer. None after a restart.
    pub(crate) token: Option<Token>,
    /// Clients that have asked since.
    pub(crate) inquiries: Vec<Token>,
    /// How often something was asked or told again.
    pub(crate) rounds: u32,
    /// The record that must stay.
    pub(crate) at: At,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// Waiting to hear in which run the participants are.
    Greeting { work: BTreeMap<NodeId, Bytes> },
    /// Waiting for votes.
    Collecting {
        participants: Vec<(NodeId, Boot)>,
        /// The work of those that have not voted.
        missing: BTreeMap<NodeId, Bytes>,
        yes: BTreeSet<NodeId>,
    },
    /// The only participant decides.
    Delegated { to: NodeId, boot: Boot, work: Bytes },
    /// Decided, and written where the presumption asks for it.
    Decided {
        outcome: Outcome,
        reason: AbortReason,
        unacknowledged: BTreeSet<NodeId>,
    },
}

impl Coordinator {
    pub(crate) const fn new(node: NodeId, boot: Boot) -> Self {
        Self {
            newest: Transaction {
                coordinator: node,
                boot,
                sequence: 0,
            },
            live: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    fn next(&self) -> Transaction {
        Transaction {
            sequence: self.newest.sequence + 1,
            ..self.newest
        }
    }

    /// Nothing older is known here.
    pub(crate) fn oldest_live(&self) -> Transaction {
        let oldest = self.live.first_key_value();
        oldest.map_or_else(|| self.next(), |(oldest, _)| *oldest)
    }

    fn remember(
        &mut self,
        transaction: Transaction,
        outcome: Outcome,
        reason: AbortReason,
        max: usize,
    ) {
        self.remembered.insert(transaction, (outcome, reason));
        while self.remembered.len() > max {
            self.remembered.pop_first();
        }
    }
}
