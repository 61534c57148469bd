//! What strangers cost a node, at full size: its memory, and what a client that works notices.
//!
//! ```text
//! cargo run --release -p net-quic --example hostile            # everything, about three minutes
//! cargo run --release -p net-quic --example hostile -- idle    # one of them
//! ```
//!
//! | attack | what comes |
//! |---|---|
//! | `full` | 10,000 connections of one client that say nothing, at a node as it is |
//! | `idle` | the same at a node that takes them all |
//! | `slow` | 1,000 connections that say a byte of a frame every half second |
//! | `garbage` | 1 GiB of packets of noise, a third of which look like QUIC |
//! | `noise` | a good hello, then noise for frames, again and again for ten seconds |
//! | `oversize` | a good hello, then a frame that claims 4 GiB, again and again for ten seconds |
//! | `flood` | handshakes from one address for ten seconds: without a certificate to show, and silent |
//!
//! A second process attacks, so that the memory is the node's alone; it knocks from 127.0.0.2. During each
//! attack a client calls without a pause, and another newcomer is let in. A call that fails is counted, and
//! ends the program with status 1 at the end.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consensus_core::{Boot, ClientId, ClusterId, DiskId, NodeId, Sequence, service::Answer};
use net_quic::{
    Client, ClusterCa, Counter, Endpoint, EndpointConfig, Gateway, Identity, Limits, Role,
    hostile::{self, CLIENT, Hello, Raw},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

const CLUSTER: ClusterId = ClusterId(0x1d1e);
const ATTACKS: [&str; 7] = [
    "full", "idle", "slow", "garbage", "noise", "oversize", "flood",
];
const CONNECTIONS: usize = 10_000;
const SLOW: usize = 1_000;
const GARBAGE: usize = 1 << 30;
/// Of those attacks that would never end.
const LASTING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);

struct Echo;

