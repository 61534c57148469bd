//! What an operator chooses.

use consensus_core::{NodeId, contract::replicated_log::Membership};
use core::{ops::RangeInclusive, time::Duration};

/// One node's configuration. Checked by [`Config::validate`] before a node starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Who belongs to the group before the log says anything else. The same on every node.
    pub members: Membership,
    /// How long a follower waits for its leader before it stands for election: a moment drawn anew
    /// each time. Default 150–300 ms [Ongaro14 §9.3]: an order of magnitude above a round trip and a
    /// disk write, wide enough that two rarely draw alike.
    pub election_timeout: RangeInclusive<Duration>,
    /// How often a leader that has nothing to say says so. Default 50 ms: three fit into the shortest
    /// election timeout.
    pub heartbeat: Duration,
    /// Ask before standing for election, so that an isolated node does not disturb the others when it
    /// returns [Ongaro14 §9.6]. Default on.
    pub pre_vote: bool,
    /// A leader that has not heard from a quorum for an election timeout steps down, and a follower
    /// that hears its leader ignores candidates [Ongaro14 §6.2, §4.2.3]. Default on.
    pub check_quorum: bool,
    /// Answer reads from a lease instead of a round of heartbeats: the share of the shortest election
    /// timeout, in percent, that the lease may use; the rest is the bound on how far two clocks drift
    /// apart in that time. Off (`None`) by default; needs `check_quorum`.
    pub lease_percent: Option<u8>,
    /// A leader sends entries while its own disk writes them [Ongaro14 §10.2.1]. Default on.
    pub parallel_write: bool,
    /// Payload bytes of one append. Default 1 MiB; an entry that is larger goes alone.
    pub append_bytes_max: usize,
    /// Payload bytes on their way to one follower. Default 16 MiB.
    pub inflight_bytes_max: usize,
    /// Appends on their way to one follower. Default 256.
    pub inflight_appends_max: usize,
    /// Entries that a node keeps behind its newest snapshot, in payload bytes, so that a follower
    /// that is a little behind needs no snapshot. Default 64 MiB.
    pub keep_bytes: usize,
    /// Commands that may wait uncommitted at a leader, in payload bytes; more are refused as busy.
    /// Default 64 MiB.
    pub uncommitted_bytes_max: usize,
    /// A planted bug.
    #[cfg(feature = "faults")]
    pub fault: Option<crate::Fault>,
}

impl Config {
    /// The defaults, for `node` in a group of `members`.
    #[must_use]
    pub const fn new(node: NodeId, members: Membership) -> Self {
        Self {
            node,
            members,
            election_timeout: Duration::from_millis(150)..=Duration::from_millis(300),
            heartbeat: Duration::from_millis(50),
            pre_vote: true,
            check_quorum: true,
            lease_percent: None,
            parallel_write: true,
            append_bytes_max: 1 << 20,
            inflight_bytes_max: 16 << 20,
            inflight_appends_max: 256,
            keep_bytes: 64 << 20,
            uncommitted_bytes_max: 64 << 20,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }

    /// Whether a node can run with it.
    ///
    /// # Errors
    /// The first field that breaks a rule, its value and the rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.members.voters.is_empty() {
            return Err(ConfigError::NoVoters);
        }
        if self.election_timeout.start() > self.election_timeout.end() {
            return Err(ConfigError::ElectionTimeout {
                start: *self.election_timeout.start(),
                end: *self.election_timeout.end(),
            });
        }
        if self.heartbeat.is_zero() || self.heartbeat >= *self.election_timeout.start() {
            return Err(ConfigError::Heartbeat {
                heartbeat: self.heartbeat,
                timeout: *self.election_timeout.start(),
            });
        }
        match self.lease_percent {
            Some(percent) if percent == 0 || percent >= 100 => Err(ConfigError::Lease { percent }),
            Some(_) if !self.check_quorum => Err(ConfigError::LeaseWithoutCheckQuorum),
            _ => Ok(()),
        }
    }
}

/// A configuration that cannot work: the operator's to mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nobody could ever lead.
    #[error("members.voters is empty; name at least one voter")]
    NoVoters,
    /// An empty range.
    #[error("election_timeout {start:?}..={end:?} is empty; the first must not exceed the second")]
    ElectionTimeout {
        /// The shortest.
        start: Duration,
        /// The longest.
        end: Duration,
    },
    /// Followers would time out between two heartbeats.
    #[error(
        "heartbeat {heartbeat:?} must be above zero and below the shortest election timeout {timeout:?}"
    )]
    Heartbeat {
        /// The interval.
        heartbeat: Duration,
        /// The shortest election timeout.
        timeout: Duration,
    },
    /// Not a share of anything.
    #[error("lease_percent {percent} must lie between 1 and 99")]
    Lease {
        /// The value.
        percent: u8,
    },
    /// Without it followers elect another leader while the lease lasts.
    #[error("lease_percent needs check_quorum, without which a lease protects nothing")]
    LeaseWithoutCheckQuorum,
}
