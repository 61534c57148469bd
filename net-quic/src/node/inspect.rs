//! What a node tells an operator about itself.

use crate::Stats;
use crate::snapshots::{Depot, Transfer};
use consensus_core::{
    Boot, DiskId, NodeId,
    contract::replicated_log::{LogView, Member, PeerView},
    runtime::Watch,
    service::Group,
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// What operators may ask of a node.
pub(super) struct Inspected {
    pub(super) algorithm: &'static str,
    pub(super) node: NodeId,
    pub(super) boot: Boot,
    pub(super) disk: DiskId,
    pub(super) watch: Watch,
    pub(super) group: watch::Receiver<Option<Arc<Group>>>,
    pub(super) stats: Arc<Stats>,
    pub(super) depot: Option<Arc<Depot>>,
}

impl Inspected {
    /// As JSON. Fields may be added, never renamed.
    pub(super) fn text(
        &self,
        connected: &[NodeId],
        certificate_expires: Duration,
        round_trips: &BTreeMap<NodeId, Duration>,
    ) -> String {
        let status = self.watch.status();
        let snapshots = self.depot.as_ref().map(|depot| depot.status());
        let snapshots = snapshots.unwrap_or_default();
        let counts = self.watch.counts();
        let stages = counts.stages_us();
        let counted: BTreeMap<_, _> = counts.iter().collect();
        let connected: Vec<_> = connected.iter().map(|node| node.0).collect();
        json!({
            "algorithm": self.algorithm,
            "node": self.node.0,
            "boot": self.boot.0,
            "disk": self.disk.to_string(),
            "leader": status.leader.map(|node| node.0),
            "status": status.protocol,
            "log": status.log.as_ref().map(|view| log(view, counts.applied)),
            "members": self.group.borrow().as_deref().map(members),
            "round_trips_us": round_trips
                .iter()
                .map(|(node, time)| (node.to_string(), micros(*time)))
                .collect::<BTreeMap<_, _>>(),
            "last": status.last.0,
            "durable": status.durable.0,
            "disk_full": status.disk_full,
            "connected": connected,
            "certificate_expires_seconds": certificate_expires.as_secs(),
            "snapshots": {
                "kept": snapshots.kept,
                "not_kept": snapshots.not_kept,
                "sent": snapshots.sent,
                "failed": snapshots.failed,
                "received": snapshots.received,
                "sending": snapshots.sending.iter().map(transfer).collect::<Vec<_>>(),
                "receiving": snapshots.receiving.as_ref().map(transfer),
            },
            "counts": counted,
            "stages_us": {
                "queue": stages.queue,
                "sync": stages.sync,
                "network": stages.network,
                "apply": stages.apply,
            },
            "transport": self.stats.all(),
        })
        .to_string()
    }
}

fn members(group: &Group) -> serde_json::Value {
    let member = |member: &Member| {
        json!({
            "node": member.node.0,
            "disk": (member.disk != DiskId::default()).then(|| member.disk.to_string()),
            "address": crate::address_of(member),
        })
    };
    let list = |members: &[Member]| members.iter().map(member).collect::<Vec<_>>();
    json!({
        "index": group.index.0,
        "settled": group.is_settled,
        "voters": list(&group.members.voters),
        "outgoing": list(&group.members.outgoing),
        "learners": list(&group.members.learners),
    })
}

fn transfer(transfer: &Transfer) -> serde_json::Value {
    json!({
        "peer": transfer.peer.0,
        "bytes": transfer.bytes,
        "size": transfer.size,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn log(view: &LogView, applied: u64) -> serde_json::Value {
    let peer = |peer: &PeerView| {
        json!({
            "node": peer.node.0,
            "matched": peer.matched.0,
            "in_flight": peer.in_flight(),
            "snapshot": peer.snapshot,
            "active": peer.active,
        })
    };
    json!({
        "role": view.role.name(),
        "epoch": view.epoch.to_string(),
        "last": view.last.0,
        "commit": view.commit.0,
        "applied": applied,
        "base": view.base.0,
        "bytes": view.bytes,
        "peers": view.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}
