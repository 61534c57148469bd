//! Atomic commit over keys that many want: what each way of avoiding deadlock does to goodput, in virtual
//! time.

use super::virtual_time::DELAY;
use crate::zipf::Keys;
use consensus_core::{
    Algorithm, ClientId, Members, NodeId, Sequence, Time, Wire,
    bank::{self, Operation, Update},
    kv::encode,
    service::{Answer, Call, CallId, locks::LockPolicy},
    sim::{Chance, Climate, Step, World},
};
use rand_pcg::Pcg64;
use std::time::Duration;
use threephase::ThreePhase;
use twophase::TwoPhase;

/// Participants; the first coordinates too.
pub const PARTICIPANTS: u16 = 3;
/// Clients, each with one transfer under way.
pub const CLIENTS: u64 = 32;
/// Accounts at each participant.
pub const ACCOUNTS: u64 = 1_000;
/// What a disk write takes.
pub const SYNC: Duration = Duration::from_micros(100);
/// What is locked in a cycle through prepared holders is given up after about this time.
const PATIENCE: Duration = Duration::from_millis(20);

/// The policies, by the names that benchmarks give them.
pub const POLICIES: [(&str, LockPolicy); 3] = [
    ("no_wait", LockPolicy::NoWait),
    ("wait_die", LockPolicy::WaitDie),
    ("wound_wait", LockPolicy::WoundWait),
];

/// Atomic commit whose bank can be told how to lock.
pub trait Locking: Algorithm {
    /// The default options with this policy, and a vote time-out that is short beside a benchmark and
    /// long beside a commit.
    fn locking(policy: LockPolicy) -> Self::Options;
}

impl Locking for TwoPhase {
    fn locking(policy: LockPolicy) -> Self::Options {
        let mut options = Self::Options {
            resend: PATIENCE,
            vote_rounds: 1,
            ..Self::Options::default()
        };
        options.service.policy = policy;
        options
    }
}

impl Locking for ThreePhase {
    fn locking(policy: LockPolicy) -> Self::Options {
        let mut options = Self::Options {
            votes: PATIENCE * 3 / 2,
            ..Self::Options::default()
        };
        options.service.policy = policy;
        options
    }
}

/// What a stretch of time has brought.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Goodput {
    /// Virtual time.
    pub elapsed: Duration,
    /// Transfers that committed in it.
    pub committed: u64,
    /// Attempts at a transfer that were aborted in it.
    pub aborted: u64,
}

impl Goodput {
    /// Both stretches together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            elapsed: self.elapsed + other.elapsed,
            committed: self.committed + other.committed,
            aborted: self.aborted + other.aborted,
        }
    }

    /// Commits a second.
    #[must_use]
    pub fn a_second(&self) -> f64 {
        self.committed as f64 / self.elapsed.as_secs_f64()
    }

    /// Aborted attempts of all attempts, from 0 to 1.
    #[must_use]
    pub fn abort_share(&self) -> f64 {
        self.aborted as f64 / (self.aborted + self.committed).max(1) as f64
    }
}

/// [`PARTICIPANTS`] nodes, one-way delay [`DELAY`], disks that take [`SYNC`], and [`CLIENTS`] clients in
/// a closed loop. A transfer moves one between two accounts at every participant; an aborted one is
/// tried again after up to four delays, as old as it first was.
pub struct Contended<A: Locking> {
    world: World<A>,
    keys: Keys,
    rng: Pcg64,
    chance: Chance,
    /// By client: the transfer that it has under way, and how many calls it has made.
    clients: Vec<(Operation, u64)>,
    transfers: u64,
}

impl<A: Locking> std::fmt::Debug for Contended<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contended")
            .field("transfers", &self.transfers)
            .finish_non_exhaustive()
    }
}

impl<A: Locking> Contended<A> {
    /// A cluster whose clients draw accounts with a skew of `theta`; 0 is none.
    ///
    /// # Errors
    /// When the options do not fit, an invariant breaks, or `theta` is negative.
    pub fn new(policy: LockPolicy, theta: f64, seed: u64) -> Result<Self, String> {
        let members = Members::new((1..=PARTICIPANTS).map(NodeId)).map_err(|e| e.to_string())?;
        let climate = Climate::constant(DELAY, SYNC);
        let mut world = World::new(seed, members, A::locking(policy), climate)?;
        for place in 0..usize::from(PARTICIPANTS) {
            world.start(place).map_err(|e| e.to_string())?;
        }
        let mut contended = Self {
            world,
            keys: Keys::new(ACCOUNTS, theta).map_err(|e| e.to_string())?,
            rng: Pcg64::new(seed.into(), 1),
            chance: Chance::new(seed, 3_000),
            clients: Vec::new(),
            transfers: 0,
        };
        for client in 0..CLIENTS {
            let transfer = contended.transfer();
            contended.clients.push((transfer, 0));
            contended.later(client);
        }
        Ok(contended)
    }

