//! Transfers between accounts at every node: the clients' side of atomic commit.

use crate::recorder::Outcome;
use bytes::Bytes;
use consensus_core::{
    NodeId, Wire,
    bank::{self, Operation, Update},
    kv::encode,
    service::Answer,
};

/// Moves one from node 1's account to every other node's, and takes it back from node 1 as often: the
/// sum stays zero, and every one of `nodes` nodes is a participant that changes something.
#[must_use]
pub fn transfer(nodes: u16, account: u64, age: u64, note: Bytes) -> Operation {
    let taken = i64::from(nodes) - 1;
    // A lone node moves nothing to itself, but still writes.
    let first = Update {
        node: NodeId(1),
        account,
        delta: if nodes == 1 { 1 } else { -taken },
    };
    let others = (2..=nodes).map(|node| Update {
        node: NodeId(node),
        account,
        delta: 1,
    });
    Operation::Transfer {
        age,
        updates: std::iter::once(first).chain(others).collect(),
        note,
    }
}

/// The body of an operation.
#[must_use]
pub fn body(operation: &Operation) -> Bytes {
    encode(operation)
}

/// What an answer means to the one who counts: an abort is a result, and not done.
#[must_use]
pub fn outcome(answer: &Answer) -> Outcome {
    let Answer::Done(body) = answer else {
        return super::kv::outcome(answer);
    };
    match bank::Outcome::decode(body.clone()) {
        Ok(bank::Outcome::Aborted { .. }) => Outcome::Aborted,
        Ok(bank::Outcome::Committed { .. } | bank::Outcome::Holdings { .. }) => Outcome::Done,
        // The system answered, and not in its own words.
        Err(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::{Boot, contract::atomic_commit::Transaction};

    #[test]
    fn a_transfer_creates_no_money_and_involves_everybody() {
        for nodes in [2, 3, 7] {
            let Operation::Transfer { updates, .. } = transfer(nodes, 5, 1, Bytes::new()) else {
                panic!("a transfer is a transfer")
            };
            assert_eq!(updates.iter().map(|update| update.delta).sum::<i64>(), 0);
            assert!(
                updates.iter().all(|update| update.delta != 0),
                "zero would be read-only"
            );
            assert_eq!(updates.len(), usize::from(nodes));
        }
    }

    #[test]
    fn an_abort_is_not_a_failure() {
        let transaction = Transaction {
            coordinator: NodeId(1),
            boot: Boot(1),
            sequence: 1,
        };
        let aborted = bank::Outcome::Aborted {
            transaction,
            reason: Bytes::new(),
        };
        assert_eq!(outcome(&Answer::Done(encode(&aborted))), Outcome::Aborted);
        let committed = bank::Outcome::Committed { transaction };
        assert_eq!(outcome(&Answer::Done(encode(&committed))), Outcome::Done);
        assert_eq!(
            outcome(&Answer::Done(Bytes::from_static(b"?"))),
            Outcome::Failed
        );
        assert_eq!(outcome(&Answer::Unknown), Outcome::Unknown);
    }
}
