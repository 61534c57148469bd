//! `cargo xtask sim`: seeds through the simulator.

mod json;
mod seeds;

use crate::{
    algorithms,
    ending::{DONE, FAILED, refusal},
    flags::{Coordinator, SimFlags},
    progress::Progress,
};
use bench::{
    algorithms::{Registry, Visitor},
    harness::{AtomicCommitLoad, Load},
    replicated::OverRaft,
};
use consensus_core::{
    fault::FaultKind,
    runtime::Runnable,
    sim::{KINDS, Settings, run},
};
use json::{Assumptions, Run, Simulation};
use seeds::Tally;
use std::ops::Range;

/// The command.
pub(crate) fn command<R: Registry>(flags: &SimFlags) -> anyhow::Result<u8> {
    let settings = Settings {
        nodes: flags.nodes.map(usize::from),
        operations: flags.operations.into(),
        faults: kinds(flags.faults.as_deref())?,
        trace: flags.trace,
        ..Settings::default()
    };
    let mut all = Simulation::default();
    for name in algorithms::chosen(&flags.algorithm, &R::names())? {
        let mut one = One {
            flags,
            settings: &settings,
            results: Vec::new(),
        };
        match (flags.coordinator, name) {
            (Coordinator::Together, _) => {
                R::named(name, &mut one);
            }
            (Coordinator::Replicated, "twophase") => {
                one.visit::<OverRaft, AtomicCommitLoad>();
            }
            (Coordinator::Apart | Coordinator::Replicated, _) => {
                return Err(refusal(
                    "--coordinator: a simulation runs twophase `replicated`, and everything `together`",
                ));
            }
        }
        all.runs.append(&mut one.results);
    }
    if flags.json {
        crate::output::showln!("{}", serde_json::to_string_pretty(&all)?);
    }
    let violations = all.runs.iter().flat_map(|run| &run.violations);
    let mut status = DONE;
    for violation in violations {
        eprintln!(
            "violated: {}; replay: {}",
            violation.property, violation.replay
        );
        status = FAILED;
    }
    Ok(status)
}

/// Reads `--faults`.
fn kinds(list: Option<&str>) -> anyhow::Result<Vec<FaultKind>> {
    let Some(list) = list else {
        return Ok(KINDS.to_vec());
    };
    if list == "none" {
        return Ok(Vec::new());
    }
    let wrong = |why: String| refusal(format!("invalid --faults '{list}': {why}"));
    let kinds = FaultKind::list(list).map_err(|error| wrong(error.to_string()))?;
    match kinds.iter().find(|kind| !KINDS.contains(kind)) {
        Some(kind) => Err(wrong(format!(
            "{kind} needs real processes; the simulator knows {}",
            KINDS
                .iter()
                .map(|kind| kind.word())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
        None => Ok(kinds),
    }
}

/// All seeds of one algorithm.
struct One<'a> {
    flags: &'a SimFlags,
    settings: &'a Settings,
    results: Vec<Run>,
}

impl One<'_> {
    fn seeds(&self) -> Range<u64> {
        match self.flags.seed {
            Some(seed) => seed..seed.saturating_add(1),
            None => 1..self.flags.seeds.saturating_add(1),
        }
    }

    /// The command that runs one seed again exactly as it was run here.
    fn replay(&self, name: &str, faults: Option<&str>, seed: u64) -> String {
        let mut line = format!("cargo xtask sim --algorithm {name} --seed {seed}");
        if self.flags.coordinator == Coordinator::Replicated {
            line.push_str(" --coordinator replicated");
        }
        if let Some(nodes) = self.flags.nodes {
            line.push_str(&format!(" --nodes {nodes}"));
        }
        if self.flags.operations != 200 {
            line.push_str(&format!(" --operations {}", self.flags.operations));
        }
        if let Some(faults) = faults {
            line.push_str(&format!(" --faults {faults}"));
        }
        line.push_str(" --trace");
        line
    }

    /// All seeds under `settings`, whose faults were asked for in these words.
    fn seeds_of<A: Runnable>(
        &mut self,
        settings: &Settings,
        faults: Option<&str>,
        assumptions: Assumptions,
    ) {
        let seeds = self.seeds();
        let count = seeds.end - seeds.start;
        let mut progress = Progress::new(A::NAME, count, "seeds");
        let mut tally = Tally::default();
        let spent = seeds::each(
            seeds,
            |seed| run::<A>(seed, settings),
            |outcome| {
                if self.flags.trace {
                    seeds::show_trace(&outcome, self.flags.json);
                }
                tally.add(outcome);
                progress.at(
                    tally.seeds,
                    &format!("{} violations", tally.violations.len()),
                );
            },
        );
        let run = tally.finish(A::NAME, assumptions, spent, |seed| {
            self.replay(A::NAME, faults, seed)
        });
        progress.end(&run.summary());
        if !self.flags.json {
            crate::output::show!("{run}");
        }
        self.results.push(run);
    }
}

impl Visitor for One<'_> {
    /// What is known to fail outside its assumptions is run there too, unless faults are named.
    fn visit<A: Runnable, L: Load<A>>(&mut self) {
        let settings = self.settings.clone();
        let fails_outside = !A::EXPECTED.is_empty();
        if let Some(faults) = self.flags.faults.as_deref() {
            let outside = fails_outside && settings.faults.iter().any(breaks::<A>);
            let assumptions = match outside {
                true => Assumptions::Outside,
                false => Assumptions::Inside,
            };
            return self.seeds_of::<A>(&settings, Some(faults), assumptions);
        }
        self.seeds_of::<A>(&settings, None, Assumptions::Inside);
        // One seed was asked for, and its trace: it was of the run that has no names of faults.
        if fails_outside && self.flags.seed.is_none() {
            let outside = Settings {
                faults: PARTITIONS.to_vec(),
                ..settings
            };
            let words = PARTITIONS.map(FaultKind::word).join(",");
            self.seeds_of::<A>(&outside, Some(&words), Assumptions::Outside);
        }
    }
}

/// What breaks the assumptions of a protocol for synchronous networks, and nothing else of it.
const PARTITIONS: [FaultKind; 2] = [FaultKind::Cut, FaultKind::Isolate];

/// Whether `kind` is outside what `A` assumes as it is by default.
fn breaks<A: Runnable>(kind: &FaultKind) -> bool {
    A::outside(&A::Options::default()).contains(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_faults_is_read_and_what_is_no_fault_named() {
        assert_eq!(kinds(None).expect("all"), KINDS);
        assert_eq!(kinds(Some("none")).expect("calm"), []);
        assert_eq!(
            kinds(Some("drop,kill")).expect("two"),
            [FaultKind::Drop, FaultKind::Kill]
        );
        for (list, why) in [("drop,melt", "melt"), ("badcert", "needs real processes")] {
            let error = kinds(Some(list)).expect_err(list);
            assert!(error.is::<crate::ending::Refusal>());
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
