//! The flags of `cargo xtask sim`.

use super::Coordinator;
use clap::Args;

/// Runs seeds through the deterministic simulator with faults, and checks every safety property.
///
/// One seed decides everything: time, order, faults and their rates. A seed that fails is named
/// together with the one line that replays it.
///
/// Exit status: 0; 1 when a property was violated; 2 for bad arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct SimFlags {
    /// Algorithms to run, separated by commas, or `all`
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) algorithm: String,

    /// Where the coordinator of twophase runs: `together` with a participant, or `replicated`, by the
    /// leader of a Raft group
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = Coordinator::Together)]
    pub(crate) coordinator: Coordinator,

    /// How many seeds, from 1 upwards
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "seed",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,

    /// Run this one seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Nodes of a cluster; drawn between 3 and 7 by the seed when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=15))]
    pub(crate) nodes: Option<u16>,

    /// Client operations of one run
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) operations: u32,

    /// Kinds of faults that may happen, separated by commas; all that apply when not given, `none`
    /// for a calm run
    #[arg(long, value_name = "LIST")]
    pub(crate) faults: Option<String>,

    /// Print every step of the run; needs `--seed`
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,

    /// Print the results as JSON on standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}
