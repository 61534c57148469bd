//! Full disks, failing syncs, short writes.

use crate::{
    faulty_disk::{Faults, FaultyDisk},
    simulated::{
        crashed, dir, fill, formatted, groups, open, open_with, payload, recovered, segment,
        try_open,
    },
    support::{GROUP, Reports, batch, contents, put, quiet, record},
};
use consensus_core::{
    GroupId, Lsn,
    storage::{
        Disk, DiskFailure,
        wal::{OpenError, Options},
    },
};

pub(crate) fn with(disk: &FaultyDisk, change: impl FnOnce(&mut Faults)) {
    let faults = &mut disk.state().faults;
    *faults = Faults::default();
    change(faults);
}

/// ST-14: the nth write finds the disk full halfway through, then there is room again: everything is
/// acknowledged in the end, in order, and the operator was told of both.
#[test]
fn st_14_a_record_that_found_no_room_is_written_when_there_is() {
    for nth in 1..=6 {
        let disk = formatted();
        let (mut opened, reports) = open(&disk);
        with(&disk, |faults| faults.full_write = Some(nth));
        for lsn in 1..=8 {
            opened.wal.append(record(lsn, &payload(lsn)));
        }
        reports.until_durable(8);
        // As many writes as there were groups: none may have met the fault.
        let told = reports.until("through with the full disk", |t| t.full.len() != 1);
        assert!(
            told.full.is_empty() || told.full == [true, false],
            "{told:?}"
        );
        assert_eq!(told.failure, None);
        let crashed = disk.state().crash(0);
        assert_eq!(recovered(&crashed).unwrap(), 8, "write {nth}");
        drop(opened);
        assert_eq!(recovered(&disk).unwrap(), 8, "write {nth}");
    }
}

/// S9: a disk that stays full acknowledges what fits into the reserve, keeps the rest, and goes on
/// where it was when there is room.
#[test]
fn a_full_disk_loses_nothing_and_stops_nobody() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    put(&mut opened.wal, &reports, 1, &payload(1));
    with(&disk, |faults| faults.full_from = Some(1));
    opened.wal.append(record(2, &payload(2)));
    let told = reports.until("full", |told| !told.full.is_empty());
    assert_eq!((told.durable(), told.full), (Lsn(1), vec![true]));
    assert_eq!(opened.wal.backlog(), payload(2).len());
    // Half a record was rolled back, and what was acknowledged is still there.
    let image = disk.state().crash(u64::MAX);
    assert_eq!(recovered(&image).unwrap(), 1);
    with(&disk, |_| {});
    let told = reports.until("with room again", |told| told.full.len() == 2);
    assert_eq!(told.full, [true, false]);
    reports.until_durable(2);
    assert_eq!(opened.wal.backlog(), 0);
    drop(opened);
    assert_eq!(recovered(&disk).unwrap(), 2);
}

/// DESIGN: a reserved segment leaves room for what reclaims room. Allocations fail, writes into room
/// set aside do not, as on a real disk.
#[test]
fn what_reclaims_room_can_be_written_on_a_full_disk() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 4096,
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    with(&disk, |faults| faults.full_files = true);
    let mut lsn = 0;
    while reports.now().full.is_empty() {
        lsn += 1;
        put(&mut opened.wal, &reports, lsn, &payload(0));
    }
    let before = disk.names();
    // In the reserve now. What lives is written anew, the rest released.
    lsn += 1;
    put(&mut opened.wal, &reports, lsn, &payload(0));
    opened.wal.release(GROUP, Lsn(lsn));
    lsn += 1;
    put(&mut opened.wal, &reports, lsn, &payload(0));
    // The group after the release comes when that one has been dealt with.
    lsn += 1;
    put(&mut opened.wal, &reports, lsn, &payload(0));
    assert!(disk.names().len() < before.len(), "{:?}", disk.names());
    with(&disk, |_| {});
    let told = reports.until("with room again", |told| told.full.len() == 2);
    assert_eq!((told.full, told.failure), (vec![true, false], None));
}

