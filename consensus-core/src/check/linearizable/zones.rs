//! The zone test for a register whose written values are unique \[GibbonsKorach97\].
//!
//! A value's *cluster* is its write and the reads that saw it. In any legal order a cluster stands
//! together, so all that matters of it is its *zone*, between its earliest answer and its latest
//! call. If the earliest answer comes first the zone is *forward*: the register certainly held the
//! value throughout. Otherwise it is *backward*: the whole cluster fits into any moment of it.
//!
//! ```text
//!     forward   write |--a--|      |--b--| read       a answers before b is asked:
//!                           [zone--]                  held from a's answer to b's call
//!     backward  write |---a---|
//!               read     |---b---|                    one moment that suits everybody
//!                        [zone]
//! ```
//!
//! The history is linearizable iff each read's write exists and was asked before the read's answer,
//! no two forward zones overlap, and no backward zone lies inside a forward one.

use super::{Effect, Op, UNKNOWN};
use crate::Time;
use alloc::{format, string::String, vec::Vec};
use std::collections::HashMap;

/// A cluster, by the operations that bound its zone.
struct Cluster<'a, 'b> {
    /// None: the initial value, written before everything.
    write: Option<&'a Op<'b>>,
    /// None: the initial value's write.
    earliest: Option<&'a Op<'b>>,
    latest: &'a Op<'b>,
    read: bool,
}

impl Cluster<'_, '_> {
    /// The earliest answer; none is before every moment.
    fn answered(&self) -> Option<Time> {
        self.earliest.map(|op| op.returned)
    }

    /// The latest call.
    fn asked(&self) -> Time {
        self.latest.invoked
    }

    fn is_forward(&self) -> bool {
        self.answered() < Some(self.asked())
    }
}

pub(super) fn check(ops: &[Op<'_>]) -> Result<(), String> {
    let mut zones = clusters(ops)?;
    // A write of unknown outcome that nobody saw may never have happened: it constrains nothing.
    zones.retain(|zone| zone.read || zone.write.is_some_and(|write| write.returned < UNKNOWN));
    let (mut forward, backward): (Vec<_>, Vec<_>) =
        zones.into_iter().partition(Cluster::is_forward);
    forward.sort_by_key(Cluster::answered);
    for pair in forward.windows(2) {
        if pair[1].answered() < Some(pair[0].asked()) {
            return Err(torn(&pair[0], &pair[1]));
        }
    }
    for inner in &backward {
        let next = forward.partition_point(|zone| zone.answered() < Some(inner.asked()));
        // The zones are disjoint by now: only the last one that begins before can reach this far.
        if let Some(outer) = next.checked_sub(1).map(|last| &forward[last])
            && inner.answered() < Some(outer.asked())
        {
            return Err(torn(outer, inner));
        }
    }
    Ok(())
}

fn clusters<'a, 'b>(ops: &'a [Op<'b>]) -> Result<Vec<Cluster<'a, 'b>>, String> {
    let mut clusters = Vec::new();
    let mut by_value = HashMap::with_capacity(ops.len());
    for op in ops {
        if let Effect::Write { value, .. } = op.effect {
            by_value.insert(value, clusters.len());
            clusters.push(Cluster {
                write: Some(op),
                earliest: Some(op),
                latest: op,
                read: false,
            });
        }
    }
    let mut initial: Option<Cluster<'a, 'b>> = None;
    for op in ops.iter().filter(|op| op.returned < UNKNOWN) {
        let Effect::Read { version, value, .. } = op.effect else {
            continue;
        };
        if version == 0 {
            let cluster = initial.get_or_insert(Cluster {
                write: None,
                earliest: None,
                latest: op,
                read: true,
            });
            if op.invoked > cluster.latest.invoked {
                cluster.latest = op;
            }
            continue;
        }
        let Some(cluster) = value.and_then(|value| by_value.get(value)) else {
            return Err(format!("{op}, which nobody ever wrote"));
        };
        join(&mut clusters[*cluster], op)?;
    }
    clusters.extend(initial);
    Ok(clusters)
}

fn join<'a, 'b>(cluster: &mut Cluster<'a, 'b>, read: &'a Op<'b>) -> Result<(), String> {
    cluster.read = true;
    if let Some(write) = cluster.write
        && read.precedes(write)
    {
        return Err(format!("{read} from the future: {write}"));
    }
    if Some(read.returned) < cluster.answered() {
        cluster.earliest = Some(read);
    }
    if read.invoked > cluster.asked() {
        cluster.latest = read;
    }
    Ok(())
}

fn torn(one: &Cluster<'_, '_>, other: &Cluster<'_, '_>) -> String {
    let side = |cluster: &Cluster<'_, '_>| match cluster.earliest {
        Some(earliest) if core::ptr::eq(earliest, cluster.latest) => format!("{earliest}"),
        Some(earliest) => format!("{earliest} until {}", cluster.latest),
        None => format!("nothing is written until {}", cluster.latest),
    };
    format!("{}; but within that time {}", side(one), side(other))
}
