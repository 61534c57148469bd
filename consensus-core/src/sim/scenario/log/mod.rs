//! The words of the replicated log contract.

mod expect;

use super::{play::Words, step::one};
use crate::{
    Algorithm, DiskId, Epoch, Index, NodeId, Token,
    contract::replicated_log::{
        Event, Manifest, Member, MemberChange, Membership, Reason, Request, SnapshotId,
    },
    log::{Commands, EntryKind, Run},
};
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;

/// A node may be called `leader`: whoever was told under the highest epoch that it leads. A name is
/// never a number, so `3` is a place in the log.
///
/// | step | what it does |
/// |---|---|
/// | `propose a X [Y …]` | a's application proposes X, and Y with it |
/// | `read a` | a's application asks for a read |
/// | `change a add d, promote d, demote b, remove c` | a's application changes the members, all at once; `add` is a learner |
/// | `transfer a [b]` | a's application hands leadership over, to b |
/// | `snapshot a` | a's application has a snapshot of all that it was told |
/// | `receive b a` | a's newest snapshot is whole at b |
/// | `failed a b` | the transfer of a's snapshot to b came to nothing |
/// | `expect committed 3 X [at b]` | everybody who was told entry 3 was told X, and somebody, or b, was; no-ops are `noop`, memberships `members` |
/// | `expect nothing committed at 3 [at b]` | nobody, or not b, was told entry 3 |
/// | `expect told X [at b]`, `expect not told X [at b]` | somebody, or b, was told X since it started, anywhere in the log; nobody, or not b, was |
/// | `expect leader a [at b]` | everybody, or b, was told last that a leads; `nobody` when none does, `not a` when another does |
/// | `expect agreed` | everybody who runs was told last that the same node leads |
/// | `expect read 5 at a` | a's last read may be answered once entry 5 is applied |
/// | `expect read X at a` | a's last read covers X |
/// | `expect restored 5 at a` | a was told last to restore a snapshot at 5 |
/// | `expect members a b c [+ a d] (e) at a` | a was told last that these vote; after `+` the outgoing of a joint change; learners in brackets |
/// | `expect rejected REASON at a` | the last request rejected at a was so with a reason that begins so |
/// | `expect sending a b 5` | a was told last to send b a snapshot at 5 |
/// | `expect waiting at a`, `expect answered [at a]` | a's application waits for an answer; it, or nobody, does not |
#[derive(Clone, Debug, Default)]
pub struct LogWords {
    tokens: u64,
    waiting: BTreeMap<Token, NodeId>,
    /// Proposals with a place: they wait until something commits there.
    placed: BTreeMap<Token, Index>,
    committed: BTreeMap<(Index, NodeId), String>,
    newest: BTreeMap<NodeId, (Run, Membership)>,
    leaders: BTreeMap<NodeId, (Epoch, Option<NodeId>)>,
    reads: BTreeMap<NodeId, Index>,
    restored: BTreeMap<NodeId, Index>,
    members: BTreeMap<NodeId, Membership>,
    snapshots: BTreeMap<NodeId, Manifest>,
    rejected: BTreeMap<NodeId, String>,
    sending: BTreeMap<(NodeId, NodeId), Index>,
}

fn named(node: NodeId) -> String {
    super::super::trace::name(node)
}

fn index(text: &str) -> Result<Index, String> {
    let number = text.parse().map(Index);
    number.map_err(|_| format!("`{text}` is no place in a log"))
}

fn change(text: &str) -> Result<MemberChange, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["add", node] => MemberChange::AddLearner(Member {
            node: one(node)?,
            disk: DiskId::default(),
            context: Bytes::new(),
        }),
        ["promote", node] => MemberChange::Promote(one(node)?),
        ["demote", node] => MemberChange::Demote(one(node)?),
        ["remove", node] => MemberChange::Remove(one(node)?),
        _ => {
            return Err(format!(
                "`{text}` is no change; add, promote, demote or remove a node"
            ));
        }
    })
}

/// The entries of a run as texts.
fn texts(run: &Run) -> impl Iterator<Item = (Index, String)> + '_ {
    run.iter().enumerate().map(|(offset, payload)| {
        let text = match run.kind() {
            EntryKind::Command => payload.escape_ascii().to_string(),
            EntryKind::Noop => "noop".to_string(),
            EntryKind::Membership => "members".to_string(),
        };
        (Index(run.first().0 + offset as u64), text)
    })
}

impl LogWords {
    fn token(&mut self, node: NodeId) -> Token {
        self.tokens += 1;
        self.waiting.insert(Token(self.tokens), node);
        Token(self.tokens)
    }

    /// Whatever stands up to `last` is decided: proposals with a place there wait no more at `node`.
    fn settle(&mut self, node: NodeId, last: Index) {
        let waiting = &mut self.waiting;
        self.placed.retain(|token, place| {
            let settled = *place <= last && waiting.get(token) == Some(&node);
            if settled {
                waiting.remove(token);
            }
            !settled
        });
    }

