//! Durable appends: the write-ahead log beside the bare disk under it, and beside no disk at all.
//!
//! One iteration hands over B records of 256 bytes in one batch, as a driver does after a step, and
//! waits until all of them are durable. `raw` writes the same bytes with one write and one
//! `fdatasync` to a growing file: what the disk can do at best without setting room aside.
#![allow(missing_docs, clippy::unwrap_used)]

use consensus_core::{
    ClusterId, GroupId, Lsn, NodeId,
    storage::{
        Append, Completion, Disk, DiskFailure, MemoryDisk,
        wal::{Identity, Options, Wal, format},
    },
};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::{
    fs::{File, remove_dir_all},
    io::Write,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

const PAYLOAD: [u8; 256] = [0x5a; 256];
const WHO: Identity = Identity {
    cluster: ClusterId(1),
    node: NodeId(1),
};

struct Told(Sender<Lsn>);

impl Completion for Told {
    fn durable(&self, _: GroupId, lsn: Lsn) {
        // The bench may have gone already.
        let _ = self.0.send(lsn);
    }
    fn failed(&self, failure: DiskFailure) {
        panic!("{failure}");
    }
    fn full(&self, full: bool) {
        assert!(!full, "the disk is full");
    }
}

/// A new folder on the disk that holds the build.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../target/bench-storage")
        .join(format!("{name}-{}", std::process::id()));
    let _ = remove_dir_all(&path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// A disk, and where its log is.
struct Log<D> {
    disk: D,
    told: Receiver<Lsn>,
    next: u64,
    durable: u64,
    released: u64,
}

impl<D: Disk> Log<D> {
    fn new(disk: D, told: Receiver<Lsn>) -> Self {
        Self {
            disk,
            told,
            next: 1,
            durable: 0,
            released: 1,
        }
    }

    /// Appends `batch` records and waits until at most `behind` records are not durable.
    fn round(&mut self, batch: u64, behind: u64) {
        let mut append = Append::in_buffer(GroupId(0), Lsn(self.next), self.disk.buffer());
        for _ in 0..batch {
            append.push(|out| out.extend_from_slice(&PAYLOAD));
        }
        append.forced = true;
        self.disk.append(append);
        self.next += batch;
        while self.durable + behind < self.next - 1 {
            self.durable = self.told.recv().unwrap().0;
        }
        // As a node would that takes a snapshot now and then: bounds the disk.
        if self.next - self.released > 500_000 {
            self.released = self.next;
            self.disk.release(GroupId(0), Lsn(self.next - 1));
        }
    }
}

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    for batch in [1, 16, 256, 4096] {
        group.throughput(Throughput::ElementsAndBytes {
            elements: batch,
            bytes: batch * PAYLOAD.len() as u64,
        });
        // Criterion calls a function once a sample: what is set up lasts for all of them, as a log does,
        // or the first write to it would be most of what is measured.
        if batch < 4096 {
            let (sender, told) = channel();
            let mut log = Log::new(MemoryDisk::new(Told(sender)), told);
            group.bench_function(format!("memory/batch{batch}"), |b| {
                b.iter(|| log.round(batch, 0));
            });
        }
        let path = folder("raw");
        let mut file = File::create(&path).unwrap();
        let bytes = PAYLOAD.repeat(batch as usize);
        group.bench_function(format!("raw/batch{batch}"), |b| {
            b.iter(|| {
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
            });
        });
        drop(file);
        std::fs::remove_file(path).unwrap();
        for (name, behind) in [("wal", 0), ("group", batch)] {
            let path = folder(name);
            format(&path, WHO).unwrap();
            let (sender, told) = channel();
            let opened = Wal::open(&path, WHO, Options::default(), Told(sender)).unwrap();
            let mut log = Log::new(opened.wal, told);
            log.round(batch, behind);
            group.bench_function(format!("{name}/batch{batch}"), |b| {
                b.iter(|| log.round(batch, behind));
            });
            drop(log);
            remove_dir_all(path).unwrap();
        }
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
