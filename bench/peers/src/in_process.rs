//! Operations a second in process: three nodes on the tokio runtime, storage in memory, closed-loop clients.

use crate::{best, openraft_peer::{Layout, OpenRaft}, table};
use bench::harness::in_process::InProcess;
use consensus_core::{Algorithm, runtime::Runnable};
use std::time::Duration;

const CLIENTS: [usize; 4] = [1, 64, 1024, 4096];
/// Turns that each takes with each number of clients; the median counts.
const TURNS: usize = 3;
/// How long a turn takes, about.
const TURN: Duration = Duration::from_millis(700);
/// Long enough to tell from it how many operations fill a turn.
const TRIAL: Duration = Duration::from_millis(60);

/// Three nodes and their clients.
pub(crate) trait Clients {
    /// Lets every client do `operations`, one after the other, all clients at once; how long that took.
    fn run(&mut self, operations: u64) -> Duration;
}

impl<A: Runnable> Clients for InProcess<A> {
    fn run(&mut self, operations: u64) -> Duration {
        Self::run(self, operations)
    }
}

type Start = fn(usize) -> Box<dyn Clients>;

fn ours<A: Algorithm + Runnable>(clients: usize) -> Box<dyn Clients> {
    let clients = u32::try_from(clients).expect("a few thousand");
    let cluster = InProcess::<A>::new(3, clients, &A::Options::default());
    Box::new(cluster.expect("the default options fit three members"))
}

fn open_raft(layout: Layout, clients: usize) -> Box<dyn Clients> {
    Box::new(OpenRaft::start(layout, clients))
}

/// Ours last; the best of the others is what they are compared with.
const CONTENDERS: [(&str, bool, Start); 5] = [
    ("openraft 0.10.0-alpha.37, one runtime of two workers", false, |clients| {
        open_raft(Layout::Shared, clients)
    }),
    ("the same, one thread", false, |clients| open_raft(Layout::Single, clients)),
    ("the same, a worker for nodes and one for clients", false, |clients| {
        open_raft(Layout::Split, clients)
    }),
    ("multipaxos", true, ours::<multipaxos::MultiPaxos>),
    ("raft", true, ours::<raft::Raft>),
];

/// Operations a second of a fresh cluster, in one turn.
fn turn(start: Start, clients: usize) -> f64 {
    let mut cluster = start(clients);
    let (mut each, mut took) = (1, cluster.run(1));
    while took < TRIAL {
        each *= 2;
        took = cluster.run(each);
    }
    let each = (each as f64 * TURN.as_secs_f64() / took.as_secs_f64()).max(1.0) as u64;
    (each * clients as u64) as f64 / cluster.run(each).as_secs_f64()
}

fn medians(clients: usize) -> Vec<f64> {
    let mut rates = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..TURNS {
        for (contender, rates) in CONTENDERS.iter().zip(&mut rates) {
            rates.push(turn(contender.2, clients));
        }
    }
    for rates in &mut rates {
        rates.sort_unstable_by(f64::total_cmp);
    }
    rates.iter().map(|rates| rates[TURNS / 2]).collect()
}

/// The table.
pub(crate) fn show() {
    let heads = CLIENTS.map(|clients| format!("{clients} clients"));
    let mut table = table("operations a second, in process", heads);
    let columns: Vec<Vec<f64>> = CLIENTS.into_iter().map(medians).collect();
    for (row, (name, ours, _)) in CONTENDERS.iter().enumerate() {
        let cells = columns.iter().map(|column| {
            let rate = column[row];
            if !ours {
                return format!("{rate:.0}");
            }
            let others = column.iter().zip(CONTENDERS).filter(|(_, (_, ours, _))| !ours);
            let best = best(others.map(|(rate, _)| *rate), f64::max);
            format!("{rate:.0}, {:.2} times the best peer", rate / best)
        });
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    println!("{table}");
}
