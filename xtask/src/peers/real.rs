//! Real nodes: three of etcd and three of ours, the same clients, in turns.

use super::{
    etcd::{self, Etcd},
    program,
};
use crate::{algorithms::Catalogue, cluster, ending::DONE, interrupt};
use anyhow::{Context as _, bail};
use bench::{report::json::Run, statistics::median};
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use std::process::Command;

const CLIENTS: [u32; 4] = [1, 16, 128, 512];
const OURS: [&str; 2] = ["multipaxos", "raft"];
/// Turns that each takes with each number of clients; medians count.
const TURNS: usize = 3;
/// Measured time of one turn.
const SECONDS: &str = "2";
const BYTES: &str = "256";

/// What one turn came to.
#[derive(Clone, Copy, PartialEq, Deserialize, Debug)]
struct Figures {
    ops: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Figures {
    fn median(turns: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| {
            let parts: Vec<f64> = turns.iter().map(part).collect();
            median(&parts).unwrap_or(f64::NAN)
        };
        Self {
            ops: of(|turn| turn.ops),
            p50_us: of(|turn| turn.p50_us),
            p99_us: of(|turn| turn.p99_us),
        }
    }

    /// By itself, and beside a peer's.
    fn cell(&self, peer: Option<&Self>) -> String {
        let own = format!(
            "{:.0} /s, p50 {:.0} µs, p99 {:.0} µs",
            self.ops, self.p50_us, self.p99_us
        );
        match peer {
            None => own,
            Some(peer) => format!(
                "{own}\n{:.2} times the rate, {:.2} of its p50",
                self.ops / peer.ops,
                self.p50_us / peer.p50_us
            ),
        }
    }
}

/// The table; the status of the command.
///
/// # Errors
/// When somebody does not come up, or a run of ours is of no use.
pub(super) fn show(catalogue: Catalogue) -> anyhow::Result<u8> {
    interrupt::run(async { measure(catalogue).await.map(|()| DONE) })
}

async fn measure(catalogue: Catalogue) -> anyhow::Result<()> {
    let mut columns = Vec::new();
    for clients in CLIENTS {
        let mut turns = vec![Vec::new(); 1 + OURS.len()];
        for turn in 0..TURNS {
            eprintln!(
                "real nodes, {clients} clients, turn {} of {TURNS}",
                turn + 1
            );
            turns[0].push(theirs(clients).await?);
            for (place, run) in ours(catalogue, clients).await?.iter().enumerate() {
                turns[1 + place].push(figures(run)?);
            }
        }
        columns.push(
            turns
                .iter()
                .map(|turns| Figures::median(turns))
                .collect::<Vec<_>>(),
        );
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let heads = CLIENTS.map(|clients| format!("{clients} clients"));
    let title = format!("real nodes; three, {BYTES} B, fsync, one machine");
    table.set_header(std::iter::once(title).chain(heads));
    let names = [etcd::version()? + ", no TLS"]
        .into_iter()
        .chain(OURS.map(|name| format!("{name}, TLS")));
    for (row, name) in names.enumerate() {
        let cells = columns
            .iter()
            .map(|column| column[row].cell((row > 0).then_some(&column[0])));
        table.add_row(std::iter::once(name).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    crate::output::showln!("{table}");
    Ok(())
}

/// One turn of etcd, which does not run while ours do.
async fn theirs(clients: u32) -> anyhow::Result<Figures> {
    let parent = cluster::parent();
    let measured = tokio::task::spawn_blocking(move || {
        let etcd = Etcd::start(&parent)?;
        let endpoint = etcd.leader().context("etcd has lost its leader")?;
        let output = Command::new(program())
            .args(["etcd", &endpoint, SECONDS, BYTES, &clients.to_string()])
            .output()
            .context("starting the load of etcd")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("the load of etcd failed: {words}");
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    });
    measured.await?
}

async fn ours(catalogue: Catalogue, clients: u32) -> anyhow::Result<Vec<Run>> {
    let line = format!(
        "--algorithm {} --clients {clients} --duration {SECONDS} --warmup 0.7 --payload {BYTES}",
        OURS.join(",")
    );
    cluster::runs(&line, catalogue).await
}

fn figures(run: &Run) -> anyhow::Result<Figures> {
    if !run.verdict.valid {
        bail!("{}: {}", run.algorithm, run.verdict.reasons.join("; "));
    }
    Ok(Figures {
        ops: run.throughput_ops,
        p50_us: run.latency_us.p50 as f64,
        p99_us: run.latency_us.p99 as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_of_medians() {
        let turn = |ops, p50_us| Figures {
            ops,
            p50_us,
            p99_us: 3.0 * p50_us,
        };
        let ours = Figures::median(&[turn(900.0, 50.0), turn(1_000.0, 40.0), turn(10.0, 90.0)]);
        let theirs = turn(300.0, 100.0);
        assert_eq!(
            ours.cell(Some(&theirs)),
            "900 /s, p50 50 µs, p99 150 µs\n3.00 times the rate, 0.50 of its p50"
        );
    }
}
