//! How a group fares while a node that has nothing catches up on a large state: latency of the others'
//! clients before, during and after, and every process's memory.
//!
//! ```text
//! cargo run --release --example catch_up -- 1024       # MiB of state
//! ```

use bytes::Bytes;
use consensus_core::{Index, NodeId, StateMachine};
use net_quic::{Client, Site};
use raft::Raft;
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Bytes of a value that fills the state.
const VALUE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients whose latency is taken, one call of 256 bytes at a time each.
const CLIENTS: u32 = 4;

/// Values by number. Freezing it shares them.
#[derive(Default)]
struct Values(BTreeMap<u32, Bytes>);

impl StateMachine for Values {
    fn apply(&mut self, _: Index, command: &[u8]) -> Bytes {
        if let Some((number, _)) = command.split_first_chunk() {
            let value = Bytes::copy_from_slice(command);
            self.0.insert(u32::from_le_bytes(*number), value);
        }
        Bytes::new()
    }

    type Snapshot = std::collections::btree_map::IntoValues<u32, Bytes>;

    fn snapshot(&self) -> Self::Snapshot {
        self.0.clone().into_values()
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        for chunk in chunks {
            let (number, _) = chunk.split_first_chunk().ok_or("a value without number")?;
            let number = u32::from_le_bytes(*number);
            self.0.insert(number, chunk);
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words[..] {
        [dir, addresses, node] => {
            let site = site(dir.as_ref(), &parse(addresses)?)?;
            let node = NodeId(node.parse()?);
            let mut node = site.start::<Raft, _>(node, Values::default()).await?;
            Ok(node.wait().await?)
        }
        [mebibytes] => drive(mebibytes.parse()?).await,
        _ => Err("usage: catch_up MEBIBYTES".into()),
    }
}

fn parse(addresses: &str) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let addresses: Result<_, _> = addresses.split(',').map(str::parse).collect();
    Ok(addresses?)
}

fn site(dir: &Path, addresses: &[SocketAddr]) -> Result<Site, Box<dyn Error>> {
    Ok(Site::open_or_create(dir, addresses)?)
}

/// The nodes' processes and their folder, gone when it is dropped.
struct Nodes {
    dir: PathBuf,
    addresses: String,
    children: Vec<Child>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Nodes {
    fn start(&mut self, node: usize) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(&self.dir).arg(&self.addresses);
        self.children.push(command.arg(node.to_string()).spawn()?);
        Ok(())
    }

    /// Memory that each node has had at most, in MiB.
    fn memory(&self) -> Vec<u64> {
        let peak = |child: &Child| {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let peaks = self.children.iter().map(peak);
        peaks.map(|kib| kib.unwrap_or(0) / 1024).collect()
    }
}

async fn drive(mebibytes: usize) -> Result<(), Box<dyn Error>> {
    let sockets: Result<Vec<_>, _> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0")).collect();
    let addresses: Result<Vec<_>, _> = sockets?.iter().map(UdpSocket::local_addr).collect();
    let addresses = addresses?;
    let dir = env::current_dir()?.join(format!("target/catch-up-{}", std::process::id()));
    let site = site(&dir, &addresses)?;
    let text: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let mut nodes = Nodes {
        dir,
        addresses: text.join(","),
        children: Vec::new(),
    };
    nodes.start(1)?;
    nodes.start(2)?;
    let client = site.client()?;
    let begun = Instant::now();
    fill(&client, (mebibytes << 20) / VALUE).await?;
    println!("filled with {mebibytes} MiB in {:.1?}", begun.elapsed());

    let load = Load::start(&client).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("before  {}", load.take());
    println!("memory of nodes 1, 2: {:?} MiB at most", nodes.memory());
    let begun = Instant::now();
    nodes.start(3)?;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(text) = client.inspect(NodeId(3), PATIENCE).await else {
            continue;
        };
        if text.contains("\"received\":1") {
            break;
        }
    }
    let took = begun.elapsed();
    println!("during  {}", load.take());
    println!("node 3 has the snapshot after {took:.1?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("after   {}", load.take());
    println!("memory of nodes 1, 2, 3: {:?} MiB at most", nodes.memory());
    let leader = client.inspect(NodeId(1), PATIENCE).await?;
    let term = leader
        .split("term: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    println!("term {} in the end", term.unwrap_or("unknown"));
    load.stop();
    Ok(())
}

async fn fill(client: &Client, count: usize) -> Result<(), Box<dyn Error>> {
    let mut tasks = Vec::new();
    for part in 0..8 {
        let mut session = client.session(PATIENCE).await?;
        tasks.push(tokio::spawn(async move {
            for number in (part..count).step_by(8) {
                let mut value = vec![number as u8; VALUE];
                value[..4].copy_from_slice(&(number as u32).to_le_bytes());
                session
                    .call(value)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Clients that write all the time, and how long they waited.
struct Load {
    waited: Arc<Mutex<Vec<Duration>>>,
    stopping: Arc<AtomicBool>,
}

impl Load {
    async fn start(client: &Client) -> Result<Self, Box<dyn Error>> {
        let load = Self {
            waited: Arc::default(),
            stopping: Arc::default(),
        };
        for number in 0..CLIENTS {
            let mut session = client.session(PATIENCE).await?;
            let (waited, stopping) = (Arc::clone(&load.waited), Arc::clone(&load.stopping));
            tokio::spawn(async move {
                let mut body = vec![0; 256];
                body[..4].copy_from_slice(&(u32::MAX - number).to_le_bytes());
                while !stopping.load(Relaxed) {
                    let begun = Instant::now();
                    if let Err(error) = session.call(body.clone()).await {
                        eprintln!("a client's call: {error}");
                    }
                    waited.lock().expect("no panic").push(begun.elapsed());
                }
            });
        }
        Ok(load)
    }

    /// What was waited since the last time.
    fn take(&self) -> String {
        let mut waited = std::mem::take(&mut *self.waited.lock().expect("no panic"));
        waited.sort_unstable();
        let at = |share: usize| waited.get((waited.len() * share / 1000).min(waited.len() - 1));
        let [p50, p99, p999] = [500, 990, 999].map(|share| at(share).copied().unwrap_or_default());
        format!(
            "{} calls, p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, longest {:.1?}",
            waited.len(),
            waited.last().copied().unwrap_or_default()
        )
    }

    fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }
}
