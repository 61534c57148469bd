//! The application's side of a replicated log: sessions, the state machine, and the three outcomes.

use super::{
    Answer, Call, CallId, Chunks, Manage, Outbox, Refusal, Service, SnapshotOrder, SnapshotReport,
    Unrest, manage::Manager,
};
use crate::{
    ClientId, Decoder, Epoch, Field, Index, NodeId, Protocol, Sequence, StateMachine, Time, Token,
    contract::replicated_log::{Event, Manifest, Membership, Reason, Request, SnapshotId},
    log::{Commands, EntryKind, Run},
    session::{Admission, Sessions},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use bytes::Bytes;

/// A command in the log: who asked, and what. Sequence zero opens the session and carries nothing.
fn envelope(client: ClientId, sequence: Sequence, body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    client.put(out);
    sequence.put(out);
    out.extend_from_slice(body);
}

/// Splits a command into who asked and what. Copies nothing.
fn open_envelope(command: &[u8]) -> Option<(ClientId, Sequence, &[u8])> {
    let (client, rest) = command.split_first_chunk::<16>()?;
    let mut sequence = 0u64;
    for (i, byte) in rest.iter().take(10).enumerate() {
        sequence |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if *byte < 0x80 {
            let client = ClientId(u128::from_le_bytes(*client));
            return Some((client, Sequence(sequence), &rest[i + 1..]));
        }
    }
    None
}

/// Limits of a [`LogService`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Calls that may wait at this node. Default 65,536; more are answered [`Refusal::Busy`].
    pub calls_max: usize,
    /// Bytes of one command. Default 1 MiB.
    pub command_bytes_max: usize,
    /// Open sessions. Default 100,000; must be the same on every node, for expiry is decided by the
    /// log.
    pub sessions_max: usize,
    /// Reads are answered by whichever node is asked, at two message delays more where that node does not
    /// lead: the leader then only says how far the node must have applied. Default off: clients are sent
    /// to the leader. Where the protocol reads at the leader only, they still are.
    pub reads_anywhere: bool,
    /// A snapshot is taken when so many bytes of commands have been applied since the last one.
    /// Default 0: never, for drivers that cannot keep any.
    pub snapshot_bytes: usize,
    /// And not before so many percent of the last snapshot's size have been applied: a state that only
    /// grows would else be written again and again. Default 0.
    pub snapshot_growth_percent: u8,
    /// For simulations: what is asked for unasked. Default: nothing.
    pub unrest: Unrest,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 65_536,
            command_bytes_max: 1 << 20,
            sessions_max: 100_000,
            reads_anywhere: false,
            snapshot_bytes: 0,
            snapshot_growth_percent: 0,
            unrest: Unrest::default(),
        }
    }
}

/// Bytes of room for commands at most that have not come yet.
const ROOM_MAX: usize = 1 << 20;

/// Commands with a place, waiting to be applied there.
#[derive(Debug)]
struct Placed {
    first: Index,
    epoch: Epoch,
    calls: Vec<CallId>,
}

/// What came of an entry.
enum Executed {
    Done,
    Refused(Refusal),
    /// It was no command.
    Nothing,
}

/// A replicated state machine at one node, for any protocol that speaks the contract.
///
/// A client opens its session by a call with sequence zero, then numbers its calls from one. A call
/// is answered [`Answer::Done`] when its command has been applied, [`Answer::Refused`] when it
/// certainly will not be (another epoch's entry stands in its place, or it was never appended), and
/// [`Answer::Unknown`] when this node cannot tell.
#[derive(Debug)]
pub struct LogService<S> {
    node: NodeId,
    machine: S,
    sessions: Sessions,
    limits: Limits,
    applied: Index,
    /// The epoch of that entry, and who belonged to the group as of it.
    epoch: Epoch,
    members: Membership,
    /// Bytes of commands applied since the last snapshot; none while one is being kept.
    unsaved: Option<usize>,
    /// How many bytes are enough for the next.
    enough: usize,
    leader: Option<NodeId>,
    /// The newest epoch heard of: whose leader's orders to send snapshots these are.
    led: Epoch,
    next_token: u64,
    /// Handed to the protocol, place not yet known.
    proposed: BTreeMap<Token, Vec<CallId>>,
    /// Commands of the newest of them, and their bytes.
    gathered: (usize, usize),
    /// In the order of their places.
    placed: VecDeque<Placed>,
    /// Asked for, index not yet known.
    reading: BTreeMap<Token, Vec<(CallId, Bytes)>>,
    /// Index known, not yet applied.
    ready: BTreeMap<Index, Vec<(CallId, Bytes)>>,
    waiting: usize,
    /// Who belongs as of the newest word, and what an operator asks.
    manager: Manager,
    scratch: Vec<u8>,
    /// Of the command that was applied last.
    result: Vec<u8>,
}

