//! Who is let in, and what happens to everybody else (RELIABILITY X, SCENARIOS NW): each refused,
//! counted under its own name, and the node lives on.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{
    CLUSTER, Message, Node, PATIENCE, authority, client, config, introduce, node,
    raw::{self, CLIENT, Hello, PEER, Raw},
    start, until,
};
use consensus_core::{ClusterId, NodeId};
use net_quic::{ClusterCa, Counter, Identity, Role};
use rustls::client::ClientSessionMemoryCache;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const HOUR: Duration = Duration::from_secs(3600);

fn node_identity(ca: &ClusterCa, id: u16) -> Identity {
    ca.issue(Role::Node(NodeId(id))).unwrap()
}

/// Dials node 1 with a certificate, and says `hello`. What follows is the node's affair.
async fn knock(node: &Node, identity: &Identity, alpn: &[u8], first: &[u8]) -> Option<Raw> {
    let dialled = raw::dial(node.address, 1, raw::config(identity, alpn, None))
        .await
        .ok()?;
    // A refusal may come before anything could be said.
    if let Ok((mut send, _recv)) = dialled.connection.open_bi().await {
        let _ = send.write_all(first).await;
    }
    Some(dialled)
}

/// Refused under this name, the connection closed, and a node of good standing still welcome.
async fn refused(ca: &ClusterCa, one: &mut Node, knocked: Option<Raw>, counter: Counter) {
    until(&format!("{} is counted", counter.name()), || {
        one.count(counter) == 1
    })
    .await;
    if let Some(raw) = knocked {
        raw.connection.closed().await;
    }
    assert!(one.endpoint.connected().is_empty(), "nobody was let in");
    let mut two = node(ca, 2, 1);
    introduce(&[one, &two]);
    two.connected_to(1).await;
    two.say(1, Message::Beat { number: 7 });
    assert_eq!(one.hear().await, (NodeId(2), Message::Beat { number: 7 }));
}

async fn check(
    identity: impl FnOnce(&ClusterCa) -> Identity,
    alpn: &[u8],
    first: &[u8],
    counter: Counter,
) {
    let ca = authority();
    let mut one = node(&ca, 1, 1);
    let identity = identity(&ca);
    let knocked = knock(&one, &identity, alpn, first).await;
    refused(&ca, &mut one, knocked, counter).await;
}

/// X1.
#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    // The same cluster by name, and node 1 trusted: only its own certificate is of a stranger.
    let identity =
        |ca: &ClusterCa| node_identity(&authority(), 2).trusting(vec![ca.certificate().clone()]);
    check(
        identity,
        PEER,
        &raw::hello(2, 1).frame(),
        Counter::HandshakeFailed,
    )
    .await;
}

/// X1.
#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let now = SystemTime::now();
    let identity = move |ca: &ClusterCa| {
        ca.issue_between(Role::Node(NodeId(2)), now - 2 * HOUR, now - HOUR)
            .unwrap()
    };
    check(
        identity,
        PEER,
        &raw::hello(2, 1).frame(),
        Counter::HandshakeFailed,
    )
    .await;
}

/// X1.
#[tokio::test]
async fn a_certificate_that_is_not_yet_valid_is_refused() {
    let now = SystemTime::now();
    let identity = move |ca: &ClusterCa| {
        ca.issue_between(Role::Node(NodeId(2)), now + HOUR, now + 2 * HOUR)
            .unwrap()
    };
    check(
        identity,
        PEER,
        &raw::hello(2, 1).frame(),
        Counter::HandshakeFailed,
    )
    .await;
}

/// X2, NW-01.
#[tokio::test]
async fn the_certificate_of_node_two_cannot_claim_to_be_node_three() {
    let identity = |ca: &ClusterCa| node_identity(ca, 2);
    check(
        identity,
        PEER,
        &raw::hello(3, 1).frame(),
        Counter::IdentityMismatch,
    )
    .await;
}

/// A node that dials checks whom it has reached: here the certificate of node 3 answers for 2.
#[tokio::test]
async fn a_node_that_answers_for_another_is_not_spoken_to() {
    let ca = authority();
    let (one, three) = (node(&ca, 1, 1), node(&ca, 3, 1));
    one.endpoint
        .set_members([(NodeId(2), three.address)].into());
    until("the handshake fails", || {
        one.count(Counter::HandshakeFailed) > 0
    })
    .await;
    assert!(one.endpoint.connected().is_empty() && three.endpoint.connected().is_empty());
}

