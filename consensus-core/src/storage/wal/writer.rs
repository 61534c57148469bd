//! The one thread that writes.

use super::{
    Options,
    file_system::write_all,
    inbox::{Command, Inbox, Wake},
    layout::{GroupBuffer, SegmentHeader, Stored},
    ledger::Ledger,
    segment::{Folder, Segment, Trouble, broken, trouble, write_zeros},
};
use crate::{
    GroupId, Lsn,
    storage::{Append, Completion, DiskFailure},
};
use std::{
    boxed::Box,
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
    vec::Vec,
};

/// A full disk is tried again after this, then after twice as long, up to [`RETRY_LAST`].
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LAST: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) inbox: Arc<Inbox>,
    pub(super) completion: Box<dyn Completion>,
    pub(super) options: Options,
    pub(super) folder: Folder,
    pub(super) segment: Segment,
    pub(super) ledger: Ledger,
    /// The last group on disk, and its checksum.
    pub(super) sequence: u64,
    pub(super) chain: u32,
    pub(super) state: State,
}

/// What a writer starts without.
#[derive(Default)]
pub(super) struct State {
    taken: Vec<Command>,
    /// Taken out of the inbox, not yet in a group.
    waiting: VecDeque<Command>,
    group: GroupBuffer,
    /// What the group being written holds.
    written: Vec<(GroupId, Lsn, Lsn)>,
    released: Vec<(GroupId, Lsn)>,
    bytes: usize,
    /// What the group before held: the next one seals it.
    acknowledged: Vec<(GroupId, Lsn)>,
    /// Since when the last group has not been sealed.
    unsealed: Option<Instant>,
    /// Made and named, not yet in the file of identity.
    prepared: Option<Segment>,
    full: bool,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl Writer {
    pub(super) fn run(mut self) {
        if let Err(failure) = self.serve() {
            self.inbox.close();
            self.completion.failed(failure);
        }
    }

    fn serve(&mut self) -> Result<(), DiskFailure> {
        if !self.folder.reserve {
            self.note_full();
        }
        // A crash may have come between a release and the deletions that it allows.
        self.delete()?;
        loop {
            let seal = self.state.unsealed.map(|at| at + self.options.seal_after);
            let alarm = [seal, self.state.retry_at].into_iter().flatten().min();
            let lazily = self.options.lazy_within;
            let wake = self.inbox.wait(&mut self.state.taken, lazily, alarm);
            self.state.waiting.extend(self.state.taken.drain(..));
            match wake {
                Wake::Work => self.work()?,
                Wake::Alarm => self.alarm(seal)?,
                Wake::Stop => return self.close(),
            }
        }
    }

    /// Writes everything that waits, group by group.
    fn work(&mut self) -> Result<(), DiskFailure> {
        while !self.state.waiting.is_empty() {
            let room = self.collect();
            if !self.store(room)? {
                return Ok(());
            }
            self.inbox.take(&mut self.state.taken);
            self.state.waiting.extend(self.state.taken.drain(..));
        }
        Ok(())
    }

    /// Puts a group together from what waits, as much as the segment has room for but at least one
    /// command. Returns the room that it needs.
    fn collect(&mut self) -> u64 {
        let state = &mut self.state;
        state.group.start(&state.acknowledged);
        state.written.clear();
        state.released.clear();
        state.bytes = 0;
        let room = self.segment.length.saturating_sub(self.segment.end);
        let mut first = true;
        while let Some(command) = state.waiting.front() {
            let cost = match command {
                Command::Append(append) => GroupBuffer::cost(append),
                Command::Release(..) => 0,
            };
            // Alone it may be longer than the segment: then it gets one of its own size.
            if !first && state.group.length() + cost > room {
                break;
            }
            first = false;
            match state.waiting.pop_front() {
                Some(Command::Append(append)) => {
                    state.bytes += append.bytes.len();
                    note(&mut state.written, &append);
                    state.group.append(append);
                }
                Some(Command::Release(group, before)) => {
                    state.group.release(group, before);
                    state.released.push((group, before));
                }
                None => {}
            }
        }
        state.group.length()
    }

    /// Writes and syncs the group in the buffer, however long the disk stays full. False when it
    /// was given up because the log is being closed on a full disk.
    fn store(&mut self, length: u64) -> Result<bool, DiskFailure> {
        let mut pause = RETRY_FIRST;
        loop {
            let tried = self.place(length).and_then(|()| self.write());
            match tried {
                Ok(()) => break,
                Err(Trouble::Broken(failure)) => return Err(failure),
                Err(Trouble::Full) => self.note_full(),
            }
            if self.folder.reserve {
                // The segment at hand has no room after all: go on in the reserve.
                match self.roll(length) {
                    Ok(()) => continue,
                    Err(Trouble::Full) => {}
                    Err(Trouble::Broken(failure)) => return Err(failure),
                }
            }
            if self.inbox.is_stopping() {
                self.state.waiting.clear();
                return Ok(false);
            }
            self.inbox.pause(pause);
            pause = (2 * pause).min(RETRY_LAST);
        }
        self.acknowledge()?;
        Ok(true)
    }

    /// Goes to the next segment when this one is too short.
    fn place(&mut self, length: u64) -> Result<(), Trouble> {
        let has_room = self.segment.end + length <= self.segment.length;
        if has_room && self.state.prepared.is_none() {
            return Ok(());
        }
        self.roll(length)
    }

    fn write(&mut self) -> Result<(), Trouble> {
        let segment = &mut self.segment;
        let group =
            self.state
                .group
                .finish(segment.seed, segment.end, self.sequence + 1, self.chain);
        let length = group.length();
        let end = segment.end + length;
        let path = &segment.path;
        let mut at = segment.end;
        let mut written = group.pieces().try_for_each(|piece| {
            let place = at;
            at += piece.len() as u64;
            write_all(&*segment.file, piece, place)
        });
        // Overwriting zeros costs a sync less than writing into room that was only set aside, whose
        // extent must be marked as written; large groups are their own remedy.
        let ahead = self.options.zero_ahead;
        if written.is_ok() && end > segment.zeroed && end < segment.length && length < ahead / 4 {
            let to = (end + ahead).min(segment.length);
            written = write_zeros(&*segment.file, end..to);
            segment.zeroed = to;
        }
        if let Err(error) = written {
            let trouble = trouble("write", path)(error);
            if matches!(trouble, Trouble::Full) {
                // Roll the half-written group back; the length comes back with the next write.
                segment
                    .file
                    .set_len(segment.end)
                    .map_err(broken("truncate", path))?;
                segment.zeroed = segment.end;
            }
            return Err(trouble);
        }
        segment.file.sync().map_err(broken("fdatasync", path))?;
        segment.end = end;
        self.sequence += 1;
        self.chain = group.chain;
        Ok(())
    }

    /// The group is on disk.
    fn acknowledge(&mut self) -> Result<(), DiskFailure> {
        let state = &mut self.state;
        state.acknowledged.clear();
        for (group, first, last) in &state.written {
            self.ledger.append(*group, *first, *last);
            state.acknowledged.push((*group, *last));
        }
        state.unsealed = Some(Instant::now());
        self.inbox.written(state.bytes);
        for buffer in state.group.spent() {
            self.inbox.give_back(buffer);
        }
        for (group, last) in &state.acknowledged {
            self.completion.durable(*group, *last);
        }
        if state.released.is_empty() {
            return Ok(());
        }
        for (group, before) in &state.released {
            self.ledger.release(*group, *before);
        }
        self.delete()
    }

    /// Deletes the segments of which nothing is needed.
    fn delete(&mut self) -> Result<(), DiskFailure> {
        let mut numbers = Vec::new();
        while let Some(number) = self.ledger.deletable() {
            numbers.push(number);
            self.ledger.deleted();
        }
        self.report_length();
        settled(self.folder.delete(&numbers))?;
        if self.state.full && !numbers.is_empty() {
            // Otherwise nobody waits for the room, and a sync costs a group its turn.
            settled(self.folder.sync_names())?;
            self.state.retry_at = Some(Instant::now());
        }
        Ok(())
    }

    fn report_length(&self) {
        let limit = self.options.reclaim_segments;
        self.inbox.set_reclaim(self.ledger.reclaim(limit));
    }

    /// Goes on in a new segment. May be called again after [`Trouble::Full`].
    fn roll(&mut self, length: u64) -> Result<(), Trouble> {
        let segment = match self.state.prepared.take() {
            Some(segment) => segment,
            None => {
                let header = self.next_header();
                let length = header.end() + length;
                self.folder.make(&header, length)?
            }
        };
        let stored = Stored {
            segment: segment.number,
            sequence: self.sequence,
            ..self.folder.stored
        };
        if let Err(trouble) = self.folder.identify(stored) {
            self.state.prepared = Some(segment);
            return Err(trouble);
        }
        self.ledger.open(segment.number);
        self.segment = segment;
        self.report_length();
        if !self.folder.reserve {
            self.note_full();
        }
        Ok(())
    }

    fn next_header(&self) -> SegmentHeader {
        let stored = &self.folder.stored;
        SegmentHeader {
            cluster: stored.cluster,
            node: stored.node,
            disk: stored.disk,
            boot: stored.boot,
            number: self.segment.number + 1,
            previous_end: self.segment.end,
            sequence: self.sequence,
            chain: self.chain,
            standings: self.ledger.standings(),
        }
    }

    fn alarm(&mut self, seal: Option<Instant>) -> Result<(), DiskFailure> {
        let now = Instant::now();
        if self.state.retry_at.is_some_and(|at| at <= now) {
            self.replenish()?;
        }
        if seal.is_some_and(|at| at <= now) {
            self.seal()?;
        }
        Ok(())
    }

    /// Writes an empty group: what the one before it held is acknowledged.
    fn seal(&mut self) -> Result<(), DiskFailure> {
        self.state.unsealed = None;
        self.state.group.start(&self.state.acknowledged);
        let length = self.state.group.length();
        // A full disk goes without: the next group seals as well.
        if settled(self.place(length).and_then(|()| self.write()))? {
            self.state.acknowledged.clear();
        }
        Ok(())
    }

    fn note_full(&mut self) {
        if !self.state.full {
            self.state.full = true;
            self.state.retry_after = RETRY_FIRST;
            self.state.retry_at = Some(Instant::now() + RETRY_FIRST);
            self.completion.full(true);
        }
    }

    /// The disk has room again once it has room for a reserve.
    fn replenish(&mut self) -> Result<(), DiskFailure> {
        if settled(self.folder.replenish())? {
            self.state.full = false;
            self.state.retry_at = None;
            self.completion.full(false);
            return Ok(());
        }
        self.state.retry_after = (2 * self.state.retry_after).min(RETRY_LAST);
        self.state.retry_at = Some(Instant::now() + self.state.retry_after);
        Ok(())
    }

    fn close(&mut self) -> Result<(), DiskFailure> {
        if self.state.unsealed.is_some() {
            self.seal()?;
        }
        let stored = Stored {
            sequence: self.sequence,
            ..self.folder.stored
        };
        if stored != self.folder.stored {
            settled(self.folder.identify(stored))?;
        }
        Ok(())
    }
}

/// Whether it worked; a full disk is no failure.
fn settled(tried: Result<(), Trouble>) -> Result<bool, DiskFailure> {
    match tried {
        Ok(()) => Ok(true),
        Err(Trouble::Full) => Ok(false),
        Err(Trouble::Broken(failure)) => Err(failure),
    }
}

/// Adds `append` to what a group holds: of each protocol group the first and the last record.
fn note(written: &mut Vec<(GroupId, Lsn, Lsn)>, append: &Append) {
    if append.count() == 0 {
        return;
    }
    match written
        .iter_mut()
        .find(|(group, ..)| *group == append.group)
    {
        Some((_, _, last)) => *last = append.last(),
        None => written.push((append.group, append.first, append.last())),
    }
}
