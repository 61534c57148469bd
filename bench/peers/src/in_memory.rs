//! Processor time a command in memory: three nodes on one thread, from propose until all three have it
//! decided.

#[cfg(feature = "protoc")]
use crate::raft_rs_peer;
use crate::{best, omnipaxos_peer, ours, table};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const WINDOWS: [usize; 4] = [1, 16, 256, 4096];
/// Turns that each takes in each window; the median counts.
const TURNS: usize = 7;
/// How much processor time a turn takes at least.
const TURN: Duration = Duration::from_millis(150);

/// What this thread has had of a processor: others on the machine do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Three nodes that can decide commands.
pub(crate) trait Cluster {
    /// Proposes `window` commands and returns when all three nodes have decided them.
    fn decide(&mut self, window: usize);
}

type Start = fn() -> Box<dyn Cluster>;

/// Ours last; the best of the others is what they are compared with.
const CONTENDERS: &[(&str, bool, Start)] = &[
    #[cfg(feature = "protoc")]
    ("raft-rs 0.7.0", false, raft_rs_peer::start),
    ("omnipaxos 0.2.4", false, omnipaxos_peer::start),
    ("multipaxos", true, ours::multipaxos),
    ("raft", true, ours::raft),
];

/// Nanoseconds a command, in one turn of a fresh cluster.
fn turn(start: Start, window: usize) -> f64 {
    let mut cluster = start();
    // Memory that was never touched is dear.
    cluster.decide(window);
    let (begun, mut commands) = (processor_time(), 0);
    while processor_time() - begun < TURN {
        for _ in 0..(256 / window).max(1) {
            cluster.decide(window);
            commands += window;
        }
    }
    (processor_time() - begun).as_nanos() as f64 / commands as f64
}

/// The median of everybody's turns, taken in turns.
fn medians(window: usize) -> Vec<f64> {
    let mut times = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..TURNS {
        for (contender, times) in CONTENDERS.iter().zip(&mut times) {
            times.push(turn(contender.2, window));
        }
    }
    for times in &mut times {
        times.sort_unstable_by(f64::total_cmp);
    }
    times.iter().map(|times| times[TURNS / 2]).collect()
}

/// The table.
pub(crate) fn show() {
    let mut table = table("CPU a command, in memory", WINDOWS.map(|window| format!("window {window}")));
    let columns: Vec<Vec<f64>> = WINDOWS.into_iter().map(medians).collect();
    for (row, (name, ours, _)) in CONTENDERS.iter().enumerate() {
        let cells = columns.iter().map(|column| {
            let time = column[row];
            if !ours {
                return format!("{time:.0} ns");
            }
            let others = column.iter().zip(CONTENDERS).filter(|(_, (_, ours, _))| !ours);
            let best = best(others.map(|(time, _)| *time), f64::min);
            format!("{time:.0} ns, {:.2} of the best peer", time / best)
        });
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    println!("{table}");
}
