//! How close one client comes to what the machine allows: the round trips and syncs that a commit
//! cannot do without, each measured in the same run.

use bench::{
    baseline::Baseline,
    report::json::{Durability, Run},
};
use consensus_core::Contract;
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

/// The round trip that a commit cannot do without.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Floor {
    /// A client's round trip to a node that only echoes, median, microseconds. A round trip between
    /// two nodes of the same machine is taken to be as long.
    round_trip_us: f64,
}

impl Floor {
    /// From an echo that was run. None without a valid one.
    pub(crate) fn measured(runs: &[Run]) -> Option<Self> {
        let echo = runs
            .iter()
            .find(|run| run.algorithm == Baseline::Echo.name() && run.verdict.valid)?;
        Some(Self {
            round_trip_us: echo.latency_us.p50 as f64,
        })
    }

    /// One line on how a run compares, during which a sync took `sync`; none where there is no such
    /// floor.
    pub(crate) fn compare(&self, run: &Run, contract: Contract, sync: Duration) -> Option<String> {
        // In sequence: the client's round trip, then those between nodes, each ended by a disk.
        let rounds = match contract {
            // Prepare, accept: an acceptor's disk in each.
            Contract::Register => 2,
            // The leader's disk works while the followers' do.
            Contract::ReplicatedLog => 1,
            Contract::AtomicCommit => return None,
        };
        let syncs = match run.durability {
            Durability::Fsync => rounds,
            Durability::Memory => 0,
        };
        let (round_trip_us, sync_us) = (self.round_trip_us, sync.as_secs_f64() * 1e6);
        let least = f64::from(1 + rounds) * round_trip_us + f64::from(syncs) * sync_us;
        let p50 = run.latency_us.p50;
        Some(format!(
            "{}: p50 {p50} µs is {:.2} times the floor of {least:.0} µs: {} round trips of \
             {round_trip_us:.0} µs and {syncs} syncs of {sync_us:.0} µs",
            run.algorithm,
            p50 as f64 / least,
            1 + rounds
        ))
    }
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
    fn a_sync_takes_some_time_and_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("xtask-floor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        assert!(sync(&folder).expect("it syncs") > Duration::ZERO);
        // Only an empty folder can be removed so.
        std::fs::remove_dir(&folder).expect("it is empty");
    }
}
