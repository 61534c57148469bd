//! Snapshot files against what they promise.

use crate::{
    faulty_disk::FaultyDisk,
    support::{Folder, WHO},
};
use bytes::Bytes;
use consensus_core::{
    Epoch, Index,
    contract::replicated_log::{Manifest, Membership, SnapshotId},
    storage::{
        snapshots::{SnapshotError, SnapshotStore},
        wal::RealFileSystem,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

fn dir() -> &'static Path {
    Path::new("/log/snapshots")
}

fn manifest(index: u64) -> Manifest {
    Manifest {
        id: SnapshotId(u128::from(index) | 7 << 64),
        index: Index(index),
        epoch: Epoch::ZERO,
        members: Membership::default(),
        coming: Vec::new(),
        size: 0,
    }
}

pub(crate) fn chunks(index: u64) -> Vec<Bytes> {
    let chunk = |i: u64| Bytes::from(vec![(index + i) as u8; 300 * i as usize]);
    (0..4).map(chunk).collect()
}

pub(crate) fn store(disk: &FaultyDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), dir(), WHO.cluster).expect("the folder opens")
}

pub(crate) fn kept(disk: &FaultyDisk, index: u64) -> Manifest {
    let kept = store(disk).keep(&manifest(index), chunks(index).into_iter());
    kept.expect("there is room")
}

pub(crate) fn read(store: &SnapshotStore, index: u64) -> Result<Vec<Bytes>, SnapshotError> {
    Ok(store.chunks(manifest(index).id)?.collect())
}

pub(crate) fn the_file(disk: &FaultyDisk) -> PathBuf {
    disk.names().into_iter().next().expect("a file is there")
}

#[test]
fn a_snapshot_is_read_as_it_was_kept() {
    let disk = FaultyDisk::default();
    let manifest = kept(&disk, 5);
    assert_eq!(manifest.size, disk.bytes(&the_file(&disk)).len() as u64);
    let again = store(&disk.copy());
    assert_eq!(again.manifests(), [manifest]);
    assert_eq!(read(&again, 5).unwrap(), chunks(5));
}

/// RF-82: whatever of a file a crash keeps, the snapshot before it is there, and the new one is whole
/// or not there at all; whole for certain once it was reported.
#[test]
fn rf82_a_crash_anywhere_in_a_write_leaves_the_one_before() {
    let disk = FaultyDisk::default();
    kept(&disk, 5);
    let disk = disk.copy();
    disk.record();
    kept(&disk, 9);
    disk.state().acknowledged = 1;
    let mut states = 0;
    for state in disk.history() {
        let reported = state.acknowledged > 0;
        let pending = state.pending();
        assert!(
            pending <= 12,
            "{pending} changes at once are too many to try"
        );
        for bits in 0..1u64 << pending {
            states += 1;
            let disk = state.crash(bits);
            let store = store(&disk);
            assert_eq!(read(&store, 5).unwrap(), chunks(5));
            match read(&store, 9) {
                Ok(found) => assert_eq!(found, chunks(9)),
                Err(error) => {
                    assert!(matches!(error, SnapshotError::Missing { .. }), "{error}");
                    assert!(!reported, "a reported snapshot is gone");
                }
            }
            let left = disk.names().len();
            assert_eq!(left, store.manifests().len(), "nothing half is left");
        }
    }
    assert!(states > 20, "only {states} crashes");
}

