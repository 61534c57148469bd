//! The example, as a user runs it: three processes, `kill -9`.
#![allow(clippy::unwrap_used)]

use consensus_core::NodeId;
use net_quic::processes::{Listening, Processes, example};
use std::{
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// One cluster at a time: more processes that elect leaders would only measure the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn start(test: &str) -> Processes {
    Processes::start(example("multipaxos", "lock_service"), test, 3)
}

fn next(client: &mut Listening) -> String {
    client.next_line().expect("it goes on")
}

/// Waits until a client that holds `name` says so. Its token.
fn token(holder: &mut Listening, name: &str) -> u64 {
    let line = next(holder);
    let token = line.strip_prefix(&format!("held {name} "));
    token.expect(&line).parse().unwrap()
}

/// What the lock protects: somebody is at it or nobody, and it has seen tokens up to this one.
#[derive(Default)]
struct Printer(Mutex<u64>);

impl Printer {
    /// One turn at the printer. Somebody is killed meanwhile, or when it is given back.
    fn turn(&self, service: &Processes, victim: NodeId, is_killed_first: bool) {
        let mut holder = service.listen(&["hold", "printer", "60"]);
        let token = token(&mut holder, "printer");
        let mut seen = self.0.try_lock().expect("nobody else is at it");
        assert!(*seen < token, "{token} after {seen}");
        *seen = token;
        if is_killed_first {
            service.kill(victim);
        }
        let checked = service.ask(&["check", "printer", &token.to_string()]);
        assert_eq!(checked, Ok(String::new()), "the holder's token is good");
        if !is_killed_first {
            service.kill(victim);
        }
        drop(seen);
        assert!(holder.finish(), "it has not lost its lease");
        service.run(victim);
    }
}

#[test]
fn no_two_hold_a_lock_at_once_while_each_process_is_killed_in_turn() {
    let _alone = alone();
    let service = start("kill");
    let printer = Printer::default();
    thread::scope(|scope| {
        for client in 0..3 {
            let (service, printer) = (&service, &printer);
            scope.spawn(move || {
                for turn in 0..2 {
                    let victim = NODES[(client + turn) % 3];
                    printer.turn(service, victim, turn % 2 == 0);
                }
            });
        }
    });
    let stale = service.ask(&["check", "printer", "1"]).unwrap_err();
    assert!(stale.contains("stale"), "{stale}");
}

#[test]
fn a_dead_holder_loses_the_lock_when_the_log_says_so() {
    let _alone = alone();
    let service = start("dead");
    let mut watch = service.listen(&["watch", "leader"]);
    assert!(next(&mut watch).starts_with("watching from "));
    let mut first = service.listen(&["hold", "leader", "2"]);
    let old = token(&mut first, "leader");
    assert_eq!(next(&mut watch), format!("granted leader {old}"));

    let mut second = service.listen(&["hold", "leader", "60"]);
    first.kill();
    service.kill(NODES[0]);
    service.run(NODES[0]);
    let new = token(&mut second, "leader");
    assert!(old < new, "{new} after {old}");
    assert_eq!(next(&mut watch), format!("lost leader {old}"));
    assert_eq!(next(&mut watch), format!("granted leader {new}"));
    let stale = service.ask(&["check", "leader", &old.to_string()]);
    assert!(stale.unwrap_err().contains("stale"));
    assert!(second.finish());
    assert_eq!(next(&mut watch), format!("lost leader {new}"));
}

fn signal(name: &str, client: &Listening) {
    let mut kill = Command::new("kill");
    kill.args([name, &client.process().to_string()]);
    assert!(kill.status().unwrap().success());
}

/// Its lease is over before it knows: what it does then is refused by its token.
#[test]
fn a_holder_that_was_stopped_gives_up_when_it_goes_on() {
    let _alone = alone();
    let service = start("stopped");
    let mut first = service.listen(&["hold", "disk", "2"]);
    let old = token(&mut first, "disk");
    signal("-STOP", &first);
    let mut second = service.listen(&["hold", "disk", "60"]);
    let new = token(&mut second, "disk");
    assert!(old < new, "{new} after {old}");
    signal("-CONT", &first);
    assert_eq!(first.next_line(), None, "it holds nothing any more");
    assert!(!first.finish());
    let good = service.ask(&["check", "disk", &new.to_string()]);
    assert_eq!(good, Ok(String::new()));
}

#[test]
fn sessions_wait_in_line_and_outlive_all_processes() {
    let _alone = alone();
    let service = start("line");
    let ask = |words: &[&str]| service.ask(words);
    let [a, b, c] = ["a", "b", "c"].map(|_| ask(&["open", "60"]).unwrap());
    let first = ask(&["lock", &a, "door"]).unwrap();
    assert_eq!(ask(&["lock", &a, "door"]), Ok(first.clone()));
    let refused = ask(&["try-lock", &b, "door"]).unwrap_err();
    assert!(refused.contains(&format!("held under token {first}")));
    assert_eq!(
        ask(&["lock", &b, "door"]),
        Ok("waiting, 0 before it".into())
    );
    assert_eq!(
        ask(&["lock", &c, "door"]),
        Ok("waiting, 1 before it".into())
    );

    NODES.iter().for_each(|node| service.kill(*node));
    NODES.iter().for_each(|node| service.run(*node));
    ask(&["release", &a, "door"]).unwrap();
    let second: u64 = ask(&["lock", &b, "door"]).unwrap().parse().unwrap();
    assert!(first.parse::<u64>().unwrap() < second);
    ask(&["release", &c, "door"]).unwrap();
    ask(&["close", &b]).unwrap();
    let gone = ask(&["keep", &b]).unwrap_err();
    assert!(gone.contains("no such session"), "{gone}");
    ask(&["try-lock", &a, "door"]).unwrap();
}
