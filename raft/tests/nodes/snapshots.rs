//! Snapshots between real nodes.

use crate::group::{Group, Slots, until};
use net_quic::{LinkControl, Session, node::Settings};
use raft::Raft;
use std::time::Duration;

/// `count` writes of 4 KiB over eight slots; the newest value of each.
async fn write(session: &mut Session, count: u32) {
    for number in 0..count {
        let mut body = vec![number as u8; 4 << 10];
        body[0] = (number % 8) as u8;
        let done = session.call(body).await.expect("a majority is there");
        assert_eq!(done[..], [(number % 8) as u8]);
    }
}

fn same(one: &Slots, other: &Slots) -> bool {
    *one.0.lock().unwrap() == *other.0.lock().unwrap()
}

/// RF-8x on real nodes: what a follower missed is gone from every log, and it catches up all the same,
/// votes with the others afterwards, and starts again from what it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_catches_up_through_a_snapshot() {
    let group = Group::new("away");
    let slots: [Slots; 3] = Default::default();
    let one = group.start(1, &slots[0]).await.unwrap();
    let two = group.start(2, &slots[1]).await.unwrap();
    let mut session = group.session().await;
    write(&mut session, 100).await;
    until("logs are short", || {
        [1, 2].iter().all(|id| group.files(*id, ".wal").len() <= 4)
    })
    .await;
    until("only the newest snapshots stay", || {
        [1, 2]
            .iter()
            .all(|id| group.files(*id, ".snapshot").len() <= 2)
    })
    .await;

    let mut three = group.start(3, &slots[2]).await.unwrap();
    until("node 3 has what the others have", || {
        same(&slots[0], &slots[2])
    })
    .await;
    assert!(three.snapshots().received > 0, "{:?}", three.snapshots());
    assert!(one.snapshots().sent + two.snapshots().sent > 0);

    // One of the others goes: without node 3 nothing would be written any more.
    one.shutdown().await.unwrap();
    write(&mut session, 24).await;
    until("node 3 applies what follows", || same(&slots[1], &slots[2])).await;

    three.shutdown().await.unwrap();
    let again = Slots::default();
    three = group.start(3, &again).await.unwrap();
    until("node 3 restores what it was sent", || {
        same(&again, &slots[1])
    })
    .await;
    drop((two, three));
}

/// S15.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_snapshot_is_damaged_stops_and_names_the_file() {
    let group = Group::new("damaged");
    let slots: [Slots; 2] = Default::default();
    let one = group.start(1, &slots[0]).await.unwrap();
    let two = group.start(2, &slots[1]).await.unwrap();
    let mut session = group.session().await;
    write(&mut session, 60).await;
    until("node 2 has kept a snapshot", || two.snapshots().kept > 0).await;
    two.shutdown().await.unwrap();
    let files = group.files(2, ".snapshot");
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }

    let state = Slots::default();
    let mut two = group.start(2, &state).await.unwrap();
    let stopped = two.wait().await.expect_err("it must not serve").to_string();
    let named = files
        .iter()
        .any(|file| stopped.contains(&*file.to_string_lossy()));
    assert!(named && stopped.contains("damaged at byte"), "{stopped}");
    assert!(state.0.lock().unwrap().is_empty(), "nothing was restored");
    drop(one);
}

/// RF-85: a transfer that is cut off goes on where it was, and meanwhile nobody is elected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_cut_off_goes_on_where_it_was() {
    let slow = |settings: &mut Settings<Raft>| {
        settings.limits.snapshot_bytes_per_second = 512 << 10;
        settings.limits.idle_timeout = Duration::from_millis(600);
        settings.limits.keep_alive = Duration::from_millis(150);
        // A busy machine is no reason for an election.
        settings.protocol.election_timeout = Duration::from_secs(1)..=Duration::from_secs(2);
    };
    let group = Group::new("cut");
    let slots: [Slots; 3] = Default::default();
    let one = group.start_with(1, &slots[0], slow).await.unwrap();
    let two = group.start_with(2, &slots[1], slow).await.unwrap();
    let mut session = group.session().await;
    for slot in 0..64 {
        session.call(vec![slot; 16 << 10]).await.unwrap();
    }
    let sent = || one.snapshots().failed + two.snapshots().failed;
    let term = one.progress().leadership.epoch;

    let link = LinkControl::new(7);
    let three = group.start_with(3, &slots[2], |settings| {
        slow(settings);
        settings.link = Some(link.clone());
    });
    let three = three.await.unwrap();
    let arrived = || {
        three
            .snapshots()
            .receiving
            .map_or(0, |transfer| transfer.bytes)
    };
    until("a third has arrived", || arrived() > 300 << 10).await;
    link.command("isolate").unwrap();
    until("the sender gives up", || sent() > 0).await;
    let before = arrived();
    link.command("heal").unwrap();
    until("it has everything", || {
        let now = three.snapshots();
        // Never begun anew: that would be seen as less.
        assert!(now.received > 0 || arrived() >= before, "{now:?}");
        now.received > 0
    })
    .await;
    until("node 3 has what the others have", || {
        same(&slots[0], &slots[2])
    })
    .await;
    assert_eq!(one.progress().leadership.epoch, term, "nobody was elected");
}
