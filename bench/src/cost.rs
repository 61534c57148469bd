//! The cost sheet: what one commit takes when nothing fails and nothing else is under way, counted in
//! virtual time, not typed in.

use crate::{
    algorithms::{Registry, Visitor},
    harness::{
        Load,
        virtual_time::{DELAY, VirtualTime},
    },
};
use consensus_core::{Algorithm, runtime::Runnable, sim::Counts};
use std::{fmt::Write as _, time::Duration};

/// The sizes of clusters that are shown.
pub const NODES: [u16; 3] = [3, 5, 7];
/// A disk write so short that it changes no order: what it adds to the latency counts the writes on the
/// path.
const SYNC: Duration = Duration::from_micros(1);
/// Commits of which the cheapest counts, so that no heartbeat is among what is counted.
const TRIES: usize = 8;

/// One commit of 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// One-way message delays until whoever asked knows.
    pub delays: u64,
    /// Forced writes that have to end one after the other until then.
    pub sequential_writes: u64,
    /// Messages until everybody knows and nothing is left to do; those to oneself are free.
    pub messages: u64,
    /// Their bytes, without what a transport adds.
    pub bytes: u64,
    /// Forced writes at all nodes.
    pub writes: u64,
}

/// What a commit of `A` takes with `nodes` nodes.
///
/// # Errors
/// When the options do not fit, or an invariant breaks.
pub fn of<A: Algorithm, L: Load<A>>(nodes: u16, options: &A::Options) -> Result<Cost, String> {
    let mut cluster = VirtualTime::<A, L>::with_disks(nodes, options, SYNC)?;
    let bills = (0..TRIES).map(|_| cluster.bill());
    let bills = bills.collect::<Result<Vec<(Duration, Counts)>, _>>()?;
    let least = |part: fn(&Counts) -> u64| bills.iter().map(|(_, counts)| part(counts)).min();
    let latency = bills.iter().map(|(latency, _)| *latency).min();
    let latency = latency.unwrap_or_default().as_nanos();
    Ok(Cost {
        delays: (latency / DELAY.as_nanos()) as u64,
        sequential_writes: (latency % DELAY.as_nanos() / SYNC.as_nanos()) as u64,
        messages: least(|counts| counts.messages).unwrap_or_default(),
        bytes: least(|counts| counts.bytes).unwrap_or_default(),
        writes: least(|counts| counts.syncs).unwrap_or_default(),
    })
}

/// What a commit of the algorithm that `R` calls `name` takes with its default options; none where there is no
/// such algorithm.
///
/// # Errors
/// As [`of`].
pub fn named<R: Registry>(name: &str, nodes: u16) -> Result<Option<Cost>, String> {
    struct One(u16, Result<Option<Cost>, String>);
    impl Visitor for One {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            self.1 = of::<A, L>(self.0, &A::Options::default()).map(Some);
        }
    }
    let mut one = One(nodes, Ok(None));
    R::named(name, &mut one);
    one.1
}

/// Every algorithm with its default options, in the order of the registry, with [`NODES`] nodes.
///
/// # Errors
/// As [`of`].
pub fn sheet<R: Registry>() -> Result<Vec<(&'static str, u16, Cost)>, String> {
    struct Each(Result<Vec<(&'static str, u16, Cost)>, String>);
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            for nodes in NODES {
                let Ok(rows) = &mut self.0 else { return };
                match of::<A, L>(nodes, &A::Options::default()) {
                    Ok(cost) => rows.push((A::NAME, nodes, cost)),
                    Err(error) => self.0 = Err(error),
                }
            }
        }
    }
    let mut each = Each(Ok(Vec::new()));
    R::each(&mut each);
    each.0
}

/// The sheet as a table of Markdown, a line an algorithm: figures for 3, 5 and 7 nodes.
///
/// # Errors
/// As [`of`].
pub fn markdown<R: Registry>() -> Result<String, String> {
    let rows = sheet::<R>()?;
    let mut text = String::from(
        "| one commit of 64 bytes, N = 3 / 5 / 7 | delays | messages | bytes | forced writes | of them in sequence |\n\
         |---|---|---|---|---|---|\n",
    );
    for name in R::names() {
        let costs: Vec<Cost> = rows
            .iter()
            .filter(|(algorithm, ..)| *algorithm == name)
            .map(|(.., cost)| *cost)
            .collect();
        let cell = |part: fn(&Cost) -> u64| {
            let mut parts: Vec<String> = costs.iter().map(|cost| part(cost).to_string()).collect();
            if parts.iter().all(|part| *part == parts[0]) {
                parts.truncate(1);
            }
            parts.join(" / ")
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            cell(|cost| cost.delays),
            cell(|cost| cost.messages),
            cell(|cost| cost.bytes),
            cell(|cost| cost.writes),
            cell(|cost| cost.sequential_writes),
        );
    }
    Ok(text)
}
