//! Calls: many at a time, across nodes, and what a client may believe when none is answered.
#![allow(clippy::unwrap_used)]

mod cluster;

use bytes::Bytes;
use cluster::{CLUSTER, Echo, Node, PATIENCE, authority, client, config, node, start};
use consensus_core::{
    ClientId, NodeId, Sequence,
    service::{Answer, Refusal},
};
use net_quic::{CallError, ClusterCa, Counter, Gateway, LinkControl, Role};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

const SHORT: Duration = Duration::from_millis(50);

fn serving(ca: &ClusterCa, id: u16) -> Node {
    let node = node(ca, id, 1);
    node.endpoint
        .serve(Echo, move || format!("{{\"node\":{id}}}"));
    node
}

fn done(sequence: u64, body: &[u8]) -> Answer {
    Answer::Done([&sequence.to_le_bytes()[..], body].concat().into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_callers_share_one_connection_and_each_gets_its_own_answer() {
    let ca = authority();
    let one = serving(&ca, 1);
    let client = client(&ca, Role::Client, &[&one]);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4096u64 {
        let client = client.clone();
        callers.spawn(async move {
            for turn in 0..4 {
                let sequence = caller * 4 + turn;
                let body = Bytes::from(vec![caller as u8; 1 + (caller % 300) as usize]);
                let call = client.call_at(
                    NodeId(1),
                    ClientId(caller.into()),
                    Sequence(sequence),
                    body.clone(),
                    PATIENCE,
                );
                assert_eq!(call.await, Ok(done(sequence, &body)));
            }
        });
    }
    callers.join_all().await;
    assert_eq!(one.count(Counter::ClientsConnected), 1);
    assert_eq!(one.count(Counter::Calls), 4 * 4096);
}

#[tokio::test]
async fn a_call_without_an_answer_is_unknown_and_disturbs_no_other() {
    let ca = authority();
    let one = serving(&ca, 1);
    let client = client(&ca, Role::Client, &[&one]);
    let call = |body: &'static [u8], patience| {
        client.call_at(
            NodeId(1),
            ClientId(1),
            Sequence(1),
            Bytes::from_static(body),
            patience,
        )
    };
    let (never, other) = tokio::join!(call(b"never", SHORT), call(b"other", PATIENCE));
    assert_eq!(never, Err(CallError::Timeout));
    assert!(CallError::Timeout.is_unknown());
    assert_eq!(other, Ok(done(1, b"other")));
    assert_eq!(call(b"unknown", PATIENCE).await, Ok(Answer::Unknown));
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_certain_not_to_be_carried_out() {
    let ca = authority();
    let (one, not_serving) = (serving(&ca, 1), node(&ca, 2, 1));
    let client = client(&ca, Role::Client, &[&one, &not_serving]);
    let call = |node, body| client.call_at(node, ClientId(1), Sequence(1), body, PATIENCE);
    let error = call(NodeId(2), Bytes::new()).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Unreachable {
                node: NodeId(2),
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_unknown());
    let error = call(NodeId(9), Bytes::new()).await.unwrap_err();
    assert_eq!(error, CallError::UnknownNode(NodeId(9)));
    let error = call(NodeId(1), vec![0; 9 << 20].into()).await.unwrap_err();
    assert!(
        matches!(error, CallError::TooLarge { limit, .. } if limit == 8 << 20),
        "{error}"
    );
    assert_eq!(
        call(NodeId(1), Bytes::new()).await,
        Ok(done(1, b"")),
        "the connection lives on"
    );
}

#[tokio::test]
async fn a_hint_is_followed_to_the_node_that_leads() {
    struct Leads(bool);
    impl Gateway for Leads {
        async fn call(&self, _: ClientId, sequence: Sequence, body: Bytes) -> Answer {
            if self.0 {
                done(sequence.0, &body)
            } else {
                Answer::Refused(Refusal::NotLeader(Some(NodeId(3))))
            }
        }
    }
    let ca = authority();
    let nodes = [1, 2, 3].map(|id| node(&ca, id, 1));
    for (node, leads) in nodes.iter().zip([false, false, true]) {
        node.endpoint.serve(Leads(leads), String::new);
    }
    let client = client(&ca, Role::Client, &[&nodes[0], &nodes[1], &nodes[2]]);
    for sequence in 1..=3 {
        let call = client.call(ClientId(1), Sequence(sequence), Bytes::new(), PATIENCE);
        assert_eq!(call.await, Ok(done(sequence, b"")));
    }
    assert_eq!(nodes[0].count(Counter::Calls), 1, "the hint is remembered");
    assert_eq!(nodes[1].count(Counter::Calls), 0);
}

#[tokio::test]
async fn a_node_that_goes_down_answers_what_it_has_taken() {
    struct Slow(Arc<Semaphore>);
    impl Gateway for Slow {
        async fn call(&self, _: ClientId, sequence: Sequence, body: Bytes) -> Answer {
            let _permit = self.0.acquire().await;
            done(sequence.0, &body)
        }
    }
    let ca = authority();
    let one = node(&ca, 1, 1);
    let gate = Arc::new(Semaphore::new(0));
    one.endpoint.serve(Slow(Arc::clone(&gate)), String::new);
    let client = client(&ca, Role::Client, &[&one]);
    let caller = client.clone();
    let call = tokio::spawn(async move {
        caller
            .call_at(NodeId(1), ClientId(1), Sequence(1), Bytes::new(), PATIENCE)
            .await
    });
    cluster::until("the call has been taken", || one.count(Counter::Calls) == 1).await;
    let closing = tokio::spawn(one.endpoint.close());
    gate.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(done(1, b"")));
    closing.await.unwrap();
    let late = client
        .call_at(NodeId(1), ClientId(1), Sequence(2), Bytes::new(), SHORT)
        .await;
    assert!(
        !late.unwrap_err().is_unknown(),
        "nobody is there to be asked"
    );
}

/// The connection is not read beyond the limit: the rest waits at the client.
#[tokio::test]
async fn calls_under_way_on_one_connection_are_bounded() {
    struct Counting {
        now: AtomicUsize,
        most: Arc<AtomicUsize>,
    }
    impl Gateway for Counting {
        async fn call(&self, _: ClientId, sequence: Sequence, body: Bytes) -> Answer {
            let now = 1 + self.now.fetch_add(1, SeqCst);
            self.most.fetch_max(now, SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, SeqCst);
            done(sequence.0, &body)
        }
    }
    let ca = authority();
    let identity = ca.issue(Role::Node(NodeId(1))).unwrap();
    let mut settings = config(identity, 1, 1);
    settings.limits.calls = 8;
    let one = start(settings);
    let most = Arc::new(AtomicUsize::new(0));
    let gateway = Counting {
        now: AtomicUsize::new(0),
        most: Arc::clone(&most),
    };
    one.endpoint.serve(gateway, String::new);
    let client = client(&ca, Role::Client, &[&one]);
    let mut callers = tokio::task::JoinSet::new();
    for sequence in 0..2000 {
        let client = client.clone();
        callers.spawn(async move {
            // Small, so that many arrive in one read.
            let body = vec![0; 10].into();
            let call = client.call_at(NodeId(1), ClientId(1), Sequence(sequence), body, PATIENCE);
            assert!(matches!(call.await, Ok(Answer::Done(_))));
        });
    }
    callers.join_all().await;
    assert_eq!(most.load(SeqCst), 8);
}

#[tokio::test]
async fn an_operator_isolates_a_node_and_heals_it_again() {
    let ca = authority();
    let identity = ca.issue(Role::Node(NodeId(1))).unwrap();
    let mut settings = config(identity, 1, 1);
    settings.link = Some(LinkControl::new(1));
    settings.limits.idle_timeout = Duration::from_millis(400);
    settings.limits.keep_alive = Duration::from_millis(100);
    let (mut one, two) = (start(settings), node(&ca, 2, 1));
    one.endpoint.serve(Echo, String::new);
    cluster::introduce(&[&one, &two]);
    one.connected_to(2).await;
    let operator = client(&ca, Role::Operator, &[&one]);
    operator.link(NodeId(1), "isolate", PATIENCE).await.unwrap();
    assert_eq!(one.lost.recv().await, Some(NodeId(2)));
    let error = operator
        .link(NodeId(1), "lag 2", PATIENCE)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("known are cut"), "{error}");
    operator.link(NodeId(1), "heal", PATIENCE).await.unwrap();
    one.connected_to(2).await;
}

/// The certificate of a client says which cluster; a node of another is not spoken to.
#[tokio::test]
async fn a_client_of_another_authority_reaches_nobody() {
    let (ca, other) = (authority(), ClusterCa::generate(CLUSTER).unwrap());
    let one = serving(&ca, 1);
    let client = client(&other, Role::Client, &[&one]);
    let error = client
        .call_at(NodeId(1), ClientId(1), Sequence(1), Bytes::new(), PATIENCE)
        .await;
    assert!(
        matches!(error, Err(CallError::Unreachable { .. })),
        "{error:?}"
    );
}
