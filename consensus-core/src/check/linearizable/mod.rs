//! Is a history of key-value operations linearizable [HerlihyWing90 §2]?
//!
//! Keys are independent registers and linearizability is local, so each key is judged alone, by the
//! cheapest method that is exact for it:
//!
//! | the key's history | method | cost | rests on |
//! |---|---|---|---|
//! | reads and blind writes, no value written twice | [`Method::Zones`] | O(n log n) | nothing but values and times |
//! | anything else | [`Method::Witness`] | O(n log n) | versions and positions in the answers, verified |
//! | two unknown writes of one value among the latter | [`Method::Search`] | exponential | as before |
//!
//! An operation comes before another only if its answer came *strictly* before the other was asked;
//! equal moments are concurrent. Unknown operations (see [`Entry::outcome`]) may take effect at any
//! moment after they were asked, or never.

mod search;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twins;
mod witness;
mod zones;

use super::Entry;
use crate::{Time, kv};
use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;
use std::collections::{HashMap, HashSet};

/// How a key was judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// The zone test for registers whose written values are unique \[GibbonsKorach97\].
    Zones,
    /// Replay in the order of the versions that the answers carry.
    Witness,
    /// Every order is tried, remembering dead ends \[WingGong93\] \[Lowe17\].
    Search,
}

/// A linearizable history, and how much of it was really judged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Operations on keys, unknown ones included.
    pub operations: usize,
    /// Unknown ones among them.
    pub unknown: usize,
    /// Different keys.
    pub keys: usize,
    /// How many keys were judged by [`Method::Zones`].
    pub zones: usize,
    /// How many keys were judged by [`Method::Witness`].
    pub witness: usize,
    /// How many keys were judged by [`Method::Search`].
    pub search: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations ({} unknown) on {} keys are linearizable (zones {}, witness {}, search {})",
            self.operations, self.unknown, self.keys, self.zones, self.witness, self.search
        )
    }
}

/// No order of the operations on `key` explains what the clients saw.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("key {}: {detail}", .key.escape_ascii())]
pub struct Nonlinearizable {
    /// Whose history it is.
    pub key: Bytes,
    /// Which operations contradict each other.
    pub detail: String,
}

/// Judges a history. Entries may come in any order.
///
/// [`WhoLeads`](kv::Operation::WhoLeads) promises nothing and is skipped.
///
/// # Errors
/// The first key, in the order of first appearance, that no order explains.
pub fn check(entries: &[Entry]) -> Result<Report, Nonlinearizable> {
    let mut report = Report::default();
    for (key, ops) in by_key(entries)? {
        report.keys += 1;
        report.operations += ops.len();
        report.unknown += ops.iter().filter(|op| op.returned == UNKNOWN).count();
        let verdict = match method(&ops) {
            Method::Zones => {
                report.zones += 1;
                zones::check(&ops)
            }
            Method::Witness => {
                report.witness += 1;
                witness::check(&ops)
            }
            Method::Search => {
                report.search += 1;
                search::check(&ops, search::Spec::Versions)
            }
        };
        verdict.map_err(|detail| Nonlinearizable {
            key: key.clone(),
            detail,
        })?;
    }
    Ok(report)
}

/// The deadline of an operation that need not have taken effect.
const UNKNOWN: Time = Time::MAX;

/// An operation on one key, stripped to what matters.
#[derive(Clone, Copy)]
struct Op<'a> {
    entry: &'a Entry,
    invoked: Time,
    /// [`UNKNOWN`] when it may never have taken effect.
    returned: Time,
    effect: Effect<'a>,
}

#[derive(Clone, Copy)]
enum Effect<'a> {
    /// A `Get`, or a `CompareAndSet` that found another version (and tells no value).
    Read {
        version: u64,
        value: Option<&'a Bytes>,
        position: u64,
    },
    /// A `Put` or a successful `CompareAndSet`, or either of unknown outcome.
    Write {
        value: &'a Bytes,
        expected: Option<u64>,
        done: Option<Done>,
    },
}

/// Where a write says that it took effect.
#[derive(Clone, Copy)]
struct Done {
    version: u64,
    position: u64,
}

impl Op<'_> {
    fn precedes(&self, other: &Self) -> bool {
        self.returned < other.invoked
    }
}

