//! What an operator chooses, validated when it is made.

use alloc::{format, string::String, vec::Vec};
use consensus_core::{
    DecodeError, Decoder, Field, Members, NodeId, contract::atomic_commit::Outcome,
    service::atomic_commit::Limits,
};
use core::{ops::RangeInclusive, time::Duration};

/// What a coordinator answers to a participant about a transaction that it has no record of. Part of
/// the transaction's identity: every party to it goes by the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Presumption {
    /// It was aborted \[Mohan86\]: aborts are neither forced nor acknowledged.
    Abort,
    /// It was committed \[Mohan86\]: the participants are logged before they are asked, so that a crash
    /// can be told from a commit; commits are not acknowledged.
    Commit,
    /// Nothing: every outcome is forced and acknowledged, and a read-only participant is treated like
    /// any other. What has no record has no decision, and is aborted.
    Nothing,
}

impl Presumption {
    /// The answer about a transaction without a record.
    #[must_use]
    pub const fn presumed(self) -> Outcome {
        match self {
            Self::Commit => Outcome::Commit,
            Self::Abort | Self::Nothing => Outcome::Abort,
        }
    }

    /// Whether participants acknowledge `outcome`, because the coordinator must not forget it before:
    /// it is not the one that is presumed.
    #[must_use]
    pub const fn acknowledges(self, outcome: Outcome) -> bool {
        !matches!(
            (self, outcome),
            (Self::Abort, Outcome::Abort) | (Self::Commit, Outcome::Commit)
        )
    }
}

impl Field for Presumption {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u32).put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        match u32::take(input)? {
            0 => Ok(Self::Abort),
            1 => Ok(Self::Commit),
            2 => Ok(Self::Nothing),
            kind => Err(DecodeError::UnknownKind {
                kind: kind as u8,
                what: "Presumption",
            }),
        }
    }
}

/// Choices that hold for a whole cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// The only node that coordinates; none: every node may. Default: node 1.
    pub coordinator: Option<NodeId>,
    /// For transactions begun from now on. Default: [`Presumption::Abort`].
    pub presumption: Presumption,
    /// A participant with nothing to undo or redo takes no part in the second phase. Default: on;
    /// without effect under [`Presumption::Nothing`].
    pub read_only: bool,
    /// A single participant is handed the decision with its work. Default: on.
    pub one_phase: bool,
    /// How long to wait for votes or acknowledgements before asking again; the moment is drawn from
    /// once to twice this, and doubles with each round up to 64 times for acknowledgements. More than
    /// zero. Default: 100 ms, well above a round trip with two disk writes.
    pub resend: Duration,
    /// Rounds of asking for votes after which a transaction is aborted; at least 1. Default: 10.
    pub vote_rounds: u32,
    /// How long a prepared participant waits for the outcome before it inquires; the moment is drawn
    /// from once to twice this, and doubles with each round up to 64 times. More than zero. Default:
    /// 200 ms.
    pub inquire: Duration,
    /// Transactions that may be under way at a coordinator, and that a participant may know of; more
    /// are rejected as busy or voted down. At least 1. Default: 65,536.
    pub running_max: usize,
    /// How many transactions may begin after the oldest that is still under way: participants remember
    /// outcomes until that has passed. At least 1. Default: 1,048,576.
    pub span_max: u64,
    /// Outcomes that a coordinator remembers for clients after everybody has acknowledged them.
    /// Default: 4,096.
    pub remembered_max: usize,
    /// Records that one `Reclaim` may write anew; at least 1. Default: 256.
    pub reclaim_step: usize,
    /// Limits of the bank that harnesses run on this protocol.
    pub service: Limits,
    /// The planted bug, if any.
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            coordinator: Some(NodeId(1)),
            presumption: Presumption::Abort,
            read_only: true,
            one_phase: true,
            resend: Duration::from_millis(100),
            vote_rounds: 10,
            inquire: Duration::from_millis(200),
            running_max: 65_536,
            span_max: 1 << 20,
            remembered_max: 4_096,
            reclaim_step: 256,
            service: Limits::default(),
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

