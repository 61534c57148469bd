//! What a write proposes: its value, whose it is, and whose the writes just before it were.

use crate::{
    ClientId, DecodeError, Decoder, Field, NodeId, Sequence, Wire, codec,
    contract::register::Version,
};
use alloc::vec::Vec;
use bytes::Bytes;

/// Which call wrote a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// Whose call.
    pub client: ClientId,
    /// Which of that client's.
    pub sequence: Sequence,
}

impl Field for Identity {
    fn put(&self, out: &mut Vec<u8>) {
        self.client.put(out);
        self.sequence.put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            client: Field::take(input)?,
            sequence: Field::take(input)?,
        })
    }
}

/// The value of one version as it is proposed and stored.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Envelope {
    /// One write.
    Write {
        /// The node that proposed it.
        node: NodeId,
        /// The call that it carries out.
        identity: Identity,
        /// The client's value.
        value: Bytes,
        /// Writes before this one, newest first: version, node, call. A node leaves its own out,
        /// because it knows how they ended.
        earlier: Vec<(Version, (NodeId, Identity))>,
        /// From this version on `earlier` is complete.
        since: Version,
    },
}

codec! {
    Envelope version 1 {
        1 since 1 Log => Write { node, identity, value, earlier, since },
    }
}

/// How a proposal ended whose proposer did not hear of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It was chosen.
    Mine,
    /// Another was.
    Anothers,
    /// Too long ago to tell.
    Forgotten,
}

impl Envelope {
    /// The envelope of a write that follows `version`, whose value is `before` if it is known.
    pub(super) fn after(
        version: Version,
        before: Option<&Bytes>,
        node: NodeId,
        identity: Identity,
        value: Bytes,
        history: usize,
    ) -> Self {
        let (mut earlier, mut since) = match before.and_then(Self::open) {
            Some(Self::Write {
                node,
                identity,
                mut earlier,
                since,
                ..
            }) => {
                earlier.insert(0, (version, (node, identity)));
                (earlier, since)
            }
            // Before the first write, or a value that no call of a service has written.
            None if before.is_some() || version == Version::ZERO => (Vec::new(), version),
            None => (Vec::new(), version.next()),
        };
        earlier.retain(|(_, (by, _))| *by != node);
        if earlier.len() > history {
            since = since.max(earlier[history].0.next());
            earlier.truncate(history);
        }
        Self::Write {
            node,
            identity,
            value,
            earlier,
            since,
        }
    }

    /// Decodes; none for a value that something else than this service has proposed.
    pub(super) fn open(value: &Bytes) -> Option<Self> {
        Wire::decode(value.clone()).ok()
    }

    /// The client's value in what was chosen.
    #[must_use]
    pub fn payload(chosen: &Bytes) -> Bytes {
        match Self::open(chosen) {
            Some(Self::Write { value, .. }) => value,
            None => chosen.clone(),
        }
    }

    /// Whether it carries out this call.
    pub(super) fn names(&self, call: Identity) -> bool {
        let Self::Write { identity, .. } = self;
        *identity == call
    }

    /// Whether `call`, proposed for `tried`, was chosen there, told by `newest`, the value of
    /// `version`.
    pub(super) fn fate(newest: &Bytes, version: Version, tried: Version, call: Identity) -> Fate {
        let told = |mine| if mine { Fate::Mine } else { Fate::Anothers };
        match Self::open(newest) {
            Some(envelope) if version == tried => told(envelope.names(call)),
            Some(Self::Write { earlier, since, .. }) if version > tried => {
                match earlier.iter().find(|(at, _)| *at == tried) {
                    Some((_, (_, identity))) => told(*identity == call),
                    None if tried >= since => Fate::Anothers,
                    None => Fate::Forgotten,
                }
            }
            None if version == tried => Fate::Anothers,
            _ => Fate::Forgotten,
        }
    }
}
