//! One node's configuration file.

use crate::{
    certs::Files,
    ending::refusal,
    flags::{Coordinator, Durability},
};
use anyhow::Context as _;
use consensus_core::Index;
use net_quic::{Identity, NetError, node};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The file, in TOML.
///
/// ```toml
/// algorithm = "paxos"
/// node = 1
/// listen = "10.0.0.1:4700"
/// data = "/var/lib/consensus"
/// durability = "fsync"                # or "memory"
/// coordinator = "together"            # of twophase: or "apart", "replicated"
/// snapshot_bytes = 67108864           # of raft and multipaxos: commands between two snapshots
/// workers = 0                         # threads beside the disk's; 0: one a core
/// joins = "founds"                    # or "new", or { again = 1234 }: see `--rejoin`
///
/// [identity]
/// certificate = "node-1.pem"
/// key = "node-1.key"                  # mode 0600
/// authority = "ca.pem"
/// revoked = "revoked.pem"             # may be left out
///
/// [[peer]]                            # one for every node, this one included
/// node = 1
/// address = "10.0.0.1:4700"
/// ```
///
/// Relative paths are relative to the folder of the file. On SIGHUP the files of the identity are read
/// again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Which protocol.
    pub(crate) algorithm: String,
    /// Where its coordinator runs: at the last node, or the last three, when it is not `together` with
    /// the first.
    #[serde(default)]
    pub(crate) coordinator: Coordinator,
    /// Which node; what its certificate names.
    pub(crate) node: u16,
    /// Where to listen. Port 0 lets the system choose, which helps nobody without a supervisor.
    pub(crate) listen: SocketAddr,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Whether acknowledged means on disk.
    #[serde(default)]
    pub(crate) durability: Durability,
    /// Bytes of commands between two snapshots of a replicated log; zero: never, and the log grows for
    /// ever.
    #[serde(default = "snapshot_bytes")]
    pub(crate) snapshot_bytes: u64,
    /// Threads that serve network and protocol; the disk has its own. Zero: one a core. One answers a
    /// lone client soonest, for nothing waits for another core to wake; many clients want more.
    #[serde(default)]
    pub(crate) workers: usize,
    /// Whether it founded the group or was taken in later.
    #[serde(default)]
    pub(crate) joins: Joins,
    /// Who this node is, and whom it trusts.
    pub(crate) identity: IdentityFiles,
    /// Emulated links; none when not given, and then none can be emulated later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Link>,
    /// The process that started this node and tells it its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supervisor: Option<Supervisor>,
    /// Every node; empty under a supervisor.
    #[serde(default, rename = "peer", skip_serializing_if = "Vec::is_empty")]
    pub(crate) peers: Vec<Peer>,
}

impl Config {
    /// The runtime that it asks for.
    pub(crate) fn runtime(&self) -> anyhow::Result<tokio::runtime::Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if self.workers > 0 {
            builder.worker_threads(self.workers);
        }
        builder.enable_all().build().context("starting the runtime")
    }
}

/// Bytes of commands between two snapshots, unless told otherwise.
pub(crate) const fn snapshot_bytes() -> u64 {
    64 << 20
}

/// How a node came to its group; see [`node::Joins`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Joins {
    /// With those that founded it.
    #[default]
    Founds,
    /// Under a number that nobody had before.
    New,
    /// Under its old number, with another disk, by this entry of the log.
    Again(u64),
}

impl From<Joins> for node::Joins {
    fn from(joins: Joins) -> Self {
        match joins {
            Joins::Founds => Self::Founds,
            Joins::New => Self::New,
            Joins::Again(index) => Self::Again(Index(index)),
        }
    }
}

/// Where a certificate, its key and the authority are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityFiles {
    /// PEM.
    pub(crate) certificate: PathBuf,
    /// PEM, readable by nobody else.
    pub(crate) key: PathBuf,
    /// PEM; several certificates while an authority is replaced.
    pub(crate) authority: PathBuf,
    /// PEM; lists of revoked certificates, signed by the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<PathBuf>,
}

impl IdentityFiles {
    /// Reads them, as often as they change.
    ///
    /// # Errors
    /// When one cannot be read or holds something else.
    pub(crate) fn load(&self) -> Result<Identity, NetError> {
        let identity = Identity::load(&self.certificate, &self.key, &self.authority)?;
        match &self.revoked {
            None => Ok(identity),
            Some(file) => identity.revoking_those_in(file),
        }
    }
}

impl From<Files> for IdentityFiles {
    fn from(files: Files) -> Self {
        Self {
            certificate: files.certificate,
            key: files.key,
            authority: files.authority,
            revoked: None,
        }
    }
}

/// Emulated links.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// Decides which packets suffer.
    pub(crate) seed: u64,
    /// What they are like from the start, such as `delay 2 20ms`.
    #[serde(default)]
    pub(crate) commands: Vec<String>,
}

