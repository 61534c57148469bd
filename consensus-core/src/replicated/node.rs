//! One machine: a replica of the group, an own node of the outer protocol, and the hosted node while
//! this replica leads. Dispatch; what leadership means stands in `run`.

use super::{
    Config, HOSTED, Hosting, Message, Record,
    inner::{Inner, Names},
    log::Log,
    run::Role,
    snapshot::{Incoming, Snapshot},
};
use crate::{
    Boot, Effects, Epoch, Gate, Index, Input, Lsn, NodeId, Outlet, Protocol, RecoverError, Time,
    contract::replicated_log::{self, Membership, SnapshotId},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{fmt, time::Duration};

pub(super) type Group<H> = <H as Hosting>::Group;
pub(super) type Outer<H> = <H as Hosting>::Outer;
pub(super) type MessageOf<H> =
    Message<<Group<H> as Protocol>::Message, <Outer<H> as Protocol>::Message>;
pub(super) type RecordOf<H> =
    Record<<Group<H> as Protocol>::Record, <Outer<H> as Protocol>::Record>;

/// Longer than a hosted node that lives takes to be heard again.
const SILENCE: Duration = Duration::from_millis(100);

/// A machine of a cluster that hosts one node of [`Hosting::Outer`] on a [`Hosting::Group`].
///
/// It is a protocol like any other, and speaks the outer one's contract.
#[derive(Clone)]
pub struct Replicated<H: Hosting> {
    pub(super) config: Config<H>,
    pub(super) boot: Boot,
    /// None where this machine has no replica.
    pub(super) group: Option<Inner<Group<H>>>,
    /// Holds what the group tells until its disk has what that rests on.
    gate: Gate,
    pub(super) own: Inner<Outer<H>>,
    /// The hosted node's disk, as this replica knows it.
    pub(super) log: Log<<Outer<H> as Protocol>::Record>,
    /// The last entry of the group's log that `log` has seen.
    pub(super) applied: Index,
    pub(super) role: Role<Outer<H>>,
    /// Who leads the group, as this replica knows.
    pub(super) leader: Option<NodeId>,
    pub(super) epoch: Epoch,
    /// The newest run that this machine has heard of, and where.
    pub(super) host: (Boot, Option<NodeId>),
    /// When the hosted node was last heard here.
    heard_hosted: Time,
    pub(super) token: u64,
    /// Tokens after this one belong to the present run, or to the attempt to begin one.
    pub(super) since: u64,
    pub(super) attempt: u64,
    /// What the group has told and nobody has heard yet. Empty between batches.
    heard: VecDeque<replicated_log::Event>,
    /// What it told in the last batch, for invariants.
    pub(super) recent: Vec<replicated_log::Event>,
    /// What the group is to be asked in this batch. Empty between batches.
    pub(super) asks: Vec<replicated_log::Request>,
    /// Who belongs to the group, as it was last told.
    pub(super) members: Option<Membership>,
    /// The one that the group's log rests on, the newest, and those that are yet to be restored.
    pub(super) snapshots: Vec<Snapshot>,
    /// What was sent to whom, and may be lost.
    pub(super) sent: BTreeMap<NodeId, SnapshotId>,
    /// What has come of a snapshot from elsewhere.
    pub(super) incoming: Option<Incoming>,
    pub(super) restored: u64,
}

impl<H: Hosting> fmt::Debug for Replicated<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated")
            .field("node", &self.config.node)
            .field("run", &self.log.run)
            .field("leader", &self.leader)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

/// The names of alarms of the group, `G`, and of the outer protocol, `O`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer<G, O> {
    /// The replica's.
    Group(G),
    /// The own node's.
    Own(O),
    /// The hosted node's, in this run.
    Hosted(Boot, O),
    /// Records of this run of the hosted node have waited for long.
    Lazy(Boot),
    /// A leader that is no host tries again to become one.
    Again,
    /// What was sent to that machine has had time to arrive.
    Snapshot(NodeId),
}

/// A look inside one machine: the replica of the group, `G`, and nodes of the outer protocol, `O`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status<G, O> {
    /// The replica, if it has one.
    pub group: Option<G>,
    /// The machine's own node.
    pub own: O,
    /// The newest run of the hosted node that the log knows.
    pub run: Boot,
    /// The hosted node, where it runs here.
    pub hosted: Option<O>,
    /// Its records that are kept here.
    pub records: usize,
    /// Up to where the group's log is replaced by a snapshot here.
    pub compacted: Index,
    /// Snapshots that this run has begun anew from, the one at its start included.
    pub restored: u64,
}

/// Where the group's events go; its messages have left already.
struct Heard<'a>(&'a mut VecDeque<replicated_log::Event>);

