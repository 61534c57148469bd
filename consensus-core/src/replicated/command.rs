//! What a host proposes to its group.

use crate::{Boot, Lsn, NodeId, codec};
use bytes::Bytes;

/// A command in the group's log. Every replica reads the same commands in the same order, and so knows
/// the same of the hosted node's disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// A leader takes office: the next run of the hosted node begins, and every older one is over. The
    /// run is the number of these in the log.
    Begin {
        /// The machine.
        node: NodeId,
        /// In which of its runs.
        boot: Boot,
        /// Which attempt of that.
        attempt: u64,
    },
    /// A record of the hosted node. Counts while `run` is the newest and `previous` the last record
    /// that counted.
    Write {
        /// Whose.
        run: Boot,
        /// The record before it; a gap would be no legal state.
        previous: Lsn,
        /// Its number.
        lsn: Lsn,
        /// The record.
        record: Bytes,
    },
    /// The hosted node needs nothing older than `before`. Counts while `run` is the newest.
    Release {
        /// Whose.
        run: Boot,
        /// What to keep from.
        before: Lsn,
    },
}

codec! {
    Command version 1 {
        1 since 1 Log => Begin { node, boot, attempt },
        2 since 1 Log => Write { run, previous, lsn, record },
        3 since 1 Log => Release { run, before },
    }
}
