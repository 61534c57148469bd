//! Puts to a running etcd, by closed-loop clients that share a few connections.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Not measured.
const WARM_UP: Duration = Duration::from_millis(700);
/// Clients on one connection at most, as with ours.
const CONNECTIONS: usize = 8;
/// Keys of one client.
const KEYS: u64 = 100;

/// Prints one line of JSON.
pub(crate) fn show(endpoint: &str, seconds: &str, bytes: &str, clients: &str) {
    let seconds: f64 = seconds.parse().expect("seconds");
    let measured = Duration::from_secs_f64(seconds);
    let (bytes, clients) = (bytes.parse().expect("bytes"), clients.parse().expect("clients"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let times = runtime
        .expect("threads")
        .block_on(load(endpoint, measured, bytes, clients));
    println!(
        "{{\"ops\":{:.1},\"p50_us\":{},\"p99_us\":{}}}",
        times.len() as f64 / seconds,
        times.value_at_quantile(0.5),
        times.value_at_quantile(0.99)
    );
}

async fn load(endpoint: &str, measured: Duration, bytes: usize, clients: usize) -> Histogram<u64> {
    let mut lines = Vec::new();
    for _ in 0..clients.min(CONNECTIONS) {
        let line = etcd_client::Client::connect([endpoint], None).await;
        lines.push(line.expect("etcd listens"));
    }
    let begin = Instant::now() + WARM_UP;
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let line = lines[number % lines.len()].clone();
        tasks.spawn(client(line, number, bytes, begin, begin + measured));
    }
    let mut all = empty();
    for times in tasks.join_all().await {
        all.add(times).expect("the same bounds");
    }
    all
}

async fn client(
    mut line: etcd_client::Client,
    number: usize,
    bytes: usize,
    begin: Instant,
    end: Instant,
) -> Histogram<u64> {
    let mut times = empty();
    let value = vec![b'v'; bytes];
    for sequence in 0u64.. {
        let start = Instant::now();
        if start >= end {
            break;
        }
        let key = format!("{number}/{}", sequence % KEYS);
        line.put(key, value.clone(), None).await.expect("a healthy etcd");
        if start >= begin {
            let micros = start.elapsed().as_micros() as u64;
            times.record(micros.max(1)).expect("it grows");
        }
    }
    times
}

fn empty() -> Histogram<u64> {
    let mut times = Histogram::new(3).expect("three digits");
    times.auto(true);
    times
}
