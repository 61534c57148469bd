//! What a simulation found: for scripts as JSON, for people as lines.

use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// The whole output of `--json`.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(crate) struct Simulation {
    /// The version of these names.
    pub(crate) schema: u32,
    /// One an algorithm.
    pub(crate) runs: Vec<Run>,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            schema: 1,
            runs: Vec::new(),
        }
    }
}

/// All seeds of one algorithm.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) algorithm: String,
    /// Whether the faults kept to what it assumes.
    pub(crate) assumptions: Assumptions,
    /// How many seeds were run.
    pub(crate) seeds: u64,
    /// Steps of all worlds.
    pub(crate) events: u64,
    /// Steps a second of real time, all threads together.
    pub(crate) events_per_second: f64,
    /// Client operations that were answered: done, or unknown.
    pub(crate) operations: u64,
    /// Operations of unknown outcome among them.
    pub(crate) unknown: u64,
    /// How often each kind of fault really struck.
    pub(crate) faults: BTreeMap<String, u64>,
    /// How often each property was judged.
    pub(crate) checks: BTreeMap<String, u64>,
    /// What did not hold.
    pub(crate) violations: Vec<Violation>,
    /// What did not hold, as is known of it, under faults outside its assumptions.
    pub(crate) expected: Vec<Violation>,
}

/// Whether the faults of a run keep to what its algorithm assumes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Assumptions {
    /// Every fault that was drawn is one that it promises to bear.
    Inside,
    /// Faults were asked for by name that break what it assumes.
    Outside,
}

/// A property that did not hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
pub(crate) struct Violation {
    /// In which run.
    pub(crate) seed: u64,
    /// Its name.
    pub(crate) property: String,
    /// What contradicts it.
    pub(crate) detail: String,
    /// The command that shows it again.
    pub(crate) replay: String,
}

impl Violation {
    fn show(&self, how: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            property,
            detail,
            replay,
        } = self;
        writeln!(f, "  {how} {property} (seed {seed}): {detail}")?;
        writeln!(f, "    {replay}")
    }
}

impl Run {
    /// One line.
    pub(crate) fn summary(&self) -> String {
        let mut summary = format!(
            "{} seeds, {} events ({:.0} a second), {} operations, {}",
            self.seeds,
            self.events,
            self.events_per_second,
            self.operations,
            match self.violations.len() {
                0 => "no violation".to_owned(),
                1 => "1 violation".to_owned(),
                many => format!("{many} violations"),
            }
        );
        if self.assumptions == Assumptions::Outside {
            let diverged = self.expected.len();
            summary.push_str(&format!(
                "; outside its assumptions: {diverged} seeds end as expected of it"
            ));
        }
        summary
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.algorithm, self.summary())?;
        writeln!(f, "  operations of unknown outcome  {}", self.unknown)?;
        writeln!(f, "  faults that struck  {}", counts(&self.faults))?;
        writeln!(f, "  properties judged  {}", counts(&self.checks))?;
        for violation in &self.violations {
            violation.show("VIOLATED", f)?;
        }
        // The first shows what the others do.
        for violation in self.expected.iter().take(1) {
            violation.show("expected", f)?;
        }
        Ok(())
    }
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<_>>().join(", ")
}
