//! The schema of `report.json`.
//!
//! Scripts outside this repository read these names: fields may be added, never renamed, and a field
//! that is null here may be null there. Latencies are in microseconds, times in seconds.

use serde::{Deserialize, Serialize};

/// The number in [`Report::schema`].
pub const SCHEMA: u32 = 1;

/// A whole `report.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// What was typed, seed included, so that it can be typed again.
    pub command: String,
    /// Where it ran.
    pub environment: Environment,
    /// In the order in which they ran.
    pub runs: Vec<Run>,
    /// What was searched for, if anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<Search>,
}

/// The search for the highest rate at which an algorithm keeps its 99th percentile within a bound.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Search {
    /// Whose.
    pub algorithm: String,
    /// Which of the interleaved repetitions, from 0.
    pub repetition: u32,
    /// The 99th percentile of response time must not exceed this, microseconds.
    pub bound_us: u64,
    /// The highest rate that was tried and held, operations a second; null when none did.
    pub rate: Option<f64>,
    /// Everything that was tried, in order.
    pub steps: Vec<SearchStep>,
}

/// One rate that was tried.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SearchStep {
    /// Operations a second asked for.
    pub rate: f64,
    /// Done, a second.
    pub throughput_ops: f64,
    /// 99th percentile of response time, microseconds.
    pub p99_us: u64,
    /// Whether the run was valid and stayed within the bound.
    pub held: bool,
    /// Why not; empty when it did.
    pub why: String,
}

/// The machine and the build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// The commit, with `-dirty` when the tree differs from it; `unknown` outside a repository.
    pub git: String,
    /// What `rustc --version` says; `unknown` when there is no compiler.
    pub rustc: String,
    /// The processor's own name.
    pub cpu: String,
    /// How many threads this process may run at once.
    pub cores: u32,
    /// The kernel's release.
    pub kernel: String,
    /// Whether more busy processes shared the machine than it has cores: then the figures compare
    /// algorithms, and promise nothing about a machine a node.
    pub oversubscribed: bool,
}

/// One run of one algorithm, or of one baseline.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its name on the command line; a baseline's is `echo`, `unreplicated` or `unreplicated-sync`.
    pub algorithm: String,
    /// Node processes.
    pub nodes: u32,
    /// Where its coordinator ran, when not together with a participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// Concurrent clients.
    pub clients: u32,
    /// When clients ask.
    #[serde(rename = "loop")]
    pub mode: Loop,
    /// Intended operations a second of an open loop; null in a closed one.
    pub rate: Option<f64>,
    /// Bytes a command.
    pub payload: u32,
    /// What an answer survives.
    pub durability: Durability,
    /// The emulated link, as given; null for the bare network.
    pub link: Option<String>,
    /// How many per cent of the rate that a search has found for it; null where nothing was searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Decides workload and emulated faults.
    pub seed: u64,
    /// Which of the interleaved repetitions, from 0.
    pub repetition: u32,
    /// Distinct keys.
    pub keys: u64,
    /// The exponent of the distribution of keys; 0 is uniform.
    pub zipf: f64,
    /// Share of reads, 0 to 1.
    pub read_ratio: f64,
    /// Seconds before measuring.
    pub warmup_s: f64,
    /// Where clients and nodes stood, such as `same host`.
    pub placement: String,
    /// Seconds measured.
    pub seconds: f64,
    /// Operations done whose intended start lay within the measured time.
    pub operations: u64,
    /// Of the same: refused for good or in error.
    pub failed: u64,
    /// Of the same: rolled back by a lock policy or a no vote.
    pub aborted: u64,
    /// Of the same: outcome unknown; in the histogram at the time-out.
    pub timeouts: u64,
    /// Operations done that ended within the measured time, a second.
    pub throughput_ops: f64,
    /// Response time, from the intended start.
    pub latency_us: Latency,
    /// Service time, from the moment it was really sent.
    pub service_us: Latency,
    /// Response time of reads; null when there were none.
    pub reads_us: Option<Latency>,
    /// Response time of writes; null when there were none.
    pub writes_us: Option<Latency>,
    /// Where a write's time went; means as the nodes counted them.
    pub stages_us: Stages,
    /// Response time in microseconds: HdrHistogram V2, deflated, in base64.
    pub histogram: String,
    /// What one operation cost in all nodes together.
    pub per_operation: PerOperation,
    /// The largest resident set of any node.
    pub rss_bytes_max: u64,
    /// One point a measured second.
    pub timeline: Vec<TimelinePoint>,
    /// Faults injected, in the order of time.
    pub faults: Vec<FaultReport>,
    /// What the history's checker said; null when it was not asked.
    pub check: Option<CheckReport>,
    /// Whether the figures may be used.
    pub verdict: Verdict,
    /// Mean number of operations under way, from intended start to end.
    #[serde(default)]
    pub in_flight: f64,
    /// What a lone commit cannot do without on this machine; only of runs with one client on bare links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
}

