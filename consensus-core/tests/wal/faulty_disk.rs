//! A file system in memory that crashes, fills up and fails as it is told.

use consensus_core::storage::wal::{FileSystem, LogFile};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

const SECTOR: usize = 512;
/// A full disk has this much left for small files, as the log sees to with its reserve.
const SMALL: usize = 128;

/// A change that a crash may lose.
#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    /// Never crosses a sector.
    Write(usize, Vec<u8>),
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Naming {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

/// What is asked of a file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Operation {
    List,
    Read,
    Open,
    Create,
    Rename,
    Remove,
    SyncDir,
    Write,
    Sync,
    Allocate,
    SetLen,
}

/// Calls that fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    /// The first, counted from one over all operations.
    pub(crate) from: usize,
    /// Whether those after it fail as well, of the kinds that need room.
    pub(crate) lasting: bool,
    /// How.
    pub(crate) kind: io::ErrorKind,
}

/// What goes wrong, and when. Operations count from one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Calls that fail, whatever they are.
    pub(crate) failing: Option<Failing>,
    /// The first call that did.
    pub(crate) failed: Option<Operation>,
    operations: usize,

    /// A write takes no more than this many bytes.
    pub(crate) short: Option<usize>,
    /// This write, after half of its bytes have been taken by one before it, finds the disk full.
    pub(crate) full_write: Option<usize>,
    /// Every write and allocation from this one on finds the disk full, until the fault is lifted.
    pub(crate) full_from: Option<usize>,
    /// Files do not grow: allocations find the disk full, and so do writes beyond a file's end.
    pub(crate) full_files: bool,
    /// Syncs do not end.
    stall: bool,
    /// This sync fails; the ones after it succeed, and lie.
    pub(crate) fail_sync: Option<usize>,
    writes: usize,
    pub(crate) syncs: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    contents: Vec<Content>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    naming: Vec<Naming>,
    locked: BTreeSet<PathBuf>,
    pub(crate) faults: Faults,
    /// What somebody has been told; kept with the state, to be held against it.
    pub(crate) acknowledged: u64,
    /// The state before each change, when asked for.
    recording: bool,
    history: Vec<State>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyDisk(Arc<(Mutex<State>, Condvar)>);

impl FaultyDisk {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("no panic under the lock")
    }

    fn of(state: State) -> Self {
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Lets no sync end from now on, or lets them all.
    pub(crate) fn stall(&self, stall: bool) {
        self.state().faults.stall = stall;
        self.0.1.notify_all();
    }

    /// The state, once no sync is held up.
    fn stalled(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        let waited = self.0.1.wait_while(state, |state| state.faults.stall);
        waited.expect("no panic under the lock")
    }

    /// A disk with the same files, everything on it durable, that nobody uses.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        let mut copy = State {
            contents: state.contents.clone(),
            live: state.live.clone(),
            ..State::default()
        };
        copy.settle();
        Self::of(copy)
    }

    /// Keeps the state before each change from now on.
    pub(crate) fn record(&self) {
        self.state().recording = true;
    }

    /// What was kept, and the state now.
    pub(crate) fn history(&self) -> Vec<State> {
        let mut state = self.state();
        state.recording = false;
        let mut history = core::mem::take(&mut state.history);
        history.push(state.clone());
        history
    }

    pub(crate) fn names(&self) -> Vec<PathBuf> {
        self.state().live.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, file: &Path) -> Vec<u8> {
        let state = self.state();
        state.contents[state.live[file]].live.clone()
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&self, file: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        state.contents.push(Content {
            live: bytes,
            ..Content::default()
        });
        let id = state.contents.len() - 1;
        state.live.insert(file.to_owned(), id);
        state.settle();
    }

    pub(crate) fn delete(&self, file: &Path) {
        let mut state = self.state();
        state.live.remove(file);
        state.settle();
    }

    /// Changes a file's bytes in place, durably.
    pub(crate) fn damage(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(file);
        change(&mut bytes);
        self.put(file, bytes);
    }
}

impl State {
    fn settle(&mut self) {
        for content in &mut self.contents {
            content.synced = content.live.clone();
            content.pending.clear();
        }
        self.durable = self.live.clone();
        self.naming.clear();
    }

    /// How many changes a crash may lose, each by itself.
    pub(crate) fn pending(&self) -> usize {
        let changes: usize = self.contents.iter().map(|c| c.pending.len()).sum();
        self.naming.len() + changes
    }

    /// The disk after its process was killed and the system went on: everything is still there, and
    /// what was not synced still may be lost. It has no faults, and nobody has locked it.
    pub(crate) fn killed(&self) -> FaultyDisk {
        let mut image = self.clone();
        image.locked.clear();
        image.faults = Faults::default();
        (image.recording, image.history) = (false, Vec::new());
        FaultyDisk::of(image)
    }

