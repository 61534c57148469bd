//! A replicated log under a fixed primary, the lowest member: an entry is committed when every node has it
//! on its disk. Nobody else ever leads, so there is no election, and one node that is down stops it. The
//! least that speaks the contract of a replicated log.

use bytes::Bytes;
use consensus_core::{
    Algorithm, Boot, Contract, DiskId, Effects, Epoch, Index, Input, Invariants, Lsn, Members,
    NodeId, Protocol, RecoverError, Time, Violation, codec,
    contract::replicated_log::{
        Event, LogRole, LogView, Member, Membership, PeerView, Reason, Request,
    },
    log::{Run, Tail},
    service::{
        key_value::KeyValue,
        replicated_log::{Limits, LogService},
    },
};
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

/// Authority never changes hands.
const EPOCH: Epoch = Epoch::of_term(1);
/// How often the primary asks how far everybody is.
const BEAT: Duration = Duration::from_millis(50);
/// Bytes of entries in one message.
const APPEND_BYTES: usize = 1 << 20;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Message {
    /// Primary to backup: entries, and how far everything is committed.
    Append { run: Run, commit: Index },
    /// Primary to backup: everything up to here is committed.
    Commit { commit: Index },
    /// Primary to backup: how far are you?
    Beat {},
    /// Backup to primary: everything up to here is on my disk.
    Appended { last: Index },
}

