//! What a user of a real node is told about it, and when.

use crate::group::{Group, PATIENCE, Slots, until};
use consensus_core::{
    ClientId, NodeId, Sequence,
    contract::replicated_log::LogRole,
    service::{Answer, Refusal},
    storage::wal::{FileSystem, LogFile, RealFileSystem},
};
use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex},
};

/// Files whose syncs wait while the disk hangs.
#[derive(Clone, Default)]
struct HangingDisk(Arc<(Mutex<bool>, Condvar)>);

impl HangingDisk {
    fn hang(&self, hangs: bool) {
        *self.0.0.lock().unwrap() = hangs;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let hangs = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(hangs, |hangs| *hangs).unwrap());
    }
}

impl FileSystem for HangingDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFileSystem.list(dir)
    }
    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        RealFileSystem.read(file, limit)
    }
    fn create(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = RealFileSystem.create(file)?;
        Ok(Box::new(HangingFile(self.clone(), file)))
    }
    fn open(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = RealFileSystem.open(file)?;
        Ok(Box::new(HangingFile(self.clone(), file)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }
    fn remove(&self, file: &Path) -> io::Result<()> {
        RealFileSystem.remove(file)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(dir)
    }
    fn lock(&self, file: &Path) -> io::Result<Option<Box<dyn Send>>> {
        RealFileSystem.lock(file)
    }
}

struct HangingFile(HangingDisk, Box<dyn LogFile>);

impl LogFile for HangingFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.read_at(bytes, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.1.length()
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.1.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.wait();
        self.1.sync()
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.1.allocate(length)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.1.set_len(length)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_told_with_epochs_that_only_grow() {
    let group = Group::new("leadership");
    let slots: [Slots; 3] = Default::default();
    let mut nodes = Vec::new();
    for (id, slots) in (1..).zip(&slots) {
        nodes.push(group.start(id, slots).await.unwrap());
    }
    let ready = nodes[0].wait_until_ready().await.expect("it runs");
    let first = ready.leadership.leader.expect("ready means led");
    assert_eq!(ready.epoch, ready.leadership.epoch);

    // Somebody who is told everything from before the leader goes.
    let place = nodes.iter().position(|node| node.id() != first).unwrap();
    let mut told = nodes[place].leaderships();
    let mut before = told.next().await.expect("it runs");
    let place = nodes.iter().position(|node| node.id() == first).unwrap();
    nodes.remove(place).shutdown().await.unwrap();
    loop {
        let next = tokio::time::timeout(PATIENCE, told.next()).await;
        let next = next.expect("an election in time").expect("it runs");
        assert!(next.epoch >= before.epoch, "{next:?} after {before:?}");
        before = next;
        if next.leader.is_some_and(|leader| leader != first) {
            break;
        }
    }
    assert!(before.epoch > ready.leadership.epoch);
    let now = nodes[0].wait_until_ready().await.expect("it runs");
    assert!(now.epoch >= before.epoch);

    drop(nodes);
    let ended = async { while told.next().await.is_some() {} };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    assert!(ended.is_ok(), "listeners hear of the end");
}

/// What a library must never do: make its status wait behind an fsync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_hangs_says_so() {
    let group = Group::new("hanging");
    let slots: [Slots; 3] = Default::default();
    let disk = HangingDisk::default();
    let one = group.start(1, &slots[0]).await.unwrap();
    let two = group.start(2, &slots[1]).await.unwrap();
    let three = group.start_with(3, &slots[2], |settings| {
        settings.files = Arc::new(disk.clone());
    });
    let three = three.await.unwrap();
    let mut session = group.session().await;
    session.call("before").await.unwrap();
    three.wait_until_ready().await.expect("it runs");

    disk.hang(true);
    // The others are a majority, and the node hears from them.
    for number in 0..10u8 {
        session.call(vec![number; 100]).await.unwrap();
    }
    let client = group.site.client().unwrap();
    until("the status shows what waits", || {
        let status = three.status();
        status.last > status.durable
    })
    .await;
    let text = client.inspect(NodeId(3), PATIENCE).await.unwrap();
    for word in [
        "\"role\":\"",
        "\"commit\":",
        "\"applied\":",
        "\"epoch\":",
        "\"round_trips_us\":{\"1\":",
        "\"sync_ns\":",
        "\"disk_backlog\":",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    disk.hang(false);
    until("it goes on", || {
        let status = three.status();
        status.last == status.durable
    })
    .await;

    let leader = [&one, &two, &three].into_iter().find_map(|node| {
        let view = node.status().log?;
        (view.role == LogRole::Leader).then_some(view)
    });
    let view = leader.expect("somebody leads");
    assert_eq!(view.peers.len(), 2, "{view:?}");
    assert!(view.commit <= view.last && view.base <= view.commit);
}

/// A leader whose disk hangs leaves leadership to others, who go on, and follows them when its disk answers
/// again. That a mere spike changes nothing is told by `slow_disk_keeps_leadership`, whose clock is not
/// the wall's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_gives_way() {
    let group = Group::new("leader-hangs");
    let slots: [Slots; 3] = Default::default();
    let disks: [HangingDisk; 3] = Default::default();
    let mut nodes = Vec::new();
    for (id, (slots, disk)) in (1..).zip(slots.iter().zip(&disks)) {
        let files = Arc::new(disk.clone());
        let node = group.start_with(id, slots, |settings| settings.files = files);
        nodes.push(node.await.unwrap());
    }
    let mut session = group.session().await;
    session.call("before").await.unwrap();
    let ready = nodes[0].wait_until_ready().await.expect("it runs");
    let first = ready.leadership.leader.expect("ready means led");
    let hung = nodes.iter().position(|node| node.id() == first).unwrap();
    disks[hung].hang(true);
    // Something must be written for a hung disk to show.
    let written = session.call(vec![b'w'; 100]).await;
    assert!(written.is_ok(), "{written:?}");
    let leads = |place: usize| {
        let view = nodes[place].status().log.expect("a log");
        view.role == LogRole::Leader
    };
    until("another leads", || {
        !leads(hung) && (0..3).any(|place| place != hung && leads(place))
    })
    .await;
    for number in 0..10_u8 {
        session.call(vec![number; 100]).await.unwrap();
    }
    assert!(!leads(hung), "it does not want it back");
    disks[hung].hang(false);
    until("it has what the others have", || {
        let state = |place: usize| slots[place].0.lock().unwrap().clone();
        state(hung) == state((hung + 1) % 3)
    })
    .await;
    drop(disks);
}

/// Back-pressure is an answer that can be waited on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_refused_and_has_room_again() {
    let group = Group::new("busy");
    let slots: [Slots; 2] = Default::default();
    let mut nodes = Vec::new();
    for (id, slots) in (1..).zip(&slots) {
        let node = group.start_with(id, slots, |settings| settings.runtime.calls_queued = 2);
        nodes.push(node.await.unwrap());
    }
    let ready = nodes[0].wait_until_ready().await.expect("it runs");
    let leader = nodes
        .iter()
        .find(|node| Some(node.id()) == ready.leadership.leader)
        .expect("one of two");
    let handle = leader.handle();
    let client = ClientId(7);
    let opened = handle.call(client, Sequence(0), bytes::Bytes::new()).await;
    assert!(matches!(opened, Answer::Done(_)), "{opened:?}");
    // At once, from one task: the service cannot empty the queue as fast.
    let calls: Vec<_> = (1..=2000u64)
        .map(|number| handle.call(client, Sequence(number), bytes::Bytes::from_static(b"x")))
        .collect();
    let mut refused = 0;
    for call in calls {
        match call.await {
            Answer::Refused(Refusal::Busy) => refused += 1,
            Answer::Done(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "two places took two thousand calls");
    handle.room().await;
    let done = handle.call(client, Sequence(2001), bytes::Bytes::from_static(b"y"));
    assert!(matches!(done.await, Answer::Done(_)));
}
