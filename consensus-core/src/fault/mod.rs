//! The one vocabulary of faults, for the simulator, for scenario files and for real clusters.
//!
//! A specification is a word, what it is done to, and when: `kill:leader@3s`, `pause:3@3s+1s`,
//! `cut:1-2@3s+2s`, `drop:5%`, `eio:2@7`. Times count from the start of measuring.
//!
//! ```
//! use consensus_core::fault::{Fault, FaultSpec, Target, When};
//! let spec: FaultSpec = "pause:leader@3s+1s".parse()?;
//! assert_eq!(spec.fault, Fault::Pause(Target::Leader));
//! assert_eq!(spec.when, When::At(core::time::Duration::from_secs(3)));
//! assert_eq!(spec.to_string(), "pause:leader@3s+1s");
//! # Ok::<(), consensus_core::fault::FaultError>(())
//! ```

mod parse;
mod show;

pub use parse::duration;

use crate::NodeId;
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr, time::Duration};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $word:literal),* $(,)?) => {
        /// What kind of fault, for lists such as `drop,dup,kill` and for counting.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum FaultKind { $($(#[$doc])* $name),* }

        impl FaultKind {
            /// Every kind, in the order in which help texts list them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

kinds! {
    /// Messages get lost.
    Drop "drop",
    /// Messages arrive twice, the second time perhaps much later.
    Dup "dup",
    /// Messages overtake each other.
    Reorder "reorder",
    /// Messages take long.
    Delay "delay",
    /// Two nodes do not hear each other.
    Cut "cut",
    /// A node neither hears nor is heard.
    Isolate "isolate",
    /// A node is heard but does not hear.
    Deaf "deaf",
    /// A node hears but is not heard.
    Mute "mute",
    /// Only the links of one node work.
    Star "star",
    /// Each node hears only its neighbours by id.
    Chain "chain",
    /// A process dies at once.
    Kill "kill",
    /// A dead process is started again.
    Restart "restart",
    /// Every process dies at once.
    Powerloss "powerloss",
    /// A process stands still, and its clock does not.
    Pause "pause",
    /// A process is slow.
    Slow "slow",
    /// A clock runs too fast or too slow.
    Skew "skew",
    /// A crash leaves a part of what was being written.
    Torn "torn",
    /// A crash leaves nothing of what was not yet synced.
    Lost "lost",
    /// Bytes on a disk change by themselves.
    Rot "rot",
    /// A disk writes to the wrong place.
    Misdirect "misdirect",
    /// A sync fails.
    Eio "eio",
    /// A disk is full.
    Enospc "enospc",
    /// A disk is slow.
    Slowdisk "slowdisk",
    /// A disk is emptied while its node is down.
    Wipe "wipe",
    /// A node shows a certificate that must be refused.
    Badcert "badcert",
    /// A peer sends bytes that are no message.
    Garbage "garbage",
    /// A peer sends a message byte by byte.
    Slowloris "slowloris",
    /// A new node joins, and votes once it has caught up. Not a fault, and as good an occasion for one.
    Add "add",
    /// A member is let go and stopped.
    Remove "remove",
    /// A member whose disk is lost or damaged comes back with an empty one.
    Readmit "readmit",
    /// Leadership is handed over.
    Transfer "transfer",
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for FaultKind {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| FaultError::UnknownKind(text.to_string()))
    }
}

impl FaultKind {
    /// Reads a list such as `drop,dup,kill`.
    ///
    /// # Errors
    /// When a word is none of [`FaultKind::ALL`].
    pub fn list(text: &str) -> Result<Vec<Self>, FaultError> {
        text.split(',').map(|word| word.trim().parse()).collect()
    }
}

/// Whom a fault strikes. Roles are resolved when it strikes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// This one.
    Node(NodeId),
    /// The node that decides for the others.
    Leader,
    /// Any other.
    Follower,
    /// The same as [`Target::Leader`], in the words of commit protocols.
    Coordinator,
    /// The same as [`Target::Follower`], in the words of commit protocols.
    Participant,
    /// The smallest set that is more than half.
    Majority,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Leader => f.write_str("leader"),
            Self::Follower => f.write_str("follower"),
            Self::Coordinator => f.write_str("coordinator"),
            Self::Participant => f.write_str("participant"),
            Self::Majority => f.write_str("majority"),
        }
    }
}

