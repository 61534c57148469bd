//! How close one client comes to what the machine allows: the round trips and syncs that a commit
//! cannot do without, each measured in the same run.

use bench::{
    baseline::Baseline,
    cost,
    report::json::{Durability, Floor, Run},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

/// How many syncs are timed; the median counts.
const SYNCS: usize = 100;
/// Bytes of one write, as much as a block.
const BLOCK: usize = 4096;

/// A client's round trip to a node that only echoes, median, microseconds: from an echo that was run. A
/// round trip between two nodes of the same machine is taken to be as long. None without a valid echo.
pub(crate) fn round_trip(runs: &[Run]) -> Option<f64> {
    let echo = runs
        .iter()
        .find(|run| run.algorithm == Baseline::Echo.name() && run.verdict.valid)?;
    Some(echo.latency_us.p50 as f64)
}

/// The floor of a run with one client, during which a sync took `sync`: the client's round trip, and
/// what the cost sheet counts in sequence. None of a baseline.
///
/// # Errors
/// When the cost cannot be counted.
pub(crate) fn of(run: &Run, round_trip_us: f64, sync: Duration) -> Result<Option<Floor>, String> {
    let nodes = u16::try_from(run.nodes).map_err(|error| error.to_string())?;
    let Some(cost) = cost::named(&run.algorithm, nodes)? else {
        return Ok(None);
    };
    let syncs = match run.durability {
        Durability::Fsync => cost.sequential_writes,
        Durability::Memory => 0,
    };
    let (round_trips, sync_us) = (1 + cost.delays / 2, sync.as_secs_f64() * 1e6);
    let least_us = round_trips as f64 * round_trip_us + syncs as f64 * sync_us;
    Ok(Some(Floor {
        round_trips,
        round_trip_us,
        syncs,
        sync_us,
        least_us,
        ratio: run.latency_us.p50 as f64 / least_us,
    }))
}

/// The median time of an `fdatasync` after a write into room that is set aside, as a log does it.
pub(crate) fn sync(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!("floor-{}", std::process::id()));
    let result = File::create(&path).and_then(|file| {
        let zeros = vec![0; BLOCK * SYNCS];
        file.write_all_at(&zeros, 0)?;
        file.sync_all()?;
        let mut times = Vec::with_capacity(SYNCS);
        for place in 0..SYNCS {
            file.write_all_at(&[1; BLOCK], (place * BLOCK) as u64)?;
            let began = Instant::now();
            file.sync_data()?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        Ok(times[SYNCS / 2])
    });
    std::fs::remove_file(&path)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_the_sum_of_what_the_cost_sheet_counts_in_sequence() {
        let sample = include_str!("../../../bench/testdata/report.json");
        let report: bench::report::json::Report = serde_json::from_str(sample).expect("a report");
        let mut run = report.runs[0].clone();
        let floor = |run: &Run| {
            let sync = Duration::from_micros(90);
            of(run, 60.0, sync).expect("it can be counted")
        };
        for (algorithm, least) in [("raft", 210.0), ("paxos", 360.0), ("twophase", 300.0)] {
            run.algorithm = algorithm.to_owned();
            let floor = floor(&run).expect("it is an algorithm");
            assert_eq!(floor.least_us, least, "{algorithm}");
            assert_eq!(floor.ratio, run.latency_us.p50 as f64 / least);
        }
        run.durability = Durability::Memory;
        assert_eq!(floor(&run).expect("it is an algorithm").least_us, 120.0);
        run.algorithm = "echo".to_owned();
        assert_eq!(floor(&run), None);
    }

    #[test]
    fn a_sync_takes_some_time_and_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("xtask-floor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        assert!(sync(&folder).expect("it syncs") > Duration::ZERO);
        // Only an empty folder can be removed so.
        std::fs::remove_dir(&folder).expect("it is empty");
    }
}
