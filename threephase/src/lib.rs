//! Three-phase commit: all participants do their part of a transaction, or none does, and survivors
//! end it without their coordinator.
//!
//! # In five sentences
//!
//! As in two-phase commit a coordinator asks every participant whether it can commit, and a yes is on
//! disk before it leaves. If all say yes it first makes them *pre-committed*, which tells each that all
//! have said yes, and decides to commit only when that is acknowledged. So no site commits while another
//! is still uncertain, and those that outlive the coordinator elect one of themselves, compare where they
//! stand, and end the transaction \[Skeen81\]. **Classic** mode takes whoever keeps silent for failed:
//! it never blocks while a site that has not failed is left, and divides under a partition. **Quorum**
//! mode is E3PC \[KeidarDolev98\]: atomic whatever the network does, and whoever is outside a quorum waits.
//!
//! # Roles and messages
//!
//! Every node is a participant; the coordinator may be one too, and messages to oneself are not sent.
//!
//! | from | message | to | delays so far |
//! |---|---|---|---|
//! | coordinator | `CanCommit` | participants | 1 |
//! | participant | `Vote` | coordinator | 2 |
//! | coordinator | `PreCommit` | participants | 3 |
//! | participant | `Attempted` | coordinator, who decides | 4 |
//! | coordinator | `DoCommit`, `DoAbort` | participants | 5 |
//! | participant | `Acknowledge` | coordinator, who forgets | 6 |
//! | impatient participant | `Elect` | everybody | 1 |
//! | asked | `Report`, the outcome, or `Refuse` | who is to be elected | 2 |
//! | elected | `PreCommit`, `PreAbort`, answered by `Attempted` | participants | 3, 4 |
//! | who wants to forget | `Settle`, `Settled` | each other | |
//! | all | `Greet`, `Hello` | each other, once a run | |
//!
//! # What must be on disk before what
//!
//! | this | waits for | because |
//! |---|---|---|
//! | `Vote` yes | *voted*, with the work to redo | it may be told to commit after a crash |
//! | `Attempted` | the *attempted* record of that round | after it the coordinator may commit and everybody fail: somebody must know that a commit was possible |
//! | `Elect`, `Report` | the *elected* record of that round | a report stays true only if its sender takes part in no older round any more |
//! | `DoCommit`, and the client's answer | a *committed* or *decided* record | it may be the only one that knows |
//! | `Acknowledge` | the participant's *decided* record and its resource | nobody can be asked any more |
//! | `PreCommit` of the coordinator | its own *voted* record, if it has a part in the work | it is one of all that have voted yes, and must not forget that |
//! | `CanCommit` | nothing | the name contains the boot, durable since before the start, and a question binds nobody |
//!
//! To commit, a coordinator apart writes 2 records, 1 forced, and sends 3 messages to each participant;
//! a participant forces 3 and sends 3 (`tests/cost.rs`). None of the 3 can be spared: the vote and the
//! pre-commit are what survivors go by, and after the acknowledgement of the outcome nobody can be asked.
//! A coordinator among the participants writes its decision with its own outcome, in one sync: 3N syncs a
//! commit, of which 3 come one after the other, as with a coordinator apart.
//!
//! # Guarantees and limits
//!
//! - AC1 to AC3 of [`consensus_core::contract::atomic_commit`]: in [`Mode::Quorum`] under loss, repetition
//!   and delay of messages, partitions, and crashes of all nodes; in [`Mode::Classic`] only while every
//!   message arrives within [`Options::bound`], so that only a failed site is silent. Outside, two sides
//!   may decide differently, and [`Refused::reversed_outcomes`] counts what a site then notices.
//! - A recovered site decides nothing by its own state: it asks, and after a total failure of classic
//!   mode it waits until every participant is back, or one that knows.
//! - **Blocking**: in quorum mode whoever hears no majority of the participants waits and says so
//!   (`Blocked`, [`Status::in_doubt`]). With two participants both are needed.
//! - No decisions by hand; they are counted in [`Refused::by_hand`].
//! - Memory: [`Options::running_max`], [`Options::parts_max`], [`Options::remembered_max`], and commits
//!   that no checkpoint of the resource covers.
//! - Not Byzantine. The group is fixed; a wiped disk must not come back under the old node's id.
//!
//! # Deviations from the papers
//!
//! - Rounds carry the node that they belong to, so two candidates never share one, and a candidate stores
//!   its round before it speaks of it. It takes the next after its own, and after one that it was refused
//!   with; counters are not gathered beforehand.
//! - A coordinator that hears from an election leaves the decision to it; in quorum mode a quorum that it
//!   already holds still counts.
//! - `CanCommit` names the run of each participant that it is meant for, and another run votes no.
//! - A read-only participant is taken along with nothing to do.
//! - A classic coordinator commits without the silent ones once anybody has acknowledged its pre-commit,
//!   not before: else a total failure could leave a commit of which no participant knows.
//!
//! # Kinship with Paxos
//!
//! Quorum mode is single-decree consensus on one bit, in other words. A round is a ballot; storing
//! *elected* before reporting is the promise; *attempt* is the ballot of the newest acceptance, and
//! `PreCommit` or `PreAbort` the proposal in it; the candidate takes up the value of the newest attempt in a
//! quorum of reports for the reason for which a Paxos proposer does: an older one may have been chosen.
//! The coordinator's own pre-commit is ballot 1, which needs no promise since nobody precedes it. What
//! remains of commit is the free choice: a candidate that finds no attempt may only abort, since commit
//! needs every vote.
//!
//! # Example
//!
//! A coordinator that is its own only participant, and its driver; more nodes differ in what
//! [`Outlet::message`](consensus_core::Outlet::message) does.
//!
//! ```
//! use consensus_core::{contract::atomic_commit::*, *};
//! use threephase::{Config, Message, Options, ThreePhase};
//!
//! #[derive(Default)]
//! struct Bank { asks: Vec<Request>, ended: Option<Outcome> }
//! impl Outlet<Message, Event> for Bank {
//!     fn message(&mut self, to: NodeId, _: Message) { unreachable!("{to} does not exist") }
//!     fn event(&mut self, event: Event) {
//!         match event {
//!             Event::Prepare { transaction, work: redo } => {
//!                 self.asks.push(Request::Vote { transaction, vote: Vote::Yes { redo } });
//!             }
//!             Event::Commit { transaction, .. } => {
//!                 self.asks.push(Request::Done { transaction, kept: Kept::Resource });
//!             }
//!             Event::Ended { outcome, .. } => self.ended = Some(outcome),
//!             _ => {}
//!         }
//!     }
//!     fn release(&mut self, _: Lsn) {}
//! }
//!
//! let config = Config::new(NodeId(1), Members::new([NodeId(1)])?, Options::default())?;
//! let mut node = ThreePhase::recover(config, Boot(1), [])?;
//! let (mut effects, mut gate, mut bank) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO), Bank::default());
//! let begin = Request::Begin { token: Token(1), work: vec![(NodeId(1), "pay".into())] };
//! let mut inputs = vec![Input::Request(begin), Input::Start];
//! while let Some(input) = inputs.pop() {
//!     node.handle(Time::ZERO, input, &mut effects);
//!     node.flush(Time::ZERO, &mut effects);
//!     gate.admit(&mut effects, &mut bank);
//!     let (last, _, records) = effects.take_records();
//!     if records.count() > 0 { // Here a disk would write and sync them.
//!         gate.open(last, &mut effects, &mut bank);
//!     }
//!     inputs.extend(bank.asks.drain(..).map(Input::Request));
//! }
//! assert_eq!(bank.ended, Some(Outcome::Commit));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! `config` · `message` · `record` · `node` (an input's way to a verb) · `coordinator` · `participant` ·
//! `termination` · `recovery` · `garbage` · `status` · `invariant` · `algorithm`.
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

mod algorithm;
mod config;
mod coordinator;
mod election;
mod garbage;
mod invariant;
mod message;
mod node;
mod participant;
mod quorum_termination;
mod record;
mod recovery;
mod status;
mod termination;

#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Config, ConfigError, Mode, Options};
pub use invariant::ThreePhaseInvariants;
pub use message::{Epoch, Message, Stage};
pub use node::{ThreePhase, Timer};
pub use record::Record;
pub use status::{Refused, Status};
