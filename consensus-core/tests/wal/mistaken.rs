//! Files that rotted, moved, vanished, or came back from a backup.

use crate::{
    faulty_disk::FaultyDisk,
    simulated::{
        crashed, dir, fill, formatted, groups, open, open_with, payload, recovered, segment,
        stopped, try_open,
    },
    support::{Folder, GROUP, Reports, WHO, put, quiet},
};
use consensus_core::{
    ClusterId, DiskId, Lsn, NodeId,
    storage::wal::{
        Damage, Identity, OpenError, Options, Wal, format, format_on, inspect, inspect_on,
        places_on,
    },
};
use std::{path::PathBuf, sync::Arc};

fn refused(disk: &FaultyDisk) -> OpenError {
    let before = (disk.names(), disk.bytes(&segment(1)));
    let error = recovered(disk).expect_err("the log opens");
    let after = (disk.names(), disk.bytes(&segment(1)));
    let lock = dir().join("lock");
    let names = |names: &[PathBuf]| names.iter().filter(|n| **n != lock).cloned().collect();
    let (names, again): (Vec<_>, Vec<_>) = (names(&before.0), names(&after.0));
    assert!(
        names == again && before.1 == after.1,
        "a refused log was changed"
    );
    error
}

pub(crate) fn damage(disk: &FaultyDisk) -> Damage {
    match refused(disk) {
        OpenError::Damaged(damage) => damage,
        other => panic!("not reported as damage: {other}"),
    }
}

/// A log of several segments, written by one run and stopped.
pub(crate) fn segments(options: Options, records: u64) -> FaultyDisk {
    let disk = formatted();
    let reports = Reports::default();
    let mut opened = open_with(&disk, &reports, options).unwrap();
    fill(&mut opened, &reports, 1..=records);
    drop(opened);
    disk.copy()
}

pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 2048,
        ..quiet()
    }
}

/// ST-03, S3, on the system's files: rot in the middle is a typed error that names file, offset and
/// first lost record; nothing is cut, and an inspection says the same.
#[test]
fn st_03_rot_in_the_middle_is_named_and_never_cut() {
    let folder = Folder::new("rot");
    format(folder.path(), WHO).unwrap();
    let reports = Reports::default();
    let mut opened = Wal::open(folder.path(), WHO, quiet(), reports.clone()).unwrap();
    for lsn in 1..=4 {
        put(&mut opened.wal, &reports, lsn, b"precious");
    }
    drop(opened);
    let file = folder.path().join("0000000000000001.wal");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[512 * 3 + 80] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    for _ in 0..2 {
        let opened = Wal::open(folder.path(), WHO, quiet(), Reports::default());
        let Err(OpenError::Damaged(damage)) = opened else {
            panic!("opened a damaged log");
        };
        assert_eq!((&damage.file, damage.offset), (&file, 512 * 3));
        assert_eq!(damage.lost, Some((GROUP, Lsn(3))));
        let said = damage.to_string();
        assert!(
            said.contains("damaged at byte 1536") && said.contains("record 3"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let inspection = inspect(folder.path()).unwrap();
    let flaw = inspection.segments[0].flaw.as_ref().unwrap();
    assert_eq!((flaw.offset, flaw.sealed), (512 * 3, true));
    assert!(matches!(inspection.problem, Some(OpenError::Damaged(_))));
}

/// ST-03 in every group but the last, of every segment.
#[test]
fn rot_in_any_segment_names_the_first_lost_record() {
    let image = segments(small(), 7);
    let mut lsn = 0;
    for number in 1.. {
        if !image.names().contains(&segment(number)) {
            assert!(number > 3);
            break;
        }
        for start in groups(&image, number) {
            lsn += 1;
            if lsn > 7 {
                break;
            }
            for at in [start + 20, start + 60] {
                let disk = image.copy();
                disk.damage(&segment(number), |bytes| bytes[at] ^= 0x10);
                let damage = damage(&disk);
                assert_eq!(damage.file, segment(number));
                assert_eq!(damage.offset, start as u64);
                assert_eq!(damage.lost, Some((GROUP, Lsn(lsn))));
            }
        }
    }
}

/// ST-10, S12: a segment as it was some time ago, with its checksums right, in place of what was
/// written since.
#[test]
fn st_10_an_older_copy_of_a_segment_is_refused() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 4096,
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    fill(&mut opened, &reports, 1..=2);
    let older = disk.bytes(&segment(1));
    fill(&mut opened, &reports, 3..=6);
    drop(opened);
    assert!(disk.names().contains(&segment(2)));
    disk.put(&segment(1), older);
    let damage = damage(&disk);
    assert_eq!(damage.file, segment(1));
    assert_eq!(damage.lost, Some((GROUP, Lsn(3))));
    assert!(damage.what.contains("older copy"), "{damage}");
}

/// ST-10: the newest segment as it was before a clean stop.
#[test]
fn st_10_an_older_copy_of_the_newest_segment_is_refused_after_a_stop() {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=2);
    let older = disk.bytes(&segment(1));
    fill(&mut opened, &reports, 3..=3);
    drop(opened);
    disk.put(&segment(1), older);
    assert_eq!(damage(&disk).file, segment(1));
}

/// ST-10: the file of identity of an earlier start. Its boot would be given a second time.
#[test]
fn st_10_an_older_copy_of_the_identity_is_refused() {
    let disk = stopped();
    let identity = dir().join("identity");
    let older = disk.bytes(&identity);
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 4..=4);
    drop(opened);
    disk.put(&identity, older);
    let OpenError::OlderCopy { file, why } = refused(&disk) else {
        panic!("taken");
    };
    assert_eq!(file, identity);
    assert!(why.contains("segment 2"), "{why}");
}

