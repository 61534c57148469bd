//! Exclusive locks with three ways to avoid deadlock \[RosenkrantzStearnsLewis78\].
//!
//! A transaction asks for all its locks at once, in ascending order, and is *prepared* from the
//! moment it has them all. A prepared holder has voted yes: nobody can take its locks away.

use crate::contract::atomic_commit::Transaction;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// What happens to a transaction that finds a lock taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LockPolicy {
    /// It gives up at once.
    #[default]
    NoWait,
    /// It waits if it is older than every holder; otherwise it gives up.
    WaitDie,
    /// It takes the locks of younger transactions that are not prepared yet, and waits for the rest.
    /// A cycle through prepared holders on several nodes is broken by the vote time-out.
    WoundWait,
}

/// The order of age: older is less.
type Age = (u64, Transaction);

/// What a change of the table decides for transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It has all its locks.
    Granted(Transaction),
    /// It may not wait, and holds nothing.
    Refused(Transaction),
    /// An older one took its locks; it holds nothing.
    Wounded(Transaction),
}

#[derive(Clone, Debug)]
struct Claim {
    age: Age,
    wanted: Vec<u64>,
    /// How many of `wanted`, from the front, it holds.
    held: usize,
}

/// Who holds which lock and who waits.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    policy: LockPolicy,
    holders: BTreeMap<u64, Transaction>,
    claims: BTreeMap<Transaction, Claim>,
    /// Those without all their locks, oldest first: the order in which freed locks are offered.
    waiting: BTreeSet<Age>,
}

impl Locks {
    /// An empty table.
    #[must_use]
    pub fn new(policy: LockPolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Asks for all of `accounts`. A transaction that is known already changes nothing.
    pub fn acquire(
        &mut self,
        transaction: Transaction,
        age: u64,
        mut accounts: Vec<u64>,
        verdicts: &mut Vec<Verdict>,
    ) {
        if self.claims.contains_key(&transaction) {
            return;
        }
        accounts.sort_unstable();
        accounts.dedup();
        let age = (age, transaction);
        self.claims.insert(
            transaction,
            Claim {
                age,
                wanted: accounts,
                held: 0,
            },
        );
        self.waiting.insert(age);
        self.advance(transaction, verdicts);
    }

    /// Takes locks for a transaction that is prepared already: after a restart.
    pub fn hold(&mut self, transaction: Transaction, age: u64, accounts: Vec<u64>) {
        for account in &accounts {
            self.holders.insert(*account, transaction);
        }
        let held = accounts.len();
        self.claims.insert(
            transaction,
            Claim {
                age: (age, transaction),
                wanted: accounts,
                held,
            },
        );
    }

    /// Gives all its locks back and lets others have them.
    pub fn release(&mut self, transaction: Transaction, verdicts: &mut Vec<Verdict>) {
        self.drop_claim(transaction);
        self.offer(verdicts);
    }

    /// Locks that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holders.len()
    }

