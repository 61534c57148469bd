//! What a transaction costs, counted exactly in virtual time, against the figures of the literature. A
//! message to oneself is free and not counted.

use bytes::Bytes;
use consensus_core::{
    Boot, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Protocol, Time, Token,
    contract::atomic_commit::{Event, Kept, Outcome, Request, Vote},
};
use std::collections::BTreeMap;
use twophase::{Config, Message, Options, Presumption, TwoPhase};

/// Nanoseconds; a sync is short enough to change no order, so that a moment tells delays and syncs.
const DELAY: u64 = 1_000_000;
const SYNC: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Will {
    Yes,
    No,
    ReadOnly,
}

/// What one node did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    records: u64,
    forced: u64,
    sent: u64,
}

struct Node {
    protocol: TwoPhase,
    effects: Effects<TwoPhase>,
    gate: Gate,
    out: Out,
}

#[derive(Default)]
struct Out {
    messages: Vec<(NodeId, Message)>,
    events: Vec<Event>,
}

impl Outlet<Message, Event> for Out {
    fn message(&mut self, to: NodeId, message: Message) {
        self.messages.push((to, message));
    }
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
    fn release(&mut self, _: Lsn) {}
}

/// What happens when.
enum Due {
    Input(usize, Input<TwoPhase>),
    Synced(usize, Lsn),
}

/// The clients' answer, when everybody knew, and what everybody did.
#[derive(Debug, Default)]
struct Bill {
    outcome: Option<Outcome>,
    answered: u64,
    /// When the last participant that voted yes was told.
    known: u64,
    /// Batches with forced records until then: those of one batch are one write.
    writes: u64,
    writes_at_answer: u64,
    counts: Vec<Count>,
}

impl Bill {
    fn messages(&self) -> u64 {
        self.counts.iter().map(|count| count.sent).sum()
    }
}

struct Laboratory {
    nodes: Vec<Node>,
    wills: BTreeMap<NodeId, Will>,
    due: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    now: u64,
    bill: Bill,
}

impl Laboratory {
    /// Nodes 1 to `count`, which have said hello.
    fn new(count: u16, options: &Options, wills: &[(u16, Will)]) -> Self {
        let members = Members::new((1..=count).map(NodeId)).expect("distinct");
        let node = |id| {
            let config = Config::new(id, members.clone(), options.clone()).expect("valid");
            Node {
                protocol: TwoPhase::recover(config, Boot(1), []).expect("an empty disk"),
                effects: Effects::new(Lsn::ZERO),
                gate: Gate::new(Lsn::ZERO),
                out: Out::default(),
            }
        };
        let mut laboratory = Self {
            nodes: members.iter().map(node).collect(),
            wills: wills.iter().map(|(n, will)| (NodeId(*n), *will)).collect(),
            due: BTreeMap::new(),
            sequence: 0,
            now: 0,
            bill: Bill::default(),
        };
        for place in 0..usize::from(count) {
            laboratory.push(0, Due::Input(place, Input::Start));
        }
        laboratory.run();
        laboratory
    }

    fn push(&mut self, after: u64, due: Due) {
        self.sequence += 1;
        self.due.insert((self.now + after, self.sequence), due);
    }

    /// One transaction over all that have a will.
    fn bill(mut self) -> Bill {
        let start = self.now;
        self.bill = Bill {
            counts: vec![Count::default(); self.nodes.len()],
            ..Bill::default()
        };
        let work = self
            .wills
            .keys()
            .map(|node| (*node, Bytes::new()))
            .collect();
        let token = Token(1);
        let begin = Request::Begin { token, work };
        self.push(0, Due::Input(0, Input::Request(begin)));
        self.run();
        self.bill.answered -= start;
        self.bill.known = self.bill.known.saturating_sub(start);
        self.bill
    }

    /// No alarm goes off: nothing is lost.
    fn run(&mut self) {
        while let Some(((at, _), due)) = self.due.pop_first() {
            self.now = at;
            let place = match due {
                Due::Input(place, input) => {
                    let node = &mut self.nodes[place];
                    node.protocol.handle(Time::ZERO, input, &mut node.effects);
                    place
                }
                Due::Synced(place, lsn) => {
                    let node = &mut self.nodes[place];
                    node.gate.open(lsn, &mut node.effects, &mut node.out);
                    let input = Input::Durable(lsn);
                    node.protocol.handle(Time::ZERO, input, &mut node.effects);
                    place
                }
            };
            self.end_batch(place);
        }
    }

