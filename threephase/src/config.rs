//! What an operator chooses, validated when it is made.

use crate::Epoch;
use alloc::{format, string::String};
use consensus_core::{
    Members, NodeId, contract::atomic_commit::Transaction, service::atomic_commit::Limits,
};
use core::{ops::RangeInclusive, time::Duration};

/// How survivors end a transaction that its coordinator has left open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mode {
    /// By the states of the operational sites \[SkeenStonebraker83\]. Never blocks while a site that has
    /// not failed is left; atomic only where a site that keeps silent has failed.
    #[default]
    Classic,
    /// By a quorum and the newest attempt in it \[KeidarDolev98\]. Atomic under partitions and any delay;
    /// blocks whoever is outside a quorum.
    Quorum,
}

/// Choices that hold for a whole cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// How an orphaned transaction ends. Default: [`Mode::Classic`].
    pub mode: Mode,
    /// The only node that coordinates; none: every node may. Default: node 1.
    pub coordinator: Option<NodeId>,
    /// How long a coordinator waits for votes before it aborts. More than zero. Default: 1 s.
    pub votes: Duration,
    /// The longest that a message may take, with the disk write that it waits for. **Classic mode is
    /// atomic only while this is true**; in quorum mode it is a hint. All time-outs are multiples of it.
    /// More than zero. Default: 500 ms.
    pub bound: Duration,
    /// Decide with the first quorum of reports instead of waiting a while for all. Quorum mode only.
    /// Default: off: a late report may be the one that lets a transaction commit.
    pub eager: bool,
    /// Transactions that may be under way at a coordinator; more are rejected as busy. At least 1.
    /// Default: 65,536.
    pub running_max: usize,
    /// Transactions that a participant may know of; more are voted down. At least 1. Default: 1,048,576.
    pub parts_max: usize,
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
            mode: Mode::Classic,
            coordinator: Some(NodeId(1)),
            votes: Duration::from_secs(1),
            bound: Duration::from_millis(500),
            eager: false,
            running_max: 65_536,
            parts_max: 1 << 20,
            remembered_max: 4_096,
            reclaim_step: 256,
            service: Limits::default(),
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

impl Options {
    /// Sets what scenarios call `name` to `value`.
    ///
    /// # Errors
    /// When there is no such choice, or it has no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("mode", "classic") => self.mode = Mode::Classic,
            ("mode", "quorum") => self.mode = Mode::Quorum,
            ("eager", "") => self.eager = true,
            _ => return Err(format!("`{name}={value}` is no option of threephase")),
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
        if let Some(stranger) = named
            .into_iter()
            .flatten()
            .find(|node| !members.contains(*node))
        {
            return Err(ConfigError::NotAMember(stranger));
        }
        let positive = [
            ("votes", !options.votes.is_zero()),
            ("bound", !options.bound.is_zero()),
            ("running_max", options.running_max > 0),
            ("parts_max", options.parts_max > 0),
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
        let only = self.options.coordinator;
        only.is_none_or(|node| node == self.node)
    }

    pub(crate) const fn is_classic(&self) -> bool {
        matches!(self.options.mode, Mode::Classic)
    }
}

/// The coordinator's own round, before anybody is elected.
pub(crate) const fn first(transaction: Transaction) -> Epoch {
    Epoch {
        round: 1,
        node: transaction.coordinator,
    }
}

/// `base`, doubled `round` times at most six, to half as much again.
pub(crate) fn backoff(base: Duration, round: u32) -> RangeInclusive<Duration> {
    let low = base * (1 << round.min(6));
    low..=low + low / 2
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
    /// A yes vote leaves before its record is on disk.
    VoteBeforeDisk,
    /// A pre-commit is acknowledged before its record is on disk.
    UnloggedPreCommit,
    /// A vote that does not come in time counts as yes.
    SilenceIsConsent,
    /// A recovered site goes by its own state as if it had never failed.
    RecoveredDecides,
    /// A site reports its state to an election that it does not store, and goes on obeying older ones.
    ReportsBeforeElected,
    /// Any pre-commit in a quorum counts, whatever newer attempt stands beside it.
    IgnoresAttempts,
}

#[cfg(feature = "faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::VoteBeforeDisk,
        Self::UnloggedPreCommit,
        Self::SilenceIsConsent,
        Self::RecoveredDecides,
        Self::ReportsBeforeElected,
        Self::IgnoresAttempts,
    ];
}
