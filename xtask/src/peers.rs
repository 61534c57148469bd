//! `cargo xtask peers`: other libraries beside ours.

use crate::{
    cluster::root,
    ending::{DONE, FAILED},
};
use anyhow::Context as _;
use std::{env, process::Command};

/// The command. The libraries are built into the folder that everything here is built into: what they
/// share with it is not built twice.
pub(crate) fn run() -> anyhow::Result<u8> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = root();
    let status = Command::new(cargo)
        .args(["run", "--release", "--locked", "--manifest-path"])
        .arg(root.join("bench/peers/Cargo.toml"))
        .env("CARGO_TARGET_DIR", root.join("target"))
        .status()
        .context("starting cargo")?;
    Ok(if status.success() { DONE } else { FAILED })
}
