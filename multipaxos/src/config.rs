//! What an operator chooses.

use consensus_core::{
    DiskId, Flexible, Members, NodeId, QuorumError,
    contract::replicated_log::{Member, Membership},
    service::Unrest,
};
use core::{ops::RangeInclusive, time::Duration};

/// Choices that hold for a whole cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Members that must promise before a leader proposes \[Howard16\]. Default: none, which is a
    /// majority; so is every group for whose size this and [`phase2`](Self::phase2) do not fit.
    pub phase1: Option<usize>,
    /// Members that must accept before a slot is chosen, and that must confirm a read. Default: none,
    /// which is a majority.
    pub phase2: Option<usize>,
    /// Whether nodes look for a leader by themselves. Default on. Off: a node campaigns only when its
    /// application asks for leadership to be handed to this very node, so that something outside
    /// decides who should lead.
    pub elections: bool,
    /// How often a node asks the others whether they live, and whom they follow. Default 50 ms: well
    /// above a round trip with a disk write. A leader that is not heard in two such rounds is taken
    /// for gone.
    pub heartbeat: Duration,
    /// How long a node that misses a leader waits before it campaigns: a moment drawn anew each time.
    /// Default 20–150 ms: wide enough that two rarely draw alike.
    pub campaign: RangeInclusive<Duration>,
    /// For how long an acceptor that answers its leader's question promises nobody else, so that the
    /// leader answers reads without asking. Off (none) by default. Whoever succeeds a leader that does
    /// not hand over waits for so long at most. **The same on every node**: a leader does without where
    /// it is shorter. A node that granted leases and is restarted without them has to stay down for one.
    pub lease: Option<Duration>,
    /// By how many percent any node's clock may run too fast or too slow while a lease lasts; beyond
    /// that, reads from a lease may be stale. Default 5, far above what clocks do; 49 at most.
    pub clock_drift_percent: u8,
    /// A leader sends entries while its own disk writes them. Default on.
    pub parallel_write: bool,
    /// Payload bytes of one accept, one page of a promise and one page of catching up. Default 1 MiB;
    /// an entry that is larger goes alone.
    pub append_bytes_max: usize,
    /// Payload bytes on their way to one acceptor. Default 16 MiB.
    pub inflight_bytes_max: usize,
    /// An entry about members in slot c governs the slots from c + α on [Lamport01 §3], so a leader has
    /// less than α slots under way. Two at least. Default 16,384: more than it takes to fill any link,
    /// and as many no-ops at most that a change costs. **The same on every node, and for ever.**
    pub alpha: u64,
    /// Accepts on their way to one acceptor. Default 256.
    pub inflight_accepts_max: usize,
    /// Entries that a node keeps behind its newest snapshot, in payload bytes, so that a replica that
    /// is a little behind needs no snapshot. Default 64 MiB.
    pub keep_bytes: usize,
    /// Commands that may wait unchosen at a leader, in payload bytes; more are refused as busy.
    /// Default 64 MiB.
    pub unchosen_bytes_max: usize,
    /// For harnesses: so many of a cluster's nodes, the last ones, are founded as learners. Default 0.
    pub learners: usize,
    /// See [`Limits::snapshot_bytes`](consensus_core::service::replicated_log::Limits::snapshot_bytes).
    pub snapshot_bytes: usize,
    /// See [`Limits::unrest`](consensus_core::service::replicated_log::Limits::unrest).
    pub unrest: Unrest,
    /// The planted bug, if any.
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            phase1: None,
            phase2: None,
            elections: true,
            heartbeat: Duration::from_millis(50),
            campaign: Duration::from_millis(20)..=Duration::from_millis(150),
            lease: None,
            clock_drift_percent: 5,
            parallel_write: true,
            append_bytes_max: 1 << 20,
            inflight_bytes_max: 16 << 20,
            inflight_accepts_max: 256,
            alpha: 16_384,
            keep_bytes: 64 << 20,
            unchosen_bytes_max: 64 << 20,
            learners: 0,
            snapshot_bytes: 0,
            unrest: Unrest::default(),
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

impl Options {
    /// A lease that ends before it is renewed is none.
    fn check_lease(&self) -> Result<(), ConfigError> {
        if self.clock_drift_percent > 49 {
            return Err(ConfigError::ClockDrift(self.clock_drift_percent));
        }
        match self.lease_trusted() {
            Some(trusted) if trusted <= self.heartbeat * 9 / 8 => Err(ConfigError::Lease {
                trusted,
                heartbeat: self.heartbeat,
            }),
            _ => Ok(()),
        }
    }
}

