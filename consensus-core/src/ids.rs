//! Who is who. Three identities that are never one word: a node ([`NodeId`]), the disk it writes to
//! ([`DiskId`]) and one run of it ([`Boot`]).

use core::fmt;

/// A member of a cluster, from 1 upwards. Stable over restarts; named in the node's certificate.
///
/// `NodeId(0)` belongs to nobody: it stands for "no owner" where an epoch has none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u16);

/// A cluster: every certificate, frame and log segment names it, so that two clusters cannot mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClusterId(pub u128);

/// A formatted disk. Drawn once, by the explicit act that formats a folder; a wiped folder is
/// another disk and never answers for the node that was there before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DiskId(pub u128);

/// One run of a node: a durable counter, raised and synced once a start before anything is sent.
///
/// It is part of every [`Ballot`](crate::Ballot) and transaction id, so that nothing is ever used
/// twice without a write a use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Boot(pub u32);

/// One of several protocols on one node, in wire and log frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupId(pub u32);

/// Ties an event to the request it answers. Drawn by the application, unique within one run of
/// the node among requests that still wait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Token(pub u64);

/// A client, for exactly-once execution. Drawn at random by the client itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClientId(pub u128);

/// The place of a request among one client's requests, from 1 upwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Sequence(pub u64);

/// The number of a log record on one node and group, from 1 upwards. Never reused: a truncation is
/// a record too, so an acknowledgement can never be mistaken for another write of the same index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first record; always durable.
    pub const ZERO: Self = Self(0);

    /// The record after this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Records between `older` and `self`; zero when `self` is the older one.
    #[inline]
    #[must_use]
    pub const fn beyond(self, older: Self) -> u64 {
        self.0.saturating_sub(older.0)
    }
}

/// A place in a replicated log, from 1 upwards; 0 is the place before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Index(pub u64);

impl Index {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one; the place before the first is itself.
    #[inline]
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

macro_rules! shown_as_number {
    ($($name:ident $prefix:literal),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}
shown_as_number!(NodeId "", Boot "", GroupId "", Token "", Sequence "", Lsn "", Index "");

macro_rules! shown_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    )*};
}
shown_as_hex!(ClusterId, DiskId, ClientId);
