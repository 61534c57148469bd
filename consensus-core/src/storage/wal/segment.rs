//! The folder as the writer sees it: makes segments, keeps one in reserve, tells the file of
//! identity where the log is.

use super::{
    file_system::{FileSystem, LogFile, is_full, write_all},
    layout::{IDENTITY, IDENTITY_NEW, RESERVE, SEGMENT_NEW, SegmentHeader, Stored, segment_name},
};
use crate::storage::DiskFailure;
use std::{
    boxed::Box,
    io,
    ops::Range,
    path::{Path, PathBuf},
    string::ToString,
    sync::Arc,
};

/// The reserve is this much longer than a segment; cut off when it is taken, that leaves room for
/// the file of identity on a full disk.
const SLACK: u64 = 64 << 10;

/// Why something could not be written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No room, now. What was tried can be tried again.
    Full,
    /// Nothing is trusted any more.
    Broken(DiskFailure),
}

/// For `map_err`: what an error of `operation` on `file` means.
pub(super) fn trouble(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Trouble {
    move |error| {
        if is_full(&error) {
            Trouble::Full
        } else {
            broken(operation, file)(error)
        }
    }
}

/// As [`trouble`], where a full disk is no excuse: after a failed sync what was written is in doubt.
pub(super) fn broken(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Trouble {
    move |error| {
        Trouble::Broken(DiskFailure::Broken {
            operation,
            file: file.display().to_string(),
            reason: error.to_string(),
        })
    }
}

/// The segment that is being written.
pub(super) struct Segment {
    pub(super) file: Box<dyn LogFile>,
    pub(super) path: PathBuf,
    pub(super) number: u64,
    pub(super) seed: u32,
    /// Where the next group goes.
    pub(super) end: u64,
    /// The file's length, unless a large record made it longer.
    pub(super) length: u64,
    /// Zeros have been written up to here, beyond `end`.
    pub(super) zeroed: u64,
}

/// The folder.
pub(super) struct Folder {
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) dir: PathBuf,
    pub(super) stored: Stored,
    pub(super) segment_bytes: u64,
    /// Whether the reserve is there.
    pub(super) reserve: bool,
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the segment that `header` describes, of at least `length` bytes, its name durable. On a
    /// full disk it is made of the reserve; with none left, [`Trouble::Full`].
    pub(super) fn make(&mut self, header: &SegmentHeader, length: u64) -> Result<Segment, Trouble> {
        let (bytes, seed) = header.encode();
        let end = bytes.len() as u64;
        let length = length.max(self.segment_bytes);
        let new = self.path(SEGMENT_NEW);
        let (from, file) = match self.fill(&new, &bytes, length) {
            Ok(file) => (new, file),
            Err(Trouble::Full) => {
                // Half a file would hold on to room that others could use.
                let _ = self.files.remove(&new);
                self.take_reserve(&bytes)?
            }
            Err(broken) => return Err(broken),
        };
        let path = self.path(&segment_name(header.number));
        // A folder may need room for a longer name.
        if let Err(trouble) = self.rename(&from, &path) {
            let _ = self.files.remove(&from);
            return Err(trouble);
        }
        self.sync_names()?;
        Ok(Segment {
            file,
            path,
            number: header.number,
            seed,
            end,
            length,
            zeroed: end,
        })
    }

    fn fill(&self, path: &Path, bytes: &[u8], length: u64) -> Result<Box<dyn LogFile>, Trouble> {
        let file = self.files.create(path).map_err(trouble("create", path))?;
        if length > 0 {
            file.allocate(length).map_err(trouble("allocate", path))?;
        }
        write_all(&*file, bytes, 0).map_err(trouble("write", path))?;
        file.sync().map_err(broken("fdatasync", path))?;
        Ok(file)
    }

    fn take_reserve(&mut self, bytes: &[u8]) -> Result<(PathBuf, Box<dyn LogFile>), Trouble> {
        if !self.reserve {
            return Err(Trouble::Full);
        }
        let path = self.path(RESERVE);
        let file = self.files.open(&path).map_err(broken("open", &path))?;
        file.set_len(self.segment_bytes)
            .map_err(broken("truncate", &path))?;
        write_all(&*file, bytes, 0).map_err(trouble("write", &path))?;
        file.sync().map_err(broken("fdatasync", &path))?;
        self.reserve = false;
        Ok((path, file))
    }

    /// Makes the reserve, unless it is there.
    pub(super) fn replenish(&mut self) -> Result<(), Trouble> {
        if self.reserve {
            return Ok(());
        }
        let path = self.path(RESERVE);
        if let Err(trouble) = self.fill(&path, &[], self.segment_bytes + SLACK) {
            let _ = self.files.remove(&path);
            return Err(trouble);
        }
        self.sync_names()?;
        self.reserve = true;
        Ok(())
    }

    /// Writes the file of identity anew.
    pub(super) fn identify(&mut self, stored: Stored) -> Result<(), Trouble> {
        let new = self.path(IDENTITY_NEW);
        let written = self.fill(&new, &stored.encode(), 0);
        if let Err(trouble) = written {
            let _ = self.files.remove(&new);
            return Err(trouble);
        }
        if let Err(trouble) = self.rename(&new, &self.path(IDENTITY)) {
            let _ = self.files.remove(&new);
            return Err(trouble);
        }
        self.sync_names()?;
        self.stored = stored;
        Ok(())
    }

    /// Deletes segments, oldest first. One that a crash brings back is deleted by the next start.
    pub(super) fn delete(&self, numbers: &[u64]) -> Result<(), Trouble> {
        for number in numbers {
            let path = self.path(&segment_name(*number));
            self.files.remove(&path).map_err(broken("delete", &path))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Trouble> {
        self.files.rename(from, to).map_err(trouble("rename", from))
    }

    /// Makes the folder as it is now durable.
    pub(super) fn sync_names(&self) -> Result<(), Trouble> {
        self.files
            .sync_dir(&self.dir)
            .map_err(broken("fsync", &self.dir))
    }
}

/// Zeros are written in pieces that end at multiples of this many bytes. The page cache takes what comes
/// in one call in as large folios as it can, and each later sync looks through all blocks of every folio
/// that it finds dirty: after pieces of 1 MiB a sync of a few hundred bytes took a quarter longer than
/// after pieces of 16 KiB, smaller ones gained nothing more.
const PIECE: u64 = 16 << 10;

/// Writes zeros ahead of the log.
pub(super) fn write_zeros(file: &dyn LogFile, range: Range<u64>) -> io::Result<()> {
    let zeros = [0; PIECE as usize];
    let mut at = range.start;
    while at < range.end {
        let next = (at / PIECE + 1) * PIECE;
        let end = next.min(range.end);
        write_all(file, &zeros[..(end - at) as usize], at)?;
        at = end;
    }
    Ok(())
}
