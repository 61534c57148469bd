//! What an operator chooses.

use super::{HOSTED, Hosting};
use crate::{Algorithm, Members, NodeId, Protocol};
use alloc::string::{String, ToString};
use core::fmt;

/// Choices that hold for a whole cluster.
pub struct Options<H: Hosting> {
    /// The group's.
    pub group: <H::Group as Algorithm>::Options,
    /// The outer protocol's. Who coordinates is not among them: [`HOSTED`] does.
    pub outer: <H::Outer as Algorithm>::Options,
    /// Records of the hosted node that a replica keeps before the host is asked to reclaim; at least 1.
    /// Default: 16,384.
    pub reclaim_every: usize,
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
            reclaim_every: 16_384,
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
            reclaim_every: self.reclaim_every,
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
            .field("reclaim_every", &self.reclaim_every)
            .finish()
    }
}

/// One machine's configuration.
pub struct Config<H: Hosting> {
    pub(super) node: NodeId,
    pub(super) group: <H::Group as Protocol>::Config,
    pub(super) own: <H::Outer as Protocol>::Config,
    pub(super) hosted: <H::Outer as Protocol>::Config,
    pub(super) reclaim_every: usize,
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
        if options.reclaim_every == 0 {
            return Err(String::from("reclaim_every must be more than zero"));
        }
        Ok(Self {
            node,
            group: H::Group::config(&options.group, members, node)?,
            own: H::Outer::config(&outer, &everybody, node)?,
            hosted: H::Outer::config(&outer, &everybody, HOSTED)?,
            reclaim_every: options.reclaim_every,
            #[cfg(feature = "faults")]
            unproven: options.unproven,
            #[cfg(not(feature = "faults"))]
            unproven: false,
        })
    }
}

impl<H: Hosting> Clone for Config<H> {
    fn clone(&self) -> Self {
        Self {
            node: self.node,
            group: self.group.clone(),
            own: self.own.clone(),
            hosted: self.hosted.clone(),
            reclaim_every: self.reclaim_every,
            unproven: self.unproven,
        }
    }
}
