//! A replicated state machine at one real node: a [`LogService`], and what others may see of it
//! without asking it.

use super::bell::lock;
use crate::{
    Epoch, Index, NodeId, Protocol, StateMachine, Time,
    contract::replicated_log::{Event, Request},
    service::{
        Call, CallId, Manage, Outbox, Service, SnapshotReport,
        replicated_log::{Limits, LogService},
    },
};
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// Who leads, and under which epoch: whatever is done in the name of an older one may be fenced off
/// by comparing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Leadership {
    /// The authority. Never decreases.
    pub epoch: Epoch,
    /// Its holder; none while an election is on.
    pub leader: Option<NodeId>,
}

/// How far a node has come, as of the last event that its service has handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The last entry whose effect the state has.
    pub applied: Index,
    /// That entry's epoch.
    pub epoch: Epoch,
    /// Who leads.
    pub leadership: Leadership,
}

impl Progress {
    /// Whether a leader is known and an entry of its own epoch has been applied here: from then on
    /// everything that was committed before its election is in the state, and the group takes changes
    /// of its members. Of a leader that appends nothing of its own when it is elected (Multi-Paxos'
    /// appends only what it has to repair) this holds from its first command on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.leadership.leader.is_some() && self.epoch == self.leadership.epoch
    }
}

/// A replica from outside. Cheap to clone; outlives the node. Nothing here waits for the service, the
/// protocol or the disk.
#[derive(Clone)]
pub struct ReplicaWatch(Arc<Shared>);

struct Shared {
    progress: watch::Sender<Progress>,
    listeners: Mutex<Listeners>,
}

struct Listeners {
    now: Leadership,
    senders: Vec<mpsc::UnboundedSender<Leadership>>,
    /// The node has ended.
    ended: bool,
}

impl fmt::Debug for ReplicaWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplicaWatch")
            .field(&*self.0.progress.borrow())
            .finish()
    }
}

/// Every change of leadership from some moment on, in order, none left out: first what holds at that
/// moment. One small value an election waits for a listener that does not listen.
#[derive(Debug)]
pub struct Leaderships(mpsc::UnboundedReceiver<Leadership>);

impl Leaderships {
    /// The next; none when the node has ended. Nothing is lost when the waiting is given up.
    pub async fn next(&mut self) -> Option<Leadership> {
        self.0.recv().await
    }
}

impl ReplicaWatch {
    /// How far the node has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.0.progress.borrow()
    }

    /// Every change of leadership from now on; the first is what holds now.
    #[must_use]
    pub fn leaderships(&self) -> Leaderships {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = lock(&self.0.listeners);
        // The other end is here.
        let _ = sender.send(listeners.now);
        if !listeners.ended {
            listeners.senders.push(sender);
        }
        Leaderships(receiver)
    }

    /// Waits until [`Progress::is_ready`]. None when the node ends before.
    pub async fn wait_until_ready(&self) -> Option<Progress> {
        self.wait_until(Progress::is_ready).await
    }

    /// Waits until the state has everything up to `index`. None when the node ends before.
    pub async fn wait_until_applied(&self, index: Index) -> Option<Progress> {
        self.wait_until(|progress| progress.applied >= index).await
    }

    async fn wait_until(&self, holds: impl Fn(&Progress) -> bool) -> Option<Progress> {
        let mut progress = self.0.progress.subscribe();
        loop {
            let now = *progress.borrow_and_update();
            if holds(&now) {
                return Some(now);
            }
            if lock(&self.0.listeners).ended || progress.changed().await.is_err() {
                return None;
            }
        }
    }

    fn lead(&self, leadership: Leadership) {
        let mut listeners = lock(&self.0.listeners);
        listeners.now = leadership;
        listeners
            .senders
            .retain(|listener| listener.send(leadership).is_ok());
    }

    fn end(&self) {
        let mut listeners = lock(&self.0.listeners);
        listeners.ended = true;
        listeners.senders.clear();
        drop(listeners);
        self.0.progress.send_modify(|_| {});
    }
}

/// A state machine's service at a real node. Give it to [`start_with`](super::start_with).
pub struct Replica<S> {
    service: LogService<S>,
    watch: ReplicaWatch,
    progress: Progress,
}

impl<S> fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl<S> Drop for Replica<S> {
    fn drop(&mut self) {
        self.watch.end();
    }
}

impl<S: StateMachine + 'static> Replica<S> {
    /// An empty state at `node`, and how to watch it.
    pub fn new(node: NodeId, machine: S, limits: Limits) -> (Self, ReplicaWatch) {
        let leadership = Leadership {
            epoch: Epoch::ZERO,
            leader: None,
        };
        let progress = Progress {
            applied: Index::ZERO,
            epoch: Epoch::ZERO,
            leadership,
        };
        let watch = ReplicaWatch(Arc::new(Shared {
            progress: watch::Sender::new(progress),
            listeners: Mutex::new(Listeners {
                now: leadership,
                senders: Vec::new(),
                ended: false,
            }),
        }));
        let replica = Self {
            service: LogService::new(node, machine, limits),
            watch: watch.clone(),
            progress,
        };
        (replica, watch)
    }

    fn tell(&self) {
        self.watch.0.progress.send_replace(self.progress);
    }
}

impl<S, P> Service<P> for Replica<S>
where
    S: StateMachine + 'static,
    P: Protocol<Request = Request, Event = Event>,
{
    fn call(&mut self, now: Time, call: Call, out: &mut Outbox<P>) {
        self.service.call(now, call, out);
    }

    fn event(&mut self, now: Time, event: Event, out: &mut Outbox<P>) {
        match event {
            Event::LeaderChanged { epoch, leader } => {
                let leadership = Leadership { epoch, leader };
                self.service.event(now, event, out);
                if leadership != self.progress.leadership {
                    self.progress.leadership = leadership;
                    self.watch.lead(leadership);
                    self.tell();
                }
            }
            Event::Committed(run) => {
                let (applied, epoch) = (run.last(), run.epoch());
                self.service.event(now, Event::Committed(run), out);
                (self.progress.applied, self.progress.epoch) = (applied, epoch);
                self.tell();
            }
            event => self.service.event(now, event, out),
        }
    }

    fn manage(&mut self, now: Time, id: CallId, what: Manage, out: &mut Outbox<P>) {
        self.service.manage(now, id, what, out);
    }

    fn snapshot(&mut self, now: Time, report: SnapshotReport, out: &mut Outbox<P>) {
        let restored = match &report {
            SnapshotReport::Opened { manifest, .. } => Some((manifest.index, manifest.epoch)),
            _ => None,
        };
        Service::<P>::snapshot(&mut self.service, now, report, out);
        if let Some((applied, epoch)) = restored {
            (self.progress.applied, self.progress.epoch) = (applied, epoch);
            self.tell();
        }
    }

    fn applied(&self) -> Option<Index> {
        Service::<P>::applied(&self.service)
    }

    fn next_wake(&self) -> Option<Time> {
        Service::<P>::next_wake(&self.service)
    }

    fn wake(&mut self, now: Time, out: &mut Outbox<P>) {
        self.service.wake(now, out);
    }

    fn abandon(&mut self, now: Time, id: CallId, out: &mut Outbox<P>) {
        self.service.abandon(now, id, out);
    }
}