    /// The disk after a crash that keeps the changes whose bit is set in `kept`.
    pub(crate) fn crash(&self, kept: u64) -> FaultyDisk {
        // Of more changes than there are bits, all are kept or none.
        let bit = |bit| kept.checked_shr(bit).map(|bits| bits & 1 == 1);
        let mut bits = (0..).map(|at| bit(at).unwrap_or(kept == u64::MAX));
        let mut keep = move || bits.next().unwrap_or(false);
        let mut image = State {
            live: self.durable.clone(),
            ..State::default()
        };
        for naming in self.naming.iter().filter(|_| keep()) {
            match naming {
                Naming::Create(path, id) => {
                    image.live.insert(path.clone(), *id);
                }
                Naming::Rename(from, to, id) => {
                    image.live.remove(from);
                    image.live.insert(to.clone(), *id);
                }
                Naming::Remove(path) => {
                    image.live.remove(path);
                }
            }
        }
        for content in &self.contents {
            let mut live = content.synced.clone();
            for change in content.pending.iter().filter(|_| keep()) {
                match change {
                    Change::Length(length) => live.resize(*length, 0),
                    Change::Write(offset, bytes) => overwrite(&mut live, *offset, bytes),
                }
            }
            image.contents.push(Content {
                live,
                ..Content::default()
            });
        }
        image.settle();
        FaultyDisk::of(image)
    }

    /// An operation begins: it is counted, and fails when it is to. Before one that changes
    /// something the state is kept, when asked for.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        use Operation::{Allocate, Create, List, Open, Read, Rename, Write};
        if self.recording && !matches!(operation, List | Read | Open) {
            let mut state = self.clone();
            state.history.clear();
            self.history.push(state);
        }
        let faults = &mut self.faults;
        faults.operations += 1;
        let Some(failing) = faults.failing else {
            return Ok(());
        };
        let needs_room = matches!(operation, Create | Rename | Write | Allocate);
        let later = failing.lasting && needs_room && faults.operations > failing.from;
        if faults.operations != failing.from && !later {
            return Ok(());
        }
        faults.failed.get_or_insert(operation);
        Err(failing.kind.into())
    }

    /// Whether a file may become, or is, `end` bytes long.
    fn room(&mut self, file: usize, end: usize) -> io::Result<()> {
        self.faults.writes += 1;
        let write = self.faults.writes;
        let lasting = self.faults.full_from.is_some_and(|from| from <= write)
            || (self.faults.full_files && end > self.contents[file].live.len() + SMALL);
        if lasting || self.faults.full_write == Some(write) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn no_such_file() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl FileSystem for FaultyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.begin(Operation::List)?;
        let names = state.live.keys().filter(|file| file.parent() == Some(dir));
        let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
        Ok(names.map(name).collect())
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        let id = state.live.get(file).ok_or_else(no_such_file)?;
        let bytes = &state.contents[*id].live;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.clone())
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.begin(Operation::Create)?;
        state.contents.push(Content::default());
        let id = state.contents.len() - 1;
        state.live.insert(file.to_owned(), id);
        state.naming.push(Naming::Create(file.to_owned(), id));
        drop(state);
        Ok(Box::new(FaultyFile(self.clone(), id)))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.begin(Operation::Open)?;
        let id = *state.live.get(file).ok_or_else(no_such_file)?;
        Ok(Box::new(FaultyFile(self.clone(), id)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Rename)?;
        let id = state.live.remove(from).ok_or_else(no_such_file)?;
        state.live.insert(to.to_owned(), id);
        let naming = Naming::Rename(from.to_owned(), to.to_owned(), id);
        state.naming.push(naming);
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.live.contains_key(file) {
            return Err(no_such_file());
        }
        state.begin(Operation::Remove)?;
        state.live.remove(file);
        state.naming.push(Naming::Remove(file.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::SyncDir)?;
        state.durable = state.live.clone();
        state.naming.clear();
        Ok(())
    }

    fn lock(&self, file: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let free = self.state().locked.insert(file.to_owned());
        if !free {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock(self.clone(), file.to_owned()))))
    }
}

struct Lock(FaultyDisk, PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked.remove(&self.1);
    }
}

struct FaultyFile(FaultyDisk, usize);

impl LogFile for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let live = &state.contents[self.1].live;
        let from = live.get(offset as usize..).unwrap_or_default();
        let taken = from.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&from[..taken]);
        Ok(taken)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().contents[self.1].live.len() as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.state();
        state.begin(Operation::Write)?;
        state.room(self.1, offset as usize + bytes.len())?;
        let mut taken = bytes.len().min(state.faults.short.unwrap_or(usize::MAX));
        if state.faults.full_write == Some(state.faults.writes + 1) {
            taken = taken.min(bytes.len() / 2 + 1);
        }
        let content = &mut state.contents[self.1];
        let mut at = offset as usize;
        let end = at + taken;
        while at < end {
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            let part = &bytes[at - offset as usize..next - offset as usize];
            let same = |content: &[u8]| content.get(at..next) == Some(part);
            // What changes nothing cannot be lost.
            if !same(&content.live) || !same(&content.synced) {
                content.pending.push(Change::Write(at, part.to_vec()));
            }
            overwrite(&mut content.live, at, part);
            at = next;
        }
        Ok(taken)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.stalled();
        state.faults.syncs += 1;
        let failed = state.faults.fail_sync == Some(state.faults.syncs);
        let begun = state.begin(Operation::Sync);
        let content = &mut state.contents[self.1];
        content.pending.clear();
        // When it fails the pages are marked clean and never reach the disk.
        begun?;
        if failed {
            return Err(io::Error::other("injected"));
        }
        content.synced = content.live.clone();
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.begin(Operation::Allocate)?;
        state.room(self.1, length as usize)?;
        let content = &mut state.contents[self.1];
        content.live.resize(length as usize, 0);
        content.pending.push(Change::Length(length as usize));
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.begin(Operation::SetLen)?;
        let content = &mut state.contents[self.1];
        content.live.resize(length as usize, 0);
        content.pending.push(Change::Length(length as usize));
        Ok(())
    }
}
