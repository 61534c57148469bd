//! Reading a whole log and judging it: torn tail, damage, a missing file, somebody else's file, an
//! older copy. Changes nothing.

use super::{
    Identity,
    error::{Damage, OpenError, io_error},
    file_system::FileSystem,
    layout::{
        FILE_MAX, Flaw, Frame, IDENTITY, SegmentHeader, Stored, VERSION, segment_name,
        segment_number,
    },
    ledger::Ledger,
    scan::{Scan, scan},
};
use crate::{DiskId, GroupId, Lsn, storage::Recovered};
use bytes::Bytes;
use std::{
    borrow::ToOwned,
    collections::BTreeMap,
    format, io,
    path::{Path, PathBuf},
    string::{String, ToString},
    vec::Vec,
};

/// What a crash left of the last, unacknowledged group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// In which file.
    pub file: PathBuf,
    /// From where, in bytes from the file's start.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A segment as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) header: SegmentHeader,
    pub(super) scan: Scan,
    /// Bytes of the file.
    pub(super) length: u64,
}

/// A log that may be opened.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) stored: Stored,
    pub(super) newest: Option<Newest>,
    pub(super) records: BTreeMap<GroupId, Vec<Recovered>>,
    pub(super) ledger: Ledger,
    pub(super) torn: Option<TornTail>,
    /// Released segments whose deletion a crash cut short.
    pub(super) leftovers: Vec<u64>,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) end: u64,
    pub(super) length: u64,
    pub(super) sequence: u64,
    pub(super) chain: u32,
    pub(super) boot: crate::Boot,
}

/// Reads the file of identity; `expected` may leave it to the file who the node is.
pub(super) fn identity(
    files: &dyn FileSystem,
    dir: &Path,
    names: &[String],
    expected: Option<Identity>,
) -> Result<Stored, OpenError> {
    let file = dir.join(IDENTITY);
    if !names.iter().any(|name| name == IDENTITY) {
        if names.iter().any(|name| segment_number(name).is_some()) {
            let what = "the file of identity is missing beside a log";
            return Err(Damage::new(file, 0, what).into());
        }
        return Err(OpenError::NotFormatted {
            dir: dir.to_owned(),
        });
    }
    let bytes = files
        .read(&file, FILE_MAX)
        .map_err(io_error("read", &file))?;
    let stored = Stored::decode(&bytes).map_err(|flaw| flawed(&file, 0, flaw))?;
    if let Some(expected) = expected {
        same(&file, "cluster", &expected.cluster, &stored.cluster)?;
        same(&file, "node", &expected.node, &stored.node)?;
    }
    Ok(stored)
}

/// The numbers of the segments in a folder, ascending.
pub(super) fn numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    numbers
}

/// Reads and judges everything.
pub(super) fn recover(
    files: &dyn FileSystem,
    dir: &Path,
    names: &[String],
    stored: Stored,
    visit: &mut dyn FnMut(&Found),
) -> Result<Log, OpenError> {
    let numbers = numbers(names);
    // A crash during the deletion of released segments may leave any of them: what counts is the
    // unbroken run that ends with the newest.
    let run = numbers
        .iter()
        .rev()
        .zip(numbers.iter().rev().skip(1))
        .take_while(|(newer, older)| **newer == **older + 1)
        .count()
        + 1;
    let (leftovers, numbers) = numbers.split_at(numbers.len().saturating_sub(run));
    let mut judge = Judge {
        files,
        dir,
        log: Log {
            stored,
            newest: None,
            records: BTreeMap::new(),
            ledger: Ledger::default(),
            torn: None,
            leftovers: leftovers.to_vec(),
        },
        oldest: Vec::new(),
    };
    let mut pending: Option<Loaded> = None;
    for number in numbers {
        let next = judge.load(*number)?;
        if let Some(loaded) = pending.replace(next) {
            let link = pending.as_ref().map(|next| &next.header);
            judge.segment(loaded, link, visit)?;
        }
    }
    if let Some(loaded) = pending {
        judge.segment(loaded, None, visit)?;
    }
    judge.finish()
}

struct Loaded {
    header: SegmentHeader,
    seed: u32,
    bytes: Vec<u8>,
}

struct Judge<'a> {
    files: &'a dyn FileSystem,
    dir: &'a Path,
    log: Log,
    /// The standings in the oldest segment's header.
    oldest: Vec<(GroupId, Lsn)>,
}