/// X3.
#[tokio::test]
async fn a_client_cannot_speak_to_peers() {
    let identity = |ca: &ClusterCa| ca.issue(Role::Client).unwrap();
    check(
        identity,
        PEER,
        &raw::hello(0, 0).frame(),
        Counter::RoleRefused,
    )
    .await;
}

#[tokio::test]
async fn an_operator_cannot_speak_to_peers() {
    let identity = |ca: &ClusterCa| ca.issue(Role::Operator).unwrap();
    check(
        identity,
        PEER,
        &raw::hello(2, 1).frame(),
        Counter::RoleRefused,
    )
    .await;
}

#[tokio::test]
async fn a_node_is_no_client() {
    let identity = |ca: &ClusterCa| node_identity(ca, 2);
    check(
        identity,
        CLIENT,
        &raw::hello(0, 0).frame(),
        Counter::RoleRefused,
    )
    .await;
}

/// X4, NW-02: in the hello.
#[tokio::test]
async fn a_hello_of_another_cluster_is_refused() {
    let hello = Hello {
        cluster: 5,
        ..raw::hello(2, 1)
    };
    check(
        |ca| node_identity(ca, 2),
        PEER,
        &hello.frame(),
        Counter::WrongCluster,
    )
    .await;
}

/// X4: in the certificate, from an authority that is trusted for both clusters.
#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused() {
    let (ca, other) = (authority(), ClusterCa::generate(ClusterId(5)).unwrap());
    let both = vec![ca.certificate().clone(), other.certificate().clone()];
    let mut one = start(config(node_identity(&ca, 1).trusting(both.clone()), 1, 1));
    let stranger = node_identity(&other, 2).trusting(both);
    let knocked = knock(&one, &stranger, PEER, &raw::hello(2, 1).frame()).await;
    refused(&ca, &mut one, knocked, Counter::WrongCluster).await;
}

/// X4, NW-02.
#[tokio::test]
async fn a_peer_without_a_version_in_common_is_refused() {
    let hello = Hello {
        versions: (9, 12),
        ..raw::hello(2, 1)
    };
    check(
        |ca| node_identity(ca, 2),
        PEER,
        &hello.frame(),
        Counter::UnknownVersion,
    )
    .await;
}

/// NW-02: TLS finds no protocol in common.
#[tokio::test]
async fn an_unknown_protocol_is_refused() {
    let first = raw::hello(2, 1).frame();
    check(
        |ca| node_identity(ca, 2),
        b"consensus/9",
        &first,
        Counter::HandshakeFailed,
    )
    .await;
}

/// X5, NW-04.
#[tokio::test]
async fn garbage_instead_of_a_hello_is_refused() {
    let hello = Hello {
        magic: *b"GET / HT",
        ..raw::hello(2, 1)
    };
    check(
        |ca| node_identity(ca, 2),
        PEER,
        &hello.frame(),
        Counter::BadHello,
    )
    .await;
}

/// X5, NW-04.
#[tokio::test]
async fn a_first_frame_of_four_gibibytes_is_refused() {
    check(
        |ca| node_identity(ca, 2),
        PEER,
        &[0xff; 9],
        Counter::OversizeFrame,
    )
    .await;
}

/// X5, NW-04: behind a good hello. `(bytes on a control stream, refused as)`.
#[tokio::test]
async fn bad_frames_of_a_good_peer_end_its_connection_and_nothing_else() {
    let cases: [(&[u8], Counter); 6] = [
        (&[0xff, 0xff, 0xff, 0x7f, 1], Counter::OversizeFrame),
        (&[0, 0, 0, 0], Counter::Undecodable),
        (&[3, 0, 0, 0, 1, 99, 1], Counter::Undecodable), // an unknown kind
        (&[4, 0, 0, 0, 1, 1, 5, 5], Counter::Undecodable), // a byte left over
        (&[2, 0, 0, 0, 1, 1], Counter::Undecodable),     // cut short inside
        (&[2, 0, 0, 0, 0xff, 0xff], Counter::Undecodable), // no group
    ];
    for (bytes, counter) in cases {
        let ca = authority();
        let one = node(&ca, 1, 1);
        let identity = node_identity(&ca, 3);
        let dialled = raw::dial(one.address, 1, raw::config(&identity, PEER, None))
            .await
            .unwrap();
        let _hello = dialled.settle(&raw::hello(3, 1)).await.unwrap();
        one.connected_to(3).await;
        let _stream = dialled.control(bytes).await.unwrap();
        dialled.connection.closed().await;
        until("the peer is gone", || one.endpoint.connected().is_empty()).await;
        assert_eq!(one.count(counter), 1, "{bytes:?}");
    }
}

