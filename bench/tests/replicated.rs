//! Two-phase commit whose coordinator is hosted by a replicated log, under everything that the
//! simulator can do to it.

use bench::replicated::{OverMultiPaxos, OverRaft};
use bytes::Bytes;
use consensus_core::{
    Algorithm, Boot, DiskId, Effects, Epoch, Field as _, Gate, Index, Input, Lsn, Members, NodeId,
    Outlet, Protocol, Time, Token, Wire as _,
    contract::{
        atomic_commit::{self, Event, Kept, Request, Transaction, Vote},
        replicated_log::{Manifest, Member, Membership, SnapshotId},
    },
    fault::FaultKind,
    replicated::{Message, Options},
    sim::{Outcome, Settings, World, measure::Laboratory, run},
};
use std::{collections::BTreeMap, time::Duration};
use twophase::Presumption;

#[derive(Debug, Default)]
struct Sum {
    faults: BTreeMap<FaultKind, u64>,
    checks: BTreeMap<&'static str, u64>,
    operations: u64,
    unknown: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let fired = outcome.faults.iter();
        fired.for_each(|(kind, n)| *self.faults.entry(*kind).or_default() += n);
        let judged = outcome.checks.iter();
        judged.for_each(|(name, n)| *self.checks.entry(name).or_default() += n);
        self.operations += outcome.operations;
        self.unknown += outcome.unknown;
    }
}

/// AC1 to AC3 and one disk under all faults, then progress once a core is healed, then money that adds
/// up.
fn keeps_every_promise<A: Algorithm>(seeds: u64) {
    let mut sum = Sum::default();
    for seed in 0..seeds {
        let outcome = run::<A>(seed, &Settings::default());
        let violation = &outcome.violation;
        assert!(
            violation.is_none(),
            "seed {seed}: {violation:?}\n{}",
            outcome.drawn
        );
        sum.add(&outcome);
    }
    println!("{sum:?}");
    for kind in [
        FaultKind::Kill,
        FaultKind::Cut,
        FaultKind::Isolate,
        FaultKind::Pause,
        FaultKind::Powerloss,
    ] {
        assert!(sum.faults.contains_key(&kind), "{kind} never struck");
    }
    let answered = sum.operations - sum.unknown;
    assert!(
        answered > seeds * 20,
        "few operations were answered: {answered}"
    );
    for name in [
        "ac1_agreement",
        "ac3_validity",
        "decision_is_durable",
        "one_disk",
        "leadership_is_proven",
    ] {
        assert!(
            sum.checks.get(name).is_some_and(|n| *n > 0),
            "{name} was never judged"
        );
    }
}

#[test]
fn three_hundred_seeds_over_raft_keep_every_promise() {
    keeps_every_promise::<OverRaft>(300);
}

#[test]
fn a_hundred_seeds_over_multipaxos_keep_every_promise() {
    keeps_every_promise::<OverMultiPaxos>(100);
}

/// One seed decides everything.
#[test]
fn the_same_seed_takes_the_same_steps() {
    let hashes = |_| -> Vec<_> {
        let outcomes = (1_000..1_010).map(|seed| run::<OverRaft>(seed, &Settings::default()));
        outcomes
            .map(|outcome| (outcome.trace_hash, outcome.events))
            .collect()
    };
    let [first, second] = [0, 1].map(hashes);
    assert_eq!(first, second);
}

/// A planted bug: a host that writes nothing answers without proof that it still leads.
#[cfg(feature = "faults")]
#[test]
fn answering_without_proof_of_leadership_is_found() {
    use consensus_core::sim::run_with;
    const SEEDS: u64 = 100;
    let found = (0..SEEDS).find_map(|seed| {
        let plant = |options: &mut <OverRaft as Algorithm>::Options| options.unproven = true;
        let outcome = run_with::<OverRaft>(seed, &Settings::default(), &plant, None);
        Some((seed, outcome.violation?.property))
    });
    println!("{found:?}");
    assert!(found.is_some(), "it survived {SEEDS} seeds");
}

