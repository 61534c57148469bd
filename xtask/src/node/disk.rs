//! A disk that the supervisor may break: the operating system's files, with errors, delays and
//! sudden ends where it asks for them. No privilege and no other program is needed.

use consensus_core::{
    fault::duration,
    storage::wal::{FileSystem, LogFile, RealFileSystem},
};
use rustix::{
    io::Errno,
    process::{Signal, getpid, kill_process},
};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What goes wrong with a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Write {
    Whole,
    /// Only this many bytes are taken.
    Part(usize),
    NoRoom,
    /// This many bytes are taken, then the process is gone.
    Last(usize),
}

/// What goes wrong from now on.
#[derive(Clone, Debug, Default)]
struct State {
    /// So many syncs from now, that one fails; those after it succeed, and lie.
    sync_fails: Option<u64>,
    /// So many writes from now, the disk is full in the middle of that one.
    write_fills: Option<u64>,
    full: bool,
    slower: Duration,
    /// The process ends in the middle of the next write, of which this share in percent arrives.
    ends: Option<usize>,
}

impl State {
    fn command(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let count = |word: &str| match word.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(format!("`{word}` is no count")),
        };
        match words[..] {
            ["eio", nth] => self.sync_fails = count(nth)?,
            ["enospc", nth] => self.write_fills = count(nth)?,
            ["slow", by] => self.slower = duration(by).map_err(|error| error.to_string())?,
            ["torn"] => self.ends = Some(50),
            ["lost"] => self.ends = Some(0),
            ["well"] => *self = Self::default(),
            _ => return Err(format!("`{text}` is no command for a disk")),
        }
        Ok(())
    }

    fn write(&mut self, length: usize) -> Write {
        if let Some(share) = self.ends {
            return Write::Last(length * share / 100);
        }
        if self.full {
            return Write::NoRoom;
        }
        match self.write_fills.as_mut() {
            Some(left) if *left <= 1 => {
                self.full = true;
                self.write_fills = None;
                // As a real disk does: some of the bytes, and the error for the rest.
                if length > 1 {
                    Write::Part(length / 2)
                } else {
                    Write::NoRoom
                }
            }
            Some(left) => {
                *left -= 1;
                Write::Whole
            }
            None => Write::Whole,
        }
    }

    /// Whether this sync fails.
    fn sync(&mut self) -> bool {
        match self.sync_fails.as_mut() {
            Some(left) if *left <= 1 => {
                self.sync_fails = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

/// The operating system's files, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct BreakableFiles(Arc<Mutex<State>>);

impl BreakableFiles {
    /// Does what the supervisor says: `eio 50`, `enospc 50`, `slow 20ms`, `torn`, `lost`, `well`.
    ///
    /// # Errors
    /// What cannot be understood; nothing has changed then.
    pub(crate) fn command(&self, text: &str) -> Result<(), String> {
        self.state().command(text)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self, file: io::Result<Box<dyn LogFile>>) -> io::Result<Box<dyn LogFile>> {
        let disk = self.clone();
        Ok(Box::new(BreakableFile { disk, file: file? }))
    }

    fn room(&self) -> io::Result<()> {
        match self.state().full {
            true => Err(Errno::NOSPC.into()),
            false => Ok(()),
        }
    }
}

impl FileSystem for BreakableFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFileSystem.list(dir)
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        RealFileSystem.read(file, limit)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        self.room()?;
        self.wrap(RealFileSystem.create(file))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        self.wrap(RealFileSystem.open(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        RealFileSystem.remove(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(dir)
    }

    fn lock(&self, file: &Path) -> io::Result<Option<Box<dyn Send>>> {
        RealFileSystem.lock(file)
    }
}

struct BreakableFile {
    disk: BreakableFiles,
    file: Box<dyn LogFile>,
}

impl LogFile for BreakableFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let verdict = self.disk.state().write(bytes.len());
        match verdict {
            Write::Whole => self.file.write_at(bytes, offset),
            Write::Part(taken) => self.file.write_at(&bytes[..taken], offset),
            Write::NoRoom => Err(Errno::NOSPC.into()),
            Write::Last(taken) => {
                self.file.write_at(&bytes[..taken], offset)?;
                kill_process(getpid(), Signal::KILL)?;
                // The signal is on its way; nothing more is written in the meantime.
                loop {
                    std::thread::park();
                }
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let (fails, slower) = {
            let mut state = self.disk.state();
            (state.sync(), state.slower)
        };
        if fails {
            return Err(Errno::IO.into());
        }
        std::thread::sleep(slower);
        self.file.sync()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.room()?;
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(command: &str) -> State {
        let mut state = State::default();
        state.command(command).expect("a command");
        state
    }

    #[test]
    fn the_nth_sync_fails_and_those_after_it_lie() {
        let mut state = told("eio 3");
        let failed: Vec<_> = (0..5).map(|_| state.sync()).collect();
        assert_eq!(failed, [false, false, true, false, false]);
    }

    #[test]
    fn the_nth_write_is_cut_short_and_finds_no_room_until_there_is_some() {
        let mut state = told("enospc 2");
        assert_eq!(state.write(10), Write::Whole);
        assert_eq!(state.write(10), Write::Part(5));
        assert_eq!(state.write(5), Write::NoRoom);
        state.command("well").expect("a command");
        assert_eq!(state.write(5), Write::Whole);
    }

    #[test]
    fn a_torn_write_arrives_by_half_and_a_lost_one_not_at_all() {
        assert_eq!(told("torn").write(10), Write::Last(5));
        assert_eq!(told("lost").write(10), Write::Last(0));
    }

    #[test]
    fn a_wrong_command_changes_nothing_and_is_named() {
        let mut state = told("slow 20ms");
        for wrong in ["eio", "eio 0", "eio x", "slow 20", "burn", ""] {
            assert!(state.command(wrong).is_err(), "{wrong}");
        }
        assert_eq!(state.slower, Duration::from_millis(20));
    }
}
