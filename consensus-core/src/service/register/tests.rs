#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Boot, ClientId, Effects, Input, Lsn, RecoverError, Sequence, codec, service::Answer};
use alloc::vec;

/// A protocol that is never run: the tests speak for it.
#[derive(Debug)]
struct Scripted;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Nothing {
    Nothing {},
}

codec! {
    Nothing version 1 {
        1 since 1 Log => Nothing {},
    }
}

impl Protocol for Scripted {
    type Config = ();
    type Message = Nothing;
    type Record = Nothing;
    type Request = Request;
    type Event = Event;
    type Timer = ();
    type Status = ();
    fn recover(
        (): (),
        _: Boot,
        _: impl IntoIterator<Item = (Lsn, Nothing)>,
    ) -> Result<Self, RecoverError> {
        Ok(Self)
    }
    fn handle(&mut self, _: Time, _: Input<Self>, _: &mut Effects<Self>) {}
    fn flush(&mut self, _: Time, _: &mut Effects<Self>) {}
    fn status(&self) {}
}

/// A service and what it said last.
struct Story {
    service: RegisterService,
    out: Outbox<Scripted>,
    calls: u64,
}

fn story(node: u16) -> Story {
    with(node, Limits::default())
}

fn with(node: u16, limits: Limits) -> Story {
    Story {
        service: RegisterService::new(NodeId(node), limits),
        out: Outbox::default(),
        calls: 0,
    }
}

const KEY: Bytes = Bytes::from_static(b"key");

fn put(value: &'static str) -> Operation {
    let (key, value) = (KEY, value.into());
    Operation::Put { key, value }
}

fn compare_and_set(expected: u64, value: &'static str) -> Operation {
    let (key, value) = (KEY, value.into());
    let expected = Version(expected);
    Operation::CompareAndSet {
        key,
        expected,
        value,
    }
}

