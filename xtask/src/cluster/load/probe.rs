//! When service is back after a fault: small operations of their own, one after another at every
//! node. The clients cannot tell, for all of them may be waiting for a node that is gone.

use super::{Load, asker::Asker, attempt::Caller};
use bench::{recorder::Outcome, workload::Workload};
use bytes::Bytes;
use consensus_core::{NodeId, Sequence};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::sleep};

/// A cluster that serves answers its first operation within this; otherwise another node is asked.
const SERVED_WITHIN: Duration = Duration::from_millis(500);
/// Between two probes: what an outage is known to.
const EVERY: Duration = Duration::from_millis(10);

/// Probes until service is back or nothing more is measured.
pub(crate) async fn probe<C: Caller>(load: Arc<Load<C>>, fault: usize) {
    let mut probes = JoinSet::new();
    let mut number = 0;
    while !load.outages.is_back(fault) && load.now() < load.window.end() {
        let node = NodeId(number % load.router.nodes() + 1);
        number = number.wrapping_add(1);
        let load = Arc::clone(&load);
        probes.spawn(async move {
            let started = load.now();
            if once(&load, node, load.window.timeout).await {
                load.outages.done(started, load.now());
            }
        });
        while probes.try_join_next().is_some() {}
        sleep(EVERY).await;
    }
    // Those under way are given up: nobody waits for them.
}

/// Whether the cluster serves: an operation of its own is done by the node that clients turn to.
pub(crate) async fn serves<C: Caller>(load: &Load<C>) -> bool {
    let node = load.router.preferred();
    let served = once(load, node, SERVED_WITHIN).await;
    if !served {
        load.router.away_from(node);
    }
    served
}

/// One operation on a key that no client uses, so that it is in nobody's way and in no history.
async fn once<C: Caller>(load: &Load<C>, node: NodeId, patience: Duration) -> bool {
    let workload = Workload {
        keys: 1,
        zipf: 0.0,
        read_ratio: 0.0,
        payload: 16,
        seed: 0,
    };
    let Ok(mut asker) = Asker::new(u32::MAX, load.contract, load.nodes, &workload) else {
        return false;
    };
    let (caller, id) = (&load.caller, asker.id);
    if asker.keeps_session() {
        let opening = caller.call(node, id, Sequence(0), Bytes::new(), patience);
        if opening.await.is_err() {
            return false;
        }
    }
    let question = asker.question_about(u64::MAX);
    let asked = caller.call(node, id, asker.sequence(), question.body, patience);
    let answer = asked.await;
    answer.is_ok_and(|answer| asker.outcome(&answer) == Outcome::Done)
}
