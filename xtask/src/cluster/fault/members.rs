//! Members that come and go, and leadership that is handed over, while clients are at work.

use super::strike::Striker;
use crate::cluster::nodes::Nodes;
use anyhow::Context as _;
use consensus_core::{
    NodeId,
    fault::{Fault, Target},
    runtime::{ManageError, Management as _},
};
use std::time::{Duration, Instant};

/// A group that takes longer for one step has not got through.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether it changes who belongs, or who leads.
pub(crate) const fn is_of_members(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Add(_) | Fault::Remove(_) | Fault::Readmit(_) | Fault::Transfer(_)
    )
}

impl Striker {
    /// Whether a fault changes who belongs, or who leads.
    pub(crate) fn is_of_members(&self, fault: usize) -> bool {
        is_of_members(&self.schedule.faults[fault].fault)
    }

    pub(super) async fn change_members(
        &mut self,
        fault: usize,
        kind: &Fault,
        victims: &[NodeId],
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        for node in victims {
            let began = Instant::now();
            let what = match kind {
                Fault::Add(_) => self.add(*node, nodes).await,
                Fault::Readmit(_) => self.readmit(*node, nodes).await,
                Fault::Remove(_) => {
                    nodes.operator().remove(*node, PATIENCE).await?;
                    let gone = began.elapsed();
                    nodes.halt(*node).await?;
                    Ok(format!(
                        "node {node} was let go after {}, and stopped",
                        ms(gone)
                    ))
                }
                _ => transfer(kind, *node, nodes).await,
            }?;
            self.note(fault, &format!("{what} after {}", ms(began.elapsed())));
        }
        Ok(())
    }

    async fn add(&mut self, node: NodeId, nodes: &mut Nodes) -> anyhow::Result<String> {
        let member = nodes.join(node).await?;
        self.nodes = self.nodes.max(node.0);
        let operator = nodes.operator();
        operator.add_learner(member, PATIENCE).await?;
        operator.promote(node, PATIENCE).await?;
        Ok(format!("node {node} votes"))
    }

    async fn readmit(&mut self, node: NodeId, nodes: &mut Nodes) -> anyhow::Result<String> {
        let member = nodes.renew(node)?;
        let index = nodes.operator().readmit(member, PATIENCE).await?;
        nodes.rejoin(node, index).await?;
        self.damaged.remove(&node);
        nodes.operator().promote(node, PATIENCE).await?;
        Ok(format!("node {node} votes again"))
    }
}

/// The leader hands over to whoever is best placed; any other node is the one handed to.
async fn transfer(kind: &Fault, node: NodeId, nodes: &Nodes) -> anyhow::Result<String> {
    let to = match kind {
        Fault::Transfer(Target::Leader | Target::Coordinator) => None,
        _ => Some(node),
    };
    let handed = nodes.operator().transfer_leadership(to, PATIENCE).await;
    match handed {
        Ok(leader) => Ok(format!("node {leader} leads")),
        Err(ManageError::TransferFailed) => Ok("leadership stayed where it was".to_owned()),
        Err(error) => Err(error).context("handing leadership over"),
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
