//! `cargo xtask node`: one node in the foreground.

pub(crate) mod config;
mod disk;
mod floor;
mod look;
mod serve;

pub(crate) use look::Look;

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
use consensus_core::{ClusterId, NodeId, runtime::Runnable};
use net_quic::{Identity, node};
use std::{fs, io::IsTerminal as _};

/// The command.
pub(crate) fn run<R: Registry>(flags: &NodeFlags) -> anyhow::Result<u8> {
    let config = Config::read(&flags.config)?;
    if let Some(supervisor) = config.supervisor {
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
    if let Some(baseline) = baseline {
        return floor::run(baseline, &config, identity);
    }
    let (name, coordinator) = (
        config.algorithm.clone(),
        Coordinator::from(config.coordinator),
    );
    let participants = config.nodes().saturating_sub(coordinator.nodes());
    let mut run = Run {
        parts: Some((config, identity)),
        result: Ok(DONE),
    };
    if participants == 0 || !placed::<R>(&name, coordinator, participants, &mut run) {
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

/// Makes a new disk of a node's data folder. Nothing to do where nothing is kept.
///
/// # Errors
/// A refusal when the folder holds something already.
pub(crate) fn format(config: &Config, cluster: ClusterId) -> anyhow::Result<()> {
    // A baseline makes its own, for it never comes back.
    if config.durability == Durability::Memory || Baseline::named(&config.algorithm).is_some() {
        return Ok(());
    }
    fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make {}", config.data.display()))
        .map_err(refused)?;
    node::init(&config.data, cluster, NodeId(config.node))
        .map(drop)
        .map_err(refused)
}

/// Runs whichever algorithm is asked for.
struct Run {
    parts: Option<(Config, Identity)>,
    result: anyhow::Result<u8>,
}

impl PlacedVisitor for Run {
    fn visit<A: Runnable>(&mut self, options: A::Options) {
        if let Some((config, identity)) = self.parts.take() {
            self.result = serve::run::<A>(&config, identity, options);
        }
    }
}
