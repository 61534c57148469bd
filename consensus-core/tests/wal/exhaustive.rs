//! Every small thing that can happen to three records: what was acknowledged is there, or the log
//! refuses to open and names file and offset.

use crate::{
    faulty_disk::{FaultyDisk, State},
    simulated::{
        crashed, dir, fill, formatted, groups, open, open_with, payload, recovered, segment,
        stopped, try_open,
    },
    support::{GROUP, Reports, contents, put, quiet},
};
use consensus_core::{
    Lsn,
    storage::{
        Disk,
        wal::{Damage, OpenError, Options},
    },
};
use std::path::Path;

fn damage(result: Result<u64, OpenError>) -> Damage {
    match result {
        Err(OpenError::Damaged(damage)) => damage,
        other => panic!("not reported as damage: {other:?}"),
    }
}

/// Every state of the disk on the way through two starts, three records and a stop, after a crash
/// that keeps any subset of the changes not yet synced: the log opens, and holds what had been
/// acknowledged (S1, S2, S14, ST-09).
#[test]
fn no_crash_loses_what_was_acknowledged() {
    let disk = formatted();
    disk.record();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=3);
    drop(opened);
    drop(open(&disk));
    let cases = every_crash(&disk.history(), 2);
    println!("{cases} crash images of two starts and three records");
    assert!(cases > 100);
}

/// The same, over several changes of segment and a release that deletes all but the last.
#[test]
fn st_09_no_crash_during_a_change_of_segment_loses_what_was_acknowledged() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 2048,
        ..quiet()
    };
    disk.record();
    let mut opened = open_with(&disk, &reports, options).unwrap();
    fill(&mut opened, &reports, 1..=6);
    assert!(
        disk.names().len() > 5,
        "too few segments: {:?}",
        disk.names()
    );
    opened.wal.release(GROUP, Lsn(RELEASED));
    fill(&mut opened, &reports, 7..=7);
    drop(opened);
    assert!(!disk.names().contains(&segment(1)), "nothing was deleted");
    let cases = every_crash(&disk.history(), 1);
    println!("{cases} crash images of changes of segment and deletions");
    assert!(cases > 250);
}

const RELEASED: u64 = 6;

pub(crate) fn every_crash(history: &[State], starts: u32) -> u64 {
    let mut cases = 0;
    for (step, state) in history.iter().enumerate() {
        let pending = state.pending();
        assert!(
            pending <= 12,
            "{pending} changes at once are too many to try"
        );
        for kept in 0..1u64 << pending {
            let image = state.crash(kept);
            let case = format!("step {step}, kept {kept:b}");
            let opened = try_open(&image, &Reports::default())
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(
                opened.durable(GROUP) >= Lsn(state.acknowledged),
                "{case}: lost"
            );
            holds(&contents(&opened.records), opened.durable(GROUP).0, &case);
            drop(opened);
            // Once more: what the first start left behind is sound, and its boot is not given twice.
            let again = try_open(&image, &Reports::default()).unwrap();
            assert_eq!(again.report.torn, None, "{case}: reported twice");
            assert!(again.boot.0 >= 2 && again.boot.0 <= starts + 2, "{case}");
            cases += 1;
        }
    }
    cases
}

/// The records are those up to `last`, from one on that is not after the released ones.
fn holds(found: &[(u64, Vec<u8>)], last: u64, case: &str) {
    let first = found.first().map_or(last + 1, |(lsn, _)| *lsn);
    assert!(
        first == 1 || first <= RELEASED,
        "{case}: starts with {first}"
    );
    let expected: Vec<_> = (first..=last).map(|lsn| (lsn, payload(lsn))).collect();
    assert!(found == expected, "{case}: other records than were written");
}