/// A disk that is full for good does not keep the node from stopping; what was not acknowledged is
/// lost then, as after a crash.
#[test]
fn a_full_disk_does_not_keep_the_log_from_closing() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    put(&mut opened.wal, &reports, 1, &payload(1));
    with(&disk, |faults| faults.full_from = Some(1));
    opened.wal.append(record(2, &payload(2)));
    drop(opened);
    assert_eq!(reports.now().durable(), Lsn(1));
    with(&disk, |_| {});
    assert_eq!(recovered(&disk).unwrap(), 1);
}

/// ST-15, S8: the nth sync fails and those after it lie. Nothing more is acknowledged in this
/// process, and the next start has what was.
#[test]
fn st_15_nothing_is_acknowledged_after_a_failed_sync() {
    for nth in 1..=5 {
        let disk = formatted();
        let (mut opened, reports) = open(&disk);
        with(&disk, |faults| faults.fail_sync = Some(nth));
        for lsn in 1..=6 {
            opened.wal.append(record(lsn, &payload(lsn)));
            let told = reports.until("told", |told| {
                told.failure.is_some() || told.durable() >= Lsn(lsn)
            });
            if told.failure.is_some() {
                break;
            }
        }
        let told = reports.now();
        let Some(DiskFailure::Broken {
            operation, file, ..
        }) = &told.failure
        else {
            panic!("sync {nth} was believed");
        };
        assert_eq!(*operation, "fdatasync");
        assert!(file.ends_with("0001.wal"), "{file}");
        assert_eq!(told.durable(), Lsn(nth as u64 - 1));
        // Later records are not even tried.
        let (first, writes) = (told.durable().0 + 2, disk.state().pending());
        opened.wal.append(record(first, &payload(first)));
        drop(opened);
        assert_eq!(disk.state().pending(), writes);
        assert_eq!(reports.now().durable(), told.durable());
        assert_eq!(recovered(&disk.state().crash(0)).unwrap(), nth as u64 - 1);
    }
}

/// ST-17: three batches in one group, and its sync fails: none of the three is acknowledged, though
/// the first one's bytes were written.
#[test]
fn st_17_a_failed_group_acknowledges_none_of_its_waiters() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    with(&disk, |faults| faults.fail_sync = Some(1));
    let mut first = record(1, b"one");
    first.forced = false;
    let mut other = batch(GroupId(9), 1, &[b"other"]);
    other.forced = false;
    opened.wal.append(first);
    opened.wal.append(other);
    opened.wal.append(record(2, b"two"));
    let told = reports.until("failed", |told| told.failure.is_some());
    drop(opened);
    assert_eq!(told.durable, [].into());
    assert_eq!(reports.now().durable, [].into());
}

/// S10.
#[test]
fn short_writes_are_continued() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    with(&disk, |faults| faults.short = Some(13));
    fill(&mut opened, &reports, 1..=3);
    drop(opened);
    assert_eq!(recovered(&disk).unwrap(), 3);
}

/// A failed sync while opening refuses; the start after it has everything, and its boot is new.
#[test]
fn a_start_that_fails_can_be_repeated() {
    let image = crashed();
    let mut refused = 0;
    for nth in 1..=4 {
        let disk = image.copy();
        with(&disk, |faults| faults.fail_sync = Some(nth));
        if let Err(error) = try_open(&disk, &Reports::default()) {
            assert!(matches!(error, OpenError::Io { .. }), "{error}");
            refused += 1;
        }
        for kept in [0, u64::MAX] {
            let after = disk.state().crash(kept);
            with(&after, |_| {});
            assert_eq!(recovered(&after).unwrap(), 3);
        }
    }
    assert!(refused >= 3, "only {refused} syncs while opening");
}

/// A record longer than a segment gets a segment of its own size.
#[test]
fn a_record_may_be_longer_than_a_segment() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    let long = vec![7; 3 * quiet().segment_bytes as usize];
    put(&mut opened.wal, &reports, 1, b"short");
    put(&mut opened.wal, &reports, 2, &long);
    put(&mut opened.wal, &reports, 3, b"short");
    drop(opened);
    let (opened, _) = open(&disk);
    let expected = [(1, b"short".to_vec()), (2, long), (3, b"short".to_vec())];
    assert!(contents(&opened.records) == expected);
}

