//! The cost sheet: what one commit takes when nothing fails and nothing else is under way, and how many nodes
//! may be gone; counted in virtual time, not typed in.

use crate::{
    algorithms::{Registry, Visitor},
    harness::{
        Load, crashes,
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

/// A line of the sheet: an algorithm with its default options in a cluster of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its name.
    pub algorithm: &'static str,
    /// How many nodes.
    pub nodes: u16,
    /// What a commit takes.
    pub cost: Cost,
    /// How many of the nodes may be gone for good while commits go on: [`crashes::survived`].
    pub survived: u16,
}

/// Every algorithm, in the order of the registry, with [`NODES`] nodes.
///
/// # Errors
/// As [`of`].
pub fn sheet<R: Registry>() -> Result<Vec<Row>, String> {
    struct Each(Result<Vec<Row>, String>);
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            for nodes in NODES {
                let Ok(rows) = &mut self.0 else { return };
                match row::<A, L>(nodes) {
                    Ok(row) => rows.push(row),
                    Err(error) => self.0 = Err(error),
                }
            }
        }
    }
    let mut each = Each(Ok(Vec::new()));
    R::each(&mut each);
    each.0
}

fn row<A: Algorithm, L: Load<A>>(nodes: u16) -> Result<Row, String> {
    let options = A::Options::default();
    Ok(Row {
        algorithm: A::NAME,
        nodes,
        cost: of::<A, L>(nodes, &options)?,
        survived: crashes::survived::<A>(nodes, &options)?,
    })
}

/// The sheet as a table of Markdown, a line an algorithm: figures for 3, 5 and 7 nodes.
///
/// # Errors
/// As [`of`].
pub fn markdown<R: Registry>() -> Result<String, String> {
    let rows = sheet::<R>()?;
    let mut text = String::from(
        "| one commit of 64 bytes, N = 3 / 5 / 7 | delays | messages | bytes | forced writes | of them in sequence | goes on with so many nodes gone |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for name in R::names() {
        let rows = rows.iter().filter(|row| row.algorithm == name);
        let rows: Vec<&Row> = rows.collect();
        let cell = |part: fn(&Row) -> u64| {
            let mut parts: Vec<String> = rows.iter().map(|row| part(row).to_string()).collect();
            if parts.iter().all(|part| *part == parts[0]) {
                parts.truncate(1);
            }
            parts.join(" / ")
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            cell(|row| row.cost.delays),
            cell(|row| row.cost.messages),
            cell(|row| row.cost.bytes),
            cell(|row| row.cost.writes),
            cell(|row| row.cost.sequential_writes),
            cell(|row| row.survived.into()),
        );
    }
    Ok(text)
}
