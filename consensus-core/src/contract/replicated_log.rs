//! Agreement on a sequence.
//!
//! Laws, for every protocol that speaks this contract:
//! 1. *State machine safety*: the runs of [`Event::Committed`], concatenated, are the same sequence
//!    at every node and for ever; one node may be behind another.
//! 2. A command is committed at most once for each time it was proposed.
//! 3. *Read freshness*: the index of a [`Event::ReadReady`] covers every command that was committed
//!    anywhere before the read was requested. The application answers when it has applied it.
//! 4. [`Event::LeaderChanged`] is never missed and its epochs never decrease.
//! 5. Snapshots are exchanged as [`Manifest`]s only; the driver moves the bytes.

pub use super::view::{LogRole, LogView, PeerView};

use crate::{
    DiskId, Epoch, Field, Index, NodeId, Token,
    log::{Commands, Run},
    wire,
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;

/// What the application asks of its node. What is rare is boxed: every command moves through queues of
/// these.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Append commands to the log. Followed by [`Event::Rejected`], or by [`Event::Appended`] when
    /// there is a token; and by [`Event::Committed`] if they survive.
    Propose {
        /// Asks for the place of the first command.
        token: Option<Token>,
        /// One or more.
        commands: Commands,
    },
    /// A linearizable read, at the leader or, where the protocol can ask the leader, at any node.
    /// Answered by [`Event::ReadReady`] or [`Event::Rejected`].
    Read {
        /// Ties the answer to the request.
        token: Token,
    },
    /// Change who belongs to the group. Answered by [`Event::MembersChanged`] (on append) or
    /// [`Event::Rejected`].
    ChangeMembers {
        /// Ties the answer to the request.
        token: Token,
        /// What to change, all at once.
        changes: Vec<MemberChange>,
    },
    /// Hand leadership to `to`, or to the best placed. Answered by [`Event::LeaderChanged`] or
    /// [`Event::Rejected`].
    TransferLeadership {
        /// Ties the answer to the request.
        token: Token,
        /// The heir; the best placed when none is named.
        to: Option<NodeId>,
    },
    /// Stop waiting for a request. What was appended may still commit. No event follows for this
    /// token.
    Cancel {
        /// The request.
        token: Token,
    },
    /// A snapshot is whole, synced and verified on this node's disk; what it covers may leave the
    /// log.
    SnapshotTaken(Box<Manifest>),
    /// Bytes of a snapshot reached `to`: counts as contact in both directions.
    SnapshotProgress {
        /// The receiver or, at the receiver, the sender.
        peer: NodeId,
        /// Which snapshot.
        id: SnapshotId,
        /// Bytes so far.
        bytes: u64,
    },
    /// A snapshot announced by a leader is whole, synced and verified here.
    SnapshotReceived {
        /// Who sent it.
        from: NodeId,
        /// What it is.
        manifest: Box<Manifest>,
    },
    /// A transfer failed and may be tried again.
    SnapshotFailed {
        /// The other side.
        peer: NodeId,
        /// Which snapshot.
        id: SnapshotId,
    },
}

/// What the application is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// These entries are committed; they follow the ones told before.
    Committed(Run),
    /// The commands of a proposal with a token stand at `first` and after, under `epoch`. If another
    /// epoch's entry commits there, they certainly do not.
    Appended {
        /// The proposal.
        token: Token,
        /// Where its first command stands.
        first: Index,
        /// Under which authority.
        epoch: Epoch,
    },
    /// The read may be answered once `index` is applied.
    ReadReady {
        /// The read.
        token: Token,
        /// How far the state must have come.
        index: Index,
    },
    /// Who leads, as this node knows; none while an election is on.
    LeaderChanged {
        /// The authority; never lower than the one before.
        epoch: Epoch,
        /// Its holder.
        leader: Option<NodeId>,
    },
    /// Who belongs to the group from now on: on append, on truncation back to the one before, at the
    /// start, and at a node that was let go and is told by others, for its own log does not say so.
    MembersChanged {
        /// The log entry that says so; zero for the initial configuration.
        index: Index,
        /// All of them.
        members: Box<Membership>,
    },
    /// Send this node's newest snapshot to a peer that is too far behind.
    SendSnapshot {
        /// The receiver.
        to: NodeId,
        /// What to send.
        manifest: Box<Manifest>,
    },
    /// Replace the state by this snapshot; what is committed next follows it.
    Restore(Box<Manifest>),
    /// Certainly not done.
    Rejected {
        /// The request; none for a proposal without a token.
        token: Option<Token>,
        /// Why not, and where to turn.
        reason: Reason,
    },
}

