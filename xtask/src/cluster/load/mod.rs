//! The clients: what they ask, when, of whom, and what they write down.

mod asker;
mod attempt;
mod book;
mod closed;
mod open;
mod outage;
mod probe;
mod router;
#[cfg(test)]
mod tests;

pub(crate) use attempt::Caller;
pub(crate) use book::{Book, Ledger, Transfers};
pub(crate) use outage::Outages;
pub(crate) use probe::{probe, serves};
pub(crate) use router::Router;

use bench::{recorder::Window, workload::Workload};
use consensus_core::{Contract, NodeId};
use net_quic::Client;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use tokio::{task::JoinSet, time::Instant};

/// A load and everything that its clients share.
pub(crate) struct Load<C> {
    /// How many nodes, from the first, the work is for.
    pub(crate) nodes: u16,
    /// What nodes promise, which decides how clients ask.
    pub(crate) contract: Contract,
    /// What is asked.
    pub(crate) workload: Workload,
    /// How many clients.
    pub(crate) clients: u32,
    /// Operations a second of an open loop.
    pub(crate) rate: Option<f64>,
    /// What is measured, and when clients give up.
    pub(crate) window: Window,
    /// Reaches the nodes.
    pub(crate) caller: C,
    /// Which node to ask.
    pub(crate) router: Router,
    /// What came of it.
    pub(crate) ledger: Ledger,
    /// When service came back after faults.
    pub(crate) outages: Arc<Outages>,
    /// When the run began, warm-up included.
    pub(crate) began: Instant,
}

impl Load<Vec<Client>> {
    /// Nodes may have come since.
    pub(crate) fn reach(&self, addresses: &BTreeMap<NodeId, SocketAddr>) {
        for (node, address) in addresses {
            for line in &self.caller {
                line.set_address(*node, *address);
            }
            self.router.grow(node.0);
        }
    }
}

/// Starts all clients. They end by themselves: nothing is asked after the window, and everything
/// asked is answered or given up.
///
/// # Errors
/// When the workload cannot be run.
pub(crate) fn start<C: Caller>(load: &Arc<Load<C>>) -> anyhow::Result<JoinSet<()>> {
    match load.rate {
        None => closed::start(load),
        Some(rate) => open::start(load, rate),
    }
}
