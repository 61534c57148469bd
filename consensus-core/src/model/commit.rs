//! What models of atomic commit share: one transaction, the votes on it, and what resources are told.

use super::{Bounds, Checkable, State, World};
use crate::{
    Boot, Members, NodeId, Token,
    contract::atomic_commit::{Event, Kept, Outcome, Request, Transaction, Vote},
};
use alloc::string::String;
use bytes::Bytes;

/// The transaction: the first that node 1 begins.
pub const T: Transaction = Transaction {
    coordinator: NodeId(1),
    boot: Boot(1),
    sequence: 1,
};

/// Node 1 begins a transaction over these.
#[must_use]
pub fn begin(token: u64, nodes: &[u16]) -> (NodeId, Request) {
    let work = nodes.iter().map(|node| (NodeId(*node), Bytes::new()));
    let (token, work) = (Token(token), work.collect());
    (NodeId(1), Request::Begin { token, work })
}

/// The resource of `node` votes yes.
#[must_use]
pub fn yes(node: u16) -> (NodeId, Request) {
    let (transaction, vote) = (T, Vote::Yes { redo: Bytes::new() });
    (NodeId(node), Request::Vote { transaction, vote })
}

/// It votes no.
#[must_use]
pub fn no(node: u16) -> (NodeId, Request) {
    let (transaction, reason) = (T, Bytes::new());
    let vote = Vote::No { reason };
    (NodeId(node), Request::Vote { transaction, vote })
}

/// It has carried the outcome out, and keeps it itself.
#[must_use]
pub fn done(node: u16) -> (NodeId, Request) {
    let (transaction, kept) = (T, Kept::Resource);
    (NodeId(node), Request::Done { transaction, kept })
}

fn told<A: Checkable<Event = Event>>(state: &State<A>, outcome: Outcome) -> bool {
    state.told().any(|(_, event)| match event {
        Event::Commit { transaction, .. } => *transaction == T && outcome == Outcome::Commit,
        Event::Abort { transaction } => *transaction == T && outcome == Outcome::Abort,
        _ => false,
    })
}

/// Nodes 1 to `nodes`, whose clients and resources may ask each of `requests` once. Wanted: states in which
/// [`T`] was `committed`, and others in which it was `aborted`.
///
/// # Errors
/// When the options do not fit.
pub fn world<A: Checkable<Request = Request, Event = Event>>(
    options: &A::Options,
    nodes: u16,
    bounds: Bounds,
    requests: &[(NodeId, Request)],
) -> Result<World<A>, String> {
    let members =
        Members::new((1..=nodes).map(NodeId)).map_err(|error| alloc::format!("{error}"))?;
    let mut world = World::<A>::new(options, &members, bounds)?;
    for (node, request) in requests {
        world = world.ask(*node, request.clone());
    }
    let outcome = |event: &Event| {
        matches!(
            event,
            Event::Commit { .. } | Event::Abort { .. } | Event::Ended { .. }
        )
    };
    Ok(world
        .remember(outcome)
        .sometimes("committed", |state| told(state, Outcome::Commit))
        .sometimes("aborted", |state| told(state, Outcome::Abort)))
}
