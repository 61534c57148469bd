//! A node whose disk is lost or damaged comes back with an empty one.
//!
//! In this order, and no other: the group goes on without the node, takes it in again as a learner under
//! its new disk, and only then does it start. Before that its word could be counted for a leader of the
//! past, for it has forgotten what it had promised.

use super::config::{Config, Joins};
use crate::{certs::Files, ending::refused};
use anyhow::Context as _;
use consensus_core::{DiskId, NodeId, runtime::Management as _};
use net_quic::{Client, Identity, Limits, Role};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// For the group to go on without the node, and to take it in again.
const READMITTED_WITHIN: Duration = Duration::from_secs(30);
/// For one attempt to let it vote. It is tried for as long as it takes.
const PROMOTED_WITHIN: Duration = Duration::from_secs(10);

/// Puts the data folder aside and formats another in its place.
///
/// # Errors
/// When the folder cannot be moved or made.
pub(crate) fn renew(config: &Config) -> anyhow::Result<DiskId> {
    let aside = (1..).map(|number| {
        let mut name = config.data.clone().into_os_string();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    });
    let mut free = aside.skip_while(|folder| folder.exists());
    let aside = free.next().context("no name is free")?;
    if config.data.exists() {
        fs::rename(&config.data, &aside)
            .with_context(|| format!("cannot move {} aside", config.data.display()))?;
    }
    let cluster = config.identity.load()?.name().cluster;
    super::format(config, cluster)
}

/// Has the group take this node in again under a new disk, and writes that into its configuration.
///
/// # Errors
/// A refusal when the group does not; the old folder has been put aside by then.
pub(crate) fn readmit(file: &Path, config: &mut Config, operator: &Path) -> anyhow::Result<()> {
    let disk = renew(config).map_err(refused)?;
    let member = net_quic::member(NodeId(config.node), disk, config.listen);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let index = runtime.block_on(async {
        let client = client(config, operator)?;
        client
            .readmit(member, READMITTED_WITHIN)
            .await
            .context("the group does not take this node in again")
    });
    config.joins = Joins::Again(index.map_err(refused)?.0);
    remember(file, config.joins)
        .with_context(|| format!("cannot write {}", file.display()))
        .map_err(refused)
}

/// Writes how the node joined as the first line of its configuration, and leaves the rest as it is.
fn remember(file: &Path, joins: Joins) -> anyhow::Result<()> {
    let Joins::Again(index) = joins else {
        return Ok(());
    };
    let text = fs::read_to_string(file)?;
    let rest = text.lines().filter(|line| {
        let key = line.split('=').next().unwrap_or_default();
        key.trim() != "joins"
    });
    let mut new = format!("joins = {{ again = {index} }}\n");
    for line in rest {
        new.push_str(line);
        new.push('\n');
    }
    Ok(fs::write(file, new)?)
}

/// Lets the node vote as soon as it has caught up. Ends when it does.
pub(crate) async fn promote(config: Config, operator: PathBuf) {
    let client = match client(&config, &operator) {
        Ok(client) => client,
        Err(error) => return tracing::error!("nobody will let this node vote: {error:#}"),
    };
    let node = NodeId(config.node);
    loop {
        match client.promote(node, PROMOTED_WITHIN).await {
            Ok(index) => return tracing::warn!(%index, "this node votes again"),
            Err(error) => tracing::warn!("this node does not vote yet: {error}"),
        }
    }
}

fn client(config: &Config, operator: &Path) -> anyhow::Result<Client> {
    let files = Files::of(Role::Operator, operator);
    let identity = Identity::load(&files.certificate, &files.key, &files.authority)?;
    let others = config.peers.iter().filter(|peer| peer.node != config.node);
    let others = others.map(|peer| (NodeId(peer.node), peer.address));
    Ok(Client::connect(
        others.collect(),
        &identity,
        Limits::default(),
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_node_joined_is_written_before_everything_else_and_once() {
        let file = std::env::temp_dir().join(format!("xtask-rejoin-{}.toml", std::process::id()));
        let text =
            "algorithm = \"raft\" # a remark\njoins = \"founds\"\n\n[identity]\nkey = \"k\"\n";
        fs::write(&file, text).expect("a file");
        remember(&file, Joins::Again(7)).expect("it is ours");
        remember(&file, Joins::Again(12)).expect("it is ours");
        let written = fs::read_to_string(&file).expect("it is ours");
        let _ = fs::remove_file(&file);
        assert_eq!(
            written,
            "joins = { again = 12 }\nalgorithm = \"raft\" # a remark\n\n[identity]\nkey = \"k\"\n"
        );
    }
}