/// Five machines, each with a replica and a participant that votes yes. The first host does not notice
/// that it is cut off.
struct Deposed {
    world: World<OverRaft>,
    /// The deposed host, and the participant that it still reaches.
    old: NodeId,
    participant: NodeId,
    others: Vec<NodeId>,
    started: Vec<Transaction>,
    outcomes: Vec<(NodeId, Transaction, atomic_commit::Outcome)>,
    /// When a client was last answered, and a participant told.
    answered: Time,
    told: Time,
}

impl Deposed {
    fn new(options: Options<bench::replicated::Over<raft::Raft>>) -> Self {
        let mut options = options;
        options.group.check_quorum = false;
        let laboratory = Laboratory {
            nodes: 5,
            options,
            settle: Duration::from_secs(2),
            ..Laboratory::default()
        };
        let world = laboratory.world::<OverRaft>().expect("it starts");
        let old = world.protocol(NodeId(1)).and_then(OverRaft::leader);
        let old = old.expect("somebody leads");
        let mut others: Vec<_> = (1..=5).map(NodeId).filter(|node| *node != old).collect();
        let participant = others.remove(0);
        let mut deposed = Self {
            world,
            old,
            participant,
            others,
            started: Vec::new(),
            outcomes: Vec::new(),
            answered: Time::ZERO,
            told: Time::ZERO,
        };
        // A transaction that everybody has forgotten.
        deposed.begin(1);
        deposed.pass(2_000);
        deposed
    }

    fn begin(&mut self, token: u64) {
        self.begin_at(self.old, &[self.old, self.participant], token);
    }

    fn begin_at(&mut self, host: NodeId, nodes: &[NodeId], token: u64) {
        let work = nodes
            .iter()
            .map(|node| (*node, Bytes::from_static(b"work")));
        let request = Request::Begin {
            token: Token(token),
            work: work.collect(),
        };
        self.input(host, Input::Request(request));
    }

    fn input(&mut self, node: NodeId, input: Input<OverRaft>) {
        let place = usize::from(node.0) - 1;
        self.world.input(place, input).expect("every promise holds");
        self.hear();
    }