codec! {
    Message version 1 {
        1 since 1 Log => Append { run, commit },
        2 since 1 Control => Commit { commit },
        3 since 1 Control => Beat {},
        4 since 1 Control => Appended { last },
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Record {
    /// Entries, right after those before.
    Entries { run: Run },
}

codec! { Record version 1 { 1 since 1 Log => Entries { run } } }

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Beat;

/// How far one backup is, as the primary knows.
#[derive(Clone, Debug, Default)]
struct Backup {
    /// On its disk.
    matched: Index,
    /// The same at the last beat.
    before: Index,
    /// Sent, perhaps lost.
    sent: Index,
    /// What it was told to be committed.
    told: Index,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct PrimaryBackup {
    node: NodeId,
    members: Members,
    log: Tail,
    /// Invariant: at most the last entry.
    commit: Index,
    /// At the primary.
    backups: BTreeMap<NodeId, Backup>,
}

impl PrimaryBackup {
    fn primary(&self) -> NodeId {
        self.members.iter().next().expect("there is a member")
    }

    fn leads(&self) -> bool {
        self.node == self.primary()
    }

    fn start(&self, effects: &mut Effects<Self>) {
        let voter = |node| Member {
            node,
            disk: DiskId::default(),
            context: Bytes::new(),
        };
        let members = Box::new(Membership {
            voters: self.members.iter().map(voter).collect(),
            ..Membership::default()
        });
        let index = Index::ZERO;
        effects.emit(Event::MembersChanged { index, members });
        let leader = Some(self.primary());
        effects.emit(Event::LeaderChanged {
            epoch: EPOCH,
            leader,
        });
        if self.leads() {
            self.beat(effects);
        }
    }

    fn beat(&self, effects: &mut Effects<Self>) {
        for backup in self.backups.keys() {
            effects.send(*backup, Message::Beat {});
        }
        effects.set_timer(Beat, BEAT..=BEAT);
    }

    fn on_request(&mut self, request: Request, effects: &mut Effects<Self>) {
        let hint = Some(self.primary());
        let refused = |token, reason| Event::Rejected { token, reason };
        match request {
            Request::Propose { token, .. } if !self.leads() => {
                effects.emit(refused(token, Reason::NotLeader { hint }));
            }
            Request::Propose { token, commands } => {
                let run = commands.place(self.log.next_place(EPOCH));
                if let Some(token) = token {
                    effects.emit(Event::Appended {
                        token,
                        first: run.first(),
                        epoch: EPOCH,
                    });
                }
                self.append(run, effects);
            }
            Request::Read { token } if !self.leads() => {
                effects.emit(refused(Some(token), Reason::NotLeader { hint }));
            }
            // Whatever was ever committed is in this log: nobody else appends.
            Request::Read { token } => effects.emit(Event::ReadReady {
                token,
                index: self.log.last(),
            }),
            Request::ChangeMembers { token, .. } | Request::TransferLeadership { token, .. } => {
                effects.emit(refused(Some(token), Reason::Impossible));
            }
            // The log is kept whole.
            _ => {}
        }
    }

    /// Messages of this batch wait for this record: an answer says that it is on disk.
    fn append(&mut self, run: Run, effects: &mut Effects<Self>) {
        effects.persist(Record::Entries { run: run.clone() });
        self.log.append(run);
    }

    fn on_append(&mut self, run: &Run, effects: &mut Effects<Self>) {
        let next = self.log.last().next();
        if run.first() <= next
            && let Some(new) = run.cut(next..run.last().next())
        {
            self.append(new, effects);
        }
        let last = self.log.last();
        effects.send(self.primary(), Message::Appended { last });
    }

    fn commit_through(&mut self, commit: Index, effects: &mut Effects<Self>) {
        let commit = commit.min(self.log.last());
        if commit > self.commit {
            self.log.each(self.commit.next(), commit, |run| {
                effects.emit(Event::Committed(run));
            });
            self.commit = commit;
        }
    }
}

impl Protocol for PrimaryBackup {
    type Config = (Members, NodeId);
    type Message = Message;
    type Record = Record;
    type Request = Request;
    type Event = Event;
    type Timer = Beat;
    type Status = Index;

    fn recover(
        (members, node): Self::Config,
        _: Boot,
        records: impl IntoIterator<Item = (Lsn, Record)>,
    ) -> Result<Self, RecoverError> {
        let mut log = Tail::after(Index::ZERO, Epoch::ZERO);
        for (lsn, Record::Entries { run }) in records {
            if run.first() != log.last().next() {
                let reason = "entries are missing before it";
                return Err(RecoverError { lsn, reason });
            }
            log.append(run);
        }
        let backup = Backup {
            sent: log.last(),
            ..Backup::default()
        };
        let mut this = Self {
            node,
            members,
            log,
            commit: Index::ZERO,
            backups: BTreeMap::new(),
        };
        if this.leads() {
            let others = this.members.others(node);
            this.backups = others.map(|node| (node, backup.clone())).collect();
        }
        Ok(this)
    }

    fn handle(&mut self, _: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Start => self.start(effects),
            Input::Request(request) => self.on_request(request, effects),
            Input::Receive { from, message } => match message {
                Message::Append { run, commit } => {
                    self.on_append(&run, effects);
                    self.commit_through(commit, effects);
                }
                Message::Commit { commit } => self.commit_through(commit, effects),
                Message::Beat {} => {
                    let last = self.log.last();
                    effects.send(from, Message::Appended { last });
                }
                Message::Appended { last } => {
                    if let Some(backup) = self.backups.get_mut(&from) {
                        backup.matched = backup.matched.max(last);
                        backup.sent = backup.sent.max(last);
                    }
                }
            },
            Input::Timer(Beat) => {
                for backup in self.backups.values_mut() {
                    // Nothing has arrived since the last beat: it was lost.
                    if backup.matched == backup.before {
                        backup.sent = backup.matched;
                        backup.told = Index::ZERO;
                    }
                    backup.before = backup.matched;
                }
                self.beat(effects);
            }
            Input::Durable(_) | Input::Unreachable(_) | Input::Reclaim(_) => {}
        }
    }

    fn flush(&mut self, _: Time, effects: &mut Effects<Self>) {
        if !self.leads() {
            return;
        }
        // What a backup has, this disk had before it: the message waited for it.
        let matched = self.backups.values().map(|backup| backup.matched);
        let commit = matched.min().unwrap_or(self.log.last());
        self.commit_through(commit, effects);
        let commit = self.commit;
        for (node, backup) in &mut self.backups {
            while let Some(run) = self.log.gather(backup.sent.next(), APPEND_BYTES) {
                (backup.sent, backup.told) = (run.last(), commit);
                effects.send(*node, Message::Append { run, commit });
            }
            if backup.told < commit {
                backup.told = commit;
                effects.send(*node, Message::Commit { commit });
            }
        }
    }

    fn status(&self) -> Index {
        self.commit
    }
}

impl Algorithm for PrimaryBackup {
    const NAME: &'static str = "primarybackup";
    const CONTRACT: Contract = Contract::ReplicatedLog;

    type Options = ();
    type Service = LogService<KeyValue>;
    type Invariants = OneSequence;

    fn config((): &(), members: &Members, node: NodeId) -> Result<Self::Config, String> {
        Ok((members.clone(), node))
    }

    fn service((): &(), _: &Members, node: NodeId, _: Boot) -> Self::Service {
        LogService::new(node, KeyValue::default(), Limits::default())
    }

    fn draw(_: &Members, _: &mut dyn FnMut(RangeInclusive<u64>) -> u64) {}

    /// Nothing is committed without everybody.
    fn needed((): &(), members: &Members) -> usize {
        members.count()
    }

    fn leader(&self) -> Option<NodeId> {
        Some(self.primary())
    }

    fn view(&self) -> Option<LogView> {
        let peer = |(node, backup): (&NodeId, &Backup)| PeerView {
            node: *node,
            matched: backup.matched,
            next: backup.sent.next(),
            snapshot: false,
            active: None,
        };
        Some(LogView {
            role: match self.leads() {
                true => LogRole::Leader,
                false => LogRole::Follower,
            },
            epoch: EPOCH,
            last: self.log.last(),
            commit: self.commit,
            base: self.log.base(),
            bytes: self.log.bytes(),
            peers: self.backups.iter().map(peer).collect(),
        })
    }
}

/// What is told to be committed is one sequence, and no disk holds another.
#[derive(Clone)]
pub(crate) struct OneSequence {
    entries: BTreeMap<Index, Vec<u8>>,
    judged: [u64; 1],
}

impl OneSequence {
    fn see(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        self.judged[0] += 1;
        let mut index = run.first();
        for payload in run.iter() {
            let known = self.entries.entry(index).or_insert_with(|| payload.into());
            if known != payload {
                return Err(Violation {
                    property: Self::PROPERTIES[0],
                    detail: format!("node {node} has another entry {index}"),
                });
            }
            index = index.next();
        }
        Ok(())
    }
}

impl Invariants<PrimaryBackup> for OneSequence {
    const PROPERTIES: &'static [&'static str] = &["one_sequence"];

    fn new(_: &(Members, NodeId)) -> Self {
        Self {
            entries: BTreeMap::new(),
            judged: [0],
        }
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        let Record::Entries { run } = record;
        self.see(node, run)
    }

    fn sent(&mut self, _: NodeId, _: &Message) -> Result<(), Violation> {
        Ok(())
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Committed(run) => self.see(node, run),
            _ => Ok(()),
        }
    }

    fn stepped(&mut self, _: NodeId, state: &PrimaryBackup) -> Result<(), Violation> {
        assert!(state.commit <= state.log.last());
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
