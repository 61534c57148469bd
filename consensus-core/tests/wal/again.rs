//! A second crash: while the log is opened after the first, and while what was learnt is written.

use crate::{
    exhaustive::every_crash,
    faults::with,
    faulty_disk::FaultyDisk,
    mistaken::{damage, segments, small},
    simulated::{
        dir, fill, formatted, groups, open, open_with, payload, recovered, segment, try_open,
    },
    support::{GROUP, Reports, contents, put, quiet, record},
};
use consensus_core::{
    Lsn,
    storage::{
        Append, Disk,
        wal::{OpenError, Options, Wal, places_on},
    },
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

/// P2, S2: the process is killed at any step, the system goes on, and a new process opens the log:
/// what it finds is in the system's memory for the most part, and all of it is told to be durable.
/// Then the power fails, at any step from there on, and takes any subset of what is not synced. What
/// was told stays. Records that fill their segment to its last byte have nothing behind them to cut.
#[test]
fn p2_a_kill_and_then_a_loss_of_power_lose_nothing_that_was_told() {
    let small = |lsn: u64| payload(lsn);
    let filling = |lsn: u64| vec![lsn as u8; 1500 + 512 * (lsn as usize % 2)];
    let mut cases = 0;
    for bytes in [small, filling] {
        let disk = formatted();
        let reports = Reports::default();
        let options = Options {
            segment_bytes: 1024,
            ..quiet()
        };
        let mut opened = open_with(&disk, &reports, options).unwrap();
        disk.record();
        for lsn in 1..=2 {
            put(&mut opened.wal, &reports, lsn, &bytes(lsn));
        }
        let history = disk.history();
        drop(opened);
        for state in history {
            cases += lose_power(&state.killed(), options, &bytes);
        }
    }
    println!("{cases} losses of power after a kill");
    assert!(cases > 1000);
}

fn lose_power(killed: &FaultyDisk, options: Options, bytes: &dyn Fn(u64) -> Vec<u8>) -> u64 {
    let mut cases = 0;
    let before = killed.state().acknowledged;
    killed.record();
    let opened = open_with(killed, &Reports::default(), options).unwrap();
    let told = opened.durable(GROUP);
    assert!(told >= Lsn(before), "lost {before} without a loss of power");
    let opened_at = killed.state().clone();
    let mut history = killed.history();
    history.pop();
    drop(opened);
    let opening = history.into_iter().map(|state| (state, Lsn(before)));
    for (state, must) in opening.chain([(opened_at, told)]) {
        for kept in 0..1_u64 << state.pending() {
            let image = state.crash(kept);
            let again = open_with(&image, &Reports::default(), options)
                .unwrap_or_else(|error| panic!("kept {kept:b}: {error}"));
            assert!(again.durable(GROUP) >= must, "kept {kept:b}: lost {must}");
            let found = contents(&again.records);
            assert!(found.iter().all(|(lsn, found)| *found == bytes(*lsn)));
            cases += 1;
        }
    }
    cases
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

/// Large records, which are written from where the driver put them, between small ones in one group:
/// whole after a crash, after a disk that was full in the middle of one, and not without notice when
/// a bit of any of them flips.
#[test]
fn large_records_among_small_ones_are_one_group() {
    let sizes = [10, 40_000, 20, 100_000, 0, 33_000];
    let bytes = |lsn: usize| vec![lsn as u8; sizes[lsn - 1]];
    let options = Options {
        segment_bytes: 1 << 20,
        ..quiet()
    };
    for full_write in [None, Some(3), Some(5)] {
        let disk = formatted();
        let reports = Reports::default();
        let mut opened = open_with(&disk, &reports, options).unwrap();
        // While one sync stands still, all the others come together.
        disk.stall(true);
        put_all(&mut opened.wal, &[vec![7]], 1);
        while disk.state().pending() == 0 {
            std::thread::yield_now();
        }
        let records: Vec<_> = (1..=sizes.len()).map(bytes).collect();
        put_all(&mut opened.wal, &records, 2);
        with(&disk, |faults| faults.full_write = full_write);
        disk.stall(false);
        reports.until_durable(1 + sizes.len() as u64);
        let image = disk.state().crash(0);
        drop(opened);
        let found = contents(
            &open_with(&image, &Reports::default(), options)
                .unwrap()
                .records,
        );
        assert_eq!(found.len(), 7);
        assert!((2..).zip(records).eq(found.into_iter().skip(1)));

        let disk = disk.copy();
        let places = places_on(&disk, dir()).unwrap();
        for place in places.iter().filter(|place| place.bytes > 0) {
            let disk = disk.copy();
            disk.damage(&place.file, |bytes| {
                bytes[(place.offset + place.bytes / 2) as usize] ^= 1;
            });
            let Err(OpenError::Damaged(damage)) = open_with(&disk, &Reports::default(), options)
            else {
                panic!("a flipped bit in record {} is missed", place.lsn);
            };
            assert_eq!(damage.file, place.file);
        }
    }
}

/// Each record as a batch of its own.
fn put_all(wal: &mut Wal, records: &[Vec<u8>], first: u64) {
    for (lsn, bytes) in (first..).zip(records) {
        wal.append(record(lsn, bytes));
    }
}

/// A buffer comes back when its batch is on disk, and is used for the next one.
#[test]
fn a_large_buffer_is_used_again() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    assert_eq!(opened.wal.buffer().capacity(), 0);
    put(&mut opened.wal, &reports, 1, &vec![1; 100_000]);
    // What was told is a moment later than what was given back.
    let buffer = opened.wal.buffer();
    assert!(buffer.capacity() >= 100_000);
    let mut append = Append::in_buffer(GROUP, Lsn(2), buffer);
    append.push(|out| out.extend_from_slice(b"small"));
    append.forced = true;
    opened.wal.append(append);
    reports.until_durable(2);
    drop(opened);
    let (opened, _) = open(&disk);
    assert_eq!(contents(&opened.records)[1], (2, b"small".to_vec()));
}

/// ST-07: the newest term and vote, torn before anything rested on them: the older ones stand. Rotten
/// after something did: the node takes no part.
#[test]
fn st_07_a_torn_hard_state_gives_way_to_the_older_and_a_rotten_one_to_nobody() {
    let newest = groups(&crate::simulated::crashed(), 1)[2] + 40;
    let torn = crate::simulated::crashed();
    torn.damage(&segment(1), |bytes| bytes.truncate(newest));
    assert_eq!(recovered(&torn).unwrap(), 2);
    let rotten = crate::simulated::stopped();
    rotten.damage(&segment(1), |bytes| bytes[newest] ^= 2);
    assert_eq!(damage(&rotten).lost, Some((GROUP, Lsn(3))));
}

/// ST-06: the same record rots on every replica. None of them starts, each names it: a halt that
/// somebody can act on, and no gap that nobody notices.
#[test]
fn st_06_a_record_damaged_everywhere_is_named_everywhere() {
    let replicas = [(); 3].map(|()| crate::simulated::stopped());
    for replica in &replicas {
        let start = groups(replica, 1)[1];
        replica.damage(&segment(1), |bytes| bytes[start + 70] ^= 8);
        assert_eq!(damage(replica).lost, Some((GROUP, Lsn(2))));
    }
}
