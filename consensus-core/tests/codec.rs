//! The boundary where bad bytes die: everything comes back as it went, nothing cut short or made up
//! is taken for something, and no bytes make the decoder panic or reserve what they cannot fill.

use bytes::Bytes;
use consensus_core::{
    Ballot, Boot, ClientId, ClusterId, DecodeError, Decoder, DiskId, Epoch, Field, GroupId, Index,
    Lsn, NodeId, Sequence, Token, Wire,
    contract::{
        atomic_commit::Transaction,
        register::{Instance, Version},
    },
    kv,
    log::{Commands, EntryKind, Place, Run, Tail},
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use std::fmt::Debug;

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn version() -> impl Strategy<Value = Version> {
    any::<u64>().prop_map(Version)
}

fn operation() -> impl Strategy<Value = kv::Operation> {
    prop_oneof![
        payload().prop_map(|key| kv::Operation::Get { key }),
        (payload(), payload()).prop_map(|(key, value)| kv::Operation::Put { key, value }),
        (payload(), version(), payload()).prop_map(|(key, expected, value)| {
            kv::Operation::CompareAndSet {
                key,
                expected,
                value,
            }
        }),
        Just(kv::Operation::WhoLeads {}),
    ]
}

fn outcome() -> impl Strategy<Value = kv::Outcome> {
    prop_oneof![
        (any::<u64>(), version(), payload()).prop_map(|(position, version, value)| {
            kv::Outcome::Value {
                position,
                version,
                value,
            }
        }),
        (any::<u64>(), version())
            .prop_map(|(position, version)| kv::Outcome::Written { position, version }),
        (any::<u64>(), version())
            .prop_map(|(position, version)| kv::Outcome::Mismatch { position, version }),
        any::<u16>().prop_map(|node| kv::Outcome::Leader { node: NodeId(node) }),
    ]
}

fn ballot() -> impl Strategy<Value = Ballot> {
    any::<(u64, u16, u32)>().prop_map(|(round, node, boot)| Ballot {
        round,
        node: NodeId(node),
        boot: Boot(boot),
    })
}

fn epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![
        any::<u64>().prop_map(Epoch::of_term),
        ballot().prop_map(Epoch::from),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        Just(EntryKind::Command),
        Just(EntryKind::Noop),
        Just(EntryKind::Membership)
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let commands = proptest::collection::vec(payload(), 1..8);
    (commands, 1..u64::MAX / 2, epoch(), epoch(), kind()).prop_map(
        |(commands, first, epoch, previous, kind)| {
            let mut all = Commands::default();
            commands.iter().for_each(|command| all.push(command));
            all.place(Place {
                first: Index(first),
                epoch,
                previous,
                kind,
            })
        },
    )
}

/// Reads one value that fills `bytes`.
fn take<T: Field>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut input = Decoder::new(bytes);
    let value = T::take(&mut input)?;
    input.finish("value").map(|()| value)
}

#[track_caller]
fn field<T: Field + PartialEq + Debug>(value: &T) {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    let bytes = Bytes::from(bytes);
    assert_eq!(take::<T>(bytes.clone()).as_ref(), Ok(value));
    for end in 0..bytes.len() {
        assert!(
            take::<T>(bytes.slice(..end)).is_err(),
            "{value:?} cut at {end}"
        );
    }
    assert_eq!(
        take::<T>([&bytes[..], &[0]].concat().into()),
        Err(DecodeError::TrailingBytes(1, "value"))
    );
}

#[track_caller]
fn wire<T: Wire + PartialEq + Debug>(value: &T) {
    let bytes = kv::encode(value);
    assert_eq!(T::decode(bytes.clone()).as_ref(), Ok(value));
    for end in 0..bytes.len() {
        assert!(
            T::decode(bytes.slice(..end)).is_err(),
            "{value:?} cut at {end}"
        );
    }
    let longer = Bytes::from([&bytes[..], &[0]].concat());
    assert!(matches!(
        T::decode(longer),
        Err(DecodeError::TrailingBytes(1, _))
    ));
    assert!((1..=T::VERSION).contains(&value.since()), "{value:?}");
}

