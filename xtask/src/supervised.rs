//! What a node and the process that started it tell each other, one line of JSON each way: the
//! node says where it listens, then hears where its peers do. Hence every node may bind port 0, and
//! no two clusters ever race for a port.
//!
//! ```text
//! node    → stdout   {"ready":{"node":1,"address":"127.0.0.1:40123"}}
//! parent  → stdin    {"peers":[{"node":1,"address":"127.0.0.1:40123"},…]}
//! ```

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
};

/// Where one node listens.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Which.
    pub(crate) node: u16,
    /// Its QUIC address.
    pub(crate) address: SocketAddr,
}

/// The node's line.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Ready {
    /// Itself.
    pub(crate) ready: Place,
}

/// The parent's line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Peers {
    /// Everybody, the node itself included.
    pub(crate) peers: Vec<Place>,
}

/// Ties the life of this process to its parent's, whatever ends the parent.
///
/// The signal is SIGKILL, because a stopped process receives no other. It is sent when the *thread*
/// that started this process ends, so a parent must start nodes from a thread that lives as long as
/// they should.
///
/// # Errors
/// When the parent has died before this was asked for.
pub(crate) fn die_with(parent: u32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("asking to be killed with the parent")?;
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != parent {
        bail!("process {parent}, which started this node, has ended");
    }
    Ok(())
}

/// Says where this node listens.
pub(crate) fn say_ready(place: Place) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &Ready { ready: place })?;
    writeln!(out)?;
    out.flush()
        .context("telling the parent that the node is ready")
}

/// Waits to be told where the peers are.
pub(crate) fn hear_peers() -> anyhow::Result<Peers> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    serde_json::from_str(&line).context("the parent's line about the peers")
}
