//! Every order, remembering dead ends \[WingGong93\] \[Lowe17\]: slow and obviously right.

use super::{Done, Effect, Op, UNKNOWN};
use crate::Time;
use alloc::{string::String, vec, vec::Vec};
use bytes::Bytes;
use std::collections::HashSet;

/// What an order must explain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spec {
    /// Values alone: what a client of a plain register can see.
    #[cfg_attr(not(test), expect(dead_code, reason = "the zone test's slow twin"))]
    Values,
    /// Versions and positions too.
    Versions,
}

/// The register, as far as it is known: after an unknown write only bounds are.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Register<'a> {
    value: Option<&'a Bytes>,
    /// The version, or the least that it can be.
    version: u64,
    exact: bool,
    /// The least position of what comes next; a write's is above it.
    position: u64,
}

pub(super) fn check(ops: &[Op<'_>], spec: Spec) -> Result<(), String> {
    let ops: Vec<_> = ops
        .iter()
        .filter(|op| op.returned < UNKNOWN || matches!(op.effect, Effect::Write { .. }))
        .collect();
    let start = Register {
        value: None,
        version: 0,
        exact: true,
        position: 0,
    };
    let mut seen = HashSet::new();
    let mut open = vec![(vec![false; ops.len()], start)];
    while let Some((done, register)) = open.pop() {
        // What comes next was asked before the earliest answer that is still owed.
        let owed = (0..ops.len())
            .filter(|i| !done[*i])
            .map(|i| ops[i].returned)
            .min()
            .unwrap_or(Time::MAX);
        if owed == UNKNOWN {
            return Ok(());
        }
        for i in (0..ops.len()).filter(|i| !done[*i] && ops[*i].invoked <= owed) {
            if let Some(after) = register.after(ops[i], spec) {
                let mut done = done.clone();
                done[i] = true;
                if seen.insert((done.clone(), after.clone())) {
                    open.push((done, after));
                }
            }
        }
    }
    Err(String::from("no order explains what the clients saw"))
}

impl<'a> Register<'a> {
    fn after(&self, op: &Op<'a>, spec: Spec) -> Option<Self> {
        let mut next = self.clone();
        match op.effect {
            Effect::Read {
                version,
                value,
                position,
            } if spec == Spec::Versions => {
                next.see(version)?;
                let explained = match (value, self.value) {
                    (None, _) => true,
                    (Some(seen), None) => seen.is_empty(),
                    (Some(seen), Some(value)) => seen == value,
                };
                (explained && position >= self.position).then_some(())?;
                next.position = position;
            }
            Effect::Read { version: 0, .. } => self.value.is_none().then_some(())?,
            Effect::Read { value, .. } => (self.value == value).then_some(())?,
            Effect::Write {
                value,
                expected,
                done,
            } => {
                if spec == Spec::Versions {
                    if let Some(expected) = expected {
                        next.see(expected)?;
                    }
                    next.write(done)?;
                }
                next.value = Some(value);
            }
        }
        Some(next)
    }

    /// The version turns out to be `version`.
    fn see(&mut self, version: u64) -> Option<()> {
        let possible = if self.exact {
            version == self.version
        } else {
            version >= self.version
        };
        possible.then_some(())?;
        (self.version, self.exact) = (version, true);
        Some(())
    }

    fn write(&mut self, done: Option<Done>) -> Option<()> {
        let (version, position) = (self.version + 1, self.position + 1);
        match done {
            None => (self.version, self.exact, self.position) = (version, false, position),
            Some(done) => {
                (done.version >= version && done.position >= position).then_some(())?;
                (self.version, self.exact, self.position) = (done.version, true, done.position);
            }
        }
        Some(())
    }
}
