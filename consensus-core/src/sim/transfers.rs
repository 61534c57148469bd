//! Transfers between accounts at several nodes, and whether every one of them was carried out at all
//! of its nodes or at none.
//!
//! The accounts are few, so that locks conflict. Besides them, each transfer changes an account of its
//! own at every node that it writes to: what a node holds in the end says which transfers it carried
//! out, and how often.

use super::{chance::Chance, workload::Workload};
use crate::{
    NodeId, Time, Violation,
    bank::{Operation, Outcome, Update, refusal},
    check::atomicity::conserved,
    kv::encode,
    service::Answer,
    wire::Wire,
};
use alloc::{collections::BTreeMap, format, string::ToString, vec, vec::Vec};
use bytes::Bytes;

/// Accounts of single transfers begin here.
const WITNESSES: u64 = 1 << 32;

/// What became of one transfer, as its client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Not answered, or with unknown outcome.
    Open,
    Committed,
    /// Aborted or refused: nowhere.
    Nowhere,
}

#[derive(Clone, Debug)]
struct Transfer {
    age: u64,
    updates: Vec<Update>,
    fate: Fate,
}

/// What one node said that it holds, the last time it was asked.
#[derive(Clone, Debug, Default)]
struct Audit {
    changed: BTreeMap<u64, i64>,
    prepared: usize,
    locks: u64,
}

/// Transfers over all or some of the nodes; a client tries one again that was aborted for its locks or
/// for want of time, as old as it first was.
#[derive(Clone, Debug)]
pub struct Transfers {
    nodes: Vec<NodeId>,
    accounts: u64,
    /// Out of 100: transfers over all nodes; the rest over some.
    over_all: u64,
    /// Out of 100: parts that only read.
    reads: u64,
    transfers: Vec<Transfer>,
    /// The transfer that a client has under way; none while it asks for holdings.
    pending: BTreeMap<u32, Option<usize>>,
    /// The transfer that a client tries again.
    again: BTreeMap<u32, usize>,
    audits: BTreeMap<NodeId, Audit>,
}

impl Transfers {
    /// Draws the number of accounts and the mix, for a bank at `nodes`.
    #[must_use]
    pub fn draw(nodes: &[NodeId], chance: &mut Chance) -> Self {
        Self {
            nodes: nodes.to_vec(),
            accounts: chance.within(1..=6),
            over_all: chance.within(0..=100),
            reads: chance.within(0..=30),
            transfers: Vec::new(),
            pending: BTreeMap::new(),
            again: BTreeMap::new(),
            audits: BTreeMap::new(),
        }
    }

    fn fresh(&mut self, chance: &mut Chance) -> usize {
        let mut nodes = self.nodes.clone();
        if chance.below(100) >= self.over_all {
            let keep = chance.within(1..=nodes.len() as u64) as usize;
            while nodes.len() > keep {
                nodes.swap_remove(chance.below(nodes.len() as u64) as usize);
            }
        }
        let number = self.transfers.len() as u64;
        let mut updates = Vec::new();
        let mut writers: Vec<NodeId> = Vec::new();
        for node in nodes {
            let account = chance.below(self.accounts);
            let (mut delta, writes) = (0, chance.below(100) >= self.reads);
            if writes {
                delta = chance.within(0..=4) as i64 - 2;
                writers.push(node);
            }
            updates.push(Update {
                node,
                account,
                delta,
            });
        }
        // The sum is zero: the first writer pays for all, on both kinds of account.
        if let Some((first, others)) = writers.split_first() {
            let sum: i64 = updates.iter().map(|update| update.delta).sum();
            if let Some(update) = updates.iter_mut().find(|update| update.node == *first) {
                update.delta -= sum;
            }
            let account = WITNESSES + number;
            let witness = |node: &NodeId, delta| Update {
                node: *node,
                account,
                delta,
            };
            // A lone writer moves between two accounts of its own.
            let paid = if others.is_empty() { 1 } else { 0 };
            updates.push(witness(first, paid - others.len() as i64));
            updates.extend(others.iter().map(|node| witness(node, 1)));
            if others.is_empty() {
                updates.push(Update {
                    node: *first,
                    account: 2 * WITNESSES + number,
                    delta: -1,
                });
            }
        }
        self.transfers.push(Transfer {
            age: number + 1,
            updates,
            fate: Fate::Nowhere,
        });
        number as usize
    }

