//! What a replicated log is made of: [`Commands`] on their way in, immutable [`Run`]s that log,
//! disk, wire and application share, and the [`Tail`] of the log kept in memory.

mod run;
mod tail;

pub use run::{Commands, EntryKind, Place, Run};
pub use tail::Tail;
