//! Three nodes of one process under concurrent clients: what the clients saw is linearizable.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consensus_core::{
    ClientId, NodeId, Sequence, Time, Wire,
    check::{History, linearizable},
    kv::{self, Operation},
    runtime::{self, Handle, Options, Placement, Runnable},
    service::{Answer, Refusal},
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CLIENTS: u32 = 20;
const OPERATIONS: u64 = 50;
const KEYS: u64 = 3;

/// The history and its clock, which ticks at every question and answer: the finest order in real time
/// that clients can tell.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<(History, u64)>>);

impl Recorder {
    fn tick<T>(&self, record: impl FnOnce(&mut History, Time) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let now = Time::from_nanos(state.1);
        record(&mut state.0, now)
    }
}

fn operation(client: u32, sequence: u64) -> Operation {
    let key = Bytes::copy_from_slice(&((u64::from(client) + sequence) % KEYS).to_be_bytes());
    let value = Bytes::from(format!("{client}/{sequence}"));
    match (u64::from(client) * 7 + sequence) % 3 {
        0 => Operation::Get { key },
        1 => Operation::Put { key, value },
        _ => Operation::CompareAndSet {
            key,
            expected: Default::default(),
            value,
        },
    }
}

/// Asks node after node, or the one that is said to lead, until the question is taken.
async fn ask(nodes: &[Handle], at: &mut usize, client: u32, sequence: u64, body: Bytes) -> Answer {
    loop {
        let id = ClientId(u128::from(client) + 1);
        let answer = nodes[*at].call(id, Sequence(sequence), body.clone()).await;
        match answer {
            Answer::Refused(Refusal::NotLeader(Some(NodeId(leader)))) => {
                *at = usize::from(leader) - 1;
            }
            Answer::Refused(Refusal::NotLeader(None) | Refusal::Busy) => {
                *at = (*at + 1) % nodes.len();
            }
            answer => return answer,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(nodes: Vec<Handle>, client: u32, recorder: Recorder) {
    let mut at = client as usize % nodes.len();
    ask(&nodes, &mut at, client, 0, Bytes::new()).await;
    for sequence in 1..=OPERATIONS {
        let operation = operation(client, sequence);
        let body = kv::encode(&operation);
        let pending = recorder.tick(|history, now| history.invoke(client, now, operation));
        let answer = ask(&nodes, &mut at, client, sequence, body).await;
        recorder.tick(|history, now| match answer {
            Answer::Done(outcome) => {
                history.answer(pending, now, Wire::decode(outcome).unwrap());
            }
            Answer::Refused(refusal) => panic!("nothing failed, and yet: {refusal}"),
            Answer::Unknown => {}
        });
    }
}

async fn is_linearizable<A: Runnable>(placement: Placement) {
    let options = Options {
        placement,
        ..Options::default()
    };
    let nodes = runtime::cluster::<A>(3, &A::Options::default(), &options).unwrap();
    let handles: Vec<_> = nodes.iter().map(|node| node.handle().clone()).collect();
    let recorder = Recorder::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(run(handles.clone(), client, recorder.clone())))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    for node in nodes {
        node.shutdown().await.unwrap();
    }
    let entries = std::mem::take(&mut recorder.0.lock().unwrap().0).finish();
    let report = linearizable::check(&entries).unwrap();
    let all = u64::from(CLIENTS) * OPERATIONS;
    assert_eq!(report.operations as u64, all, "{report}");
    assert!(report.unknown as u64 <= all / 10, "{report}");
}

#[tokio::test(start_paused = true)]
async fn paxos_is_linearizable() {
    is_linearizable::<paxos::Paxos>(Placement::Together).await;
    is_linearizable::<paxos::Paxos>(Placement::Apart).await;
}

#[tokio::test(start_paused = true)]
async fn raft_is_linearizable() {
    is_linearizable::<raft::Raft>(Placement::Together).await;
    is_linearizable::<raft::Raft>(Placement::Apart).await;
}

#[tokio::test(start_paused = true)]
async fn multipaxos_is_linearizable() {
    is_linearizable::<multipaxos::MultiPaxos>(Placement::Together).await;
    is_linearizable::<multipaxos::MultiPaxos>(Placement::Apart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_linearizable_on_several_threads() {
    is_linearizable::<paxos::Paxos>(Placement::Together).await;
    is_linearizable::<raft::Raft>(Placement::Apart).await;
}
