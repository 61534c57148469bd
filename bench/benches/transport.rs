//! The floor under every real-node figure: what two endpoints with mutual TLS cost, on loopback.
//!
//! | line | one iteration |
//! |---|---|
//! | `raw/echo` | 64 bytes to a bare UDP socket on another thread, and back |
//! | `quic/echo` | the same as a client's call: encrypted, framed, acknowledged, answered by a gateway |
//! | `quic/stream_throughput` | 16 MiB of messages to a peer, in batches of 64 KiB |

use bytes::Bytes;
use consensus_core::{
    Boot, ClientId, ClusterId, DiskId, GroupId, NodeId, Sequence, codec, runtime::Transport,
    service::Answer,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net_quic::{
    Client, ClusterCa, Endpoint, EndpointConfig, Gateway, Inbound, Limits, Peers, Role,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    runtime::{Builder, Runtime},
    sync::{Mutex, Notify},
};

mod settings;

const CLUSTER: ClusterId = ClusterId(1);
const GROUP: GroupId = GroupId(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one round trip, each way.
const ECHO: usize = 64;
/// Bytes of one message of a stream: a batch of commands.
const CHUNK: usize = 64 << 10;
/// Messages in one iteration: enough to fill every window.
const CHUNKS: u64 = 256;

#[derive(Clone)]
enum Message {
    Entry { payload: Bytes },
}

codec! {
    Message version 1 {
        1 since 1 Log => Entry { payload },
    }
}

/// Counts what arrives.
#[derive(Clone, Default)]
struct Counting {
    arrived: Arc<AtomicU64>,
    progress: Arc<Notify>,
}

impl Inbound<Message> for Counting {
    async fn receive(&self, _: NodeId, _: Message, _: usize) {
        if self.arrived.fetch_add(1, SeqCst) % CHUNKS == CHUNKS - 1 {
            self.progress.notify_one();
        }
    }
    fn unreachable(&self, _: NodeId) {}
}

struct Echo;

impl Gateway for Echo {
    async fn call(&self, _: ClientId, _: Sequence, body: Bytes) -> Answer {
        Answer::Done(body)
    }
}

type Run<'a> = Pin<Box<dyn Future<Output = Duration> + Send + 'a>>;

struct Pair {
    /// Kept for their tasks.
    _endpoints: [Endpoint; 2],
    peers: Peers<Message>,
    arrived: Counting,
    client: Client,
}

fn endpoint(ca: &ClusterCa, node: NodeId) -> Endpoint {
    Endpoint::bind(EndpointConfig {
        node,
        boot: Boot(1),
        disk: DiskId(node.0.into()),
        cluster: CLUSTER,
        address: ([127, 0, 0, 1], 0).into(),
        identity: ca.issue(Role::Node(node)).expect("randomness"),
        members: BTreeMap::new(),
        limits: Limits::default(),
        link: None,
    })
    .expect("a free port")
}

/// The dialled endpoint runs on `there`, everything else where this is called.
async fn pair(there: &Runtime) -> Pair {
    let ca = ClusterCa::generate(CLUSTER).expect("randomness");
    let dialled = {
        let _there = there.enter();
        endpoint(&ca, NodeId(2))
    };
    let endpoints = [endpoint(&ca, NodeId(1)), dialled];
    let address = |at: usize| endpoints[at].local_address().expect("bound");
    let members: BTreeMap<NodeId, SocketAddr> =
        [(NodeId(1), address(0)), (NodeId(2), address(1))].into();
    let arrived = Counting::default();
    let peers = endpoints[0].peers(GROUP, Counting::default());
    let _answers: Peers<Message> = endpoints[1].peers(GROUP, arrived.clone());
    endpoints[1].serve(Echo, String::new);
    for endpoint in &endpoints {
        endpoint.set_members(members.clone());
    }
    while endpoints
        .iter()
        .any(|endpoint| endpoint.connected().is_empty())
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let identity = ca.issue(Role::Client).expect("randomness");
    let client = Client::connect(members, &identity, Limits::default(), None).expect("a port");
    Pair {
        _endpoints: endpoints,
        peers,
        arrived,
        client,
    }
}

impl Pair {
    async fn echo(&self, rounds: u64) -> Duration {
        let body = Bytes::from(vec![7; ECHO]);
        let begun = Instant::now();
        for round in 0..rounds {
            let call = self.client.call_at(
                NodeId(2),
                ClientId(1),
                Sequence(round),
                body.clone(),
                PATIENCE,
            );
            assert!(matches!(call.await, Ok(Answer::Done(echoed)) if echoed == body));
        }
        begun.elapsed()
    }

    async fn stream(&mut self, rounds: u64) -> Duration {
        let payload = Bytes::from(vec![7; CHUNK]);
        let begun = Instant::now();
        for _ in 0..rounds {
            for _ in 0..CHUNKS {
                let payload = payload.clone();
                self.peers.send(NodeId(2), Message::Entry { payload });
                self.peers.flush();
            }
            // The queue is as large as one iteration: nothing is dropped, or this would never end.
            self.arrived.progress.notified().await;
        }
        begun.elapsed()
    }
}

/// Two bare sockets, the second of which sends back what it gets.
async fn bare(there: &Runtime) -> UdpSocket {
    let local: SocketAddr = ([127, 0, 0, 1], 0).into();
    let echo = {
        let _there = there.enter();
        let socket = std::net::UdpSocket::bind(local).expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        UdpSocket::from_std(socket).expect("a socket")
    };
    let socket = UdpSocket::bind(local).await.expect("a free port");
    let to = echo.local_addr().expect("bound");
    socket.connect(to).await.expect("loopback");
    there.spawn(async move {
        let mut packet = [0; 2 * ECHO];
        while let Ok((length, from)) = echo.recv_from(&mut packet).await {
            let _ = echo.send_to(&packet[..length], from).await;
        }
    });
    socket
}

async fn bare_echo(socket: &UdpSocket, rounds: u64) -> Duration {
    let mut packet = [7; ECHO];
    let begun = Instant::now();
    for _ in 0..rounds {
        socket.send(&packet).await.expect("loopback");
        let length = socket.recv(&mut packet).await.expect("loopback");
        assert_eq!(length, ECHO);
    }
    begun.elapsed()
}

/// One thread, as a node has one for its network; it also runs while nobody waits for it.
fn thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("a thread")
}

fn transport(c: &mut Criterion) {
    let (here, there) = (thread(), thread());
    // What is measured runs on the thread of its endpoint, not on Criterion's.
    let handle = here.handle().clone();
    let there = Arc::new(there);
    let made = Arc::clone(&there);
    let on_thread = handle.spawn(async move { pair(&made).await });
    let pair = Arc::new(Mutex::new(handle.block_on(on_thread).expect("a pair")));
    let run = |rounds, what: fn(&mut Pair, u64) -> Run<'_>| {
        let pair = Arc::clone(&pair);
        let task = handle.spawn(async move { what(&mut *pair.lock().await, rounds).await });
        handle.block_on(task).expect("an answer")
    };
    let made = Arc::clone(&there);
    let on_thread = handle.spawn(async move { Arc::new(bare(&made).await) });
    let socket = handle.block_on(on_thread).expect("two sockets");
    c.bench_function("raw/echo", |b| {
        b.iter_custom(|rounds| {
            let socket = Arc::clone(&socket);
            let task = handle.spawn(async move { bare_echo(&socket, rounds).await });
            handle.block_on(task).expect("an answer")
        });
    });
    let mut group = c.benchmark_group("quic");
    group.throughput(Throughput::Elements(1));
    group.bench_function("echo", |b| {
        b.iter_custom(|rounds| run(rounds, |pair, rounds| Box::pin(pair.echo(rounds))));
    });
    group.throughput(Throughput::Bytes(CHUNK as u64 * CHUNKS));
    group.bench_function("stream_throughput", |b| {
        b.iter_custom(|rounds| run(rounds, |pair, rounds| Box::pin(pair.stream(rounds))));
    });
    group.finish();
    drop(pair);
}

criterion_group! { name = benches; config = settings::wall(); targets = transport }
criterion_main!(benches);