impl Story {
    fn call(&mut self, operation: &Operation) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        let call = Call {
            id,
            client: ClientId(u128::from(self.service.node.0)),
            sequence: Sequence(self.calls),
            body: kv::encode(operation),
        };
        Service::call(&mut self.service, Time::ZERO, call, &mut self.out);
        id
    }

    fn hear(&mut self, event: Event) {
        Service::event(&mut self.service, Time::ZERO, event, &mut self.out);
    }

    /// The one request made since the last look.
    fn request(&mut self) -> Request {
        assert_eq!(self.out.requests.len(), 1, "{:?}", self.out.requests);
        self.out.requests.remove(0)
    }

    fn read(&mut self) -> Token {
        match self.request() {
            Request::Read { token, key } if key == KEY => token,
            other => panic!("{other:?}"),
        }
    }

    fn proposal(&mut self) -> (Token, u64, Bytes) {
        match self.request() {
            Request::Propose {
                token,
                instance,
                value,
            } => (token, instance.version.0, value),
            other => panic!("{other:?}"),
        }
    }

    fn found(&mut self, token: Token, version: u64, value: &Bytes) {
        self.hear(Event::Newest {
            token,
            key: KEY,
            version: Version(version),
            value: value.clone(),
        });
    }

    fn chosen(&mut self, token: Option<Token>, version: u64, value: &Bytes) {
        self.hear(Event::Chosen {
            token,
            instance: at(version),
            value: value.clone(),
        });
    }

    fn superseded(&mut self, token: Token, version: u64, offered: bool) {
        self.hear(Event::Superseded {
            token,
            instance: at(version),
            by: Version(version + 1),
            offered,
        });
    }

    /// The one answer given since the last look.
    fn answer(&mut self) -> (CallId, Answer) {
        assert_eq!(self.out.answers.len(), 1, "{:?}", self.out.answers);
        self.out.answers.remove(0)
    }

    fn outcome(&mut self) -> Outcome {
        match self.answer().1 {
            Answer::Done(body) => crate::Wire::decode(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn at(version: u64) -> Instance {
    Instance {
        key: KEY,
        version: Version(version),
    }
}

fn written(version: u64) -> Outcome {
    Outcome::Written {
        position: version,
        version: Version(version),
    }
}

fn mismatch(version: u64) -> Outcome {
    Outcome::Mismatch {
        position: version,
        version: Version(version),
    }
}

/// What another node's service would propose for `version` after `before`.
fn of(node: u16, version: u64, before: Option<&Bytes>) -> Bytes {
    let identity = Identity {
        client: ClientId(u128::from(node) << 64),
        sequence: Sequence(version),
    };
    let before_version = Version(version - 1);
    let value = alloc::format!("{node} at {version}").into();
    let history = Limits::default().history;
    let envelope = Envelope::after(
        before_version,
        before,
        NodeId(node),
        identity,
        value,
        history,
    );
    kv::encode(&envelope)
}

#[test]
fn a_put_reads_once_and_then_trusts_its_cache() {
    let mut s = story(1);
    s.call(&put("x"));
    let read = s.read();
    s.found(read, 0, &Bytes::new());
    let (token, version, value) = s.proposal();
    assert_eq!(version, 1);
    s.chosen(Some(token), 1, &value);
    assert_eq!(s.outcome(), written(1));
    s.call(&put("y"));
    assert_eq!(s.proposal().1, 2);
}

#[test]
fn a_put_that_loses_a_version_goes_on_at_the_next() {
    let mut s = story(1);
    s.call(&put("x"));
    let read = s.read();
    s.found(read, 0, &Bytes::new());
    let (token, ..) = s.proposal();
    let others = of(2, 1, None);
    s.chosen(Some(token), 1, &others);
    let (token, version, value) = s.proposal();
    assert_eq!(version, 2);
    s.chosen(Some(token), 2, &value);
    assert_eq!(s.outcome(), written(2));
}

#[test]
fn a_wrong_cache_costs_a_read_and_never_an_outcome() {
    let mut s = story(1);
    let (first, newest) = (of(2, 1, None), of(2, 9, None));
    s.chosen(None, 1, &first);
    s.call(&put("x"));
    let (token, version, _) = s.proposal();
    assert_eq!(version, 2);
    s.superseded(token, 2, false);
    let read = s.read();
    s.found(read, 9, &newest);
    let (token, version, value) = s.proposal();
    assert_eq!(version, 10);
    s.chosen(Some(token), 10, &value);
    assert_eq!(s.outcome(), written(10));
}

#[test]
fn a_mismatch_is_decided_by_a_read_and_not_by_the_cache() {
    let mut s = story(1);
    s.chosen(None, 3, &of(2, 3, None));
    s.call(&compare_and_set(1, "x"));
    let read = s.read();
    s.found(read, 5, &of(2, 5, None));
    assert_eq!(s.outcome(), mismatch(5));
}

#[test]
fn a_compare_and_set_that_loses_its_version_reads_what_is_there_now() {
    let mut s = story(1);
    s.call(&compare_and_set(0, "x"));
    let (token, version, _) = s.proposal();
    assert_eq!(version, 1, "a first version needs no read");
    s.chosen(Some(token), 1, &of(2, 1, None));
    let read = s.read();
    s.found(read, 4, &of(2, 4, None));
    assert_eq!(s.outcome(), mismatch(4));
}

/// The value was chosen, but this node heard only that others had gone on.
#[test]
fn a_superseded_write_finds_its_own_name_in_what_followed() {
    let mut s = story(1);
    s.call(&compare_and_set(0, "x"));
    let (token, _, mine) = s.proposal();
    s.superseded(token, 1, true);
    let read = s.read();
    let second = of(2, 2, Some(&mine));
    let third = of(3, 3, Some(&second));
    s.found(read, 3, &third);
    assert_eq!(s.outcome(), written(1));
}

#[test]
fn a_superseded_write_that_lost_is_tried_again() {
    let mut s = story(1);
    s.call(&put("x"));
    let read = s.read();
    s.found(read, 0, &Bytes::new());
    let (token, ..) = s.proposal();
    s.superseded(token, 1, true);
    let read = s.read();
    let second = of(3, 2, Some(&of(2, 1, None)));
    s.found(read, 2, &second);
    let (token, version, value) = s.proposal();
    assert_eq!(version, 3);
    s.chosen(Some(token), 3, &value);
    assert_eq!(s.outcome(), written(3));
}

#[test]
fn a_superseded_write_older_than_the_names_is_unknown() {
    let mut s = story(1);
    s.call(&put("x"));
    let read = s.read();
    s.found(read, 0, &Bytes::new());
    let (token, _, mine) = s.proposal();
    s.superseded(token, 1, true);
    let mut newest = mine;
    for version in 2..=12 {
        newest = of(version as u16, version, Some(&newest)); // Each by another node.
    }
    let read = s.read();
    s.found(read, 12, &newest);
    assert_eq!(s.answer().1, Answer::Unknown);
    assert_eq!(s.service.waiting(), 0);
}

#[test]
fn calls_on_one_key_run_in_order_and_gets_share_a_read() {
    let mut s = story(1);
    let get = Operation::Get { key: KEY };
    s.call(&get);
    let first = s.read();
    let ids = [s.call(&get), s.call(&get)];
    s.call(&put("x"));
    assert_eq!(s.out.requests, [], "one at a time");
    s.found(first, 0, &Bytes::new());
    let _ = s.answer();
    let shared = s.read();
    s.found(shared, 0, &Bytes::new());
    let answered: Vec<CallId> = s.out.answers.drain(..).map(|(id, _)| id).collect();
    assert_eq!(answered, ids);
    assert_eq!(
        s.proposal().1,
        1,
        "the put follows, from what the read found"
    );
}

#[test]
fn a_get_gives_the_clients_value_back() {
    let mut s = story(1);
    s.call(&Operation::Get { key: KEY });
    let read = s.read();
    s.found(read, 2, &of(2, 2, None));
    let expected = Outcome::Value {
        position: 2,
        version: Version(2),
        value: "2 at 2".into(),
    };
    assert_eq!(s.outcome(), expected);
}

#[test]
fn an_abandoned_call_is_cancelled_and_the_next_one_starts() {
    let mut s = story(1);
    let first = s.call(&put("x"));
    let token = s.read();
    let second = s.call(&put("y"));
    Service::abandon(&mut s.service, Time::ZERO, first, &mut s.out);
    assert_eq!(s.out.requests.remove(0), Request::Cancel { token });
    let read = s.read();
    s.found(token, 0, &Bytes::new());
    assert_eq!(s.out.answers, []);
    Service::abandon(&mut s.service, Time::ZERO, second, &mut s.out);
    assert_eq!(s.request(), Request::Cancel { token: read });
    assert_eq!(s.service.waiting(), 0);
}

#[test]
fn what_is_too_much_too_large_or_no_operation_is_refused() {
    let limits = Limits {
        calls_max: 1,
        value_bytes_max: 3,
        ..Limits::default()
    };
    let mut s = with(1, limits);
    s.call(&put("long"));
    assert_eq!(s.answer().1, Answer::Refused(Refusal::TooLarge));
    s.call(&put("x"));
    s.call(&put("y"));
    assert_eq!(s.answer().1, Answer::Refused(Refusal::Busy));
    let call = Call {
        id: CallId(99),
        client: ClientId(1),
        sequence: Sequence(99),
        body: Bytes::from_static(b"\xff"),
    };
    Service::call(&mut s.service, Time::ZERO, call, &mut s.out);
    assert_eq!(s.answer().1, Answer::Refused(Refusal::Malformed));
    s.call(&Operation::WhoLeads {});
    assert_eq!(s.outcome(), Outcome::Leader { node: NodeId(0) });
}

#[test]
fn undecided_is_unknown_and_busy_is_a_refusal_unless_something_was_offered() {
    let mut s = story(1);
    s.call(&put("x"));
    let token = s.read();
    s.hear(Event::Rejected {
        token,
        reason: Reason::Busy,
    });
    assert_eq!(s.answer().1, Answer::Refused(Refusal::Busy));
    s.call(&compare_and_set(0, "x"));
    let (token, ..) = s.proposal();
    s.superseded(token, 1, true);
    let token = s.read();
    s.hear(Event::Rejected {
        token,
        reason: Reason::Busy,
    });
    assert_eq!(s.answer().1, Answer::Unknown);
    s.call(&compare_and_set(0, "x"));
    let (token, ..) = s.proposal();
    s.hear(Event::Undecided { token });
    assert_eq!(s.answer().1, Answer::Unknown);
}

#[test]
fn the_cache_is_bounded() {
    let limits = Limits {
        cached_keys_max: 2,
        ..Limits::default()
    };
    let mut s = with(1, limits);
    let value = of(2, 1, None);
    for key in ["a", "b", "c"] {
        let key = Bytes::from_static(key.as_bytes());
        let instance = Instance {
            key,
            version: Version(1),
        };
        let (token, value) = (None, value.clone());
        s.hear(Event::Chosen {
            token,
            instance,
            value,
        });
    }
    let kept = |key: &'static str| s.service.cache.version(&key.into());
    assert_eq!(
        vec![kept("a"), kept("b"), kept("c")],
        [None, Some(Version(1)), Some(Version(1))]
    );
}