    fn check_one(&self, number: usize, transfer: &Transfer) -> Result<(), Violation> {
        let account = WITNESSES + number as u64;
        let mut at = (Vec::new(), Vec::new());
        for update in transfer.updates.iter().filter(|u| u.account == account) {
            let audit = self.audits.get(&update.node);
            match audit.and_then(|audit| audit.changed.get(&account)) {
                Some(held) if *held == update.delta => at.0.push(update.node),
                None => at.1.push(update.node),
                Some(held) => {
                    let detail = format!(
                        "transfer {number} was to change {} at node {} and changed {held}",
                        update.delta, update.node
                    );
                    return Err(broken("exactly_once", detail));
                }
            }
        }
        let (done, not) = at;
        if !done.is_empty() && !not.is_empty() {
            let detail = format!("transfer {number} is at nodes {done:?} and not at {not:?}");
            return Err(broken("atomicity", detail));
        }
        let told = match transfer.fate {
            Fate::Committed => not.is_empty(),
            Fate::Nowhere => done.is_empty(),
            Fate::Open => true,
        };
        if told {
            return Ok(());
        }
        let detail = format!(
            "transfer {number}: its client was told {:?}, and it is at nodes {done:?}, not at {not:?}",
            transfer.fate
        );
        Err(broken("told_is_done", detail))
    }

    /// The accounts that everybody shares hold what the transfers carried out have put there.
    fn check_sums(&self) -> Result<(), Violation> {
        let mut expected: BTreeMap<(NodeId, u64), i64> = BTreeMap::new();
        for (number, transfer) in self.transfers.iter().enumerate() {
            let account = WITNESSES + number as u64;
            let witness = transfer.updates.iter().find(|u| u.account == account);
            let done = witness.is_some_and(|witness| {
                let audit = self.audits.get(&witness.node);
                audit.is_some_and(|audit| audit.changed.contains_key(&account))
            });
            for update in transfer.updates.iter().filter(|_| done) {
                *expected.entry((update.node, update.account)).or_default() += update.delta;
            }
        }
        expected.retain(|_, held| *held != 0);
        let found: BTreeMap<(NodeId, u64), i64> = self
            .audits
            .iter()
            .flat_map(|(node, audit)| audit.changed.iter().map(|(a, held)| ((*node, *a), *held)))
            .collect();
        if expected == found {
            return Ok(());
        }
        let differs = |(place, held): &(&(NodeId, u64), &i64)| expected.get(place) != Some(held);
        let extra = found.iter().find(differs);
        let missing = expected
            .iter()
            .find(|(place, held)| found.get(place) != Some(held));
        let detail = format!("accounts hold {extra:?}, and should hold {missing:?}");
        Err(broken("accounts", detail))
    }
}

fn broken(property: &'static str, detail: alloc::string::String) -> Violation {
    Violation { property, detail }
}

/// Whether trying again may help.
fn is_passing(reason: &[u8]) -> bool {
    reason != refusal::FUNDS
}

impl Workload for Transfers {
    fn next(&mut self, client: u32, _now: Time, chance: &mut Chance) -> Bytes {
        let number = match self.again.remove(&client) {
            Some(number) => number,
            None => self.fresh(chance),
        };
        self.pending.insert(client, Some(number));
        let transfer = &mut self.transfers[number];
        transfer.fate = Fate::Open;
        encode(&Operation::Transfer {
            age: transfer.age,
            updates: transfer.updates.clone(),
            note: Bytes::new(),
        })
    }

    fn answered(&mut self, client: u32, _now: Time, answer: &Answer) {
        let Some(Some(number)) = self.pending.remove(&client) else {
            if let Some(Outcome::Holdings {
                node,
                changed,
                prepared,
                locks,
            }) = outcome(answer)
            {
                let changed = changed.iter().map(|u| (u.account, u.delta)).collect();
                let prepared = prepared.len();
                let audit = Audit {
                    changed,
                    prepared,
                    locks,
                };
                self.audits.insert(node, audit);
            }
            return;
        };
        let transfer = &mut self.transfers[number];
        match (answer, outcome(answer)) {
            (_, Some(Outcome::Committed { .. })) => transfer.fate = Fate::Committed,
            (_, Some(Outcome::Aborted { reason, .. })) => {
                transfer.fate = Fate::Nowhere;
                if is_passing(&reason) {
                    self.again.insert(client, number);
                }
            }
            (Answer::Refused(_), _) => {
                transfer.fate = Fate::Nowhere;
                self.again.insert(client, number);
            }
            _ => {}
        }
    }

    /// Twice at every node: what a node says while all the others have come to rest is final.
    fn closing(&self) -> Vec<Bytes> {
        vec![encode(&Operation::Audit {}); 2]
    }

    fn ask(&mut self, client: u32, _now: Time, _body: Bytes) {
        self.pending.insert(client, None);
    }

