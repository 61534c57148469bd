//! Replay in the order that the answers themselves claim.
//!
//! Every write makes a version above all before it, so the versions in the answers leave no choice:
//! writes go by version, each read right after the write it saw. The replay verifies that a
//! conditional write found what it expected, that reads saw what was written, that positions (where
//! in the key's or the log's history an operation took effect) agree with versions, and that no
//! operation stands before one that was answered before it was asked.
//!
//! A version that somebody saw and nobody known wrote is the work of an unknown write; those never
//! seen are left out. Which one it was follows from the value, if anybody read it. If only its
//! number is known (a conditional write expected it, or failed on it) then any unknown write will do
//! that was asked before somebody had to know: a conditional one that expected the version before,
//! for it fits nowhere else, or else a blind one. Later versions may be explained by whatever earlier
//! ones may, so taking them in order never takes the wrong one.

use super::{Done, Effect, Op, UNKNOWN};
use crate::Time;
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use bytes::Bytes;
use std::collections::HashMap;

/// Everything known of one version of the key.
#[derive(Default)]
struct Version<'a, 'b> {
    write: Option<&'a Op<'b>>,
    reads: Vec<&'a Op<'b>>,
}

type Versions<'a, 'b> = BTreeMap<u64, Version<'a, 'b>>;

pub(super) fn check(ops: &[Op<'_>]) -> Result<(), String> {
    let (mut versions, mut unknown) = gather(ops)?;
    name_writers(&mut versions, &mut unknown)?;
    choose_writers(&mut versions, &unknown)?;
    replay(&versions)
}

/// Sorts what is known by version. Returns the unknown writes beside it.
fn gather<'a, 'b>(ops: &'a [Op<'b>]) -> Result<(Versions<'a, 'b>, Vec<&'a Op<'b>>), String> {
    let mut versions = Versions::new();
    let mut unknown = Vec::new();
    versions.insert(0, Version::default());
    for op in ops {
        match op.effect {
            Effect::Read { .. } if op.returned == UNKNOWN => {}
            Effect::Read { version, .. } => versions.entry(version).or_default().reads.push(op),
            Effect::Write { done: None, .. } => unknown.push(op),
            Effect::Write {
                expected,
                done: Some(done),
                ..
            } => {
                if done.version == 0 {
                    return Err(format!("{op}, which is before the first"));
                }
                let version = versions.entry(done.version).or_default();
                if let Some(other) = version.write.replace(op) {
                    return Err(format!("{op} and {other}: one version, two writes"));
                }
                if let Some(expected) = expected {
                    versions.entry(expected).or_default();
                }
            }
        }
    }
    Ok((versions, unknown))
}

/// The value of a version that nobody known wrote, if anybody read it.
fn value_seen<'b>(version: &Version<'_, 'b>) -> Option<&'b Bytes> {
    version.reads.iter().find_map(|read| match read.effect {
        Effect::Read { value, .. } => value,
        Effect::Write { .. } => None,
    })
}

/// Finds the unknown writes that are known by their values, and takes them out of `unknown`.
fn name_writers<'a, 'b>(
    versions: &mut Versions<'a, 'b>,
    unknown: &mut Vec<&'a Op<'b>>,
) -> Result<(), String> {
    let mut by_value: HashMap<&Bytes, &'a Op<'b>> = HashMap::new();
    for op in unknown.iter() {
        if let Effect::Write { value, .. } = op.effect {
            by_value.insert(value, op);
        }
    }
    let mut implied = Vec::new();
    for (number, version) in versions.iter_mut().skip(1) {
        if version.write.is_some() {
            continue;
        }
        let Some(value) = value_seen(version) else {
            continue;
        };
        let Some(op) = by_value.remove(value) else {
            let read = version.reads[0];
            return Err(format!("{read}, which nobody wrote as v{number}"));
        };
        version.write = Some(op);
        if let Effect::Write {
            expected: Some(expected),
            ..
        } = op.effect
        {
            implied.push(expected);
        }
    }
    for version in implied {
        versions.entry(version).or_default();
    }
    unknown.retain(|op| match op.effect {
        Effect::Write { value, .. } => by_value.contains_key(value),
        Effect::Read { .. } => false,
    });
    Ok(())
}