/// A log that one group keeps long asks for reclaiming; once that is released, old segments go and
/// recovery starts after the release.
#[test]
fn a_long_log_asks_for_reclaiming_and_shrinks() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 2048,
        reclaim_segments: 2,
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    assert_eq!(opened.wal.reclaim(GROUP), None);
    let mut lsn = 0;
    let before = loop {
        lsn += 1;
        put(&mut opened.wal, &reports, lsn, &payload(0));
        if let Some(before) = opened.wal.reclaim(GROUP) {
            break before;
        }
        assert!(lsn < 100, "never asked");
    };
    assert!(before > Lsn(1) && before <= Lsn(lsn + 1), "{before}");
    assert_eq!(opened.wal.reclaim(GroupId(5)), None);
    opened.wal.release(GROUP, before);
    lsn += 1;
    put(&mut opened.wal, &reports, lsn, &payload(0));
    // The group after the release comes when that one has been dealt with.
    lsn += 1;
    put(&mut opened.wal, &reports, lsn, &payload(0));
    assert_eq!(opened.wal.reclaim(GROUP), None);
    assert!(!disk.names().contains(&segment(1)));
    drop(opened);
    let (opened, _) = open(&disk);
    assert_eq!(opened.records[0].lsn, before);
    assert_eq!(opened.durable(GROUP), Lsn(lsn));
}

/// Another group's records are not deleted with the released ones.
#[test]
fn a_release_of_one_group_deletes_nothing_of_another() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 2048,
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    opened.wal.append(batch(GroupId(9), 1, &[b"other"]));
    fill(&mut opened, &reports, 1..=6);
    opened.wal.release(GROUP, Lsn(7));
    fill(&mut opened, &reports, 7..=7);
    drop(opened);
    assert!(disk.names().contains(&segment(1)));
    let (opened, _) = open(&disk);
    let found: Vec<_> = opened.records.iter().map(|r| (r.group, r.lsn)).collect();
    assert_eq!(found, [(GROUP, Lsn(7)), (GroupId(9), Lsn(1))]);
}

/// A group released to its last record goes on numbering after it.
#[test]
fn a_log_released_to_the_end_keeps_its_numbers() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=3);
    opened.wal.release(GROUP, Lsn(4));
    drop(opened);
    let (mut opened, reports) = open(&disk);
    assert!(opened.records.is_empty());
    assert_eq!(opened.durable(GROUP), Lsn(3));
    fill(&mut opened, &reports, 4..=4);
}

/// The seal comes by itself when a log is idle: after that, damage to the last record is damage.
#[test]
fn an_idle_log_seals_itself() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        seal_after: core::time::Duration::from_millis(1),
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    put(&mut opened.wal, &reports, 1, &payload(1));
    let deadline = std::time::Instant::now() + core::time::Duration::from_secs(60);
    while groups(&disk, 1).len() < 2 {
        assert!(std::time::Instant::now() < deadline, "never sealed");
        std::thread::yield_now();
    }
    // The seal's sync may still be missing: another start would cut it, hence what was written.
    let image = disk.state().crash(u64::MAX);
    image.damage(&segment(1), |bytes| bytes[600] ^= 1);
    let Err(OpenError::Damaged(damage)) = try_open(&image, &Reports::default()) else {
        panic!("cut a sealed record");
    };
    assert_eq!((damage.offset, damage.lost), (512, Some((GROUP, Lsn(1)))));
}

/// Numbers that do not follow would make an acknowledgement ambiguous.
#[test]
#[should_panic(expected = "numbered without a gap")]
fn a_gap_in_the_numbers_is_not_written() {
    let (mut opened, _) = open(&formatted());
    opened.wal.append(record(2, b"two"));
}

/// What a crash left of a reserve or of a file half made is put in order.
#[test]
fn leftovers_of_a_crash_are_cleared_away() {
    let disk = crashed();
    for name in ["segment.new", "identity.new", "reserve"] {
        disk.put(&dir().join(name), b"half".to_vec());
    }
    assert_eq!(recovered(&disk).unwrap(), 3);
    assert!(disk.bytes(&dir().join("reserve")).iter().all(|b| *b == 0));
    assert!(!disk.names().contains(&dir().join("segment.new")));
}