/// ST-10: one segment of an earlier life of the same folder, restored over a newer one of the same
/// number.
#[test]
fn st_10_a_segment_of_another_branch_of_history_is_refused() {
    let image = crashed();
    let (ours, theirs) = (image.copy(), image.copy());
    for (disk, byte) in [(&ours, 1), (&theirs, 2)] {
        let (mut opened, reports) = open(disk);
        put(&mut opened.wal, &reports, 4, &[byte; 100]);
        drop(opened);
        drop(open(disk));
    }
    ours.put(&segment(2), theirs.bytes(&segment(2)));
    let error = refused(&ours);
    assert!(
        matches!(&error, OpenError::OlderCopy { file, .. } if *file == segment(2)),
        "{error}"
    );
}

/// ST-11: another cluster's, another node's, another disk's segment; and a segment under another
/// number.
#[test]
fn st_11_a_file_of_another_node_is_refused() {
    let strangers = [
        (
            "cluster",
            Identity {
                cluster: ClusterId(0xc2),
                ..WHO
            },
            DiskId(0xd1),
        ),
        (
            "node",
            Identity {
                node: NodeId(4),
                ..WHO
            },
            DiskId(0xd1),
        ),
        ("disk", WHO, DiskId(0xd2)),
    ];
    for (what, who, id) in strangers {
        let stranger = FaultyDisk::default();
        format_on(&stranger, dir(), who, id).unwrap();
        let reports = Reports::default();
        let files = Arc::new(stranger.clone());
        let mut opened = Wal::open_on(files, dir(), who, quiet(), reports.clone()).unwrap();
        fill(&mut opened, &reports, 1..=3);
        drop(opened);
        let disk = stopped();
        disk.put(&segment(1), stranger.bytes(&segment(1)));
        let OpenError::Foreign {
            what: found, file, ..
        } = refused(&disk)
        else {
            panic!("not foreign");
        };
        assert_eq!((found, file), (what, segment(1)));
    }
    let disk = segments(small(), 6);
    disk.put(&segment(2), disk.bytes(&segment(3)));
    let error = refused(&disk);
    assert!(matches!(&error, OpenError::OlderCopy { .. }), "{error}");
}