    /// Transactions that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn drop_claim(&mut self, transaction: Transaction) {
        let Some(claim) = self.claims.remove(&transaction) else {
            return;
        };
        self.waiting.remove(&claim.age);
        for account in &claim.wanted[..claim.held] {
            self.holders.remove(account);
        }
    }

    fn offer(&mut self, verdicts: &mut Vec<Verdict>) {
        let waiting: Vec<Age> = self.waiting.iter().copied().collect();
        for (_, transaction) in waiting {
            self.advance(transaction, verdicts);
        }
    }

    /// Takes as many locks as can be had, in order.
    fn advance(&mut self, transaction: Transaction, verdicts: &mut Vec<Verdict>) {
        loop {
            let Some(claim) = self.claims.get_mut(&transaction) else {
                return;
            };
            let Some(account) = claim.wanted.get(claim.held).copied() else {
                let age = claim.age;
                if self.waiting.remove(&age) {
                    verdicts.push(Verdict::Granted(transaction));
                }
                return;
            };
            let Some(holder) = self.holders.get(&account).copied() else {
                claim.held += 1;
                self.holders.insert(account, transaction);
                continue;
            };
            let age = claim.age;
            if !self.contend(transaction, age, holder, verdicts) {
                return;
            }
        }
    }

    /// Whether the lock that `holder` has may be tried again now.
    fn contend(
        &mut self,
        transaction: Transaction,
        age: Age,
        holder: Transaction,
        verdicts: &mut Vec<Verdict>,
    ) -> bool {
        let Some(other) = self.claims.get(&holder).map(|claim| claim.age) else {
            return false;
        };
        match self.policy {
            LockPolicy::WaitDie if age < other => false,
            LockPolicy::NoWait | LockPolicy::WaitDie => {
                self.drop_claim(transaction);
                verdicts.push(Verdict::Refused(transaction));
                self.offer(verdicts);
                false
            }
            LockPolicy::WoundWait if age < other && self.waiting.contains(&other) => {
                self.drop_claim(holder);
                verdicts.push(Verdict::Wounded(holder));
                true
            }
            LockPolicy::WoundWait => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, NodeId};
    use alloc::vec;

    fn t(sequence: u64) -> Transaction {
        Transaction {
            coordinator: NodeId(1),
            boot: Boot(1),
            sequence,
        }
    }

    fn table(policy: LockPolicy) -> (Locks, Vec<Verdict>) {
        (Locks::new(policy), vec![])
    }

    #[test]
    fn no_wait_refuses_whoever_comes_second() {
        let (mut locks, mut verdicts) = table(LockPolicy::NoWait);
        locks.acquire(t(1), 1, vec![5], &mut verdicts);
        locks.acquire(t(2), 2, vec![4, 5], &mut verdicts);
        assert_eq!(verdicts, [Verdict::Granted(t(1)), Verdict::Refused(t(2))]);
        assert_eq!(locks.held(), 1, "the refused one keeps nothing");
    }

    #[test]
    fn wait_die_lets_only_the_older_wait() {
        let (mut locks, mut verdicts) = table(LockPolicy::WaitDie);
        locks.acquire(t(2), 2, vec![5], &mut verdicts);
        locks.acquire(t(3), 3, vec![5], &mut verdicts);
        locks.acquire(t(1), 1, vec![5], &mut verdicts);
        assert_eq!(verdicts, [Verdict::Granted(t(2)), Verdict::Refused(t(3))]);
        verdicts.clear();
        locks.release(t(2), &mut verdicts);
        assert_eq!(verdicts, [Verdict::Granted(t(1))]);
    }

    #[test]
    fn wound_wait_takes_from_the_younger_unless_it_is_prepared() {
        let (mut locks, mut verdicts) = table(LockPolicy::WoundWait);
        locks.acquire(t(9), 9, vec![2], &mut verdicts); // prepared
        locks.acquire(t(5), 5, vec![1, 2], &mut verdicts); // holds 1, waits for 2
        locks.acquire(t(1), 1, vec![1], &mut verdicts); // takes 1
        assert_eq!(
            verdicts,
            [
                Verdict::Granted(t(9)),
                Verdict::Wounded(t(5)),
                Verdict::Granted(t(1))
            ]
        );
        verdicts.clear();
        locks.acquire(t(2), 2, vec![2], &mut verdicts);
        assert_eq!(verdicts, [], "a prepared holder cannot be wounded");
        locks.release(t(9), &mut verdicts);
        assert_eq!(verdicts, [Verdict::Granted(t(2))]);
    }

    /// TP-29: opposite orders do not deadlock at one node, under any policy.
    #[test]
    fn everything_is_free_when_everybody_is_done() {
        for policy in [
            LockPolicy::NoWait,
            LockPolicy::WaitDie,
            LockPolicy::WoundWait,
        ] {
            let (mut locks, mut verdicts) = table(policy);
            for n in 0..50u64 {
                locks.acquire(t(n), n * 7 % 50, vec![n % 5, n % 3, n % 7], &mut verdicts);
                while let Some(verdict) = verdicts.pop() {
                    if let Verdict::Granted(done) = verdict
                        && done.sequence % 2 == 0
                    {
                        locks.release(done, &mut verdicts);
                    }
                }
            }
            for n in 0..50 {
                locks.release(t(n), &mut verdicts);
            }
            assert_eq!((locks.held(), locks.waiting()), (0, 0), "{policy:?}");
        }
    }
}
