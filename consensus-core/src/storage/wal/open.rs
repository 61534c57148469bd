//! Formatting a folder, and opening the log in it.

use super::{
    Identity, Options, Wal,
    error::{FormatError, OpenError, io_error},
    file_system::{FileSystem, RealFileSystem, write_all},
    inbox::Inbox,
    layout::{
        FILE_MAX, IDENTITY, IDENTITY_NEW, LOCK, RESERVE, SEGMENT_NEW, SegmentHeader, Stored,
        segment_name,
    },
    recover::{Log, Newest, TornTail, identity, names, recover},
    segment::{Folder, Trouble},
    writer::{State, Writer},
};
use crate::{
    Boot, DiskId, GroupId, Lsn,
    storage::{Completion, DiskFailure, Recovered},
};
use std::{
    borrow::ToOwned,
    boxed::Box,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    vec::Vec,
};

/// An open log and what was found in it.
pub struct Opened {
    /// Takes records from here on.
    pub wal: Wal,
    /// This run: on disk already.
    pub boot: Boot,
    /// This disk.
    pub disk: DiskId,
    /// The records of all groups that were not released, of each group in order and without a gap;
    /// groups in ascending order.
    pub records: Vec<Recovered>,
    /// What was found and done.
    pub report: Report,
    durable: BTreeMap<GroupId, Lsn>,
}

impl Opened {
    /// The newest record of `group` on disk, released ones too: the next is numbered after it.
    #[must_use]
    pub fn durable(&self, group: GroupId) -> Lsn {
        self.durable.get(&group).copied().unwrap_or_default()
    }
}

/// What opening a log found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Segments that were read.
    pub segments: usize,
    /// The torn tail that was cut. What it held had not been acknowledged, with one exception that no
    /// log can tell apart: the very last group before a crash, acknowledged and then rotted before
    /// anything followed it.
    pub torn: Option<TornTail>,
    /// Released segments whose deletion a crash had cut short, deleted now.
    pub leftovers: usize,
}

/// Makes a disk of an empty or missing folder: the explicit act by which a node begins. Returns once
/// that is durable.
///
/// # Errors
/// When the folder is not empty, or the system refuses.
pub fn format(dir: &Path, identity: Identity) -> Result<DiskId, FormatError> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).map_err(|error| {
            FormatError::Io {
                operation: "draw an identity",
                file: dir.to_owned(),
                source: error.into(),
            }
        })?;
    }
    let disk = DiskId(u128::from_le_bytes(bytes));
    format_on(&RealFileSystem, dir, identity, disk)?;
    Ok(disk)
}

/// As [`format`], on any file system, under a [`DiskId`] that the caller has drawn.
///
/// # Errors
/// As [`format`].
pub fn format_on(
    files: &dyn FileSystem,
    dir: &Path,
    identity: Identity,
    disk: DiskId,
) -> Result<(), FormatError> {
    let failed = |operation, file: &Path| {
        let file = file.to_owned();
        move |source| FormatError::Io {
            operation,
            file,
            source,
        }
    };
    files.create_dir(dir).map_err(failed("create", dir))?;
    let names = files.list(dir).map_err(failed("list", dir))?;
    // What a formatting that was cut short leaves behind does not count.
    let found = names.into_iter().find(|n| n != LOCK && n != IDENTITY_NEW);
    if let Some(found) = found {
        return Err(FormatError::NotEmpty {
            dir: dir.to_owned(),
            found,
        });
    }
    let stored = Stored {
        cluster: identity.cluster,
        node: identity.node,
        disk,
        boot: Boot(0),
        segment: 0,
        sequence: 0,
    };
    let new = dir.join(IDENTITY_NEW);
    let file = files.create(&new).map_err(failed("create", &new))?;
    write_all(&*file, &stored.encode(), 0).map_err(failed("write", &new))?;
    file.sync().map_err(failed("sync", &new))?;
    let path = dir.join(IDENTITY);
    files.rename(&new, &path).map_err(failed("rename", &new))?;
    files.sync_dir(dir).map_err(failed("sync", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        files.sync_dir(parent).map_err(failed("sync", parent))?;
    }
    Ok(())
}

pub(super) fn open(
    files: Arc<dyn FileSystem>,
    dir: &Path,
    expected: Identity,
    options: Options,
    completion: Box<dyn Completion>,
) -> Result<Opened, OpenError> {
    let found = names(&*files, dir)?;
    // Before the lock, which makes a file: a folder without a log stays as it is.
    identity(&*files, dir, &found, Some(expected))?;
    let lock = dir.join(LOCK);
    let lock = files.lock(&lock).map_err(io_error("lock", &lock))?;
    let Some(lock) = lock else {
        return Err(OpenError::Locked {
            dir: dir.to_owned(),
        });
    };
    let found = names(&*files, dir)?;
    let stored = identity(&*files, dir, &found, Some(expected))?;
    let log = recover(&*files, dir, &found, stored, &mut |_| {})?;
    let mut folder = Folder {
        reserve: has_reserve(&*files, dir, &found)?,
        files,
        dir: dir.to_owned(),
        stored,
        segment_bytes: options.segment_bytes,
    };
    let report = Report {
        segments: log.ledger.count(),
        torn: log.torn.clone(),
        leftovers: log.leftovers.len(),
    };
    let boot = prepare(&folder, &log)?;
    let writer = begin(&mut folder, &log, boot)?;
    let durable = log.ledger.lasts().clone();
    let inbox = Arc::new(Inbox::default());
    let disk = stored.disk;
    let (segment, newest) = writer;
    let mut ledger = log.ledger;
    ledger.open(segment.number);
    inbox.set_reclaim(ledger.reclaim(options.reclaim_segments));
    let writer = Writer {
        inbox: Arc::clone(&inbox),
        completion,
        options,
        folder,
        segment,
        ledger,
        sequence: newest.map_or(0, |newest| newest.sequence),
        chain: newest.map_or(0, |newest| newest.chain),
        state: State::default(),
    };
    let thread = thread::Builder::new()
        .name("wal".to_owned())
        .spawn(move || writer.run())
        .map_err(io_error("start the writer of", dir))?;
    Ok(Opened {
        wal: Wal::new(inbox, thread, lock, durable.clone()),
        boot,
        disk,
        records: log.records.into_values().flatten().collect(),
        report,
        durable,
    })
}

/// Whether there is a reserve that a crash did not leave half made or half taken.
fn has_reserve(
    files: &dyn FileSystem,
    dir: &Path,
    names: &[std::string::String],
) -> Result<bool, OpenError> {
    let path = dir.join(RESERVE);
    if !names.iter().any(|name| name == RESERVE) {
        return Ok(false);
    }
    let clean = match files.read(&path, FILE_MAX) {
        Ok(bytes) => !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0),
        Err(_) => false,
    };
    if !clean {
        files.remove(&path).map_err(io_error("delete", &path))?;
    }
    Ok(clean)
}

