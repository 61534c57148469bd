//! A disk at the level of records: what was written, what is being synced, what a crash leaves.
//!
//! A crash may lose any subset of what was not synced and tear the rest; recovery hands out what is
//! whole before the first hole. Both together: a prefix. The disk keeps records and forgets bytes;
//! that bytes give the same prefix is the business of the write-ahead log and its tests.

use super::chance::Chance;
use crate::{
    Lsn,
    contract::replicated_log::{Manifest, SnapshotId},
    fault::FaultKind,
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;

/// What a crash leaves of the records that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// None of them.
    Synced,
    /// All of them: the kernel had written them.
    All,
    /// The first so many.
    Torn(u64),
}

/// What a crash did to records that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loss {
    pub(crate) kept: u64,
    pub(crate) lost: u64,
}

/// A snapshot as a disk keeps it.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<Bytes>,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk<R> {
    /// From `first` to `last`.
    records: VecDeque<R>,
    first: u64,
    last: u64,
    /// On disk for certain. Invariant: first − 1 ≤ synced ≤ asked ≤ last.
    synced: u64,
    /// Covered by a sync that is under way.
    asked: u64,
    /// The newest that somebody waits for.
    forced: u64,
    /// Told to the invariants.
    pub(crate) reported: u64,
    /// Syncs under way.
    pub(crate) outstanding: u32,
    /// Runs since the node was made: a sync of an earlier run reports to nobody.
    pub(crate) full: bool,
    /// The next sync fails.
    pub(crate) fails: bool,
    /// Every sync takes so many nanoseconds longer.
    pub(crate) slower: u64,
    /// Snapshots that are whole, oldest first.
    pub(crate) files: VecDeque<File>,
    /// Why this disk will never again serve a node.
    pub(crate) damage: Option<FaultKind>,
}

