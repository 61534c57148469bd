//! What will be run, in which order, decided before anything is started.

use super::{
    fault::Schedule,
    hosts::{Hosts, Spec},
};
use crate::{
    ending::refusal,
    flags::{ClusterFlags, Coordinator, Durability},
};
use bench::{algorithms as placed, recorder::Window, workload::Workload};
use consensus_core::Contract;
use std::time::Duration;

/// A baseline measures for no longer than this: it is steady.
const BASELINE_MEASURED: Duration = Duration::from_secs(2);
/// And warms up for no longer than this.
const BASELINE_WARMUP: Duration = Duration::from_millis(500);

/// One run of one algorithm or baseline.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its name in the report.
    pub(crate) name: String,
    /// Which of the interleaved repetitions, from 0.
    pub(crate) repetition: u32,
    /// Nodes that clients' work is for: all, but for a coordinator's own.
    pub(crate) nodes: u16,
    /// Where it coordinates.
    pub(crate) coordinator: Coordinator,
    /// Concurrent clients.
    pub(crate) clients: u32,
    /// Operations a second of an open loop.
    pub(crate) rate: Option<f64>,
    /// What is asked.
    pub(crate) workload: Workload,
    /// What is measured.
    pub(crate) window: Window,
    /// What an acknowledgement means.
    pub(crate) durability: Durability,
    /// Emulated links, as given.
    pub(crate) link: Option<String>,
    /// Bytes of commands between two snapshots.
    pub(crate) snapshot_bytes: u64,
    /// Threads of a node beside its disk's; zero: one a core.
    pub(crate) workers: usize,
    /// What goes wrong, when.
    pub(crate) faults: Schedule,
    /// Whether the history is recorded and checked.
    pub(crate) check: bool,
    /// Where clients and nodes stand.
    pub(crate) placement: String,
}

impl Plan {
    /// Node processes.
    pub(crate) fn processes(&self) -> u16 {
        processes(self.nodes, self.coordinator)
    }

    /// What progress calls it.
    pub(crate) fn title(&self) -> String {
        match self.repetition {
            0 => self.name.clone(),
            n => format!("{} ({})", self.name, n + 1),
        }
    }
}

/// Sees that only groups whose members can change are asked to.
///
/// # Errors
/// A refusal when another is; `contract` says what an algorithm promises.
pub(crate) fn members_can_change(
    plans: &[Plan],
    contract: impl Fn(&str) -> Contract,
) -> anyhow::Result<()> {
    for plan in plans {
        if let Some(spec) = plan.faults.first_of_members()
            && contract(&plan.name) != Contract::ReplicatedLog
        {
            return Err(refusal(format!(
                "--fault '{spec}' is for replicated logs, such as raft and multipaxos; the members of {} are fixed",
                plan.name
            )));
        }
    }
    Ok(())
}

/// Nodes, and those that only coordinate.
pub(crate) fn processes(nodes: u16, coordinator: Coordinator) -> u16 {
    nodes + placed::Coordinator::from(coordinator).nodes()
}

