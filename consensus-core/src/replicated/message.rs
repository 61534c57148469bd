//! What machines say to each other, and what they write: whose it is, and the thing itself.

use crate::{
    Boot, Class, DecodeError, Decoder, Field, Wire,
    contract::replicated_log::{Manifest, SnapshotId},
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;

/// A message of the group, `G`, or of the outer protocol, `O`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message<G, O> {
    /// From replica to replica.
    Group(G),
    /// From the own node of a machine to that of another.
    Own(O),
    /// From the own node of a machine to the hosted one. Lost where it does not run.
    ToHosted(O),
    /// From the hosted node to the own node of a machine.
    FromHosted {
        /// The run that says it.
        run: Boot,
        /// What it says.
        message: O,
    },
    /// From a leader's machine to that of a replica that is far behind: a part of what is known of the
    /// hosted node's disk.
    Snapshot {
        /// Up to which entry of the group's log.
        manifest: Box<Manifest>,
        /// The bytes before this part.
        at: u64,
        /// The part.
        part: Bytes,
    },
    /// From that machine: it has what is before a part, and wants that.
    SnapshotWanted {
        /// Of which.
        id: SnapshotId,
        /// The bytes that it has.
        at: u64,
    },
}

/// A record of the replica of the group, `G`, of the machine's own node, `O`, or of the machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Record<G, O> {
    /// The replica's.
    Group(G),
    /// The own node's.
    Own(O),
    /// What the replica knows of the hosted node's disk, up to some entry of the group's log.
    Snapshot {
        /// Up to which.
        manifest: Box<Manifest>,
        /// What is known.
        state: Bytes,
    },
}

const VERSION: u8 = 1;

impl<G: Wire, O: Wire> Wire for Message<G, O> {
    const VERSION: u8 = VERSION;

    fn since(&self) -> u8 {
        VERSION
    }

    fn class(&self) -> Class {
        match self {
            Self::Group(message) => message.class(),
            Self::Own(message) | Self::ToHosted(message) | Self::FromHosted { message, .. } => {
                message.class()
            }
            Self::Snapshot { .. } | Self::SnapshotWanted { .. } => Class::Bulk,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Group(message) => message.kind(),
            Self::Own(message) | Self::ToHosted(message) | Self::FromHosted { message, .. } => {
                message.kind()
            }
            Self::Snapshot { .. } => "Snapshot",
            Self::SnapshotWanted { .. } => "SnapshotWanted",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Group(message) => {
                out.push(1);
                message.encode(out);
            }
            Self::Own(message) => {
                out.push(2);
                message.encode(out);
            }
            Self::ToHosted(message) => {
                out.push(3);
                message.encode(out);
            }
            Self::FromHosted { run, message } => {
                out.push(4);
                run.put(out);
                message.encode(out);
            }
            Self::Snapshot { manifest, at, part } => {
                out.push(5);
                manifest.put(out);
                at.put(out);
                part.put(out);
            }
            Self::SnapshotWanted { id, at } => {
                out.push(6);
                id.put(out);
                at.put(out);
            }
        }
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        match input.byte("Message")? {
            1 => G::decode(input.rest()).map(Self::Group),
            2 => O::decode(input.rest()).map(Self::Own),
            3 => O::decode(input.rest()).map(Self::ToHosted),
            4 => Ok(Self::FromHosted {
                run: Field::take(&mut input)?,
                message: O::decode(input.rest())?,
            }),
            5 => {
                let message = Self::Snapshot {
                    manifest: Box::new(Field::take(&mut input)?),
                    at: Field::take(&mut input)?,
                    part: Field::take(&mut input)?,
                };
                input.finish("Snapshot")?;
                Ok(message)
            }
            6 => {
                let message = Self::SnapshotWanted {
                    id: Field::take(&mut input)?,
                    at: Field::take(&mut input)?,
                };
                input.finish("SnapshotWanted")?;
                Ok(message)
            }
            kind => Err(DecodeError::UnknownKind {
                kind,
                what: "Message",
            }),
        }
    }
}

impl<G: Wire, O: Wire> Wire for Record<G, O> {
    const VERSION: u8 = VERSION;

    fn since(&self) -> u8 {
        VERSION
    }

    fn class(&self) -> Class {
        match self {
            Self::Group(record) => record.class(),
            Self::Own(record) => record.class(),
            Self::Snapshot { .. } => Class::Bulk,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Group(record) => record.kind(),
            Self::Own(record) => record.kind(),
            Self::Snapshot { .. } => "Snapshot",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Group(record) => {
                out.push(1);
                record.encode(out);
            }
            Self::Own(record) => {
                out.push(2);
                record.encode(out);
            }
            Self::Snapshot { manifest, state } => {
                out.push(3);
                manifest.put(out);
                state.put(out);
            }
        }
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        match input.byte("Record")? {
            1 => G::decode(input.rest()).map(Self::Group),
            2 => O::decode(input.rest()).map(Self::Own),
            3 => {
                let record = Self::Snapshot {
                    manifest: Box::new(Field::take(&mut input)?),
                    state: Field::take(&mut input)?,
                };
                input.finish("Snapshot")?;
                Ok(record)
            }
            kind => Err(DecodeError::UnknownKind {
                kind,
                what: "Record",
            }),
        }
    }
}
