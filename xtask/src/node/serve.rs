//! One node from start to end.

use super::{
    config::{Config, Peer},
    disk::BreakableFiles,
    rejoin,
};
use crate::{
    ending::{DONE, refused},
    flags::Durability,
    supervised::{self, Place},
};
use anyhow::Context as _;
use consensus_core::{NodeId, runtime::Runnable};
use net_quic::{
    Identity, LinkControl, LinkError,
    node::{self, Settings},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};

/// Stands for an address that the supervisor will tell: nobody listens on port 0.
const UNTOLD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the node until SIGTERM, or until it fails.
///
/// # Errors
/// A refusal when it cannot start; what broke when it fails later.
pub(crate) fn run<A: Runnable>(
    config: &Config,
    identity: Identity,
    options: A::Options,
    operator: Option<&Path>,
) -> anyhow::Result<u8> {
    let runtime = config.runtime()?;
    runtime.block_on(serve::<A>(config, identity, options, operator))
}

async fn serve<A: Runnable>(
    config: &Config,
    identity: Identity,
    options: A::Options,
    operator: Option<&Path>,
) -> anyhow::Result<u8> {
    let terminated = terminated()?;
    // From the start as well: it would end a node that still reads its log.
    let mut again = signal(SignalKind::hangup())?;
    let mut settings = settings::<A>(config, identity)?;
    settings.protocol = options;
    let breaks_disk = config.supervisor.is_some_and(|parent| parent.breaks_disk);
    let disk = breaks_disk.then(BreakableFiles::default);
    if let Some(disk) = &disk {
        settings.files = Arc::new(disk.clone());
    }
    let mut node = node::start(settings).await.map_err(refused)?;
    if let Some(cut) = &node.report().torn {
        tracing::warn!(
            ?cut,
            "a torn tail of the log was cut: a crash left it, nothing acknowledged was in it"
        );
    }
    if config.supervisor.is_some() {
        let addresses = meet(config, node.address()).await?;
        node.set_addresses(addresses);
    }
    if let Some(operator) = operator {
        tokio::spawn(rejoin::promote(config.clone(), operator.to_owned()));
    }
    let is_far = config.supervisor.is_some_and(|parent| parent.is_far());
    if is_far || disk.is_some() {
        supervised::hear_disk_commands(is_far, move |command| match &disk {
            Some(disk) => disk.command(command),
            None => Err("this node was not started to have its disk broken".to_owned()),
        })?;
    }
    tokio::pin!(terminated);
    loop {
        tokio::select! {
            () = &mut terminated => break,
            _ = again.recv() => {
                // A wrong file must not end a node that runs: the old identity stays in use.
                match config.identity.load().and_then(|identity| node.reload(&identity)) {
                    Ok(()) => tracing::warn!("the files of the identity were read again"),
                    Err(error) => tracing::error!("the old identity stays in use: {error}"),
                }
            }
            stopped = node.wait() => {
                stopped.context("the node has stopped")?;
                return Ok(DONE);
            }
        }
    }
    node.shutdown().await.context("shutting down")?;
    Ok(DONE)
}

/// Ends when somebody asks this process to. Listens from the call on: a signal that comes before
/// anything is announced must not be lost.
pub(crate) fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says where this node listens, and hears where everybody does.
pub(crate) async fn meet(
    config: &Config,
    address: SocketAddr,
) -> anyhow::Result<BTreeMap<NodeId, SocketAddr>> {
    supervised::say_ready(Place {
        node: config.node,
        address,
    })?;
    // Reading blocks, and the node must go on meanwhile.
    let told = tokio::task::spawn_blocking(supervised::hear_peers).await??;
    let places = told.peers.into_iter();
    Ok(places
        .map(|place| (NodeId(place.node), place.address))
        .collect())
}

fn settings<A: Runnable>(config: &Config, identity: Identity) -> anyhow::Result<Settings<A>> {
    let link = config.link.as_ref().map(|link| {
        let control = LinkControl::new(link.seed);
        let mut commands = link.commands.iter();
        commands.try_for_each(|command| control.command(command))?;
        Ok::<_, LinkError>(control)
    });
    let members: BTreeMap<_, _> = match config.supervisor {
        Some(supervisor) => (1..=supervisor.nodes)
            .map(|node| (NodeId(node), UNTOLD))
            .collect(),
        None => {
            let listed = config.peers.iter();
            listed
                .map(|Peer { node, address }| (NodeId(*node), *address))
                .collect()
        }
    };
    let cluster = identity.name().cluster;
    Ok(Settings {
        listen: Some(config.listen),
        joins: config.joins.into(),
        durability: match config.durability {
            Durability::Fsync => node::Durability::fsync(&config.data),
            Durability::Memory => node::Durability::Memory,
        },
        link: link.transpose().map_err(refused)?,
        ..Settings::new(cluster, NodeId(config.node), identity, members)
    })
}