impl fmt::Display for Op<'_> {
    /// `client 3 reads v2 "x" [1.000ms, 2.000ms]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ", self.entry.client)?;
        match &self.effect {
            Effect::Read { version: 0, .. } => f.write_str("reads nothing")?,
            Effect::Read { version, value, .. } => {
                write!(f, "reads v{version}")?;
                if let Some(value) = value {
                    write!(f, " \"{}\"", short(value))?;
                }
            }
            Effect::Write {
                value,
                expected,
                done,
            } => {
                write!(f, "writes \"{}\"", short(value))?;
                if let Some(expected) = expected {
                    write!(f, " over v{expected}")?;
                }
                if let Some(done) = done {
                    write!(f, " as v{}", done.version)?;
                }
            }
        }
        write!(f, " [{}, ", self.invoked)?;
        match self.returned {
            UNKNOWN => f.write_str("unknown]"),
            returned => write!(f, "{returned}]"),
        }
    }
}

fn short(value: &[u8]) -> impl fmt::Display + '_ {
    value[..value.len().min(24)].escape_ascii()
}

/// Splits a history by key, keys and operations in the order of appearance. Unknown reads claim
/// nothing and are counted but have no effect.
fn by_key(entries: &[Entry]) -> Result<Vec<(&Bytes, Vec<Op<'_>>)>, Nonlinearizable> {
    let mut places: HashMap<&Bytes, usize> = HashMap::new();
    let mut keys: Vec<(&Bytes, Vec<Op<'_>>)> = Vec::new();
    for entry in entries {
        let key = match &entry.operation {
            kv::Operation::Get { key }
            | kv::Operation::Put { key, .. }
            | kv::Operation::CompareAndSet { key, .. } => key,
            kv::Operation::WhoLeads {} => continue,
        };
        let place = *places.entry(key).or_insert_with(|| {
            keys.push((key, Vec::new()));
            keys.len() - 1
        });
        let op = op(entry).map_err(|detail| Nonlinearizable {
            key: key.clone(),
            detail,
        })?;
        keys[place].1.push(op);
    }
    Ok(keys)
}

fn op(entry: &Entry) -> Result<Op<'_>, String> {
    use kv::{Operation, Outcome};
    let returned = entry.deadline();
    let outcome = entry.outcome.as_ref().filter(|_| returned < UNKNOWN);
    let effect = match (&entry.operation, outcome) {
        (Operation::Get { .. }, None) => Effect::Read {
            version: 0,
            value: None,
            position: 0,
        },
        (
            Operation::Get { .. },
            Some(Outcome::Value {
                position,
                version,
                value,
            }),
        ) => Effect::Read {
            version: version.0,
            value: Some(value),
            position: *position,
        },
        (
            Operation::CompareAndSet { expected, .. },
            Some(Outcome::Mismatch { position, version }),
        ) => {
            if version == expected {
                return Err(format!(
                    "client {} is told that version {version} is not version {expected}",
                    entry.client
                ));
            }
            Effect::Read {
                version: version.0,
                value: None,
                position: *position,
            }
        }
        (Operation::Put { value, .. }, outcome) => write(entry, value, None, outcome)?,
        (
            Operation::CompareAndSet {
                value, expected, ..
            },
            outcome,
        ) => write(entry, value, Some(expected.0), outcome)?,
        (_, Some(outcome)) => return Err(mistold(entry, outcome)),
        (Operation::WhoLeads {}, None) => return Err(String::from("promises nothing")),
    };
    if returned < entry.invoked {
        return Err(format!(
            "client {} is answered before it asks",
            entry.client
        ));
    }
    Ok(Op {
        entry,
        invoked: entry.invoked,
        returned,
        effect,
    })
}

fn write<'a>(
    entry: &Entry,
    value: &'a Bytes,
    expected: Option<u64>,
    outcome: Option<&kv::Outcome>,
) -> Result<Effect<'a>, String> {
    let done = match outcome {
        None => None,
        Some(kv::Outcome::Written { position, version }) => Some(Done {
            version: version.0,
            position: *position,
        }),
        Some(outcome) => return Err(mistold(entry, outcome)),
    };
    Ok(Effect::Write {
        value,
        expected,
        done,
    })
}

fn mistold(entry: &Entry, outcome: &kv::Outcome) -> String {
    format!(
        "client {} asks for {:?} and is told {outcome:?}",
        entry.client, entry.operation
    )
}

fn method(ops: &[Op<'_>]) -> Method {
    let mut written = HashSet::with_capacity(ops.len());
    let mut unknown = HashSet::new();
    let (mut blind, mut unique) = (true, true);
    for op in ops {
        match &op.effect {
            Effect::Read { value, .. } => blind &= value.is_some() || op.returned == UNKNOWN,
            Effect::Write {
                value,
                expected,
                done,
            } => {
                blind &= expected.is_none();
                unique &= written.insert(*value);
                if done.is_none() && !unknown.insert(*value) {
                    return Method::Search;
                }
            }
        }
    }
    if blind && unique {
        Method::Zones
    } else {
        Method::Witness
    }
}
