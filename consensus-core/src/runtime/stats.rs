//! What an operator sees of a node, readable without waiting for it.

use crate::{Lsn, NodeId, Time, contract::replicated_log::LogView};
use alloc::string::String;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of one node since its start. Each has one writing task.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Count),* }

        /// Counts of one node since its start, as they were at one moment. Subtract an older one
        /// ([`since`](Self::since)) for what happened in between.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Counts { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(super) fn read(&self) -> Counts {
                Counts { $($name: self.$name.get()),* }
            }
        }

        impl Counts {
            /// What was counted after `older` was read. Queue lengths are differences too, hence
            /// meaningless unless `older` is the default.
            #[must_use]
            pub fn since(&self, older: &Self) -> Self {
                Self { $($name: self.$name.wrapping_sub(older.$name)),* }
            }

            /// Names and values, for reports.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Batches that the pump has run.
    batches,
    /// Messages handled.
    messages_received,
    /// Messages handed to the transport.
    messages_sent,
    /// Messages that a full inbox has pushed out.
    messages_dropped,
    /// Encoded bytes of messages received; zero where the transport does not encode.
    bytes_received,
    /// Records written.
    records,
    /// Bytes of records.
    record_bytes,
    /// Batches of records that somebody waits for.
    forced_writes,
    /// Reports of progress by the disk: one a sync, where the disk syncs.
    syncs,
    /// Events told to the service.
    events,
    /// The last entry of a replicated log whose effect the state has.
    applied,
    /// Calls that the service has taken.
    calls,
    /// Calls answered.
    answers,
    /// Calls refused because a bound was reached.
    refused_busy,
    /// Calls that the service works on now.
    calls_open,
    /// Bytes on their way to the disk now.
    disk_backlog,
    /// Events that wait for a service on a task of its own now.
    events_waiting,
    /// Calls of which the time was taken from accepted to taken by the service.
    queue_count,
    /// The sum of those times, in nanoseconds.
    queue_ns,
    /// Calls of which the time was taken from accepted to answered.
    total_count,
    /// The sum of those times, in nanoseconds.
    total_ns,
    /// Forced writes of which the time was taken from handed to the disk to reported durable.
    sync_count,
    /// The sum of those times, in nanoseconds.
    sync_ns,
    /// Batches of events of which the time was taken from told to applied and answered.
    apply_count,
    /// The sum of those times, in nanoseconds.
    apply_ns,
}

/// One counter with one writer.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// By the counter's one writer only.
    #[inline]
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed) + more, Relaxed);
    }

    /// By the counter's one writer only.
    #[inline]
    pub(super) fn span(&self, span: Duration) {
        self.add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    #[inline]
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// By anybody.
    #[inline]
    pub(super) fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Where a call's time goes, as means in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stages {
    /// From accepted to taken by the service.
    pub queue: f64,
    /// From a forced record handed to the disk to reported durable, at this node.
    pub sync: f64,
    /// The rest: peers, their disks, and waiting for the next batch.
    pub network: f64,
    /// From an event told to the service to the answers that it led to.
    pub apply: f64,
}

impl Counts {
    /// Where a call's time goes. All zero when no call was answered. Meaningful at a node that clients
    /// call.
    #[must_use]
    pub fn stages_us(&self) -> Stages {
        let mean = |ns: u64, count: u64| {
            if count == 0 {
                0.0
            } else {
                ns as f64 / count as f64 / 1000.0
            }
        };
        if self.total_count == 0 {
            return Stages::default();
        }
        let queue = mean(self.queue_ns, self.queue_count);
        let sync = mean(self.sync_ns, self.sync_count);
        let apply = mean(self.apply_ns, self.apply_count);
        let total = mean(self.total_ns, self.total_count);
        Stages {
            queue,
            sync,
            network: (total - queue - sync - apply).max(0.0),
            apply,
        }
    }
}

/// A look inside, as of a recent batch: at most [`Options::status_every`](super::Options) old on a
/// busy node, exact on an idle one; of who leads exact on both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// When it was taken, on the node's own clock.
    pub at: Time,
    /// The protocol's own status, for people.
    pub protocol: String,
    /// Who decides for the others, as this node knows.
    pub leader: Option<NodeId>,
    /// Its log, where it keeps one: role, epoch, last and committed entry, and at a leader everybody
    /// else.
    pub log: Option<LogView>,
    /// The newest record numbered.
    pub last: Lsn,
    /// The newest record on disk.
    pub durable: Lsn,
    /// Whether the disk is full.
    pub disk_full: bool,
}
