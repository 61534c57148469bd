//! What an operator chooses, validated when it is made.

use crate::Backoff;
use alloc::{format, string::String};
use consensus_core::{Flexible, Members, NodeId, QuorumError};
use core::time::Duration;

/// Choices that hold for a whole cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// Members that must promise before a value is put to them \[Howard16\]. Default: none, which is a
    /// majority. A read needs as many.
    pub phase1: Option<usize>,
    /// Members that must accept before a value is chosen. Default: none, which is a majority.
    pub phase2: Option<usize>,
    /// Ask only as many members as a quorum needs, and the others once an answer is late or a peer
    /// unreachable. Fewer messages while all is well, a delay of [`resend`](Self::resend) when it is
    /// not; hence off by default.
    pub thrifty: bool,
    /// How long to wait after a lost ballot. Default: exponential from 2 ms, at most 128 ms.
    pub backoff: Backoff,
    /// Which ballot comes next. Default: [`Ballots::Outrank`].
    pub ballots: Ballots,
    /// When a ballot counts as lost. Default: [`GiveUp::QuorumLost`].
    pub give_up: GiveUp,
    /// Rounds begun, or repeated for want of answers, after which a request is answered
    /// `Undecided`; at least 1. Default: none, never before it is cancelled.
    pub attempts: Option<u32>,
    /// How long to wait for answers before asking again; the moment is drawn from once to twice
    /// this. More than zero. Default: 100 ms, well above a round trip with two disk writes.
    pub resend: Duration,
    /// How long a read that has found an acceptance of unknown fate waits for its proposer before it
    /// completes the proposal itself; the moment is drawn from once to twice this. Default: 10 ms.
    /// Shorter preempts proposers that are alive, longer delays reads after a proposer's death.
    pub repair: Duration,
    /// Proposals and reads that may run at this node at a time; more are rejected as busy. At least
    /// 1. Default: 65,536.
    pub running_max: usize,
    /// Keys that one `Reclaim` may write anew; at least 1. Default: 256.
    pub reclaim_step: usize,
    /// Limits of the register service that harnesses run on this protocol.
    pub service: consensus_core::service::register::Limits,
    /// The planted bug, if any.
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

impl Options {
    /// Sets what scenarios call `name` to `value`: `thrifty`, `phase1=2`, `phase2=2`.
    ///
    /// # Errors
    /// When there is no such choice, or it has no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse().map_err(|_| format!("`{value}` is no number"));
        match (name, value) {
            ("thrifty", "") => self.thrifty = true,
            ("phase1", _) => self.phase1 = Some(number()?),
            ("phase2", _) => self.phase2 = Some(number()?),
            _ => return Err(format!("`{name}={value}` is no option of paxos")),
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            phase1: None,
            phase2: None,
            thrifty: false,
            backoff: Backoff::Exponential {
                base: Duration::from_millis(1),
                cap: Duration::from_millis(128),
            },
            ballots: Ballots::Outrank,
            give_up: GiveUp::QuorumLost,
            attempts: None,
            resend: Duration::from_millis(100),
            repair: Duration::from_millis(10),
            running_max: 65_536,
            reclaim_step: 256,
            service: consensus_core::service::register::Limits::default(),
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

/// Which ballot follows a lost one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ballots {
    /// Above the highest that was seen: one loss suffices to catch up with any rival.
    Outrank,
    /// The next of one's own, whatever was seen. Loses as often as it is behind; for comparison.
    Increment,
}

/// When a proposer takes its ballot for lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GiveUp {
    /// At the first rejection.
    FirstReject,
    /// When those that have not rejected it are no quorum any more, or keep silent.
    QuorumLost,
}

/// One node's configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    node: NodeId,
    quorums: Flexible,
    options: Options,
}

impl Config {
    /// Validates.
    ///
    /// # Errors
    /// When `node` is a stranger, quorums need not overlap, or an option is out of its range. The
    /// operator's to mend; nothing has been started.
    pub fn new(node: NodeId, members: Members, options: Options) -> Result<Self, ConfigError> {
        if node == NodeId(0) || !members.contains(node) {
            return Err(ConfigError::NotAMember(node));
        }
        let majority = consensus_core::majority(members.count());
        let quorums = Flexible::new(
            members,
            options.phase1.unwrap_or(majority),
            options.phase2.unwrap_or(majority),
        )?;
        let positive = [
            ("attempts", options.attempts != Some(0)),
            ("resend", !options.resend.is_zero()),
            ("running_max", options.running_max > 0),
            ("reclaim_step", options.reclaim_step > 0),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, holds)| !holds) {
            return Err(ConfigError::Zero(field));
        }
        Ok(Self {
            node,
            quorums,
            options,
        })
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Who takes part, and which sets of them decide.
    #[must_use]
    pub const fn quorums(&self) -> &Flexible {
        &self.quorums
    }

    /// The cluster's choices.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A node outside the group has no part in it.
    #[error("node {0} is not one of the members")]
    NotAMember(NodeId),
    /// The quorums decide without each other, or cannot be gathered.
    #[error(transparent)]
    Quorums(#[from] QuorumError),
    /// A number that must be at least one.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
}

/// Bugs that can be planted, to show that the checks find them. A closed list; each breaks one
/// sentence of the paper.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A promise is sent before it is on disk: after a power loss the acceptor takes an older
    /// ballot, although a newer proposer was told that there is nothing.
    PromiseBeforeDisk,
    /// An acceptance is sent before it is on disk: a chosen value is forgotten by a power loss.
    AcceptedBeforeDisk,
    /// A wrong `Early`: the proposer counts its own promise and acceptance before its own disk has
    /// them, and announces as held by a quorum what a quorum does not hold.
    WrongEarly,
    /// Ballots leave the boot out: a restarted proposer whose own promise was lost uses a ballot
    /// again, with another value.
    BallotReused,
    /// Acceptances of different ballots are counted together: no single ballot has a quorum.
    LearnerMixesBallots,
    /// The proposer takes the first value that a promise reports instead of the one with the
    /// highest ballot: a value may be chosen already and is passed over [Lamport01 §2.2, P2c].
    WrongPromiseValue,
    /// Accepting a ballot leaves the promise where it was: an acceptor that accepted ballot 2
    /// without preparing it goes back to ballot 1.
    AcceptDoesNotRaisePromise,
    /// A read answers with the newest acceptance that it finds, chosen or not.
    ReadUnchosen,
}

#[cfg(feature = "faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PromiseBeforeDisk,
        Self::AcceptedBeforeDisk,
        Self::WrongEarly,
        Self::BallotReused,
        Self::LearnerMixesBallots,
        Self::WrongPromiseValue,
        Self::AcceptDoesNotRaisePromise,
        Self::ReadUnchosen,
    ];
}
