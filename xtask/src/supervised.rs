//! What a node and the process that started it tell each other, one line of JSON each way: the
//! node says where it listens, then hears where its peers do. Hence every node may bind port 0, and
//! no two clusters ever race for a port.
//!
//! ```text
//! node    → stdout   {"ready":{"node":1,"address":"127.0.0.1:40123"}}
//! parent  → stdin    {"peers":[{"node":1,"address":"127.0.0.1:40123"},…]}
//! ```
//!
//! A parent on another machine is gone when the node's input ends, and the node ends with it. A parent that
//! may break the node's disk goes on, and is answered each time:
//!
//! ```text
//! parent  → stdin    {"disk":"eio 50"}
//! node    → stdout   {"refused":null}
//! ```

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
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

/// What the parent does to the node's disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct DiskCommand {
    /// Such as `eio 50`.
    pub(crate) disk: String,
}

/// The node's answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct DiskAnswer {
    /// Why nothing was done; null when it was.
    pub(crate) refused: Option<String>,
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
    say(&Ready { ready: place }).context("telling the parent that the node is ready")
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Hears on a thread of its own what is to be done to the disk, for as long as there is a parent. The
/// process is killed when there is none any more, if it `ends_with_parent`.
pub(crate) fn hear_disk_commands(
    ends_with_parent: bool,
    mut obey: impl FnMut(&str) -> Result<(), String> + Send + 'static,
) -> anyhow::Result<()> {
    let hear = move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let command = serde_json::from_str(&line).map_err(|error| error.to_string());
            let refused = command.and_then(|DiskCommand { disk }| obey(&disk)).err();
            if say(&DiskAnswer { refused }).is_err() {
                break;
            }
        }
        if ends_with_parent {
            // Nobody is left to ask for an orderly end.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    };
    // Nobody joins it: reading ends with the parent, and the node may end before.
    std::thread::Builder::new()
        .name("disk commands".to_owned())
        .spawn(hear)
        .context("starting a thread")?;
    Ok(())
}

/// Waits to be told where the peers are.
pub(crate) fn hear_peers() -> anyhow::Result<Peers> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    serde_json::from_str(&line).context("the parent's line about the peers")
}