    /// An abort that need not be is no service, and money in doubt has not come to rest.
    fn is_done(&self, answer: &Answer) -> bool {
        match outcome(answer) {
            Some(Outcome::Aborted { reason, .. }) => !is_passing(&reason),
            Some(Outcome::Holdings {
                prepared, locks, ..
            }) => prepared.is_empty() && locks == 0,
            _ => true,
        }
    }

    fn judge(&self) -> Result<Vec<(&'static str, u64)>, Violation> {
        if let Some((node, audit)) = self
            .audits
            .iter()
            .find(|(_, audit)| audit.prepared > 0 || audit.locks > 0)
        {
            let detail = format!(
                "node {node} holds {} locks and {} prepared transactions in the end",
                audit.locks, audit.prepared
            );
            return Err(broken("no_lock_without_transaction", detail));
        }
        if self.audits.len() < self.nodes.len() {
            let detail = format!("only {} nodes say what they hold", self.audits.len());
            return Err(broken("accounts", detail));
        }
        for (number, transfer) in self.transfers.iter().enumerate() {
            self.check_one(number, transfer)?;
        }
        self.check_sums()?;
        let held = self
            .audits
            .values()
            .flat_map(|audit| audit.changed.values());
        conserved(0, held.map(|held| i128::from(*held)), [])
            .map_err(|error| broken("conserved_totals", error.to_string()))?;
        let count = self.transfers.len() as u64;
        Ok(vec![
            ("atomicity", count),
            ("told_is_done", count),
            ("exactly_once", count),
            ("conserved_totals", self.audits.len() as u64),
            ("no_lock_without_transaction", self.audits.len() as u64),
        ])
    }
}

fn outcome(answer: &Answer) -> Option<Outcome> {
    match answer {
        Answer::Done(body) => Outcome::decode(body.clone()).ok(),
        Answer::Refused(_) | Answer::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, contract::atomic_commit::Transaction};

    /// One client's transfers over two nodes, each with what its client was told, and what the nodes
    /// hold in the end.
    fn judged(told: &[bool], hold: &[(u16, &[usize])]) -> Result<(), &'static str> {
        let nodes = [NodeId(1), NodeId(2)];
        let mut chance = Chance::new(1, 1);
        let mut transfers = Transfers::draw(&nodes, &mut chance);
        (transfers.over_all, transfers.reads) = (100, 0);
        let transaction = Transaction {
            coordinator: NodeId(1),
            boot: Boot(1),
            sequence: 1,
        };
        for committed in told {
            transfers.next(0, Time::ZERO, &mut chance);
            let reason = Bytes::from_static(refusal::FUNDS);
            let outcome = match committed {
                true => Outcome::Committed { transaction },
                false => Outcome::Aborted {
                    transaction,
                    reason,
                },
            };
            transfers.answered(0, Time::ZERO, &Answer::Done(encode(&outcome)));
        }
        for (node, numbers) in hold {
            let node = NodeId(*node);
            let mut changed: BTreeMap<u64, i64> = BTreeMap::new();
            let done = numbers.iter().map(|number| &transfers.transfers[*number]);
            for update in done.flat_map(|t| &t.updates).filter(|u| u.node == node) {
                *changed.entry(update.account).or_default() += update.delta;
            }
            let held = changed.into_iter().filter(|(_, delta)| *delta != 0);
            let changed = held.map(|(account, delta)| Update {
                node,
                account,
                delta,
            });
            let holdings = Outcome::Holdings {
                node,
                changed: changed.collect(),
                prepared: Vec::new(),
                locks: 0,
            };
            transfers.ask(0, Time::ZERO, Bytes::new());
            transfers.answered(0, Time::ZERO, &Answer::Done(encode(&holdings)));
        }
        transfers.judge().map(|_| ()).map_err(|v| v.property)
    }

    #[test]
    fn all_or_nothing_is_accepted() {
        assert_eq!(judged(&[true, false], &[(1, &[0]), (2, &[0])]), Ok(()));
    }

    #[test]
    fn half_a_transfer_is_found() {
        assert_eq!(
            judged(&[true, false], &[(1, &[0]), (2, &[])]),
            Err("atomicity")
        );
    }

    #[test]
    fn a_transfer_done_twice_is_found() {
        assert_eq!(
            judged(&[true], &[(1, &[0, 0]), (2, &[0])]),
            Err("exactly_once")
        );
    }

    #[test]
    fn a_client_that_was_told_otherwise_is_found() {
        assert_eq!(
            judged(&[false], &[(1, &[0]), (2, &[0])]),
            Err("told_is_done")
        );
        assert_eq!(judged(&[true], &[(1, &[]), (2, &[])]), Err("told_is_done"));
    }
}