impl<R> Disk<R> {
    pub(crate) fn new() -> Self {
        Self {
            records: VecDeque::new(),
            first: 1,
            last: 0,
            synced: 0,
            asked: 0,
            forced: 0,
            reported: 0,
            outstanding: 0,
            full: false,
            fails: false,
            slower: 0,
            files: VecDeque::new(),
            damage: None,
        }
    }

    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.last)
    }

    pub(crate) fn synced(&self) -> Lsn {
        Lsn(self.synced)
    }

    /// Records that a crash may lose.
    pub(crate) fn pending(&self) -> u64 {
        self.last - self.synced
    }

    pub(crate) fn first(&self) -> Lsn {
        Lsn(self.first)
    }

    pub(crate) fn retained(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn append(&mut self, record: R) {
        self.records.push_back(record);
        self.last += 1;
    }

    pub(crate) fn force(&mut self, upto: Lsn) {
        self.forced = upto.0;
    }

    /// Whether somebody waits for records that no sync under way covers.
    pub(crate) fn is_wanting(&self) -> bool {
        self.forced > self.asked && !self.full
    }

    /// Whether there are records that no sync under way covers.
    pub(crate) fn is_dirty(&self) -> bool {
        self.last > self.asked && !self.full
    }

    /// Starts a sync of everything written so far.
    pub(crate) fn start_sync(&mut self) -> Lsn {
        self.asked = self.last;
        self.outstanding += 1;
        Lsn(self.asked)
    }

    /// Starts a sync of records up to `upto` alone: what was written while it ran it does not cover.
    pub(crate) fn start_sync_up_to(&mut self, upto: Lsn) -> Lsn {
        self.asked = upto.0.clamp(self.asked, self.last);
        self.outstanding += 1;
        Lsn(self.asked)
    }

    /// A sync has ended. Returns whether anything became durable by it.
    pub(crate) fn end_sync(&mut self, upto: Lsn) -> bool {
        self.outstanding -= 1;
        let news = upto.0 > self.synced;
        self.synced = self.synced.max(upto.0);
        news
    }

    /// The oldest durable record that the invariants have not seen.
    pub(crate) fn unreported(&mut self) -> Option<&R> {
        if self.reported >= self.synced {
            return None;
        }
        self.reported = (self.reported + 1).max(self.first);
        self.records.get((self.reported - self.first) as usize)
    }

    /// Forgets whole segments of `segment` records before `before`.
    pub(crate) fn release(&mut self, before: Lsn, segment: u64) {
        // Never beyond what is synced: a permission waits in the gate for that.
        let before = before.0.min(self.synced + 1);
        while self.first + segment <= before {
            self.records.drain(..segment as usize);
            self.first += segment;
        }
    }

    /// A snapshot is whole and synced. The oldest go when there are many: only the newest that a
    /// record names is ever asked for.
    pub(crate) fn keep_file(&mut self, file: File) {
        self.files
            .retain(|kept| kept.manifest.id != file.manifest.id);
        self.files.push_back(file);
        if self.files.len() > 8 {
            self.files.pop_front();
        }
    }

    pub(crate) fn file(&self, id: SnapshotId) -> Option<&File> {
        self.files.iter().find(|file| file.manifest.id == id)
    }

    pub(crate) fn draw_loss(&self, chance: &mut Chance, lost: bool, torn: bool) -> Keep {
        let pending = self.pending();
        // A pending write is lost or torn in most crashes, not in few.
        match chance.below(10) {
            0 => Keep::All,
            1..=3 if torn && pending > 1 => Keep::Torn(chance.within(1..=pending - 1)),
            _ if lost => Keep::Synced,
            _ if torn => Keep::Torn(chance.below(pending + 1)),
            _ => Keep::All,
        }
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self, keep: Keep) -> Loss {
        let pending = self.pending();
        let kept = match keep {
            Keep::Synced => 0,
            Keep::All => pending,
            Keep::Torn(kept) => kept.min(pending),
        };
        let lost = pending - kept;
        self.records.truncate(self.records.len() - lost as usize);
        self.last -= lost;
        // What is found after a restart is synced again before anything rests on it.
        self.synced = self.last;
        self.asked = self.last;
        self.forced = self.last;
        self.outstanding = 0;
        self.fails = false;
        Loss { kept, lost }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Lsn, &R)> + '_ {
        let first = self.first;
        self.records
            .iter()
            .enumerate()
            .map(move |(i, record)| (Lsn(first + i as u64), record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(written: u64, synced: u64) -> Disk<u64> {
        let mut disk = Disk::new();
        for record in 1..=written {
            if record == synced + 1 {
                let upto = disk.start_sync();
                disk.end_sync(upto);
            }
            disk.append(record);
        }
        disk
    }

    fn found(disk: &Disk<u64>) -> Vec<u64> {
        assert!(disk.iter().all(|(lsn, record)| lsn.0 == *record));
        disk.iter().map(|(_, record)| *record).collect()
    }

    #[test]
    fn a_crash_leaves_a_prefix_and_never_less_than_was_synced() {
        for (keep, left) in [
            (Keep::Synced, 3),
            (Keep::Torn(1), 4),
            (Keep::Torn(9), 5),
            (Keep::All, 5),
        ] {
            let mut disk = disk(5, 3);
            assert_eq!(disk.pending(), 2);
            disk.crash(keep);
            assert_eq!(found(&disk), (1..=left).collect::<Vec<_>>());
            assert_eq!((disk.last(), disk.pending()), (Lsn(left), 0));
        }
    }

    #[test]
    fn whole_segments_are_forgotten_and_nothing_unsynced() {
        let mut disk = disk(10, 7);
        disk.release(Lsn(6), 2);
        assert_eq!(disk.first(), Lsn(5));
        disk.release(Lsn(10), 1);
        assert_eq!(disk.first(), Lsn(8));
    }

    #[test]
    fn the_next_sync_covers_all_that_came_while_one_was_running() {
        let mut disk: Disk<u64> = Disk::new();
        disk.append(1);
        disk.force(Lsn(1));
        let first = disk.start_sync();
        disk.append(2);
        disk.append(3);
        disk.force(Lsn(3));
        assert!(disk.is_wanting());
        assert!(disk.end_sync(first));
        assert_eq!((disk.start_sync(), disk.synced()), (Lsn(3), Lsn(1)));
        assert!(!disk.is_wanting());
    }
}