    fn end_batch(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.protocol.flush(Time::ZERO, &mut node.effects);
        node.gate.admit(&mut node.effects, &mut node.out);
        let (last, forced, records) = node.effects.take_records();
        let records = records.count() as u64;
        node.effects.take_timers().for_each(drop);
        let out = std::mem::take(&mut node.out);
        self.bill.writes += u64::from(forced && records > 0);
        if let Some(count) = self.bill.counts.get_mut(place) {
            count.records += records;
            count.forced += if forced { records } else { 0 };
            count.sent += out.messages.len() as u64;
        }
        if records > 0 {
            self.push(SYNC, Due::Synced(place, last));
        }
        let from = NodeId(place as u16 + 1);
        for (to, message) in out.messages {
            let input = Input::Receive { from, message };
            self.push(DELAY, Due::Input(usize::from(to.0) - 1, input));
        }
        for event in out.events {
            self.told(place, from, event);
        }
    }

    fn told(&mut self, place: usize, node: NodeId, event: Event) {
        let request = match event {
            Event::Prepare { transaction, .. } => {
                let vote = match self.wills[&node] {
                    Will::Yes => Vote::Yes { redo: Bytes::new() },
                    Will::No => Vote::No {
                        reason: Bytes::new(),
                    },
                    Will::ReadOnly => Vote::ReadOnly,
                };
                Request::Vote { transaction, vote }
            }
            Event::Commit { transaction, .. } | Event::Abort { transaction } => {
                self.bill.known = self.now;
                let kept = Kept::Resource;
                Request::Done { transaction, kept }
            }
            Event::Ended { outcome, .. } => {
                self.bill.outcome = Some(outcome);
                self.bill.answered = self.now;
                self.bill.writes_at_answer = self.bill.writes;
                return;
            }
            _ => return,
        };
        self.push(0, Due::Input(place, Input::Request(request)));
    }
}

/// Node 1 coordinates and takes no part; nodes 2 to N+1 do.
fn apart(presumption: Presumption, wills: &[Will]) -> Bill {
    let options = Options {
        presumption,
        one_phase: false,
        ..Options::default()
    };
    let wills: Vec<_> = (2..).zip(wills.iter().copied()).collect();
    Laboratory::new(wills.len() as u16 + 1, &options, &wills).bill()
}

fn count(records: u64, forced: u64, sent: u64) -> Count {
    Count {
        records,
        forced,
        sent,
    }
}

/// Coordinator, then each participant: records, of which forced, messages. [Mohan86], and
/// [LampsonLomet93] §2.
fn check(presumption: Presumption, wills: &[Will], coordinator: Count, participants: &[Count]) {
    let bill = apart(presumption, wills);
    println!("{presumption:?} {wills:?}: {bill:?}");
    assert_eq!(
        bill.counts[0], coordinator,
        "coordinator, {presumption:?} {wills:?}"
    );
    assert_eq!(bill.counts[1..], *participants, "{presumption:?} {wills:?}");
}

/// Updates everywhere, committed: 2 messages to each; 2, 2 and 1 from each.
#[test]
fn a_commit_costs_what_its_presumption_says() {
    for n in [2, 3, 5, 7] {
        let wills = vec![Will::Yes; n];
        let sent = 2 * n as u64;
        check(
            Presumption::Abort,
            &wills,
            count(2, 1, sent),
            &vec![count(2, 2, 2); n],
        );
        check(
            Presumption::Commit,
            &wills,
            count(2, 2, sent),
            &vec![count(2, 1, 1); n],
        );
        check(
            Presumption::Nothing,
            &wills,
            count(2, 1, sent),
            &vec![count(2, 2, 2); n],
        );
    }
}

