//! Handing leadership over [Ongaro14 §3.10]: catch the heir up, tell it to stand for election, and go
//! on as before if nothing comes of it within an election timeout.

use crate::{
    message::Message,
    node::{Raft, Role, Timer},
};
use consensus_core::{Early, Effects, Index, NodeId, Token, contract::replicated_log::Reason};

/// A transfer under way: no proposals are taken until it ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transfer {
    token: Token,
    to: NodeId,
    /// The heir has been told to stand for election.
    told: bool,
}

impl Raft {
    pub(crate) fn transfer(
        &mut self,
        token: Token,
        to: Option<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        let hint = self.leader;
        let voters = self.members.voters();
        let Role::Leader(leader) = &mut self.role else {
            return self.reject(Some(token), Reason::NotLeader { hint }, effects);
        };
        if leader.transfer.is_some() {
            return self.reject(Some(token), Reason::Busy, effects);
        }
        let voting = leader.progress.iter().filter(|p| voters.contains(p.peer));
        let heir = match to {
            Some(to) => voting.clone().find(|p| p.peer == to),
            None => voting
                .clone()
                .filter(|p| p.active)
                .max_by_key(|p| p.matched),
        };
        let Some(heir) = heir.map(|progress| progress.peer) else {
            return self.reject(Some(token), Reason::Impossible, effects);
        };
        leader.transfer = Some(Transfer {
            token,
            to: heir,
            told: false,
        });
        let shortest = *self.config.election_timeout.start();
        effects.set_timer(Timer::Transfer, shortest..=shortest);
    }

    /// Once the heir has the whole log, it is told; from then on no lease holds in this term, for it
    /// may be elected at any moment.
    pub(crate) fn drive_transfer(&mut self, effects: &mut Effects<Self>) {
        let (term, last) = (self.term, self.log.last());
        let why = Early::Authority(self.authority());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        let caught_up = leader
            .progress
            .iter()
            .any(|p| p.peer == transfer.to && p.matched == last);
        if caught_up && !transfer.told {
            transfer.told = true;
            leader.reads.void_lease();
            effects.send_early(transfer.to, Message::TimeoutNow { term, last }, why);
        }
    }

    pub(crate) fn on_transfer_timeout(&mut self, effects: &mut Effects<Self>) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(transfer) = leader.transfer.take()
        {
            let token = Some(transfer.token);
            self.reject(token, Reason::TransferFailed, effects);
        }
    }

    /// A duplicate or a late one is of an older term and never comes here; one that finds a log
    /// without what the leader had is ignored, for it would lose.
    pub(crate) fn on_timeout_now(
        &mut self,
        from: NodeId,
        last: Index,
        effects: &mut Effects<Self>,
    ) {
        let follows = matches!(self.role, Role::Follower) && self.leader == Some(from);
        if follows && self.voters().contains(self.config.node) && self.log.last() >= last {
            self.await_leader(effects);
            self.campaign(true, effects);
        }
    }
}
