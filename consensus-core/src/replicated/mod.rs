//! A protocol whose disk is a replicated log: it survives the loss of its machine, unchanged.
//!
//! One node of a protocol, such as the coordinator of two-phase commit, is *hosted*: its records are
//! proposals to a group that agrees on a log, and a record is durable when it is committed there. Where
//! the group's leader is, the hosted node runs; when the leader is lost the next one rebuilds it by
//! [`Protocol::recover`] from what is committed and goes on. Neither protocol knows.
//!
//! Every machine of the cluster holds:
//!
//! | what | keeps its records | runs |
//! |---|---|---|
//! | a replica of the group, unless [only others have one](Options::replicas) | on the machine's disk | always |
//! | its own node of the outer protocol, such as a participant | on the same disk | always |
//! | the hosted node [`HOSTED`] | in the group's log | while this replica leads |
//!
//! # Why two hosts cannot contradict each other
//!
//! 1. **Proposals are bound to the leader's epoch.** A new host first proposes [the beginning of a new
//!    run](command) and every record names its run and the record before it. Whatever else is placed
//!    after the next run began, or after a gap, counts for nobody. Nothing is forwarded, and nothing is
//!    proposed again: a host whose proposal is refused, or placed in another epoch, ends its run.
//! 2. **Whatever is not early waits for a proof of leadership made after it.** A batch that writes
//!    nothing and still wants to say something takes the place of a record: it waits until a
//!    [linearizable read][`Request::Read`] of the group, asked for after it, is answered and no newer run
//!    stands in what that read covers. Otherwise a leader that is deposed and does not know it could
//!    answer "no record, so presumed aborted" while its successor commits. A batch that writes is
//!    proved by the commit of its own record.
//! 3. **A new run recovers when its own beginning is committed**: nothing older can come after it.
//!
//! All that is needed of the group are the laws of [`contract::replicated_log`]; the hosted node's run
//! is the number of beginnings in the log, so that it never uses a name twice.
//!
//! # Limits
//!
//! - What a replica keeps is what the hosted node has not released ([`Options::reclaim_every`]), and what
//!   the group's log has grown by since its last snapshot ([`Options::compact_every`]). A snapshot is one
//!   record, and goes in messages of [`Options::snapshot_part`] to a replica that is far behind.
//! - Requests that wait for a hosted node when its run ends are not answered by it; whoever asked gives
//!   them up in time.
//!
//! [`Protocol::recover`]: crate::Protocol::recover
//! [`Request::Read`]: crate::contract::replicated_log::Request::Read
//! [`contract::replicated_log`]: crate::contract::replicated_log

mod algorithm;
pub mod command;
mod config;
mod hosted;
mod inner;
mod invariant;
mod log;
mod message;
mod node;
mod run;
mod snapshot;

pub use config::{Config, Options};
pub use invariant::ReplicatedInvariants;
pub use message::{Message, Record};
pub use node::{Replicated, Status, Timer};

use crate::{
    Algorithm, Boot, Members, NodeId, Protocol, contract::replicated_log, service::Service,
};
use core::fmt;

/// The hosted node's name in the outer protocol: no machine has it.
pub const HOSTED: NodeId = NodeId(u16::MAX);

/// Which protocol is hosted by which group, and what of the outer one has to be known for that.
pub trait Hosting: Clone + fmt::Debug + Send + Sized + 'static {
    /// What harnesses call it.
    const NAME: &'static str;

    /// Agrees on the log that is the hosted node's disk.
    type Group: Algorithm<Request = replicated_log::Request, Event = replicated_log::Event>;

    /// The protocol that one node of is hosted.
    type Outer: Algorithm;

    /// The application's side, for the machine's own node and for the hosted one while it runs there.
    type Service: Service<Replicated<Self>>;

    /// `options`, with [`HOSTED`] as the node that decides for the others.
    fn outer(options: &<Self::Outer as Algorithm>::Options) -> <Self::Outer as Algorithm>::Options;

    /// As [`Algorithm::service`]. `options` are as [`Self::outer`] made them.
    fn service(
        options: &<Self::Outer as Algorithm>::Options,
        members: &Members,
        node: NodeId,
        boot: Boot,
    ) -> Self::Service;

    /// Whether a request is for the hosted node, and not for the machine's own.
    fn is_for_hosted(request: &<Self::Outer as Protocol>::Request) -> bool;

    /// What to say to a request for the hosted node where it does not run. `hint`: where it may.
    fn refusal(
        request: &<Self::Outer as Protocol>::Request,
        hint: Option<NodeId>,
    ) -> Option<<Self::Outer as Protocol>::Event>;
}
