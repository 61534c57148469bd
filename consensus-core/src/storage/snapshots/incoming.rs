//! A copy of another node's snapshot, while it arrives.

use super::{
    error::{SnapshotError, io_error},
    format::SYNC_EVERY,
};
use crate::{
    contract::replicated_log::Manifest,
    storage::wal::{LogFile, write_all},
};
use std::{boxed::Box, path::PathBuf};

/// A file that grows from its start to the manifest's size. Resumable: a sender that comes again goes
/// on at [`offset`](Self::offset).
pub struct Incoming {
    pub(super) manifest: Manifest,
    pub(super) file: Box<dyn LogFile>,
    pub(super) path: PathBuf,
    at: u64,
    synced: u64,
}

impl core::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Incoming")
            .field("path", &self.path)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) const fn new(manifest: Manifest, file: Box<dyn LogFile>, path: PathBuf) -> Self {
        Self {
            manifest,
            file,
            path,
            at: 0,
            synced: 0,
        }
    }

    /// What it will be.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How much of it is here, in bytes from its start.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.at
    }

    /// Whether all of it is here.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.at == self.manifest.size
    }

    /// Takes the bytes at [`offset`](Self::offset). Waits for the disk now and then, so that what is
    /// not synced stays bounded.
    ///
    /// # Errors
    /// When the system refuses, or more comes than was announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        if bytes.len() as u64 > self.manifest.size - self.at {
            return Err(SnapshotError::Damaged {
                file: self.path.clone(),
                offset: self.manifest.size,
                what: "more bytes come than were announced",
            });
        }
        write_all(&*self.file, bytes, self.at).map_err(io_error("write", &self.path))?;
        self.at += bytes.len() as u64;
        if self.at - self.synced >= SYNC_EVERY {
            self.file.sync().map_err(io_error("sync", &self.path))?;
            self.synced = self.at;
        }
        Ok(())
    }
}
