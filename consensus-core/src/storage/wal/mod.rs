//! A write-ahead log on a real file system.
//!
//! # Shape
//!
//! A folder of numbered *segments*, each set aside in one piece and written once from its start to
//! its end by one run of a node; a file of *identity*; a *lock*; and a *reserve*, a segment's room
//! for the day when the disk is full.
//!
//! ```text
//! identity             cluster, node, disk, boot, newest segment, a group surely on disk
//! 0000000000000007.wal header │ group │ group │ seal │ group │ 0 0 0 …
//!                      who, boot,     └ header: number, what the group before held, checksums
//!                      where the one    frames: group id, first record, records
//!                      before ends
//! ```
//!
//! A *group* is everything that was queued when the sync before it ended: one write (three where a
//! large batch is written from where it lies), one `fdatasync`. One group at a time is on its way, so **a group on disk says that all before it had
//! been synced: it seals them**. When nothing follows for a few milliseconds an empty group is
//! written, the *seal*; a clean stop writes one too.
//!
//! # What opening tells apart
//!
//! | found | what it is | answer |
//! |---|---|---|
//! | the newest group is not whole, nothing whole follows | torn tail | cut, synced, reported |
//! | a group is not whole, a later one is; or its segment has a successor | damage | [`OpenError::Damaged`]: file, offset, record; never cut |
//! | a segment in the middle, or the one that identity names, is gone | a lost file | [`OpenError::MissingSegment`] |
//! | a checksum holds for another cluster, node or disk | a foreign file | [`OpenError::Foreign`] |
//! | segment and successor, or segment and identity, are of different ages | a backup of a part | [`OpenError::OlderCopy`] or damage |
//! | nothing | a new or a wiped disk | [`OpenError::NotFormatted`]; [`format()`] is the explicit act |
//!
//! Three images cannot be told from a crash, by any log: the very last group, acknowledged and then
//! rotted before a seal followed; the newest segment of a run that crashed, cut short by hand (after a
//! clean stop the file of identity knows better); and a backup of the whole folder.
//!
//! # Identity without sixty bytes a frame
//!
//! The segment's header carries cluster, node, [`DiskId`](crate::DiskId), [`Boot`](crate::Boot) and
//! its own number, and its checksum is the *seed* of those of its groups, together with their place
//! and number; frames continue from there. Whatever was written elsewhere does not verify here.
//! Segments name the end and the checksum of the one before, so that no link can be exchanged.
//!
//! # After an error
//!
//! After a failed write or sync nothing is acknowledged any more and the thread ends. A full disk is
//! no error: the half-written group is rolled back, the reserve is taken so that what reclaims room
//! can be written, and everything is tried again until there is room.

mod error;
mod file_system;
mod inbox;
mod inspect;
mod layout;
mod ledger;
mod open;
mod places;
mod recover;
mod scan;
mod segment;
mod writer;

pub use error::{Damage, FormatError, OpenError};
pub(in crate::storage) use file_system::write_all;
pub use file_system::{FileSystem, LogFile, RealFileSystem};
pub use inspect::{FlawReport, Inspection, Range, SegmentReport, inspect, inspect_on};
pub use open::{Opened, Report, format, format_on};
pub use places::{RecordPlace, places, places_on};
pub use recover::TornTail;

use super::{Append, Completion, Disk};
use crate::{ClusterId, GroupId, Lsn, NodeId};
use inbox::{Command, Inbox};
use layout::{FILE_MAX, GroupBuffer};
use std::{
    boxed::Box, collections::BTreeMap, fmt, path::Path, sync::Arc, thread::JoinHandle,
    time::Duration, vec::Vec,
};

/// Whose log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node in it.
    pub node: NodeId,
}

