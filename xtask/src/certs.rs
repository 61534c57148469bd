//! `cargo xtask certs`: a cluster's authority, and who may be what in it.

use crate::{
    ending::{DONE, refusal, refused},
    flags::CertsFlags,
};
use anyhow::Context as _;
use consensus_core::{ClusterId, NodeId};
use net_quic::{ClusterCa, Role};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Clocks of two machines differ: a certificate is valid from this long before its issue.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(3600);

/// The files of one identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Files {
    /// Its certificate.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authority's certificate, by which others are judged.
    pub(crate) authority: PathBuf,
}

impl Files {
    /// Where [`write()`] puts the identity of a role.
    pub(crate) fn of(role: Role, folder: &Path) -> Self {
        let name = role.to_string().replace('/', "-");
        Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
            authority: folder.join("ca.pem"),
        }
    }
}

/// Makes an authority and certificates for `nodes` nodes, a client and an operator, valid for
/// `validity` from now.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(
    folder: &Path,
    cluster: ClusterId,
    nodes: u16,
    validity: Duration,
) -> anyhow::Result<()> {
    let authority = ClusterCa::generate(cluster)?;
    authority.save(folder)?;
    let now = SystemTime::now();
    let nodes = (1..=nodes).map(|node| Role::Node(NodeId(node)));
    for role in nodes.chain([Role::Client, Role::Operator]) {
        let identity = authority.issue_between(role, now - CLOCK_ALLOWANCE, now + validity)?;
        let files = Files::of(role, folder);
        identity.save(&files.certificate, &files.key)?;
    }
    Ok(())
}

/// The command.
pub(crate) fn run(flags: &CertsFlags) -> anyhow::Result<u8> {
    let folder = &flags.directory;
    if folder.join("ca.key").exists() {
        return Err(refusal(format!(
            "{} already holds an authority; name an empty folder, for whoever loses its key loses the cluster",
            folder.display()
        )));
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
        .map_err(refused)?;
    let cluster = ClusterId(rand::random());
    let validity = Duration::from_secs(u64::from(flags.days) * 24 * 3600);
    write(folder, cluster, flags.nodes, validity).map_err(refused)?;
    crate::output::showln!("cluster  {cluster}");
    crate::output::showln!("authority  {}", folder.join("ca.pem").display());
    for node in 1..=flags.nodes {
        let files = Files::of(Role::Node(NodeId(node)), folder);
        crate::output::showln!("node {node}  {}", files.certificate.display());
    }
    for role in [Role::Client, Role::Operator] {
        crate::output::showln!("{role}  {}", Files::of(role, folder).certificate.display());
    }
    eprintln!(
        "keys have mode 0600; keep ca.key off the nodes, whoever holds it can be any node; \
         certificates expire in {} days",
        flags.days
    );
    Ok(DONE)
}
