//! Raft: a replicated log with a strong leader \[Ongaro14\].
//!
//! # In five sentences
//!
//! Time is cut into *terms*, and each term has at most one *leader*, elected by a majority. Only the
//! leader appends entries; followers copy its log and overwrite what disagrees. An entry is *committed*
//! when a majority holds it on disk and it belongs to the leader's own term; everything before it is
//! committed with it. A node votes only for candidates whose log is at least as complete as its own, so
//! every leader holds everything committed. A leader that hears no majority steps down, and a follower
//! that hears no leader asks around before it stands for election.
//!
//! # Roles and messages
//!
//! | from | message | to |
//! |---|---|---|
//! | candidate | `RequestVote` (also as a pre-vote) | voters |
//! | voter | `Vote` | candidate |
//! | leader | `Append`, `Commit`, `Heartbeat`, `InstallSnapshot`, `TimeoutNow`, `ReadIndexed` | follower |
//! | follower | `Appended`, `Conflict`, `Heard`, `ReadIndex` | leader |
//! | anybody | `Removed` | whoever stands for election and was let go |
//!
//! # What must be on disk before what
//!
//! | record | before |
//! |---|---|
//! | `HardState`: term and vote, as one record | a vote leaves; a candidate takes office |
//! | `Append` | a follower's `Appended` leaves; the leader counts itself |
//! | `Snapshot` | the log that it covers is let go; the application restores it |
//! | `Commit` | nothing: lazy, it only saves time after a restart |
//!
//! A leader sends entries while its own disk still writes them; a candidate asks for votes while its
//! term is being written, but takes office only when it is on disk.
//!
//! # Guarantees and limits
//!
//! The five properties of the thesis's figure 3.2, and one vote a term over a node's whole life, stand
//! in [`RaftInvariants`] and are judged after every step of every simulated run. Progress needs a
//! majority that can talk to each other for longer than an election timeout. Reads are linearizable at
//! every node; one that does not lead asks the leader how far it must have applied.
//!
//! # Changing members
//!
//! A newcomer is taken in as a learner, catches up by log or snapshot, and is promoted; whoever is to go
//! is removed, the leader included. On real nodes every member finds the newcomer by its *context* in
//! the log, which is its address (`net_quic::member`), and takes no other disk for it than the one that
//! was taken in:
//!
//! ```no_run
//! use consensus_core::{NodeId, runtime::{ManageError, Management}};
//! use std::time::Duration;
//!
//! # async fn replace(client: &net_quic::Client, disk: consensus_core::DiskId) -> Result<(), ManageError> {
//! let patience = Duration::from_secs(60);
//! // `client` has an operator's certificate; a node's own `handle()` will do where it leads. Node 4 was
//! // started with `Settings::joins`, and its disk formatted by `net_quic::node::init`.
//! let four = net_quic::member(NodeId(4), disk, "10.0.0.4:7000".parse().expect("an address"));
//! client.add_learner(four, patience).await?;
//! client.promote(NodeId(4), patience).await?; // waits until it has caught up
//! client.remove(NodeId(1), patience).await?;
//! client.transfer_leadership(Some(NodeId(4)), patience).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Deviations from the paper
//!
//! - Heartbeats are messages of their own, numbered, and carry the commit index; a leader with nothing
//!   to append announces a commit by itself, without an answer. A follower never commits beyond what an
//!   append of the present leader has verified.
//! - A leader whose disk has had a record waiting for the longest election timeout steps down, and does
//!   not stand again before that record is on disk.
//! - A removed node that never heard of it is told when it stands for election, and keeps quiet until a
//!   leader is heard.
//! - Several voters are changed at once by a joint configuration, a single one directly; neither before
//!   an entry of the leader's own term is committed.
//!
//! # Example
//!
//! ```
//! use consensus_core::{contract::replicated_log::{Event, Request}, log::Commands, *};
//! use raft::{Raft, Timer};
//!
//! #[derive(Default)]
//! struct Told(Vec<Event>);
//! impl Outlet<raft::Message, Event> for Told {
//!     fn message(&mut self, _: NodeId, _: raft::Message) {}
//!     fn event(&mut self, event: Event) { self.0.push(event) }
//!     fn release(&mut self, _: Lsn) {}
//! }
//!
//! let members = Members::new([NodeId(1)]).unwrap();
//! let config = Raft::config(&Default::default(), &members, NodeId(1)).unwrap();
//! let mut node = Raft::recover(config, Boot(1), []).unwrap();
//! let (mut effects, mut gate) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO));
//! let mut told = Told::default();
//! let mut step = |input| {
//!     let mut next = Some(input);
//!     while let Some(input) = next.take() {
//!         node.handle(Time::ZERO, input, &mut effects);
//!         node.flush(Time::ZERO, &mut effects);
//!         gate.admit(&mut effects, &mut told);
//!         let (last, _, records) = effects.take_records();
//!         if records.count() > 0 { // a real driver writes them and syncs
//!             gate.open(last, &mut effects, &mut told);
//!             next = Some(Input::Durable(last));
//!         }
//!     }
//! };
//! step(Input::Start);
//! step(Input::Timer(Timer::Quiet));
//! step(Input::Timer(Timer::Election)); // elects itself
//! step(Input::Request(Request::Propose { token: None, commands: Commands::one(b"x = 1") }));
//! assert!(told.0.iter().any(|event| matches!(event, Event::Committed(run) if run.iter().eq([b"x = 1"]))));
//! ```
//!
//! # Reading order
//!
//! `message.rs`, `record.rs`, `node.rs`, `election.rs`, `replication.rs`, `progress.rs`, `commit.rs`, `read.rs`, then the
//! rest; `invariant.rs` says what must hold.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Whether the named bug is planted: false in any build without the feature `faults`.
macro_rules! planted {
    ($config:expr, $fault:ident) => {{
        #[cfg(feature = "faults")]
        let planted = $config.fault == Some(crate::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let planted = false;
        planted
    }};
}

mod algorithm;
mod commit;
mod config;
mod election;
#[cfg(feature = "faults")]
mod fault;
mod invariant;
mod membership;
mod message;
mod node;
mod progress;
mod read;
mod reclaim;
mod record;
mod recovery;
mod replication;
mod snapshot;
mod status;
mod transfer;

pub use algorithm::Options;
pub use config::{Config, ConfigError};
#[cfg(feature = "faults")]
pub use fault::Fault;
pub use invariant::RaftInvariants;
pub use message::Message;
pub use node::{Raft, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
