//! Multi-Paxos: a replicated log under a stable leader.
//!
//! # In five sentences
//!
//! A candidate asks acceptors to *promise* a ballot, once for all slots of the log, and a quorum of
//! promises tells it what may have been chosen in any of them. It puts the value of the highest ballot
//! into each slot that holds one, a no-op into each hole, and from then on leads: its commands take the
//! next slots, many under way at a time. A slot is *chosen* once a quorum has *accepted* it under the
//! leader's ballot, and replicas execute chosen slots in order. Two quorums of opposite phases share an
//! acceptor, so whoever leads next finds what was chosen. Nodes ask each other in rounds whether they
//! live, and one that reaches a quorum campaigns when it sees no leader that does.
//!
//! # Roles and messages
//!
//! Every node is acceptor and replica; one leads. Messages to oneself are not sent.
//!
//! | from | message | to | delays so far |
//! |---|---|---|---|
//! | candidate | `Prepare` | acceptors, once a ballot and page | 1 |
//! | acceptor | `Promise`, or `Trimmed`, `Reject` | candidate | 2 |
//! | leader | `Accept`, with what is chosen | acceptors | 1 |
//! | acceptor | `Accepted`, or `Reject` | leader, who learns | 2 |
//! | leader | `Decide`, when no `Accept` follows | replicas | 3 |
//! | leader | `Confirm`, for reads | acceptors | 1 |
//! | acceptor | `Confirmed` | leader | 2 |
//! | replica | `Fetch`, for a gap | whoever has it | 1 |
//! | anybody | `Learn`, or `SnapshotSent` | replica | 2 |
//! | leader | `Succeed` | its heir | |
//! | everybody | `Heartbeat`, `Alive` | everybody | |
//!
//! Under a stable leader a batch of commands costs 3(N−1) messages, 2(N−1) while others follow, and
//! one disk write at each node, the leader's beside the others'. Reads that arrive together cost
//! 2(N−1) messages and no write. Heartbeats cost 2N(N−1) a round.
//!
//! # What must be on disk before what
//!
//! | this | waits for | because |
//! |---|---|---|
//! | `Promise`, `Trimmed` leave | the promise | the next leader builds on it |
//! | `Accepted` leaves | the acceptance, which is a promise too | it may complete a quorum |
//! | the leader's own acceptance counts | the same at this node | it is an acceptor like any other |
//! | taking office, hence `Accept`, `Decide`, `Confirm`, `Succeed` | the leader's own promise | it is part of its quorum, and must not accept for another below its own ballot later |
//! | `Prepare` | nothing | its ballot contains the boot, durable since before the start |
//! | a chosen entry is executed | nothing here | a quorum's disks hold it |
//! | `Heartbeat`, `Alive` leave | what was forced before | a node whose disk hangs falls silent, and leads no more |
//!
//! # Guarantees and limits
//!
//! - The laws of [`consensus_core::contract::replicated_log`], under loss, repetition, reordering and
//!   delay of messages and crashes of all nodes, while disks keep what they synced.
//! - Progress while some node reaches a phase 1 and a phase 2 quorum, both ways, as in the three cases
//!   of partial connectivity of [Ng23 §2].
//! - Members change by entries in the log, which goes on across them. An entry in slot c governs the
//!   slots from c + α on ([`Options::alpha`]); a change costs up to α − 1 no-ops and two round trips. One
//!   change at a time; learners vote only once they have caught up; a leader without a vote hands over.
//! - Who does not belong may still fetch what is chosen: that is how a removed node learns of it.
//! - A wiped disk must not come back under the old node's id; that is kept by whoever starts a node,
//!   not here. [`Member::disk`](consensus_core::contract::replicated_log::Member::disk) is not checked.
//! - Reads ask a quorum. With [`Options::lease`] acceptors grant their leader leases, and it answers
//!   reads by itself; fresh while no clock runs faster or slower than
//!   [`Options::clock_drift_percent`] says, and whoever leads next without having been named heir waits
//!   for their end.
//! - Not Byzantine: a member that lies can break agreement.
//! - Memory: slots behind the newest snapshot, at most [`Options::keep_bytes`] of them at a leader, and
//!   everything since; proposals are refused beyond [`Options::unchosen_bytes_max`].
//!
//! # Deviations from the papers
//!
//! - A ballot is (round, node, boot): nothing is written to choose one, and none is used twice.
//! - A value keeps the ballot that first proposed it, as the epoch of its run. Together with the slot
//!   it names the value, so that whoever proposed it learns for certain whether it was chosen.
//! - The next leader is told of chosen values as chosen, and takes them without another round.
//! - An application is told of new members when they are chosen, not when they are appended, and once
//!   more when they alone decide: until then those before them are *outgoing*.
//! - Acceptors tell their accepted values in pages, and reject in words.
//! - Who campaigns is decided as in Omni-Paxos, with one change: there is no separate ballot for
//!   elections. A node also keeps quiet when a neighbour has heard the leader itself.
//! - Holes are filled when a leader takes office; later ones cannot come to be, for a leader fills its
//!   slots in order.
//!
//! # Example
//!
//! A group of one and its driver; more nodes differ in what [`Outlet::message`] does.
//!
//! [`Outlet::message`]: consensus_core::Outlet::message
//!
//! ```
//! use consensus_core::{contract::replicated_log::*, log::Commands, *};
//! use multipaxos::{Config, Message, MultiPaxos, Options};
//!
//! struct Console;
//! impl Outlet<Message, Event> for Console {
//!     fn message(&mut self, to: NodeId, _: Message) { unreachable!("{to} does not exist") }
//!     fn event(&mut self, event: Event) { println!("{event:?}") }
//!     fn release(&mut self, _: Lsn) {}
//! }
//!
//! let config = Config::new(NodeId(1), Members::new([NodeId(1)])?, Options::default())?;
//! let mut node = MultiPaxos::recover(config, Boot(1), [])?;
//! let (mut effects, mut gate) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO));
//! let lead = Request::TransferLeadership { token: Token(1), to: Some(NodeId(1)) };
//! let propose = Request::Propose { token: None, commands: Commands::one(b"x = 1") };
//! let mut inputs = vec![Input::Request(propose), Input::Request(lead), Input::Start];
//! while let Some(input) = inputs.pop() {
//!     node.handle(Time::ZERO, input, &mut effects);
//!     node.flush(Time::ZERO, &mut effects);
//!     gate.admit(&mut effects, &mut Console);
//!     let (last, _, records) = effects.take_records();
//!     if records.count() > 0 { // Here a disk would write and sync them.
//!         gate.open(last, &mut effects, &mut Console);
//!         inputs.push(Input::Durable(last));
//!     }
//! }
//! assert_eq!(node.status().chosen, Index(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! `config` · `message` · `record` · `node` (an input's way to a verb) · `group` · `election` ·
//! `promises` · `leader` · `reconfigure` ·
//! `window` · `acceptor` · `slots` · `replica` · `read` · `lease` · `snapshot` · `reclaim` · `transfer` ·
//! `recovery` · `status` · `invariant` · `algorithm`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Whether the named bug is planted: false in any build without the feature `faults`.
macro_rules! planted {
    ($options:expr, $fault:ident) => {{
        #[cfg(feature = "faults")]
        let planted = $options.fault == Some(crate::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let planted = false;
        planted
    }};
}

mod acceptor;
mod algorithm;
mod config;
mod election;
mod group;
mod invariant;
mod leader;
mod lease;
mod message;
mod node;
mod promises;
mod read;
mod reclaim;
mod reconfigure;
mod record;
mod recovery;
mod replica;
mod slots;
mod snapshot;
mod status;
mod transfer;
mod window;

#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Config, ConfigError, Options};
pub use invariant::MultiPaxosInvariants;
pub use message::{Message, Page};
pub use node::{MultiPaxos, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