impl<S: StateMachine + 'static> LogService<S> {
    /// An empty state at `node`; the protocol tells it the rest.
    pub fn new(node: NodeId, machine: S, limits: Limits) -> Self {
        Self {
            node,
            machine,
            sessions: Sessions::new(limits.sessions_max),
            limits,
            applied: Index::ZERO,
            epoch: Epoch::ZERO,
            members: Membership {
                voters: Vec::new(),
                outgoing: Vec::new(),
                learners: Vec::new(),
            },
            unsaved: Some(0),
            enough: limits.snapshot_bytes,
            leader: None,
            led: Epoch::ZERO,
            next_token: 0,
            proposed: BTreeMap::new(),
            gathered: (1, 0),
            placed: VecDeque::new(),
            reading: BTreeMap::new(),
            ready: BTreeMap::new(),
            waiting: 0,
            manager: Manager::default(),
            scratch: Vec::new(),
            result: Vec::new(),
        }
    }

    /// The state, as of [`applied`](Self::applied).
    pub const fn machine(&self) -> &S {
        &self.machine
    }

    /// The last entry whose effect the state has.
    pub const fn applied(&self) -> Index {
        self.applied
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn answer<P: Protocol>(&mut self, id: CallId, answer: Answer, out: &mut Outbox<P>) {
        self.waiting = self.waiting.saturating_sub(1);
        out.answer(id, answer);
    }

    fn answer_all<P: Protocol>(
        &mut self,
        calls: impl IntoIterator<Item = CallId>,
        answer: &Answer,
        out: &mut Outbox<P>,
    ) {
        for id in calls {
            self.answer(id, answer.clone(), out);
        }
    }

    /// Joins the request before it when that one is still in the outbox: one proposal a batch of
    /// calls, one read round for all reads that arrive together.
    fn propose<P: Protocol<Request = Request>>(&mut self, call: &Call, out: &mut Outbox<P>) {
        envelope(call.client, call.sequence, &call.body, &mut self.scratch);
        if let Some(Request::Propose {
            token: Some(token),
            commands,
        }) = out.requests.last_mut()
            && commands.payload_bytes() + self.scratch.len() <= Commands::BYTES_MAX / 64
            && let Some(calls) = self.proposed.get_mut(token)
        {
            commands.push(&self.scratch);
            calls.push(call.id);
            self.gathered.0 += 1;
            self.gathered.1 += self.scratch.len();
            return;
        }
        let token = self.token();
        // As much as last time: large memory that grows is copied again and again.
        let (count, bytes) = core::mem::replace(&mut self.gathered, (1, self.scratch.len()));
        let mut commands = Commands::with_room(count, bytes.min(ROOM_MAX));
        commands.push(&self.scratch);
        let mut calls = Vec::with_capacity(count);
        calls.push(call.id);
        self.proposed.insert(token, calls);
        out.requests.push(Request::Propose {
            token: Some(token),
            commands,
        });
    }

    fn read<P: Protocol<Request = Request>>(&mut self, call: Call, out: &mut Outbox<P>) {
        if let Some(Request::Read { token }) = out.requests.last()
            && let Some(calls) = self.reading.get_mut(token)
        {
            calls.push((call.id, call.body));
            return;
        }
        let token = self.token();
        self.reading
            .insert(token, alloc::vec![(call.id, call.body)]);
        out.requests.push(Request::Read { token });
    }

    /// Applies the entries of a run in order and answers whoever waits for them here.
    fn apply<P: Protocol<Request = Request>>(&mut self, run: &Run, out: &mut Outbox<P>) {
        assert!(
            run.first() == self.applied.next(),
            "law 1: {run:?} is told after {}",
            self.applied
        );
        let mut index = run.first();
        for command in run.iter() {
            let outcome = match run.kind() {
                EntryKind::Command => self.execute(index, command),
                EntryKind::Noop | EntryKind::Membership => Executed::Nothing,
            };
            self.applied = index;
            self.settle(index, run.epoch(), outcome, out);
            self.stir(out);
            index = index.next();
        }
        self.epoch = run.epoch();
        if run.kind() == EntryKind::Membership {
            for payload in run.iter() {
                if let Some(members) = Membership::from_entry(payload) {
                    self.members = members;
                }
            }
        }
        if !self.manager.is_settled() {
            self.manager.applied(self.applied, out);
        }
        self.answer_ready(out);
        self.save(run.payload_bytes(), out);
    }

    #[inline]
    fn stir<P: Protocol<Request = Request>>(&mut self, out: &mut Outbox<P>) {
        let unrest = self.limits.unrest;
        if unrest.every > 0 && self.leader == Some(self.node) {
            let token = self.token();
            let request = unrest.request(self.applied.0, &self.members, || token);
            out.requests.extend(request);
        }
    }

    /// Has a snapshot kept when enough has been applied since the last one.
    #[inline]
    fn save<P: Protocol>(&mut self, bytes: usize, out: &mut Outbox<P>) {
        let Some(unsaved) = &mut self.unsaved else {
            return;
        };
        *unsaved += bytes;
        if self.limits.snapshot_bytes == 0 || *unsaved < self.enough {
            return;
        }
        self.unsaved = None;
        let manifest = Manifest {
            id: SnapshotId(u128::from(self.node.0) << 64 | u128::from(self.applied.0)),
            index: self.applied,
            epoch: self.epoch,
            members: self.members.clone(),
            coming: Vec::new(),
            size: 0,
        };
        let chunks = Chunks::new(self.frozen());
        out.snapshots.push(SnapshotOrder::Keep { manifest, chunks });
    }

    fn saved(&mut self, size: u64) {
        let share = size / 100 * u64::from(self.limits.snapshot_growth_percent);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        self.enough = self.limits.snapshot_bytes.max(share);
    }

    /// The result, if there is one, is in `self.result`: most replicas have nobody to hand it to.
    #[inline]
    fn execute(&mut self, index: Index, command: &[u8]) -> Executed {
        self.result.clear();
        let Some((client, sequence, body)) = open_envelope(command) else {
            return Executed::Refused(Refusal::Malformed);
        };
        if sequence == Sequence(0) {
            self.sessions.open(index, client);
            return Executed::Done;
        }
        let (machine, result) = (&mut self.machine, &mut self.result);
        let execute = |result: &mut Vec<u8>| machine.apply_into(index, body, result);
        match self.sessions.once(index, client, sequence, result, execute) {
            Admission::Executed | Admission::Repeated => Executed::Done,
            Admission::Expired => Executed::Refused(Refusal::SessionExpired),
        }
    }

    /// The call whose command was placed at `index` under `epoch` is told what came of it; one that was
    /// placed there under another epoch has lost its place and is certainly not carried out.
    #[inline]
    fn settle<P: Protocol>(
        &mut self,
        index: Index,
        epoch: Epoch,
        outcome: Executed,
        out: &mut Outbox<P>,
    ) {
        while let Some(front) = self.placed.front()
            && front.first.0 + (front.calls.len() as u64) <= index.0
        {
            self.placed.pop_front();
        }
        let Some(front) = self.placed.front() else {
            return;
        };
        if front.first > index {
            return;
        }
        let id = front.calls[(index.0 - front.first.0) as usize];
        let answer = match outcome {
            _ if front.epoch != epoch => Answer::Refused(Refusal::NotLeader(self.leader)),
            Executed::Done => Answer::Done(Bytes::copy_from_slice(&self.result)),
            Executed::Refused(refusal) => Answer::Refused(refusal),
            Executed::Nothing => Answer::Unknown,
        };
        self.answer(id, answer, out);
    }

    fn answer_ready<P: Protocol>(&mut self, out: &mut Outbox<P>) {
        while let Some(entry) = self.ready.first_entry()
            && *entry.key() <= self.applied
        {
            for (id, query) in entry.remove() {
                let result = self.machine.read(self.applied, &query);
                self.answer(id, Answer::Done(result), out);
            }
        }
    }

    fn reject<P: Protocol>(&mut self, token: Token, reason: &Reason, out: &mut Outbox<P>) {
        let refusal = match reason {
            Reason::NotLeader { hint } => Refusal::NotLeader(*hint),
            _ => Refusal::Busy,
        };
        if let Some(calls) = self.proposed.remove(&token) {
            self.answer_all(calls, &Answer::Refused(refusal), out);
        }
        if let Some(reads) = self.reading.remove(&token) {
            self.answer_all(
                reads.into_iter().map(|(id, _)| id),
                &Answer::Refused(refusal),
                out,
            );
        }
    }

    /// Where a proposal stands. A newer epoch's places replace older ones that lie at or after them:
    /// this node led, lost its entries to a truncation, and leads again.
    fn place<P: Protocol>(
        &mut self,
        token: Token,
        first: Index,
        epoch: Epoch,
        out: &mut Outbox<P>,
    ) {
        let Some(calls) = self.proposed.remove(&token) else {
            return;
        };
        while let Some(back) = self.placed.back_mut()
            && back.first.0 + back.calls.len() as u64 > first.0
        {
            let kept = first.0.saturating_sub(back.first.0) as usize;
            let lost = back.calls.split_off(kept.min(back.calls.len()));
            if kept == 0 {
                self.placed.pop_back();
            }
            let answer = Answer::Refused(Refusal::NotLeader(self.leader));
            self.answer_all(lost, &answer, out);
        }
        self.placed.push_back(Placed {
            first,
            epoch,
            calls,
        });
    }

    /// Everything whose place is covered by a restored snapshot: sessions may know, this node does
    /// not know which call was which any more.
    fn forget_placed<P: Protocol>(&mut self, through: Index, out: &mut Outbox<P>) {
        while let Some(front) = self.placed.front()
            && front.first <= through
        {
            let Some(front) = self.placed.pop_front() else {
                break;
            };
            self.answer_all(front.calls, &Answer::Unknown, out);
        }
    }

    /// The state and the sessions as of [`applied`](Self::applied), in chunks.
    pub fn frozen(&self) -> impl Iterator<Item = Bytes> + Send + use<S> {
        let mut head = Vec::new();
        self.applied.put(&mut head);
        self.sessions.put(&mut head);
        core::iter::once(Bytes::from(head)).chain(self.machine.snapshot())
    }

    /// Replaces everything by a snapshot.
    ///
    /// # Errors
    /// What is wrong with the bytes; the node must stop.
    pub fn restore<P: Protocol>(
        &mut self,
        mut chunks: impl Iterator<Item = Bytes>,
        out: &mut Outbox<P>,
    ) -> Result<(), &'static str> {
        let mut head = Decoder::new(chunks.next().ok_or("the snapshot is empty")?);
        let applied = Index::take(&mut head).map_err(|_| "the snapshot has no index")?;
        self.sessions = Sessions::take(&mut head).map_err(|_| "the snapshot has no sessions")?;
        self.machine.restore(chunks)?;
        self.applied = applied;
        self.forget_placed(applied, out);
        self.answer_ready(out);
        Ok(())
    }
}