/// Why a request was certainly not carried out, and whether and where to retry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Retry at the leader, if it is known.
    NotLeader {
        /// Where to turn.
        hint: Option<NodeId>,
    },
    /// Retry here, later.
    Busy,
    /// Retry when the change that stands at this index is committed.
    ChangePending {
        /// Where it stands.
        index: Index,
    },
    /// Retry when this node has caught up.
    TooFarBehind {
        /// Who is behind.
        node: NodeId,
    },
    /// Never: the change makes no sense, such as the removal of the last voter.
    Impossible,
    /// A transfer of leadership was given up; service has resumed.
    TransferFailed,
}

/// One change of who belongs to a group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MemberChange {
    /// Take in a node that receives the log but does not vote.
    AddLearner(Member),
    /// Let a learner vote; refused while it is behind.
    Promote(NodeId),
    /// Make a voter a learner again.
    Demote(NodeId),
    /// Let a node go.
    Remove(NodeId),
    /// Replace a node's context, such as its address.
    SetContext(NodeId, Bytes),
}

/// One member of a group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Which disk it was admitted with; zero when the group does not check.
    pub disk: DiskId,
    /// What the application attaches: an address for the transport. Opaque to the protocol.
    pub context: Bytes,
}

impl Field for Member {
    fn put(&self, out: &mut Vec<u8>) {
        self.node.put(out);
        self.disk.put(out);
        self.context.put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self {
            node: Field::take(input)?,
            disk: Field::take(input)?,
            context: Field::take(input)?,
        })
    }
}

/// Everybody in a group. While `outgoing` is not empty, both sets of voters must agree.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Membership {
    /// Who votes.
    pub voters: Vec<Member>,
    /// Who also votes while a joint change is under way.
    pub outgoing: Vec<Member>,
    /// Who only receives.
    pub learners: Vec<Member>,
}

impl Field for Membership {
    fn put(&self, out: &mut Vec<u8>) {
        self.voters.put(out);
        self.outgoing.put(out);
        self.learners.put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self {
            voters: Field::take(input)?,
            outgoing: Field::take(input)?,
            learners: Field::take(input)?,
        })
    }
}

/// Names one snapshot of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SnapshotId(pub u128);

impl Field for SnapshotId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&input.slice(16, "snapshot id")?);
        Ok(Self(u128::from_le_bytes(bytes)))
    }
}

/// What a snapshot is, without its bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Manifest {
    /// Which.
    pub id: SnapshotId,
    /// The last entry that it covers.
    pub index: Index,
    /// The epoch of that entry.
    pub epoch: Epoch,
    /// Who decides the entry after it.
    pub members: Membership,
    /// What was decided by then and holds only for later entries, with the entry that says so. Empty
    /// where a change holds at once.
    pub coming: Vec<(Index, Membership)>,
    /// Bytes of the file.
    pub size: u64,
}

impl Field for Manifest {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.index.put(out);
        self.epoch.put(out);
        self.members.put(out);
        self.coming.put(out);
        self.size.put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self {
            id: Field::take(input)?,
            index: Field::take(input)?,
            epoch: Field::take(input)?,
            members: Field::take(input)?,
            coming: Field::take(input)?,
            size: Field::take(input)?,
        })
    }
}

impl Field for Epoch {
    fn put(&self, out: &mut Vec<u8>) {
        let [round, owner] = self.to_words();
        wire::put_varint(round, out);
        wire::put_varint(owner, out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self::from_words([
            input.varint("epoch")?,
            input.varint("epoch")?,
        ]))
    }
}
