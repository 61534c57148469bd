//! A completion that can be waited on, and a folder that goes away.

use consensus_core::{
    ClusterId, GroupId, Lsn, NodeId,
    storage::{
        Append, Completion, Disk, DiskFailure, Recovered,
        wal::{Identity, Options, Wal},
    },
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) const GROUP: GroupId = GroupId(0);
pub(crate) const WHO: Identity = Identity {
    cluster: ClusterId(0xc1),
    node: NodeId(3),
};

/// What a disk has reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) durable: BTreeMap<GroupId, Lsn>,
    pub(crate) failure: Option<DiskFailure>,
    pub(crate) full: Vec<bool>,
}

impl Told {
    pub(crate) fn durable(&self) -> Lsn {
        self.durable.get(&GROUP).copied().unwrap_or_default()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<(Mutex<Told>, Condvar)>);

impl Reports {
    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.0.0.lock().expect("no panic under the lock"));
        self.0.1.notify_all();
    }

    /// Waits until `done`. A minute is for a broken log to fail in, not a bound on a good one.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&Told) -> bool) -> Told {
        let told = self.0.0.lock().expect("no panic under the lock");
        let minute = Duration::from_secs(60);
        let waited = self
            .0
            .1
            .wait_timeout_while(told, minute, |told| !done(told));
        let (told, timeout) = waited.expect("no panic under the lock");
        assert!(!timeout.timed_out(), "never {what}: {told:?}");
        told.clone()
    }

    pub(crate) fn until_durable(&self, lsn: u64) {
        self.until(&format!("durable up to {lsn}"), |t| t.durable() >= Lsn(lsn));
    }

    pub(crate) fn now(&self) -> Told {
        self.0.0.lock().expect("no panic under the lock").clone()
    }
}

impl Completion for Reports {
    fn durable(&self, group: GroupId, lsn: Lsn) {
        self.tell(|told| {
            let before = told.durable.insert(group, lsn);
            assert!(before < Some(lsn), "a watermark went back");
        });
    }

    fn failed(&self, failure: DiskFailure) {
        self.tell(|told| told.failure = Some(failure));
    }

    fn full(&self, full: bool) {
        self.tell(|told| told.full.push(full));
    }
}

/// A forced batch of one record.
pub(crate) fn record(lsn: u64, bytes: &[u8]) -> Append {
    batch(GROUP, lsn, &[bytes])
}

pub(crate) fn batch(group: GroupId, first: u64, records: &[&[u8]]) -> Append {
    let mut append = Append::new(group, Lsn(first));
    for bytes in records {
        append.push(|out| out.extend_from_slice(bytes));
    }
    append.forced = true;
    append
}

/// Appends one forced record and waits for it: a group of its own.
pub(crate) fn put(wal: &mut Wal, reports: &Reports, lsn: u64, bytes: &[u8]) {
    wal.append(record(lsn, bytes));
    reports.until_durable(lsn);
}

pub(crate) fn contents(records: &[Recovered]) -> Vec<(u64, Vec<u8>)> {
    records
        .iter()
        .map(|record| (record.lsn.0, record.bytes.to_vec()))
        .collect()
}

/// Small segments; seals only when asked, that is at the end.
pub(crate) fn quiet() -> Options {
    Options {
        segment_bytes: 8 << 10,
        seal_after: Duration::from_secs(3600),
        ..Options::default()
    }
}

/// A folder under the system's folder for temporary files.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wal-{name}-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