/// Finds unknown writes for the versions of which only the number is known.
fn choose_writers<'a, 'b>(
    versions: &mut Versions<'a, 'b>,
    unknown: &[&'a Op<'b>],
) -> Result<(), String> {
    let mut conditional: HashMap<u64, &'a Op<'b>> = HashMap::new();
    let mut blind = Vec::new();
    for op in unknown {
        let Effect::Write { expected, .. } = op.effect else {
            continue;
        };
        match expected {
            None => blind.push(*op),
            Some(expected) => {
                let first = conditional.entry(expected).or_insert(op);
                if op.invoked < first.invoked {
                    *first = op;
                }
            }
        }
    }
    blind.sort_by_key(|op| op.invoked);
    let mut blind = blind.into_iter().peekable();
    let deadlines = deadlines(versions);
    let mut before = 0;
    for ((number, version), deadline) in versions.iter_mut().zip(deadlines) {
        if *number > 0 && version.write.is_none() {
            version.write = conditional
                .get(&before)
                .filter(|op| op.invoked <= deadline)
                .copied()
                .or_else(|| blind.next_if(|op| op.invoked <= deadline));
            if version.write.is_none() {
                return Err(format!("version {number} is seen, and nobody wrote it"));
            }
        }
        before = *number;
    }
    Ok(())
}

/// For each version the earliest answer among everything at it or after it.
fn deadlines(versions: &Versions<'_, '_>) -> Vec<Time> {
    let mut earliest = Time::MAX;
    let mut deadlines: Vec<_> = versions
        .values()
        .rev()
        .map(|version| {
            let ops = version.write.iter().chain(&version.reads);
            earliest = ops.fold(earliest, |earliest, op| earliest.min(op.returned));
            earliest
        })
        .collect();
    deadlines.reverse();
    deadlines
}

fn replay(versions: &Versions<'_, '_>) -> Result<(), String> {
    let mut order = Order::default();
    let mut before = 0;
    for (number, version) in versions {
        let mut value: Option<&Bytes> = None;
        if let Some(op) = version.write {
            order.write(op)?;
            if let Effect::Write {
                value: written,
                expected,
                ..
            } = op.effect
            {
                if expected.is_some_and(|expected| expected != before) {
                    return Err(format!(
                        "{op} as v{number}, but then the newest is v{before}"
                    ));
                }
                value = Some(written);
            }
        }
        let mut reads = version.reads.clone();
        reads.sort_by_key(|read| (position(read), read.invoked));
        for read in &reads {
            order.read(read)?;
            if let Effect::Read {
                value: Some(seen), ..
            } = read.effect
                && value.map_or(!seen.is_empty(), |value| value != seen)
            {
                return Err(format!("{read}, but v{number} is another value"));
            }
        }
        before = *number;
    }
    Ok(())
}

fn position(op: &Op<'_>) -> Option<u64> {
    match op.effect {
        Effect::Read { position, .. } => Some(position),
        Effect::Write { done, .. } => done.map(|Done { position, .. }| position),
    }
}

/// The claimed order so far.
#[derive(Default)]
struct Order<'a, 'b> {
    /// The operation asked latest among those at lower positions.
    latest: Option<&'a Op<'b>>,
    /// The lowest position that is still possible.
    position: u64,
}

impl<'a, 'b> Order<'a, 'b> {
    fn write(&mut self, op: &'a Op<'b>) -> Result<(), String> {
        // Each write has a position of its own, also one that nobody knows.
        let next = self.position + 1;
        self.position = match position(op) {
            None => next,
            Some(position) if position >= next => position,
            Some(position) => return Err(out_of_place(op, position, next)),
        };
        self.follow(op)
    }

    fn read(&mut self, op: &'a Op<'b>) -> Result<(), String> {
        match position(op) {
            Some(position) if position < self.position => {
                return Err(out_of_place(op, position, self.position));
            }
            Some(position) => self.position = position,
            None => {}
        }
        self.follow(op)
    }

    fn follow(&mut self, op: &'a Op<'b>) -> Result<(), String> {
        if let Some(latest) = self.latest
            && op.precedes(latest)
        {
            return Err(format!("{op}, but claims to come after {latest}"));
        }
        if self.latest.is_none_or(|latest| op.invoked > latest.invoked) {
            self.latest = Some(op);
        }
        Ok(())
    }
}

fn out_of_place(op: &Op<'_>, position: u64, least: u64) -> String {
    format!("{op} at position {position}, but by its version it stands at {least} or later")
}
