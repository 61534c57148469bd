//! Why a snapshot cannot be kept or read. Each names the file and the way out.

use crate::contract::replicated_log::SnapshotId;
use std::{io, path::PathBuf, string::String, string::ToString};

/// Something about a snapshot file went wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is no such file: it was deleted, or never here.
    #[error(
        "{} holds no snapshot {:032x}, on which the log rests; put the file back, or let the node rejoin as a new one",
        dir.display(),
        id.0
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// Which snapshot.
        id: SnapshotId,
    },
    /// What is there is not what was written. Never restored, never sent on, never deleted.
    #[error(
        "{} is damaged at byte {offset}: {what}; restore the file, or let the node rejoin as a new one",
        file.display()
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file is another cluster's.
    #[error(
        "{} belongs to cluster {found}, not {expected}; put the right file back",
        file.display()
    )]
    Foreign {
        /// Which file.
        file: PathBuf,
        /// This cluster.
        expected: String,
        /// The file's.
        found: String,
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
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// The system refused.
    #[error("{operation} of {} failed: {reason}", file.display())]
    Io {
        /// `write`, `sync`, …
        operation: &'static str,
        /// Of which file.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
}

/// For `map_err`: an operation that failed.
pub(super) fn io_error(
    operation: &'static str,
    file: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> SnapshotError {
    let file = file.into();
    move |error| SnapshotError::Io {
        operation,
        file,
        reason: error.to_string(),
    }
}
