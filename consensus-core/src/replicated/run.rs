//! Leadership: who may host, when a run begins, and when it is over.

use super::{
    Hosting, Replicated, Timer,
    command::Command,
    hosted::{Ask, Hosted},
    log::{Applied, Holder},
    node::Outer,
};
use crate::{
    Boot, Effects, Epoch, Input, Lsn, NodeId, Protocol, Time, Token, Wire,
    contract::replicated_log::{Event, Request},
    log::{Commands, EntryKind, Run},
};
use alloc::{boxed::Box, vec::Vec};
use core::{ops::RangeInclusive, time::Duration};

/// How long lazy records wait for one that carries them.
const LAZY: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(100);
/// Before a leader whose proposal was refused proposes again to begin a run.
const AGAIN: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(60);

/// What this machine does for the hosted node.
#[derive(Clone)]
pub(super) enum Role<P: Protocol> {
    /// Nothing.
    Idle,
    /// It leads, and has proposed to begin a run.
    Asked { epoch: Epoch, attempt: u64 },
    /// It runs it.
    Hosting(Box<Hosted<P>>),
}

impl<P: Protocol> Role<P> {
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Idle => None,
            Self::Asked { epoch, .. } => Some(*epoch),
            Self::Hosting(hosted) => Some(hosted.epoch),
        }
    }
}

impl<H: Hosting> Replicated<H> {
    pub(super) fn on_group_event(&mut self, now: Time, event: &Event, effects: &mut Effects<Self>) {
        match event {
            Event::LeaderChanged { epoch, leader } => {
                let (epoch, leader) = (*epoch, *leader);
                (self.epoch, self.leader) = (epoch, leader);
                let leads = leader == Some(self.config.node);
                if !leads || self.role.epoch() != Some(epoch) {
                    self.stop();
                }
                if leads && matches!(self.role, Role::Idle) {
                    self.ask();
                }
            }
            Event::Committed(run) => self.apply(now, run, effects),
            Event::ReadReady { token, index } => {
                if let Role::Hosting(hosted) = &mut self.role {
                    hosted.answered(*token, *index);
                }
            }
            // A proposal of this run that stands under another epoch: this machine led, was deposed,
            // and leads again.
            Event::Appended { token, epoch, .. } => {
                if token.0 > self.since && self.role.epoch().is_some_and(|own| own != *epoch) {
                    self.lose(effects);
                }
            }
            // Never proposed again: what comes after it may have been taken.
            Event::Rejected { token, .. } => {
                if token.is_some_and(|token| token.0 > self.since) {
                    self.lose(effects);
                }
            }
            Event::MembersChanged { members, .. } => self.members = Some((**members).clone()),
            Event::SendSnapshot { to, manifest } => self.send_snapshot(*to, manifest, effects),
            Event::Restore(manifest) => self.restore(manifest, effects),
        }
    }

    /// Ends a run, or the attempt to begin one.
    fn stop(&mut self) {
        self.role = Role::Idle;
        self.since = self.token;
        // What this run has asked; what is said of snapshots is the machine's.
        let of_run = |ask: &Request| matches!(ask, Request::Propose { .. } | Request::Read { .. });
        self.asks.retain(|ask| !of_run(ask));
    }

    /// As [`Self::stop`], for a machine that may still lead.
    pub(super) fn lose(&mut self, effects: &mut Effects<Self>) {
        self.stop();
        if self.leader == Some(self.config.node) {
            effects.set_timer(Timer::Again, AGAIN);
        }
    }

    pub(super) fn on_again(&mut self) {
        if self.leader == Some(self.config.node) && matches!(self.role, Role::Idle) {
            self.ask();
        }
    }

    /// Proposes to begin a run.
    fn ask(&mut self) {
        self.attempt += 1;
        self.role = Role::Asked {
            epoch: self.epoch,
            attempt: self.attempt,
        };
        let command = Command::Begin {
            node: self.config.node,
            boot: self.boot,
            attempt: self.attempt,
        };
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.propose(Commands::one(&bytes));
    }

