//! Did every transaction have one outcome, and is all the money still there?

use crate::{
    NodeId,
    contract::atomic_commit::{Outcome, Transaction},
};
use alloc::{collections::BTreeMap, string::String};

/// What the nodes say that became of their transactions, collected during a run.
///
/// Judges AC1 and AC2 of [`atomic_commit`](crate::contract::atomic_commit) at the moment they are
/// broken: one outcome a transaction, over all nodes and for ever, so the first word binds everybody.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Outcomes {
    first: BTreeMap<Transaction, (NodeId, Outcome)>,
    each: BTreeMap<(Transaction, NodeId), Outcome>,
}

/// A transaction without one outcome, or money that is not there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// AC1: two nodes ended one transaction differently.
    #[error("transaction {transaction}: {first:?} at node {at}, {then:?} at node {and}")]
    Agreement {
        /// Which.
        transaction: Transaction,
        /// The outcome heard first.
        first: Outcome,
        /// Where.
        at: NodeId,
        /// The outcome heard now.
        then: Outcome,
        /// Where.
        and: NodeId,
    },
    /// AC2: a node reversed its outcome.
    #[error("transaction {transaction}: node {node} went from {first:?} to {then:?}")]
    Stability {
        /// Which.
        transaction: Transaction,
        /// Where.
        node: NodeId,
        /// What it was.
        first: Outcome,
        /// What it became.
        then: Outcome,
    },
    /// The accounts do not add up.
    #[error("{found} in accounts and {in_doubt} in doubt are not the {endowed} there were; {note}")]
    Total {
        /// What there was at the start.
        endowed: i128,
        /// The sum of all accounts.
        found: i128,
        /// What transactions in doubt have taken out and not yet put in.
        in_doubt: i128,
        /// More or less.
        note: String,
    },
}

impl Outcomes {
    /// `node` says that `transaction` ended so. Repeats are legal.
    ///
    /// # Errors
    /// [`Broken::Stability`] when this node said otherwise before, [`Broken::Agreement`] when another
    /// did.
    pub fn record(
        &mut self,
        node: NodeId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<(), Broken> {
        let own = *self.each.entry((transaction, node)).or_insert(outcome);
        if own != outcome {
            return Err(Broken::Stability {
                transaction,
                node,
                first: own,
                then: outcome,
            });
        }
        let (at, first) = *self.first.entry(transaction).or_insert((node, outcome));
        if first != outcome {
            return Err(Broken::Agreement {
                transaction,
                first,
                at,
                then: outcome,
                and: node,
            });
        }
        Ok(())
    }

    /// The outcome of a transaction, if anybody has told it.
    #[must_use]
    pub fn of(&self, transaction: Transaction) -> Option<Outcome> {
        self.first.get(&transaction).map(|(_, outcome)| *outcome)
    }

    /// How many transactions ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        let ended = self.first.values();
        ended.filter(|(_, ended)| *ended == outcome).count()
    }
}

/// Whether transfers made or lost money.
///
/// `accounts`: what every account holds by committed transfers. `in_doubt`: for every transfer that
/// is applied at some of its participants and not yet at others, what it has taken out less what it
/// has put in. Deposits and withdrawals change `endowed`.
///
/// # Errors
/// [`Broken::Total`] when the sums differ.
pub fn conserved(
    endowed: i128,
    accounts: impl IntoIterator<Item = i128>,
    in_doubt: impl IntoIterator<Item = i128>,
) -> Result<(), Broken> {
    let found: i128 = accounts.into_iter().sum();
    let in_doubt: i128 = in_doubt.into_iter().sum();
    let difference = found + in_doubt - endowed;
    if difference == 0 {
        return Ok(());
    }
    Err(Broken::Total {
        endowed,
        found,
        in_doubt,
        note: if difference > 0 {
            alloc::format!("{difference} came from nowhere")
        } else {
            alloc::format!("{} is lost", -difference)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Boot;

    const T: Transaction = Transaction {
        coordinator: NodeId(1),
        boot: Boot(1),
        sequence: 1,
    };

    #[test]
    fn two_outcomes_of_one_transaction_break_agreement() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.record(NodeId(1), T, Outcome::Commit), Ok(()));
        assert_eq!(outcomes.record(NodeId(2), T, Outcome::Commit), Ok(()));
        assert!(matches!(
            outcomes.record(NodeId(3), T, Outcome::Abort),
            Err(Broken::Agreement { .. })
        ));
    }

    #[test]
    fn a_reversed_outcome_breaks_stability() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.record(NodeId(1), T, Outcome::Abort), Ok(()));
        assert_eq!(outcomes.record(NodeId(1), T, Outcome::Abort), Ok(()));
        assert!(matches!(
            outcomes.record(NodeId(1), T, Outcome::Commit),
            Err(Broken::Stability { .. })
        ));
        assert_eq!(outcomes.of(T), Some(Outcome::Abort));
        assert_eq!(
            (
                outcomes.count(Outcome::Commit),
                outcomes.count(Outcome::Abort)
            ),
            (0, 1)
        );
    }

    #[test]
    fn money_in_doubt_is_not_lost_and_nothing_comes_from_nowhere() {
        assert_eq!(conserved(300, [100, 100, 100], []), Ok(()));
        assert_eq!(conserved(300, [70, 100, 100], [30]), Ok(()));
        let lost = conserved(300, [70, 100, 100], []).expect_err("30 are missing");
        assert!(alloc::string::ToString::to_string(&lost).ends_with("30 is lost"));
        assert!(conserved(300, [100, 130, 100], []).is_err());
    }
}
