//! Three nodes in one process, each with a folder and a port of its own.

use bytes::Bytes;
use consensus_core::{Index, NodeId, StateMachine, service::replicated_log::Limits, storage::wal};
use net_quic::{
    Session, Site,
    node::{self, Durability, ReplicaNode, Settings, StartError},
    processes::free_addresses,
};
use raft::Raft;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Longer than anything here takes: a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Slots that are written over, and what was written last, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Slots(pub(crate) Arc<Mutex<BTreeMap<u8, Bytes>>>);

impl StateMachine for Slots {
    fn apply(&mut self, _: Index, command: &[u8]) -> Bytes {
        let slot = command.first().copied().unwrap_or_default();
        let value = Bytes::copy_from_slice(command);
        self.0.lock().unwrap().insert(slot, value);
        Bytes::copy_from_slice(&[slot])
    }

    type Snapshot = std::collections::btree_map::IntoValues<u8, Bytes>;

    fn snapshot(&self) -> Self::Snapshot {
        self.0.lock().unwrap().clone().into_values()
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        let slots = chunks.filter_map(|chunk| Some((*chunk.first()?, chunk)));
        *self.0.lock().unwrap() = slots.collect();
        Ok(())
    }
}

/// A site under the system's folder for temporary files, gone when the test ends.
pub(crate) struct Group {
    pub(crate) site: Site,
    dir: PathBuf,
    addresses: Vec<SocketAddr>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Group {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("raft-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let addresses = free_addresses(3);
        let site = Site::open_or_create(&dir, &addresses).unwrap();
        Self {
            site,
            dir,
            addresses,
        }
    }

    /// Small segments, and a snapshot every 32 KiB of commands.
    pub(crate) async fn start(
        &self,
        id: u16,
        slots: &Slots,
    ) -> Result<ReplicaNode<Raft>, StartError> {
        self.start_with(id, slots, |_| {}).await
    }

    pub(crate) async fn start_with(
        &self,
        id: u16,
        slots: &Slots,
        tune: impl FnOnce(&mut Settings<Raft>),
    ) -> Result<ReplicaNode<Raft>, StartError> {
        let limits = Limits {
            snapshot_bytes: 32 << 10,
            ..Limits::default()
        };
        self.start_machine(id, slots.clone(), limits, tune).await
    }

    pub(crate) async fn start_machine<S: StateMachine + Send + 'static>(
        &self,
        id: u16,
        machine: S,
        limits: Limits,
        tune: impl FnOnce(&mut Settings<Raft>),
    ) -> Result<ReplicaNode<Raft>, StartError> {
        // A port is free again a moment after its node has ended.
        let address = self.addresses[usize::from(id) - 1];
        until("the port is free", || UdpSocket::bind(address).is_ok()).await;
        let mut settings = self.site.settings::<Raft>(NodeId(id))?;
        settings.protocol.keep_bytes = 0;
        settings.durability = Durability::Fsync {
            dir: self.site.data(NodeId(id)),
            options: wal::Options {
                segment_bytes: 64 << 10,
                reclaim_segments: 2,
                ..wal::Options::default()
            },
        };
        tune(&mut settings);
        node::start_replica(settings, limits, machine).await
    }

    pub(crate) async fn session(&self) -> Session {
        self.site.client().unwrap().session(PATIENCE).await.unwrap()
    }

    /// Bytes of a node's files whose name ends so.
    pub(crate) fn files(&self, id: u16, ending: &str) -> Vec<PathBuf> {
        let data = self.site.data(NodeId(id));
        let mut files = Vec::new();
        for folder in [data.clone(), data.join("snapshots")] {
            files.extend(ending_with(&folder, ending));
        }
        files
    }
}

fn ending_with(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}
