//! How messages and records become bytes, and how they may change.
//!
//! A message or record is a *kind* (one byte) and its fields. **A kind, once released, never changes
//! its fields**: a change of shape takes a new kind, with the format version that brought it. A node
//! reads every kind it knows; it sends to a peer only kinds of the version that the two have in
//! common, which `Hello` settles. An unknown kind is refused by name, never skipped.
//!
//! Decoding is the boundary where bad bytes die: lengths are checked before anything is allocated,
//! there is no recursion, and no input panics.

use crate::{
    Ballot, Boot, ClientId, ClusterId, DiskId, GroupId, Index, Lsn, NodeId, Sequence, Token,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use bytes::{Buf, Bytes};

/// Which stream a message rides, so that bulk never blocks a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Votes, heartbeats, decisions: small and urgent.
    Control,
    /// Commands on their way into logs.
    Log,
    /// Long transfers.
    Bulk,
}

/// Bytes that are not a message or record. The connection they came on is of no further use; the
/// node is unharmed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{what} ends {missing} bytes early")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// Bytes are left when everything has been read.
    #[error("{0} bytes are left over after {1}")]
    TrailingBytes(usize, &'static str),
    /// A kind that this build does not know: a newer peer, or garbage.
    #[error("unknown kind {kind} of {what}")]
    UnknownKind {
        /// The byte read.
        kind: u8,
        /// Of what.
        what: &'static str,
    },
    /// A number out of its range.
    #[error("{what} is out of range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
    },
}

/// A message or record with its kinds and versions. Implemented by [`codec!`](crate::codec).
pub trait Wire: Sized {
    /// The newest format version that this build writes.
    const VERSION: u8;

    /// The format version that brought this value's kind.
    fn since(&self) -> u8;

    /// Which stream it rides.
    fn class(&self) -> Class;

    /// The name of its kind, for traces and counters.
    fn kind(&self) -> &'static str;

    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value that fills `bytes`. Payloads are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// When the bytes are not exactly one value.
    fn decode(bytes: Bytes) -> Result<Self, DecodeError>;
}

/// A field of a message or record: bytes without a kind.
pub trait Field: Sized {
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads one value.
    ///
    /// # Errors
    /// When the bytes are not one.
    fn take(input: &mut Decoder) -> Result<Self, DecodeError>;
}

/// What is left to read.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
}

impl Decoder {
    /// Reads from `bytes`.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let Some(byte) = self.bytes.first().copied() else {
            return Err(DecodeError::Truncated { what, missing: 1 });
        };
        self.bytes.advance(1);
        Ok(byte)
    }

    /// A LEB128 number of at most ten bytes.
    ///
    /// # Errors
    /// When it is cut short or exceeds 64 bits.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::OutOfRange { what })
    }

    /// Exactly `count` bytes, shared and not copied.
    ///
    /// # Errors
    /// When fewer are left.
    #[inline]
    pub fn slice(&mut self, count: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if count > self.bytes.len() {
            return Err(DecodeError::Truncated {
                what,
                missing: count - self.bytes.len(),
            });
        }
        Ok(self.bytes.split_to(count))
    }

    /// Everything that is left.
    #[inline]
    pub fn rest(&mut self) -> Bytes {
        core::mem::take(&mut self.bytes)
    }

    /// The number of items that follow, each of at least `least` bytes: a count that the bytes left
    /// cannot hold is refused before anything is allocated.
    ///
    /// # Errors
    /// When the items cannot be there.
    #[inline]
    pub fn count(&mut self, least: usize, what: &'static str) -> Result<usize, DecodeError> {
        let count = self.varint(what)?;
        let most = (self.remaining() / least.max(1)) as u64;
        if count > most {
            return Err(DecodeError::OutOfRange { what });
        }
        Ok(count as usize)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes are left.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left, what)),
        }
    }
}

