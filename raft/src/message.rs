//! What nodes say to each other.

use alloc::boxed::Box;
use consensus_core::{
    Boot, Index, codec,
    contract::replicated_log::{Manifest, Membership},
    log::Run,
};

/// Every message carries the sender's term, and every receiver looks at it first
/// [Ongaro14 §3.3]; one function does so for all of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// A candidate asks for a vote, or (pre-vote) asks whether it would get one. Nothing follows
    /// from it but an answer.
    RequestVote {
        /// The term of the election; in a pre-vote the one that would follow.
        term: u64,
        /// The last entry of the candidate's log.
        last: Index,
        /// The term of that entry.
        last_term: u64,
        /// Only asking: nobody's term or vote changes [Ongaro14 §9.6].
        pre: bool,
        /// The leader itself asked for this election, so stickiness does not hold it up
        /// [Ongaro14 §4.2.3].
        transfer: bool,
    },
    /// The answer. A grant binds the voter for the whole term; a pre-vote binds nobody. A refused
    /// pre-vote carries the voter's own term, so that a candidate that fell behind learns of it.
    Vote {
        /// The term voted in; of a refusal the voter's own.
        term: u64,
        /// Whether the vote is given.
        granted: bool,
        /// The answer to a pre-vote.
        pre: bool,
    },
    /// A leader replicates entries. The receiver may conclude that everything before `run` agrees
    /// with the leader's log if the entry before it does (log matching).
    Append {
        /// The leader's term.
        term: u64,
        /// The entries, with the place and term of the one before the first.
        run: Run,
        /// What the leader knows to be committed.
        commit: Index,
    },
    /// The entries up to `matched` agree with the leader's and are on the sender's disk.
    Appended {
        /// The leader's term.
        term: u64,
        /// The last entry that agrees.
        matched: Index,
    },
    /// The entry before the run does not agree, or is missing.
    Conflict {
        /// The follower's term.
        term: u64,
        /// The entry that the leader asked about.
        asked: Index,
        /// Where the two logs may agree at most.
        hint: Index,
        /// The term of the follower's entry there.
        hint_term: u64,
    },
    /// A leader is alive. Numbered, so that a read is confirmed by a round that began after it
    /// [Ongaro14 §6.4].
    Heartbeat {
        /// The leader's term.
        term: u64,
        /// What the leader knows to be committed.
        commit: Index,
        /// Which round.
        round: u64,
    },
    /// The answer to a heartbeat.
    Heard {
        /// The leader's term.
        term: u64,
        /// Which round.
        round: u64,
    },
    /// A leader with nothing to send says what is committed. Asks for no answer: the next heartbeat
    /// says it again.
    Commit {
        /// The leader's term.
        term: u64,
        /// What the leader knows to be committed.
        commit: Index,
    },
    /// The follower needs entries that the leader no longer has: a snapshot is on its way beside
    /// this message, moved by the drivers.
    InstallSnapshot {
        /// The leader's term.
        term: u64,
        /// What is sent.
        manifest: Box<Manifest>,
    },
    /// Start an election at once [Ongaro14 §3.10]. Bound to the term and the log it was sent for.
    TimeoutNow {
        /// The leader's term.
        term: u64,
        /// The leader's last entry: a target that does not hold it ignores the message.
        last: Index,
    },
    /// A node that does not lead asks how far it must have applied to answer its reads
    /// [Ongaro14 §6.4]. Numbered within one run of that node, so that an answer to an earlier run's
    /// question confirms nothing.
    ReadIndex {
        /// The term of the leader asked.
        term: u64,
        /// The run of the node that asks.
        boot: Boot,
        /// Which question of that run.
        number: u64,
    },
    /// After the question was asked, a quorum has confirmed that its receiver leads, or the lease
    /// says so: what was committed before it stands at or before `index`. Answers every question of
    /// the run up to that number.
    ReadIndexed {
        /// The leader's term.
        term: u64,
        /// The run of the node that asked.
        boot: Boot,
        /// Which question.
        number: u64,
        /// How far it must have applied.
        index: Index,
    },
    /// A node that stands for election, and whose log lacks the committed entry that let it go, is
    /// told so: nobody replicates to it any more, and it would ask for ever [Ongaro14 §4.2.3].
    Removed {
        /// The sender's term.
        term: u64,
        /// The entry that says who belongs.
        index: Index,
        /// All of them.
        members: Box<Membership>,
    },
}

codec! {
    Message version 1 {
        1 since 1 Control => RequestVote { term, last, last_term, pre, transfer },
        2 since 1 Control => Vote { term, granted, pre },
        3 since 1 Log => Append { term, run, commit },
        4 since 1 Log => Appended { term, matched },
        5 since 1 Log => Conflict { term, asked, hint, hint_term },
        6 since 1 Control => Heartbeat { term, commit, round },
        7 since 1 Control => Heard { term, round },
        8 since 1 Control => InstallSnapshot { term, manifest },
        9 since 1 Control => TimeoutNow { term, last },
        10 since 1 Log => Commit { term, commit },
        11 since 1 Control => ReadIndex { term, boot, number },
        12 since 1 Control => ReadIndexed { term, boot, number, index },
        13 since 1 Control => Removed { term, index, members },
    }
}

impl Message {
    /// The sender's term. Of a pre-vote request: the term that it asks about, which nobody has yet.
    #[inline]
    #[must_use]
    pub const fn term(&self) -> u64 {
        match self {
            Self::RequestVote { term, .. }
            | Self::Vote { term, .. }
            | Self::Append { term, .. }
            | Self::Appended { term, .. }
            | Self::Conflict { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::Heard { term, .. }
            | Self::Commit { term, .. }
            | Self::InstallSnapshot { term, .. }
            | Self::TimeoutNow { term, .. }
            | Self::ReadIndex { term, .. }
            | Self::ReadIndexed { term, .. }
            | Self::Removed { term, .. } => *term,
        }
    }
}