    fn hear(&mut self) {
        for (node, event) in self.world.take_told() {
            let kept = Kept::Resource;
            let request = match event {
                Event::Started { transaction, .. } => {
                    self.started.push(transaction);
                    continue;
                }
                Event::Prepare { transaction, work } => {
                    let vote = Vote::Yes { redo: work };
                    Request::Vote { transaction, vote }
                }
                Event::Ended { .. } => {
                    self.answered = self.world.now();
                    continue;
                }
                Event::Commit { transaction, .. } => {
                    self.told = self.world.now();
                    let outcome = atomic_commit::Outcome::Commit;
                    self.outcomes.push((node, transaction, outcome));
                    Request::Done { transaction, kept }
                }
                Event::Abort { transaction } => {
                    let outcome = atomic_commit::Outcome::Abort;
                    self.outcomes.push((node, transaction, outcome));
                    Request::Done { transaction, kept }
                }
                _ => continue,
            };
            self.input(node, Input::Request(request));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end: Time = self.world.now() + Duration::from_millis(ms);
        while self.world.next().is_some_and(|next| next <= end) {
            self.world.step().expect("every promise holds");
            self.hear();
        }
    }

    /// Parts the old host and its participant from the others, or takes that back.
    fn part(&mut self, parted: bool) {
        for one in [self.old, self.participant] {
            for other in self.others.clone() {
                for (from, to) in [(one, other), (other, one)] {
                    match parted {
                        true => self.world.cut(from, to),
                        false => self.world.mend(from, to),
                    }
                }
            }
        }
    }

    fn hosted_run(&self, node: NodeId) -> Option<Boot> {
        let status = self.world.protocol(node)?.status();
        status.hosted.map(|hosted| hosted.boot)
    }

    /// Deposes the first host: the others elect one of their own, and it does not know.
    fn depose(&mut self) {
        self.part(true);
        self.pass(5_000);
        let new = self.others.iter().find_map(|node| self.hosted_run(*node));
        assert!(
            new > self.hosted_run(self.old),
            "the others have a newer run"
        );
        assert!(
            self.hosted_run(self.old).is_some(),
            "the old one does not know"
        );
    }

    /// A question about what the deposed host has no record of reaches it. What it says in ten seconds.
    fn ask_the_deposed(&mut self) -> u64 {
        let before = self.world.sent_of("Decision");
        let message = Message::ToHosted(twophase::Message::Inquire {
            transaction: self.started[0],
            presumption: Presumption::Abort,
            boot: Boot(0),
        });
        let from = self.participant;
        self.input(self.old, Input::Receive { from, message });
        self.pass(10_000);
        self.world.sent_of("Decision") - before
    }
}

/// TP-32, the answer: a deposed host that has no record says nothing, because nothing proves that it
/// still leads.
#[test]
fn tp32_a_deposed_host_answers_nobody() {
    let mut deposed = Deposed::new(Options::default());
    deposed.depose();
    assert_eq!(deposed.ask_the_deposed(), 0);
}

/// The same where the proof is left out: it presumes an abort.
#[cfg(feature = "faults")]
#[test]
fn tp32_is_caught_where_the_proof_is_left_out() {
    let mut deposed = Deposed::new(Options {
        unproven: true,
        ..Options::default()
    });
    deposed.part(true);
    deposed.pass(100);
    assert_ne!(deposed.ask_the_deposed(), 0);
}

/// TP-32, the proposal: what a deposed host decided and could not have agreed never commits, and whoever
/// voted for it is told so by its successor.
#[test]
fn tp32_a_late_proposal_of_a_deposed_host_never_commits() {
    let mut deposed = Deposed::new(Options::default());
    deposed.depose();
    deposed.begin(2);
    deposed.pass(5_000);
    let late = deposed.started[1];
    let told = |deposed: &Deposed| -> Vec<_> {
        let outcomes = deposed.outcomes.iter();
        let late = outcomes.filter(|(_, transaction, _)| *transaction == late);
        late.map(|(node, _, outcome)| (*node, *outcome)).collect()
    };
    assert_eq!(told(&deposed), [], "both have voted, and nobody is told");
    deposed.part(false);
    deposed.pass(30_000);
    let mut ends = told(&deposed);
    ends.sort();
    let mut both = [deposed.old, deposed.participant];
    both.sort();
    assert_eq!(ends, both.map(|node| (node, atomic_commit::Outcome::Abort)));
}

/// The group's round is what it costs: a client is answered after four delays instead of two, and
/// participants know after five instead of three.
#[test]
fn a_commit_takes_two_delays_more_than_one_machine_would() {
    let mut cluster = Deposed::new(Options::default());
    let began = cluster.world.now();
    cluster.begin(2);
    cluster.pass(2_000);
    let delays = |moment: Time| moment.since(began).as_micros();
    assert_eq!(
        (delays(cluster.answered), delays(cluster.told)),
        (4_000, 5_000)
    );
}

/// What machines say to each other about a snapshot survives its own bytes.
#[test]
fn a_part_of_a_snapshot_is_read_back() {
    type Said = Message<<raft::Raft as Protocol>::Message, twophase::Message>;
    let id = SnapshotId(7);
    let manifest = Box::new(Manifest {
        id,
        index: Index(3),
        epoch: Epoch::ZERO,
        members: Membership::default(),
        coming: Vec::new(),
        size: 9,
    });
    let (at, part) = (4, "part".into());
    for message in [
        Said::Snapshot { manifest, at, part },
        Said::SnapshotWanted { id, at },
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(Said::decode(bytes.into()), Ok(message));
    }
}

/// A machine in the hands of a test, whose disk has written when the test says so.
struct Machine {
    protocol: OverRaft,
    effects: Effects<OverRaft>,
    gate: Gate,
}

struct Nowhere;

impl Outlet<<OverRaft as Protocol>::Message, Event> for Nowhere {
    fn message(&mut self, _: NodeId, _: <OverRaft as Protocol>::Message) {}
    fn event(&mut self, _: Event) {}
    fn release(&mut self, _: Lsn) {}
}

impl Machine {
    /// Handles one input, and returns the last record that was written.
    fn input(&mut self, input: Input<OverRaft>) -> Lsn {
        let effects = &mut self.effects;
        self.protocol.handle(Time::ZERO, input, effects);
        self.protocol.flush(Time::ZERO, effects);
        self.gate.admit(effects, &mut Nowhere);
        let (last, _, records) = effects.take_records();
        drop(records);
        effects.take_timers().for_each(drop);
        last
    }