/// Cut at every length (S1): what a whole group holds is there, the rest is reported and cut once.
/// Beyond the last group nothing is lost.
#[test]
fn st_01_a_file_cut_at_any_byte_is_torn_and_never_more() {
    let image = crashed();
    let file = segment(1);
    let starts = groups(&image, 1);
    assert_eq!(starts.len(), 3);
    let bytes = image.bytes(&file);
    let mut cases = 0;
    for length in 0..bytes.len() {
        for zeros in [false, true] {
            let disk = image.copy();
            disk.damage(&file, |bytes| {
                bytes.truncate(length);
                if zeros {
                    bytes.resize(4096, 0);
                }
            });
            cases += 1;
            let whole = ends(&image).iter().filter(|end| **end <= length).count();
            if disk.bytes(&file).get(..HEADER) != bytes.get(..HEADER) {
                let damage = damage(recovered(&disk));
                assert_eq!((damage.file, damage.offset), (file.clone(), 0));
                continue;
            }
            let opened = try_open(&disk, &Reports::default()).unwrap();
            assert_eq!(opened.records.len(), whole, "cut at {length}");
            let rest = length.min(used(&image)) > starts.get(whole).map_or(length, |s| *s);
            assert_eq!(opened.report.torn.is_some(), rest, "cut at {length}");
        }
    }
    println!("{cases} cuts of a log that crashed");
}

/// After a clean stop not one byte can go unnoticed, however the file is cut.
#[test]
fn a_stopped_log_that_is_cut_does_not_open() {
    let image = stopped();
    let file = segment(1);
    let used = used(&image);
    for length in 0..used {
        let disk = image.copy();
        disk.damage(&file, |bytes| bytes.truncate(length));
        let damage = damage(recovered(&disk));
        assert_eq!(damage.file, file);
        assert!(damage.offset <= length.next_multiple_of(512) as u64);
    }
    println!("{used} cuts of a log that was stopped");
}

/// Every single flipped bit and every inverted byte of every file (S3, S4, S7).
#[test]
fn a_flipped_bit_is_found_or_harms_nobody() {
    let mut cases = 0;
    for (image, sealed) in [(stopped(), 3), (crashed(), 2)] {
        for file in [segment(1), dir().join("identity")] {
            let used = if file == segment(1) { used(&image) } else { 72 };
            for at in 0..used + 64 {
                for flip in [0x01, 0x80, 0xff] {
                    cases += flipped(&image, sealed, &file, at, flip);
                }
            }
        }
    }
    println!("{cases} flips");
}

fn flipped(image: &FaultyDisk, sealed: u64, file: &Path, at: usize, flip: u8) -> u64 {
    let disk = image.copy();
    if at >= disk.bytes(file).len() {
        return 0;
    }
    disk.damage(file, |bytes| bytes[at] ^= flip);
    match recovered(&disk) {
        Ok(3) => {}
        Ok(found) => assert!(found >= sealed, "byte {at} ^ {flip:#x}: {found} records"),
        Err(error) => {
            let damage = damage(Err(error));
            assert_eq!(damage.file, file);
            assert!(
                damage.offset <= at as u64,
                "{damage} but byte {at} was flipped"
            );
            if let Some((_, lsn)) = damage.lost {
                let starts = groups(image, 1);
                let group = starts.iter().rposition(|start| *start <= at).unwrap();
                assert_eq!(lsn.0, group as u64 + 1, "{damage}");
                assert_eq!(damage.offset, starts[group] as u64);
            }
        }
    }
    1
}

/// ST-01, ST-02: after a torn tail of any length two records are appended and acknowledged; a second
/// crash does not lose them behind the old garbage.
#[test]
fn st_02_records_after_a_torn_tail_survive_the_next_crash() {
    let image = crashed();
    let file = segment(1);
    let start = groups(&image, 1)[2];
    for length in (start..used(&image)).step_by(7) {
        let disk = image.copy();
        disk.damage(&file, |bytes| bytes.truncate(length));
        let (mut opened, reports) = open(&disk);
        assert_eq!(opened.records.len(), 2);
        assert_eq!(opened.report.torn.is_some(), length > start);
        for lsn in 3..=4 {
            put(&mut opened.wal, &reports, lsn, &payload(lsn));
        }
        let crashed = disk.state().crash(0);
        drop(opened);
        assert_eq!(recovered(&crashed).unwrap(), 4);
    }
}

const HEADER: usize = 88;

/// Where each group's bytes end, padding aside.
fn ends(image: &FaultyDisk) -> Vec<usize> {
    let bytes = image.bytes(&segment(1));
    let length =
        |start: &usize| u32::from_le_bytes(bytes[start + 16..start + 20].try_into().unwrap());
    let starts = groups(image, 1);
    starts
        .iter()
        .map(|start| start + length(start) as usize)
        .collect()
}

fn used(image: &FaultyDisk) -> usize {
    ends(image).last().copied().unwrap()
}