/// Puts the folder in order before anything new is written, and chooses the number of this run.
fn prepare(folder: &Folder, log: &Log) -> Result<Boot, OpenError> {
    for name in [SEGMENT_NEW, IDENTITY_NEW] {
        let path = folder.dir.join(name);
        match folder.files.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &path)(error));
            }
            _ => {}
        }
    }
    if let Some(newest) = log.newest {
        // Cuts a torn tail, and gives back room that was set aside.
        let path = folder.dir.join(segment_name(newest.number));
        let file = folder.files.open(&path).map_err(io_error("open", &path))?;
        if newest.length > newest.end {
            file.set_len(newest.end).map_err(io_error("cut", &path))?;
        }
        // Also where there is nothing to cut: a process that was killed between a write and its sync
        // leaves a whole group that only the system's memory holds. What is told to be durable now
        // must be.
        file.sync().map_err(io_error("sync", &path))?;
    }
    let dir = &folder.dir;
    folder.delete(&log.leftovers).map_err(|t| refuse(dir, t))?;
    // Neither may a name that was found be lost once another builds on it.
    folder.sync_names().map_err(|t| refuse(dir, t))?;
    // A start that was interrupted may have used a number that the file of identity does not know.
    let newest = log.newest.map_or(Boot(0), |newest| newest.boot);
    let boot = folder.stored.boot.max(newest);
    Ok(Boot(
        boot.0
            .checked_add(1)
            .expect("a node starts fewer than 2^32 times"),
    ))
}

/// Makes this run's first segment, then names run and segment in the file of identity.
fn begin(
    folder: &mut Folder,
    log: &Log,
    boot: Boot,
) -> Result<(super::segment::Segment, Option<Newest>), OpenError> {
    let stored = folder.stored;
    let newest = log.newest;
    let dir: PathBuf = folder.dir.clone();
    // The reserve first: with it, a disk that fills up now still takes a segment.
    match folder.replenish() {
        Ok(()) | Err(Trouble::Full) => {}
        Err(trouble) => return Err(refuse(&dir, trouble)),
    }
    let header = SegmentHeader {
        cluster: stored.cluster,
        node: stored.node,
        disk: stored.disk,
        boot,
        number: newest.map_or(1, |newest| newest.number + 1),
        previous_end: newest.map_or(0, |newest| newest.end),
        sequence: newest.map_or(0, |newest| newest.sequence),
        chain: newest.map_or(0, |newest| newest.chain),
        standings: log.ledger.standings(),
    };
    let segment = folder
        .make(&header, header.end())
        .map_err(|trouble| refuse(&dir, trouble))?;
    let identity = Stored {
        boot,
        segment: header.number,
        sequence: header.sequence,
        ..stored
    };
    folder
        .identify(identity)
        .map_err(|trouble| refuse(&dir, trouble))?;
    Ok((segment, newest))
}

fn refuse(dir: &Path, trouble: Trouble) -> OpenError {
    match trouble {
        Trouble::Full => OpenError::Full { dir: dir.into() },
        Trouble::Broken(DiskFailure::Broken {
            operation,
            file,
            reason,
        }) => io_error(operation, file)(io::Error::other(reason)),
    }
}