impl Options {
    /// Sets a choice by the name and value that scenario files write.
    ///
    /// # Errors
    /// When there is no such choice, or it has no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse().map_err(|_| format!("`{value}` is no number"));
        match (name, value) {
            ("presumption", "abort") => self.presumption = Presumption::Abort,
            ("presumption", "commit") => self.presumption = Presumption::Commit,
            ("presumption", "nothing") => self.presumption = Presumption::Nothing,
            ("remembered", _) => self.remembered_max = number()?,
            ("running", _) => self.running_max = number()?,
            ("vote-rounds", _) => self.vote_rounds = number()? as u32,
            ("coordinator", "any") => self.coordinator = None,
            ("one-phase", "off") => self.one_phase = false,
            ("read-only", "off") => self.read_only = false,
            _ => return Err(format!("`{name}={value}` is no option of twophase")),
        }
        Ok(())
    }
}

/// One node's configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    node: NodeId,
    members: Members,
    options: Options,
}

impl Config {
    /// Validates.
    ///
    /// # Errors
    /// When `node` or the coordinator is a stranger, or an option is out of its range. The operator's
    /// to mend; nothing has been started.
    pub fn new(node: NodeId, members: Members, options: Options) -> Result<Self, ConfigError> {
        let named = [Some(node), options.coordinator];
        if let Some(stranger) = named.into_iter().flatten().find(|n| !members.contains(*n)) {
            return Err(ConfigError::NotAMember(stranger));
        }
        let positive = [
            ("resend", !options.resend.is_zero()),
            ("vote_rounds", options.vote_rounds > 0),
            ("inquire", !options.inquire.is_zero()),
            ("running_max", options.running_max > 0),
            ("span_max", options.span_max > 0),
            ("reclaim_step", options.reclaim_step > 0),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, holds)| !holds) {
            return Err(ConfigError::Zero(field));
        }
        Ok(Self {
            node,
            members,
            options,
        })
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Who takes part.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The cluster's choices.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Whether this node begins transactions.
    #[must_use]
    pub fn coordinates(&self) -> bool {
        self.options
            .coordinator
            .is_none_or(|node| node == self.node)
    }
}

/// From once to twice `base`, doubled `round` times at most six.
pub(crate) fn backoff(base: Duration, round: u32) -> RangeInclusive<Duration> {
    let low = base * (1 << round.min(6));
    low..=low * 2
}

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A node outside the group has no part in it.
    #[error("node {0} is not one of the members")]
    NotAMember(NodeId),
    /// A number that must be at least one.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
}

/// Bugs that can be planted, to show that the checks find them. A closed list; each breaks one rule of
/// the protocol.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A yes vote leaves before the prepared record is on disk: the transaction commits, and a power
    /// loss makes this participant forget that it promised.
    VoteBeforeDisk,
    /// A commit leaves before its record is on disk: a power loss at the coordinator aborts elsewhere
    /// what one participant has committed.
    CommitBeforeDisk,
    /// A wrong `Early`: the client is told of a commit that is not on disk yet.
    WrongEarly,
    /// The coordinator forgets a commit at the first acknowledgement: whoever is still in doubt is told
    /// that it was aborted.
    ForgetsEarly,
    /// A participant in doubt aborts when it has waited long.
    InDoubtTimesOut,
    /// Nothing is remembered of an abort and nobody asks for which run a prepare was meant: one that
    /// comes late is prepared, and under presumed commit committed.
    LatePrepare,
    /// Transaction ids leave the boot out: after a restart an id is used again, and old votes and
    /// outcomes join the new transaction.
    IdReused,
    /// A participant without a record says that it never voted, whatever run of it was asked to.
    AmnesiacVoter,
    /// A vote that does not come in time counts as yes.
    SilenceIsConsent,
    /// A client that asks after a forgotten outcome is told the presumption.
    PresumesForClients,
}

#[cfg(feature = "faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::VoteBeforeDisk,
        Self::CommitBeforeDisk,
        Self::WrongEarly,
        Self::ForgetsEarly,
        Self::InDoubtTimesOut,
        Self::LatePrepare,
        Self::IdReused,
        Self::AmnesiacVoter,
        Self::SilenceIsConsent,
        Self::PresumesForClients,
    ];
}
