//! The temporary folder of one cluster: certificates, configurations, logs of nodes, data.

use anyhow::Context as _;
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// A folder that goes when the cluster goes.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder that nobody else can read, for keys are in it.
    ///
    /// Beside the build, not under `/tmp`, which may be memory: a log in memory would make every
    /// figure about `fdatasync` a lie.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(parent: &Path, name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        for attempt in 0.. {
            let path = parent.join(format!("{name}-{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("making {}", path.display()));
                }
            }
        }
        unreachable!("some number is free")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing to be done about a folder that will not go, and nobody to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_private_and_goes_when_dropped() {
        let folder = Folder::new(&std::env::temp_dir(), "xtask-folder").expect("a folder");
        let path = folder.path().to_owned();
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(path.join("file"), "x").expect("it is ours");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn two_folders_of_one_name_are_two_folders() {
        let parent = std::env::temp_dir();
        let one = Folder::new(&parent, "xtask-twin").expect("a folder");
        let other = Folder::new(&parent, "xtask-twin").expect("another");
        assert_ne!(one.path(), other.path());
    }
}
