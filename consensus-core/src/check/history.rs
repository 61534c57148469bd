//! What clients asked and were told, and when.

use crate::{Time, kv};
use alloc::vec::Vec;

/// One operation as its client saw it.
///
/// Operations that were certainly not carried out
/// ([`Answer::Refused`](crate::service::Answer::Refused)) have no entry: nothing is claimed of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Whose. For reports; that one client's operations do not overlap is neither needed nor
    /// assumed.
    pub client: u32,
    /// When it was asked, on one clock for the whole history.
    pub invoked: Time,
    /// When it was answered, on the same clock. None: never.
    pub returned: Option<Time>,
    /// What was asked.
    pub operation: kv::Operation,
    /// What was answered. None: unknown. It may have taken effect at any moment after it was
    /// asked, also after it was given up, or never.
    pub outcome: Option<kv::Outcome>,
}

impl Entry {
    /// The moment by which it must have taken effect, if it must at all.
    ///
    /// An answer without a moment is as good as unknown: nothing can be said to come after it.
    #[must_use]
    pub fn deadline(&self) -> Time {
        match (&self.outcome, self.returned) {
            (Some(_), Some(returned)) => returned,
            _ => Time::MAX,
        }
    }
}

/// Records operations while they run.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: Vec<Option<Entry>>,
}

/// Names an operation under way in a [`History`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pending(usize);

impl History {
    /// `client` asks for `operation` now. An operation that nothing more is told of stays unknown.
    pub fn invoke(&mut self, client: u32, now: Time, operation: kv::Operation) -> Pending {
        self.entries.push(Some(Entry {
            client,
            invoked: now,
            returned: None,
            operation,
            outcome: None,
        }));
        Pending(self.entries.len() - 1)
    }

    /// `pending` is carried out, and its client hears so now.
    pub fn answer(&mut self, pending: Pending, now: Time, outcome: kv::Outcome) {
        if let Some(entry) = &mut self.entries[pending.0] {
            entry.returned = Some(now);
            entry.outcome = Some(outcome);
        }
    }

    /// `pending` is certainly not carried out, now or later.
    pub fn refuse(&mut self, pending: Pending) {
        self.entries[pending.0] = None;
    }

    /// All operations in the order in which they were asked, without those refused.
    #[must_use]
    pub fn finish(self) -> Vec<Entry> {
        self.entries.into_iter().flatten().collect()
    }
}
