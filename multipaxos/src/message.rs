//! What nodes say to each other.

use alloc::{boxed::Box, vec::Vec};
use consensus_core::{Ballot, DecodeError, Decoder, Field, Index, codec, log::Run};

/// Between a leader or candidate and everybody else, and (the last five) between any two nodes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Phase 1a, once for the whole log [Lamport01 §3]: a candidate asks what was accepted after
    /// `after`, up to which it knows every slot or has been told by this acceptor already.
    Prepare {
        /// The candidate's ballot.
        ballot: Ballot,
        /// The last slot that it does not ask about.
        after: Index,
        /// The ballot of the leader that has named the candidate its heir, and holds no lease any more;
        /// else zero.
        released: Ballot,
    },
    /// Phase 1b: nothing below `ballot` will be accepted any more, and this is what has been. Counts
    /// once all pages have come.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// What was accepted.
        page: Box<Page>,
    },
    /// Phase 1b of an acceptor that no longer holds slots asked about: they are chosen, and a snapshot
    /// that covers them is on its way beside this message. The promise counts only after it.
    Trimmed {
        /// The ballot promised.
        ballot: Ballot,
        /// The snapshot's last slot.
        through: Index,
    },
    /// The ballot asked under is too old.
    Reject {
        /// The ballot asked under.
        ballot: Ballot,
        /// The ballot that the acceptor has promised.
        promised: Ballot,
    },
    /// Phase 2a: the leader proposes entries. Whoever receives it may conclude that no other value was
    /// chosen in these slots under a lower ballot.
    Accept {
        /// The leader's ballot.
        ballot: Ballot,
        /// The entries; their epoch names the ballot that first proposed them.
        run: Run,
        /// The leader knows every slot up to here as chosen.
        chosen: Index,
    },
    /// Phase 2b: these slots are accepted under the ballot and on the sender's disk.
    Accepted {
        /// The leader's ballot.
        ballot: Ballot,
        /// The first slot.
        first: Index,
        /// The last slot.
        last: Index,
    },
    /// The leader knows every slot up to here as chosen. Sent when no accept is there to carry it. What
    /// is chosen is what the receiver has accepted under this ballot; of other slots it says nothing.
    Decide {
        /// The leader's ballot.
        ballot: Ballot,
        /// The last slot.
        chosen: Index,
    },
    /// The leader asks, for a read or a lease, whether its ballot is still the highest promised.
    Confirm {
        /// The leader's ballot.
        ballot: Ballot,
        /// Counts such questions.
        round: u64,
        /// Asks for a lease of so many nanoseconds; zero for none.
        lease: u64,
    },
    /// It was, at the sender, when the question came.
    Confirmed {
        /// The leader's ballot.
        ballot: Ballot,
        /// Which question.
        round: u64,
        /// The sender promises nobody else while the lease lasts that was asked for.
        granted: bool,
    },
    /// The leader gives leadership away: campaign at once.
    Succeed {
        /// The leader's ballot.
        ballot: Ballot,
    },
    /// Is anybody there? Sent by every node to every other, round after round.
    Heartbeat {
        /// Which round of the sender's.
        round: u64,
    },
    /// Yes. The receiver learns whom it can talk to in both directions.
    Alive {
        /// Which round of the receiver's.
        round: u64,
        /// What the sender has promised.
        promised: Ballot,
        /// Its own ballot when the sender leads and reaches a quorum; the leader's, when the sender
        /// has heard that from the leader itself lately; else zero.
        leader: Ballot,
        /// The sender knows every slot up to here as chosen.
        chosen: Index,
    },
    /// A replica asks for chosen entries that it lacks.
    Fetch {
        /// It has everything up to here.
        after: Index,
        /// It needs nothing after this.
        through: Index,
    },
    /// Chosen entries, in order.
    Learn {
        /// The entries.
        runs: Vec<Run>,
        /// The sender knows every slot up to here as chosen.
        chosen: Index,
    },
    /// What was asked for is no longer in the log; a snapshot that covers it is on its way beside this
    /// message, moved by the drivers.
    SnapshotSent {
        /// The snapshot's last slot.
        through: Index,
    },
}

impl Message {
    /// Under which ballot its sender leads, where only a leader sends such.
    #[inline]
    pub(crate) const fn led_by(&self) -> Option<Ballot> {
        match self {
            Self::Accept { ballot, .. }
            | Self::Decide { ballot, .. }
            | Self::Confirm { ballot, .. }
            | Self::Succeed { ballot } => Some(*ballot),
            Self::Prepare { .. }
            | Self::Promise { .. }
            | Self::Trimmed { .. }
            | Self::Reject { .. }
            | Self::Accepted { .. }
            | Self::Confirmed { .. }
            | Self::Heartbeat { .. }
            | Self::Alive { .. }
            | Self::Fetch { .. }
            | Self::Learn { .. }
            | Self::SnapshotSent { .. } => None,
        }
    }
}

/// What an acceptor has accepted in a stretch of slots.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    /// The stretch begins after this slot.
    pub after: Index,
    /// It ends with this slot.
    pub through: Index,
    /// Nothing was accepted after the stretch.
    pub last: bool,
    /// The acceptor knows every slot up to here as chosen; what it reports there is what was chosen.
    pub chosen: Index,
    /// The entries in slot order, with the ballot under which each run was accepted last.
    pub accepted: Vec<(Ballot, Run)>,
}

impl Field for Page {
    fn put(&self, out: &mut Vec<u8>) {
        self.after.put(out);
        self.through.put(out);
        self.last.put(out);
        self.chosen.put(out);
        self.accepted.put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            after: Field::take(input)?,
            through: Field::take(input)?,
            last: Field::take(input)?,
            chosen: Field::take(input)?,
            accepted: Field::take(input)?,
        })
    }
}

codec! {
    Message version 1 {
        1 since 1 Control => Prepare { ballot, after, released },
        2 since 1 Control => Promise { ballot, page },
        3 since 1 Control => Trimmed { ballot, through },
        4 since 1 Control => Reject { ballot, promised },
        5 since 1 Log => Accept { ballot, run, chosen },
        6 since 1 Log => Accepted { ballot, first, last },
        7 since 1 Log => Decide { ballot, chosen },
        8 since 1 Control => Confirm { ballot, round, lease },
        9 since 1 Control => Confirmed { ballot, round, granted },
        10 since 1 Control => Succeed { ballot },
        11 since 1 Control => Heartbeat { round },
        12 since 1 Control => Alive { round, promised, leader, chosen },
        13 since 1 Control => Fetch { after, through },
        14 since 1 Log => Learn { runs, chosen },
        15 since 1 Control => SnapshotSent { through },
    }
}
