//! The bank at one node: accounts in memory, rebuilt from the participant's log.

use super::locks::{LockPolicy, Locks, Verdict};
use crate::{
    Decoder, Field, NodeId,
    bank::{Update, Work, refusal},
    contract::atomic_commit::{Transaction, Vote},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;

/// What a resource has decided to vote.
pub type Votes = Vec<(Transaction, Vote)>;

/// A participant's resource whose state lives from the participant's log.
pub trait Resource {
    /// Prepare `work`. The vote may come at once or later, when locks are free.
    fn prepare(&mut self, transaction: Transaction, work: Bytes, votes: &mut Votes);
    /// Prepared before a restart and in doubt: take its locks again.
    fn recovered(&mut self, transaction: Transaction, redo: Bytes);
    /// Make it so. A repeat changes nothing.
    fn commit(&mut self, transaction: Transaction, redo: Bytes, votes: &mut Votes);
    /// Undo it. May name what was never prepared.
    fn abort(&mut self, transaction: Transaction, votes: &mut Votes);
    /// The whole state, once enough has happened since the last time to be worth a record.
    fn checkpoint(&mut self) -> Option<Bytes>;
    /// Replaces the state by what [`checkpoint`](Self::checkpoint) gave.
    fn restore(&mut self, state: Bytes);
}

/// Accounts with the same initial balance each.
#[derive(Clone, Debug)]
pub struct Bank {
    node: NodeId,
    initial: i64,
    /// What each account holds above its initial balance; absent: nothing.
    changed: BTreeMap<u64, i64>,
    prepared: BTreeMap<Transaction, Work>,
    locks: Locks,
    /// Committed since the last checkpoint: a repeat must change nothing.
    applied: BTreeSet<Transaction>,
    /// Committed between the last two checkpoints: a repeat may have been under way when the last one
    /// was taken.
    covered: BTreeSet<Transaction>,
    checkpoint_every: usize,
}

impl Bank {
    /// A bank whose accounts all hold `initial`, and that asks for a checkpoint after
    /// `checkpoint_every` commits.
    #[must_use]
    pub fn new(node: NodeId, initial: i64, policy: LockPolicy, checkpoint_every: usize) -> Self {
        Self {
            node,
            initial,
            changed: BTreeMap::new(),
            prepared: BTreeMap::new(),
            locks: Locks::new(policy),
            applied: BTreeSet::new(),
            covered: BTreeSet::new(),
            checkpoint_every,
        }
    }

    /// Whose bank this is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What differs from the initial balances, and what is prepared.
    #[must_use]
    pub fn holdings(&self) -> (Vec<Update>, Vec<(Transaction, Vec<Update>)>) {
        let changed = self.changed.iter().map(|(account, delta)| Update {
            node: self.node,
            account: *account,
            delta: *delta,
        });
        let prepared = self
            .prepared
            .iter()
            .map(|(t, work)| (*t, work.updates.clone()));
        (changed.collect(), prepared.collect())
    }

    /// Locks that are held.
    #[must_use]
    pub fn locks_held(&self) -> usize {
        self.locks.held()
    }

    fn judge(&mut self, transaction: Transaction) -> Vote {
        let Some(work) = self.prepared.get(&transaction) else {
            return Vote::No {
                reason: Bytes::from_static(refusal::MALFORMED),
            };
        };
        if work.updates.iter().all(|update| update.delta == 0) {
            return Vote::ReadOnly;
        }
        let mut after: BTreeMap<u64, i64> = BTreeMap::new();
        for update in &work.updates {
            let held = self.changed.get(&update.account).copied().unwrap_or(0);
            let entry = after.entry(update.account).or_insert(held);
            *entry = entry.saturating_add(update.delta);
        }
        if after
            .values()
            .any(|held| self.initial.saturating_add(*held) < 0)
        {
            return Vote::No {
                reason: Bytes::from_static(refusal::FUNDS),
            };
        }
        Vote::Yes {
            redo: work.encode(),
        }
    }

    /// Turns what the lock table decided into votes; a vote that lets go of locks may decide more.
    fn settle(&mut self, mut verdicts: Vec<Verdict>, votes: &mut Votes) {
        while !verdicts.is_empty() {
            let mut more = Vec::new();
            for verdict in verdicts.drain(..) {
                let (transaction, vote) = match verdict {
                    Verdict::Granted(transaction) => (transaction, self.judge(transaction)),
                    Verdict::Refused(transaction) => (
                        transaction,
                        Vote::No {
                            reason: Bytes::from_static(refusal::LOCKED),
                        },
                    ),
                    Verdict::Wounded(transaction) => (
                        transaction,
                        Vote::No {
                            reason: Bytes::from_static(refusal::WOUNDED),
                        },
                    ),
                };
                if !matches!(vote, Vote::Yes { .. }) {
                    self.prepared.remove(&transaction);
                    self.locks.release(transaction, &mut more);
                }
                votes.push((transaction, vote));
            }
            verdicts = more;
        }
    }
}

fn accounts(work: &Work) -> Vec<u64> {
    work.updates.iter().map(|update| update.account).collect()
}

impl Resource for Bank {
    fn prepare(&mut self, transaction: Transaction, work: Bytes, votes: &mut Votes) {
        let Ok(work) = Work::decode(work) else {
            let reason = Bytes::from_static(refusal::MALFORMED);
            return votes.push((transaction, Vote::No { reason }));
        };
        let mut verdicts = Vec::new();
        let (age, wanted) = (work.age, accounts(&work));
        self.prepared.insert(transaction, work);
        self.locks.acquire(transaction, age, wanted, &mut verdicts);
        self.settle(verdicts, votes);
    }

    fn recovered(&mut self, transaction: Transaction, redo: Bytes) {
        // What we logged we can read: the log's checksums stand between.
        if let Ok(work) = Work::decode(redo) {
            self.locks.hold(transaction, work.age, accounts(&work));
            self.prepared.insert(transaction, work);
        }
    }

    fn commit(&mut self, transaction: Transaction, redo: Bytes, votes: &mut Votes) {
        let prepared = self.prepared.remove(&transaction);
        if let Some(work) = prepared.or_else(|| Work::decode(redo).ok())
            && !self.covered.contains(&transaction)
            && self.applied.insert(transaction)
        {
            for update in &work.updates {
                let held = self.changed.entry(update.account).or_insert(0);
                *held = held.saturating_add(update.delta);
                if *held == 0 {
                    self.changed.remove(&update.account);
                }
            }
        }
        let mut verdicts = Vec::new();
        self.locks.release(transaction, &mut verdicts);
        self.settle(verdicts, votes);
    }

    fn abort(&mut self, transaction: Transaction, votes: &mut Votes) {
        self.prepared.remove(&transaction);
        let mut verdicts = Vec::new();
        self.locks.release(transaction, &mut verdicts);
        self.settle(verdicts, votes);
    }

    fn checkpoint(&mut self) -> Option<Bytes> {
        if self.applied.len() < self.checkpoint_every {
            return None;
        }
        self.covered = core::mem::take(&mut self.applied);
        let mut out = Vec::new();
        self.holdings().0.put(&mut out);
        Some(out.into())
    }

    fn restore(&mut self, state: Bytes) {
        if let Ok(changed) = Vec::<Update>::take(&mut Decoder::new(state)) {
            self.changed = changed.into_iter().map(|u| (u.account, u.delta)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Boot;
    use alloc::vec;

    fn t(sequence: u64) -> Transaction {
        Transaction {
            coordinator: NodeId(1),
            boot: Boot(1),
            sequence,
        }
    }

    fn work(account: u64, delta: i64) -> Bytes {
        let node = NodeId(2);
        let work = Work {
            age: 1,
            updates: vec![Update {
                node,
                account,
                delta,
            }],
            note: Bytes::new(),
        };
        work.encode()
    }

    fn bank() -> Bank {
        Bank::new(NodeId(2), 10, LockPolicy::NoWait, 1)
    }

    fn prepare(bank: &mut Bank, transaction: Transaction, work: Bytes) -> Vote {
        let mut votes = Votes::new();
        bank.prepare(transaction, work, &mut votes);
        votes.pop().expect("no-wait votes at once").1
    }

    #[test]
    fn a_commit_that_is_told_again_changes_nothing_even_behind_a_checkpoint() {
        let (mut bank, mut votes) = (bank(), Votes::new());
        let Vote::Yes { redo } = prepare(&mut bank, t(1), work(5, 3)) else {
            panic!("nothing stands in the way")
        };
        bank.commit(t(1), redo.clone(), &mut votes);
        assert!(bank.checkpoint().is_some());
        bank.commit(t(1), redo, &mut votes);
        assert_eq!(bank.holdings().0[0].delta, 3);
    }

    #[test]
    fn what_was_in_doubt_holds_its_locks_after_a_restart() {
        let mut before = bank();
        let Vote::Yes { redo } = prepare(&mut before, t(1), work(5, -3)) else {
            panic!("nothing stands in the way")
        };
        let mut bank = bank();
        bank.recovered(t(1), redo);
        let refused = prepare(&mut bank, t(2), work(5, 1));
        assert!(matches!(refused, Vote::No { reason } if reason == refusal::LOCKED));
        bank.abort(t(1), &mut Votes::new());
        assert_eq!((bank.locks_held(), bank.holdings().0), (0, vec![]));
    }

    #[test]
    fn an_account_never_goes_below_zero() {
        let mut bank = bank();
        let refused = prepare(&mut bank, t(1), work(5, -11));
        assert!(matches!(refused, Vote::No { reason } if reason == refusal::FUNDS));
        assert_eq!(bank.locks_held(), 0);
        assert!(matches!(
            prepare(&mut bank, t(2), work(5, -10)),
            Vote::Yes { .. }
        ));
    }
}
