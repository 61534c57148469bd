//! Single-decree Paxos for any number of independent instances, with reads.
//!
//! # In five sentences
//!
//! A proposer asks acceptors to *promise* a ballot, and a quorum of promises tells it what may have
//! been chosen already. It then asks them to *accept* that value, or its own if there is none, and
//! the value is *chosen* once a quorum has accepted it under one ballot. Two quorums of opposite
//! phases share an acceptor, so whoever comes later finds what was chosen and completes it. Each
//! decision is the next *version* of a key, which makes it a compare-and-set on the version before.
//! An acceptor keeps one value a key, and a read asks a quorum for the newest.
//!
//! # Roles and messages
//!
//! Every node plays all three roles; messages to oneself are not sent.
//!
//! | from | message | to | delays so far |
//! |---|---|---|---|
//! | proposer | `Prepare` | acceptors | 1 |
//! | acceptor | `Promise`, or `Reject`, `Superseded`, `Chosen` | proposer | 2 |
//! | proposer | `Accept` | acceptors | 3 |
//! | acceptor | `Accepted`, or `Reject`, `Superseded`, `Chosen` | proposer, who learns | 4 |
//! | proposer | `Chosen` | learners | 5 |
//! | reader | `Query` | acceptors | 1 |
//! | acceptor | `Report` | reader | 2 |
//!
//! Without failures a decision costs 4(N−1) messages at its proposer, 4(Q−1) if it is thrifty, N−1
//! more to tell the learners, and two disk writes one after the other. A quiet read costs 2(N−1) and
//! no write.
//!
//! # What must be on disk before what
//!
//! | this | waits for | because |
//! |---|---|---|
//! | `Promise` leaves | the promise | a later proposer builds on it |
//! | `Accepted` leaves | the acceptance, which is a promise too | it may complete a quorum |
//! | `Report` leaves | all that it reports | a reader may call it chosen |
//! | the proposer's own promise, acceptance or report counts | the same at this node | it is an acceptor like any other |
//! | `Prepare`, `Accept`, `Query` | nothing | they go under a ballot or name that contains the boot, durable since before the start |
//! | `Chosen`, and the events | nothing here | a quorum's disks hold it |
//! | `Reject` | nothing of its own | it binds nobody |
//!
//! # Guarantees and limits
//!
//! - Validity, agreement and freshness as in [`consensus_core::contract::register`], under loss,
//!   repetition and delay of messages and crashes of all nodes, while disks keep what they synced.
//! - Progress while a phase 1 and a phase 2 quorum are up and connected, and proposers back off
//!   ([`Backoff`]); without it two of them can overtake each other for ever.
//! - Not Byzantine: a member that lies can break agreement. It cannot make this node panic or run out
//!   of arithmetic; what it sends is counted in [`Refused`]. It can use up the ballots of an instance.
//! - The group is fixed. A wiped disk must not come back under the old node's id; that is kept by
//!   whoever starts a node, not here.
//! - *Succession*: an application must not propose version v+1 before it knows v to be chosen. One
//!   that does may lose version v.
//! - Memory: per key some words, the newest accepted value and the newest known to be chosen (shared
//!   where they are one), for ever; per running request its state, at most
//!   [`Options::running_max`].
//!
//! # Deviations from the paper
//!
//! - A ballot is (round, node, boot) instead of a number from a set of one's own: nothing is written
//!   to choose one, and none is used twice.
//! - Accepting a ballot promises it, which [Lamport01 §2.2] leaves open and needs.
//! - The proposer is the distinguished learner of its ballot, and tells the others.
//! - Quorums may differ by phase \[Howard16\].
//! - Acceptors reject in words, and tell what they know to be chosen, instead of keeping silent.
//! - Chains of versions and the forgetting that they allow (`acceptor.rs`) and reads (`reader.rs`) are
//!   not in the paper; the arguments stand in those files.
//!
//! # Example
//!
//! A group of one and its driver; more nodes differ in what [`Outlet::message`] does.
//!
//! [`Outlet::message`]: consensus_core::Outlet::message
//!
//! ```
//! use consensus_core::{contract::register::*, *};
//! use paxos::{Config, Message, Options, Paxos};
//!
//! struct Console;
//! impl Outlet<Message, Event> for Console {
//!     fn message(&mut self, to: NodeId, _: Message) { unreachable!("{to} does not exist") }
//!     fn event(&mut self, event: Event) { println!("{event:?}") }
//!     fn release(&mut self, _: Lsn) {}
//! }
//!
//! let config = Config::new(NodeId(1), Members::new([NodeId(1)])?, Options::default())?;
//! let mut node = Paxos::recover(config, Boot(1), [])?;
//! let (mut effects, mut gate) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO));
//! let instance = Instance { key: "lock".into(), version: Version(1) };
//! let propose = Request::Propose { token: Token(1), instance, value: "mine".into() };
//! let mut inputs = vec![Input::Request(propose), Input::Start];
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
//! # assert_eq!(node.status().learned, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! `config` · `message` · `record` · `node` (an input's way to a verb) · `proposer` · `outcome` ·
//! `backoff` · `acceptor` · `reclaim` · `learner` · `reader` · `status` · `invariant` · `algorithm`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Whether the named bug is planted: false in any build without the feature `faults`.
macro_rules! planted {
    ($config:expr, $fault:ident) => {{
        #[cfg(feature = "faults")]
        let planted = $config.options().fault == Some(crate::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let planted = false;
        planted
    }};
}

mod acceptor;
mod algorithm;
mod backoff;
mod config;
mod invariant;
mod learner;
mod message;
mod node;
mod outcome;
mod proposer;
mod reader;
mod reclaim;
mod record;
mod status;

pub use backoff::Backoff;
#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Ballots, Config, ConfigError, GiveUp, Options};
pub use invariant::PaxosInvariants;
pub use message::{Acceptance, Message, ReadId};
pub use node::{Paxos, Timer};
pub use record::Record;
pub use status::{Refused, Status};