fn config() -> Config {
    Config {
        cases: 1_000,
        rng_seed: RngSeed::Fixed(13),
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn operations_and_outcomes_come_back_whole_or_not_at_all(
        operation in operation(), outcome in outcome(),
    ) {
        wire(&operation);
        wire(&outcome);
    }

    #[test]
    fn fields_come_back_whole_or_not_at_all(
        numbers: (u16, u32, u64, u128), ballot in ballot(), key in payload(), text: String,
    ) {
        let (small, middle, large, wide) = numbers;
        field(&NodeId(small));
        field(&(Boot(middle), GroupId(middle)));
        field(&(Lsn(large), (Index(large), (Token(large), Sequence(large)))));
        field(&(ClusterId(wide), (DiskId(wide), ClientId(wide))));
        field(&(ballot, (Epoch::from(ballot), Epoch::of_term(large))));
        field(&Instance { key: key.clone(), version: Version(large) });
        field(&Transaction { coordinator: NodeId(small), boot: Boot(middle), sequence: large });
        field(&(Some(key.clone()), (None::<Bytes>, vec![key.clone(), key])));
        field(&text);
    }

    #[test]
    fn runs_come_back_whole_or_not_at_all_also_when_cut(run in run(), from in 0..8u64, count in 1..8u64) {
        field(&run);
        let first = Index(run.first().0 + from);
        if let Some(part) = run.cut(first..Index(first.0 + count)) {
            field(&part);
            let whole: Vec<_> = run.iter().skip(from as usize).take(part.count()).collect();
            prop_assert_eq!(part.iter().collect::<Vec<_>>(), whole);
            prop_assert_eq!(part.payload_bytes(), part.iter().map(<[u8]>::len).sum::<usize>());
        }
    }

    #[test]
    fn commands_keep_their_order_through_appending_and_placing(
        one in proptest::collection::vec(payload(), 0..6),
        other in proptest::collection::vec(payload(), 0..6),
    ) {
        let gather = |payloads: &[Bytes]| {
            let mut commands = Commands::default();
            payloads.iter().for_each(|payload| commands.push(payload));
            commands
        };
        let all = [one.clone(), other.clone()].concat();
        let mut commands = gather(&one);
        commands.append(gather(&other));
        prop_assert!(commands.iter().eq(all.iter().map(|payload| &payload[..])));
        prop_assert_eq!(commands.payload_bytes(), all.iter().map(Bytes::len).sum::<usize>());
        prop_assert_eq!(&commands, &gather(&all));
        if !commands.is_empty() {
            let run = commands.place(Place { first: Index(1), ..Place::default() });
            prop_assert!(run.iter().eq(all.iter().map(|payload| &payload[..])));
        }
    }

    #[test]
    fn a_tail_is_a_list_of_entries_however_it_was_cut(steps in proptest::collection::vec((0..4u8, 1..6u64, 0..3u64), 1..20)) {
        tail_and_list_agree(&steps)?;
    }

    #[test]
    fn garbage_is_refused_or_means_exactly_what_it_says(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 0..6u8) {
        // Only the first byte is likely to be wrong by chance; help it.
        let bytes = Bytes::from([&[kind], &bytes[..]].concat());
        if let Ok(operation) = kv::Operation::decode(bytes.clone()) {
            prop_assert_eq!(kv::Operation::decode(kv::encode(&operation)), Ok(operation));
        }
        if let Ok(outcome) = kv::Outcome::decode(bytes.clone()) {
            prop_assert_eq!(kv::Outcome::decode(kv::encode(&outcome)), Ok(outcome));
        }
        if let Ok(run) = take::<Run>(bytes.clone()) {
            field(&run);
        }
        let _ = take::<Vec<Bytes>>(bytes.clone());
        let _ = take::<Vec<Option<Instance>>>(bytes.clone());
        let _ = take::<Ballot>(bytes);
    }

    #[test]
    fn a_run_with_flipped_bits_is_refused_or_is_a_run(run in run(), at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = Vec::new();
        run.put(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(run) = take::<Run>(bytes.into()) {
            field(&run);
            prop_assert!(run.count() > 0 && run.last() >= run.first());
        }
    }
}

/// Appends, truncates and compacts a [`Tail`] and a plain list side by side.
fn tail_and_list_agree(steps: &[(u8, u64, u64)]) -> Result<(), TestCaseError> {
    let mut tail = Tail::default();
    let mut list: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut base, mut term) = (0u64, 1);
    for (i, (what, amount, more)) in steps.iter().enumerate() {
        let last = base + list.len() as u64;
        match what {
            0 | 1 => {
                term += more;
                let mut commands = Commands::default();
                for j in 0..*amount {
                    let command = format!("{i}.{j}").into_bytes();
                    commands.push(&command);
                    list.push((term, command));
                }
                tail.append(commands.place(tail.next_place(Epoch::of_term(term))));
            }
            2 => {
                let keep = last.saturating_sub(*amount).max(base);
                tail.truncate(Index(keep));
                list.truncate((keep - base) as usize);
            }
            _ => {
                let through = (base + amount).min(last);
                tail.compact(Index(through));
                list.drain(..(through - base) as usize);
                base = through;
            }
        }
        let last = base + list.len() as u64;
        prop_assert_eq!((tail.base(), tail.last()), (Index(base), Index(last)));
        prop_assert_eq!(
            tail.bytes(),
            list.iter().map(|(_, c)| c.len()).sum::<usize>()
        );
        for (at, (term, _)) in list.iter().enumerate() {
            let index = Index(base + 1 + at as u64);
            prop_assert_eq!(tail.epoch(index), Some(Epoch::of_term(*term)));
        }
        let from = base + 1 + more.min(&(list.len() as u64));
        let mut seen = Vec::new();
        tail.each(Index(from), Index(last), |run| {
            seen.extend(run.iter().map(<[u8]>::to_vec));
        });
        let expected = list.iter().skip((from - base - 1) as usize);
        prop_assert!(seen.iter().eq(expected.map(|(_, command)| command)));
    }
    Ok(())
}

#[test]
fn a_lying_count_is_refused_before_anything_is_reserved() {
    let mut bytes = Vec::new();
    for number in [1, 1, 0, 0, 0] {
        consensus_core::wire::put_varint(number, &mut bytes);
    }
    let mut count = Vec::new();
    consensus_core::wire::put_varint(u64::MAX / 2, &mut count);
    // As the length of a list, of a payload and, after a run's head, of its entries.
    assert!(take::<Vec<Bytes>>(count.clone().into()).is_err());
    assert!(take::<Bytes>(count.clone().into()).is_err());
    for head in 1..=bytes.len() + 4 {
        let mut lie = bytes.clone();
        lie.resize(head, 0);
        lie.extend_from_slice(&count);
        assert!(take::<Run>(lie.into()).is_err());
    }
}

#[test]
fn numbers_out_of_their_range_are_refused() {
    let mut bytes = Vec::new();
    consensus_core::wire::put_varint(u64::from(u16::MAX) + 1, &mut bytes);
    assert_eq!(
        take::<NodeId>(bytes.into()),
        Err(DecodeError::OutOfRange { what: "NodeId" })
    );
    // Eleven bytes, and ten that exceed 64 bits.
    for bytes in [[0xff; 11].to_vec(), [[0xff; 9].to_vec(), vec![2]].concat()] {
        let error = take::<u64>(bytes.into());
        assert_eq!(error, Err(DecodeError::OutOfRange { what: "number" }));
    }
    let two = Bytes::from_static(&[2]);
    assert!(take::<bool>(two).is_err());
    assert!(take::<String>(Bytes::from_static(&[1, 0xff])).is_err());
}

#[test]
fn an_unknown_kind_is_refused_by_name() {
    let error = kv::Operation::decode(Bytes::from_static(&[99])).expect_err("no such kind");
    assert_eq!(error.to_string(), "unknown kind 99 of Operation");
}