impl FromStr for Target {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        Ok(match text {
            "leader" => Self::Leader,
            "follower" => Self::Follower,
            "coordinator" => Self::Coordinator,
            "participant" => Self::Participant,
            "majority" => Self::Majority,
            id => match id.parse() {
                Ok(id) if id > 0 => Self::Node(NodeId(id)),
                _ => return Err(FaultError::Target(text.to_string())),
            },
        })
    }
}

/// How often something happens, in millionths: 0 to 1,000,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rate(pub u32);

/// Which part of a log rots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// The header of the first segment.
    Head,
    /// A record in the middle.
    Middle,
    /// The last acknowledged record.
    Tail,
    /// The newest record of a promise, term, vote or decision.
    HardState,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BadCertificate {
    /// Signed by another authority.
    Untrusted,
    /// No longer valid.
    Expired,
    /// Of another node.
    WrongId,
    /// Of another cluster.
    WrongCluster,
}

/// What is done, to whom, how much.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each is the FaultKind of the same name, and its arguments"
)]
pub enum Fault {
    Drop(Rate),
    Dup(Rate),
    Reorder(Rate),
    Delay {
        mean: Duration,
        jitter: Duration,
    },
    Cut(Target, Target),
    Isolate(Target),
    Deaf(Target),
    Mute(Target),
    Star(Target),
    Chain,
    Kill(Target),
    Restart(Target),
    Powerloss,
    Pause(Target),
    /// So many times slower.
    Slow(Target, u32),
    /// Gains so much a second of real time; loses it when `behind`.
    Skew {
        target: Target,
        by: Duration,
        behind: bool,
    },
    Torn(Target),
    Lost(Target),
    Rot(Target, Part),
    Misdirect(Target),
    Eio(Target),
    Enospc(Target),
    /// Every sync takes so much longer.
    Slowdisk(Target, Duration),
    Wipe(Target),
    Badcert(Target, BadCertificate),
    Garbage(Target),
    Slowloris(Target),
    Add(Target),
    Remove(Target),
    Readmit(Target),
    /// To this node; by the leader to whoever is best placed.
    Transfer(Target),
}

/// When a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum When {
    /// From the start.
    #[default]
    Start,
    /// So long after the start of measuring.
    At(Duration),
    /// At the n-th sync (`eio`) or write (`enospc`), counted from 1.
    Nth(u64),
}

/// One fault and its time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FaultSpec {
    /// What.
    pub fault: Fault,
    /// When.
    pub when: When,
    /// For how long; for ever when not said.
    pub lasting: Option<Duration>,
}

/// Words that are no fault specification.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The first word is not a kind.
    #[error("`{0}` is no kind of fault; known are {known}", known = known())]
    UnknownKind(String),
    /// Not a node and not a role.
    #[error(
        "`{0}` is no target; a node's id (from 1), leader, follower, coordinator, participant or majority is one"
    )]
    Target(String),
    /// Arguments that do not fit the kind.
    #[error("`{given}` does not fit {kind}; write `{shape}`")]
    Arguments {
        /// What was said.
        given: String,
        /// Of which kind.
        kind: FaultKind,
        /// What could have been said.
        shape: &'static str,
    },
    /// Not a span of time.
    #[error("`{0}` is no time; write a number and ns, us, ms or s, such as `150ms` or `1.5s`")]
    Duration(String),
    /// Not a share.
    #[error("`{0}` is no share; write `5%` or `0.05`, from 0 to all")]
    Rate(String),
}

