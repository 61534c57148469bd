//! Reads at nodes that do not lead.

use crate::group::Group;
use bytes::Bytes;
use consensus_core::{
    ClientId, Sequence, Wire,
    kv::{self, Operation, Outcome},
    service::{Answer, key_value::KeyValue, replicated_log::Limits},
};

/// RF-54 on real nodes: what a client was told is written, every node shows from that moment on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rf54_every_node_shows_what_was_written_before() {
    let group = Group::new("reads");
    let limits = Limits {
        reads_anywhere: true,
        ..Limits::default()
    };
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let node = group.start_machine(id, KeyValue::default(), limits, |_| {});
        nodes.push(node.await.unwrap());
    }
    let ready = nodes[0].wait_until_ready().await.expect("it runs");
    let led = ready.leadership.leader.expect("ready means led");
    for node in &mut nodes {
        node.wait_until_ready().await.expect("it runs");
    }
    let mut session = group.session().await;
    let key = Bytes::from_static(b"x");
    let mut elsewhere = 0;
    for number in 0..30_u8 {
        let value = Bytes::copy_from_slice(&[number]);
        let put = Operation::Put {
            key: key.clone(),
            value: value.clone(),
        };
        session.call(kv::encode(&put)).await.unwrap();
        for node in &nodes {
            let get = kv::encode(&Operation::Get { key: key.clone() });
            let read = node.handle().call(ClientId(9), Sequence(1), get);
            match read.await {
                Answer::Done(found) => {
                    let found = Outcome::decode(found).expect("an outcome");
                    let newest = matches!(&found, Outcome::Value { value: v, .. } if *v == value);
                    assert!(newest, "node {} shows {found:?}", node.id());
                    elsewhere += u32::from(node.id() != led);
                }
                // An election on a busy machine: asked again with the next value.
                Answer::Refused(_) | Answer::Unknown => {}
            }
        }
    }
    assert!(
        elsewhere > 20,
        "{elsewhere} reads at nodes that do not lead"
    );
}
