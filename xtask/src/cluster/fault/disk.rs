//! Faults of disks: what a node is told to do to its own, and what must have come of it.

use super::{strike::Striker, tamper::tamper};
use crate::cluster::nodes::Nodes;
use anyhow::{Context as _, bail};
use consensus_core::{
    NodeId,
    fault::{Fault, FaultSpec, When},
};

/// Whether a node does it to its own disk.
pub(crate) const fn is_of_disks(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Eio(_) | Fault::Enospc(_) | Fault::Slowdisk(..)
    ) || is_sudden(fault)
}

/// Whether the process ends in the middle of a write.
pub(crate) const fn is_sudden(fault: &Fault) -> bool {
    matches!(fault, Fault::Torn(_) | Fault::Lost(_) | Fault::Powerloss)
}

/// Whether it is done to the log of a node that is down, which it cannot open again.
pub(crate) const fn damages(fault: &Fault) -> bool {
    matches!(fault, Fault::Rot(..) | Fault::Misdirect(_) | Fault::Wipe(_))
}

/// What a node is told.
fn command(spec: &FaultSpec) -> String {
    let nth = match spec.when {
        When::Nth(n) => n,
        When::At(_) | When::Start => 1,
    };
    match spec.fault {
        // Once: the file system marks the page clean, so the next sync lies. That is the point.
        Fault::Eio(_) => format!("eio {nth}"),
        Fault::Enospc(_) => format!("enospc {nth}"),
        Fault::Slowdisk(_, by) => format!("slow {}us", by.as_micros()),
        Fault::Torn(_) => "torn".to_owned(),
        _ => "lost".to_owned(),
    }
}

impl Striker {
    pub(super) async fn break_disks(
        &mut self,
        fault: usize,
        spec: &FaultSpec,
        victims: &[NodeId],
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        let command = command(spec);
        if !is_sudden(&spec.fault) {
            for node in victims {
                nodes.disk(*node, &command).await?;
            }
            return Ok(());
        }
        if let Some(target) = spec.fault.target() {
            self.victims.killed(target, victims);
        }
        // All of them first: a power loss waits for nobody.
        let running = nodes.alive();
        let victims: Vec<_> = victims.iter().filter(|n| running.contains(n)).collect();
        for node in &victims {
            nodes.disk(**node, &command).await?;
        }
        for node in victims {
            let how = nodes.await_end(*node).await?;
            self.note(fault, &format!("node {node} {how}"));
        }
        Ok(())
    }

    /// A fault of disks ends.
    pub(super) async fn mend_disks(
        &mut self,
        spec: &FaultSpec,
        victims: &[NodeId],
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        for node in victims {
            nodes.reap();
            match nodes.alive().contains(node) {
                true => nodes.disk(*node, "well").await?,
                false if matches!(spec.fault, Fault::Eio(_)) || is_sudden(&spec.fault) => {
                    self.restart(&[*node], nodes).await?;
                }
                false => {}
            }
        }
        Ok(())
    }

    /// Stops nodes, damages their logs, and sees that none of them opens its log again.
    pub(super) async fn damage(
        &mut self,
        fault: usize,
        spec: &FaultSpec,
        victims: &[NodeId],
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        for node in victims {
            if nodes.alive().contains(node) {
                // In order, so that what was acknowledged is sealed: rot in a record that nothing
                // vouches for cannot be told from a torn one.
                nodes.halt(*node).await?;
            }
            if let Some(target) = spec.fault.target() {
                self.victims.killed(target, victims);
            }
            let done = tamper(&spec.fault, self, &nodes.data(*node))?;
            self.damaged.insert(*node);
            let words = refusal(*node, nodes).await?;
            self.note(fault, &format!("{done}; {words}"));
        }
        Ok(())
    }

    /// At the end of a run: every node does what was promised of it, and those that an error or a
    /// loss of power has ended come back with a whole log.
    ///
    /// # Errors
    /// When one breaks a promise.
    pub(crate) async fn settle(&mut self, nodes: &mut Nodes) -> anyhow::Result<()> {
        nodes.reap();
        let specs: Vec<_> = self.schedule.faults.iter().cloned().enumerate().collect();
        for (fault, spec) in specs {
            let raised = self.raise(fault, nodes).await;
            raised.with_context(|| format!("--fault '{spec}'"))?;
            for node in self.victims_of(fault) {
                let runs = nodes.alive().contains(&node);
                let broken = |what: &str| format!("--fault '{spec}': node {node} {what}");
                match spec.fault {
                    Fault::Eio(_) if runs && !self.came_back(node) => {
                        self.note(fault, "it never struck: too few syncs");
                        nodes.disk(node, "well").await?;
                    }
                    Fault::Eio(_) if !runs => {
                        let words = nodes.fell(node).unwrap_or("is gone").to_owned();
                        let back = self.restart(&[node], nodes).await;
                        back.with_context(|| broken("does not come back from it"))?;
                        self.note(fault, &format!("{words}; whole after a restart"));
                    }
                    Fault::Enospc(_) if !runs && !self.damaged.contains(&node) => {
                        bail!(broken("has stopped, where it should have gone on"));
                    }
                    Fault::Enospc(_) => nodes.disk(node, "well").await?,
                    Fault::Torn(_) | Fault::Lost(_) | Fault::Powerloss if !runs => {
                        let back = self.restart(&[node], nodes).await;
                        back.with_context(|| broken("does not come back from it"))?;
                        self.note(fault, &format!("node {node} is whole after a restart"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The words with which a node refuses to start on a damaged disk.
///
/// # Errors
/// When it starts: it may have forgotten what it has promised.
pub(super) async fn refusal(node: NodeId, nodes: &mut Nodes) -> anyhow::Result<String> {
    match nodes.restart(node).await {
        Err(error) => {
            let said = error.to_string();
            // Warnings may stand before the one line that counts.
            let why = said.rsplit_once("error: ").map(|(_, why)| why);
            Ok(format!(
                "node {node} refuses to start: {}",
                why.unwrap_or(&said)
            ))
        }
        Ok(()) => bail!("node {node} has started on a disk that is damaged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_disks_become_commands() {
        for (text, expected) in [
            ("eio:2@7", "eio 7"),
            ("eio:2@3s", "eio 1"),
            ("enospc:2@3s+1s", "enospc 1"),
            ("slowdisk:2×50ms", "slow 50000us"),
            ("torn:2@1s", "torn"),
            ("lost:2@1s", "lost"),
            ("powerloss@1s", "lost"),
        ] {
            let spec: FaultSpec = text.parse().expect("it is a fault");
            assert!(is_of_disks(&spec.fault));
            assert_eq!(command(&spec), expected);
        }
    }
}
