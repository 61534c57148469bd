//! Snapshots as files: a folder beside a log.
//!
//! A file is written whole under a temporary name, synced, renamed, and its folder synced: under its
//! own name it is whole or damaged, never half. A file that was begun when a node died goes at the
//! next opening. What is there then is read once, in full, against its checksums; a damaged file is
//! neither restored nor sent nor deleted, and naming it is an error with its name in it.
//!
//! A file goes when the log is known to rest on a newer one ([`SnapshotStore::retire_before`]), so at
//! every moment the one that the newest durable record names is there.

mod error;
mod format;
mod incoming;

pub use error::SnapshotError;
pub use incoming::Incoming;

use super::wal::{FileSystem, LogFile};
use crate::{
    ClusterId,
    contract::replicated_log::{Manifest, SnapshotId},
};
use bytes::Bytes;
use error::io_error;
use format::{Piece, Scanner, Writer};
use std::{
    borrow::ToOwned,
    boxed::Box,
    collections::BTreeMap,
    format, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    vec::Vec,
};

/// How a file is called until it is whole.
const WRITING: &str = "writing";
const ARRIVING: &str = "arriving";
/// And then.
const WHOLE: &str = "snapshot";

/// A folder of snapshots. All calls may wait for the disk.
pub struct SnapshotStore {
    files: Arc<dyn FileSystem>,
    dir: PathBuf,
    cluster: ClusterId,
    kept: Mutex<BTreeMap<SnapshotId, Kept>>,
}

#[derive(Clone)]
struct Kept {
    path: PathBuf,
    found: Result<Manifest, SnapshotError>,
    /// Held by whoever reads the file.
    readers: Arc<()>,
}

impl core::fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SnapshotStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl SnapshotStore {
    /// Opens a folder, which is made when it is missing, deletes what was not finished, and verifies
    /// the rest.
    ///
    /// # Errors
    /// When the system refuses; damage is no error until somebody needs the file.
    pub fn open(
        files: Arc<dyn FileSystem>,
        dir: &Path,
        cluster: ClusterId,
    ) -> Result<Self, SnapshotError> {
        files.create_dir(dir).map_err(io_error("create", dir))?;
        let store = Self {
            files,
            dir: dir.to_owned(),
            cluster,
            kept: Mutex::default(),
        };
        for name in store.files.list(dir).map_err(io_error("list", dir))? {
            let path = dir.join(&name);
            match name.rsplit_once('.') {
                Some((_, WRITING | ARRIVING)) => {
                    store
                        .files
                        .remove(&path)
                        .map_err(io_error("remove", &path))?;
                }
                Some((stem, WHOLE)) => {
                    if let Some(id) = id_of(stem) {
                        let found = store.verify(&path, id);
                        store.enter(id, path, found);
                    }
                }
                _ => {}
            }
        }
        // Names of this folder, and that of the folder itself.
        store.files.sync_dir(dir).map_err(io_error("sync", dir))?;
        if let Some(parent) = dir.parent() {
            store
                .files
                .sync_dir(parent)
                .map_err(io_error("sync", parent))?;
        }
        Ok(store)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SnapshotId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, id: SnapshotId, path: PathBuf, found: Result<Manifest, SnapshotError>) {
        let readers = Arc::default();
        let kept = Kept {
            path,
            found,
            readers,
        };
        self.lock().insert(id, kept);
    }

    fn path(&self, manifest: &Manifest, extension: &str) -> PathBuf {
        let (index, id) = (manifest.index.0, manifest.id.0);
        self.dir.join(format!("{index:016x}-{id:032x}.{extension}"))
    }

    /// Reads a whole file.
    fn verify(&self, path: &Path, id: SnapshotId) -> Result<Manifest, SnapshotError> {
        let mut scanner = self.scan(path)?;
        loop {
            match scanner.next()? {
                Piece::Chunk(_) => {}
                Piece::End(manifest) if manifest.id == id => return Ok(manifest),
                Piece::End(_) => {
                    return Err(SnapshotError::Damaged {
                        file: path.to_owned(),
                        offset: 0,
                        what: "it is another snapshot than its name says",
                    });
                }
            }
        }
    }

    fn scan(&self, path: &Path) -> Result<Scanner, SnapshotError> {
        let file = self.files.open(path).map_err(io_error("open", path))?;
        Scanner::new(file, path.to_owned(), self.cluster)
    }

    /// What is kept and whole, oldest first.
    #[must_use]
    pub fn manifests(&self) -> Vec<Manifest> {
        let kept = self.lock();
        let mut manifests: Vec<_> = kept
            .values()
            .filter_map(|kept| kept.found.clone().ok())
            .collect();
        manifests.sort_by_key(|manifest| manifest.index);
        manifests
    }

    /// What is kept and damaged.
    #[must_use]
    pub fn damage(&self) -> Vec<SnapshotError> {
        let kept = self.lock();
        kept.values()
            .filter_map(|kept| kept.found.clone().err())
            .collect()
    }

    /// Keeps a state through any crash from the return on. One that is kept already is kept once. The
    /// manifest with its size filled in.
    ///
    /// # Errors
    /// When the system refuses; nothing is left behind then, and what was kept before still is.
    pub fn keep(
        &self,
        manifest: &Manifest,
        chunks: impl Iterator<Item = Bytes>,
    ) -> Result<Manifest, SnapshotError> {
        if let Some(Ok(kept)) = self.lock().get(&manifest.id).map(|kept| kept.found.clone()) {
            return Ok(kept);
        }
        let path = self.path(manifest, WRITING);
        let file = self
            .files
            .create(&path)
            .map_err(io_error("create", &path))?;
        let written = Writer::new(&*file, &path)
            .write(self.cluster, manifest, chunks)
            .and_then(|size| {
                let manifest = Manifest {
                    size,
                    ..manifest.clone()
                };
                self.publish(&path, &manifest).map(|()| manifest)
            });
        if written.is_err() {
            // A second failure changes nothing: the next opening deletes it.
            let _ = self.files.remove(&path);
        }
        written
    }