    fn propose(&mut self, commands: Commands) {
        self.token += 1;
        let token = Some(Token(self.token));
        self.asks.push(Request::Propose { token, commands });
    }

    /// Reads what is committed.
    fn apply(&mut self, now: Time, run: &Run, effects: &mut Effects<Self>) {
        assert!(
            run.first() == self.applied.next(),
            "law 1: {run:?} is told after {}",
            self.applied
        );
        if run.kind() == EntryKind::Command {
            for command in run.iter() {
                if let Applied::Began(holder) = self.log.apply(command) {
                    self.began(now, holder, run.epoch(), effects);
                }
            }
        }
        self.applied = run.last();
        self.compact(run.epoch(), effects);
    }

    /// A new run has begun: this machine's, which recovers from all that is committed before it, or
    /// another's, which ends this one's.
    fn began(&mut self, now: Time, holder: Holder, epoch: Epoch, effects: &mut Effects<Self>) {
        let run = self.log.run;
        self.found_host(run, holder.0);
        let mine = match &self.role {
            Role::Asked {
                epoch: asked,
                attempt,
            } => holder == (self.config.node, self.boot, *attempt) && *asked == epoch,
            Role::Idle | Role::Hosting(_) => false,
        };
        if !mine {
            if matches!(self.role, Role::Hosting(_)) {
                self.lose(effects);
            }
            return;
        }
        let (config, records) = (self.config.hosted.clone(), self.log.records.clone());
        match Outer::<H>::recover(config, run, records) {
            Ok(protocol) => {
                let mut hosted = Hosted::new(protocol, run, epoch, self.log.last);
                hosted.handle(now, Input::Start);
                self.role = Role::Hosting(Box::new(hosted));
            }
            Err(error) => panic!("every prefix is a legal state: {error}"),
        }
    }

    pub(super) fn found_host(&mut self, run: Boot, node: NodeId) {
        if run >= self.host.0 {
            self.host = (run, Some(node));
        }
    }

    pub(super) fn on_lazy(&mut self, run: Boot) {
        if let Role::Hosting(hosted) = &mut self.role
            && hosted.run == run
            && hosted.is_lazy()
        {
            let ask = hosted.write();
            self.take(alloc::vec![ask]);
        }
    }

    fn take(&mut self, asks: Vec<Ask>) {
        for ask in asks {
            match ask {
                Ask::Write(commands) => self.propose(commands),
                Ask::Prove(token) => self.asks.push(Request::Read { token }),
            }
        }
    }

    /// Ends the hosted node's batch, and those that follow from what has become durable for it.
    pub(super) fn end_hosted_batch(&mut self, now: Time, effects: &mut Effects<Self>) {
        loop {
            self.reclaim_hosted(now);
            let Role::Hosting(hosted) = &mut self.role else {
                return;
            };
            let was_lazy = hosted.is_lazy();
            let unproven = self.config.unproven;
            let mut asks = hosted.end_batch(now, unproven, &mut self.token, effects);
            let run = hosted.run;
            for (timer, range) in hosted.take_timers() {
                effects.timers.push((Timer::Hosted(run, timer), range));
            }
            if hosted.is_lazy() && !was_lazy {
                effects.set_timer(Timer::Lazy(run), LAZY);
            }
            let moved = hosted.advance(now, self.applied, self.log.last, effects);
            let more = moved.is_some();
            asks.extend(moved.into_iter().flatten());
            self.take(asks);
            if !more {
                return;
            }
        }
    }

    /// The hosted node's log is long here: it is asked to write anew what lives in its older half.
    fn reclaim_hosted(&mut self, now: Time) {
        let (every, records) = (self.config.reclaim_every, &self.log.records);
        let Role::Hosting(hosted) = &mut self.role else {
            return;
        };
        if records.len() >= every.max(1) && self.log.last >= hosted.reclaim {
            hosted.reclaim = Lsn(self.log.last.0 + every as u64 / 8 + 1);
            if let Some((before, _)) = records.get(records.len() / 2) {
                hosted.handle(now, Input::Reclaim(*before));
            }
        }
    }
}