impl Gateway for Echo {
    async fn call(&self, _: ClientId, _: Sequence, body: Bytes) -> Answer {
        Answer::Done(body)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut failed = 0;
    match words[..] {
        [] => {
            for attack in ATTACKS {
                failed += node(attack).await;
            }
        }
        [attack] if ATTACKS.contains(&attack) => failed += node(attack).await,
        [attack, address, folder] => {
            let ca = ClusterCa::load(Path::new(folder)).unwrap();
            let address = address.parse().expect("an address");
            Stranger { address, ca }.attack(attack).await;
        }
        _ => {
            eprintln!("usage: hostile [{}]", ATTACKS.join("|"));
            std::process::exit(2);
        }
    }
    if failed > 0 {
        eprintln!("{failed} calls of honest clients failed");
        std::process::exit(1);
    }
}

/// The authority's files, which the second process reads.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The second process. It ends with this one.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many calls of honest clients failed.
async fn node(attack: &str) -> usize {
    let folder = Folder(std::env::temp_dir().join(format!("hostile-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).unwrap();
    let ca = ClusterCa::generate(CLUSTER).unwrap();
    ca.save(&folder.0).unwrap();
    let mut limits = Limits::default();
    if attack == "idle" {
        (limits.clients, limits.clients_of_one) = (2 * CONNECTIONS, 2 * CONNECTIONS);
    }
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
    let worker = client(&ca, address);
    let mut calls = Calls::default();
    while calls.took.len() < 2_000 {
        calls.one(&worker).await;
    }
    println!(
        "{attack}: alone    {}, {} MiB",
        calls.tell(),
        resident() >> 20
    );

    let mut attacker = Attacker(
        Command::new(std::env::current_exe().unwrap())
            .args([attack, &address.to_string()])
            .arg(&folder.0)
            .spawn()
            .unwrap(),
    );
    let (mut calls, mut most) = (Calls::default(), 0);
    let began = Instant::now();
    let mut newcomer = tokio::spawn(newcomer(ca, address));
    let mut joined = None;
    // Until the attack is over, or nothing more comes of it.
    while began.elapsed() < Duration::from_secs(90) && attacker.0.try_wait().unwrap().is_none() {
        calls.one(&worker).await;
        most = most.max(resident());
        if joined.is_none() && newcomer.is_finished() {
            joined = Some((&mut newcomer).await.unwrap());
        }
    }
    let joined = match joined {
        Some(joined) => joined,
        None => newcomer.await.unwrap(),
    };
    let served = match joined {
        Some(joined) => format!("was served after {} ms", joined.as_millis()),
        None => "was not served".to_owned(),
    };
    println!(
        "{attack}: attacked {}, at most {} MiB; another client {served}",
        calls.tell(),
        most >> 20,
    );
    let stats = endpoint.stats();
    let refused: Vec<String> = Counter::ALL
        .iter()
        .skip_while(|counter| **counter != Counter::StaleBoot)
        .chain([&Counter::ClientsConnected])
        .filter(|counter| stats.count(**counter) > 0)
        .map(|counter| format!("{} {}", counter.name(), stats.count(*counter)))
        .collect();
    println!("{attack}: counted  {}", refused.join(", "));
    drop(attacker);
    // Connections that are gone are forgotten after the idle timeout.
    sleep(Duration::from_secs(8)).await;
    println!("{attack}: after    {} MiB", resident() >> 20);
    calls.failed + usize::from(joined.is_none())
}

fn client(ca: &ClusterCa, address: SocketAddr) -> Client {
    let identity = ca.issue(Role::Client).unwrap();
    let nodes = [(NodeId(1), address)].into();
    Client::connect(nodes, &identity, Limits::default(), None).unwrap()
}

/// Comes in the middle of the attack; how long it took until it was answered, if it was.
async fn newcomer(ca: ClusterCa, address: SocketAddr) -> Option<Duration> {
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let mut calls = Calls::default();
    calls.one(&client(&ca, address)).await;
    (calls.failed == 0).then(|| began.elapsed())
}

/// One call after another.
#[derive(Default)]
struct Calls {
    took: Vec<Duration>,
    failed: usize,
}

impl Calls {
    async fn one(&mut self, worker: &Client) {
        let began = Instant::now();
        let (number, body) = (self.took.len() as u64, Bytes::from_static(b"hello"));
        let called = worker.call(ClientId(1), Sequence(number), body, PATIENCE);
        self.failed += usize::from(called.await.is_err());
        self.took.push(began.elapsed());
    }

    fn tell(&mut self) -> String {
        self.took.sort_unstable();
        let at = |percent: usize| self.took[(self.took.len() - 1) * percent / 100].as_micros();
        let (p50, p99, most) = (at(50), at(99), at(100));
        format!(
            "{} calls, {} failed, p50 {p50} us, p99 {p99} us, longest {most} us",
            self.took.len(),
            self.failed
        )
    }
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// The second process.
struct Stranger {
    address: SocketAddr,
    ca: ClusterCa,
}

impl Stranger {
    async fn attack(&self, attack: &str) {
        match attack {
            "full" | "idle" => self.stay(CONNECTIONS, Duration::from_secs(60), None).await,
            "slow" => self.stay(SLOW, LASTING * 2, Some(0)).await,
            "garbage" => self.packets(),
            "noise" => self.again(|turn| vec![turn as u8 | 1; 64 << 10]).await,
            "oversize" => self.again(|_| u32::MAX.to_le_bytes().to_vec()).await,
            _ => self.flood().await,
        }
    }

    fn config(&self, identity: &Identity, shows: bool) -> quinn::ClientConfig {
        hostile::config(identity, shows, CLIENT, None).unwrap()
    }

    async fn dial(&self, socket: &quinn::Endpoint, config: &quinn::ClientConfig) -> Option<Raw> {
        let to = (CLUSTER, NodeId(1));
        let dialled = hostile::dial(socket.clone(), self.address, to, config.clone());
        dialled.await.ok()
    }

    /// Connections that stay, for `lasting` after the last has come, and say a byte of a frame every
    /// half second, or nothing.
    async fn stay(&self, count: usize, lasting: Duration, says: Option<u8>) {
        let config = self.config(&self.ca.issue(Role::Client).unwrap(), true);
        let at_once = Arc::new(Semaphore::new(16));
        let mut kept = JoinSet::new();
        // Some sockets, as some machines would have.
        let sockets: Vec<_> = (0..16).map(|_| hostile::socket_at(2).unwrap()).collect();
        for number in 0..count {
            let turn = at_once.clone().acquire_owned().await.unwrap();
            let (socket, config) = (sockets[number % sockets.len()].clone(), config.clone());
            let address = self.address;
            kept.spawn(async move {
                let to = (CLUSTER, NodeId(1));
                let Ok(dialled) = hostile::dial(socket, address, to, config).await else {
                    return;
                };
                let settled = dialled.settle(&Hello::of(CLUSTER, 0, 0)).await;
                drop(turn);
                let Ok((mut stream, _answers)) = settled else {
                    return;
                };
                if let Some(byte) = says {
                    // A frame of 64 KiB, begun.
                    let mut wrote = stream.write_all(&(64_u32 << 10).to_le_bytes()).await;
                    while wrote.is_ok() {
                        sleep(Duration::from_millis(500)).await;
                        wrote = stream.write_all(&[byte]).await;
                    }
                }
                dialled.connection.closed().await;
            });
            while kept.try_join_next().is_some() {}
        }
        let _ = tokio::time::timeout(lasting, async { while kept.join_next().await.is_some() {} })
            .await;
    }

    /// Packets of noise, as fast as the system takes them.
    fn packets(&self) {
        let socket = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        let (mut packet, mut sent) = ([0; 1200], 0);
        while sent < GARBAGE {
            for word in packet.chunks_exact_mut(8) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                word.copy_from_slice(&noise.to_le_bytes());
            }
            if noise.is_multiple_of(3) {
                // The first bytes of a handshake, so that it is looked into.
                packet[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
            }
            if socket.send_to(&packet, self.address).is_ok() {
                sent += packet.len();
            }
        }
    }

    /// A good hello and something else after it, on 16 connections at a time.
    async fn again(&self, what: fn(usize) -> Vec<u8>) {
        let config = self.config(&self.ca.issue(Role::Client).unwrap(), true);
        let until = Instant::now() + LASTING;
        let one = async |lane: usize| {
            let socket = hostile::socket_at(2).unwrap();
            for turn in lane.. {
                if Instant::now() > until {
                    break;
                }
                let Some(dialled) = self.dial(&socket, &config).await else {
                    continue;
                };
                let settled = dialled.settle(&Hello::of(CLUSTER, 0, 0)).await;
                let Ok((mut stream, _answers)) = settled else {
                    continue;
                };
                let _ = stream.write_all(&what(turn)).await;
                dialled.connection.closed().await;
            }
        };
        futures_util::future::join_all((0..16).map(one)).await;
    }

    /// Handshakes, on 128 sockets at a time: half show no certificate, half fall silent after it.
    async fn flood(&self) {
        let identity = self.ca.issue(Role::Client).unwrap();
        let configs = [true, false].map(|shows| self.config(&identity, shows));
        let until = tokio::time::Instant::now() + LASTING;
        let one = async |lane: usize| {
            let socket = hostile::socket_at(2).unwrap();
            loop {
                if let Some(dialled) = self.dial(&socket, &configs[lane % 2]).await {
                    dialled.connection.closed().await;
                }
            }
        };
        let all = futures_util::future::join_all((0..128).map(one));
        let _ = tokio::time::timeout_at(until, all).await;
    }
}
