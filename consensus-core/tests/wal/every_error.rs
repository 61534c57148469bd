//! Every call to the file system fails once: with an error of the device (S7, S8), for want of room
//! (ST-14, S9), while opening and while writing. Whatever was acknowledged is there afterwards.

use crate::{
    faulty_disk::{Failing, FaultyDisk, Operation},
    mistaken::small,
    simulated::{crashed, dir, formatted, open_with, payload, recovered},
    support::{GROUP, Reports, Told, contents, quiet, record},
};
use consensus_core::{
    Lsn,
    storage::{
        Disk,
        wal::{OpenError, Opened, Options},
    },
};
use std::{collections::BTreeMap, io};

const RECORDS: u64 = 8;
const RELEASED: u64 = 6;

fn fail(disk: &FaultyDisk, failing: Option<Failing>) {
    let mut state = disk.state();
    state.faults = Default::default();
    state.faults.failing = failing;
}

/// Appends one record after another, each once the one before is on disk. Ends early when the log
/// breaks; `wait` may do something before a record is waited for.
fn write(opened: &mut Opened, reports: &Reports, mut wait: impl FnMut(u64, &Told)) -> Told {
    for lsn in 1..=RECORDS {
        opened.wal.append(record(lsn, &payload(lsn)));
        if lsn == RELEASED {
            opened.wal.release(GROUP, Lsn(RELEASED));
        }
        let settled = |told: &Told| told.failure.is_some() || told.durable() >= Lsn(lsn);
        let told = reports.until("settled or full", |told| {
            settled(told) || told.full.last() == Some(&true)
        });
        wait(lsn, &told);
        let told = reports.until("settled", settled);
        if told.failure.is_some() {
            break;
        }
    }
    reports.now()
}

/// After a crash that keeps any subset of what was not synced, the log holds what was acknowledged.
fn survives(disk: &FaultyDisk, acknowledged: Lsn, case: &str) -> u64 {
    let state = disk.state().clone();
    // All subsets of few changes; of many, none, all, and each one alone or missing.
    let pending = state.pending();
    let all = 1_u64
        .checked_shl(pending as u32)
        .map_or(u64::MAX, |n| n - 1);
    let kept: Vec<u64> = match pending {
        0..=6 => (0..=all).collect(),
        _ => (0..pending as u32)
            .flat_map(|bit| [1 << bit, all ^ (1 << bit)])
            .chain([0, all])
            .collect(),
    };
    for kept in &kept {
        let image = state.crash(*kept);
        let opened = open_with(&image, &Reports::default(), small())
            .unwrap_or_else(|error| panic!("{case}, kept {kept:b}: {error}"));
        let last = opened.durable(GROUP);
        assert!(
            last >= acknowledged,
            "{case}, kept {kept:b}: lost after {last}"
        );
        let found = contents(&opened.records);
        let first = found.first().map_or(last.0 + 1, |(lsn, _)| *lsn);
        assert!(first <= RELEASED, "{case}: starts with {first}");
        let expected: Vec<_> = (first..=last.0).map(|lsn| (lsn, payload(lsn))).collect();
        assert!(found == expected, "{case}: other records than were written");
    }
    kept.len() as u64
}

/// Counts the cases by the operation that failed.
#[derive(Default)]
struct Met(BTreeMap<Operation, usize>);

impl Met {
    fn note(&mut self, operation: Operation) {
        *self.0.entry(operation).or_default() += 1;
    }

    fn needs(&self, operations: &[Operation]) {
        for operation in operations {
            assert!(
                self.0.contains_key(operation),
                "{operation:?} never failed: {:?}",
                self.0
            );
        }
    }
}

const WRITING: [Operation; 8] = [
    Operation::Create,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDir,
    Operation::Write,
    Operation::Sync,
    Operation::Allocate,
    Operation::Read,
];

/// ST-15, S7, S8: the nth call of a node's whole life fails, whatever it is. The node does not start,
/// or stops by name; nothing is acknowledged from then on; the next start has all that was.
#[test]
fn st_15_an_error_of_the_device_at_any_call_loses_nothing_acknowledged() {
    let (mut met, mut images) = (Met::default(), 0);
    for nth in 1.. {
        let disk = formatted();
        let failing = Failing {
            from: nth,
            lasting: false,
            kind: io::ErrorKind::Other,
        };
        fail(&disk, Some(failing));
        let reports = Reports::default();
        let (told, refused) = match open_with(&disk, &reports, small()) {
            Ok(mut opened) => {
                write(&mut opened, &reports, |_, _| {});
                // A stop writes as well.
                drop(opened);
                (reports.now(), false)
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Io { .. }), "call {nth}: {error}");
                (Told::default(), true)
            }
        };
        let Some(failed) = disk.state().faults.failed else {
            break;
        };
        met.note(failed);
        let case = format!("call {nth}, {failed:?}");
        // What a start tidies up may fail to be there; what makes room for later may wait.
        let harmless = [Operation::Read, Operation::Remove, Operation::Allocate];
        assert!(
            refused || told.failure.is_some() || harmless.contains(&failed),
            "{case}: nobody was told"
        );
        fail(&disk, None);
        images += survives(&disk, told.durable(), &case);
    }
    met.needs(&WRITING);
    println!("{:?} calls failed, {images} crash images", met.0);
    assert!(met.0.values().sum::<usize>() > 60);
}