fn known() -> String {
    let words: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.word()).collect();
    words.join(", ")
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Drop(..) => FaultKind::Drop,
            Self::Dup(..) => FaultKind::Dup,
            Self::Reorder(..) => FaultKind::Reorder,
            Self::Delay { .. } => FaultKind::Delay,
            Self::Cut(..) => FaultKind::Cut,
            Self::Isolate(..) => FaultKind::Isolate,
            Self::Deaf(..) => FaultKind::Deaf,
            Self::Mute(..) => FaultKind::Mute,
            Self::Star(..) => FaultKind::Star,
            Self::Chain => FaultKind::Chain,
            Self::Kill(..) => FaultKind::Kill,
            Self::Restart(..) => FaultKind::Restart,
            Self::Powerloss => FaultKind::Powerloss,
            Self::Pause(..) => FaultKind::Pause,
            Self::Slow(..) => FaultKind::Slow,
            Self::Skew { .. } => FaultKind::Skew,
            Self::Torn(..) => FaultKind::Torn,
            Self::Lost(..) => FaultKind::Lost,
            Self::Rot(..) => FaultKind::Rot,
            Self::Misdirect(..) => FaultKind::Misdirect,
            Self::Eio(..) => FaultKind::Eio,
            Self::Enospc(..) => FaultKind::Enospc,
            Self::Slowdisk(..) => FaultKind::Slowdisk,
            Self::Wipe(..) => FaultKind::Wipe,
            Self::Badcert(..) => FaultKind::Badcert,
            Self::Garbage(..) => FaultKind::Garbage,
            Self::Slowloris(..) => FaultKind::Slowloris,
            Self::Add(..) => FaultKind::Add,
            Self::Remove(..) => FaultKind::Remove,
            Self::Readmit(..) => FaultKind::Readmit,
            Self::Transfer(..) => FaultKind::Transfer,
        }
    }

    /// Whom it strikes; none where it strikes everybody.
    #[must_use]
    pub const fn target(&self) -> Option<Target> {
        match self {
            Self::Cut(target, _)
            | Self::Isolate(target)
            | Self::Deaf(target)
            | Self::Mute(target)
            | Self::Star(target)
            | Self::Kill(target)
            | Self::Restart(target)
            | Self::Pause(target)
            | Self::Slow(target, _)
            | Self::Skew { target, .. }
            | Self::Torn(target)
            | Self::Lost(target)
            | Self::Rot(target, _)
            | Self::Misdirect(target)
            | Self::Eio(target)
            | Self::Enospc(target)
            | Self::Slowdisk(target, _)
            | Self::Wipe(target)
            | Self::Badcert(target, _)
            | Self::Garbage(target)
            | Self::Slowloris(target)
            | Self::Add(target)
            | Self::Remove(target)
            | Self::Readmit(target)
            | Self::Transfer(target) => Some(*target),
            Self::Drop(_)
            | Self::Dup(_)
            | Self::Reorder(_)
            | Self::Delay { .. }
            | Self::Chain
            | Self::Powerloss => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_specification_reads_back_what_it_prints() {
        for text in [
            "drop:5%",
            "dup:0.25%",
            "reorder:100%",
            "delay:30ms±10ms",
            "cut:1-2@3s+2s",
            "cut:leader-follower@1.5s",
            "isolate:leader@3s+2s",
            "deaf:2",
            "mute:majority@10ms",
            "star:3",
            "chain@2s+1s",
            "kill:leader@3s",
            "restart:2@5s",
            "powerloss@4s",
            "pause:3@3s+1s",
            "slow:2×10",
            "skew:2+50ms",
            "skew:2-50us",
            "torn:2",
            "lost:1",
            "rot:2/tail",
            "rot:2/hardstate",
            "misdirect:3",
            "eio:2@7",
            "enospc:follower@3s+1s",
            "slowdisk:2×50ms",
            "wipe:1@3s",
            "badcert:2/wrong-id",
            "garbage:participant",
            "slowloris:coordinator",
            "add:6@2s",
            "remove:leader@3s",
            "readmit:2@4s",
            "transfer:leader@2s",
        ] {
            let spec: FaultSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.word().parse(), Ok(*kind));
        }
    }

    #[test]
    fn a_letter_serves_where_the_keyboard_has_no_sign() {
        let same = |a: &str, b: &str| assert_eq!(a.parse::<FaultSpec>(), b.parse());
        same("slow:2x10", "slow:2×10");
        same("delay:30ms+-10ms", "delay:30ms±10ms");
        same("drop:0.05", "drop:5%");
        same("pause:2@1000ms+500ms", "pause:2@1s+0.5s");
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_ones() {
        let says = |text: &str, part: &str| {
            let error = text.parse::<FaultSpec>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        says("explode:2", "known are drop, dup");
        says("kill:0@3s", "`0` is no target");
        says("kill@3s", "write `kill:leader@3s`");
        says("kill:leader@3", "`3` is no time");
        says("kill:leader@3h", "`3h` is no time");
        says("cut:1", "write `cut:1-2`");
        says("cut:2-2", "write `cut:1-2`");
        says("drop:120%", "from 0 to all");
        says("drop", "is no share");
        says("rot:2/side", "hardstate");
        says("powerloss:2", "write `powerloss@3s`");
        says("eio:2@0", "`0` is no time");
        says("slow:2×0", "write `slow:2×10`");
        says("add:leader@2s", "write `add:6@2s`");
    }
}
