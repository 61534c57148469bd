//! Two-phase commit whose coordinator is hosted by a replicated log: which group, and what of the
//! outer protocol has to be known for it.

use consensus_core::{
    Algorithm, Boot, Members, NodeId,
    contract::atomic_commit::{Event, Request},
    replicated::{HOSTED, Hosting, Replicated},
    service::atomic_commit::CommitService,
};
use multipaxos::MultiPaxos;
use raft::Raft;
use std::{fmt, marker::PhantomData};
use twophase::TwoPhase;

/// Two-phase commit over the group `G`.
pub struct Over<G>(PhantomData<G>);

impl<G> Clone for Over<G> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<G> fmt::Debug for Over<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Over")
    }
}

macro_rules! over {
    ($group:ty) => {
        impl Hosting for Over<$group> {
            const NAME: &'static str = TwoPhase::NAME;

            type Group = $group;
            type Outer = TwoPhase;
            type Service = CommitService;

            fn outer(options: &twophase::Options) -> twophase::Options {
                twophase::Options {
                    coordinator: Some(HOSTED),
                    ..options.clone()
                }
            }

            fn service(
                options: &twophase::Options,
                _: &Members,
                node: NodeId,
                _: Boot,
            ) -> CommitService {
                // Who coordinates is known to the protocol alone, and changes.
                options.service.service(node, None)
            }

            fn is_for_hosted(request: &Request) -> bool {
                request.is_for_coordinator()
            }

            fn refusal(request: &Request, hint: Option<NodeId>) -> Option<Event> {
                request.refusal(hint)
            }
        }
    };
}

over!(Raft);
over!(MultiPaxos);

/// Two-phase commit with a coordinator on a Raft group.
pub type OverRaft = Replicated<Over<Raft>>;
/// Two-phase commit with a coordinator on a Multi-Paxos group.
pub type OverMultiPaxos = Replicated<Over<MultiPaxos>>;