/// The sum of the parts that a lone commit cannot do without, each measured in the same run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Round trips one after the other, the client's among them.
    pub round_trips: u64,
    /// One of them: the median of a client's to a node that only echoes.
    pub round_trip_us: f64,
    /// Disk writes one after the other.
    pub syncs: u64,
    /// One of them, median.
    pub sync_us: f64,
    /// The sum.
    pub least_us: f64,
    /// How many times the sum the median response takes.
    pub ratio: f64,
}

impl std::fmt::Display for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 is {:.2} times the floor of {:.0} µs: {} round trips of {:.0} µs and {} syncs of {:.0} µs",
            self.ratio,
            self.least_us,
            self.round_trips,
            self.round_trip_us,
            self.syncs,
            self.sync_us
        )
    }
}

impl Run {
    /// Its name for people: with where its coordinator ran.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.coordinator {
            Some(coordinator) => format!("{}, coordinator {coordinator}", self.algorithm),
            None => self.algorithm.clone(),
        }
    }
}

/// When clients ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// Each client asks again when it has been answered.
    Closed,
    /// At given moments, whatever was answered.
    Open,
}

/// What an answer survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Loss of power.
    Fsync,
    /// Nothing.
    Memory,
}

/// A distribution of times, in microseconds. All zero when nothing was recorded.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Exact.
    pub min: u64,
    /// Exact.
    pub mean: f64,
    /// To three significant digits, as are the other percentiles.
    pub p50: u64,
    /// 90 of 100 are no slower.
    pub p90: u64,
    /// 99 of 100 are no slower.
    pub p99: u64,
    /// 999 of 1000 are no slower.
    pub p999: u64,
    /// Exact.
    pub max: u64,
}

/// Where an operation's time went, mean microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Stages {
    /// In the node's queue before the protocol saw it.
    pub queue: f64,
    /// Waiting for the disk.
    pub sync: f64,
    /// Waiting for peers.
    pub network: f64,
    /// In the state machine.
    pub apply: f64,
}

/// What one operation cost, all nodes together.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PerOperation {
    /// Between nodes.
    pub messages: f64,
    /// Between nodes.
    pub bytes: f64,
    /// `fdatasync` calls.
    pub syncs: f64,
    /// User and system time.
    pub cpu_us: f64,
}

/// What ended within one second of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// From 0, the start of measuring.
    pub second: u32,
    /// Operations done.
    pub operations: u64,
    /// Response time, microseconds.
    pub p50: u64,
    /// Response time, microseconds.
    pub p99: u64,
    /// Response time, microseconds.
    pub max: u64,
}

/// One fault that was injected.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FaultReport {
    /// The word of the fault vocabulary, such as `kill`.
    pub kind: String,
    /// As it was given, such as `leader`.
    pub target: String,
    /// Who that was; null when it was more than one node.
    pub node: Option<u16>,
    /// Seconds since the start of measuring.
    pub at_s: f64,
    /// From the fault until an operation begun after it was done; null when service never came back.
    pub outage_ms: Option<f64>,
    /// The outage in its parts; null where nobody leads or nothing was to be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// What else is to be said, such as the words with which a node refused to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How service came back after a fault, as the nodes said when they were asked again and again. The first
/// three follow one another and their sum is the outage; what did not happen is null.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Recovery {
    /// From the fault until a survivor no longer followed whom it had followed.
    pub detect_ms: Option<f64>,
    /// From then until a survivor said that it leads.
    pub elect_ms: Option<f64>,
    /// From then, or where nobody led before from the fault, until an operation begun after it was done.
    pub commit_ms: Option<f64>,
    /// From the return of whoever was struck until it had applied what the others had by then.
    pub catch_up_ms: Option<f64>,
    /// The longest that passed between two answers of a node: what all of these are known to.
    pub resolution_ms: f64,
}

/// What a checker said about a run's history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    /// `linearizable` or `atomic`.
    pub kind: String,
    /// How many operations it judged.
    pub operations: u64,
    /// Whether the property holds.
    pub ok: bool,
    /// What contradicts it; empty when it holds.
    pub detail: String,
}

/// Whether a run's figures may be used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// False: shown, marked, never ranked.
    pub valid: bool,
    /// Why not; and warnings, which leave it valid.
    pub reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const SAMPLE: &str = include_str!("../../testdata/report.json");

    #[test]
    fn a_report_survives_reading_and_writing() {
        let report: Report = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(report.schema, SCHEMA);
        let ours: serde_json::Value = serde_json::to_value(&report).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_missing_field_is_an_error_and_not_a_zero() {
        let cut = SAMPLE.replacen("\"timeouts\"", "\"time_outs\"", 1);
        let error = serde_json::from_str::<Report>(&cut).unwrap_err();
        assert!(error.to_string().contains("timeouts"), "{error}");
    }

    #[test]
    fn fields_added_later_do_not_stop_a_reader() {
        let more = SAMPLE.replacen("\"schema\"", "\"later\": 1, \"schema\"", 1);
        assert!(serde_json::from_str::<Report>(&more).is_ok());
    }
}