/// X6, NW-05: one byte of a frame, then nothing; and what trickles in does not extend the time.
#[tokio::test]
async fn a_frame_that_is_begun_and_not_ended_times_out() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.frame_deadline = Duration::from_millis(60);
    let one = start(settings);
    let identity = node_identity(&ca, 2);
    let dialled = raw::dial(one.address, 1, raw::config(&identity, PEER, None))
        .await
        .unwrap();
    let _hello = dialled.settle(&raw::hello(2, 1)).await.unwrap();
    let mut stream = dialled.control(&[200, 0, 0, 0]).await.unwrap();
    while stream.write_all(&[1]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("it is counted", || one.count(Counter::FrameTimeout) == 1).await;
}

/// X6: a connection that never says hello.
#[tokio::test]
async fn a_silent_newcomer_is_turned_out() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.handshake_deadline = Duration::from_millis(500);
    let mut one = start(settings);
    let identity = node_identity(&ca, 2);
    let silent = raw::dial(one.address, 1, raw::config(&identity, PEER, None))
        .await
        .unwrap();
    refused(&ca, &mut one, Some(silent), Counter::HandshakeTimeout).await;
}

/// X7, NW-07: a client that keeps sessions and wants early data gets neither.
#[tokio::test]
async fn no_ticket_is_issued_and_no_early_data_is_taken() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    let identity = node_identity(&ca, 2);
    let store = Arc::new(ClientSessionMemoryCache::new(32));
    let config = raw::config(&identity, PEER, Some(store));
    let first = raw::dial(one.address, 1, config.clone()).await.unwrap();
    // The hello in return was sent after the handshake: a ticket would have come before it.
    let _hello = first.settle(&raw::hello(2, 1)).await.unwrap();
    first.connection.close(0u32.into(), b"");
    let name = format!("n1.{CLUSTER}.consensus.invalid");
    let second = first
        .endpoint
        .connect_with(config, one.address, &name)
        .unwrap();
    let Err(second) = second.into_0rtt() else {
        panic!("early data with a kept session")
    };
    let second = second.await.unwrap();
    assert!(
        second.peer_identity().is_some(),
        "the second handshake was a full one"
    );
}

/// X8: whoever comes while many are at the door proves its address first, and is let in then.
#[tokio::test]
async fn newcomers_prove_their_address_when_many_are_at_the_door() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 2), 2, 1);
    settings.limits.handshakes_unvalidated = 0;
    let (one, two) = (node(&ca, 1, 1), start(settings));
    introduce(&[&one, &two]);
    two.connected_to(1).await;
    assert!(two.count(Counter::Retried) >= 1);
}

/// NW-03: a later run of node 2 is known; frames of the earlier one are dropped.
#[tokio::test]
async fn frames_of_an_earlier_run_are_dropped() {
    let ca = authority();
    let mut one = node(&ca, 1, 1);
    let identity = node_identity(&ca, 2);
    let address = one.address;
    let dial = || raw::dial(address, 1, raw::config(&identity, PEER, None));
    let (old, new) = (dial().await.unwrap(), dial().await.unwrap());
    let _old_hello = old.settle(&raw::hello(2, 4)).await.unwrap();
    let mut old_stream = old.control(&raw::beat(1)).await.unwrap();
    assert_eq!(one.hear().await.1, Message::Beat { number: 1 });

    let _new_hello = new.settle(&raw::hello(2, 5)).await.unwrap();
    let _new_stream = new.control(&raw::beat(2)).await.unwrap();
    assert_eq!(one.hear().await.1, Message::Beat { number: 2 });
    let _ = old_stream.write_all(&raw::beat(3)).await;
    old.connection.closed().await;

    // Nor does the earlier run get in again.
    let late = dial().await.unwrap();
    let (_send, _recv) = late.begin(&raw::hello(2, 4).frame()).await.unwrap();
    late.connection.closed().await;
    assert!(one.count(Counter::StaleBoot) >= 1);
    let _ = new.control(&raw::beat(4)).await.unwrap();
    assert!(one.inbox.try_recv().is_err(), "beat 3 was dropped");
}

