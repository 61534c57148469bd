//! The examples, as a user runs them: three processes, `kill -9`.
#![allow(clippy::unwrap_used)]

use consensus_core::NodeId;
use net_quic::processes::{Listening, Processes, example};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One cluster at a time: nine processes that elect leaders would only measure the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn next(watch: &mut Listening) -> String {
    watch.next_line().expect("it goes on")
}

#[test]
fn a_counter_loses_nothing_when_each_process_is_killed_in_turn() {
    let _alone = alone();
    let counter = Processes::start(example("raft", "counter"), "kill", 3);
    assert_eq!(counter.ask(&["add", "5"]), Ok("5".into()));
    for (node, sum) in NODES.into_iter().zip(["6", "7", "8"]) {
        counter.kill(node);
        assert_eq!(counter.ask(&["add", "1"]), Ok(sum.into()));
        counter.run(node);
    }
    NODES.iter().for_each(|node| counter.kill(*node));
    NODES.iter().for_each(|node| counter.run(*node));
    assert_eq!(counter.ask(&["add", "0"]), Ok("8".into()));
}

#[test]
fn a_configuration_store_goes_on_when_each_process_is_killed_in_turn() {
    let _alone = alone();
    let store = Processes::start(example("raft", "config_store"), "kill", 3);
    let first = store.ask(&["put", "/service/db", "10.0.0.5"]).unwrap();
    let mut watch = store.listen(&["watch", "/service/"]);
    assert!(next(&mut watch).starts_with("watching from "));

    for node in NODES {
        store.kill(node);
        let value = format!("10.0.0.{node}");
        store.ask(&["put", "/service/db", &value]).unwrap();
        assert_eq!(next(&mut watch), format!("put /service/db {value}"));
        store.run(node);
    }
    let refused = store.ask(&["cas", "/service/db", &first, "10.0.0.9"]);
    assert!(refused.unwrap_err().contains("it is at revision"));
    let now = store.ask(&["get", "/service/db"]).unwrap();
    let (revision, value) = now.split_once(' ').unwrap();
    assert_eq!(value, "10.0.0.3");
    store
        .ask(&["cas", "/service/db", revision, "10.0.0.9"])
        .unwrap();
    assert_eq!(next(&mut watch), "put /service/db 10.0.0.9");

    store.ask(&["put", "/other", "x"]).unwrap();
    assert_eq!(
        store.ask(&["list", "/service/"]).unwrap(),
        "/service/db 10.0.0.9"
    );
    store.ask(&["delete", "/service/db"]).unwrap();
    assert_eq!(next(&mut watch), "delete /service/db");
    let gone = store.ask(&["get", "/service/db"]).unwrap_err();
    assert!(gone.contains("not found"), "{gone}");
}

#[test]
fn a_lease_ends_when_the_log_says_so_and_takes_its_keys_along() {
    let _alone = alone();
    let store = Processes::start(example("raft", "config_store"), "leases", 3);
    let lease = store.ask(&["grant", "2"]).unwrap();
    store.ask(&["put", "/lock", "mine", &lease]).unwrap();
    let mut watch = store.listen(&["watch", "/lock"]);
    next(&mut watch);
    // Long enough for a leader to be elected, and for the lease to end: both are told by the watch.
    store.kill(NODES[0]);
    store.run(NODES[0]);
    assert_eq!(next(&mut watch), "delete /lock");
    let late = store.ask(&["keep", &lease]).unwrap_err();
    assert!(late.contains("not found"), "{late}");
    let never = store.ask(&["put", "/lock", "mine", &lease]).unwrap_err();
    assert!(never.contains("not found"), "{never}");
}