/// All runs that the flags ask for: algorithms first, then the baselines, and again for every
/// repetition.
///
/// # Errors
/// A refusal when the flags contradict each other or the machine.
pub(crate) fn plans(
    flags: &ClusterFlags,
    algorithms: &[&str],
    baselines: &[(&str, Durability)],
    hosts: &[Spec],
    seed: u64,
) -> anyhow::Result<Vec<Plan>> {
    let measured = Duration::from_secs_f64(flags.duration);
    let coordinator = flags.coordinator;
    let other = |name: &&&str| **name != "twophase";
    if coordinator != Coordinator::Together
        && let Some(name) = algorithms.iter().find(other)
    {
        return Err(refusal(format!(
            "--coordinator is for twophase; {name} has no coordinator that could be elsewhere"
        )));
    }
    let faults = Schedule::new(&flags.fault, processes(flags.nodes, coordinator), measured)?;
    if flags.durability == Durability::Memory && faults.restart_nodes() {
        return Err(refusal(
            "--durability memory keeps nothing: a node that comes back has forgotten its promises, so nothing can be restarted",
        ));
    }
    if flags.durability == Durability::Memory && faults.need_disks() {
        return Err(refusal(
            "--durability memory keeps nothing: there is no disk that could be broken",
        ));
    }
    Hosts::allow(hosts, &faults)?;
    let window = Window {
        warmup: Duration::from_secs_f64(flags.warmup),
        measured,
        timeout: Duration::from_millis(flags.timeout),
    };
    let workload = Workload {
        keys: flags.keys,
        zipf: flags.zipf,
        read_ratio: flags.read_ratio,
        payload: flags.payload as usize,
        seed,
    };
    workload
        .validate()
        .map_err(|error| refusal(error.to_string()))?;
    let plan = |name: &str, repetition| Plan {
        name: name.to_owned(),
        repetition,
        nodes: flags.nodes,
        coordinator,
        clients: flags.clients,
        rate: flags.rate,
        workload,
        window,
        durability: flags.durability,
        link: flags.link.clone(),
        snapshot_bytes: flags.snapshot,
        workers: flags.workers,
        faults: faults.clone(),
        check: flags.check || !faults.faults.is_empty(),
        placement: Hosts::placement(hosts),
    };
    let mut plans = Vec::new();
    for repetition in 0..flags.repeat {
        plans.extend(algorithms.iter().map(|name| plan(name, repetition)));
        plans.extend(baselines.iter().map(|(name, durability)| Plan {
            nodes: 1,
            coordinator: Coordinator::Together,
            durability: *durability,
            link: None,
            faults: Schedule::default(),
            check: false,
            window: Window {
                warmup: window.warmup.min(BASELINE_WARMUP),
                measured: window.measured.min(BASELINE_MEASURED),
                ..window
            },
            ..plan(name, repetition)
        }));
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Arguments, Command};
    use clap::Parser as _;

    fn flags(line: &str) -> ClusterFlags {
        let words = ["xtask", "cluster"]
            .into_iter()
            .chain(line.split_whitespace());
        match Arguments::parse_from(words).command {
            Command::Cluster(flags) => flags,
            _ => unreachable!("it is the cluster's"),
        }
    }

    fn names(line: &str) -> Vec<String> {
        let plans = plans(
            &flags(line),
            &["a", "b"],
            &[("echo", Durability::Memory)],
            &[],
            7,
        );
        plans
            .expect("it can be run")
            .into_iter()
            .map(|plan| format!("{}{}", plan.name, plan.repetition))
            .collect()
    }

    #[test]
    fn repetitions_are_interleaved_and_baselines_come_last() {
        assert_eq!(
            names("--repeat 2"),
            ["a0", "b0", "echo0", "a1", "b1", "echo1"]
        );
    }

    #[test]
    fn a_fault_turns_the_check_on_and_spares_the_baselines() {
        let plans = plans(
            &flags("--fault kill:1@1s --link delay=1ms"),
            &["a"],
            &[("echo", Durability::Memory)],
            &[],
            7,
        )
        .expect("it can be run");
        assert!(plans[0].check && !plans[1].check);
        assert!(plans[1].faults.moments.is_empty() && plans[1].link.is_none());
        assert_eq!((plans[0].nodes, plans[1].nodes), (3, 1));
    }

    #[test]
    fn a_node_that_keeps_nothing_is_not_restarted() {
        for fault in ["kill:1@1s+1s", "kill:1@1s --fault restart:1@2s"] {
            let flags = flags(&format!("--durability memory --fault {fault}"));
            assert!(plans(&flags, &["a"], &[], &[], 7).is_err(), "{fault}");
        }
        let flags = flags("--durability memory --fault kill:1@1s");
        assert!(plans(&flags, &["a"], &[], &[], 7).is_ok());
    }

    /// Five algorithms, three baselines, and no more than two seconds each to start and stop.
    #[test]
    fn a_plain_run_of_five_algorithms_stays_under_two_minutes() {
        let baselines = [("echo", Durability::Memory); 3];
        let plans = plans(&flags(""), &["a", "b", "c", "d", "e"], &baselines, &[], 7);
        let total: Duration = plans
            .expect("it can be run")
            .iter()
            .map(|plan| plan.window.end() + Duration::from_secs(2))
            .sum();
        assert!(total < Duration::from_secs(120), "{total:?}");
    }
}