/// How a log behaves. May differ from one start to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of a segment, 2¹⁰ to 2²⁹. 64 MiB: a change of segment costs about four syncs, which
    /// that many bytes make up for; two segments at least are always set aside. A record that does
    /// not fit gets a longer segment.
    pub segment_bytes: u64,
    /// An idle log is sealed after this. 5 ms: longer than a busy log ever pauses, short enough that
    /// a crash seldom meets an unsealed one.
    pub seal_after: Duration,
    /// Records that nobody waits for are written after this at the latest. 50 ms: with the sync they
    /// stay below the promised 100 ms.
    pub lazy_within: Duration,
    /// A group that keeps more segments than this is asked to reclaim. 4.
    pub reclaim_segments: usize,
    /// How many bytes of zeros are written ahead of a log of small groups. 1 MiB; zero for none.
    /// Overwriting zeros spares the file system a change of its own books at each sync.
    pub zero_ahead: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            seal_after: Duration::from_millis(5),
            lazy_within: Duration::from_millis(50),
            reclaim_segments: 4,
            zero_ahead: 1 << 20,
        }
    }
}

/// An open log. Dropping it writes and syncs what is pending and seals the log.
pub struct Wal {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    last: BTreeMap<GroupId, Lsn>,
    released: BTreeMap<GroupId, Lsn>,
    /// Unlocked after the thread has ended.
    _lock: Box<dyn Send>,
}

impl Wal {
    /// Opens the log in `dir`: reads and verifies everything in it, cuts a torn tail, and raises the
    /// durable counter of runs, all of which is on disk before this returns. Starts the thread that
    /// writes, on which `completion` is called.
    ///
    /// # Errors
    /// [`OpenError`]; a log that is not opened is not changed, unless the system failed halfway.
    ///
    /// # Panics
    /// When [`Options::segment_bytes`] is out of its range.
    pub fn open(
        dir: &Path,
        expected: Identity,
        options: Options,
        completion: impl Completion,
    ) -> Result<Opened, OpenError> {
        Self::open_on(Arc::new(RealFileSystem), dir, expected, options, completion)
    }

    /// As [`Wal::open`], on any file system.
    ///
    /// # Errors
    /// As [`Wal::open`].
    ///
    /// # Panics
    /// As [`Wal::open`].
    pub fn open_on(
        files: Arc<dyn FileSystem>,
        dir: &Path,
        expected: Identity,
        options: Options,
        completion: impl Completion,
    ) -> Result<Opened, OpenError> {
        assert!(
            (1024..=FILE_MAX / 2).contains(&options.segment_bytes),
            "a segment has 2^10 to 2^29 bytes"
        );
        open::open(files, dir, expected, options, Box::new(completion))
    }

    fn new(
        inbox: Arc<Inbox>,
        thread: JoinHandle<()>,
        lock: Box<dyn Send>,
        last: BTreeMap<GroupId, Lsn>,
    ) -> Self {
        Self {
            inbox,
            thread: Some(thread),
            last,
            released: BTreeMap::new(),
            _lock: lock,
        }
    }
}

impl Disk for Wal {
    /// # Panics
    /// When the numbers do not follow the last record of the group, or the batch has over 2²⁹ bytes.
    fn append(&mut self, append: Append) {
        if append.count() == 0 {
            return;
        }
        let last = self.last.entry(append.group).or_default();
        assert_eq!(
            append.first,
            last.next(),
            "records of group {} are numbered without a gap",
            append.group
        );
        assert!(
            GroupBuffer::cost(&append) <= FILE_MAX / 2,
            "a batch is bounded by the driver"
        );
        *last = append.last();
        let (forced, bytes) = (append.forced, append.bytes.len());
        self.inbox.push(Command::Append(append), forced, bytes);
    }

    fn release(&mut self, group: GroupId, before: Lsn) {
        let released = self.released.entry(group).or_default();
        if before > *released {
            *released = before;
            self.inbox.push(Command::Release(group, before), false, 0);
        }
    }

    fn backlog(&self) -> usize {
        self.inbox.backlog()
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.inbox.spare()
    }

    fn reclaim(&self, group: GroupId) -> Option<Lsn> {
        self.inbox.reclaim(group)
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been printed there.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("last", &self.last)
            .field("backlog", &self.backlog())
            .finish_non_exhaustive()
    }
}
