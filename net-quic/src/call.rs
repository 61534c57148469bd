//! What clients and nodes say to each other, after their hellos.

use bytes::Bytes;
use consensus_core::{
    ClientId, DecodeError, Decoder, Field, NodeId, Sequence, codec,
    service::{Answer, Manage, Refusal},
};

/// From a client. `id` ties the reply to it, on this connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Call {
        id: u64,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
    },
    /// What an operator wants to see.
    Inspect { id: u64 },
    /// Changes emulated links; of an operator alone.
    Link { id: u64, command: String },
    /// Changes members or leader; of an operator alone.
    Manage { id: u64, what: Manage },
}

codec! {
    Ask version 1 {
        1 since 1 Log => Call { id, client, sequence, body },
        2 since 1 Control => Inspect { id },
        3 since 1 Control => Link { id, command },
        4 since 1 Control => Manage { id, what },
    }
}

/// From a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Done { id: u64, result: Bytes },
    Refused { id: u64, reason: Reason },
    Unknown { id: u64 },
    Text { id: u64, text: String },
    Denied { id: u64, why: String },
}

codec! {
    Reply version 1 {
        1 since 1 Log => Done { id, result },
        2 since 1 Log => Refused { id, reason },
        3 since 1 Log => Unknown { id },
        4 since 1 Control => Text { id, text },
        5 since 1 Control => Denied { id, why },
    }
}

impl Reply {
    pub(crate) const fn id(&self) -> u64 {
        match self {
            Self::Done { id, .. }
            | Self::Refused { id, .. }
            | Self::Unknown { id }
            | Self::Text { id, .. }
            | Self::Denied { id, .. } => *id,
        }
    }

    pub(crate) fn to(id: u64, answer: Answer) -> Self {
        match answer {
            Answer::Done(result) => Self::Done { id, result },
            Answer::Refused(reason) => Reason::of(reason)
                .map_or(Self::Unknown { id }, |reason| Self::Refused { id, reason }),
            Answer::Unknown => Self::Unknown { id },
        }
    }
}

/// A [`Refusal`] on the wire: one byte, and which node it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reason(pub(crate) Refusal);

impl Reason {
    /// A reason that this version cannot express is told as *unknown*, which is always true.
    fn of(refusal: Refusal) -> Option<Self> {
        byte(refusal).map(|_| Self(refusal))
    }
}

const fn byte(refusal: Refusal) -> Option<u8> {
    Some(match refusal {
        Refusal::NotLeader(_) => 1,
        Refusal::Busy => 2,
        Refusal::DiskFull => 3,
        Refusal::Malformed => 4,
        Refusal::TooLarge => 5,
        Refusal::ShuttingDown => 6,
        Refusal::Aborted => 7,
        Refusal::SessionExpired => 8,
        Refusal::ChangePending => 9,
        Refusal::TooFarBehind(_) => 10,
        Refusal::Impossible => 11,
        Refusal::TransferFailed => 12,
        Refusal::Unmanaged => 13,
        _ => return None,
    })
}

impl Field for Reason {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(byte(self.0).unwrap_or(0));
        match self.0 {
            Refusal::NotLeader(leader) => leader.put(out),
            Refusal::TooFarBehind(node) => node.put(out),
            _ => {}
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self(match input.byte("refusal")? {
            1 => Refusal::NotLeader(<Option<NodeId> as Field>::take(input)?),
            2 => Refusal::Busy,
            3 => Refusal::DiskFull,
            4 => Refusal::Malformed,
            5 => Refusal::TooLarge,
            6 => Refusal::ShuttingDown,
            7 => Refusal::Aborted,
            8 => Refusal::SessionExpired,
            9 => Refusal::ChangePending,
            10 => Refusal::TooFarBehind(Field::take(input)?),
            11 => Refusal::Impossible,
            12 => Refusal::TransferFailed,
            13 => Refusal::Unmanaged,
            _ => return Err(DecodeError::OutOfRange { what: "refusal" }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::Wire;

    #[test]
    fn every_refusal_survives_the_wire() {
        for refusal in [
            Refusal::NotLeader(None),
            Refusal::NotLeader(Some(NodeId(65535))),
            Refusal::Busy,
            Refusal::DiskFull,
            Refusal::Malformed,
            Refusal::TooLarge,
            Refusal::ShuttingDown,
            Refusal::Aborted,
            Refusal::SessionExpired,
            Refusal::ChangePending,
            Refusal::TooFarBehind(NodeId(7)),
            Refusal::Impossible,
            Refusal::TransferFailed,
            Refusal::Unmanaged,
        ] {
            let sent = Reply::to(7, Answer::Refused(refusal));
            let mut bytes = Vec::new();
            sent.encode(&mut bytes);
            let read = Reply::decode(bytes.into());
            assert_eq!(
                read,
                Ok(Reply::Refused {
                    id: 7,
                    reason: Reason(refusal)
                })
            );
        }
    }
}
