//! What the disk last said: a register, not a queue.

use super::bell::{Bell, lock};
use crate::{
    GroupId, Lsn,
    storage::{Completion, DiskFailure},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

/// The receiving end of a disk's reports. Made before the disk is opened, because the disk takes
/// the sending end.
///
/// ```
/// use consensus_core::{GroupId, runtime::Reports};
/// let reports = Reports::new(GroupId(0));
/// let completion = reports.completion();
/// # let _ = completion;
/// ```
#[derive(Clone, Debug)]
pub struct Reports {
    group: GroupId,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    durable: AtomicU64,
    count: AtomicU64,
    full: AtomicBool,
    has_failed: AtomicBool,
    failure: Mutex<Option<DiskFailure>>,
    bell: Arc<Bell>,
}

impl Reports {
    /// No report yet. Reports on other groups than `group` are ignored.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            shared: Arc::default(),
        }
    }

    /// The sending end, for the disk.
    #[must_use]
    pub fn completion(&self) -> impl Completion + use<> {
        Sender(self.clone())
    }

    pub(super) fn group(&self) -> GroupId {
        self.group
    }

    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.shared.bell
    }

    #[inline]
    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.shared.durable.load(SeqCst))
    }

    /// How often the disk has reported progress: once a sync.
    pub(super) fn count(&self) -> u64 {
        self.shared.count.load(SeqCst)
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.shared.full.load(SeqCst)
    }

    #[inline]
    pub(super) fn failure(&self) -> Option<DiskFailure> {
        if !self.shared.has_failed.load(SeqCst) {
            return None;
        }
        lock(&self.shared.failure).clone()
    }
}

struct Sender(Reports);

impl Completion for Sender {
    fn durable(&self, group: GroupId, lsn: Lsn) {
        if group != self.0.group {
            return;
        }
        let shared = &self.0.shared;
        // After a failure nothing is acknowledged, whatever the disk says.
        if shared.has_failed.load(SeqCst) {
            return;
        }
        shared.durable.fetch_max(lsn.0, SeqCst);
        shared.count.fetch_add(1, SeqCst);
        shared.bell.ring();
    }

    fn failed(&self, failure: DiskFailure) {
        let shared = &self.0.shared;
        lock(&shared.failure).get_or_insert(failure);
        shared.has_failed.store(true, SeqCst);
        shared.bell.ring();
    }

    fn full(&self, full: bool) {
        self.0.shared.full.store(full, SeqCst);
        self.0.shared.bell.ring();
    }
}
