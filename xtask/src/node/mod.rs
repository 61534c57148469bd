//! `cargo xtask node`: one node in the foreground.

pub(crate) mod config;
mod disk;
mod floor;
mod look;
mod rejoin;
mod serve;

pub(crate) use look::Look;
pub(crate) use rejoin::renew;

use crate::{
    ending::{DONE, refusal, refused},
    flags::{Durability, NodeFlags},
};
use anyhow::Context as _;
use bench::{
    algorithms::{Coordinator, PlacedVisitor, Registry, placed},
    baseline::Baseline,
};
use config::Config;
use consensus_core::{ClusterId, DiskId, NodeId, runtime::Runnable};
use net_quic::{Identity, node};
use std::{fs, io::IsTerminal as _, path::PathBuf};

/// The command.
pub(crate) fn run<R: Registry>(flags: &NodeFlags) -> anyhow::Result<u8> {
    let mut config = Config::read(&flags.config)?;
    if let Some(supervisor) = config.supervisor.filter(|parent| !parent.is_far()) {
        crate::supervised::die_with(supervisor.process)?;
    }
    let baseline = Baseline::named(&config.algorithm);
    if baseline.is_none() && !R::names().contains(&config.algorithm.as_str()) {
        return Err(refusal(format!(
            "{}: algorithm `{}` is none of {}",
            flags.config.display(),
            config.algorithm,
            R::names().join(", ")
        )));
    }
    log();
    let identity = config.identity.load().map_err(refused)?;
    if flags.format {
        format(&config, identity.name().cluster)?;
        eprintln!(
            "{} is ready for node {}",
            config.data.display(),
            config.node
        );
        return Ok(DONE);
    }
    if let Some(operator) = &flags.rejoin {
        rejoin::readmit(&flags.config, &mut config, operator)?;
    }
    if let Some(baseline) = baseline {
        return floor::run(baseline, &config, identity);
    }
    let (name, coordinator) = (
        config.algorithm.clone(),
        Coordinator::from(config.coordinator),
    );
    let snapshot_bytes = usize::try_from(config.snapshot_bytes).unwrap_or(usize::MAX);
    let participants = config.nodes().saturating_sub(coordinator.nodes());
    let mut run = Run {
        parts: Some((config, identity, flags.rejoin.clone())),
        result: Ok(DONE),
    };
    if participants == 0 || !placed::<R>(&name, coordinator, participants, snapshot_bytes, &mut run)
    {
        return Err(refusal(format!(
            "{}: {name} has no coordinator that could be {} here",
            flags.config.display(),
            coordinator.word(),
        )));
    }
    run.result
}

/// Warnings, or what `RUST_LOG` asks for, on standard error.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// Makes a new disk of a node's data folder, and says which. Nothing to do, and disk zero, where nothing
/// is kept.
///
/// # Errors
/// A refusal when the folder holds something already.
pub(crate) fn format(config: &Config, cluster: ClusterId) -> anyhow::Result<DiskId> {
    // A baseline makes its own, for it never comes back.
    if config.durability == Durability::Memory || Baseline::named(&config.algorithm).is_some() {
        return Ok(DiskId::default());
    }
    fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make {}", config.data.display()))
        .map_err(refused)?;
    node::init(&config.data, cluster, NodeId(config.node)).map_err(refused)
}

/// Runs whichever algorithm is asked for.
struct Run {
    parts: Option<(Config, Identity, Option<PathBuf>)>,
    result: anyhow::Result<u8>,
}

impl PlacedVisitor for Run {
    fn visit<A: Runnable>(&mut self, options: A::Options) {
        if let Some((config, identity, operator)) = self.parts.take() {
            self.result = serve::run::<A>(&config, identity, options, operator.as_deref());
        }
    }
}