/// One node's configuration: valid once made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Who belongs to the group before the log says otherwise. The same on every node, those included
    /// that the log takes in later.
    pub members: Membership,
    /// What holds for the whole cluster.
    pub options: Options,
}

impl Config {
    /// A configuration for `node`, one of the `members` that found a group.
    ///
    /// # Errors
    /// The first choice that breaks a rule.
    pub fn new(node: NodeId, members: Members, options: Options) -> Result<Self, ConfigError> {
        if !members.contains(node) {
            return Err(ConfigError::Stranger(node));
        }
        let voters = members.iter().map(|node| Member {
            node,
            disk: DiskId::default(),
            context: bytes::Bytes::new(),
        });
        let membership = Membership {
            voters: voters.collect(),
            ..Membership::default()
        };
        Self::joining(node, membership, options)
    }

    /// A configuration for `node` in a group that was founded with these `members`, itself among them
    /// or not: who is not follows, and votes when the log says so.
    ///
    /// # Errors
    /// The first choice that breaks a rule.
    pub fn joining(
        node: NodeId,
        members: Membership,
        options: Options,
    ) -> Result<Self, ConfigError> {
        if options.heartbeat.is_zero() {
            return Err(ConfigError::Heartbeat);
        }
        if options.campaign.start() > options.campaign.end() {
            return Err(ConfigError::Campaign {
                start: *options.campaign.start(),
                end: *options.campaign.end(),
            });
        }
        options.check_lease()?;
        if options.alpha < 2 {
            return Err(ConfigError::Alpha(options.alpha));
        }
        let voters = Members::new(members.voters.iter().map(|member| member.node))?;
        let majority = consensus_core::majority(voters.count());
        let phase1 = options.phase1.unwrap_or(majority);
        let phase2 = options.phase2.unwrap_or(majority);
        Flexible::new(voters, phase1, phase2)?;
        Ok(Self {
            node,
            members,
            options,
        })
    }
}

/// A configuration that cannot work: the operator's to mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nobody would ask it.
    #[error("node {0} is not among the members; name it there")]
    Stranger(NodeId),
    /// Quorums that cannot be gathered or need not overlap.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// A leader that may have nothing under way.
    #[error("alpha {0} lets nobody propose; two at least")]
    Alpha(u64),
    /// A lease that is over before it is renewed.
    #[error("a lease trusted for {trusted:?} must last longer than 9/8 of heartbeat {heartbeat:?}")]
    Lease {
        /// What clock drift leaves of it.
        trusted: Duration,
        /// How often it is renewed.
        heartbeat: Duration,
    },
    /// Clocks that nothing can be told by.
    #[error("clock_drift_percent {0} leaves nothing of a lease; 49 at most")]
    ClockDrift(u8),
    /// A round that never ends.
    #[error("heartbeat must be above zero")]
    Heartbeat,
    /// An empty range.
    #[error("campaign {start:?}..={end:?} is empty; the first must not exceed the second")]
    Campaign {
        /// The shortest.
        start: Duration,
        /// The longest.
        end: Duration,
    },
}

/// Bugs that can be planted, to show that the checks find them. A closed list; each breaks one
/// sentence of the papers.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A promise is sent before it is on disk: after a power loss the acceptor accepts under an older
    /// ballot, although a newer leader was told that there is nothing.
    PromiseBeforeDisk,
    /// The values of the promise that holds the highest ballot are taken for all slots, not the
    /// highest ballot's of each slot.
    OnePromiseForAll,
    /// A hole is filled with a new command instead of a no-op.
    HoleFilledWithCommand,
    /// An acceptor that has trimmed its log answers a candidate that it has nothing there.
    TrimmedSaysNothing,
    /// A replica executes what it has accepted under an older ballot because the leader says that
    /// everything up to there is chosen.
    ChosenUnverified,
    /// A leader counts acceptances of an older ballot of its own.
    LateAcceptances,
    /// A change of members governs the very next slot, although others may be under way.
    ChangeInForceAtOnce,
    /// A leader proposes to a new group that it has not asked for promises.
    NewGroupNotAsked,
    /// An acceptor promises others while the lease lasts that it has granted.
    LeaseNotKept,
    /// A leader trusts a lease for longer than clocks may differ.
    LeaseWithoutBound,
}

#[cfg(feature = "faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::PromiseBeforeDisk,
        Self::OnePromiseForAll,
        Self::HoleFilledWithCommand,
        Self::TrimmedSaysNothing,
        Self::ChosenUnverified,
        Self::LateAcceptances,
        Self::ChangeInForceAtOnce,
        Self::NewGroupNotAsked,
        Self::LeaseNotKept,
        Self::LeaseWithoutBound,
    ];
}