    fn hears(&mut self, from: u16, message: <OverRaft as Protocol>::Message) -> Lsn {
        let from = NodeId(from);
        self.input(Input::Receive { from, message })
    }

    fn synced(&mut self, upto: Lsn) {
        self.gate.open(upto, &mut self.effects, &mut Nowhere);
        self.input(Input::Durable(upto));
    }
}

/// A newer snapshot may come, from the next leader, while the disk is still at an older one: both are
/// restored, one after the other. Found by seed 424 of the simulator.
#[test]
fn a_newer_snapshot_may_come_while_the_disk_is_at_an_older_one() {
    let members = Members::new((1..=3).map(NodeId)).expect("three nodes");
    let config = OverRaft::config(&Options::default(), &members, NodeId(1));
    let recovered = OverRaft::recover(config.expect("the options fit"), Boot(1), []);
    let mut machine = Machine {
        protocol: recovered.expect("an empty disk"),
        effects: Effects::new(Lsn::ZERO),
        gate: Gate::new(Lsn::ZERO),
    };
    let started = machine.input(Input::Start);
    machine.synced(started);
    // The disk of a hosted node that has written nothing.
    let mut state = Vec::new();
    Boot(0).put(&mut state);
    false.put(&mut state);
    Lsn::ZERO.put(&mut state);
    Vec::<(Lsn, Bytes)>::new().put(&mut state);
    let part = Bytes::from(state);
    let voters = members.iter().map(|node| Member {
        node,
        disk: DiskId(0),
        context: Bytes::new(),
    });
    let members = Membership {
        voters: voters.collect(),
        ..Membership::default()
    };
    let written: Vec<Lsn> = [(2, 5), (3, 9)]
        .into_iter()
        .map(|(leader, index)| {
            let (term, at, part) = (index, 0, part.clone());
            let epoch = Epoch::of_term(term);
            let manifest = Box::new(Manifest {
                id: SnapshotId(index.into()),
                index: Index(index),
                epoch,
                members: members.clone(),
                coming: Vec::new(),
                size: part.len() as u64,
            });
            let install = raft::Message::InstallSnapshot {
                term,
                manifest: manifest.clone(),
            };
            machine.hears(leader, Message::Group(install));
            machine.hears(leader, Message::Snapshot { manifest, at, part })
        })
        .collect();
    for (restored, upto) in (1..).zip(written) {
        machine.synced(upto);
        assert_eq!(machine.protocol.status().restored, restored);
    }
}

/// The group's log is compacted: machines that were away for longer than it reaches back are brought up
/// by a snapshot, one that starts again begins from its own, and what is kept does not grow.
#[test]
fn who_was_away_is_brought_up_by_a_snapshot() {
    let mut options = Options::<bench::replicated::Over<raft::Raft>> {
        compact_every: 8,
        reclaim_every: 16,
        // It takes dozens of them.
        snapshot_part: 16,
        ..Options::default()
    };
    options.group.keep_bytes = 0;
    let mut cluster = Deposed::new(options);
    cluster.depose();
    let hosts = |node: &NodeId| cluster.hosted_run(*node).is_some();
    let host = cluster.others.iter().copied().find(hosts);
    let (host, others) = (host.expect("one hosts"), cluster.others.clone());
    for token in 1..=100 {
        cluster.begin_at(host, &others, 100 + token);
        cluster.pass(200);
    }
    let status = |cluster: &Deposed, node| {
        let protocol = cluster.world.protocol(node).expect("it runs");
        protocol.status()
    };
    let (before, there) = (status(&cluster, cluster.old), status(&cluster, host));
    assert!(there.compacted.0 > 100 && there.records < 64, "{there:?}");
    assert!(before.compacted < there.compacted && before.restored == 0);
    cluster.part(false);
    cluster.pass(20_000);
    let after = status(&cluster, cluster.old);
    assert!(after.restored > 0 && after.run == there.run, "{after:?}");

    let place = usize::from(cluster.old.0) - 1;
    cluster.world.crash(place, None);
    cluster.world.start(place).expect("every promise holds");
    cluster.pass(5_000);
    let again = status(&cluster, cluster.old);
    assert!(again.restored == 1 && again.run >= there.run, "{again:?}");
}
