//! What an acceptor must remember. A proposer writes nothing: its ballots carry the durable
//! [`Boot`](consensus_core::Boot), so no run of it can use one twice.

use bytes::Bytes;
use consensus_core::{Ballot, codec, contract::register::Instance};

/// One fact of an acceptor; both kinds are forced. Replayed by taking the maximum, so that every
/// prefix of a log, and every log that repeats older facts, is a legal state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Record {
    /// Nothing below `ballot` will be accepted any more. Losing this would allow an older proposal
    /// to be accepted after a newer proposer was told that there is none: two values chosen.
    Promised {
        /// For what.
        instance: Instance,
        /// Up to where.
        ballot: Ballot,
    },
    /// `value` is accepted under `ballot`, and nothing below it will be. Losing this would allow a
    /// value that was chosen to be forgotten, and another to be chosen. One record, because an
    /// acceptance without its promise would leave room for an older ballot.
    Accepted {
        /// For what.
        instance: Instance,
        /// Under which ballot.
        ballot: Ballot,
        /// What.
        value: Bytes,
    },
}

codec! {
    Record version 1 {
        1 since 1 Log => Promised { instance, ballot },
        2 since 1 Log => Accepted { instance, ballot, value },
    }
}
