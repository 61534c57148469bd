//! What happened, step by step: inputs, effects, faults. Printed it is the debug log of a run; kept
//! as values it is what scenario transcripts and diagrams are made of.

use crate::{Boot, Early, Lsn, NodeId, Time};
use alloc::string::String;
use core::fmt;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// On the clock of the world, which no node sees.
    pub at: Time,
    /// Where; node 0 where it is nobody's.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What can happen. Messages carry a number that is unique in a run, so that a sending and its
/// arrivals can be told to belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "fields are named after what they hold")]
pub enum What {
    /// A line of a scenario, or a word from the harness.
    Note(String),
    /// An input that is not a message: a request, an alarm, a start.
    Input(String),
    /// A message arrives.
    Received { id: u64, from: NodeId, text: String },
    /// A message leaves.
    Sent {
        id: u64,
        to: NodeId,
        kind: &'static str,
        text: String,
        early: Option<Early>,
    },
    /// A message waits for the disk.
    Held {
        to: NodeId,
        text: String,
        after: Lsn,
    },
    /// A message will never arrive.
    Lost {
        id: u64,
        from: NodeId,
        to: NodeId,
        kind: &'static str,
    },
    /// A message will arrive once more.
    Doubled {
        id: u64,
        from: NodeId,
        to: NodeId,
        kind: &'static str,
    },
    /// A record is written.
    Wrote {
        lsn: Lsn,
        text: String,
        forced: bool,
    },
    /// Records up to this one are on disk.
    Synced { upto: Lsn },
    /// The application is told.
    Told(String),
    /// A client is answered.
    Answered(String),
    /// The process is gone; so many records that were not synced are left, so many are not.
    Crashed { kept: u64, lost: u64 },
    /// The process is back, from so many records.
    Restarted { boot: Boot, records: usize },
    /// Something is done to this node, or no longer.
    Fault(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => f.write_str(text),
            Self::Input(text) => write!(f, "<< {text}"),
            Self::Received { from, text, .. } => write!(f, "<- {}  {text}", name(*from)),
            Self::Sent {
                to, text, early, ..
            } => {
                write!(f, "-> {}  {text}", name(*to))?;
                match early {
                    None => Ok(()),
                    Some(Early::Authority(Lsn::ZERO)) => {
                        f.write_str("  (early: its authority is on disk since the start)")
                    }
                    Some(Early::Authority(lsn)) => {
                        write!(f, "  (early: its authority is on disk since record {lsn})")
                    }
                    Some(Early::Campaign) => f.write_str("  (early: a campaign binds nobody)"),
                    Some(Early::QuorumHolds) => f.write_str("  (early: a quorum holds it)"),
                    Some(Early::LeaseHolds) => f.write_str("  (early: the lease holds)"),
                }
            }
            Self::Held { to, text, after } => {
                write!(
                    f,
                    "=| {}  {text}  (held until record {after} is on disk)",
                    name(*to)
                )
            }
            Self::Lost { to, kind, .. } => write!(f, "-x {}  {kind} is lost", name(*to)),
            Self::Doubled { to, kind, .. } => {
                write!(f, "-> {}  {kind} is under way once more", name(*to))
            }
            Self::Wrote { lsn, text, forced } => {
                let how = if *forced { "forced" } else { "lazy" };
                write!(f, "++ record {lsn} {how}  {text}")
            }
            Self::Synced { upto } => write!(f, "== on disk up to record {upto}"),
            Self::Told(text) => write!(f, ">> {text}"),
            Self::Answered(text) => write!(f, ">> answer {text}"),
            Self::Crashed { kept: 0, lost: 0 } => f.write_str("## crashes"),
            Self::Crashed { kept, lost } => {
                write!(
                    f,
                    "## crashes; of what was not synced {kept} stay, {lost} are lost"
                )
            }
            Self::Restarted { boot, records } => {
                write!(f, "## starts, run {boot}, from {records} records")
            }
            Self::Fault(text) => write!(f, "!! {text}"),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            NodeId(0) => write!(f, "{:>12}     {}", self.at, self.what),
            node => write!(f, "{:>12}  {}  {}", self.at, name(node), self.what),
        }
    }
}

/// Scenario names: node 1 is `a`. Beyond `z` the number itself.
#[must_use]
pub fn name(node: NodeId) -> String {
    match u8::try_from(node.0) {
        Ok(n @ 1..=26) => String::from(char::from(b'a' + n - 1)),
        _ => alloc::format!("{node}"),
    }
}

/// The reverse of [`name`].
#[must_use]
pub fn node(text: &str) -> Option<NodeId> {
    match text.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(NodeId(u16::from(letter - b'a') + 1)),
        _ => text.parse().ok().filter(|n| *n > 0).map(NodeId),
    }
}