/// A wiped node comes back under its old id.
#[tokio::test]
async fn another_disk_under_a_known_id_is_refused() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    let identity = node_identity(&ca, 2);
    let address = one.address;
    let dial = || raw::dial(address, 1, raw::config(&identity, PEER, None));
    let (old, wiped) = (dial().await.unwrap(), dial().await.unwrap());
    let _hello = old.settle(&raw::hello(2, 4)).await.unwrap();
    one.connected_to(2).await;
    let hello = Hello {
        disk: 77,
        ..raw::hello(2, 9)
    };
    let _streams = wiped.begin(&hello.frame()).await.unwrap();
    wiped.connection.closed().await;
    assert_eq!(one.count(Counter::OtherDisk), 1);
}

/// NW-10: node 2 has dialled node 1 before node 1 dials node 2. One connection stays, by rule, and
/// nothing is delivered twice.
#[tokio::test]
async fn of_two_connections_the_one_of_the_lower_id_stays() {
    let ca = authority();
    let (mut one, mut two) = (node(&ca, 1, 1), node(&ca, 2, 1));
    let identity = node_identity(&ca, 2);
    let address = one.address;
    let dial = || raw::dial(address, 1, raw::config(&identity, PEER, None));
    let higher = dial().await.unwrap();
    let _hello = higher.settle(&raw::hello(2, 1)).await.unwrap();
    one.connected_to(2).await;

    introduce(&[&one, &two]);
    two.connected_to(1).await;
    higher.connection.closed().await;
    assert_eq!(one.endpoint.connected(), [NodeId(2)]);

    // And once more, the other way round: it does not get past the one that stands.
    let again = dial().await.unwrap();
    let _streams = again.begin(&raw::hello(2, 1).frame()).await.unwrap();
    again.connection.closed().await;

    for number in 0..100 {
        two.say(1, Message::Beat { number });
        assert_eq!(one.hear().await.1, Message::Beat { number });
        one.say(2, Message::Beat { number });
        assert_eq!(two.hear().await.1, Message::Beat { number });
    }
    assert!(
        one.lost.try_recv().is_err(),
        "the connection that counts was never lost"
    );
}

/// NW-09.
#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let ca = authority();
    let now = SystemTime::now();
    let soon = now + Duration::from_secs(3);
    let identity = ca
        .issue_between(Role::Node(NodeId(2)), now - HOUR, soon)
        .unwrap();
    let (mut one, two) = (node(&ca, 1, 1), start(config(identity, 2, 1)));
    introduce(&[&one, &two]);
    one.connected_to(2).await;
    assert_eq!(
        tokio::time::timeout(PATIENCE, one.lost.recv()).await,
        Ok(Some(NodeId(2)))
    );
    assert_eq!(one.count(Counter::CertificateExpired), 1);
    assert!(SystemTime::now() >= soon - Duration::from_secs(1));
}

/// NW-08, X9: from one authority to another while messages flow.
#[tokio::test]
async fn rotation_of_the_authority_loses_no_connection_and_ends_the_old_certificates() {
    let (old, new) = (authority(), authority());
    let both = vec![old.certificate().clone(), new.certificate().clone()];
    let young = |identity, id| {
        let mut settings = config(identity, id, 1);
        settings.limits.connection_age = Duration::from_millis(400);
        start(settings)
    };
    let mut one = young(node_identity(&old, 1), 1);
    let mut two = young(node_identity(&old, 2), 2);
    introduce(&[&one, &two]);
    two.connected_to(1).await;
    for (authority, trust) in [
        (&old, both.clone()),
        (&new, both),
        (&new, vec![new.certificate().clone()]),
    ] {
        for (node, id) in [(&one, 1), (&two, 2)] {
            let identity = node_identity(authority, id).trusting(trust.clone());
            node.endpoint.reload(&identity).unwrap();
        }
        let settled = one.count(Counter::PeersConnected);
        let mut number = 0;
        while one.count(Counter::PeersConnected) < settled + 2 {
            number += 1;
            two.say(1, Message::Beat { number });
            assert_eq!(one.hear().await.1, Message::Beat { number });
        }
    }
    assert!(
        one.lost.try_recv().is_err(),
        "no connection was lost before its successor stood"
    );
    let identity = node_identity(&old, 3).trusting(vec![new.certificate().clone()]);
    let _knocked = knock(&one, &identity, PEER, &raw::hello(3, 1).frame()).await;
    until("the old certificate is refused", || {
        one.count(Counter::HandshakeFailed) == 1
    })
    .await;
}

/// Only operators change links.
#[tokio::test]
async fn a_client_cannot_change_links() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    one.endpoint.serve(cluster::Echo, String::new);
    let client = client(&ca, Role::Client, &[&one]);
    let error = client
        .link(NodeId(1), "isolate", PATIENCE)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("operator"), "{error}");
}
