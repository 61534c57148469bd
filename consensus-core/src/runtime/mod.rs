//! The tokio node: one task steps the protocol, one may run the service, and the disk has a thread of
//! its own. Feature `runtime`.
//!
//! One request's way: [`Handle::call`] queues it (bounded; a full queue answers *busy*), the service
//! turns it into a request, and the pump handles it in a batch with whatever else has come; early
//! messages leave, the records go to the disk, held messages leave when it reports, and events lead
//! the service to an answer. Nothing waits for a batch to fill: a batch is what came while the one
//! before was handled.
//!
//! Every queue is bounded, and what happens at the bound is written at its field of [`Options`].

mod applier;
mod bell;
mod clock;
mod gateway;
mod housekeeping;
mod in_process;
mod inbox;
mod meetings;
mod members;
mod node;
mod options;
mod pump;
mod replica;
mod reports;
mod snapshots;
mod stats;
mod transport;
mod way_out;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;

pub use gateway::{Handle, Reply};
pub use in_process::{Peers, cluster};
pub use inbox::{Inbox, Stopped};
pub use members::{ManageError, Management};
pub use node::{NodeError, NodeParts, Runnable, Running, Watch, inbox, start, start_with};
pub use options::{Options, Placement};
pub use replica::{Leadership, Leaderships, Progress, Replica, ReplicaWatch};
pub use reports::Reports;
pub use snapshots::{SnapshotKeeper, SnapshotReports, Snapshots};
pub use stats::{Counts, Stages, Status};
pub use transport::Transport;
