//! `cargo xtask cluster`: real processes, real load, real disks, compared.

mod audit;
mod child;
mod costs;
mod fault;
mod floor;
mod folder;
mod hosts;
mod link;
mod load;
mod measure;
mod nodes;
mod out;
mod plan;
mod recovery;
mod search;
mod verify;

use crate::{
    algorithms::Catalogue,
    ending::{DONE, FAILED, one_line, refused},
    flags::{ClusterFlags, Durability},
    interrupt,
};
use anyhow::Context as _;
use bench::{
    baseline::Baseline,
    report::{
        json::{Environment, Report, Run, SCHEMA},
        table,
    },
};
pub(crate) use out::{parent, root};

use floor::SyncProbe;
use hosts::Hosts;
use link::Links;
use measure::Job;
use plan::Plan;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The command.
pub(crate) fn command(flags: &ClusterFlags, catalogue: Catalogue) -> anyhow::Result<u8> {
    // Small enough to be typed again.
    let seed = flags.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let algorithms = catalogue.chosen(&flags.algorithm)?;
    let specs = flags.hosts.as_deref().map(hosts::read);
    let specs = specs.transpose()?.unwrap_or_default();
    let plans = plan::plans(flags, &algorithms, &baselines(), &specs, seed)?;
    plan::members_can_change(&plans, |name| catalogue.contract(name))?;
    let links = Links::new(
        flags.link.as_deref(),
        plan::processes(flags.nodes, flags.coordinator),
    )?;
    let folder = report_folder(flags)?;
    eprintln!("seed {seed}");
    interrupt::run(async {
        let hosts = Hosts::open(&specs, &flags.ssh).await?;
        let todo = Todo {
            flags,
            catalogue,
            plans: &plans,
            links: &links,
            hosts: &hosts,
        };
        let status = all(&todo, seed, &folder).await;
        hosts.close().await;
        status
    })
}

/// What `cluster` with these flags measures of algorithms, without baselines and without a report.
///
/// # Errors
/// When the flags are wrong, or a run does not come to an end.
pub(crate) async fn runs(line: &str, catalogue: Catalogue) -> anyhow::Result<Vec<Run>> {
    let flags = ClusterFlags::of(line)?;
    let algorithms = catalogue.chosen(&flags.algorithm)?;
    let plans = plan::plans(&flags, &algorithms, &[], &[], rand::random::<u32>().into())?;
    let links = Links::new(flags.link.as_deref(), flags.nodes)?;
    let parent = parent();
    let mut runs = Vec::new();
    for plan in &plans {
        let job = Job {
            plan,
            catalogue,
            links: &links,
            hosts: &Hosts::default(),
            parent: &parent,
        };
        runs.push(measure::run(&job).await?);
    }
    Ok(runs)
}

/// Makes the folder that the report will go to: before anything is measured, for nobody may be there to
/// correct it afterwards.
fn report_folder(flags: &ClusterFlags) -> anyhow::Result<PathBuf> {
    let given = flags.out.clone();
    let folder = given.unwrap_or_else(|| parent().join(out::utc_now()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the report folder {}", folder.display()))
        .map_err(refused)?;
    Ok(folder)
}

/// Everything that is to be run.
struct Todo<'a> {
    flags: &'a ClusterFlags,
    catalogue: Catalogue,
    plans: &'a [Plan],
    links: &'a Links,
    hosts: &'a Hosts,
}

/// Runs all plans, one after another, and reports.
async fn all(todo: &Todo<'_>, seed: u64, folder: &Path) -> anyhow::Result<u8> {
    let Todo {
        flags,
        catalogue,
        plans,
        links,
        hosts,
    } = *todo;
    let parent = parent();
    std::fs::create_dir_all(&parent).with_context(|| format!("making {}", parent.display()))?;
    let mut status = DONE;
    let (mut runs, mut syncs, mut searches) = (Vec::new(), Vec::new(), Vec::new());
    // With one client nothing queues, and what is left above the floor is ours.
    let has_floors = flags.clients == 1 && flags.link.is_none() && hosts.is_here();
    for plan in plans {
        let probe = has_floors.then(|| SyncProbe::start(&parent));
        let job = Job {
            plan,
            catalogue,
            links,
            hosts,
            parent: &parent,
        };
        let outcome = match flags.search {
            // A baseline is a floor, not a contestant.
            Some(bound) if Baseline::named(&plan.name).is_none() => {
                search::run(&job, bound).await.map(|(runs, search)| {
                    searches.push(search);
                    runs
                })
            }
            _ => measure::run(&job).await.map(|run| vec![run]),
        };
        let sync = probe.map(SyncProbe::median).transpose()?;
        match outcome {
            Ok(ended) => {
                if !ended.iter().all(Run::is_safe) {
                    status = FAILED;
                }
                syncs.extend(ended.iter().map(|_| sync));
                runs.extend(ended);
            }
            Err(error) => {
                eprintln!("error: {}: {}", plan.title(), one_line(&error));
                status = FAILED;
            }
        }
    }
    lay_floors(catalogue, &mut runs, &syncs)?;
    let busy = match hosts.is_here() {
        true => u32::from(plan::processes(flags.nodes, flags.coordinator)) + 1,
        false => 1,
    };
    let report = Report {
        schema: SCHEMA,
        command: out::command(seed),
        environment: Environment::here(&root(), busy),
        runs,
        searches,
    };
    report.write(folder)?;
    if flags.json {
        crate::output::show!("{}", report.to_json());
    } else {
        crate::output::show!("{}", table::render(&report));
    }
    eprintln!("report: {}", folder.join("report.html").display());
    Ok(status)
}

/// Puts beside every run whose syncs were timed what it could not do without.
fn lay_floors(
    catalogue: Catalogue,
    runs: &mut [Run],
    syncs: &[Option<Duration>],
) -> anyhow::Result<()> {
    let Some(round_trip) = floor::round_trip(runs) else {
        return Ok(());
    };
    for (run, sync) in runs.iter_mut().zip(syncs) {
        if let (true, Some(sync)) = (run.verdict.valid, sync) {
            run.floor = floor::of(catalogue, run, round_trip, *sync).map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}

/// Floors beside the algorithms, and what an acknowledgement of theirs means.
fn baselines() -> [(&'static str, Durability); Baseline::ALL.len()] {
    Baseline::ALL.map(|baseline| {
        let durability = match baseline.is_durable() {
            true => Durability::Fsync,
            false => Durability::Memory,
        };
        (baseline.name(), durability)
    })
}
