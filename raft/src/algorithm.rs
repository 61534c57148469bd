//! Raft as the harnesses see it.

use crate::{
    config::Config,
    invariant::RaftInvariants,
    node::{Raft, Role},
};
use alloc::{string::String, string::ToString, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Algorithm, Boot, Contract, DiskId, Members, NodeId, Protocol,
    contract::replicated_log::{LogView, Member, Membership, SnapshotId},
    service::{
        Unrest,
        key_value::KeyValue,
        replicated_log::{Limits, LogService},
    },
};
use core::{ops::RangeInclusive, time::Duration};

/// Choices that hold for a whole cluster; the fields of [`Config`] that harnesses vary.
#[derive(Clone, Debug)]
pub struct Options {
    /// See [`Config::election_timeout`].
    pub election_timeout: RangeInclusive<Duration>,
    /// See [`Config::heartbeat`].
    pub heartbeat: Duration,
    /// See [`Config::pre_vote`].
    pub pre_vote: bool,
    /// See [`Config::check_quorum`].
    pub check_quorum: bool,
    /// See [`Config::lease_percent`].
    pub lease_percent: Option<u8>,
    /// See [`Config::parallel_write`].
    pub parallel_write: bool,
    /// See [`Config::append_bytes_max`].
    pub append_bytes_max: usize,
    /// See [`Config::inflight_appends_max`].
    pub inflight_appends_max: usize,
    /// See [`Config::keep_bytes`].
    pub keep_bytes: usize,
    /// See [`Limits::reads_anywhere`].
    pub reads_anywhere: bool,
    /// See [`Limits::snapshot_bytes`].
    pub snapshot_bytes: usize,
    /// See [`Limits::unrest`].
    pub unrest: Unrest,
    /// A planted bug.
    #[cfg(feature = "faults")]
    pub fault: Option<crate::Fault>,
}

impl Default for Options {
    fn default() -> Self {
        let config = Config::new(NodeId(1), Membership::default());
        Self {
            election_timeout: config.election_timeout,
            heartbeat: config.heartbeat,
            pre_vote: config.pre_vote,
            check_quorum: config.check_quorum,
            lease_percent: config.lease_percent,
            parallel_write: config.parallel_write,
            append_bytes_max: config.append_bytes_max,
            inflight_appends_max: config.inflight_appends_max,
            keep_bytes: config.keep_bytes,
            reads_anywhere: false,
            snapshot_bytes: 0,
            unrest: Unrest::default(),
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

impl Options {
    /// Sets one of them by its name, as the first step of a scenario writes it: `pre_vote=off`,
    /// `keep_bytes=0`, `lease_percent=50`.
    ///
    /// # Errors
    /// A sentence for a person when there is no such option or it takes no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(alloc::format!("`{name}` is on or off, not `{value}`")),
        };
        let number = || {
            let number = value.parse::<usize>();
            number.map_err(|_| alloc::format!("`{name}` is a number, not `{value}`"))
        };
        match name {
            "pre_vote" => self.pre_vote = switch()?,
            "check_quorum" => self.check_quorum = switch()?,
            "reads_anywhere" => self.reads_anywhere = switch()?,
            "parallel_write" => self.parallel_write = switch()?,
            "lease_percent" => self.lease_percent = u8::try_from(number()?).ok(),
            "append_bytes_max" => self.append_bytes_max = number()?,
            "inflight_appends_max" => self.inflight_appends_max = number()?,
            "keep_bytes" => self.keep_bytes = number()?,
            _ => return Err(alloc::format!("`{name}` is no option of raft")),
        }
        Ok(())
    }
}

impl Algorithm for Raft {
    const NAME: &'static str = "raft";
    const CONTRACT: Contract = Contract::ReplicatedLog;

    type Options = Options;
    type Service = LogService<KeyValue>;
    type Invariants = RaftInvariants;

    fn config(options: &Options, members: &Members, node: NodeId) -> Result<Config, String> {
        let voters: Vec<Member> = members
            .iter()
            .map(|node| Member {
                node,
                disk: DiskId::default(),
                context: Bytes::new(),
            })
            .collect();
        let membership = Membership {
            voters,
            ..Membership::default()
        };
        let config = Config {
            election_timeout: options.election_timeout.clone(),
            heartbeat: options.heartbeat,
            pre_vote: options.pre_vote,
            check_quorum: options.check_quorum,
            lease_percent: options.lease_percent,
            parallel_write: options.parallel_write,
            append_bytes_max: options.append_bytes_max,
            inflight_appends_max: options.inflight_appends_max,
            keep_bytes: options.keep_bytes,
            #[cfg(feature = "faults")]
            fault: options.fault,
            ..Config::new(node, membership)
        };
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn service(options: &Options, _: &Members, node: NodeId, _: Boot) -> Self::Service {
        let limits = Limits {
            reads_anywhere: options.reads_anywhere,
            snapshot_bytes: options.snapshot_bytes,
            unrest: options.unrest,
            ..Limits::default()
        };
        LogService::new(node, KeyValue::default(), limits)
    }

    fn draw(_: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options {
        let shortest = Duration::from_millis(chance(50..=300));
        let range = Duration::from_millis(chance(20..=300));
        Options {
            election_timeout: shortest..=shortest + range,
            heartbeat: shortest / chance(2..=5) as u32,
            pre_vote: chance(0..=3) > 0,
            // Without it a leader that nobody can answer stays one for ever: that has its own test.
            check_quorum: true,
            lease_percent: (chance(0..=2) == 0).then(|| chance(20..=80) as u8),
            parallel_write: chance(0..=3) > 0,
            append_bytes_max: if chance(0..=1) == 0 {
                1 << 20
            } else {
                chance(1..=300) as usize
            },
            inflight_appends_max: if chance(0..=1) == 0 {
                256
            } else {
                chance(1..=4) as usize
            },
            keep_bytes: if chance(0..=1) == 0 {
                0
            } else {
                chance(0..=2_000) as usize
            },
            snapshot_bytes: if chance(0..=2) == 0 {
                0
            } else {
                chance(30..=1_000) as usize
            },
            unrest: Unrest {
                every: if chance(0..=1) == 0 {
                    0
                } else {
                    chance(5..=40)
                },
                voters: false,
            },
            reads_anywhere: chance(0..=1) == 0,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.members.snapshot().map(|manifest| manifest.id)
    }

    fn view(&self) -> Option<LogView> {
        Some(self.status().into())
    }

    fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Leader(_) => Some(self.config.node),
            _ => self.leader,
        }
    }
}
