//! A whole node of a replicated state machine.

use super::{RunningNode, Settings, StartError, start_with};
use consensus_core::{
    StateMachine,
    contract::replicated_log::{Event, Request},
    runtime::{Leaderships, NodeError, Progress, Replica, ReplicaWatch, Runnable},
    service::replicated_log::Limits,
};
use std::ops::Deref;

/// A protocol that agrees on a sequence.
pub trait LogProtocol: Runnable<Request = Request, Event = Event> {}

impl<A: Runnable<Request = Request, Event = Event>> LogProtocol for A {}

/// A node of a replicated state machine. Everything of [`RunningNode`], and how far its state is.
#[derive(Debug)]
pub struct ReplicaNode<A: LogProtocol> {
    node: RunningNode<A>,
    watch: ReplicaWatch,
}

/// Opens the disk, binds the socket and starts a node around `machine`.
///
/// # Errors
/// [`StartError`].
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start_replica<A: LogProtocol, S: StateMachine + Send + 'static>(
    settings: Settings<A>,
    limits: Limits,
    machine: S,
) -> Result<ReplicaNode<A>, StartError> {
    let (replica, watch) = Replica::new(settings.node, machine, limits);
    let node = start_with(settings, |_, _, _, _| Box::new(replica)).await?;
    Ok(ReplicaNode { node, watch })
}

impl<A: LogProtocol> Deref for ReplicaNode<A> {
    type Target = RunningNode<A>;

    fn deref(&self) -> &RunningNode<A> {
        &self.node
    }
}

impl<A: LogProtocol> ReplicaNode<A> {
    /// How far it has come, and who leads.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.watch.progress()
    }

    /// The same, for whoever outlives the node.
    #[must_use]
    pub const fn watch(&self) -> &ReplicaWatch {
        &self.watch
    }

    /// Every change of leadership from now on; the first is what holds now.
    #[must_use]
    pub fn leaderships(&self) -> Leaderships {
        self.watch.leaderships()
    }

    /// Waits until the group serves and this node has everything that was committed before its leader
    /// was elected: see [`Progress::is_ready`]. None when the node ends before.
    pub async fn wait_until_ready(&self) -> Option<Progress> {
        self.watch.wait_until_ready().await
    }

    /// Waits until the node stops by itself, which it does only when something breaks.
    ///
    /// # Errors
    /// What broke.
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        self.node.wait().await
    }

    /// See [`RunningNode::shutdown`].
    ///
    /// # Errors
    /// What broke before or while shutting down.
    pub async fn shutdown(self) -> Result<(), NodeError> {
        self.node.shutdown().await
    }
}
