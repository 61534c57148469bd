//! A second crash: while the log is opened after the first, and while what was learnt is written.

use crate::{
    exhaustive::every_crash,
    faults::with,
    faulty_disk::FaultyDisk,
    mistaken::{damage, segments, small},
    simulated::{dir, fill, formatted, groups, open, payload, recovered, segment, try_open},
    support::{GROUP, Reports, put},
};
use consensus_core::{
    Lsn,
    storage::{Disk, wal::OpenError},
};

/// ST-02, S1, S2: every image of a crash that left a torn tail is opened, one more record is
/// acknowledged, and the power fails a second time at every step of that, keeping any subset of what
/// was not synced. Nothing acknowledged is lost, before the first crash or after.
#[test]
fn st_02_a_second_crash_while_a_torn_tail_is_cut_loses_nothing() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=1);
    disk.record();
    // Of three sectors, any of which may be missing.
    fill(&mut opened, &reports, 2..=2);
    let (mut torn, mut cases) = (0, 0);
    for state in disk.history() {
        for kept in 0..1_u64 << state.pending() {
            let image = state.crash(kept);
            let probe = try_open(&image.copy(), &Reports::default()).unwrap();
            if probe.report.torn.is_none() {
                continue;
            }
            drop(probe);
            torn += 1;
            cases += crash_again(&image, state.acknowledged);
        }
    }
    println!("{torn} torn tails, {cases} second crashes");
    assert!(torn >= 5 && cases > 300);
}

fn crash_again(image: &FaultyDisk, acknowledged: u64) -> u64 {
    image.state().acknowledged = acknowledged;
    image.record();
    let (mut opened, reports) = open(image);
    let next = opened.durable(GROUP).0 + 1;
    put(&mut opened.wal, &reports, next, &payload(next));
    let history = image.history();
    drop(opened);
    every_crash(&history, 2)
}

/// S10: however few bytes the system takes at a time, the group is whole.
#[test]
fn s10_writes_of_any_length_are_continued() {
    for short in [1, 2, 3, 7, 39, 40, 41, 100, 511, 512, 513] {
        let disk = formatted();
        with(&disk, |faults| faults.short = Some(short));
        let (mut opened, reports) = open(&disk);
        fill(&mut opened, &reports, 1..=3);
        let crashed = disk.state().crash(0);
        drop(opened);
        assert_eq!(recovered(&crashed).unwrap(), 3, "{short} bytes at a time");
        assert_eq!(recovered(&disk).unwrap(), 3, "{short} bytes at a time");
    }
}

/// S3: rot in a record that has been released, in a segment that is kept for another record's sake,
/// is named as well. Whether what was lost still mattered is not the log's to say.
#[test]
fn s3_rot_in_a_released_record_is_named_too() {
    let image = segments(small(), 7);
    let (mut opened, reports) = open(&image);
    // The segment of records 3 and 4 stays: 4 is still needed.
    opened.wal.release(GROUP, Lsn(4));
    put(&mut opened.wal, &reports, 8, &payload(8));
    drop(opened);
    let image = image.copy();
    assert!(!image.names().contains(&segment(2)));
    let start = groups(&image, 3)[0];
    image.damage(&segment(3), |bytes| bytes[start + 60] ^= 1);
    let Err(OpenError::Damaged(damage)) = recovered(&image) else {
        panic!("not reported as damage");
    };
    assert_eq!((damage.file, damage.offset), (segment(3), start as u64));
    assert_eq!(damage.lost, Some((GROUP, Lsn(3))));
}

/// S13: a disk that was wiped, wholly or but for its empty folder, is not the node's disk any more.
#[test]
fn s13_a_wiped_disk_does_not_open() {
    let disk = FaultyDisk::default();
    assert!(matches!(
        try_open(&disk, &Reports::default()),
        Err(OpenError::NotFormatted { dir: found }) if found == dir()
    ));
}

/// ST-05, ST-06: a node whose last acknowledged record rotted after a seal does not open, so it can
/// never say that it has not had the record; a second look changes nothing.
#[test]
fn st_05_a_damaged_record_is_never_denied() {
    let image = crate::simulated::stopped();
    let last = groups(&image, 1)[2];
    for at in last..last + 40 {
        let disk = image.copy();
        disk.damage(&segment(1), |bytes| bytes[at] ^= 0x40);
        for _ in 0..2 {
            assert_eq!(damage(&disk).lost, Some((GROUP, Lsn(3))));
        }
    }
}
