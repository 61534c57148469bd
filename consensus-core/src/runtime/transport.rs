//! What the node needs of a network.

use crate::NodeId;

/// Sends to peers. Lossy and never waiting: a full queue drops its oldest message, a peer that
/// cannot be reached loses all of them; protocols repeat what matters.
///
/// Order holds between two messages of one [`Class`](crate::Class) to one peer, while its connection
/// lasts, and nowhere else.
pub trait Transport<M>: Send + 'static {
    /// Queues `message` for `to`.
    fn send(&mut self, to: NodeId, message: M);

    /// Ends a batch: what is queued goes out, one write a peer and class.
    fn flush(&mut self);
}
