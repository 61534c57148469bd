//! Whether every transfer was carried out at all of its nodes or at none, by what the nodes hold once
//! the clients are gone.
//!
//! Every transfer of the load changes one account at every node, by one at the others and by as much
//! in sum at node 1: what an account holds says how many transfers a node has carried out on it. A node
//! that is in doubt about a transfer may lag behind the others by that one, and by no other.

use super::{load::Transfers, nodes::Nodes};
use bench::{app::bank::body, report::json::CheckReport};
use consensus_core::{
    ClientId, NodeId, Sequence, Wire,
    bank::{Operation, Outcome, Update},
    service::Answer,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};

/// How long participants may take to end what is in doubt, where they can at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The account of the operations that only ask whether there is service: in nobody's count.
const PROBES: u64 = u64::MAX;

/// What one node holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    node: u16,
    /// Of each account, how many transfers were carried out, and how many are in doubt.
    transfers: BTreeMap<u64, (i64, i64)>,
    prepared: usize,
}

/// Asks every one of the first `participants` nodes that is up, again and again while somebody is in doubt and has time to find out.
pub(super) async fn audit(nodes: &Nodes, participants: u16) -> Vec<Holdings> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut all = Vec::new();
        for node in nodes.alive().into_iter().filter(|n| n.0 <= participants) {
            all.extend(ask(nodes, node).await);
        }
        let rests = all.iter().all(|holdings| holdings.prepared == 0);
        if rests || Instant::now() >= until {
            return all;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn ask(nodes: &Nodes, node: NodeId) -> Option<Holdings> {
    let client = nodes.client().ok()?;
    let id = ClientId(rand::random());
    let body = body(&Operation::Audit {});
    let call = client.call_at(node, id, Sequence(1), body, ANSWER_WITHIN);
    let Ok(Answer::Done(result)) = call.await else {
        return None;
    };
    match Outcome::decode(result) {
        Ok(Outcome::Holdings {
            node,
            changed,
            prepared,
            ..
        }) => Some(Holdings::new(node, &changed, &prepared)),
        _ => None,
    }
}

impl Holdings {
    fn new<T>(node: NodeId, changed: &[Update], prepared: &[(T, Vec<Update>)]) -> Self {
        let mut holdings = Self {
            node: node.0,
            prepared: prepared.len(),
            ..Self::default()
        };
        for update in changed.iter().filter(|update| update.account != PROBES) {
            holdings.transfers.entry(update.account).or_default().0 += update.delta;
        }
        let open = prepared.iter().flat_map(|(_, updates)| updates);
        for update in open.filter(|update| update.account != PROBES) {
            holdings.transfers.entry(update.account).or_default().1 += update.delta;
        }
        holdings
    }

    /// In transfers instead of money, which is what node 1 pays and the others get.
    fn counted(mut self, nodes: u16) -> Result<Self, String> {
        let each = match (self.node, nodes) {
            (1, 2..) => 1 - i64::from(nodes),
            _ => 1,
        };
        for (account, (done, open)) in &mut self.transfers {
            if *done % each != 0 {
                return Err(format!(
                    "account {account} of node {} holds {done}, which is no number of transfers of {each}",
                    self.node
                ));
            }
            (*done, *open) = (*done / each, *open / each);
        }
        Ok(self)
    }

    fn of(&self, account: u64) -> (i64, i64) {
        self.transfers.get(&account).copied().unwrap_or_default()
    }

    fn total(&self) -> (i64, i64) {
        let sum = |(a, b): (i64, i64), (c, d): &(i64, i64)| (a + c, b + d);
        self.transfers.values().fold((0, 0), sum)
    }
}

/// Judges what the clients were told against what the nodes hold.
pub(super) fn judge(nodes: u16, told: Transfers, holdings: Vec<Holdings>) -> CheckReport {
    let asked = holdings.len();
    let detail = match contradiction(nodes, told, holdings) {
        Ok(()) if asked == 0 => "no node says what it holds".to_owned(),
        Ok(()) => String::new(),
        Err(detail) => detail,
    };
    CheckReport {
        kind: "atomic".to_owned(),
        operations: told.done + told.open,
        ok: detail.is_empty(),
        detail,
    }
}

fn contradiction(nodes: u16, told: Transfers, holdings: Vec<Holdings>) -> Result<(), String> {
    let all = holdings
        .into_iter()
        .map(|holdings| holdings.counted(nodes))
        .collect::<Result<Vec<_>, _>>()?;
    for holdings in &all {
        let (done, open) = holdings.total();
        let node = holdings.node;
        let (least, most) = (told.done, told.done + told.open);
        if done + open < least.try_into().unwrap_or(i64::MAX) {
            return Err(format!(
                "clients were told of {least} commits, node {node} holds {done} and {open} in doubt"
            ));
        }
        if done > most.try_into().unwrap_or(i64::MAX) {
            return Err(format!(
                "node {node} holds {done} transfers, and no more than {most} can have been committed"
            ));
        }
    }
    for ahead in &all {
        for account in ahead.transfers.keys() {
            let done = ahead.of(*account).0;
            let behind = all.iter().find(|behind| {
                let (has, open) = behind.of(*account);
                has + open < done
            });
            if let Some(behind) = behind {
                return Err(format!(
                    "account {account}: {done} transfers at node {}, {:?} done and in doubt at node {}",
                    ahead.node,
                    behind.of(*account),
                    behind.node
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node of two that has carried out so many transfers on account 7, with so many in doubt.
    fn holds(node: u16, done: i64, open: usize) -> Holdings {
        let sign = if node == 1 { -1 } else { 1 };
        let update = |delta| Update {
            node: NodeId(node),
            account: 7,
            delta,
        };
        let prepared = vec![((), vec![update(sign)]); open];
        Holdings::new(NodeId(node), &[update(sign * done)], &prepared)
    }

    fn is_atomic(done: u64, open: u64, holdings: &[Holdings]) -> bool {
        judge(2, Transfers { done, open }, holdings.to_vec()).ok
    }

    #[test]
    fn what_is_everywhere_or_in_doubt_is_atomic() {
        assert!(is_atomic(3, 0, &[holds(1, 3, 0), holds(2, 3, 0)]));
        assert!(is_atomic(3, 1, &[holds(1, 4, 0), holds(2, 3, 1)]));
        assert!(is_atomic(3, 1, &[holds(2, 3, 1)]), "node 1 is gone");
    }

    #[test]
    fn half_a_transfer_a_lost_one_and_one_too_many_are_not() {
        assert!(!is_atomic(3, 1, &[holds(1, 4, 0), holds(2, 3, 0)]), "half");
        assert!(!is_atomic(4, 0, &[holds(1, 3, 0), holds(2, 3, 0)]), "lost");
        assert!(!is_atomic(2, 0, &[holds(1, 3, 0), holds(2, 3, 0)]), "more");
        assert!(!is_atomic(0, 0, &[]), "nobody was asked");
    }
}