/// S15: every byte counts.
#[test]
fn a_damaged_snapshot_is_refused_by_name_and_left_alone() {
    let disk = FaultyDisk::default();
    kept(&disk, 5);
    let file = the_file(&disk);
    let good = disk.bytes(&file);
    for at in 0..good.len() {
        let disk = disk.copy();
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        disk.put(&file, bytes);
        let store = store(&disk);
        let error = read(&store, 5).expect_err("a flipped bit is seen");
        assert!(
            error.to_string().contains(&*file.to_string_lossy()),
            "{error}"
        );
        assert!(
            store.outgoing(manifest(5).id).is_err(),
            "it is sent to nobody"
        );
        assert_eq!(store.damage(), [error]);
        assert_eq!(
            disk.names(),
            std::slice::from_ref(&file),
            "it is not deleted"
        );
    }
    for length in 0..good.len() {
        let disk = disk.copy();
        disk.put(&file, good[..length].to_vec());
        assert!(read(&store(&disk), 5).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_costs_nothing_kept() {
    let disk = FaultyDisk::default();
    kept(&disk, 5);
    let store = store(&disk);
    disk.state().faults.full_files = true;
    let refused = store.keep(&manifest(9), chunks(9).into_iter());
    assert!(
        matches!(refused, Err(SnapshotError::Io { .. })),
        "{refused:?}"
    );
    assert_eq!(disk.names().len(), 1);
    assert_eq!(read(&store, 5).unwrap(), chunks(5));
    disk.state().faults.full_files = false;
    store.keep(&manifest(9), chunks(9).into_iter()).unwrap();
    assert_eq!(read(&store, 9).unwrap(), chunks(9));
}

#[test]
fn a_snapshot_goes_when_the_log_rests_on_a_newer_one_and_nobody_reads_it() {
    let disk = FaultyDisk::default();
    let store = store(&disk);
    for index in [5, 9] {
        store
            .keep(&manifest(index), chunks(index).into_iter())
            .unwrap();
    }
    let reading = store.outgoing(manifest(5).id).unwrap();
    assert_eq!(store.retire_before(manifest(9).id), Ok(0));
    drop(reading);
    assert_eq!(store.retire_before(manifest(9).id), Ok(1));
    assert_eq!(store.manifests().len(), 1);
    // Of one that is not here nothing follows.
    assert_eq!(store.retire_before(manifest(11).id), Ok(0));
}

fn copy_into(
    target: &SnapshotStore,
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<(), SnapshotError> {
    let mut incoming = target.receive(manifest)?.expect("it is not here yet");
    for part in bytes.chunks(700) {
        incoming.write(part)?;
    }
    assert!(incoming.is_whole());
    target.finish(incoming)
}

#[test]
fn a_copy_is_the_same_snapshot_and_comes_once() {
    let (one, two) = (FaultyDisk::default(), FaultyDisk::default());
    let manifest = kept(&one, 5);
    let bytes = one.bytes(&the_file(&one));
    let target = store(&two);
    copy_into(&target, &manifest, &bytes).unwrap();
    assert_eq!(read(&target, 5).unwrap(), chunks(5));
    assert!(
        target.receive(&manifest).unwrap().is_none(),
        "twice is success"
    );
}

#[test]
fn a_copy_that_is_not_what_was_announced_is_never_kept() {
    let (one, two) = (FaultyDisk::default(), FaultyDisk::default());
    let manifest = kept(&one, 5);
    let mut bytes = one.bytes(&the_file(&one));
    let target = store(&two);
    bytes[60] ^= 1;
    assert!(copy_into(&target, &manifest, &bytes).is_err());
    bytes[60] ^= 1;
    let other = Manifest {
        index: Index(6),
        ..manifest.clone()
    };
    assert!(copy_into(&target, &other, &bytes).is_err());
    let mut longer = target.receive(&manifest).unwrap().unwrap();
    longer.write(&bytes).unwrap();
    assert!(longer.write(b"!").is_err(), "more than was announced");
    target.discard(longer);
    assert!(two.names().is_empty(), "nothing is left: {:?}", two.names());
}

#[test]
fn another_clusters_snapshot_is_refused() {
    let disk = FaultyDisk::default();
    kept(&disk, 5);
    let other = consensus_core::ClusterId(0xbad);
    let store = SnapshotStore::open(Arc::new(disk), dir(), other).unwrap();
    let error = read(&store, 5).unwrap_err();
    assert!(matches!(error, SnapshotError::Foreign { .. }), "{error}");
}

#[test]
fn real_files_keep_a_snapshot_too() {
    let folder = Folder::new("snapshots");
    let dir = folder.path().join("snapshots");
    let open = || SnapshotStore::open(Arc::new(RealFileSystem), &dir, WHO.cluster).unwrap();
    let large: Vec<Bytes> = (0..30u8).map(|i| vec![i; 400 << 10].into()).collect();
    open()
        .keep(&manifest(5), large.clone().into_iter())
        .unwrap();
    assert_eq!(read(&open(), 5).unwrap(), large);
}
