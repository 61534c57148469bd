//! A client that writes to a place of its own: the same for every contract, and never in anybody's
//! way, so that what is measured is the system and not a quarrel.

use super::{bank, kv};
use crate::recorder::Outcome;
use bytes::Bytes;
use consensus_core::{
    ClientId, Contract, NodeId, Sequence,
    service::{Answer, Refusal},
};

/// One client. Its operations write `payload` bytes to a key, or move money between accounts, that no
/// other client uses; each value is written once.
#[derive(Clone, Debug)]
pub struct Client {
    contract: Contract,
    number: u64,
    nodes: u16,
    home: NodeId,
    sequence: u64,
    payload: Vec<u8>,
}

impl Client {
    /// Client `number` of a cluster of nodes 1 to `nodes`. Payloads of under eight bytes are made
    /// eight.
    ///
    /// Clients of a register turn to a node each, as it has no leader; others start at node 1 and
    /// follow the hints.
    #[must_use]
    pub fn new(contract: Contract, number: u32, nodes: u16, payload: usize) -> Self {
        let home = match contract {
            Contract::Register => 1 + (number % u32::from(nodes)) as u16,
            Contract::ReplicatedLog | Contract::AtomicCommit => 1,
        };
        Self {
            contract,
            number: number.into(),
            nodes,
            home: NodeId(home),
            sequence: 0,
            payload: vec![7; payload.max(8)],
        }
    }

    /// Who it says it is.
    #[must_use]
    pub fn id(&self) -> ClientId {
        ClientId(u128::from(self.number) + 1)
    }

    /// Which node it asks.
    #[must_use]
    pub const fn home(&self) -> NodeId {
        self.home
    }

    /// Which of its calls this is: at first the one that opens its session, of which an operation takes
    /// no notice where there are none.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        Sequence(self.sequence)
    }

    /// Goes on to the next operation.
    pub fn advance(&mut self) {
        self.sequence += 1;
        self.payload[..8].copy_from_slice(&self.sequence.to_be_bytes());
    }

    /// What it asks; the same whenever it asks again.
    #[must_use]
    pub fn body(&self) -> Bytes {
        if self.sequence == 0 {
            return Bytes::new();
        }
        match self.contract {
            Contract::Register | Contract::ReplicatedLog => {
                consensus_core::kv::put(&self.number.to_be_bytes(), &self.payload)
            }
            Contract::AtomicCommit => {
                let value = Bytes::copy_from_slice(&self.payload);
                let (account, age) = (self.number, self.sequence);
                bank::body(&bank::transfer(self.nodes, account, age, value))
            }
        }
    }

    /// What an answer to an operation means.
    #[must_use]
    pub fn outcome(&self, answer: &Answer) -> Outcome {
        match self.contract {
            Contract::Register | Contract::ReplicatedLog => kv::outcome(answer),
            Contract::AtomicCommit => bank::outcome(answer),
        }
    }

    /// Whether to ask again, and turns to the right node for that.
    pub fn retries(&mut self, refusal: Refusal) -> bool {
        if let Refusal::NotLeader(hint) = refusal {
            let next = 1 + self.home.0 % self.nodes;
            self.home = hint
                .filter(|node| *node != self.home)
                .unwrap_or(NodeId(next));
        }
        kv::may_retry(refusal)
    }
}