/// Who started this node.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Supervisor {
    /// Its process; when it ends, so does the node. Zero on another machine: then the node ends with its
    /// standard input.
    pub(crate) process: u32,
    /// How many nodes it starts, numbered from 1.
    pub(crate) nodes: u16,
    /// Whether it may break this node's disk.
    #[serde(default)]
    pub(crate) breaks_disk: bool,
}

/// A node of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    /// Which.
    pub(crate) node: u16,
    /// Where.
    pub(crate) address: SocketAddr,
}

impl Supervisor {
    /// Whether it runs on another machine.
    pub(crate) const fn is_far(&self) -> bool {
        self.process == 0
    }
}

impl Config {
    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u16 {
        let listed = u16::try_from(self.peers.len()).unwrap_or(u16::MAX);
        self.supervisor.map_or(listed, |parent| parent.nodes)
    }

    /// Reads a file and makes its paths whole.
    ///
    /// # Errors
    /// A refusal that names the file and what is wrong with it.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .map_err(crate::ending::refused)?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| refusal(format!("{}: {}", file.display(), sentence(&error, &text))))?;
        config
            .validate()
            .map_err(|why| refusal(format!("{}: {why}", file.display())))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for path in [
            &mut config.data,
            &mut config.identity.certificate,
            &mut config.identity.key,
            &mut config.identity.authority,
        ] {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut config.identity.revoked {
            *path = folder.join(&*path);
        }
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        if self.node == 0 {
            return Err("node = 0: nodes are numbered from 1".to_owned());
        }
        if self.supervisor.is_some() {
            return match self.peers[..] {
                [] => Ok(()),
                _ => Err("a supervisor tells the peers, so there is no [[peer]]".to_owned()),
            };
        }
        if self.listen.port() == 0 {
            return Err("listen: without a supervisor nobody would learn the port".to_owned());
        }
        let mut nodes: Vec<_> = self.peers.iter().map(|peer| peer.node).collect();
        nodes.sort_unstable();
        if let Some(twice) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("node {} has two [[peer]] entries", twice[0]));
        }
        if self.joins == Joins::Founds && !nodes.contains(&self.node) {
            return Err(format!(
                "no [[peer]] for node {} itself: list every node of the cluster",
                self.node
            ));
        }
        Ok(())
    }
}

/// What is wrong, and in which line, without the drawing.
fn sentence(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    format!("{}{message}", line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
algorithm = "paxos"
node = 1
listen = "127.0.0.1:4700"
data = "data"
[identity]
certificate = "node-1.pem"
key = "/etc/node-1.key"
authority = "ca.pem"
[[peer]]
node = 1
address = "127.0.0.1:4700"
"#;

    fn read(name: &str, text: &str) -> anyhow::Result<Config> {
        let file = std::env::temp_dir().join(format!("xtask-{}-{name}.toml", std::process::id()));
        fs::write(&file, text).expect("the folder is ours");
        let config = Config::read(&file);
        fs::remove_file(&file).expect("it is there");
        config
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let config = read("paths", GOOD).expect("it is good");
        assert_eq!(config.data, std::env::temp_dir().join("data"));
        assert_eq!(config.identity.key, Path::new("/etc/node-1.key"));
        assert_eq!(config.durability, Durability::Fsync);
    }

    #[test]
    fn a_wrong_file_is_one_line_that_says_what_and_where() {
        for (name, from, to, says) in [
            (
                "missing",
                "node = 1\nlisten",
                "listen",
                "missing field `node`",
            ),
            (
                "unknown",
                "data =",
                "date =",
                "line 5: unknown field `date`",
            ),
            (
                "zero",
                "node = 1\nlisten",
                "node = 0\nlisten",
                "numbered from 1",
            ),
            (
                "alone",
                "[[peer]]\nnode = 1",
                "[[peer]]\nnode = 2",
                "no [[peer]] for node 1",
            ),
            (
                "port",
                "4700\"\ndata",
                "0\"\ndata",
                "nobody would learn the port",
            ),
            (
                "listen",
                "127.0.0.1:4700\"\ndata",
                "here\"\ndata",
                "line 4: ",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{name}");
            let error = read(name, &text).expect_err(name).to_string();
            assert!(error.contains(says), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn what_a_cluster_writes_a_node_reads() {
        let mut config = read("round", GOOD).expect("it is good");
        config.peers.clear();
        config.supervisor = Some(Supervisor {
            process: 7,
            nodes: 3,
            breaks_disk: true,
        });
        config.link = Some(Link {
            seed: 3,
            commands: vec!["delay 20ms".to_owned()],
        });
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(read("again", &text).expect("it can be read"), config);
    }
}
