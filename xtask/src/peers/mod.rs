//! `cargo xtask peers`: other systems beside ours, libraries in one process and etcd on real nodes. What is
//! missing here is named and left out.

mod etcd;
mod real;

use crate::{
    algorithms::Catalogue,
    cluster::root,
    ending::{DONE, FAILED},
};
use anyhow::Context as _;
use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The command.
pub(crate) fn run(catalogue: Catalogue) -> anyhow::Result<u8> {
    let protoc = is_installed("protoc");
    if !protoc {
        eprintln!(
            "left out: raft-rs and etcd, whose clients need `protoc` to be built (Debian: protobuf-compiler)"
        );
    }
    let status = libraries(protoc).status().context("starting cargo")?;
    if !status.success() {
        return Ok(FAILED);
    }
    if !is_installed("etcd") {
        eprintln!("left out: etcd on real nodes, which is not installed (Debian: etcd-server)");
    } else if protoc {
        return real::show(catalogue);
    }
    Ok(DONE)
}

/// Builds and runs the program that drives other people's libraries. They are built into the folder that
/// everything here is built into: what they share with it is not built twice.
fn libraries(protoc: bool) -> Command {
    let root = root();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["run", "--release", "--locked", "--manifest-path"])
        .arg(root.join("bench/peers/Cargo.toml"))
        .env("CARGO_TARGET_DIR", root.join("target"));
    if !protoc {
        cargo.arg("--no-default-features");
    }
    cargo
}

/// The same program, built by [`libraries`].
fn program() -> PathBuf {
    root().join("target/release/peers")
}

fn is_installed(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
