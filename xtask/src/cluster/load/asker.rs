//! One client: who it says it is, and what it asks next.

use super::Load;
use bench::{
    app::{bank, kv as app},
    recorder::{Kind, Outcome},
    workload::{Operations, Workload, WorkloadError},
};
use bytes::Bytes;
use consensus_core::{ClientId, Contract, Sequence, kv, service::Answer};

/// What one operation asks.
pub(crate) struct Question {
    /// Whether it may change anything.
    pub(crate) kind: Kind,
    /// Its bytes.
    pub(crate) body: Bytes,
    /// The same for the checker of linearizability, where that is the promise.
    pub(crate) operation: Option<kv::Operation>,
}

/// One client.
pub(crate) struct Asker {
    /// Its place among the clients.
    pub(crate) number: u32,
    /// Who it says it is.
    pub(crate) id: ClientId,
    contract: Contract,
    nodes: u16,
    sequence: u64,
    operations: Operations,
}

impl Asker {
    /// A client that no node has met before.
    ///
    /// # Errors
    /// When the workload cannot be run.
    pub(crate) fn new(
        number: u32,
        contract: Contract,
        nodes: u16,
        workload: &Workload,
    ) -> Result<Self, WorkloadError> {
        Ok(Self {
            number,
            id: ClientId(rand::random()),
            contract,
            nodes,
            sequence: 0,
            operations: workload.client(number)?,
        })
    }

    /// The number of the newest question.
    pub(crate) const fn sequence(&self) -> Sequence {
        Sequence(self.sequence)
    }

    /// Whether a session has to be opened first: exactly-once needs one.
    pub(crate) const fn keeps_session(&self) -> bool {
        matches!(self.contract, Contract::ReplicatedLog)
    }

    /// The next question.
    pub(crate) fn question(&mut self) -> Question {
        let (kind, operation) = self.operations.next().expect("a workload has no end");
        self.ask(kind, operation)
    }

    /// A write to the key or the accounts of this number.
    pub(crate) fn question_about(&mut self, number: u64) -> Question {
        let operation = kv::Operation::Put {
            key: app::key(number),
            value: Bytes::copy_from_slice(&self.id.0.to_be_bytes()),
        };
        self.ask(Kind::Write, operation)
    }

    fn ask(&mut self, kind: Kind, operation: kv::Operation) -> Question {
        self.sequence += 1;
        match self.contract {
            Contract::Register | Contract::ReplicatedLog => Question {
                kind,
                body: kv::encode(&operation),
                operation: Some(operation),
            },
            Contract::AtomicCommit => Question {
                kind: Kind::Write,
                body: bank::body(&self.transfer(operation)),
                operation: None,
            },
        }
    }

    /// What an answer means to the one who counts.
    pub(crate) fn outcome(&self, answer: &Answer) -> Outcome {
        match self.contract {
            Contract::Register | Contract::ReplicatedLog => app::outcome(answer),
            Contract::AtomicCommit => bank::outcome(answer),
        }
    }

    /// A transfer between the accounts of the number that the operation's key is, with its value as
    /// a note.
    fn transfer(&self, operation: kv::Operation) -> consensus_core::bank::Operation {
        let (key, note) = match operation {
            kv::Operation::Put { key, value } => (key, value),
            kv::Operation::Get { key } => (key, Bytes::new()),
            _ => (Bytes::new(), Bytes::new()),
        };
        let account = key.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        bank::transfer(self.nodes, account, self.sequence, note)
    }
}

impl<C> Load<C> {
    /// A client of this load.
    ///
    /// # Errors
    /// When the workload cannot be run.
    pub(crate) fn asker(&self, number: u32) -> Result<Asker, WorkloadError> {
        Asker::new(number, self.contract, self.nodes, &self.workload)
    }
}