/// The last participant votes no. It is not told what it knows.
#[test]
fn an_abort_costs_what_its_presumption_says() {
    let wills = [Will::Yes, Will::Yes, Will::No];
    let refuses = count(0, 0, 1);
    let told = |records, forced, sent| {
        vec![
            count(records, forced, sent),
            count(records, forced, sent),
            refuses,
        ]
    };
    // Nothing at the coordinator, which forgets at once; no acknowledgement.
    check(Presumption::Abort, &wills, count(0, 0, 5), &told(2, 1, 1));
    // Collecting forced, abort and end lazy; acknowledged.
    check(Presumption::Commit, &wills, count(3, 1, 5), &told(2, 2, 2));
    check(Presumption::Nothing, &wills, count(2, 1, 5), &told(2, 2, 2));
}

/// A read-only participant has no second phase; if all are, there is nothing to write but *collecting*
/// and its end.
#[test]
fn a_read_only_participant_costs_one_message() {
    let reads = count(0, 0, 1);
    let some = [Will::Yes, Will::ReadOnly];
    check(
        Presumption::Abort,
        &some,
        count(2, 1, 3),
        &[count(2, 2, 2), reads],
    );
    check(
        Presumption::Commit,
        &some,
        count(2, 2, 3),
        &[count(2, 1, 1), reads],
    );
    // Presumed nothing knows no read-only participant.
    check(
        Presumption::Nothing,
        &some,
        count(2, 1, 4),
        &[count(2, 2, 2); 2],
    );
    let all = [Will::ReadOnly; 3];
    check(Presumption::Abort, &all, count(0, 0, 3), &[reads; 3]);
    check(Presumption::Commit, &all, count(2, 1, 3), &[reads; 3]);
}

/// The textbook: 3N messages until everybody knows and 4N with acknowledgements; the coordinator
/// decides after 2 delays, participants know after 3.
///
/// [GrayLamport06 §3.3] counts 3N−1 and 4 delays: there the request comes from a participant, which is
/// a delay more, and brings its own readiness, which is a prepare less.
#[test]
fn apart_it_takes_three_delays_and_four_messages_each() {
    for n in [3, 5, 7] {
        let bill = apart(Presumption::Abort, &vec![Will::Yes; n]);
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        assert_eq!((bill.answered / DELAY, bill.known / DELAY), (2, 3));
        // N prepared records and the decision, two of them one after the other.
        assert_eq!(bill.writes_at_answer, n as u64 + 1);
        assert_eq!(bill.answered % DELAY, 2 * SYNC);
        assert_eq!(bill.messages(), 4 * n as u64);
    }
}

/// Co-located, the first participant being the coordinator [GrayLamport06 §3.3]: 3N−3 messages, 3
/// delays, N+1 stable writes.
#[test]
fn co_located_it_costs_what_gray_and_lamport_count() {
    for n in [3u16, 5, 7] {
        let wills: Vec<_> = (1..=n).map(|node| (node, Will::Yes)).collect();
        let options = Options::default();
        let bill = Laboratory::new(n, &options, &wills).bill();
        let n = u64::from(n);
        println!("{n} nodes: {bill:?}");
        assert_eq!(bill.outcome, Some(Outcome::Commit));
        assert_eq!((bill.answered / DELAY, bill.known / DELAY), (2, 3));
        assert_eq!(bill.answered % DELAY, 2 * SYNC);
        assert_eq!(bill.writes_at_answer, n + 1);
        // Three rounds, and a fourth of acknowledgements.
        let decisions =
            bill.messages() - bill.counts[1..].iter().map(|count| count.sent).sum::<u64>();
        assert_eq!(decisions + (n - 1), 3 * n - 3);
        assert_eq!(bill.messages(), 4 * (n - 1));
    }
}

/// One participant needs one phase: 2 messages, one forced write, and it is the participant's.
#[test]
fn one_phase_costs_one_message_each_way() {
    let bill = Laboratory::new(2, &Options::default(), &[(2, Will::Yes)]).bill();
    assert_eq!(bill.outcome, Some(Outcome::Commit));
    assert_eq!(bill.counts, [count(0, 0, 1), count(1, 1, 1)]);
    assert_eq!(bill.answered, 2 * DELAY + SYNC);
}
