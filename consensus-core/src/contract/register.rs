//! Agreement on one value an instance.
//!
//! An [`Instance`] is a key and a version. Choosing version v+1 *is* the compare-and-set on
//! version v: nobody proposes v+1 without knowing what was chosen for v. Hence an acceptor whose disk
//! holds v+1 answers *superseded* for v ever after, and only then may forget v.
//!
//! Laws, for every protocol that speaks this contract:
//! 1. *Validity*: a chosen value was proposed for that instance.
//! 2. *Agreement*: every [`Event::Chosen`] of one instance, at every node and for ever, carries the
//!    same value.
//! 3. Every request with a token is answered by exactly one event with that token, unless the node
//!    crashes first or the request is cancelled.
//! 4. *Freshness*: a [`Request::Read`] is answered with a version at least as new as any that was
//!    chosen before the request was made.

use crate::{Field, Token, wire};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Names a register.
pub type Key = Bytes;

/// Counts the values of one register, from 1 upwards; 0 is before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u64);

impl Version {
    /// Before the first value.
    pub const ZERO: Self = Self(0);

    /// The version after this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version before this one; that of the first, and of zero, is zero.
    #[inline]
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Field for Version {
    fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(self.0, out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        input.varint("version").map(Self)
    }
}

/// One independent decision.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instance {
    /// The register.
    pub key: Key,
    /// Which of its values, from 1 upwards.
    pub version: Version,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key.escape_ascii(), self.version)
    }
}

impl Field for Instance {
    fn put(&self, out: &mut Vec<u8>) {
        self.key.put(out);
        self.version.put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self {
            key: Field::take(input)?,
            version: Field::take(input)?,
        })
    }
}

/// What the application asks of its node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Propose `value` for `instance`. The caller must know what was chosen for the version before.
    /// Answered by [`Event::Chosen`] (perhaps with another's value), [`Event::Superseded`],
    /// [`Event::Undecided`] or [`Event::Rejected`].
    Propose {
        /// Ties the answer to the request.
        token: Token,
        /// What is to be decided.
        instance: Instance,
        /// What to choose, if nothing else has been.
        value: Bytes,
    },
    /// Read the newest chosen version of a register. Answered by [`Event::Newest`],
    /// [`Event::Undecided`] or [`Event::Rejected`].
    Read {
        /// Ties the answer to the request.
        token: Token,
        /// The register.
        key: Key,
    },
    /// Stop working for a request that waits: its time is up. It may still be chosen. No event
    /// follows for this token.
    Cancel {
        /// The request.
        token: Token,
    },
    /// This node's application will not ask for `instance` again: what it learned about it may go
    /// once a newer version is on disk. Never answered, never endangers agreement.
    Forget {
        /// What is no longer needed.
        instance: Instance,
    },
}

/// What the application is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// `value` is chosen for `instance`, for ever. With a token: the answer to a proposal. Without:
    /// this node has learned it from others; at most once an instance and run.
    Chosen {
        /// The proposal that it answers, if any.
        token: Option<Token>,
        /// What is decided.
        instance: Instance,
        /// The one value.
        value: Bytes,
    },
    /// The answer to a read.
    Newest {
        /// The read that it answers.
        token: Token,
        /// The register.
        key: Key,
        /// The newest version chosen; zero when none is.
        version: Version,
        /// Its value; empty when there is none.
        value: Bytes,
    },
    /// A newer version is under way or chosen, so `instance` was decided long ago; what was chosen
    /// may be forgotten.
    Superseded {
        /// The proposal that it answers.
        token: Token,
        /// What was proposed for.
        instance: Instance,
        /// The newest version that is known to be under way.
        by: Version,
        /// Whether the value proposed has been put to acceptors. If not, it was certainly not
        /// chosen; if so, it may have been.
        offered: bool,
    },
    /// The attempts allowed by the configuration are used up. The proposal may still be chosen by
    /// somebody who found it at an acceptor: the outcome is unknown.
    Undecided {
        /// The request that it answers.
        token: Token,
    },
    /// Certainly not done.
    Rejected {
        /// The request that it answers.
        token: Token,
        /// Why not.
        reason: Reason,
    },
}

/// Why a request was certainly not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Too much is under way at this node; try again later.
    Busy,
    /// Ballots are used up by a hostile peer's; never safe to retry here.
    Exhausted,
    /// Version zero cannot be proposed.
    NoSuchVersion,
}