impl<M> Outlet<M, replicated_log::Event> for Heard<'_> {
    fn message(&mut self, to: NodeId, _: M) {
        unreachable!("a message to {to} was left to the gate");
    }
    fn event(&mut self, event: replicated_log::Event) {
        self.0.push_back(event);
    }
    fn release(&mut self, _: Lsn) {}
}

impl<H: Hosting> Protocol for Replicated<H> {
    type Config = Config<H>;
    type Message = MessageOf<H>;
    type Record = RecordOf<H>;
    type Request = <Outer<H> as Protocol>::Request;
    type Event = <Outer<H> as Protocol>::Event;
    type Timer = Timer<<Group<H> as Protocol>::Timer, <Outer<H> as Protocol>::Timer>;
    type Status = Status<<Group<H> as Protocol>::Status, <Outer<H> as Protocol>::Status>;

    fn recover(
        config: Config<H>,
        boot: Boot,
        records: impl IntoIterator<Item = (Lsn, RecordOf<H>)>,
    ) -> Result<Self, RecoverError> {
        let (mut group, mut own, mut last) = (Vec::new(), Vec::new(), Lsn::ZERO);
        let mut snapshots = Vec::<Snapshot>::new();
        for (lsn, record) in records {
            last = lsn;
            match record {
                Record::Group(record) => group.push((lsn, record)),
                Record::Own(record) => own.push((lsn, record)),
                Record::Snapshot { manifest, state } => {
                    // Written anew it is the same.
                    snapshots.retain(|kept| kept.manifest.id != manifest.id);
                    let at = lsn;
                    snapshots.push(Snapshot {
                        manifest,
                        state,
                        at,
                    });
                }
            }
        }
        Ok(Self {
            group: match config.is_replica() {
                true => {
                    let replica = Group::<H>::recover(config.group.clone(), boot, group)?;
                    Some(Inner::new(replica, last))
                }
                false => None,
            },
            gate: Gate::new(last),
            own: Inner::new(Outer::<H>::recover(config.own.clone(), boot, own)?, last),
            config,
            boot,
            log: Log::default(),
            applied: Index::ZERO,
            role: Role::Idle,
            leader: None,
            epoch: Epoch::ZERO,
            host: (Boot(0), None),
            heard_hosted: Time::ZERO,
            token: 0,
            since: 0,
            attempt: 0,
            heard: VecDeque::new(),
            recent: Vec::new(),
            asks: Vec::new(),
            members: None,
            snapshots,
            sent: BTreeMap::new(),
            incoming: None,
            restored: 0,
        })
    }

    fn handle(&mut self, now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Start => {
                self.group(now, Input::Start, effects);
                self.own(now, Input::Start, effects);
            }
            Input::Receive { from, message } => self.receive(now, from, message, effects),
            Input::Request(request) => self.request(now, request, effects),
            Input::Timer(Timer::Group(timer)) => self.group(now, Input::Timer(timer), effects),
            Input::Timer(Timer::Own(timer)) => self.own(now, Input::Timer(timer), effects),
            Input::Timer(Timer::Hosted(run, timer)) => {
                if let Role::Hosting(hosted) = &mut self.role
                    && hosted.run == run
                {
                    hosted.handle(now, Input::Timer(timer));
                }
            }
            Input::Timer(Timer::Lazy(run)) => self.on_lazy(run),
            Input::Timer(Timer::Again) => self.on_again(),
            Input::Timer(Timer::Snapshot(node)) => self.on_snapshot_lost(node),
            Input::Durable(lsn) => {
                if let Some(group) = &mut self.group {
                    let mut heard = Heard(&mut self.heard);
                    self.gate.open(lsn, &mut group.effects, &mut heard);
                }
                self.own.effects.durable = lsn;
                self.group(now, Input::Durable(lsn), effects);
                self.own(now, Input::Durable(lsn), effects);
            }
            Input::Unreachable(node) => {
                self.group(now, Input::Unreachable(node), effects);
                self.own(now, Input::Unreachable(node), effects);
                if let Role::Hosting(hosted) = &mut self.role {
                    hosted.handle(now, Input::Unreachable(node));
                }
            }
            Input::Reclaim(before) => {
                self.reclaim_snapshots(before, effects);
                self.group(now, Input::Reclaim(before), effects);
                self.own(now, Input::Reclaim(before), effects);
            }
        }
    }

    fn flush(&mut self, now: Time, effects: &mut Effects<Self>) {
        self.recent.clear();
        self.own.flush(now, &Self::OWN, effects);
        self.spread_own(now, effects);
        while let Some(group) = &mut self.group {
            group.flush(now, &Self::GROUP, effects);
            Self::spread_group(group, effects);
            let mut heard = Heard(&mut self.heard);
            self.gate.admit(&mut group.effects, &mut heard);
            while let Some(event) = self.heard.pop_front() {
                self.on_group_event(now, &event, effects);
                self.recent.push(event);
            }
            self.end_hosted_batch(now, effects);
            if self.asks.is_empty() {
                break;
            }
            for request in core::mem::take(&mut self.asks) {
                self.group(now, Input::Request(request), effects);
            }
        }
        let group = self.group.as_ref().map(|group| group.released);
        let released = group.unwrap_or(self.own.released).min(self.own.released);
        let needed = self.forget_snapshots().unwrap_or(released);
        let released = released.min(needed);
        if released > Lsn::ZERO {
            effects.release(released);
        }
    }

    fn status(&self) -> Self::Status {
        Status {
            group: self.group.as_ref().map(|group| group.protocol.status()),
            own: self.own.protocol.status(),
            run: self.log.run,
            hosted: match &self.role {
                Role::Hosting(hosted) => Some(hosted.protocol.status()),
                Role::Idle | Role::Asked { .. } => None,
            },
            records: self.log.records.len(),
            compacted: self.compacted(),
            restored: self.restored,
        }
    }
}