/// ST-14, S9: the disk fills up at the nth call and has room again a little later. Nothing is
/// acknowledged too early, nothing is lost, the node does not stop, and goes on where it was. Only a
/// sync for want of room is an error: what it left behind is in doubt.
#[test]
fn st_14_a_disk_that_fills_up_at_any_call_goes_on_when_there_is_room() {
    let (mut met, mut images, mut full_at_start) = (Met::default(), 0, false);
    for nth in 1.. {
        let disk = formatted();
        let failing = Failing {
            from: nth,
            lasting: true,
            kind: io::ErrorKind::StorageFull,
        };
        fail(&disk, Some(failing));
        let reports = Reports::default();
        let opened = open_with(&disk, &reports, small());
        let refused = opened.as_ref().is_err_and(|error| {
            let named = matches!(error, OpenError::Full { .. } | OpenError::Io { .. });
            assert!(named, "full from call {nth}: {error}");
            full_at_start |= matches!(error, OpenError::Full { .. });
            true
        });
        let mut lifted = false;
        if let Ok(mut opened) = opened {
            write(&mut opened, &reports, |lsn, told| {
                if told.durable() < Lsn(lsn) && told.failure.is_none() && !lifted {
                    let case = format!("full from call {nth}");
                    images += survives(&disk, told.durable(), &case);
                    let failed = disk.state().faults.failed;
                    fail(&disk, None);
                    disk.state().faults.failed = failed;
                    lifted = true;
                }
            });
        }
        let Some(failed) = disk.state().faults.failed else {
            break;
        };
        met.note(failed);
        let told = reports.now();
        let case = format!("full from call {nth}, {failed:?}");
        let fatal = [
            Operation::Sync,
            Operation::SyncDir,
            Operation::Remove,
            Operation::SetLen,
        ];
        if !refused && !fatal.contains(&failed) {
            assert_eq!(
                (told.failure.clone(), told.durable()),
                (None, Lsn(RECORDS)),
                "{case}"
            );
        }
        fail(&disk, None);
        images += survives(&disk, told.durable(), &case);
    }
    met.needs(&[
        Operation::Create,
        Operation::Rename,
        Operation::Write,
        Operation::Sync,
        Operation::Allocate,
    ]);
    println!("{:?} calls found no room, {images} crash images", met.0);
    assert!(full_at_start, "a start without room says so");
}

/// S7: a log that cannot be read is not an empty one. Nothing is changed, and the start after it has
/// every record.
#[test]
fn s7_a_log_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let image = crashed();
    let mut met = Met::default();
    for nth in 1.. {
        let disk = image.copy();
        let failing = Failing {
            from: nth,
            lasting: false,
            kind: io::ErrorKind::Other,
        };
        fail(&disk, Some(failing));
        let opened = recovered(&disk);
        let Some(failed) = disk.state().faults.failed else {
            break;
        };
        if matches!(failed, Operation::Read | Operation::List | Operation::Open) {
            met.note(failed);
            match opened {
                Ok(found) => assert_eq!(found, 3, "call {nth}, {failed:?}"),
                Err(OpenError::Io { file, .. }) => assert!(file.starts_with(dir())),
                Err(other) => panic!("call {nth}, {failed:?}: {other}"),
            }
        }
        fail(&disk, None);
        assert_eq!(recovered(&disk).unwrap(), 3, "call {nth}, {failed:?}");
    }
    met.needs(&[Operation::Read, Operation::List, Operation::Open]);
    println!("{:?} failed while opening", met.0);
}

/// S11: while one sync stands still, everything that comes is taken, counted and not acknowledged;
/// when the disk goes on, one more sync serves them all.
#[test]
fn s11_a_stalled_disk_acknowledges_nothing_and_catches_up_in_one_sync() {
    let disk = formatted();
    let reports = Reports::default();
    let options = Options {
        segment_bytes: 1 << 20,
        ..quiet()
    };
    let mut opened = open_with(&disk, &reports, options).unwrap();
    disk.stall(true);
    let before = disk.state().faults.syncs;
    opened.wal.append(record(1, &payload(1)));
    for lsn in 2..=1000 {
        opened.wal.append(record(lsn, &payload(lsn)));
    }
    let bytes: usize = (1..=1000).map(|lsn| payload(lsn).len()).sum();
    assert_eq!(opened.wal.backlog(), bytes);
    assert_eq!(reports.now().durable(), Lsn(0));
    disk.stall(false);
    reports.until_durable(1000);
    assert_eq!(opened.wal.backlog(), 0);
    let syncs = disk.state().faults.syncs - before;
    assert!(syncs <= 3, "{syncs} syncs for what came during one");
}
