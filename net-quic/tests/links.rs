//! Peers over bad links, slow readers, and versions apart.
#![allow(clippy::unwrap_used)]

mod cluster;

use bytes::Bytes;
use cluster::{GROUP, Message, Node, authority, config, introduce, node, start, until};
use consensus_core::{NodeId, runtime::Transport};
use net_quic::{ClusterCa, Counter, Endpoint, Inbound, LinkControl, Role};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

fn linked(ca: &ClusterCa, id: u16, link: &LinkControl) -> Node {
    let identity = ca.issue(Role::Node(NodeId(id))).unwrap();
    let mut settings = config(identity, id, 1);
    settings.link = Some(link.clone());
    settings.limits.idle_timeout = Duration::from_millis(600);
    settings.limits.keep_alive = Duration::from_millis(150);
    start(settings)
}

/// N1 to N4: the network's doing never reaches the protocol as loss, doubling or disorder within a
/// class.
#[tokio::test]
async fn loss_duplication_and_reordering_of_packets_leave_messages_whole() {
    let ca = authority();
    let link = LinkControl::of_spec("delay=1ms,jitter=1ms,loss=5%,dup=20%,reorder=10%", 3).unwrap();
    let (mut one, mut two) = (linked(&ca, 1, &link), node(&ca, 2, 1));
    introduce(&[&one, &two]);
    one.connected_to(2).await;
    two.connected_to(1).await;
    for number in 0..200 {
        let payload = Bytes::from(vec![number as u8; 1000]);
        one.peers
            .send(NodeId(2), Message::Entry { number, payload });
        if number % 10 == 9 {
            one.peers.flush();
        }
    }
    for expected in 0..200 {
        let (_, message) = two.hear().await;
        assert!(matches!(message, Message::Entry { number, .. } if number == expected));
    }
}

#[tokio::test]
async fn a_delay_is_at_least_what_was_asked_for() {
    let ca = authority();
    let link = LinkControl::new(3);
    let (mut one, mut two) = (linked(&ca, 1, &link), node(&ca, 2, 1));
    introduce(&[&one, &two]);
    one.connected_to(2).await;
    two.connected_to(1).await;
    link.command("delay 2 30ms").unwrap();
    for number in 0..3 {
        let begun = Instant::now();
        one.say(2, Message::Beat { number });
        two.hear().await;
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}

/// N6, N7: whoever is cut off is told so, both ways, and the link comes back by itself.
#[tokio::test]
async fn a_cut_is_noticed_and_a_healed_link_is_used_again() {
    let ca = authority();
    for command in ["cut 2", "cut 2 in", "cut 2 out", "isolate"] {
        let link = LinkControl::new(3);
        let (mut one, mut two) = (linked(&ca, 1, &link), node(&ca, 2, 1));
        introduce(&[&one, &two]);
        one.connected_to(2).await;
        two.connected_to(1).await;
        link.command(command).unwrap();
        assert_eq!(one.lost.recv().await, Some(NodeId(2)), "{command}");
        until("node 2 notices", || two.endpoint.connected().is_empty()).await;
        two.say(1, Message::Beat { number: 1 });
        assert!(two.count(Counter::DroppedUnreachable) >= 1);
        link.command("heal").unwrap();
        one.connected_to(2).await;
        two.connected_to(1).await;
        two.say(1, Message::Beat { number: 2 });
        assert_eq!(one.hear().await.1, Message::Beat { number: 2 }, "{command}");
    }
}

/// Takes beats, and the first entry for ever.
#[derive(Clone)]
struct Stuck(Arc<AtomicU64>);

impl Inbound<Message> for Stuck {
    async fn receive(&self, _: NodeId, message: Message, _bytes: usize) {
        match message {
            Message::Beat { .. } => drop(self.0.fetch_add(1, SeqCst)),
            _ => std::future::pending().await,
        }
    }
    fn unreachable(&self, _: NodeId) {}
}

/// N10, NW-06: what waits for a peer that does not read is bounded, the oldest goes first, and
/// heartbeats still pass.
#[tokio::test]
async fn a_peer_that_does_not_read_costs_bounded_memory_and_no_heartbeat() {
    let ca = authority();
    let settings = |id: u16| {
        let mut settings = config(ca.issue(Role::Node(NodeId(id))).unwrap(), id, 1);
        settings.limits.queue_bytes = 1 << 20;
        settings.limits.stream_receive_window = 1 << 20;
        settings
    };
    let mut one = start(settings(1));
    let stuck = Endpoint::bind(settings(2)).unwrap();
    let beats = Arc::new(AtomicU64::new(0));
    let _peers = stuck.peers(GROUP, Stuck(Arc::clone(&beats)));
    one.endpoint
        .set_members([(NodeId(2), stuck.local_address().unwrap())].into());
    one.connected_to(2).await;
    let payload = Bytes::from(vec![1; 64 << 10]);
    for number in 0..200 {
        one.say(
            2,
            Message::Entry {
                number,
                payload: payload.clone(),
            },
        );
        tokio::task::yield_now().await;
    }
    assert!(
        one.count(Counter::DroppedFull) > 100,
        "{:?}",
        one.endpoint.stats()
    );
    for number in 0..10 {
        one.say(2, Message::Beat { number });
    }
    until("the beats have passed", || beats.load(SeqCst) == 10).await;
}

/// P9: a kind that the peer's version does not know is not sent.
#[tokio::test]
async fn a_newer_node_sends_an_older_one_only_what_it_knows() {
    let ca = authority();
    let of_version = |id: u16, newest| {
        let mut settings = config(ca.issue(Role::Node(NodeId(id))).unwrap(), id, 1);
        settings.limits.versions = 1..=newest;
        start(settings)
    };
    let (mut new, mut newer) = (of_version(1, 2), of_version(2, 3));
    let mut old = of_version(3, 1);
    introduce(&[&new, &newer, &old]);
    new.connected_to(2).await;
    new.connected_to(3).await;
    new.say(3, Message::Novelty { number: 1 });
    new.say(3, Message::Beat { number: 2 });
    assert_eq!(old.hear().await.1, Message::Beat { number: 2 });
    assert_eq!(new.count(Counter::DroppedTooNew), 1);
    new.say(2, Message::Novelty { number: 3 });
    assert_eq!(newer.hear().await.1, Message::Novelty { number: 3 });
}

#[tokio::test]
async fn a_message_beyond_the_peers_limit_is_dropped_before_it_is_sent() {
    let ca = authority();
    let mut settings = config(ca.issue(Role::Node(NodeId(2))).unwrap(), 2, 1);
    settings.limits.frame_bytes_max = 1000;
    let (mut one, mut two) = (node(&ca, 1, 1), start(settings));
    introduce(&[&one, &two]);
    one.connected_to(2).await;
    one.say(
        2,
        Message::Entry {
            number: 1,
            payload: vec![0; 1001].into(),
        },
    );
    one.say(
        2,
        Message::Entry {
            number: 2,
            payload: vec![0; 900].into(),
        },
    );
    assert!(matches!(
        two.hear().await.1,
        Message::Entry { number: 2, .. }
    ));
    assert_eq!(one.count(Counter::DroppedOversize), 1);
}
