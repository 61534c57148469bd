//! How close one client comes to what the machine allows: the round trips and syncs that a commit
//! cannot do without, each measured in the same run.

use crate::algorithms::Catalogue;
use bench::{
    baseline::Baseline,
    report::json::{Durability, Floor, Run},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Between two syncs that are timed: rare enough that the run does not notice.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of one write, as much as a block.
const BLOCK: usize = 4096;
/// Blocks written in turn.
const BLOCKS: usize = 256;

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
pub(crate) fn of(
    catalogue: Catalogue,
    run: &Run,
    round_trip_us: f64,
    sync: Duration,
) -> Result<Option<Floor>, String> {
    let nodes = u16::try_from(run.nodes).map_err(|error| error.to_string())?;
    let Some(cost) = catalogue.cost(&run.algorithm, nodes)? else {
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

/// Times syncs of its own, a few a second, for as long as a run lasts: the disk is as busy for them as it
/// is for the run, whatever else the machine does in the meantime.
pub(crate) struct SyncProbe {
    stop: mpsc::Sender<()>,
    worker: JoinHandle<io::Result<Vec<Duration>>>,
}

impl SyncProbe {
    /// Starts to time, in a file of its own in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let (stop, stopped) = mpsc::channel();
        let path = folder.join(format!("floor-{}", std::process::id()));
        let worker = std::thread::spawn(move || time_syncs(&path, &stopped));
        Self { stop, worker }
    }

    /// Ends, and gives the median.
    ///
    /// # Errors
    /// When the disk refuses to write or to sync.
    pub(crate) fn median(self) -> io::Result<Duration> {
        // Gone already when its disk failed, which it then tells.
        let _ = self.stop.send(());
        let times = self.worker.join();
        let mut times = times.map_err(|_| io::Error::other("the probe of the disk panicked"))??;
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

/// Writes a block into room that is set aside and syncs it, as a log does, until told to stop; once at
/// least.
fn time_syncs(path: &Path, stopped: &mpsc::Receiver<()>) -> io::Result<Vec<Duration>> {
    let file = File::create(path)?;
    // It goes with whoever holds it: nobody is there to remove it after a Ctrl-C.
    std::fs::remove_file(path)?;
    file.write_all_at(&vec![0; BLOCK * BLOCKS], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    loop {
        file.write_all_at(&[1; BLOCK], (times.len() % BLOCKS * BLOCK) as u64)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
        match stopped.recv_timeout(PAUSE) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench::algorithms::Shipped;

    #[test]
    fn a_floor_is_the_sum_of_what_the_cost_sheet_counts_in_sequence() {
        let sample = include_str!("../../../bench/testdata/report.json");
        let report: bench::report::json::Report = serde_json::from_str(sample).expect("a report");
        let mut run = report.runs[0].clone();
        let floor = |run: &Run| {
            let sync = Duration::from_micros(90);
            of(Catalogue::of::<Shipped>(), run, 60.0, sync).expect("it can be counted")
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
    fn a_probe_times_a_sync_and_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("xtask-floor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let median = SyncProbe::start(&folder).median();
        assert!(median.expect("it syncs") > Duration::ZERO);
        // Only an empty folder can be removed so.
        std::fs::remove_dir(&folder).expect("it is empty");
    }
}