impl<S, P> Service<P> for LogService<S>
where
    S: StateMachine + 'static,
    P: Protocol<Request = Request, Event = Event>,
{
    fn call(&mut self, _now: Time, call: Call, out: &mut Outbox<P>) {
        if self.waiting >= self.limits.calls_max {
            return out.answer(call.id, Answer::Refused(Refusal::Busy));
        }
        if call.body.len() > self.limits.command_bytes_max {
            return out.answer(call.id, Answer::Refused(Refusal::TooLarge));
        }
        let reads = call.sequence != Sequence(0) && self.machine.is_read(&call.body);
        if let Some(leader) = self.leader
            && leader != self.node
            && !(reads && self.limits.reads_anywhere)
        {
            return out.answer(call.id, Answer::Refused(Refusal::NotLeader(Some(leader))));
        }
        if let Some(answer) = self.machine.who_leads(&call.body, self.leader) {
            return out.answer(call.id, Answer::Done(answer));
        }
        self.waiting += 1;
        if reads {
            self.read(call, out);
        } else {
            self.propose(&call, out);
        }
    }

    fn event(&mut self, _now: Time, event: Event, out: &mut Outbox<P>) {
        match event {
            Event::Committed(run) => self.apply(&run, out),
            Event::Appended {
                token,
                first,
                epoch,
            } => self.place(token, first, epoch, out),
            Event::ReadReady { token, index } => {
                if let Some(reads) = self.reading.remove(&token) {
                    self.ready.entry(index).or_default().extend(reads);
                    self.answer_ready(out);
                }
            }
            Event::LeaderChanged { leader, epoch } => {
                (self.leader, self.led) = (leader, epoch);
                self.manager.led(leader, self.node, out);
            }
            Event::Rejected {
                token: Some(token),
                reason,
            } => {
                if !self.manager.rejected(token, &reason, out) {
                    self.reject(token, &reason, out);
                }
            }
            // Before anything is applied the newest may be what the log says further on; what the log
            // says is heard again when it is applied.
            Event::MembersChanged { index, members } => {
                if index == Index::ZERO {
                    self.members = (*members).clone();
                }
                self.manager.members(index, *members, self.applied, out);
            }
            Event::SendSnapshot { to, manifest } => {
                out.snapshots.push(SnapshotOrder::Send {
                    to,
                    epoch: self.led,
                    manifest: *manifest,
                });
            }
            Event::Restore(manifest) => out.snapshots.push(SnapshotOrder::Open {
                manifest: *manifest,
            }),
            Event::Rejected { token: None, .. } => {}
        }
    }

    fn manage(&mut self, _now: Time, id: CallId, what: Manage, out: &mut Outbox<P>) {
        // A node may ask for leadership for itself where its protocol lets it.
        let to_us = what == Manage::Transfer(Some(self.node));
        if self.leader != Some(self.node) && !to_us {
            return out.answer(id, Answer::Refused(Refusal::NotLeader(self.leader)));
        }
        if to_us && self.leader == Some(self.node) {
            return out.answer(id, Answer::Done(Manage::led_by(self.node)));
        }
        let token = self.token();
        self.manager.ask(id, token, what, out);
    }

    fn abandon(&mut self, _now: Time, id: CallId, _out: &mut Outbox<P>) {
        self.manager.abandon(id);
    }

    fn applied(&self) -> Option<Index> {
        Some(self.applied)
    }

    fn snapshot(&mut self, _now: Time, report: SnapshotReport, out: &mut Outbox<P>) {
        match report {
            SnapshotReport::Kept(manifest) => {
                self.unsaved = Some(0);
                self.saved(manifest.size);
                out.requests
                    .push(Request::SnapshotTaken(Box::new(manifest)));
            }
            // Tried again when as much again has been applied.
            SnapshotReport::NotKept(_) => self.unsaved = Some(0),
            SnapshotReport::Received { from, manifest } => {
                out.requests.push(Request::SnapshotReceived {
                    from,
                    manifest: Box::new(manifest),
                });
            }
            SnapshotReport::Progress { peer, id, bytes } => {
                out.requests
                    .push(Request::SnapshotProgress { peer, id, bytes });
            }
            SnapshotReport::Failed { peer, id } => {
                out.requests.push(Request::SnapshotFailed { peer, id });
            }
            SnapshotReport::Opened { manifest, chunks } => {
                if let Err(wrong) = self.restore(chunks, out) {
                    panic!("the snapshot at {} is damaged: {wrong}", manifest.index);
                }
                assert!(
                    self.applied == manifest.index,
                    "the snapshot at {} says that it is at {}",
                    manifest.index,
                    self.applied
                );
                self.saved(manifest.size);
                (self.epoch, self.members) = (manifest.epoch, manifest.newest().1.clone());
                self.manager.applied(self.applied, out);
            }
        }
    }
}