impl Judge<'_> {
    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment_name(number))
    }

    fn load(&self, number: u64) -> Result<Loaded, OpenError> {
        let file = self.path(number);
        let bytes = self
            .files
            .read(&file, FILE_MAX)
            .map_err(io_error("read", &file))?;
        let (header, seed) =
            SegmentHeader::decode(&bytes).map_err(|flaw| flawed(&file, 0, flaw))?;
        let stored = &self.log.stored;
        same(&file, "cluster", &stored.cluster, &header.cluster)?;
        same(&file, "node", &stored.node, &header.node)?;
        same::<DiskId>(&file, "disk", &stored.disk, &header.disk)?;
        if header.number != number {
            let why = format!("it was written as segment {}", header.number);
            return Err(OpenError::OlderCopy { file, why });
        }
        Ok(Loaded {
            header,
            seed,
            bytes,
        })
    }

    /// Judges one segment; `link` is the header of the one after it.
    fn segment(
        &mut self,
        mut loaded: Loaded,
        link: Option<&SegmentHeader>,
        visit: &mut dyn FnMut(&Found),
    ) -> Result<(), OpenError> {
        let file = self.path(loaded.header.number);
        let length = loaded.bytes.len() as u64;
        if let Some(link) = link {
            // What a cut or a full disk left behind the end is nothing.
            let end = usize::try_from(link.previous_end).unwrap_or(usize::MAX);
            loaded.bytes.truncate(end);
        }
        let found = Found {
            scan: scan(&loaded.bytes, &loaded.header, loaded.seed),
            header: loaded.header,
            length,
        };
        visit(&found);
        if self.log.newest.is_none() {
            self.begin(&found.header);
        }
        self.log.ledger.open(found.header.number);
        for standing in &found.header.standings {
            self.log.ledger.release(standing.group, standing.released);
        }
        self.collect(&file, &found.scan, &loaded.bytes)?;
        match link {
            Some(link) => self.link(&file, &found, link)?,
            None => self.tail(&file, &found)?,
        }
        self.log.newest = Some(Newest {
            number: found.header.number,
            end: found.scan.end,
            length,
            sequence: found.scan.sequence,
            chain: found.scan.chain,
            boot: found.header.boot,
        });
        Ok(())
    }

    fn begin(&mut self, header: &SegmentHeader) {
        for standing in &header.standings {
            self.oldest.push((standing.group, standing.last));
            self.log.ledger.start(standing.group, standing.last);
        }
    }

    /// Takes the records of the whole groups.
    fn collect(&mut self, file: &Path, scan: &Scan, bytes: &[u8]) -> Result<(), OpenError> {
        for found in &scan.groups {
            for frame in &found.frames {
                match frame {
                    Frame::Release { group, before } => self.log.ledger.release(*group, *before),
                    Frame::Records {
                        group,
                        first,
                        at,
                        ends,
                    } => {
                        let Some(count) = ends.last().map(|_| ends.len() as u64) else {
                            continue;
                        };
                        let expected = self.log.ledger.last(*group).next();
                        if *first != expected {
                            let what = format!("record {first} of group {group} follows a gap");
                            let mut damage = Damage::new(file.to_owned(), found.offset, &what);
                            damage.lost = Some((*group, expected));
                            return Err(damage.into());
                        }
                        let last = Lsn(first.0 + count - 1);
                        self.log.ledger.append(*group, *first, last);
                        let records = self.log.records.entry(*group).or_default();
                        take(*group, *first, &bytes[*at as usize..], ends, records);
                    }
                }
            }
        }
        Ok(())
    }

    /// A segment that another follows must end exactly where that one says.
    fn link(&self, file: &Path, found: &Found, link: &SegmentHeader) -> Result<(), OpenError> {
        let scan = &found.scan;
        if found.header.boot > link.boot {
            let why = format!("boot {} follows boot {}", link.boot, found.header.boot);
            let file = self.path(link.number);
            return Err(OpenError::OlderCopy { file, why });
        }
        let known = link.standings.iter().map(|s| (s.group, s.last));
        if let Some(stop) = &scan.stop {
            let known = stop.known.iter().copied().chain(known);
            return Err(self.damage(file, stop.offset, stop.flaw, known));
        }
        if scan.end != link.previous_end || scan.sequence != link.sequence {
            let what = Flaw::Bytes(
                "groups are missing that the next segment builds on (cut short, or an older copy)",
            );
            return Err(self.damage(file, scan.end, what, known));
        }
        if scan.chain != link.chain {
            let why = "the next segment continues another one".to_string();
            let file = file.to_owned();
            return Err(OpenError::OlderCopy { file, why });
        }
        Ok(())
    }

    /// The newest segment may end in a torn group.
    fn tail(&mut self, file: &Path, found: &Found) -> Result<(), OpenError> {
        let named = self.log.stored.segment;
        if found.header.number < named {
            return Err(self.missing(named));
        }
        let scan = &found.scan;
        if let Some(stop) = &scan.stop {
            let sealed = stop.sealed || scan.sequence < self.log.stored.sequence;
            if sealed || !matches!(stop.flaw, Flaw::Bytes(_)) {
                let known = stop.known.iter().copied();
                return Err(self.damage(file, stop.offset, stop.flaw, known));
            }
            self.log.torn = Some(TornTail {
                file: file.to_owned(),
                offset: scan.end,
                bytes: scan.garbage,
            });
        }
        if scan.sequence < self.log.stored.sequence {
            let what = Flaw::Bytes(
                "groups are missing that the file of identity knows (cut short, or an older copy)",
            );
            return Err(self.damage(file, scan.end, what, core::iter::empty()));
        }
        self.ages(file, found)
    }

    /// The newest segment and the file of identity must be of one age.
    fn ages(&self, file: &Path, found: &Found) -> Result<(), OpenError> {
        let (stored, header) = (&self.log.stored, &found.header);
        if header.number == stored.segment && header.boot != stored.boot {
            let (file, what, than) = if header.boot > stored.boot {
                (self.dir.join(IDENTITY), stored.boot, header.boot)
            } else {
                (file.to_owned(), header.boot, stored.boot)
            };
            let why = format!("it is of boot {what}, the log of boot {than}");
            return Err(OpenError::OlderCopy { file, why });
        }
        // A start or a change of segment that was interrupted leaves an empty segment that the file
        // of identity does not know yet, never one with groups.
        let written = self.log.ledger.newest_with_groups(stored.segment);
        if header.number > stored.segment && (written || !found.scan.groups.is_empty()) {
            return Err(OpenError::OlderCopy {
                file: self.dir.join(IDENTITY),
                why: format!(
                    "it names segment {}, the log goes on to segment {}",
                    stored.segment, header.number
                ),
            });
        }
        Ok(())
    }

    fn missing(&self, named: u64) -> OpenError {
        OpenError::MissingSegment {
            file: self.path(named),
            why: "the file of identity names it",
        }
    }

    fn damage(
        &self,
        file: &Path,
        offset: u64,
        flaw: Flaw,
        known: impl Iterator<Item = (GroupId, Lsn)>,
    ) -> OpenError {
        let error = flawed(file, offset, flaw);
        let OpenError::Damaged(mut damage) = error else {
            return error;
        };
        damage.lost = known
            .filter(|(group, lsn)| *lsn > self.log.ledger.last(*group))
            .map(|(group, _)| (group, self.log.ledger.last(group).next()))
            .min();
        damage.into()
    }

    fn finish(mut self) -> Result<Log, OpenError> {
        let stored = &self.log.stored;
        if self.log.newest.is_none() && stored.segment > 0 {
            return Err(self.missing(stored.segment));
        }
        let oldest = self.log.ledger.oldest();
        for (group, last) in &self.oldest {
            if self.log.ledger.released(*group) <= *last {
                return Err(OpenError::MissingSegment {
                    file: self.path(oldest.saturating_sub(1)),
                    why: "it held records that were not released",
                });
            }
        }
        for (group, records) in &mut self.log.records {
            let released = self.log.ledger.released(*group);
            records.retain(|record| record.lsn >= released);
        }
        Ok(self.log)
    }
}

