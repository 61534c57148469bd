//! What of a node survives a crash.

use super::{GROUP, StartError, draw};
use consensus_core::{
    Boot, DiskId, Lsn,
    runtime::Reports,
    storage::{
        Disk, MemoryDisk, Recovered,
        snapshots::SnapshotStore,
        wal::{self, FileSystem, Wal},
    },
};
use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

/// What survives a crash of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Everything acknowledged: a write-ahead log, synced before anything that rests on it leaves.
    Fsync {
        /// Its folder, formatted by [`init`](super::init).
        dir: PathBuf,
        /// How it behaves.
        options: wal::Options,
    },
    /// Nothing. A node that comes back has forgotten its promises and may break agreement: for
    /// measurements, and where no node ever comes back under its old number.
    Memory,
}

impl Durability {
    /// A write-ahead log in `dir` with default options.
    #[must_use]
    pub fn fsync(dir: impl Into<PathBuf>) -> Self {
        Self::Fsync {
            dir: dir.into(),
            options: wal::Options::default(),
        }
    }
}

/// A disk and what was on it.
pub(super) struct Opened {
    pub(super) disk: Box<dyn Disk>,
    pub(super) boot: Boot,
    pub(super) disk_id: DiskId,
    pub(super) records: Vec<Recovered>,
    pub(super) durable: Lsn,
    pub(super) report: wal::Report,
    /// Where snapshots are kept; nowhere when nothing is.
    pub(super) snapshots: Option<SnapshotStore>,
}

/// The folder of snapshots in that of the log.
const SNAPSHOTS: &str = "snapshots";

pub(super) async fn open(
    (durability, files): (Durability, Arc<dyn FileSystem>),
    identity: wal::Identity,
    reports: Reports,
) -> Result<Opened, StartError> {
    let Durability::Fsync { dir, options } = durability else {
        // Later than that of every earlier start, as far as the wall clock goes: there is nothing
        // else to tell two of them apart.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        return Ok(Opened {
            disk: Box::new(MemoryDisk::new(reports.completion())),
            boot: Boot(since.as_secs() as u32),
            disk_id: DiskId(u128::from(draw()?) << 64 | u128::from(draw()?)),
            records: Vec::new(),
            durable: Lsn::ZERO,
            report: wal::Report::default(),
            snapshots: None,
        });
    };
    // Reads the whole log: not on a thread that others wait for.
    let opened = tokio::task::spawn_blocking(move || {
        let completion = reports.completion();
        let opened = Wal::open_on(Arc::clone(&files), &dir, identity, options, completion)?;
        let snapshots = SnapshotStore::open(files, &dir.join(SNAPSHOTS), identity.cluster)?;
        Ok::<_, StartError>((opened, snapshots))
    });
    let (opened, snapshots) = opened.await.map_err(io::Error::other)??;
    Ok(Opened {
        durable: opened.durable(GROUP),
        disk: Box::new(opened.wal),
        boot: opened.boot,
        disk_id: opened.disk,
        records: opened.records,
        report: opened.report,
        snapshots: Some(snapshots),
    })
}
