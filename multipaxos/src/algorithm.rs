//! Multi-Paxos as the harnesses see it.

use crate::{
    config::{Config, Options},
    invariant::MultiPaxosInvariants,
    node::MultiPaxos,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;
use consensus_core::{
    Algorithm, Boot, Contract, DiskId, Members, NodeId,
    contract::replicated_log::{Member, Membership},
    majority,
    service::{
        key_value::KeyValue,
        replicated_log::{Limits, LogService},
    },
};
use core::{ops::RangeInclusive, time::Duration};

impl Options {
    /// Sets one of them by its name, as the first step of a scenario writes it: `alpha=4`,
    /// `elections=off`.
    ///
    /// # Errors
    /// A sentence for a person when there is no such option or it takes no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(format!("`{name}` is on or off, not `{value}`")),
        };
        let number = || {
            let number = value.parse::<usize>();
            number.map_err(|_| format!("`{name}` is a number, not `{value}`"))
        };
        match name {
            "elections" => self.elections = switch()?,
            "parallel_write" => self.parallel_write = switch()?,
            "alpha" => self.alpha = number()? as u64,
            "lease_ms" => self.lease = Some(Duration::from_millis(number()? as u64)),
            "learners" => self.learners = number()?,
            "phase1" => self.phase1 = Some(number()?),
            "phase2" => self.phase2 = Some(number()?),
            "append_bytes_max" => self.append_bytes_max = number()?,
            "inflight_accepts_max" => self.inflight_accepts_max = number()?,
            "keep_bytes" => self.keep_bytes = number()?,
            _ => return Err(format!("`{name}` is no option of multipaxos")),
        }
        Ok(())
    }
}

impl Algorithm for MultiPaxos {
    const NAME: &'static str = "multipaxos";
    const CONTRACT: Contract = Contract::ReplicatedLog;

    type Options = Options;
    type Service = LogService<KeyValue>;
    type Invariants = MultiPaxosInvariants;

    fn config(options: &Options, members: &Members, node: NodeId) -> Result<Config, String> {
        let learners = options.learners.min(members.count() - 1);
        let mut all = members.iter().map(|node| Member {
            node,
            disk: DiskId::default(),
            context: Bytes::new(),
        });
        let membership = Membership {
            voters: all.by_ref().take(members.count() - learners).collect(),
            outgoing: Vec::new(),
            learners: all.collect(),
        };
        Config::joining(node, membership, options.clone()).map_err(|error| error.to_string())
    }

    fn service(options: &Options, _: &Members, node: NodeId, _: Boot) -> Self::Service {
        let limits = Limits {
            snapshot_bytes: options.snapshot_bytes,
            unrest: options.unrest,
            ..Limits::default()
        };
        LogService::new(node, KeyValue::default(), limits)
    }

    fn draw(members: &Members, chance: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Options {
        let count = members.count() as u64;
        let mut options = Options::default();
        if chance(0..=2) == 0 {
            let phase2 = chance(1..=count);
            options.phase2 = usize::try_from(phase2).ok();
            options.phase1 = usize::try_from(chance(count - phase2 + 1..=count)).ok();
        }
        options.heartbeat = Duration::from_millis(chance(20..=100));
        let shortest = Duration::from_millis(chance(0..=50));
        options.campaign = shortest..=shortest + Duration::from_millis(chance(20..=200));
        options.parallel_write = chance(0..=3) > 0;
        if chance(0..=1) == 0 {
            options.append_bytes_max = usize::try_from(chance(1..=300)).unwrap_or(300);
        }
        if chance(0..=1) == 0 {
            options.inflight_accepts_max = usize::try_from(chance(1..=4)).unwrap_or(4);
        }
        if chance(0..=2) > 0 {
            options.snapshot_bytes = usize::try_from(chance(30..=2_000)).unwrap_or(30);
        }
        options.keep_bytes = match chance(0..=1) {
            0 => 0,
            _ => usize::try_from(chance(0..=2_000)).unwrap_or(0),
        };
        if chance(0..=1) == 0 {
            options.unrest.every = chance(3..=60);
            options.unrest.voters = chance(0..=2) > 0;
        }
        if options.unrest.voters && options.phase1.is_none() {
            options.learners = usize::try_from(chance(0..=count / 2)).unwrap_or(0);
        }
        // No-ops by the thousand say little and take long.
        if chance(0..=9) > 0 {
            options.alpha = chance(2..=40);
        }
        if chance(0..=2) == 0 {
            // Longer than two rounds, so that it is renewed in time by the slowest clock.
            options.lease = Some(options.heartbeat * chance(2..=20) as u32);
        }
        options
    }

    fn needed(options: &Options, members: &Members) -> usize {
        if options.unrest.voters || options.learners > 0 {
            // Anybody may be needed.
            return members.count();
        }
        let majority = majority(members.count());
        let phase1 = options.phase1.unwrap_or(majority);
        phase1.max(options.phase2.unwrap_or(majority))
    }

    fn snapshot(&self) -> Option<consensus_core::contract::replicated_log::SnapshotId> {
        self.snapshot.as_ref().map(|manifest| manifest.id)
    }

    fn view(&self) -> Option<consensus_core::contract::replicated_log::LogView> {
        Some(consensus_core::Protocol::status(self).view(|node| self.is_sending_to(node)))
    }

    fn leader(&self) -> Option<NodeId> {
        self.leader_known()
    }
}
