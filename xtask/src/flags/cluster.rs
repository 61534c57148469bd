//! The flags of `cargo xtask cluster`.

use super::value;
use clap::{Args, FromArgMatches as _, ValueEnum};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// Starts real node processes, drives them with a real load, measures, and compares.
///
/// Every node is a process of its own with its own write-ahead log; nodes and clients speak QUIC
/// under mutual TLS. Runs follow one another, baselines beside them, and every figure is measured in
/// the run that it is printed for.
///
/// The table goes to standard output, progress and the place of the report to standard error.
/// Exit status: 0; 1 when a run failed or its check found a violation; 2 for bad arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterFlags {
    /// Algorithms to run, separated by commas, or `all`
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) algorithm: String,

    /// Node processes of one cluster
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=31))]
    pub(crate) nodes: u16,

    /// Where the coordinator of two-phase commit runs: `together` with participant 1, `apart` on a
    /// process of its own, or `replicated` on three of their own that agree on its log
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = Coordinator::Together)]
    pub(crate) coordinator: Coordinator,

    /// Clients at work at the same time; in a closed loop each has one operation under way
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) clients: u32,

    /// How long a client waits for an answer; after that the outcome is unknown and counts as a
    /// timeout
    #[arg(long, value_name = "MS", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) timeout: u64,

    /// Open loop: operations start at this rate whether or not earlier ones were answered, and
    /// latency counts from the intended start
    #[arg(long, value_name = "OPS", value_parser = value::rate)]
    pub(crate) rate: Option<f64>,

    /// Search for the highest rate of an open loop, with at most `--clients` operations under way, at which
    /// the 99th percentile stays within this bound, such as `10ms`; then measure at 50, 70 and 90 % of it
    #[arg(long, value_name = "BOUND", value_parser = value::span, conflicts_with_all = ["rate", "fault"])]
    pub(crate) search: Option<Duration>,

    /// Measured time of one run
    #[arg(long, value_name = "SECS", default_value = "8", value_parser = value::some_seconds)]
    pub(crate) duration: f64,

    /// Load before measuring begins
    #[arg(long, value_name = "SECS", default_value = "2", value_parser = value::seconds_or_none)]
    pub(crate) warmup: f64,

    /// Size of a written value; the first 16 bytes make it unique
    #[arg(long, value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub(crate) payload: u32,

    /// Keys that operations choose from
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) keys: u64,

    /// Skew of the choice of keys: 0 is uniform, 0.99 is what YCSB calls zipfian
    #[arg(long, value_name = "THETA", default_value = "0", value_parser = value::zipf)]
    pub(crate) zipf: f64,

    /// Share of operations that read
    #[arg(long, value_name = "F", default_value = "0", value_parser = value::share)]
    pub(crate) read_ratio: f64,

    /// Whether acknowledged means on disk; part of every result's name
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = Durability::Fsync)]
    pub(crate) durability: Durability,

    /// Emulated links between the nodes, on real packets: `delay=20ms,jitter=2ms,loss=0.1%`, or
    /// `planet=aws5` for the round trips between five AWS regions
    #[arg(long, value_name = "SPEC")]
    pub(crate) link: Option<String>,

    /// A fault and its time after measuring has begun: `kill:leader@3s`, `restart:2@5s`,
    /// `pause:leader@3s+1s`, `isolate:2@3s+2s`, `cut:1-2@3s+2s`. A target is a node's number,
    /// `leader`, `follower`, `coordinator`, `participant` or `majority`. Of replicated logs also
    /// `add:6@2s`, `remove:2@3s`, `readmit:2@4s` (after a `rot` or `wipe`), `transfer:leader@2s`. May
    /// be repeated
    #[arg(long, value_name = "SPEC")]
    pub(crate) fault: Vec<String>,

    /// Bytes of commands between two snapshots of a replicated log; 0 for none, and logs that grow
    #[arg(long, value_name = "BYTES", default_value_t = crate::node::config::snapshot_bytes())]
    pub(crate) snapshot: u64,

    /// Threads of a node beside its disk's; 0 for one a core. One answers a lone client soonest
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) workers: usize,

    /// Record every operation and check the history; always on when there is a fault
    #[arg(long)]
    pub(crate) check: bool,

    /// Seed of workload and emulated links; drawn and printed when not given
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Repetitions of every run, interleaved
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: u32,

    /// Run the nodes on the machines that this file names, over ssh: a line each of the address at which
    /// nodes listen, then `ssh=DESTINATION`, `program=PATH` (copied when not given), `folder=PATH` as needed.
    /// Clients stay here
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts: Option<PathBuf>,

    /// The ssh to use for `--hosts`, with options of its own
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "ssh",
        requires = "hosts"
    )]
    pub(crate) ssh: String,

    /// Folder of the report; `target/cluster/<UTC time>` when not given
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print report.json on standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

impl ClusterFlags {
    /// Flags as they would be typed after `cluster`.
    ///
    /// # Errors
    /// Clap's own sentence.
    pub(crate) fn of(line: &str) -> Result<Self, clap::Error> {
        let name = std::iter::once("cluster");
        let matches = Self::augment_args(clap::Command::new("cluster"))
            .try_get_matches_from(name.chain(line.split_whitespace()))?;
        Self::from_arg_matches(&matches)
    }
}

/// Where the coordinator of two-phase commit runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Coordinator {
    /// At node 1, a participant.
    #[default]
    Together,
    /// At a node of its own.
    Apart,
    /// At three nodes of its own, which agree on its log.
    Replicated,
}

impl From<Coordinator> for bench::algorithms::Coordinator {
    fn from(coordinator: Coordinator) -> Self {
        match coordinator {
            Coordinator::Together => Self::Together,
            Coordinator::Apart => Self::Apart,
            Coordinator::Replicated => Self::Replicated,
        }
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// On disk, by `fdatasync`.
    #[default]
    Fsync,
    /// In memory; lost with the process.
    Memory,
}
