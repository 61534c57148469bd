//! When to do what is not done once a batch.

use crate::{NodeId, Time};

/// Bytes of records after which the disk is asked whether its log is too long.
const RECLAIM_BYTES: u64 = 1 << 20;
/// What is done now and then and not once a batch.
#[derive(Default)]
pub(super) struct Housekeeping {
    /// Whether anything has happened since the last time.
    pub(super) dirty: bool,
    pub(super) due: Time,
    /// Bytes handed to the disk by the last time.
    pub(super) appended: u64,
    /// Who led then: a change is published at once, for outages are measured by it.
    pub(super) leader: Option<NodeId>,
}

impl Housekeeping {
    /// When it is due: not at all while nothing happens.
    pub(super) fn next(&self) -> Option<Time> {
        self.dirty.then_some(self.due)
    }

    pub(super) fn is_due(&self, now: Time, appended: u64, leader: Option<NodeId>) -> bool {
        appended >= self.appended + RECLAIM_BYTES
            || leader != self.leader
            || self.next().is_some_and(|due| due <= now)
    }
}
