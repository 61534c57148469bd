//! Why a log cannot be formatted or opened. Each names the file and the way out.

use crate::{GroupId, Lsn};
use std::{
    io,
    path::PathBuf,
    string::{String, ToString},
};

/// A folder was not formatted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The folder holds something already, perhaps a log. Formatting it would make a new disk of
    /// it. Choose another folder, or empty this one if the node it belonged to is gone for good.
    #[error(
        "{} is not empty (it holds {found}); format another folder, or empty this one if what it held is given up",
        dir.display()
    )]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// The system refused.
    #[error("{operation} of {} failed", file.display())]
    Io {
        /// `create`, `write`, `sync`, …
        operation: &'static str,
        /// Of which file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// A log was not opened. Nothing has been changed, unless the error is [`OpenError::Io`] or
/// [`OpenError::Full`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no log. An empty folder is never formatted on the way: a node whose disk was lost
    /// must not come back as if it had promised nothing.
    #[error(
        "{} holds no log; format it if this node is new, never if it has taken part before",
        dir.display()
    )]
    NotFormatted {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process, or another part of this one, has the log open.
    #[error("{} is open elsewhere; stop the other process first", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The file belongs to another cluster, node or disk.
    #[error(
        "{} belongs to {what} {found}, not {expected}; put the right file back",
        file.display()
    )]
    Foreign {
        /// Which file.
        file: PathBuf,
        /// `cluster`, `node` or `disk`.
        what: &'static str,
        /// As configured, or as the identity file says.
        expected: String,
        /// As found.
        found: String,
    },
    /// Something that was acknowledged cannot be read. Never cut.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A segment is gone.
    #[error(
        "{} is missing: {why}; put it back, or let the node rejoin as a new one",
        file.display()
    )]
    MissingSegment {
        /// Which.
        file: PathBuf,
        /// What says that it must exist.
        why: &'static str,
    },
    /// A file is older than the rest of the log: somebody restored a backup of a part.
    #[error(
        "{} is an older copy: {why}; put the newest copy back, or let the node rejoin as a new one",
        file.display()
    )]
    OlderCopy {
        /// Which file.
        file: PathBuf,
        /// What shows it.
        why: String,
    },
    /// Written by a newer release.
    #[error(
        "{} has format version {found}, this build reads up to {known}; use a newer build",
        file.display()
    )]
    Version {
        /// Which file.
        file: PathBuf,
        /// The version found.
        found: u16,
        /// The newest that this build knows.
        known: u16,
    },
    /// There is no room for the first segment of this run. Nothing is lost.
    #[error(
        "the disk under {} is full: make room and start the node again, nothing is lost",
        dir.display()
    )]
    Full {
        /// The folder.
        dir: PathBuf,
    },
    /// The system refused.
    #[error("{operation} of {} failed", file.display())]
    Io {
        /// `read`, `create`, …
        operation: &'static str,
        /// Of which file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Damage at or below a seal: what lay here was acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{} is damaged at byte {offset}: {what}{}; nothing was cut: restore the file, or let the node rejoin as a new one",
    file.display(),
    lost.map_or_else(String::new, |(group, lsn)| std::format!(", first lost record {lsn} of group {group}"))
)]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// The first damaged group's place, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// The first record that can no longer be read, when what follows tells; none when no record
    /// of the log is lost (the file of identity, a mere seal).
    pub lost: Option<(GroupId, Lsn)>,
}

impl Damage {
    pub(super) fn new(file: PathBuf, offset: u64, what: &str) -> Self {
        Self {
            file,
            offset,
            what: what.to_string(),
            lost: None,
        }
    }
}

/// For `map_err`: an operation on a file that failed while opening.
pub(super) fn io_error(
    operation: &'static str,
    file: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.into();
    move |source| OpenError::Io {
        operation,
        file,
        source,
    }
}