// Ways in and out.
impl<H: Hosting> Replicated<H> {
    const GROUP: Names<Group<H>, Self> = Names {
        record: Record::Group,
        timer: Timer::Group,
    };
    const OWN: Names<Outer<H>, Self> = Names {
        record: Record::Own,
        timer: Timer::Own,
    };

    fn group(&mut self, now: Time, input: Input<Group<H>>, effects: &mut Effects<Self>) {
        if let Some(group) = &mut self.group {
            group.handle(now, input, &Self::GROUP, effects);
            Self::spread_group(group, effects);
        }
    }

    fn spread_group(group: &mut Inner<Group<H>>, effects: &mut Effects<Self>) {
        group.post(effects, |to, message, out| {
            out.push((to, Message::Group(message)));
        });
    }

    fn own(&mut self, now: Time, input: Input<Outer<H>>, effects: &mut Effects<Self>) {
        self.own.handle(now, input, &Self::OWN, effects);
        self.spread_own(now, effects);
    }

    /// What is for the hosted node goes where it was last heard of and where the group's leader is: one
    /// of the two may know nothing of it. If nothing has been heard of it for long, to every replica.
    fn spread_own(&mut self, now: Time, effects: &mut Effects<Self>) {
        let (host, leader) = (self.host.1, self.leader);
        let silent = now.since(self.heard_hosted) > SILENCE;
        let replicas = &self.config.replicas;
        self.own.post(effects, |to, message, out| {
            if to != HOSTED {
                return out.push((to, Message::Own(message)));
            }
            let hosts = |node: &NodeId| silent || Some(*node) == host || Some(*node) == leader;
            for node in replicas.iter().copied().filter(hosts) {
                out.push((node, Message::ToHosted(message.clone())));
            }
        });
        self.own.tell(effects);
    }

    fn receive(
        &mut self,
        now: Time,
        from: NodeId,
        message: MessageOf<H>,
        effects: &mut Effects<Self>,
    ) {
        match message {
            Message::Group(message) => {
                self.group(now, Input::Receive { from, message }, effects);
            }
            Message::Own(message) => self.own(now, Input::Receive { from, message }, effects),
            Message::ToHosted(message) => {
                if let Role::Hosting(hosted) = &mut self.role {
                    hosted.handle(now, Input::Receive { from, message });
                }
            }
            Message::FromHosted { run, message } => {
                self.found_host(run, from);
                self.heard_hosted = now;
                let from = HOSTED;
                self.own(now, Input::Receive { from, message }, effects);
            }
            Message::Snapshot { manifest, at, part } => {
                self.on_snapshot(from, manifest, at, &part, effects);
            }
            Message::SnapshotWanted { id, at } => self.send_part(from, id, at, effects),
        }
    }

    fn request(
        &mut self,
        now: Time,
        request: <Outer<H> as Protocol>::Request,
        effects: &mut Effects<Self>,
    ) {
        if !H::is_for_hosted(&request) {
            return self.own(now, Input::Request(request), effects);
        }
        if let Role::Hosting(hosted) = &mut self.role {
            return hosted.handle(now, Input::Request(request));
        }
        let elsewhere = |node: &NodeId| *node != self.config.node;
        let hint = self.leader.or(self.host.1).filter(elsewhere);
        if let Some(event) = H::refusal(&request, hint) {
            // That it is not done here rests on nothing.
            effects.emit_early(event, crate::Early::Authority(Lsn::ZERO));
        }
    }
}
