//! What idle connections cost a node: memory for each, and what a client that works notices.
//!
//! ```text
//! cargo run --release -p net-quic --example idle -- 10000
//! ```
//!
//! A second process opens the connections, so that the memory is the node's alone.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consensus_core::{Boot, ClientId, ClusterId, DiskId, NodeId, Sequence, service::Answer};
use net_quic::{
    Client, ClusterCa, Counter, Endpoint, EndpointConfig, Gateway, Limits, Role,
    hostile::{self, CLIENT, Hello},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

const CLUSTER: ClusterId = ClusterId(0x1d1e);
const AT_ONCE: usize = 16;
const CALLS: u64 = 2000;

struct Echo;

impl Gateway for Echo {
    async fn call(&self, _: ClientId, _: Sequence, body: Bytes) -> Answer {
        Answer::Done(body)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [count] => node(count.parse().expect("a number")).await,
        [count, address, folder] => {
            strangers(
                count.parse().expect("a number"),
                address.parse().expect("an address"),
                Path::new(folder),
            )
            .await;
        }
        _ => eprintln!("usage: idle COUNT"),
    }
}

async fn node(count: u64) {
    let folder = std::env::temp_dir().join(format!("idle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = ClusterCa::generate(CLUSTER).unwrap();
    ca.save(&folder).unwrap();
    let limits = Limits {
        clients: usize::MAX / 2,
        handshakes: 4 * AT_ONCE,
        handshakes_unvalidated: 4 * AT_ONCE,
        ..Limits::default()
    };
    let endpoint = Endpoint::bind(EndpointConfig {
        node: NodeId(1),
        boot: Boot(1),
        disk: DiskId(1),
        cluster: CLUSTER,
        address: ([127, 0, 0, 1], 0).into(),
        identity: ca.issue(Role::Node(NodeId(1))).unwrap(),
        members: BTreeMap::new(),
        limits,
        link: None,
    })
    .unwrap();
    endpoint.serve(Echo, String::new);
    let address = endpoint.local_address().unwrap();
    let worker = Client::connect(
        [(NodeId(1), address)].into(),
        &ca.issue(Role::Client).unwrap(),
        Limits::default(),
        None,
    )
    .unwrap();
    println!("alone        {}", calls(&worker, 0).await);
    let before = resident();

    let mut dialer = Command::new(std::env::current_exe().unwrap())
        .args([count.to_string(), address.to_string()])
        .arg(&folder)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let stats = endpoint.stats();
    let mut last = (0, Instant::now());
    let connected = loop {
        let now = stats.count(Counter::ClientsConnected) - 1;
        if now > last.0 {
            last = (now, Instant::now());
        }
        if now >= count || last.1.elapsed() > Duration::from_secs(10) {
            break now;
        }
        sleep(Duration::from_millis(50)).await;
    };
    println!(
        "{connected} of {count} idle connections after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    // Let what handshakes have used settle.
    sleep(Duration::from_secs(2)).await;
    let after = resident();
    println!(
        "memory       {} KiB before, {} KiB with them: {:.1} KiB each",
        before >> 10,
        after >> 10,
        (after.saturating_sub(before)) as f64 / 1024.0 / connected.max(1) as f64
    );
    println!("beside them  {}", calls(&worker, CALLS).await);
    dialer.kill().unwrap();
    dialer.wait().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// One call after another, in microseconds.
async fn calls(worker: &Client, first: u64) -> String {
    let mut took = Vec::new();
    for number in first..first + CALLS {
        let begun = Instant::now();
        let body = Bytes::from_static(b"hello");
        let patience = Duration::from_secs(10);
        let called = worker.call(ClientId(1), Sequence(number), body, patience);
        called.await.unwrap();
        took.push(begun.elapsed().as_micros());
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    format!(
        "{CALLS} calls, p50 {} us, p99 {} us, longest {} us",
        at(50),
        at(99),
        at(100)
    )
}

/// The second process: connects, says hello, and then nothing.
async fn strangers(count: usize, address: SocketAddr, folder: &Path) {
    let ca = ClusterCa::load(folder).unwrap();
    let identity = ca.issue(Role::Client).unwrap();
    let config = hostile::config(&identity, true, CLIENT, None).unwrap();
    let at_once = std::sync::Arc::new(Semaphore::new(AT_ONCE));
    let mut kept = JoinSet::new();
    // Some sockets, as some machines would have.
    let sockets: Vec<_> = (0..16).map(|_| hostile::socket().unwrap()).collect();
    for number in 0..count {
        let socket = sockets[number % sockets.len()].clone();
        let (config, at_once) = (config.clone(), at_once.clone());
        kept.spawn(async move {
            let turn = at_once.acquire_owned().await.unwrap();
            let dialled = hostile::dial(socket, address, (CLUSTER, NodeId(1)), config).await;
            let Ok(dialled) = dialled else { return };
            let streams = dialled.settle(&Hello::of(CLUSTER, 0, 0)).await;
            drop(turn);
            dialled.connection.closed().await;
            drop(streams);
        });
    }
    kept.join_all().await;
}