/// Appends a LEB128 number.
#[inline]
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes with their length before them, as a field of [`Bytes`] is laid out.
#[inline]
pub fn put_payload(payload: &[u8], out: &mut Vec<u8>) {
    put_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// How many bytes [`put_payload`] writes.
#[inline]
#[must_use]
pub const fn payload_bytes(payload: &[u8]) -> usize {
    let bits = usize::BITS - (payload.len() | 1).leading_zeros();
    bits.div_ceil(7) as usize + payload.len()
}

/// Splits what [`put_payload`] wrote from the front of `input`: for readers on the hot path, who would
/// neither copy nor share. None when it is not there.
#[inline]
#[must_use]
pub fn split_payload(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0u64;
    for (i, byte) in input.iter().take(10).enumerate() {
        length |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if *byte < 0x80 {
            return input[i + 1..].split_at_checked(usize::try_from(length).ok()?);
        }
    }
    None
}

macro_rules! numbers {
    ($($name:ty: $inner:ty),*) => {$(
        impl Field for $name {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(u64::from(self.0), out);
            }
            #[inline]
            fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
                let what = stringify!($name);
                <$inner>::try_from(input.varint(what)?)
                    .map(Self)
                    .map_err(|_| DecodeError::OutOfRange { what })
            }
        }
    )*};
}
numbers!(NodeId: u16, Boot: u32, GroupId: u32, Token: u64, Lsn: u64, Index: u64, Sequence: u64);

macro_rules! wide_numbers {
    ($($name:ty),*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_le_bytes());
            }
            fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&input.slice(16, stringify!($name))?);
                Ok(Self(u128::from_le_bytes(bytes)))
            }
        }
    )*};
}
wide_numbers!(ClusterId, DiskId, ClientId);

impl Field for u64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(*self, out);
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        input.varint("number")
    }
}

impl Field for u32 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(*self), out);
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Self::try_from(input.varint("number")?)
            .map_err(|_| DecodeError::OutOfRange { what: "number" })
    }
}

impl Field for bool {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        match input.byte("truth value")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::OutOfRange {
                what: "truth value",
            }),
        }
    }
}

impl Field for Ballot {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.round, out);
        self.node.put(out);
        self.boot.put(out);
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            round: input.varint("ballot")?,
            node: NodeId::take(input)?,
            boot: Boot::take(input)?,
        })
    }
}

impl Field for Bytes {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_payload(self, out);
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let count = input.count(1, "payload")?;
        input.slice(count, "payload")
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let bytes = <Bytes as Field>::take(input)?;
        Self::from_utf8(bytes.into()).map_err(|_| DecodeError::OutOfRange { what: "text" })
    }
}

impl<T: Field> Field for Option<T> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    #[inline]
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(if bool::take(input)? {
            Some(T::take(input)?)
        } else {
            None
        })
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        T::take(input).map(Self::new)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let count = input.count(1, "list")?;
        // Grows as items really arrive: a lying count cannot make it allocate more than the bytes.
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

/// Implements [`Wire`](crate::Wire) for an enum of named fields, a line a kind.
///
/// ```
/// # use consensus_core::{codec, Ballot, Wire};
/// #[derive(Debug, PartialEq)]
/// enum Message { Prepare { ballot: Ballot }, Promise { ballot: Ballot, free: bool } }
/// codec! {
///     Message version 1 {
///         1 since 1 Control => Prepare { ballot },
///         2 since 1 Control => Promise { ballot, free },
///     }
/// }
/// let sent = Message::Promise { ballot: Ballot::ZERO, free: true };
/// let mut bytes = Vec::new();
/// sent.encode(&mut bytes);
/// assert_eq!(Message::decode(bytes.into()), Ok(sent));
/// ```
#[macro_export]
macro_rules! codec {
    ($name:ident version $version:literal {
        $($kind:literal since $since:literal $class:ident => $variant:ident { $($field:ident),* $(,)? }),* $(,)?
    }) => {
        impl $crate::Wire for $name {
            const VERSION: u8 = $version;
            fn since(&self) -> u8 {
                match self { $(Self::$variant { .. } => $since),* }
            }
            fn class(&self) -> $crate::Class {
                match self { $(Self::$variant { .. } => $crate::Class::$class),* }
            }
            fn kind(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),* }
            }
            #[inline]
            fn encode(&self, out: &mut $crate::__private::Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($kind);
                        $($crate::Field::put($field, out);)*
                    })*
                }
            }
            #[inline]
            fn decode(bytes: $crate::__private::Bytes) -> Result<Self, $crate::DecodeError> {
                let mut input = $crate::Decoder::new(bytes);
                let value = match input.byte(stringify!($name))? {
                    $($kind => Self::$variant { $($field: $crate::Field::take(&mut input)?),* },)*
                    kind => {
                        return Err($crate::DecodeError::UnknownKind { kind, what: stringify!($name) });
                    }
                };
                input.finish(stringify!($name))?;
                Ok(value)
            }
        }
    };
}
