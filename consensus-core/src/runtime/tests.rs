//! The node on a toy protocol, in process, on tokio's paused clock.

use super::{
    Inbox, NodeError, NodeParts, Options, Placement, Reports, Running, Transport, cluster, inbox,
    start,
    toy::{Door, Message, Record, Toy},
};
use crate::{
    Boot, ClientId, GroupId, Lsn, Members, NodeId, Sequence, Wire,
    service::{Answer, Refusal},
    storage::{Append, Completion, Disk, DiskFailure, Recovered},
};
use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec, vec::Vec};
use bytes::Bytes;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinSet;

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn call(node: &Running<Toy>, text: &str) -> super::Reply {
    node.handle().call(ClientId(1), Sequence(1), body(text))
}

fn three(options: &Options) -> Vec<Running<Toy>> {
    cluster::<Toy>(3, &Door::default(), options).expect("starts")
}

fn apart() -> Options {
    Options {
        placement: Placement::Apart,
        ..Options::default()
    }
}

async fn every_call_of_many_clients_is_answered(options: Options) {
    let nodes = three(&options);
    let mut clients = JoinSet::new();
    for client in 0..20_u64 {
        let handle = nodes[client as usize % 3].handle().clone();
        clients.spawn(async move {
            for sequence in 1..=50 {
                let text = body(&format!("{client}/{sequence}"));
                let answer = handle
                    .call(ClientId(client.into()), Sequence(sequence), text.clone())
                    .await;
                assert_eq!(answer, Answer::Done(text));
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every answer is the right one");
    }
    let counts: Vec<_> = nodes.iter().map(Running::counts).collect();
    assert_eq!(counts.iter().map(|c| c.answers).sum::<u64>(), 1000);
    assert!(counts.iter().all(|c| c.calls_open == 0), "{counts:?}");
    for node in nodes {
        node.shutdown().await.expect("stops in order");
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_is_answered_with_the_service_on_the_pumps_task() {
    every_call_of_many_clients_is_answered(Options::default()).await;
}

#[tokio::test(start_paused = true)]
async fn every_call_is_answered_with_the_service_on_its_own_task() {
    every_call_of_many_clients_is_answered(apart()).await;
}

#[tokio::test(start_paused = true)]
async fn every_call_is_answered_when_a_batch_holds_one_input() {
    every_call_of_many_clients_is_answered(Options {
        batch: 1,
        ..Options::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_answered_on_several_threads() {
    every_call_of_many_clients_is_answered(Options::default()).await;
    every_call_of_many_clients_is_answered(apart()).await;
}

#[tokio::test(start_paused = true)]
async fn lost_messages_are_sent_again() {
    // An inbox of two messages a lane loses most of what fifty calls at once send.
    let nodes = three(&Options {
        inbox_messages: 2,
        ..Options::default()
    });
    let replies: Vec<_> = (0..50)
        .map(|i| call(&nodes[0], &format!("call {i}")))
        .collect();
    for reply in replies {
        assert!(matches!(reply.await, Answer::Done(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_answers_busy() {
    let nodes = three(&Options {
        calls_queued: 2,
        ..Options::default()
    });
    // Nothing runs before the first await.
    let (first, second, third) = (
        call(&nodes[0], "a"),
        call(&nodes[0], "b"),
        call(&nodes[0], "c"),
    );
    assert_eq!(third.await, Answer::Refused(Refusal::Busy));
    assert_eq!(first.await, Answer::Done(body("a")));
    assert_eq!(second.await, Answer::Done(body("b")));
    assert_eq!(nodes[0].counts().refused_busy, 1);
}

#[tokio::test(start_paused = true)]
async fn more_open_calls_than_allowed_answer_busy() {
    let nodes = three(&Options {
        calls_open: 1,
        ..Options::default()
    });
    let (first, second) = (call(&nodes[0], "a"), call(&nodes[0], "b"));
    assert_eq!(second.await, Answer::Refused(Refusal::Busy));
    assert_eq!(first.await, Answer::Done(body("a")));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reply_abandons_the_call() {
    for options in [Options::default(), apart()] {
        let nodes = three(&options);
        let reply = call(&nodes[0], "later");
        // Until the service has seen it.
        assert_eq!(call(&nodes[0], "after").await, Answer::Done(body("after")));
        assert_eq!(nodes[0].counts().calls_open, 1);
        drop(reply);
        assert_eq!(call(&nodes[0], "after").await, Answer::Done(body("after")));
        assert_eq!(nodes[0].counts().calls_open, 0);
        // A call dropped before the service has seen it never gets there.
        drop(call(&nodes[0], "panic"));
        assert_eq!(call(&nodes[0], "after").await, Answer::Done(body("after")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_woken_at_its_moment() {
    for options in [Options::default(), apart()] {
        let nodes = three(&options);
        let before = tokio::time::Instant::now();
        assert_eq!(call(&nodes[0], "later").await, Answer::Done(body("later")));
        let waited = before.elapsed();
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        assert!(waited < Duration::from_millis(1010), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_open_calls_and_then_says_unknown() {
    for options in [Options::default(), apart()] {
        let mut nodes = three(&options);
        for node in nodes.drain(1..) {
            node.shutdown().await.expect("stops in order");
        }
        let node = nodes.remove(0);
        let open = call(&node, "no majority is left");
        let handle = node.handle().clone();
        let stopped = tokio::spawn(node.shutdown());
        assert_eq!(open.await, Answer::Unknown);
        stopped.await.expect("no panic").expect("stops in order");
        let late = handle.call(ClientId(1), Sequence(2), body("late"));
        assert_eq!(late.await, Answer::Refused(Refusal::ShuttingDown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_stops_its_node_and_no_other() {
    for options in [Options::default(), apart()] {
        let mut nodes = three(&options);
        let panic = call(&nodes[0], "panic");
        assert_eq!(panic.await, Answer::Unknown);
        let error = nodes[0].wait().await.expect_err("must not go on");
        assert!(matches!(error, NodeError::Panicked { .. }), "{error}");
        let late = call(&nodes[0], "late").await;
        assert_eq!(late, Answer::Refused(Refusal::ShuttingDown));
        assert_eq!(call(&nodes[1], "on").await, Answer::Done(body("on")));
    }
}

#[expect(
    clippy::await_holding_lock,
    reason = "the service must block meanwhile"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_service_that_blocks_on_its_own_task_does_not_delay_agreement() {
    let door = Door::default();
    let mut nodes = cluster::<Toy>(3, &door, &apart()).expect("starts");
    // Two are left, so that the blocked one is needed for a majority.
    nodes.remove(2).shutdown().await.expect("stops in order");
    let closed = door.lock().unwrap_or_else(PoisonError::into_inner);
    let blocked = call(&nodes[0], "block");
    while nodes[0].counts().calls == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(call(&nodes[1], "on").await, Answer::Done(body("on")));
    drop(closed);
    assert_eq!(blocked.await, Answer::Done(body("block")));
}

/// A disk that syncs when the test says so.
#[derive(Clone, Default)]
struct Manual(Arc<Mutex<(Vec<Append>, usize)>>);

struct ManualDisk(Manual);

impl Manual {
    fn taken(&self) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.iter().map(Append::count).sum()
    }

    fn set_backlog(&self, bytes: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = bytes;
    }
}

impl Disk for ManualDisk {
    fn append(&mut self, append: Append) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push(append);
    }
    fn release(&mut self, _: GroupId, _: Lsn) {}
    fn backlog(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// What a node sends to whom.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<(NodeId, Message)>>>);

impl Sent {
    fn take(&self) -> Vec<(NodeId, Message)> {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport<Message> for Sent {
    fn send(&mut self, to: NodeId, message: Message) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push((to, message));
    }
    fn flush(&mut self) {}
}

struct Bench {
    node: Running<Toy>,
    disk: Manual,
    sent: Sent,
    completion: Box<dyn Completion>,
}

fn parts(recovered: Vec<Recovered>, options: Options) -> (NodeParts<Toy, Sent>, Manual, Sent) {
    let reports = Reports::new(GroupId(0));
    let (disk, sent) = (Manual::default(), Sent::default());
    let parts = NodeParts {
        node: NodeId(1),
        boot: Boot(1),
        members: Members::new([NodeId(1), NodeId(2), NodeId(3)]).expect("three"),
        protocol: Door::default(),
        inbox: inbox(&reports, &options),
        options,
        recovered,
        durable: Lsn::ZERO,
        disk: Box::new(ManualDisk(disk.clone())),
        reports,
        transport: sent.clone(),
    };
    (parts, disk, sent)
}

fn bench(options: Options) -> Bench {
    let (parts, disk, sent) = parts(Vec::new(), options);
    let completion = Box::new(parts.reports.completion());
    let node = start(parts).expect("starts");
    Bench {
        node,
        disk,
        sent,
        completion,
    }
}

/// Lets the node handle everything that has come.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

async fn receive(inbox: &Inbox<Message>, message: Message) {
    inbox
        .receive(NodeId(2), message, 10)
        .await
        .expect("the node runs");
}

#[tokio::test(start_paused = true)]
async fn a_held_message_leaves_when_its_record_is_on_disk() {
    let bench = bench(Options::default());
    receive(bench.node.inbox(), Message::Store { number: 7 }).await;
    settle().await;
    assert_eq!(bench.disk.taken(), 1);
    assert_eq!(bench.sent.take(), vec![], "nothing is on disk yet");
    bench.completion.durable(GroupId(9), Lsn(1));
    settle().await;
    assert_eq!(bench.sent.take(), vec![], "another group's report");
    bench.completion.durable(GroupId(0), Lsn(1));
    settle().await;
    let expected = (NodeId(2), Message::Stored { number: 7 });
    assert_eq!(bench.sent.take(), vec![expected]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_disk_stops_the_node_and_nothing_more_leaves() {
    let mut bench = bench(Options::default());
    receive(bench.node.inbox(), Message::Store { number: 7 }).await;
    let open = call(&bench.node, "open");
    settle().await;
    let failure = DiskFailure::Broken {
        operation: "fdatasync",
        file: "segment".into(),
        reason: "input/output error".into(),
    };
    bench.completion.failed(failure.clone());
    bench.completion.durable(GroupId(0), Lsn(2));
    let error = bench.node.wait().await.expect_err("must not go on");
    assert_eq!(error.to_string(), failure.to_string());
    assert_eq!(bench.sent.take(), vec![]);
    assert_eq!(open.await, Answer::Unknown);
    let late = bench
        .node
        .inbox()
        .receive(NodeId(2), Message::Stored { number: 1 }, 1);
    assert!(late.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_calls_until_there_is_room() {
    let bench = bench(Options::default());
    bench.completion.full(true);
    let refused = call(&bench.node, "a").await;
    assert_eq!(refused, Answer::Refused(Refusal::DiskFull));
    bench.completion.full(false);
    let reply = call(&bench.node, "a");
    settle().await;
    bench.completion.durable(GroupId(0), Lsn(1));
    settle().await;
    receive(
        bench.node.inbox(),
        Message::Stored {
            number: 1 << 48 | 1 << 32 | 1,
        },
    )
    .await;
    assert_eq!(reply.await, Answer::Done(body("a")));
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_holds_back_the_log_and_not_what_is_urgent() {
    let bench = bench(Options {
        disk_backlog: 100,
        ..Options::default()
    });
    let reply = call(&bench.node, "a");
    settle().await;
    bench.completion.durable(GroupId(0), Lsn(1));
    bench.disk.set_backlog(150);
    receive(bench.node.inbox(), Message::Store { number: 7 }).await;
    receive(
        bench.node.inbox(),
        Message::Stored {
            number: 1 << 48 | 1 << 32 | 1,
        },
    )
    .await;
    assert_eq!(
        reply.await,
        Answer::Done(body("a")),
        "control messages flow"
    );
    assert_eq!(bench.disk.taken(), 1, "log messages wait");
    // A report comes with progress.
    bench.disk.set_backlog(0);
    bench.completion.full(false);
    settle().await;
    assert_eq!(bench.disk.taken(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_while_the_inbox_is_full() {
    let bench = bench(Options {
        inbox_messages: 1,
        inbox_bytes: 10,
        ..Options::default()
    });
    let sender = bench.node.inbox().clone();
    receive(&sender, Message::Store { number: 1 }).await;
    let mut second = Box::pin(receive(&sender, Message::Store { number: 2 }));
    let waits = core::future::poll_fn(|context| {
        core::task::Poll::Ready(second.as_mut().poll(context).is_pending())
    });
    assert!(waits.await, "the pump has not run yet");
    second.await;
    settle().await;
    assert_eq!(bench.disk.taken(), 2);
}

#[tokio::test(start_paused = true)]
async fn status_is_read_while_the_disk_hangs() {
    let bench = bench(Options::default());
    for number in 0..5 {
        receive(bench.node.inbox(), Message::Store { number }).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = bench.node.status();
    assert_eq!(status.protocol, "5");
    assert_eq!((status.last, status.durable), (Lsn(5), Lsn::ZERO));
    assert_eq!(status.leader, Some(NodeId(1)));
}

fn recovered(lsn: u64, number: u64) -> Recovered {
    let mut bytes = Vec::new();
    Record::Stored { number }.encode(&mut bytes);
    Recovered {
        group: GroupId(0),
        lsn: Lsn(lsn),
        bytes: bytes.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_goes_on_after_its_last_record() {
    let (parts, disk, _) = parts(vec![recovered(4, 1), recovered(5, 2)], Options::default());
    let completion = parts.reports.completion();
    let node = start(parts).expect("starts");
    let reply = call(&node, "a");
    settle().await;
    {
        let state = disk.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(state.0[0].first, Lsn(6));
    }
    completion.durable(GroupId(0), Lsn(6));
    settle().await;
    receive(
        node.inbox(),
        Message::Stored {
            number: 1 << 48 | 1 << 32 | 1,
        },
    )
    .await;
    assert_eq!(reply.await, Answer::Done(body("a")));
}

#[tokio::test(start_paused = true)]
async fn a_log_with_a_gap_or_of_another_protocol_is_refused() {
    let (gap, ..) = parts(vec![recovered(4, 1), recovered(6, 2)], Options::default());
    let error = start(gap).map(drop).expect_err("a record is missing");
    assert!(error.to_string().starts_with("record 6 "), "{error}");
    let mut foreign = recovered(4, 1);
    foreign.bytes = body("not a record");
    let (foreign, ..) = parts(vec![foreign], Options::default());
    let error = start(foreign).map(drop).expect_err("not a record");
    assert!(error.to_string().starts_with("record 4 "), "{error}");
}