    /// Gives a whole and synced file its own name.
    fn publish(&self, from: &Path, manifest: &Manifest) -> Result<(), SnapshotError> {
        let path = self.path(manifest, WHOLE);
        self.files
            .rename(from, &path)
            .map_err(io_error("rename", from))?;
        self.files
            .sync_dir(&self.dir)
            .map_err(io_error("sync", &self.dir))?;
        self.enter(manifest.id, path, Ok(manifest.clone()));
        Ok(())
    }

    /// Begins to take a copy of another node's snapshot, of `manifest.size` bytes. None when it is
    /// here already.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn receive(&self, manifest: &Manifest) -> Result<Option<Incoming>, SnapshotError> {
        if self
            .lock()
            .get(&manifest.id)
            .is_some_and(|k| k.found.is_ok())
        {
            return Ok(None);
        }
        let path = self.path(manifest, ARRIVING);
        let file = self
            .files
            .create(&path)
            .map_err(io_error("create", &path))?;
        Ok(Some(Incoming::new(manifest.clone(), file, path)))
    }

    /// Verifies a copy that is all here, and keeps it through any crash from the return on.
    ///
    /// # Errors
    /// When it is not what was sent, or the system refuses; it is gone then, and may be sent again.
    pub fn finish(&self, incoming: Incoming) -> Result<(), SnapshotError> {
        let Incoming {
            manifest,
            file,
            path,
            ..
        } = incoming;
        let finished = file
            .sync()
            .map_err(io_error("sync", &path))
            .and_then(|()| self.verify(&path, manifest.id))
            .and_then(|found| {
                if (found.index, found.epoch, found.size)
                    == (manifest.index, manifest.epoch, manifest.size)
                {
                    self.publish(&path, &found)
                } else {
                    Err(SnapshotError::Damaged {
                        file: path.clone(),
                        offset: 0,
                        what: "it is another snapshot than was announced",
                    })
                }
            });
        if finished.is_err() {
            let _ = self.files.remove(&path);
        }
        finished
    }

    /// Gives up a copy that was begun.
    pub fn discard(&self, incoming: Incoming) {
        let _ = self.files.remove(&incoming.path);
    }

    fn whole(&self, id: SnapshotId) -> Result<(PathBuf, Manifest, Arc<()>), SnapshotError> {
        let kept = self.lock().get(&id).cloned();
        let kept = kept.ok_or_else(|| SnapshotError::Missing {
            dir: self.dir.clone(),
            id,
        })?;
        Ok((kept.path, kept.found?, kept.readers))
    }

    /// The chunks of a snapshot, as they were kept.
    ///
    /// The iterator panics when the file can no longer be read as it was verified: the device has
    /// failed under a running node.
    ///
    /// # Errors
    /// When it is damaged or not here.
    pub fn chunks(
        &self,
        id: SnapshotId,
    ) -> Result<impl Iterator<Item = Bytes> + Send + use<>, SnapshotError> {
        let (path, _, reading) = self.whole(id)?;
        let mut scanner = self.scan(&path)?;
        Ok(core::iter::from_fn(move || {
            let _ = &reading;
            match scanner.next() {
                Ok(Piece::Chunk(chunk)) => Some(chunk),
                Ok(Piece::End(_)) => None,
                Err(error) => panic!("a snapshot that was verified: {error}"),
            }
        }))
    }

    /// The file's bytes, to be sent to another node.
    ///
    /// # Errors
    /// When it is damaged or not here.
    pub fn outgoing(&self, id: SnapshotId) -> Result<Outgoing, SnapshotError> {
        let (path, manifest, reading) = self.whole(id)?;
        let file = self.files.open(&path).map_err(io_error("open", &path))?;
        Ok(Outgoing {
            size: manifest.size,
            file,
            path,
            _reading: reading,
        })
    }

    /// The log rests on snapshot `id`, and its record is durable: older ones may go, unless somebody
    /// reads them. How many went.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn retire_before(&self, id: SnapshotId) -> Result<usize, SnapshotError> {
        let gone: Vec<PathBuf> = {
            let mut kept = self.lock();
            let Some(Ok(newest)) = kept.get(&id).map(|kept| kept.found.clone()) else {
                return Ok(0);
            };
            let goes = |kept: &Kept| {
                let older = kept.found.as_ref().is_ok_and(|m| m.index < newest.index);
                older && Arc::strong_count(&kept.readers) == 1
            };
            let (gone, stays) = core::mem::take(&mut *kept)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, kept)| goes(kept));
            *kept = stays;
            gone.into_values().map(|kept| kept.path).collect()
        };
        for path in &gone {
            self.files.remove(path).map_err(io_error("remove", path))?;
        }
        Ok(gone.len())
    }
}

/// The id in a file's name.
fn id_of(stem: &str) -> Option<SnapshotId> {
    let (_, id) = stem.split_once('-')?;
    u128::from_str_radix(id, 16).ok().map(SnapshotId)
}

/// A file that is sent.
pub struct Outgoing {
    size: u64,
    file: Box<dyn LogFile>,
    path: PathBuf,
    _reading: Arc<()>,
}

impl core::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outgoing")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    /// Bytes of the whole file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Some bytes from `offset` on, at most `most`; none at the end of the file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = std::vec![0; most.min((self.size.saturating_sub(offset)) as usize)];
        let mut count = 0;
        while count < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[count..], offset + count as u64)
            {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read", &self.path)(error)),
            }
        }
        bytes.truncate(count);
        Ok(bytes)
    }
}
