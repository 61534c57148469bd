//! A node dies without a word and comes back on its port.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Message, PATIENCE, authority, config, introduce, start};
use consensus_core::{NodeId, runtime::Transport};
use net_quic::Role;
use std::time::Duration;

/// The idle timeout is longer than any test, so only the reset that the new run sends, under the
/// node's own key, can tell its peer that the old connection is gone.
#[test]
fn a_peer_learns_of_a_restart_at_once() {
    let ca = authority();
    let settings = |id: u16, boot| {
        let identity = ca.issue(Role::Node(NodeId(id))).unwrap();
        let mut settings = config(identity, id, boot);
        settings.limits.idle_timeout = Duration::from_secs(3600);
        settings
    };
    let life = tokio::runtime::Runtime::new().unwrap();
    let second_life = tokio::runtime::Runtime::new().unwrap();
    let observer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    let mut one = observer.block_on(async { start(settings(1, 1)) });
    let first = settings(2, 1);
    let identity = first.identity.clone();
    let two = life.block_on(async { start(first) });
    introduce(&[&one, &two]);
    observer.block_on(one.connected_to(2));
    let address = two.address;

    // Its tasks are gone before it could say good-bye.
    life.shutdown_timeout(PATIENCE);
    drop(two);

    let mut next = config(identity, 2, 2);
    next.address = address;
    next.limits.idle_timeout = Duration::from_secs(3600);
    let mut two = second_life.block_on(async { start(next) });
    observer.block_on(async {
        // What a protocol does all the time: the next beat meets the new run.
        let noticed = tokio::time::timeout(PATIENCE, async {
            while one.lost.try_recv().is_err() {
                one.peers.send(NodeId(2), Message::Beat { number: 1 });
                one.peers.flush();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(
            noticed.await.is_ok(),
            "the old connection is still believed in"
        );
        one.connected_to(2).await;
        one.say(2, Message::Beat { number: 2 });
        assert_eq!(two.hear().await, (NodeId(1), Message::Beat { number: 2 }));
    });
}
