//! Which segments hold records of whom: what may be deleted, and who keeps the log long.

use super::layout::Standing;
use crate::{GroupId, Lsn};
use std::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

#[derive(Debug)]
struct Held {
    number: u64,
    /// First and last record of each group.
    groups: BTreeMap<GroupId, (Lsn, Lsn)>,
    written: bool,
}

/// What the segments hold. Knows only what is on disk.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Oldest first; the last is being written.
    segments: VecDeque<Held>,
    last: BTreeMap<GroupId, Lsn>,
    released: BTreeMap<GroupId, Lsn>,
}

impl Ledger {
    /// A segment is begun.
    pub(super) fn open(&mut self, number: u64) {
        self.segments.push_back(Held {
            number,
            groups: BTreeMap::new(),
            written: false,
        });
    }

    /// Records of `group` up to `last` lie in segments that are no longer there.
    pub(super) fn start(&mut self, group: GroupId, last: Lsn) {
        self.last.insert(group, last);
    }

    /// Records are on disk in the newest segment.
    pub(super) fn append(&mut self, group: GroupId, first: Lsn, last: Lsn) {
        self.last.insert(group, last);
        if let Some(segment) = self.segments.back_mut() {
            segment.written = true;
            segment.groups.entry(group).or_insert((first, last)).1 = last;
        }
    }

    /// Records of `group` before `before` are not needed; on disk.
    pub(super) fn release(&mut self, group: GroupId, before: Lsn) {
        let released = self.released.entry(group).or_default();
        *released = before.max(*released);
    }

    /// The newest record of `group`.
    pub(super) fn last(&self, group: GroupId) -> Lsn {
        self.last.get(&group).copied().unwrap_or_default()
    }

    /// The newest record of every group.
    pub(super) fn lasts(&self) -> &BTreeMap<GroupId, Lsn> {
        &self.last
    }

    /// Records of `group` before this one are not needed.
    pub(super) fn released(&self, group: GroupId) -> Lsn {
        self.released.get(&group).copied().unwrap_or_default()
    }

    pub(super) fn oldest(&self) -> u64 {
        self.segments.front().map_or(0, |segment| segment.number)
    }

    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a segment after `number` holds records.
    pub(super) fn newest_with_groups(&self, number: u64) -> bool {
        let mut newer = self.segments.iter().filter(|s| s.number > number);
        newer.any(|segment| segment.written)
    }

    /// What the next segment's header says.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let standing = |(group, last): (&GroupId, &Lsn)| Standing {
            group: *group,
            last: *last,
            released: self.released(*group),
        };
        self.last.iter().map(standing).collect()
    }

    /// The oldest segment, when no record in it is needed. The newest never is one.
    pub(super) fn deletable(&self) -> Option<u64> {
        let oldest = self.segments.front().filter(|_| self.segments.len() > 1)?;
        let mut groups = oldest.groups.iter();
        groups
            .all(|(group, (_, last))| *last < self.released(*group))
            .then_some(oldest.number)
    }

    /// The oldest segment is deleted.
    pub(super) fn deleted(&mut self) {
        self.segments.pop_front();
    }

    /// The groups that keep more than `limit` segments, each with the number before which it should
    /// write anew what lives and release: half as many segments are left to it then.
    pub(super) fn reclaim(&self, limit: usize) -> BTreeMap<GroupId, Lsn> {
        let mut reclaim = BTreeMap::new();
        let kept = self.segments.len().saturating_sub(limit.max(2) / 2);
        for (index, segment) in self.segments.iter().enumerate() {
            if self.segments.len() - index <= limit {
                break;
            }
            for (group, (_, last)) in &segment.groups {
                if *last >= self.released(*group) {
                    reclaim
                        .entry(*group)
                        .or_insert_with(|| self.first_from(*group, kept));
                }
            }
        }
        reclaim
    }

    /// The first record of `group` in the segments from the `index`th on; the one after its last
    /// when there is none.
    fn first_from(&self, group: GroupId, index: usize) -> Lsn {
        let mut newer = self.segments.iter().skip(index);
        newer
            .find_map(|segment| segment.groups.get(&group).map(|(first, _)| *first))
            .unwrap_or_else(|| self.last(group).next())
    }
}
