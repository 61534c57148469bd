//! What an operator chooses.

use super::{HOSTED, Hosting};
use crate::{Algorithm, Members, NodeId, Protocol};
use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

/// Choices that hold for a whole cluster.
pub struct Options<H: Hosting> {
    /// The group's.
    pub group: <H::Group as Algorithm>::Options,
    /// The outer protocol's. Who coordinates is not among them: [`HOSTED`] does.
    pub outer: <H::Outer as Algorithm>::Options,
    /// How many machines, the last ones, hold the group's replicas; at least 1. Default: none, which
    /// means all. A machine without a replica has its own node of the outer protocol and nothing else.
    pub replicas: Option<usize>,
    /// Records of the hosted node that a replica keeps before the host is asked to reclaim; at least 1.
    /// Default: 16,384.
    pub reclaim_every: usize,
    /// Entries of the group's log that a replica applies before it takes a snapshot, and lets go of them;
    /// at least 1. Default: 16,384.
    pub compact_every: usize,
    /// Bytes of a snapshot that one message carries; at least 1. Default: 1 MiB, well below what a
    /// transport takes for one message.
    pub snapshot_part: usize,
    /// A planted bug: what a host says without writing leaves at once, without proof that it still
    /// leads. A deposed leader answers from what it no longer knows.
    #[cfg(feature = "faults")]
    pub unproven: bool,
}

impl<H: Hosting> Default for Options<H> {
    fn default() -> Self {
        Self {
            group: Default::default(),
            outer: Default::default(),
            replicas: None,
            reclaim_every: 16_384,
            compact_every: 16_384,
            snapshot_part: 1 << 20,
            #[cfg(feature = "faults")]
            unproven: false,
        }
    }
}

impl<H: Hosting> Clone for Options<H> {
    fn clone(&self) -> Self {
        Self {
            group: self.group.clone(),
            outer: self.outer.clone(),
            replicas: self.replicas,
            reclaim_every: self.reclaim_every,
            compact_every: self.compact_every,
            snapshot_part: self.snapshot_part,
            #[cfg(feature = "faults")]
            unproven: self.unproven,
        }
    }
}

impl<H: Hosting> fmt::Debug for Options<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("group", &self.group)
            .field("outer", &self.outer)
            .field("replicas", &self.replicas)
            .field("reclaim_every", &self.reclaim_every)
            .field("compact_every", &self.compact_every)
            .field("snapshot_part", &self.snapshot_part)
            .finish()
    }
}

/// One machine's configuration.
pub struct Config<H: Hosting> {
    pub(super) node: NodeId,
    /// Who holds the group's replicas.
    pub(super) replicas: Vec<NodeId>,
    /// Of this machine's replica, or of the first where it has none.
    pub(super) group: <H::Group as Protocol>::Config,
    pub(super) own: <H::Outer as Protocol>::Config,
    pub(super) hosted: <H::Outer as Protocol>::Config,
    pub(super) reclaim_every: usize,
    pub(super) compact_every: usize,
    pub(super) snapshot_part: usize,
    pub(super) unproven: bool,
}

impl<H: Hosting> Config<H> {
    /// Validates.
    ///
    /// # Errors
    /// A sentence for a person when the options do not fit the members, or one of them is [`HOSTED`].
    pub fn new(options: &Options<H>, members: &Members, node: NodeId) -> Result<Self, String> {
        let outer = H::outer(&options.outer);
        let everybody = Members::new(members.iter().chain([HOSTED])).map_err(|e| e.to_string())?;
        let positive = [
            ("reclaim_every", options.reclaim_every),
            ("compact_every", options.compact_every),
            ("snapshot_part", options.snapshot_part),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, number)| *number == 0) {
            return Err(format!("{name} must be more than zero"));
        }
        let count = options.replicas.unwrap_or(members.count());
        let first = members.count().checked_sub(count).filter(|_| count > 0);
        let Some(first) = first else {
            let machines = members.count();
            return Err(format!("replicas = {count}: there are {machines} machines"));
        };
        let replicas: Vec<NodeId> = members.iter().skip(first).collect();
        let group = Members::new(replicas.iter().copied()).map_err(|e| e.to_string())?;
        let replica = if replicas.contains(&node) {
            node
        } else {
            replicas[0]
        };
        Ok(Self {
            node,
            replicas,
            group: H::Group::config(&options.group, &group, replica)?,
            own: H::Outer::config(&outer, &everybody, node)?,
            hosted: H::Outer::config(&outer, &everybody, HOSTED)?,
            reclaim_every: options.reclaim_every,
            compact_every: options.compact_every,
            snapshot_part: options.snapshot_part,
            #[cfg(feature = "faults")]
            unproven: options.unproven,
            #[cfg(not(feature = "faults"))]
            unproven: false,
        })
    }
}

impl<H: Hosting> Config<H> {
    pub(super) fn is_replica(&self) -> bool {
        self.replicas.contains(&self.node)
    }
}

impl<H: Hosting> Clone for Config<H> {
    fn clone(&self) -> Self {
        Self {
            node: self.node,
            replicas: self.replicas.clone(),
            group: self.group.clone(),
            own: self.own.clone(),
            hosted: self.hosted.clone(),
            reclaim_every: self.reclaim_every,
            compact_every: self.compact_every,
            snapshot_part: self.snapshot_part,
            unproven: self.unproven,
        }
    }
}
