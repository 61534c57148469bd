//! Handing leadership over: the heir campaigns, and the leader is outranked like by anybody else. A
//! node that is asked to hand leadership to itself campaigns at once.

use crate::{
    message::Message,
    node::{MultiPaxos, Role},
};
use consensus_core::{
    Ballot, Early, Effects, NodeId, Time, Token,
    contract::replicated_log::{Event, Reason},
};

/// Heartbeat rounds after which a transfer has failed.
const ROUNDS: u8 = 4;

/// A transfer under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transfer {
    token: Token,
    rounds: u8,
}

impl MultiPaxos {
    pub(crate) fn transfer(
        &mut self,
        now: Time,
        token: Token,
        to: Option<NodeId>,
        effects: &mut Effects<Self>,
    ) {
        // Whoever is named may campaign whenever it likes: there is nobody to ask.
        if to == Some(self.config.node) && !matches!(self.role, Role::Leader(_)) {
            if self.bound_for(now, self.own, Ballot::ZERO).is_none() {
                return self.campaign(Ballot::ZERO, effects);
            }
            let (token, reason) = (Some(token), Reason::Busy);
            return effects.emit(Event::Rejected { token, reason });
        }
        let (ballot, since, hint) = (self.promised, self.since.lsn(), self.leader_known());
        let mut reject = |reason| {
            let token = Some(token);
            effects.emit(Event::Rejected { token, reason });
        };
        let Role::Leader(leader) = &mut self.role else {
            return reject(Reason::NotLeader { hint });
        };
        if leader.transfer.is_some() {
            return reject(Reason::Busy);
        }
        let best = leader.windows.iter().max_by_key(|window| window.through);
        let Some(heir) = to.or(best.map(|window| window.peer)) else {
            return reject(Reason::Impossible);
        };
        if leader.window(heir).is_none() {
            return reject(Reason::Impossible);
        }
        leader.transfer = Some(Transfer {
            token,
            rounds: ROUNDS,
        });
        leader.lease.give_up();
        let message = Message::Succeed { ballot };
        effects.send_early(heir, message, Early::Authority(since));
    }

    /// Whoever still leads after some rounds was not succeeded. It has served all the while.
    pub(crate) fn transfer_round_over(&mut self, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        transfer.rounds -= 1;
        if transfer.rounds == 0 {
            effects.emit(Event::Rejected {
                token: Some(transfer.token),
                reason: Reason::TransferFailed,
            });
            leader.transfer = None;
        }
    }

    pub(crate) fn on_succeed(
        &mut self,
        now: Time,
        from: NodeId,
        ballot: Ballot,
        effects: &mut Effects<Self>,
    ) {
        if self.obeys(from, ballot, effects)
            && matches!(self.role, Role::Follower)
            && self.bound_for(now, self.own, ballot).is_none()
        {
            self.campaign(ballot, effects);
        }
    }
}