    /// Runs until `count` more transfers have committed.
    ///
    /// # Errors
    /// When an invariant breaks, or a client is answered anything but commit and abort.
    pub fn commit(&mut self, count: u64) -> Result<Goodput, String> {
        let begun = self.world.now();
        let (mut committed, mut aborted) = (0, 0);
        while committed < count {
            match self.world.step().map_err(|e| e.to_string())? {
                Step::Idle => return Err("clients wait and nothing is due".to_owned()),
                Step::Called(client) => self.call(client)?,
                Step::Event => {}
            }
            for (_, CallId(id), answer) in self.world.take_answers() {
                let client = id % CLIENTS;
                if is_committed(&answer)? {
                    committed += 1;
                    self.clients[client as usize].0 = self.transfer();
                } else {
                    aborted += 1;
                }
                self.later(client);
            }
        }
        Ok(Goodput {
            elapsed: self.world.now().since(begun),
            committed,
            aborted,
        })
    }

    fn transfer(&mut self) -> Operation {
        let from = self.keys.draw(&mut self.rng);
        let mut to = self.keys.draw(&mut self.rng);
        while to == from {
            to = self.keys.draw(&mut self.rng);
        }
        self.transfers += 1;
        let update = |node, account, delta| Update {
            node: NodeId(node),
            account,
            delta,
        };
        let updates = (1..=PARTICIPANTS)
            .flat_map(|node| [update(node, from, -1), update(node, to, 1)])
            .collect();
        Operation::Transfer {
            age: self.transfers,
            updates,
            note: bytes::Bytes::new(),
        }
    }

    fn later(&mut self, client: u64) {
        let wait = self.chance.span(Duration::ZERO..=4 * DELAY);
        let at: Time = self.world.now() + wait;
        self.world.call_at(at, client);
    }

    fn call(&mut self, client: u64) -> Result<(), String> {
        let (operation, calls) = &mut self.clients[client as usize];
        *calls += 1;
        let call = Call {
            id: CallId(*calls * CLIENTS + client),
            client: ClientId(client.into()),
            sequence: Sequence(*calls),
            body: encode(operation),
        };
        match self.world.call(0, call) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the coordinator is down".to_owned()),
            Err(violation) => Err(violation.to_string()),
        }
    }
}

fn is_committed(answer: &Answer) -> Result<bool, String> {
    if let Answer::Done(body) = answer {
        match bank::Outcome::decode(body.clone()) {
            Ok(bank::Outcome::Committed { .. }) => return Ok(true),
            Ok(bank::Outcome::Aborted { .. }) => return Ok(false),
            Ok(bank::Outcome::Holdings { .. }) | Err(_) => {}
        }
    }
    Err(format!("a transfer was answered {answer:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goodput<A: Locking>(policy: LockPolicy, theta: f64) -> Goodput {
        let mut contended = Contended::<A>::new(policy, theta, 1).unwrap();
        contended.commit(200).unwrap()
    }

    fn skew_costs<A: Locking>() {
        for (name, policy) in POLICIES {
            let (even, skewed) = (goodput::<A>(policy, 0.0), goodput::<A>(policy, 1.2));
            println!("{} {name}: {even:?} {skewed:?}", A::NAME);
            assert!(even.a_second() > 2.0 * skewed.a_second(), "{name}");
            assert!(even.abort_share() < skewed.abort_share(), "{name}");
        }
    }

    #[test]
    fn skewed_keys_cost_goodput_under_every_policy() {
        skew_costs::<TwoPhase>();
        skew_costs::<ThreePhase>();
    }

    #[test]
    fn a_third_phase_holds_locks_longer() {
        let policy = LockPolicy::NoWait;
        let (two, three) = (
            goodput::<TwoPhase>(policy, 0.9),
            goodput::<ThreePhase>(policy, 0.9),
        );
        assert!(two.a_second() > three.a_second(), "{two:?} {three:?}");
    }
}
