//! What a decision costs, counted exactly in virtual time, against the figures of the literature
//! (a message to oneself is free and not counted).

use consensus_core::{
    NodeId, Token,
    contract::register::{Event, Instance, Request, Version},
    sim::measure::{Decision, Duel, Laboratory},
};
use paxos::{Backoff, Options, Paxos};
use std::time::Duration;

fn propose(value: &'static str) -> Request {
    let instance = Instance {
        key: "k".into(),
        version: Version(1),
    };
    Request::Propose {
        token: Token(1),
        instance,
        value: value.into(),
    }
}

fn is_chosen(event: &Event) -> bool {
    matches!(event, Event::Chosen { .. })
}

fn decide(nodes: usize, options: Options) -> Decision {
    let laboratory = Laboratory {
        nodes,
        options,
        ..Laboratory::default()
    };
    laboratory
        .decide::<Paxos>(NodeId(1), &propose("X"), &is_chosen)
        .expect("nothing stands in the way")
}

/// Four delays and 4(N−1) messages until the proposer knows, two stable writes one after the other;
/// one delay and N−1 messages more until everybody knows.
#[test]
fn one_command_takes_two_round_trips() {
    for nodes in [3, 5, 7] {
        let n = nodes as u64;
        let decision = decide(nodes, Options::default());
        println!("{nodes} nodes: {decision:?}");
        assert_eq!(decision.asked.latency, Duration::from_millis(4));
        assert_eq!(decision.asked.messages, 4 * (n - 1));
        assert_eq!(decision.asked.sequential_writes, 2);
        assert_eq!(decision.everybody.latency, Duration::from_millis(5));
        assert_eq!(decision.everybody.messages, 5 * (n - 1));
        assert_eq!(decision.total.messages, 5 * (n - 1));
        assert_eq!(decision.total.syncs, 2 * n);
    }
}

/// Thrifty: 4(Q−1) messages.
#[test]
fn a_thrifty_proposer_asks_a_quorum() {
    for nodes in [3, 5, 7] {
        let quorum = nodes as u64 / 2 + 1;
        let decision = decide(
            nodes,
            Options {
                thrifty: true,
                ..Options::default()
            },
        );
        assert_eq!(decision.asked.latency, Duration::from_millis(4));
        assert_eq!(decision.asked.messages, 4 * (quorum - 1));
        assert_eq!(decision.asked.sequential_writes, 2);
    }
}

/// A node on its own needs no message.
#[test]
fn a_single_node_decides_alone() {
    let decision = decide(1, Options::default());
    assert_eq!(
        (decision.asked.messages, decision.asked.sequential_writes),
        (0, 2)
    );
}

fn undecided(backoff: Backoff, proposers: usize) -> (usize, f64) {
    let options = Options {
        backoff,
        give_up: paxos::GiveUp::FirstReject,
        ..Options::default()
    };
    let delay = Duration::from_millis(1);
    let duel = Duel {
        nodes: 7,
        proposers,
        options,
        delay,
        spread: 4,
        cutoff: 500,
    };
    let values = ["A", "B", "C", "D", "E", "F", "G"];
    let request = |node: NodeId| propose(values[usize::from(node.0) - 1]);
    let verdicts: Vec<_> = (0..60)
        .map(|seed| {
            duel.fight::<Paxos>(seed, &request, "Prepare", &is_chosen)
                .expect("nobody crashes")
        })
        .collect();
    let attempts: u64 = verdicts.iter().map(|verdict| verdict.attempts).sum();
    let share = attempts as f64 / verdicts.len() as f64;
    (
        verdicts
            .iter()
            .filter(|verdict| verdict.decided.is_none())
            .count(),
        share,
    )
}

/// Immediate retries leave seven duelling proposers undecided in most runs, exponential back-off
/// leaves none.
#[test]
fn livelock_is_shown_and_cured() {
    let exponential = Backoff::Exponential {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(64),
    };
    let mut before = 0;
    for proposers in [2, 3, 5, 7] {
        let (stuck, attempts) = undecided(Backoff::None, proposers);
        let (cured, few) = undecided(exponential, proposers);
        println!(
            "{proposers} proposers: {stuck} of 60 undecided after {attempts:.1} attempts; with back-off {cured} after {few:.1}"
        );
        assert_eq!(cured, 0);
        assert!(stuck >= before, "more proposers must not help");
        before = stuck;
    }
    assert!(
        before > 30,
        "immediate retries decided {} of 60",
        60 - before
    );
}