    /// `leader`: whoever was told last, and under the highest epoch, that it leads itself.
    fn who(&self, word: &str) -> Result<NodeId, String> {
        if word != "leader" {
            return one(word);
        }
        let leads = |(node, (epoch, leader)): (&NodeId, &(Epoch, Option<NodeId>))| {
            (*leader == Some(*node)).then_some((*epoch, *node))
        };
        let newest = self.leaders.iter().filter_map(leads).max();
        newest
            .map(|(_, node)| node)
            .ok_or_else(|| "nobody was told that it leads".to_string())
    }

    fn ask(&mut self, verb: &str, node: NodeId, rest: &[&str]) -> Result<Request, String> {
        Ok(match (verb, rest) {
            ("propose", [_, ..]) => {
                let mut commands = Commands::default();
                rest.iter().for_each(|word| commands.push(word.as_bytes()));
                let token = Some(self.token(node));
                Request::Propose { token, commands }
            }
            ("read", []) => Request::Read {
                token: self.token(node),
            },
            ("change", [_, ..]) => Request::ChangeMembers {
                changes: rest
                    .join(" ")
                    .split(',')
                    .map(change)
                    .collect::<Result<_, _>>()?,
                token: Token(0),
            },
            ("transfer", to) if to.len() < 2 => Request::TransferLeadership {
                to: to.first().map(|to| one(to)).transpose()?,
                token: Token(0),
            },
            ("snapshot", []) => Request::SnapshotTaken(Box::new(self.snapshot(node)?)),
            ("receive", [from]) => {
                let from = one(from)?;
                let manifest = self.snapshots.get(&from).cloned();
                let manifest = manifest.ok_or("it has no snapshot")?;
                Request::SnapshotReceived {
                    from,
                    manifest: Box::new(manifest),
                }
            }
            ("failed", [to]) => {
                let id = self.snapshots.get(&node).ok_or("it has no snapshot")?.id;
                Request::SnapshotFailed { peer: one(to)?, id }
            }
            _ => return Err(format!("`{verb}` wants other words")),
        })
    }

    fn snapshot(&mut self, node: NodeId) -> Result<Manifest, String> {
        let (run, members) = self.newest.get(&node).ok_or("it was told nothing")?;
        let manifest = Manifest {
            id: SnapshotId(u128::from(node.0) << 64 | u128::from(run.last().0)),
            index: run.last(),
            epoch: run.epoch(),
            members: members.clone(),
            coming: Vec::new(),
            size: 0,
        };
        self.snapshots.insert(node, manifest.clone());
        Ok(manifest)
    }
}

impl<A> Words<A> for LogWords
where
    A: Algorithm<Request = Request, Event = Event>,
{
    fn request(&mut self, words: &[&str]) -> Option<Result<(NodeId, A::Request), String>> {
        let [verb, node, rest @ ..] = words else {
            return None;
        };
        let verbs = [
            "propose", "read", "change", "transfer", "snapshot", "receive", "failed",
        ];
        verbs.contains(verb).then(|| {
            let node = self.who(node)?;
            Ok((node, self.ask(verb, node, rest)?))
        })
    }

    fn told(&mut self, node: NodeId, event: &Event) {
        let mut answered = None;
        match event {
            Event::Committed(run) => {
                let told = texts(run).map(|(index, text)| ((index, node), text));
                self.committed.extend(told);
                let members = self.members.get(&node).cloned().unwrap_or_default();
                self.newest.insert(node, (run.clone(), members));
                self.settle(node, run.last());
            }
            Event::Appended { token, first, .. } => {
                self.placed.insert(*token, *first);
            }
            Event::ReadReady { token, index } => {
                answered = Some(*token);
                self.reads.insert(node, *index);
            }
            Event::LeaderChanged { epoch, leader } => {
                self.leaders.insert(node, (*epoch, *leader));
            }
            Event::MembersChanged { members, .. } => {
                self.members.insert(node, (**members).clone());
            }
            Event::Restore(manifest) => {
                self.restored.insert(node, manifest.index);
                // The state is replaced: what was told beyond the snapshot is gone with the old one.
                let kept = manifest.index;
                self.committed
                    .retain(|(place, told), _| *told != node || *place <= kept);
                self.snapshots.insert(node, (**manifest).clone());
                self.settle(node, manifest.index);
            }
            Event::SendSnapshot { to, manifest } => {
                self.sending.insert((node, *to), manifest.index);
            }
            Event::Rejected { token, reason } => {
                answered = *token;
                let reason: &Reason = reason;
                self.rejected.insert(node, format!("{reason:?}"));
            }
        }
        if let Some(token) = answered {
            self.waiting.remove(&token);
        }
    }

    fn crashed(&mut self, node: NodeId) {
        self.waiting.retain(|_, waiting| *waiting != node);
        self.leaders.remove(&node);
        self.newest.remove(&node);
        self.committed.retain(|(_, told), _| *told != node);
    }

    fn expect(&self, words: &[&str]) -> Option<Result<(), String>> {
        self.judge(words)
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
