//! From frames to the messages of a group, and to whoever handles them.

use crate::peer::Peer;
use bytes::Bytes;
use consensus_core::{Boot, DecodeError, NodeId, Wire};
use std::{marker::PhantomData, pin::Pin};

/// Takes messages from peers.
pub trait Inbound<M>: Clone + Send + Sync + 'static {
    /// A message of `bytes` encoded bytes from a node whose identity has been verified. While this
    /// waits nothing more is read from that peer's stream, and in the end the peer itself waits.
    fn receive(&self, from: NodeId, message: M, bytes: usize) -> impl Future<Output = ()> + Send;

    /// The connection to a node is lost. Must not block.
    fn unreachable(&self, node: NodeId);
}

/// What became of some frames.
#[derive(Debug)]
pub(crate) enum Delivered {
    All,
    /// A later run of the sender is known; the rest was dropped.
    Stale(usize),
}

type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Delivered, DecodeError>> + Send + 'a>>;

/// A group whose type of message is hidden.
pub(crate) trait Deliver: Send + Sync + 'static {
    /// Decodes and hands over, emptying `frames`. One future for all of them.
    fn deliver<'a>(
        &'a self,
        peer: &'a Peer,
        boot: Boot,
        frames: &'a mut Vec<Bytes>,
    ) -> Delivery<'a>;

    fn unreachable(&self, node: NodeId);
}

pub(crate) struct Typed<M, I> {
    inbound: I,
    message: PhantomData<fn(M)>,
}

impl<M, I> Typed<M, I> {
    pub(crate) const fn new(inbound: I) -> Self {
        Self {
            inbound,
            message: PhantomData,
        }
    }
}

impl<M: Wire + Send + 'static, I: Inbound<M>> Deliver for Typed<M, I> {
    fn deliver<'a>(
        &'a self,
        peer: &'a Peer,
        boot: Boot,
        frames: &'a mut Vec<Bytes>,
    ) -> Delivery<'a> {
        Box::pin(async move {
            let mut frames = frames.drain(..);
            while let Some(frame) = frames.next() {
                let bytes = frame.len();
                let message = M::decode(frame)?;
                // Looked at for every message: the node may have restarted while we waited.
                if !peer.is_current(boot) {
                    return Ok(Delivered::Stale(1 + frames.len()));
                }
                self.inbound.receive(peer.node, message, bytes).await;
            }
            Ok(Delivered::All)
        })
    }

    fn unreachable(&self, node: NodeId) {
        self.inbound.unreachable(node);
    }
}
