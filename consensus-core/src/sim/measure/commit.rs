//! What a transaction costs everybody who takes part in it.

use super::Laboratory;
use crate::{
    Algorithm, Input, NodeId, Token,
    contract::atomic_commit::{Event, Kept, Outcome, Request, Vote},
    sim::world::{Counts, Step, World},
};
use alloc::{string::String, string::ToString, vec::Vec};
use bytes::Bytes;
use core::time::Duration;

/// What one transaction cost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bill {
    /// What its client was told.
    pub outcome: Option<Outcome>,
    /// When, after it began: the coordinator has decided.
    pub answered: Duration,
    /// When the last participant that had voted yes was told the outcome.
    pub known: Duration,
    /// Messages that had been sent before that moment.
    pub messages_known: u64,
    /// Syncs that had ended when the client was told.
    pub writes_answered: u64,
    /// What every node did until nothing was left to do.
    pub counts: Vec<Counts>,
}

impl Bill {
    /// All messages, acknowledgements among them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.counts.iter().map(|counts| counts.messages).sum()
    }
}

/// How many delays the end of a transaction is waited for.
const REST: u32 = 20;

impl<O: Clone> Laboratory<O> {
    /// One transaction that node 1 begins, over the nodes in `votes`, which vote so at once.
    ///
    /// # Errors
    /// When the options do not fit, or an invariant breaks.
    pub fn transact<A>(&self, votes: &[(NodeId, Vote)]) -> Result<Bill, String>
    where
        A: Algorithm<Options = O, Request = Request, Event = Event>,
    {
        let mut world = self.world::<A>()?;
        let start = world.now();
        let counts = |world: &World<A>| -> Vec<Counts> {
            let nodes = 1..=self.nodes as u16;
            nodes.map(|node| world.counts_of(NodeId(node))).collect()
        };
        let (before, total) = (counts(&world), world.counts());
        let mut bill = Bill::default();
        world.take_told();
        let work = votes.iter().map(|(node, _)| (*node, Bytes::new()));
        let begin = Request::Begin {
            token: Token(1),
            work: work.collect(),
        };
        let ask = |world: &mut World<A>, node: NodeId, request| {
            let place = usize::from(node.0) - 1;
            let asked = world.input(place, Input::Request(request));
            asked.map(drop).map_err(|e| e.to_string())
        };
        ask(&mut world, NodeId(1), begin)?;
        let mut earlier = 0;
        let end = start + REST * (self.delay + self.sync);
        loop {
            for (node, event) in world.take_told() {
                let vote = votes.iter().find(|(whose, _)| *whose == node);
                let now = world.now().since(start);
                let request = match (event, vote) {
                    (Event::Prepare { transaction, .. }, Some((_, vote))) => Request::Vote {
                        transaction,
                        vote: vote.clone(),
                    },
                    (Event::Commit { transaction, .. } | Event::Abort { transaction }, _) => {
                        bill.known = now;
                        bill.messages_known = earlier;
                        let kept = Kept::Resource;
                        Request::Done { transaction, kept }
                    }
                    (Event::Ended { outcome, .. }, _) => {
                        bill.outcome = Some(outcome);
                        bill.answered = now;
                        bill.writes_answered = world.counts().syncs - total.syncs;
                        continue;
                    }
                    _ => continue,
                };
                ask(&mut world, node, request)?;
            }
            let next = world.next();
            if next.is_some_and(|next| next > world.now()) {
                earlier = world.counts().messages - total.messages;
            }
            if next.is_none_or(|next| next > end)
                || world.step().map_err(|e| e.to_string())? == Step::Idle
            {
                break;
            }
        }
        let after = counts(&world);
        let pairs = after.iter().zip(before);
        bill.counts = pairs.map(|(after, before)| after.since(before)).collect();
        Ok(bill)
    }
}
