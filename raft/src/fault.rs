//! Bugs that can be planted, to show that the checks find them.

/// A closed list; each breaks one sentence of the paper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A vote is sent before it is on disk: after a power loss the voter votes again in the same term
    /// [Ongaro14 §3.8].
    VoteBeforeDisk,
    /// The vote is written before the term that it belongs to: a crash between the two leaves it as a
    /// second vote in the old term.
    TermAndVoteApart,
    /// A leader counts its own log before its own disk has it: what is committed may be on fewer disks
    /// than a majority [Ongaro14 §10.2.1].
    OwnAckBeforeSync,
    /// Entries of older terms are committed by counting replicas [Ongaro14 figure 3.7].
    CountsOldTerms,
    /// A late, shorter append cuts the log off behind it [Ongaro14 §3.5].
    ShorterAppendTruncates,
    /// A follower commits as far as its log goes, although the leader's append has vouched for less.
    CommitsUnverified,
    /// Members are changed while a change is pending, and before the term has committed anything
    /// \[Ongaro15\].
    ChangeWhilePending,
    /// Reads are answered before the term has committed anything: the commit index may lie behind
    /// what the leader before has committed [Ongaro14 §6.4].
    ReadBeforeOwnCommit,
    /// A candidate takes office before its own term is on disk: after a power loss it leads the same
    /// term again, with another log.
    LeadsBeforeDisk,
    /// The application is told of a restored snapshot only when it is recorded, and of the entry after
    /// it before that.
    CommitOvertakesSnapshot,
    /// A leader answers another node's question about reads without asking anybody whether it still
    /// leads [Ongaro14 §6.4].
    AnswersUnconfirmed,
    /// A node takes the answer to a question of its last run for one to a question of this one.
    AnswersAcrossRuns,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::VoteBeforeDisk,
        Self::TermAndVoteApart,
        Self::OwnAckBeforeSync,
        Self::CountsOldTerms,
        Self::ShorterAppendTruncates,
        Self::CommitsUnverified,
        Self::ChangeWhilePending,
        Self::ReadBeforeOwnCommit,
        Self::LeadsBeforeDisk,
        Self::CommitOvertakesSnapshot,
        Self::AnswersUnconfirmed,
        Self::AnswersAcrossRuns,
    ];
}
