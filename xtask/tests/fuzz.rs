//! Fuzzed: the decoders of every protocol's messages and records. What they take they write again as
//! something that reads back the same; everything else is a typed error.
#![allow(clippy::unwrap_used)]

use bench::{
    algorithms::{NAMES, Registry as _, Shipped, Visitor},
    harness::Load,
};
use bytes::Bytes;
use consensus_core::{Wire, runtime::Runnable};

struct Decode<'a> {
    is_record: bool,
    bytes: &'a [u8],
}

impl Visitor for Decode<'_> {
    fn visit<A: Runnable, L: Load<A>>(&mut self) {
        if self.is_record {
            again::<A::Record>(self.bytes);
        } else {
            again::<A::Message>(self.bytes);
        }
    }
}

fn again<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = T::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let mut written = Vec::new();
    value.encode(&mut written);
    assert!(
        written.len() <= 2 * bytes.len() + 64,
        "{} bytes were read out of {}",
        written.len(),
        bytes.len()
    );
    assert_eq!(T::decode(written.into()).unwrap(), value);
}

/// The first byte chooses the protocol and what is decoded, the rest is decoded.
#[test]
fn any_bytes_are_a_message_or_a_typed_error() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((first, bytes)) = input.split_first() else {
            return;
        };
        let name = NAMES[usize::from(first >> 1) % NAMES.len()];
        let is_record = first & 1 == 1;
        assert!(Shipped::named(name, &mut Decode { is_record, bytes }));
    });
}
