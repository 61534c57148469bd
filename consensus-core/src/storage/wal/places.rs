//! Where each record lies on disk: for tools that damage a log on purpose.

use super::{
    error::OpenError,
    file_system::{FileSystem, RealFileSystem},
    layout::{Frame, segment_name},
    recover::{identity, names, recover},
};
use crate::{GroupId, Lsn};
use std::{
    path::{Path, PathBuf},
    vec::Vec,
};

/// Where one record lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPlace {
    /// Whose.
    pub group: GroupId,
    /// Its number.
    pub lsn: Lsn,
    /// In which file.
    pub file: PathBuf,
    /// Where its own bytes begin, from the file's start.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Whether something later on disk says that it had been synced. One that is not sealed can
    /// rot and be taken for what a crash tore.
    pub sealed: bool,
}

/// Finds every record of the log in `dir`, in the order in which they were written. Changes nothing
/// and takes no lock: of a log that is being written the newest records may be missing.
///
/// # Errors
/// [`OpenError`]: why the log would not open.
pub fn places(dir: &Path) -> Result<Vec<RecordPlace>, OpenError> {
    places_on(&RealFileSystem, dir)
}

/// As [`places`], on any file system.
///
/// # Errors
/// As [`places`].
pub fn places_on(files: &dyn FileSystem, dir: &Path) -> Result<Vec<RecordPlace>, OpenError> {
    let names = names(files, dir)?;
    let stored = identity(files, dir, &names, None)?;
    let mut found = Vec::new();
    // How many records lie before the newest group: those are sealed.
    let mut sealed = 0;
    recover(files, dir, &names, stored, &mut |segment| {
        let file = dir.join(segment_name(segment.header.number));
        // A segment is made only when everything before it has been synced.
        sealed = found.len();
        for group in &segment.scan.groups {
            sealed = found.len();
            let frames = group.frames.iter();
            found.extend(frames.flat_map(|frame| records(&file, frame)));
        }
    })?;
    for place in found.iter_mut().take(sealed) {
        place.sealed = true;
    }
    Ok(found)
}

fn records(file: &Path, frame: &Frame) -> Vec<RecordPlace> {
    let Frame::Records {
        group,
        first,
        at,
        ends,
    } = frame
    else {
        return Vec::new();
    };
    let mut start = 0;
    let numbered = (first.0..).zip(ends);
    numbered
        .map(|(lsn, end)| {
            let place = RecordPlace {
                group: *group,
                lsn: Lsn(lsn),
                file: file.into(),
                offset: at + u64::from(start),
                bytes: u64::from(end - start),
                sealed: false,
            };
            start = *end;
            place
        })
        .collect()
}
