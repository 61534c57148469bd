//! Looking at a log without opening it.

use super::{
    error::{OpenError, io_error},
    file_system::{FileSystem, RealFileSystem},
    layout::{FILE_MAX, Flaw, Frame, SegmentHeader, segment_name},
    recover::{Found, TornTail, identity, names, numbers, recover},
    scan::scan,
};
use crate::{Boot, ClusterId, DiskId, GroupId, Lsn, NodeId};
use std::{
    borrow::ToOwned,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    string::{String, ToString},
    vec::Vec,
};

/// A log as it lies on disk.
#[derive(Debug)]
pub struct Inspection {
    /// The folder.
    pub dir: PathBuf,
    /// As the file of identity says.
    pub cluster: ClusterId,
    /// As the file of identity says.
    pub node: NodeId,
    /// As the file of identity says.
    pub disk: DiskId,
    /// The last start.
    pub boot: Boot,
    /// The segments that could be read, oldest first.
    pub segments: Vec<SegmentReport>,
    /// What would be cut by opening the log.
    pub torn: Option<TornTail>,
    /// Why the log cannot be opened; none when it can. The first reason, when there are several;
    /// each segment has its own in [`SegmentReport::flaw`].
    pub problem: Option<OpenError>,
}

/// A segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentReport {
    /// The file.
    pub file: PathBuf,
    /// The run that wrote it.
    pub boot: Boot,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes up to the end of the last whole group.
    pub used: u64,
    /// Whole groups with records or releases: as many syncs that somebody asked for.
    pub groups: u64,
    /// Empty groups.
    pub seals: u64,
    /// Whether a later group, a seal or a later segment says that the last group with records was
    /// synced.
    pub sealed: bool,
    /// Its records, by protocol group.
    pub records: BTreeMap<GroupId, Range>,
    /// Releases found in it, by protocol group: records before this one are not needed.
    pub released: BTreeMap<GroupId, Lsn>,
    /// Where reading stopped before the end.
    pub flaw: Option<FlawReport>,
}

/// Records of one protocol group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first.
    pub first: Lsn,
    /// The last.
    pub last: Lsn,
    /// Their bytes.
    pub bytes: u64,
}

/// Bytes that are not a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlawReport {
    /// From where, in bytes from the file's start.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether something later shows that what lay there was acknowledged: damage, not a torn tail.
    pub sealed: bool,
}

/// Reads and verifies the log in `dir`; changes nothing, takes no lock. Of a log that is being
/// written, the newest group may seem torn.
///
/// # Errors
/// When there is no log, or it cannot be told whose it is. What is wrong with the log itself is in
/// [`Inspection::problem`].
pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
    inspect_on(&RealFileSystem, dir)
}

/// As [`inspect`], on any file system.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_on(files: &dyn FileSystem, dir: &Path) -> Result<Inspection, OpenError> {
    let names = names(files, dir)?;
    let stored = identity(files, dir, &names, None)?;
    let mut segments = BTreeMap::new();
    let verdict = recover(files, dir, &names, stored, &mut |found| {
        segments.insert(found.header.number, report(dir, found));
    });
    let (torn, problem) = match verdict {
        Ok(log) => (log.torn, None),
        Err(problem) => (None, Some(problem)),
    };
    let numbers = numbers(&names);
    for number in &numbers {
        if !segments.contains_key(number)
            && let Some(found) = alone(files, dir, *number)?
        {
            segments.insert(*number, report(dir, &found));
        }
    }
    // What another segment builds on is sealed.
    if let Some(newest) = numbers.last() {
        for (_, segment) in segments.range_mut(..newest) {
            segment.sealed = true;
            if let Some(flaw) = &mut segment.flaw {
                flaw.sealed = true;
            }
        }
    }
    Ok(Inspection {
        dir: dir.to_owned(),
        cluster: stored.cluster,
        node: stored.node,
        disk: stored.disk,
        boot: stored.boot,
        segments: segments.into_values().collect(),
        torn,
        problem,
    })
}

