//! The clients against nodes that are a few lines of code.

use super::*;
use bytes::Bytes;
use consensus_core::{
    ClientId, NodeId, Sequence,
    contract::register::Version,
    kv,
    service::{Answer, Refusal},
};
use net_quic::CallError;
use std::time::Duration;

/// What a node does with every call.
#[derive(Clone, Copy)]
enum Does {
    Answer,
    Slow,
    Silence,
    Refuse(Refusal),
    Gone,
}

struct Nodes(Vec<Does>);

impl Caller for Nodes {
    async fn call(
        &self,
        node: NodeId,
        _client: ClientId,
        _sequence: Sequence,
        _body: Bytes,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        match self.0[usize::from(node.0) - 1] {
            does @ (Does::Answer | Does::Slow) => {
                let ms = if matches!(does, Does::Slow) { 20 } else { 1 };
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(Answer::Done(kv::encode(&kv::Outcome::Written {
                    position: 1,
                    version: Version(1),
                })))
            }
            Does::Silence => {
                tokio::time::sleep(patience).await;
                Err(CallError::Timeout)
            }
            Does::Refuse(refusal) => Ok(Answer::Refused(refusal)),
            Does::Gone => Err(CallError::Unreachable {
                node,
                reason: "gone".to_owned(),
            }),
        }
    }
}

fn load(contract: Contract, nodes: Vec<Does>, rate: Option<f64>) -> Arc<Load<Nodes>> {
    let window = Window {
        warmup: Duration::from_millis(20),
        measured: Duration::from_millis(200),
        timeout: Duration::from_millis(50),
    };
    Arc::new(Load {
        contract,
        workload: Workload::default(),
        clients: 4,
        rate,
        window,
        nodes: u16::try_from(nodes.len()).expect("a few"),
        router: Router::new(u16::try_from(nodes.len()).expect("a few")),
        caller: Nodes(nodes),
        ledger: Ledger::new(window, true, 2),
        outages: Arc::new(Outages::new(0)),
        began: Instant::now(),
    })
}

async fn run(nodes: Vec<Does>, rate: Option<f64>) -> (Book, NodeId) {
    let load = load(Contract::Register, nodes, rate);
    start(&load).expect("it can be run").join_all().await;
    let load = Arc::into_inner(load).expect("every client has ended");
    let preferred = load.router.preferred();
    (load.ledger.close(), preferred)
}

#[tokio::test]
async fn every_operation_is_written_down_in_both_books() {
    let (book, _) = run(vec![Does::Answer], None).await;
    let measured = book.recorder().measured();
    assert!(measured.counts.done > 0);
    assert_eq!(measured.lost, 0);
    let history = book.history().expect("it was asked for");
    assert_eq!(history.len() as u64, measured.counts.issued);
    assert!(history.iter().all(|entry| entry.outcome.is_some()));
}

#[tokio::test]
async fn clients_follow_the_hint_of_a_node_that_does_not_lead() {
    let not_leader = Does::Refuse(Refusal::NotLeader(Some(NodeId(3))));
    let (book, preferred) = run(vec![not_leader, Does::Gone, Does::Answer], None).await;
    let measured = book.recorder().measured();
    assert_eq!(preferred, NodeId(3));
    assert_eq!((measured.counts.failed, measured.counts.timeouts), (0, 0));
    assert!(measured.counts.done > 0);
}

#[tokio::test]
async fn a_silent_node_costs_each_client_one_unknown_operation() {
    let (book, preferred) = run(vec![Does::Silence, Does::Answer], None).await;
    let history = book.history().expect("it was asked for");
    let unknown = history
        .iter()
        .filter(|entry| entry.returned.is_none())
        .count();
    assert_eq!(unknown, 4);
    assert_eq!(preferred, NodeId(2));
    assert_eq!(book.recorder().measured().lost, 0);
}

#[tokio::test]
async fn what_is_refused_all_the_time_has_failed_and_is_not_in_the_history() {
    let (book, _) = run(vec![Does::Refuse(Refusal::Busy)], None).await;
    let measured = book.recorder().measured();
    assert!(measured.counts.failed > 0);
    assert_eq!((measured.counts.done, measured.counts.timeouts), (0, 0));
    assert_eq!(book.history().map(<[_]>::len), Some(0));
}

#[tokio::test]
async fn an_open_loop_drains_and_loses_nothing() {
    let (book, _) = run(vec![Does::Answer], Some(500.0)).await;
    let measured = book.recorder().measured();
    assert_eq!(measured.lost, 0);
    // 100 are expected in the window; six standard deviations of a Poisson count are 60.
    assert!((40..160).contains(&measured.counts.done), "{measured:?}");
}

#[tokio::test]
async fn an_open_loop_counts_the_wait_for_a_free_client() {
    // Four clients that need 20 ms each serve 200 a second; 300 are asked for.
    let (book, _) = run(vec![Does::Slow], Some(300.0)).await;
    let measured = book.recorder().measured();
    assert_eq!(measured.lost, 0);
    assert!(
        measured.latency.mean > 1.2 * measured.service.mean,
        "{measured:?}"
    );
}
