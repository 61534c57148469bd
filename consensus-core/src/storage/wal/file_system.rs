//! What the log asks of a file system: small enough to be played by a simulated one that loses
//! unsynced writes.

use std::{
    boxed::Box,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    path::Path,
    string::String,
    vec::Vec,
};

/// A folder of files.
///
/// What a crash may do, between two calls of [`LogFile::sync`] on a file: keep any subset of the
/// sectors written, in any order, and of the changes of length. Names ([`create`](Self::create),
/// [`rename`](Self::rename), [`remove`](Self::remove)) last once
/// [`sync_dir`](Self::sync_dir) has returned.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes a folder and those above it. One that exists is no error.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A whole file.
    ///
    /// # Errors
    /// `FileTooLarge` when it has over `limit` bytes; nothing of that size is allocated then.
    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// An empty file under this name, whatever was there.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, file: &Path) -> io::Result<Box<dyn LogFile>>;
    /// A file that exists.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, file: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Moves a file, over whatever has that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The system's; the names are in doubt then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks a file, which is made when it does not exist, until the value is dropped or the
    /// process ends. None when somebody else holds it.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, file: &Path) -> io::Result<Option<Box<dyn Send>>>;
}

/// An open file.
pub trait LogFile: Send {
    /// Reads some bytes from `offset` on and tells how many: zero at the end of the file alone.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How long the file is, in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;
    /// Writes some of `bytes` at `offset` and tells how many: may be fewer.
    ///
    /// # Errors
    /// `StorageFull` when there is no room; any other ends the log's life in this process.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable, the length too.
    ///
    /// # Errors
    /// Any: what was written is in doubt for ever.
    fn sync(&self) -> io::Result<()>;
    /// Grows the file to `length` zero bytes, with their room on disk where the system can.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        if length > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        file.by_ref().take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(RealFile(options.open(file)?)))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).open(file)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, file: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile(File);

impl LogFile for RealFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.0, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(()),
            // Some file systems cannot: there a full disk shows later, at the write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        self.0.set_len(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// Writes all of `bytes`, however few the system takes at a time.
pub(in crate::storage) fn write_all(
    file: &dyn LogFile,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether this means that there is no room, now.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
