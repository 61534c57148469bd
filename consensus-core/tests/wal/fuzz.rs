//! Fuzzed: whatever somebody writes into a log or a snapshot, nothing panics, nothing is allocated
//! for a length that lies, and what opens holds what was written.
//!
//! An input is a list of edits of a file that a node has written: `(where, how)`, three bytes each. A
//! generator of whole files would hardly ever get past the first checksum. The inputs under
//! `__fuzz__` are replayed by `cargo test`; `cargo bolero test` looks for more.

use crate::{
    faulty_disk::FaultyDisk,
    mistaken::{segments, small},
    simulated::{crashed, dir, payload, segment, stopped, try_open},
    snapshots,
    support::{Reports, contents},
};
use consensus_core::storage::wal::{inspect_on, places_on};
use std::path::Path;

/// Applies the edits: one changes a byte, cuts the file, or copies a sector over another.
fn edit(disk: &FaultyDisk, file: &Path, edits: &[u8]) {
    disk.damage(file, |bytes| {
        for edit in edits.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % 4096;
            match edit[2] {
                0 => bytes.truncate(at),
                1 => {
                    let (from, to) = (at / 64 * 512, at % 64 * 512);
                    if from.max(to) + 512 <= bytes.len() {
                        bytes.copy_within(from..from + 512, to);
                    }
                }
                how => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= how;
                    }
                }
            }
        }
    });
}

#[test]
fn any_edits_of_a_log_are_found_or_harm_nobody() {
    let images = [crashed(), stopped(), segments(small(), 6)];
    bolero::check!().for_each(|input: &[u8]| {
        let Some((which, edits)) = input.split_first() else {
            return;
        };
        let disk = images[usize::from(*which) % 3].copy();
        let file = match which % 5 {
            0 => dir().join("identity"),
            number => segment(u64::from(number)),
        };
        if disk.names().contains(&file) {
            edit(&disk, &file, edits);
        }
        let inspected = inspect_on(&disk, dir());
        let placed = places_on(&disk, dir());
        let sound = inspected.is_ok_and(|found| found.problem.is_none());
        assert_eq!(placed.is_ok(), sound);
        let Ok(opened) = try_open(&disk, &Reports::default()) else {
            assert!(
                !sound,
                "an inspection says sound, and the log does not open"
            );
            return;
        };
        assert!(sound, "an inspection finds damage, and the log opens");
        for (lsn, bytes) in contents(&opened.records) {
            assert!(bytes == payload(lsn), "record {lsn} was made up");
        }
    });
}

#[test]
fn any_edits_of_a_snapshot_are_found_or_harm_nobody() {
    let image = FaultyDisk::default();
    snapshots::kept(&image, 5);
    let file = snapshots::the_file(&image);
    bolero::check!().for_each(|edits: &[u8]| {
        let disk = image.copy();
        edit(&disk, &file, edits);
        let store = snapshots::store(&disk);
        if !store.manifests().is_empty() {
            // Damage behind the header may show only when the bytes are read.
            if let Ok(chunks) = snapshots::read(&store, 5) {
                assert_eq!(chunks, snapshots::chunks(5), "bytes were made up");
            }
        }
    });
}