/// ST-12, S5: the right bytes in the wrong place, in the same file.
#[test]
fn st_12_a_misdirected_write_is_found() {
    let image = stopped();
    let starts = groups(&image, 1);
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        let disk = image.copy();
        disk.damage(&segment(1), |bytes| {
            let sector = bytes[starts[from]..starts[from] + 512].to_vec();
            bytes[starts[to]..starts[to] + 512].copy_from_slice(&sector);
        });
        let damage = damage(&disk);
        assert_eq!(damage.offset, starts[to] as u64);
        assert_eq!(damage.lost, Some((GROUP, Lsn(to as u64 + 1))));
    }
}

/// ST-13, S6: an acknowledged group whose write never reached the disk, while later ones did.
#[test]
fn st_13_a_lost_write_is_found_when_anything_follows() {
    let image = crashed();
    let starts = groups(&image, 1);
    for lost in 0..2 {
        let disk = image.copy();
        disk.damage(&segment(1), |bytes| {
            bytes[starts[lost]..starts[lost + 1]].fill(0);
        });
        let damage = damage(&disk);
        assert_eq!(damage.offset, starts[lost] as u64);
        assert_eq!(damage.lost, Some((GROUP, Lsn(lost as u64 + 1))));
    }
    // The very last, of a log that was stopped, is missed too.
    let disk = stopped();
    let last = groups(&disk, 1)[3];
    disk.damage(&segment(1), |bytes| bytes[last..].fill(0));
    assert_eq!(damage(&disk).offset, last as u64);
}

/// S12: a file that is gone.
#[test]
fn a_missing_file_is_named() {
    let image = segments(small(), 6);
    let newest = (1..)
        .take_while(|n| image.names().contains(&segment(*n)))
        .last()
        .unwrap();
    assert!(newest > 3);
    for number in 1..=newest {
        let disk = image.copy();
        disk.delete(&segment(number));
        let missing = match recovered(&disk) {
            Err(OpenError::MissingSegment { file, .. }) => file,
            other => panic!("segment {number} is not missed: {other:?}"),
        };
        assert_eq!(missing, segment(number));
    }
    let disk = image.copy();
    disk.delete(&dir().join("identity"));
    assert_eq!(damage(&disk).file, dir().join("identity"));
}

/// Each record is found where its bytes are; the last one is sealed only by what follows it.
#[test]
fn every_record_is_found_where_it_lies() {
    for (image, sealed) in [(crashed(), 2), (stopped(), 3), (segments(small(), 3), 3)] {
        let found = places_on(&image, dir()).unwrap();
        assert_eq!(found.len(), 3);
        for (place, lsn) in found.iter().zip(1..) {
            let (start, end) = (place.offset as usize, (place.offset + place.bytes) as usize);
            assert_eq!(image.bytes(&place.file)[start..end], payload(lsn));
            assert_eq!((place.group, place.lsn), (GROUP, Lsn(lsn)));
            assert_eq!(place.sealed, lsn <= sealed);
        }
    }
}

/// An inspection counts what is there, and changes nothing.
#[test]
fn an_inspection_shows_groups_seals_and_the_torn_tail() {
    let disk = crashed();
    let before: Vec<_> = disk.names();
    let inspection = inspect_on(&disk, dir()).unwrap();
    assert_eq!(disk.names(), before);
    assert!(inspection.problem.is_none() && inspection.torn.is_none());
    let found = &inspection.segments[0];
    assert_eq!((found.groups, found.seals, found.sealed), (3, 0, false));
    assert_eq!(found.records[&GROUP].last, Lsn(3));

    disk.damage(&segment(1), |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last] ^= 1;
    });
    let inspection = inspect_on(&disk, dir()).unwrap();
    assert!(inspection.problem.is_none() && inspection.torn.is_some());
    let said = inspection.to_string();
    assert!(
        said.contains("records 1..=2") && said.ends_with("verdict  sound"),
        "{said}"
    );

    let (mut opened, reports) = open(&disk);
    put(&mut opened.wal, &reports, 3, &payload(3));
    drop(opened);
    let inspection = inspect_on(&disk, dir()).unwrap();
    assert_eq!(inspection.segments.len(), 2);
    let newest = &inspection.segments[1];
    assert_eq!((newest.groups, newest.seals, newest.sealed), (1, 1, true));
    assert!(try_open(&disk, &Reports::default()).is_ok());
}
