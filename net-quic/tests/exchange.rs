//! Peers exchange messages, clients call: what works when nobody does wrong.
#![allow(clippy::unwrap_used)]

mod cluster;

use bytes::Bytes;
use cluster::{Echo, Message, PATIENCE, authority, client, introduce, node};
use consensus_core::{ClientId, NodeId, Sequence, runtime::Transport, service::Answer};
use net_quic::Role;

#[tokio::test]
async fn two_peers_exchange_messages_of_every_class() {
    let ca = authority();
    let (mut one, mut two) = (node(&ca, 1, 1), node(&ca, 2, 1));
    introduce(&[&one, &two]);
    one.connected_to(2).await;
    two.connected_to(1).await;
    let payload = Bytes::from(vec![7; 300_000]);
    for message in [
        Message::Beat { number: 1 },
        Message::Entry {
            number: 2,
            payload: payload.clone(),
        },
        Message::Chunk { payload },
    ] {
        one.say(2, message.clone());
        assert_eq!(two.hear().await, (NodeId(1), message.clone()));
        two.say(1, message.clone());
        assert_eq!(one.hear().await, (NodeId(2), message));
    }
}

#[tokio::test]
async fn messages_of_one_class_keep_their_order() {
    let ca = authority();
    let (mut one, mut two) = (node(&ca, 1, 1), node(&ca, 2, 1));
    introduce(&[&one, &two]);
    two.connected_to(1).await;
    let sender = tokio::spawn(async move {
        for number in 0..20_000 {
            let payload = Bytes::from(vec![0; (number % 97) as usize]);
            two.peers
                .send(NodeId(1), Message::Entry { number, payload });
            if number % 10 == 9 {
                two.peers.flush();
                tokio::task::yield_now().await;
            }
        }
        two
    });
    for expected in 0..20_000 {
        let (from, message) = one.hear().await;
        assert_eq!(from, NodeId(2));
        assert!(matches!(message, Message::Entry { number, .. } if number == expected));
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn a_client_is_answered() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    one.endpoint.serve(Echo, || "{\"role\":\"leader\"}".into());
    let client = client(&ca, Role::Client, &[&one]);
    let call = client.call_at(
        NodeId(1),
        ClientId(9),
        Sequence(5),
        "hello".into(),
        PATIENCE,
    );
    let answer = call.await.unwrap();
    assert_eq!(answer, Answer::Done(b"\x05\0\0\0\0\0\0\0hello"[..].into()));
    let text = client.inspect(NodeId(1), PATIENCE).await.unwrap();
    assert_eq!(text, "{\"role\":\"leader\"}");
}
