//! Other consensus systems beside ours. Everything is measured in one run and in turns, because a machine
//! that is slower now than a minute ago must be so for everybody: read the ratios, not the figures.
//!
//! Without arguments: two tables, in memory and in process. With `etcd ENDPOINT SECONDS BYTES CLIENTS`: one
//! line of JSON, what a running etcd does under that many closed-loop clients.
#![forbid(unsafe_code)]

#[cfg(feature = "protoc")]
mod etcd_load;
mod in_memory;
mod in_process;
mod omnipaxos_peer;
mod openraft_peer;
mod ours;
#[cfg(feature = "protoc")]
mod raft_rs_peer;

pub(crate) use in_memory::Cluster;

use comfy_table::{Table, presets};

/// Bytes a command.
pub(crate) const PAYLOAD: usize = 64;

/// An empty table of three nodes and commands of [`PAYLOAD`] bytes.
fn table(what: &str, heads: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let title = format!("{what}; three nodes, {PAYLOAD} B");
    table.set_header(std::iter::once(title).chain(heads));
    table
}

/// The best of some figures.
fn best(figures: impl Iterator<Item = f64>, better: fn(f64, f64) -> f64) -> f64 {
    figures.reduce(better).unwrap_or(f64::NAN)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [] => {
            in_memory::show();
            in_process::show();
        }
        #[cfg(feature = "protoc")]
        [what, endpoint, seconds, bytes, clients] if what == "etcd" => {
            etcd_load::show(endpoint, seconds, bytes, clients);
        }
        other => panic!("{other:?}: nothing, or `etcd ENDPOINT SECONDS BYTES CLIENTS`"),
    }
}
