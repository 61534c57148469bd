//! openraft: three nodes of one process that call each other's handles, logs in vectors, state machines that
//! count. Nothing is serialized and nothing purged. Its own benchmark's choices where it makes any: one-shot
//! responders, inline batches, nodes without addresses; leaders named by their term alone, which is faster
//! here than its default.

use crate::{PAYLOAD, in_process::Clients};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use openraft::{
    Config, EntryPayload, OptionalSend, Raft, RaftLogReader, RaftSnapshotBuilder, RaftTypeConfig,
    SnapshotPolicy, StoredMembership,
    alias::{
        DefaultEntryOf, EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
    },
    base::{BoxFuture, BoxStream},
    entry::RaftEntry as _,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    impls,
    network::{RPCOption, RaftNetworkFactory, RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
        VoteResponse,
    },
    storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine},
};
use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// An election and a first entry take far less.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Which threads nodes and clients have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Two workers for all.
    Shared,
    /// One thread for all.
    Single,
    /// One worker for the nodes, one for the clients.
    Split,
}

#[derive(Clone, Debug)]
struct Command(Bytes);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, ()>;
    type Entry = DefaultEntryOf<Self>;
    type Responder<T>
        = impls::OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type ErrorSource = impls::BoxedErrorSource;
}

type Entry = EntryOf<Types>;
type LogId = LogIdOf<Types>;
type Node = Raft<Types, Counter>;

/// The entry of index i is the i-th: the first, of index 0, is the membership.
#[derive(Default)]
struct Kept {
    entries: Vec<Entry>,
    vote: Option<VoteOf<Types>>,
}

#[derive(Clone, Default)]
struct Log(Arc<RwLock<Kept>>);

impl Log {
    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn within(&self, range: &impl RangeBounds<u64>) -> Vec<Entry> {
        let kept = self.kept();
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let end = end.min(kept.entries.len() as u64);
        kept.entries[first.min(end) as usize..end as usize].to_vec()
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        Ok(self.within(&range))
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        stream::iter(self.within(&range).into_iter().map(Ok))
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.kept().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_log_id = self.kept().entries.last().map(|entry| entry.log_id());
        Ok(LogState {
            last_purged_log_id: None,
            last_log_id,
        })
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.keep().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
    {
        self.keep().entries.extend(entries);
        flushed.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let count = last.map_or(0, |last| last.index as usize + 1);
        self.keep().entries.truncate(count);
        Ok(())
    }

    async fn purge(&mut self, _: LogId) -> io::Result<()> {
        unreachable!("there are no snapshots")
    }
}

/// A state machine that counts.
#[derive(Default)]
struct Counter {
    applied: Option<LogId>,
    members: StoredMembershipOf<Types>,
    commands: u64,
}

impl RaftStateMachine<Types> for Counter {
    type SnapshotData = ();
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembershipOf<Types>)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(_) => self.commands += 1,
                EntryPayload::Membership(members) => {
                    self.members = StoredMembership::new(Some(entry.log_id), members);
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(&mut self, _: &SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(None)
    }
}

struct NoSnapshots;

impl RaftSnapshotBuilder<Types> for NoSnapshots {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Everybody's handle, once all have started.
#[derive(Clone, Default)]
struct Directory(Arc<OnceLock<Vec<Node>>>);

/// The way to one node.
struct Way {
    directory: Directory,
    to: u64,
}

type Replies<'s> = BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>;

fn lost(error: impl std::error::Error + 'static) -> RPCError<Types> {
    Unreachable::new(&error).into()
}

impl Way {
    fn node(&self) -> Result<&Node, Unreachable<Types>> {
        let nodes = self.directory.0.get();
        nodes
            .map(|nodes| &nodes[self.to as usize])
            .ok_or_else(|| Unreachable::from_string("it has not started yet"))
    }
}

impl RaftNetworkFactory<Types> for Directory {
    type Network = Way;

    async fn new_client(&mut self, to: u64, (): &()) -> Way {
        Way {
            directory: self.clone(),
            to,
        }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.node()?.append_entries(request).await.map_err(lost)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<Replies<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let replies = self.node()?.stream_append(requests);
            let replies: Replies<'s> = Box::pin(replies.map(|reply| reply.map_err(lost)));
            Ok(replies)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.node()?.vote(request).await.map_err(lost)
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Types>,
        _: SnapshotOf<Types, ()>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(Unreachable::from_string("there are no snapshots").into())
    }
}

/// Three nodes of which the first leads, and their clients.
pub(crate) struct OpenRaft {
    nodes: Vec<Node>,
    clients: usize,
    written: u64,
    servers: Runtime,
    /// The clients' own, where they have one.
    callers: Option<Runtime>,
}

fn workers(count: usize) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(count).enable_time().build();
    runtime.expect("threads can be had")
}

impl OpenRaft {
    /// Starts them, and waits until the first leads.
    pub(crate) fn start(layout: Layout, clients: usize) -> Self {
        let (servers, callers) = match layout {
            Layout::Shared => (workers(2), None),
            Layout::Split => (workers(1), Some(workers(1))),
            Layout::Single => {
                let runtime = Builder::new_current_thread().enable_time().build();
                (runtime.expect("this thread is there"), None)
            }
        };
        let nodes = servers.block_on(nodes());
        Self {
            nodes,
            clients,
            written: 0,
            servers,
            callers,
        }
    }
}

async fn nodes() -> Vec<Node> {
    let config = Config {
        heartbeat_interval: 1_000,
        election_timeout_min: 5_000,
        election_timeout_max: 10_000,
        max_payload_entries: 4_096,
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    };
    let config = Arc::new(config.validate().expect("it is valid"));
    let directory = Directory::default();
    let mut nodes = Vec::new();
    for id in 0..3 {
        let node = Node::new(
            id,
            Arc::clone(&config),
            directory.clone(),
            Log::default(),
            Counter::default(),
        );
        nodes.push(node.await.expect("it starts"));
    }
    assert!(directory.0.set(nodes.clone()).is_ok(), "it was empty");
    let first = nodes[0].initialize(BTreeSet::from([0, 1, 2]));
    first.await.expect("it is new");
    for node in &nodes {
        let node = node.wait(PATIENCE);
        let led = node.applied_index_at_least(Some(1), "the leader's first entry");
        led.await.expect("it is elected");
    }
    nodes
}

impl Clients for OpenRaft {
    fn run(&mut self, operations: u64) -> Duration {
        let leader = self.nodes[0].clone();
        let clients = self.clients;
        let callers = self.callers.as_ref().unwrap_or(&self.servers);
        let took = callers.block_on(async move {
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                let leader = leader.clone();
                tasks.spawn(async move {
                    for _ in 0..operations {
                        let command = Command(Bytes::from(vec![7; PAYLOAD]));
                        leader.client_write(command).await.expect("nothing fails");
                    }
                });
            }
            tasks.join_all().await;
            start.elapsed()
        });
        self.written += operations * clients as u64;
        took
    }
}

impl Drop for OpenRaft {
    /// Every node must have counted every command.
    fn drop(&mut self) {
        let written = self.written;
        self.servers.block_on(async {
            for node in &self.nodes {
                let waiting = node.wait(PATIENCE);
                let all = waiting.applied_index_at_least(Some(1 + written), "all");
                all.await.expect("they arrive");
                let counted = node.with_state_machine(|counter| Box::pin(async { counter.commands }));
                assert_eq!(counted.await.expect("it runs"), written);
            }
            for node in &self.nodes {
                node.shutdown().await.expect("it ends");
            }
        });
    }
}
