//! The one trait that a user of a replicated log implements.

use crate::Index;
use alloc::vec::Vec;
use bytes::Bytes;

/// An application's state, replicated by applying the same commands in the same order everywhere.
///
/// Must be deterministic: no clock, no randomness, no iteration in hash order. Storage, ordering,
/// duplicates, snapshots' transfer and elections are not its business.
///
/// ```
/// use consensus_core::{Index, StateMachine};
/// use bytes::Bytes;
/// #[derive(Default)]
/// struct Counter(u64);
/// impl StateMachine for Counter {
///     fn apply(&mut self, _: Index, command: &[u8]) -> Bytes {
///         self.0 += command.len() as u64;
///         Bytes::copy_from_slice(&self.0.to_le_bytes())
///     }
///     fn is_read(&self, body: &[u8]) -> bool { body.is_empty() }
///     fn read(&self, _: Index, _: &[u8]) -> Bytes { Bytes::copy_from_slice(&self.0.to_le_bytes()) }
///     type Snapshot = std::iter::Once<Bytes>;
///     fn snapshot(&self) -> Self::Snapshot {
///         std::iter::once(Bytes::copy_from_slice(&self.0.to_le_bytes()))
///     }
///     fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
///         let bytes: Vec<u8> = chunks.flatten().collect();
///         self.0 = u64::from_le_bytes(bytes.try_into().map_err(|_| "not a counter")?);
///         Ok(())
///     }
/// }
/// ```
pub trait StateMachine {
    /// Carries out a command; the result goes to whoever asked for it. Called once a committed
    /// command, in the order of the log. A command that makes no sense must be answered, not
    /// panicked at: it is committed everywhere.
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes;

    /// The same, with the result written into `result`, which is empty. For machines whose results are
    /// small: every replica makes one for each command, and only the one that was asked hands it on.
    fn apply_into(&mut self, index: Index, command: &[u8], result: &mut Vec<u8>) {
        result.extend_from_slice(&self.apply(index, command));
    }

    /// Whether a client's call only reads, and need not go through the log.
    fn is_read(&self, body: &[u8]) -> bool {
        let _ = body;
        false
    }

    /// Answers a call for which [`is_read`](Self::is_read) holds. `applied`: the last command whose
    /// effect the state has.
    fn read(&self, applied: Index, query: &[u8]) -> Bytes {
        let _ = (applied, query);
        Bytes::new()
    }

    /// Answers a call that asks which node leads; none when it asks something else. Not linearizable:
    /// what this node believes.
    fn who_leads(&self, body: &[u8], leader: Option<crate::NodeId>) -> Option<Bytes> {
        let _ = (body, leader);
        None
    }

    /// A frozen view of the state, read in chunks while the state moves on. Must hold what it needs
    /// itself: it is taken on the applying task and read on another.
    type Snapshot: Iterator<Item = Bytes> + Send + 'static;

    /// Freezes the state. Called between two commands; should be cheap (share, do not copy).
    fn snapshot(&self) -> Self::Snapshot;

    /// Replaces the state by one that was frozen earlier, here or on another node.
    ///
    /// # Errors
    /// What is wrong with the bytes; the node stops.
    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str>;
}