/// Copies a frame's records out of the segment, so that one record does not keep a whole segment in
/// memory.
fn take(group: GroupId, first: Lsn, bytes: &[u8], ends: &[u32], out: &mut Vec<Recovered>) {
    let length = ends.last().copied().unwrap_or(0) as usize;
    let bytes = Bytes::copy_from_slice(&bytes[..length]);
    let mut start = 0;
    for (i, end) in ends.iter().enumerate() {
        out.push(Recovered {
            group,
            lsn: Lsn(first.0 + i as u64),
            bytes: bytes.slice(start..*end as usize),
        });
        start = *end as usize;
    }
}

fn same<T: PartialEq + ToString>(
    file: &Path,
    what: &'static str,
    expected: &T,
    found: &T,
) -> Result<(), OpenError> {
    if expected == found {
        return Ok(());
    }
    Err(OpenError::Foreign {
        file: file.to_owned(),
        what,
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn flawed(file: &Path, offset: u64, flaw: Flaw) -> OpenError {
    match flaw {
        Flaw::Bytes(what) | Flaw::Content(what) => {
            Damage::new(file.to_owned(), offset, what).into()
        }
        Flaw::Version(found) => OpenError::Version {
            file: file.to_owned(),
            found,
            known: VERSION,
        },
    }
}

/// The names in `dir`.
pub(super) fn names(files: &dyn FileSystem, dir: &Path) -> Result<Vec<String>, OpenError> {
    files.list(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NotFormatted {
            dir: dir.to_owned(),
        },
        _ => io_error("list", dir)(error),
    })
}