/// A segment that judging the whole log did not come to; none when its header is unreadable.
fn alone(files: &dyn FileSystem, dir: &Path, number: u64) -> Result<Option<Found>, OpenError> {
    let file = dir.join(segment_name(number));
    let bytes = files
        .read(&file, FILE_MAX)
        .map_err(io_error("read", &file))?;
    let Ok((header, seed)) = SegmentHeader::decode(&bytes) else {
        return Ok(None);
    };
    Ok(Some(Found {
        scan: scan(&bytes, &header, seed),
        header,
        length: bytes.len() as u64,
    }))
}

fn report(dir: &Path, found: &Found) -> SegmentReport {
    let mut report = SegmentReport {
        file: dir.join(segment_name(found.header.number)),
        boot: found.header.boot,
        bytes: found.length,
        used: found.scan.end,
        groups: 0,
        seals: 0,
        sealed: true,
        records: BTreeMap::new(),
        released: BTreeMap::new(),
        flaw: found.scan.stop.as_ref().map(|stop| FlawReport {
            offset: stop.offset,
            what: match stop.flaw {
                Flaw::Bytes(what) | Flaw::Content(what) => what.to_string(),
                Flaw::Version(version) => std::format!("format version {version}"),
            },
            sealed: stop.sealed || !matches!(stop.flaw, Flaw::Bytes(_)),
        }),
    };
    for group in &found.scan.groups {
        report.sealed = group.frames.is_empty();
        if group.frames.is_empty() {
            report.seals += 1;
        } else {
            report.groups += 1;
        }
        group
            .frames
            .iter()
            .for_each(|frame| add(&mut report, frame));
    }
    report
}

fn add(report: &mut SegmentReport, frame: &Frame) {
    match frame {
        Frame::Records {
            group, first, ends, ..
        } => {
            let Some(bytes) = ends.last() else { return };
            let last = Lsn(first.0 + ends.len() as u64 - 1);
            let range = report.records.entry(*group).or_insert(Range {
                first: *first,
                last,
                bytes: 0,
            });
            range.last = last;
            range.bytes += u64::from(*bytes);
        }
        Frame::Release { group, before } => {
            report.released.insert(*group, *before);
        }
    }
}

impl fmt::Display for Inspection {
    /// Several lines, the last one the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log      {}", self.dir.display())?;
        writeln!(f, "cluster  {}", self.cluster)?;
        writeln!(f, "node     {}", self.node)?;
        writeln!(f, "disk     {}", self.disk)?;
        writeln!(f, "boot     {}", self.boot)?;
        for segment in &self.segments {
            write!(f, "{segment}")?;
        }
        if let Some(torn) = &self.torn {
            writeln!(
                f,
                "torn     {} bytes from byte {} of {}, never acknowledged: cut at the next start",
                torn.bytes,
                torn.offset,
                torn.file.display()
            )?;
        }
        match &self.problem {
            None => write!(f, "verdict  sound"),
            Some(problem) => write!(f, "verdict  {problem}"),
        }
    }
}

impl fmt::Display for SegmentReport {
    /// A line for the segment, then one for each protocol group and flaw in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(
            f,
            "segment  {name}  boot {}  {} of {} bytes  {} groups  {} seals  {}",
            self.boot,
            self.used,
            self.bytes,
            self.groups,
            self.seals,
            if self.sealed { "sealed" } else { "not sealed" }
        )?;
        for (group, range) in &self.records {
            let (first, last, bytes) = (range.first, range.last, range.bytes);
            writeln!(
                f,
                "           group {group}  records {first}..={last}  {bytes} bytes"
            )?;
        }
        for (group, before) in &self.released {
            writeln!(f, "           group {group}  released before {before}")?;
        }
        if let Some(flaw) = &self.flaw {
            let kind = if flaw.sealed { "damaged" } else { "torn" };
            writeln!(
                f,
                "           {kind} at byte {}: {}",
                flaw.offset, flaw.what
            )?;
        }
        Ok(())
    }
}
