//! A whole cluster from one folder: its authority, everybody's certificates, and the nodes' disks.
//!
//! For a machine on which all nodes run, and to begin with: where nodes run apart, each gets its own
//! certificate, its own data folder and `ca.pem`, and `ca.key` stays at home.
//!
//! ```no_run
//! use consensus_core::NodeId;
//! use net_quic::Site;
//! # async fn run<A: net_quic::node::LogProtocol>(
//! #     machine: impl consensus_core::StateMachine + Send + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = ["10.0.0.1:7000".parse()?, "10.0.0.2:7000".parse()?, "10.0.0.3:7000".parse()?];
//! let site = Site::open_or_create("cluster".as_ref(), &addresses)?;
//! // At each node, with its own number:
//! let mut node = site.start::<A, _>(NodeId(1), machine).await?;
//! node.wait_until_ready().await;
//! // Anywhere:
//! let mut session = site.client()?.session(std::time::Duration::from_secs(10)).await?;
//! let result = session.call("what the state machine understands").await?;
//! # Ok(())
//! # }
//! ```

use crate::node::{self, Durability, LogProtocol, ReplicaNode, Settings, StartError};
use crate::{Client, ClusterCa, Identity, Limits, NetError, Role};
use consensus_core::{
    ClusterId, NodeId, StateMachine,
    runtime::{self, Runnable},
    service::replicated_log,
    storage::wal::FormatError,
};
use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A snapshot is taken when so many bytes of commands have been applied since the last one.
const SNAPSHOT_BYTES: usize = 64 << 20;

/// A folder with everything that a cluster's processes on this machine need.
#[derive(Clone, Debug)]
pub struct Site {
    dir: PathBuf,
    addresses: BTreeMap<NodeId, SocketAddr>,
}

/// A site's folder is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// A certificate or a key cannot be made, written or read.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A node's disk cannot be formatted.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The system refused.
    #[error("{} cannot be made", dir.display())]
    Io {
        /// Which folder.
        dir: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl Site {
    /// The site in `dir`, whose nodes, numbered from 1, are at `addresses`. A folder that is not there
    /// is made: an authority, certificates for the nodes and for clients, and an empty disk for each
    /// node. A folder that is there is left as it is: a disk that was lost is never made anew by this.
    ///
    /// # Errors
    /// [`SiteError`].
    pub fn open_or_create(dir: &Path, addresses: &[SocketAddr]) -> Result<Self, SiteError> {
        let site = Self {
            dir: dir.to_owned(),
            addresses: (1..).map(NodeId).zip(addresses.iter().copied()).collect(),
        };
        if !dir.exists() {
            site.create()?;
        }
        Ok(site)
    }

    /// Under another name first: a folder of this name is whole.
    fn create(&self) -> Result<(), SiteError> {
        let failed = |source| SiteError::Io {
            dir: self.dir.clone(),
            source,
        };
        let mut making = self.dir.clone().into_os_string();
        making.push(format!(".{}", std::process::id()));
        let making = Self {
            dir: making.into(),
            addresses: self.addresses.clone(),
        };
        fs::create_dir_all(&making.dir).map_err(failed)?;
        let cluster = ClusterId(rand::random());
        let authority = ClusterCa::generate(cluster)?;
        authority.save(&making.dir)?;
        let nodes = self.addresses.keys().copied().map(Role::Node);
        for role in nodes.chain([Role::Client, Role::Operator]) {
            let (certificate, key) = making.files(role);
            authority.issue(role)?.save(&certificate, &key)?;
        }
        for node in self.addresses.keys() {
            node::init(&making.data(*node), cluster, *node)?;
        }
        match fs::rename(&making.dir, &self.dir) {
            // Somebody else was faster; then theirs counts.
            Err(_) if self.dir.exists() => fs::remove_dir_all(&making.dir).map_err(failed),
            renamed => renamed.map_err(failed),
        }
    }

    fn files(&self, role: Role) -> (PathBuf, PathBuf) {
        let name = role.to_string().replace('/', "-");
        (
            self.dir.join(format!("{name}.pem")),
            self.dir.join(format!("{name}.key")),
        )
    }

    /// A node's data folder.
    #[must_use]
    pub fn data(&self, node: NodeId) -> PathBuf {
        self.dir.join(format!("data-{node}"))
    }

    /// The certificate and key of a role.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn identity(&self, role: Role) -> Result<Identity, NetError> {
        let (certificate, key) = self.files(role);
        Identity::load(&certificate, &key, &self.dir.join("ca.pem"))
    }

    /// A client of all nodes. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When no socket can be had, or the certificate cannot be read.
    pub fn client(&self) -> Result<Client, NetError> {
        let identity = self.identity(Role::Client)?;
        Client::connect(self.addresses.clone(), &identity, Limits::default(), None)
    }

    /// What a node of this site is started with: durable, the application on a task of its own.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn settings<A: Runnable>(&self, node: NodeId) -> Result<Settings<A>, NetError> {
        let identity = self.identity(Role::Node(node))?;
        let cluster = identity.name().cluster;
        let members = self.addresses.clone();
        let mut settings = Settings::new(cluster, node, identity, members);
        settings.durability = Durability::fsync(self.data(node));
        settings.runtime.placement = runtime::Placement::Apart;
        Ok(settings)
    }

    /// Starts a node around `machine`, with a snapshot every 64 MiB of commands, or as many as are half
    /// of its state.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start<A: LogProtocol, S: StateMachine + Send + 'static>(
        &self,
        node: NodeId,
        machine: S,
    ) -> Result<ReplicaNode<A>, StartError> {
        let limits = replicated_log::Limits {
            snapshot_bytes: SNAPSHOT_BYTES,
            snapshot_growth_percent: 50,
            ..replicated_log::Limits::default()
        };
        node::start_replica(self.settings(node)?, limits, machine).await
    }
}
