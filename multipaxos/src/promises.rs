//! Phase 1 of one ballot: who has promised it, and what they had accepted.

use crate::{
    group::{Configuration, Group},
    message::Page,
    slots::Slots,
};
use alloc::vec::Vec;
use consensus_core::{Ballot, Epoch, Index, NodeId};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Asked {
    peer: NodeId,
    /// Up to where it has told what it accepted.
    told: Index,
    /// It has told everything: its promise counts.
    complete: bool,
}

/// The promises of one ballot, those of its owner excepted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Promises {
    asked: Vec<Asked>,
    /// The ballot whose leader has named the owner its heir, if any.
    pub(crate) released: Ballot,
    /// The entries of the highest ballot in each slot, of those told.
    pub(crate) highest: Slots,
    /// The highest ballot told so far: for a planted bug alone.
    best: Ballot,
}

impl Promises {
    /// Nobody has been asked; everything up to `chosen` is known.
    pub(crate) const fn new(chosen: Index, released: Ballot) -> Self {
        Self {
            asked: Vec::new(),
            released,
            highest: Slots::after(chosen, Epoch::ZERO),
            best: Ballot::ZERO,
        }
    }

    /// Everybody but `node` who decides a slot after `chosen` has to be asked.
    pub(crate) fn meet(&mut self, group: &Group, node: NodeId, chosen: Index) {
        for peer in group.voters().filter(|voter| *voter != node) {
            if self.asked.iter().all(|asked| asked.peer != peer) {
                self.asked.push(Asked {
                    peer,
                    told: chosen,
                    complete: false,
                });
            }
        }
    }

    /// Whose promise is not complete, and up to where it has told.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (NodeId, Index)> + '_ {
        let missing = self.asked.iter().filter(|asked| !asked.complete);
        missing.map(|asked| (asked.peer, asked.told))
    }

    /// Whether those who have promised, and `own`, are a phase 1 quorum of each that decides a slot
    /// not yet chosen.
    pub(crate) fn are_enough(&self, group: &Group, own: Option<NodeId>) -> bool {
        group.active().iter().all(|c| self.is_quorum(c, own))
    }

    pub(crate) fn is_quorum(&self, of: &Configuration, own: Option<NodeId>) -> bool {
        of.has_enough(of.quorums.phase1_size(), |voter| {
            let promised = |asked: &Asked| asked.peer == voter && asked.complete;
            own == Some(voter) || self.asked.iter().any(promised)
        })
    }

    /// Notes a page, unless it is an older one, or leaves a gap: that proves nothing about the slots
    /// between. Returns what to ask for next; none when the promise is complete or the page was known.
    pub(crate) fn take(&mut self, from: NodeId, page: &Page, chosen: Index) -> Option<Taken> {
        let asked = self.asked.iter_mut().find(|asked| asked.peer == from)?;
        if page.through < asked.told || page.after > asked.told.max(chosen) {
            return None;
        }
        let news = page.through > asked.told;
        asked.told = page.through;
        asked.complete |= page.last;
        Some(match (page.last, news) {
            (true, _) => Taken::Complete,
            (false, true) => Taken::AskAfter(page.through),
            (false, false) => Taken::Known,
        })
    }

    /// Puts what a page tells of the slots from `first` on into the slots of lower ballots.
    pub(crate) fn merge(&mut self, page: &Page, first: Index) {
        for (ballot, run) in &page.accepted {
            if let Some(run) = run.cut(first..run.last().next()) {
                self.highest.put_higher(*ballot, &run);
            }
        }
    }

    /// Everything told up to `last` has been proposed anew.
    pub(crate) fn recovered(&mut self, last: Index) {
        self.highest = Slots::after(last, Epoch::ZERO);
    }

    /// A planted bug: keeps the promise with the highest ballot and forgets the others.
    pub(crate) fn take_one(&mut self, page: &Page) {
        let best = page.accepted.iter().map(|(ballot, _)| *ballot).max();
        if best.is_some_and(|best| best > self.best) {
            self.best = best.unwrap_or_default();
            self.highest = Slots::default();
            for (ballot, run) in &page.accepted {
                self.highest.put(*ballot, run.clone());
            }
        }
    }
}

/// What a page was worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// The promise is complete.
    Complete,
    /// There is more after this slot.
    AskAfter(Index),
    /// It came twice.
    Known,
}
