//! The newest known value of each key: where to propose next. A wrong entry costs a round trip.

use crate::contract::register::{Key, Version};
use alloc::collections::BTreeMap;
use bytes::Bytes;

#[derive(Clone, Debug)]
struct Known {
    version: Version,
    value: Bytes,
    learned: u64,
}

/// Bounded by keys; what was learned longest ago goes first.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    keys_max: usize,
    known: BTreeMap<Key, Known>,
    /// Keys in the order in which they were last learned.
    order: BTreeMap<u64, Key>,
    clock: u64,
}

impl Cache {
    pub(super) const fn new(keys_max: usize) -> Self {
        Self {
            keys_max,
            known: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        }
    }

    pub(super) fn version(&self, key: &Key) -> Option<Version> {
        self.known.get(key).map(|known| known.version)
    }

    /// The value of exactly this version.
    pub(super) fn value(&self, key: &Key, version: Version) -> Option<&Bytes> {
        self.known
            .get(key)
            .filter(|known| known.version == version)
            .map(|known| &known.value)
    }

    /// `value` is chosen.
    pub(super) fn learn(&mut self, key: &Key, version: Version, value: &Bytes) {
        if self.version(key).is_some_and(|known| known >= version) {
            return;
        }
        self.clock += 1;
        let known = Known {
            version,
            value: value.clone(),
            learned: self.clock,
        };
        if let Some(old) = self.known.insert(key.clone(), known) {
            self.order.remove(&old.learned);
        }
        self.order.insert(self.clock, key.clone());
        while self.known.len() > self.keys_max.max(1) {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.known.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.order.remove(&known.learned);
        }
    }
}
