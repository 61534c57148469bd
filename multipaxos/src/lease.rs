//! Leases: reads that ask nobody [Gray89 §2], as a master of [Chandra07 §5.2] has them.
//!
//! An acceptor that answers its leader's question grants it a lease: for so long, by its own clock, it
//! promises no ballot of another node, nor obeys another leader, for that is a promise too: a node that
//! was removed may still be elected by others of its old group who do not know of it. Every phase 1 quorum has a member in every phase 2 quorum; so
//! while a phase 2 quorum's leases last, nobody else takes office, nothing is chosen that the leader has
//! not chosen, and it may answer reads by itself. It counts the lease from the moment at which it asked,
//! and trusts it for as long as no clock that is off by [`Options::clock_drift_percent`] could have seen
//! its end:
//!
//! ```text
//!   leader    asked ├────── trusted ──────┤ ← less by what two clocks may drift apart
//!   acceptor          answered ├────────── lease ──────────┤ promises others again
//! ```
//!
//! No moment is ever written down: an acceptor that was restarted behaves as if it had granted a lease
//! just before. What a node itself has been granted ends with it, so its own next ballot need not wait;
//! nor need an heir whom the leader names, for it has given its lease up before.
//!
//! [`Options::clock_drift_percent`]: crate::Options::clock_drift_percent
//! [`Options::lease`]: crate::Options::lease

use crate::{
    config::Options,
    node::{MultiPaxos, Role},
};
use alloc::collections::VecDeque;
use consensus_core::{Ballot, Time};
use core::time::Duration;

impl Options {
    /// For how long a leader trusts a lease, by its own clock: while its clock is as slow as may be, an
    /// acceptor's may be as fast.
    #[must_use]
    pub fn lease_trusted(&self) -> Option<Duration> {
        let drift = u32::from(self.clock_drift_percent.min(99));
        self.lease.map(|lease| {
            if planted!(self, LeaseWithoutBound) {
                return lease * (100 + 8 * drift) / 100;
            }
            lease * (100 - drift) / (100 + drift)
        })
    }
}

/// What an acceptor has granted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Grant {
    /// Whose lease it is.
    to: Ballot,
    /// By this node's clock.
    until: Time,
}

/// What a leader was granted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Lease {
    /// When the rounds began that no quorum has granted yet.
    begun: VecDeque<(u64, Time)>,
    /// The newest round that a quorum has granted, and when it began.
    granted: Option<(u64, Time)>,
    /// A question is due, whether a read waits or not.
    pub(crate) renew: bool,
    /// Given up: this ballot answers no more reads from a lease.
    void: bool,
}

impl Lease {
    /// Whether acceptors are to be asked for a lease with `round`, trusted for so long.
    pub(crate) fn begin(&mut self, round: u64, now: Time, trusted: Option<Duration>) -> bool {
        let asks = trusted.is_some() && !self.void;
        if asks {
            // What was asked for longer ago is worth nothing, whoever grants it still.
            while let (Some((_, begun)), Some(trusted)) = (self.begun.front(), trusted)
                && *begun + trusted <= now
            {
                self.begun.pop_front();
            }
            self.begun.push_back((round, now));
        }
        asks
    }

    /// A quorum has granted `round`: of each group that decides now, so it may be an older one than
    /// before.
    pub(crate) fn grant(&mut self, round: u64) {
        self.granted = self.granted.filter(|(granted, _)| *granted <= round);
        while let Some(begun) = self.begun.front().copied()
            && begun.0 <= round
        {
            self.granted = Some(begun);
            self.begun.pop_front();
        }
    }

    pub(crate) fn give_up(&mut self) {
        *self = Self {
            void: true,
            ..Self::default()
        };
    }

    pub(crate) fn holds(&self, now: Time, trusted: Option<Duration>) -> bool {
        let (Some((_, begun)), Some(trusted)) = (self.granted, trusted) else {
            return false;
        };
        now < begun + trusted
    }
}

impl MultiPaxos {
    /// Nobody remembers across a restart what it granted: as if it had been just now.
    pub(crate) fn grant_anew(&mut self, now: Time) {
        if self.promised.node != self.config.node {
            self.grant(now, self.promised);
        }
    }

    /// Grants the leader of `ballot` a lease; whether it lasts for what was `asked`, in nanoseconds.
    pub(crate) fn grant_asked(&mut self, now: Time, ballot: Ballot, asked: u64) -> bool {
        let lease = self.config.options.lease.unwrap_or_default();
        let lasts = asked > 0 && Duration::from_nanos(asked) <= lease;
        if lasts {
            self.grant(now, ballot);
        }
        lasts
    }

    fn grant(&mut self, now: Time, to: Ballot) {
        if let Some(lease) = self.config.options.lease
            && to != Ballot::ZERO
        {
            let until = now + lease;
            self.grant = Some(Grant { to, until });
        }
    }

    /// For how long still nobody may be promised `ballot`, whose owner was named heir by the leader of
    /// `released`, if any.
    pub(crate) fn bound_for(
        &self,
        now: Time,
        ballot: Ballot,
        released: Ballot,
    ) -> Option<Duration> {
        let grant = self.grant?;
        let free = grant.until <= now || grant.to.node == ballot.node || grant.to == released;
        (!free && !planted!(self.config.options, LeaseNotKept)).then(|| grant.until.since(now))
    }

    /// What to ask acceptors for, in nanoseconds; zero where leases are off.
    pub(crate) fn lease_asked(&self) -> u64 {
        let lease = self.config.options.lease.unwrap_or_default();
        u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A round of questions is over: the next is due.
    pub(crate) fn renew_lease(&mut self) {
        let wanted = self.config.options.lease.is_some();
        if let Role::Leader(leader) = &mut self.role {
            leader.lease.renew = wanted && !leader.lease.void;
        }
    }
}
