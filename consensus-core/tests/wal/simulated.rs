//! Set-up of a log on the simulated disk.

use crate::{
    faulty_disk::FaultyDisk,
    support::{Reports, WHO, contents, put, quiet},
};
use consensus_core::{
    Boot, DiskId, GroupId, Lsn,
    storage::{
        Completion, DiskFailure,
        wal::{OpenError, Opened, Options, Wal, format_on},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/log")
}

pub(crate) fn segment(number: u64) -> PathBuf {
    dir().join(format!("{number:016x}.wal"))
}

pub(crate) fn formatted() -> FaultyDisk {
    let disk = FaultyDisk::default();
    format_on(&disk, dir(), WHO, DiskId(0xd1)).unwrap();
    disk
}

/// Tells the disk what was acknowledged, so that each of its states knows.
#[derive(Clone)]
pub(crate) struct Witness(pub(crate) FaultyDisk, pub(crate) Reports);

impl Completion for Witness {
    fn durable(&self, group: GroupId, lsn: Lsn) {
        self.0.state().acknowledged = lsn.0;
        self.1.durable(group, lsn);
    }
    fn failed(&self, failure: DiskFailure) {
        self.1.failed(failure);
    }
    fn full(&self, full: bool) {
        self.1.full(full);
    }
}

pub(crate) fn try_open(disk: &FaultyDisk, reports: &Reports) -> Result<Opened, OpenError> {
    open_with(disk, reports, quiet())
}

pub(crate) fn open_with(
    disk: &FaultyDisk,
    reports: &Reports,
    options: Options,
) -> Result<Opened, OpenError> {
    let witness = Witness(disk.clone(), reports.clone());
    Wal::open_on(Arc::new(disk.clone()), dir(), WHO, options, witness)
}

pub(crate) fn open(disk: &FaultyDisk) -> (Opened, Reports) {
    let reports = Reports::default();
    let opened = try_open(disk, &reports).expect("the log opens");
    (opened, reports)
}

/// The record numbered `lsn`: of a size that fills between one and three sectors.
pub(crate) fn payload(lsn: u64) -> Vec<u8> {
    vec![lsn as u8 | 0x80; 100 + 450 * (lsn as usize % 3)]
}

/// Appends the records up to `last`, each a group of its own.
pub(crate) fn fill(
    opened: &mut Opened,
    reports: &Reports,
    records: core::ops::RangeInclusive<u64>,
) {
    for lsn in records {
        put(&mut opened.wal, reports, lsn, &payload(lsn));
    }
}

/// Three records, each in a group of its own, acknowledged; the process is gone without a stop, the
/// third not sealed.
pub(crate) fn crashed() -> FaultyDisk {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=3);
    disk.copy()
}

/// Three records and a clean stop.
pub(crate) fn stopped() -> FaultyDisk {
    let disk = formatted();
    let (mut opened, reports) = open(&disk);
    fill(&mut opened, &reports, 1..=3);
    drop(opened);
    disk.copy()
}

/// Opens the log and takes its records, which must be an exact prefix of what was written.
pub(crate) fn recovered(disk: &FaultyDisk) -> Result<u64, OpenError> {
    let opened = try_open(disk, &Reports::default())?;
    assert!(opened.boot > Boot(0));
    let found = contents(&opened.records);
    let count = found.len() as u64;
    let expected: Vec<_> = (1..=count).map(|lsn| (lsn, payload(lsn))).collect();
    assert!(found == expected, "other records than were written");
    Ok(count)
}

/// Where each group of the crashed log's segment starts, and where the last ends.
pub(crate) fn groups(disk: &FaultyDisk, number: u64) -> Vec<usize> {
    let bytes = disk.bytes(&segment(number));
    (0..bytes.len())
        .step_by(512)
        .filter(|at| bytes.get(at + 4..at + 8) == Some(b"grp\x01"))
        .collect()
}
