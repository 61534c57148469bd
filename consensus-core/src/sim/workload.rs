//! What clients ask, and whether what they were told was possible.

use super::chance::Chance;
use crate::{
    Time, Violation, Wire,
    check::{Entry, linearizable},
    contract::register::Version,
    kv,
    service::{Answer, Refusal},
};
use alloc::{collections::BTreeMap, format, string::ToString, vec::Vec};
use bytes::Bytes;

/// Clients of one contract: what they ask next, and the judgement in the end. Each client has one
/// operation under way at most.
pub trait Workload {
    /// What `client` asks now.
    fn next(&mut self, client: u32, now: Time, chance: &mut Chance) -> Bytes;

    /// What it was told. An operation whose time is up is told
    /// [`Answer::Unknown`].
    fn answered(&mut self, client: u32, now: Time, answer: &Answer);

    /// Operations that are asked of every node of the core in the end, when all is well, and must be
    /// carried out: reads of everything, so that whatever was lost shows.
    fn closing(&self) -> Vec<Bytes>;

    /// The `closing` operation of this body is asked by `client` now.
    fn ask(&mut self, client: u32, now: Time, body: Bytes);

    /// Whether this answer is what a client of a healed core is owed; else it asks again.
    fn is_done(&self, answer: &Answer) -> bool {
        let _ = answer;
        true
    }

    /// The judgement over everything that was asked and answered: the names of the properties
    /// and on how many operations each was judged.
    ///
    /// # Errors
    /// The property that does not hold.
    fn judge(&self) -> Result<Vec<(&'static str, u64)>, Violation>;
}

/// Key-value operations on a few keys; every value is written once.
#[derive(Clone, Debug)]
pub struct KeyValue {
    keys: u64,
    /// Out of 100: writes, compare-and-sets; the rest reads.
    writes: u64,
    swaps: u64,
    written: u64,
    /// What a client believes to be the newest version of a key.
    versions: BTreeMap<(u32, u64), Version>,
    /// The operation under way of each client: its place in the history.
    pending: BTreeMap<u32, usize>,
    history: Vec<Option<Entry>>,
}

impl KeyValue {
    /// Draws the number of keys and the mix.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        let writes = chance.within(20..=60);
        Self {
            keys: chance.within(1..=4),
            writes,
            swaps: chance.within(0..=90 - writes),
            written: 0,
            versions: BTreeMap::new(),
            pending: BTreeMap::new(),
            history: Vec::new(),
        }
    }

    fn key(key: u64) -> Bytes {
        format!("k{key}").into()
    }

    /// What was asked and answered so far; what was certainly not carried out is left out.
    #[must_use]
    pub fn history(&self) -> Vec<Entry> {
        self.history.iter().flatten().cloned().collect()
    }

    fn begin(&mut self, client: u32, now: Time, operation: kv::Operation) -> Bytes {
        let body = kv::encode(&operation);
        self.pending.insert(client, self.history.len());
        self.history.push(Some(Entry {
            client,
            invoked: now,
            returned: None,
            operation,
            outcome: None,
        }));
        body
    }
}

impl Workload for KeyValue {
    fn next(&mut self, client: u32, now: Time, chance: &mut Chance) -> Bytes {
        let number = chance.below(self.keys);
        let key = Self::key(number);
        let dice = chance.below(100);
        self.written += 1;
        let value: Bytes = format!("{client}.{}", self.written).into();
        let operation = if dice < self.writes {
            kv::Operation::Put { key, value }
        } else if dice < self.writes + self.swaps {
            let expected = self
                .versions
                .get(&(client, number))
                .copied()
                .unwrap_or_default();
            kv::Operation::CompareAndSet {
                key,
                expected,
                value,
            }
        } else {
            kv::Operation::Get { key }
        };
        self.begin(client, now, operation)
    }

    fn answered(&mut self, client: u32, now: Time, answer: &Answer) {
        let Some(place) = self.pending.remove(&client) else {
            return;
        };
        match answer {
            // An expired session may have carried it out before it expired.
            Answer::Unknown | Answer::Refused(Refusal::SessionExpired) => {}
            Answer::Refused(_) => self.history[place] = None,
            Answer::Done(body) => {
                let Some(entry) = &mut self.history[place] else {
                    return;
                };
                let outcome = kv::Outcome::decode(body.clone());
                entry.returned = Some(now);
                if let Ok(
                    kv::Outcome::Value { version, .. }
                    | kv::Outcome::Written { version, .. }
                    | kv::Outcome::Mismatch { version, .. },
                ) = outcome
                    && let kv::Operation::Get { key }
                    | kv::Operation::Put { key, .. }
                    | kv::Operation::CompareAndSet { key, .. } = &entry.operation
                    && let Some(number) = core::str::from_utf8(&key[1..]).ok()
                    && let Ok(number) = number.parse()
                {
                    self.versions.insert((client, number), version);
                }
                entry.outcome = outcome.ok();
            }
        }
    }

    fn closing(&self) -> Vec<Bytes> {
        (0..self.keys)
            .map(|key| {
                kv::encode(&kv::Operation::Get {
                    key: Self::key(key),
                })
            })
            .collect()
    }

    fn ask(&mut self, client: u32, now: Time, body: Bytes) {
        if let Ok(operation) = kv::decode(body) {
            self.begin(client, now, operation);
        }
    }

    fn judge(&self) -> Result<Vec<(&'static str, u64)>, Violation> {
        match linearizable::check(&self.history()) {
            Ok(report) => Ok(alloc::vec![("linearizability", report.operations as u64)]),
            Err(broken) => Err(Violation {
                property: "linearizability",
                detail: broken.to_string(),
            }),
        }
    }
}
