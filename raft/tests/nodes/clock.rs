//! When a real node reads its clock.

use bytes::Bytes;
use consensus_core::{
    ClientId, NodeId, Sequence,
    kv::{self, Operation},
    runtime::{self, Running},
    service::Answer,
};
use raft::{Options, Raft};
use std::time::Duration;

fn leader(nodes: &[Running<Raft>]) -> Option<usize> {
    let id = nodes[0].status().leader?;
    let ids = (1..=nodes.len() as u16).map(NodeId);
    let agreed = nodes.iter().all(|node| node.status().leader == Some(id));
    agreed.then(|| ids.take_while(|node| *node != id).count())
}

/// RF-19: a call that came while its node stood still is judged by the time at which it is taken, not by
/// the last time that the node looked: its lease may be over. The tests' clock moves by hand.
#[tokio::test(start_paused = true)]
async fn rf19_a_lease_is_judged_after_the_call_is_taken() {
    let options = Options {
        lease_percent: Some(99),
        ..Options::default()
    };
    let nodes = runtime::cluster::<Raft>(3, &options, &runtime::Options::default());
    let mut nodes = nodes.expect("it starts");
    while leader(&nodes).is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Some rounds of heartbeats, so that there is a lease.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let leader = leader(&nodes).expect("nobody disturbs it");
    let leader = nodes.swap_remove(leader);
    let call = |sequence, body| leader.handle().call(ClientId(1), Sequence(sequence), body);
    let opened = call(0, Bytes::new()).await;
    assert!(matches!(opened, Answer::Done(_)), "{opened:?}");
    let get = || {
        kv::encode(&Operation::Get {
            key: Bytes::from_static(b"x"),
        })
    };
    // Nobody is there to confirm anything any more: what is answered, is so from the lease.
    drop(nodes);
    let leased = call(1, get()).await;
    assert!(matches!(leased, Answer::Done(_)), "{leased:?}");

    let late = call(2, get());
    tokio::time::advance(Duration::from_millis(400)).await;
    let late = late.await;
    assert!(matches!(late, Answer::Refused(_)), "stale: {late:?}");
}
