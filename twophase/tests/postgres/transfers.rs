//! The example with two servers and three processes, each of which is killed.

use crate::servers::Server;
use consensus_core::NodeId;
use net_quic::processes::{Processes, build_example};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

const NAME: &str = "postgres_transfer";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who can be killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Victim {
    Node(NodeId),
    /// The server of that node.
    Server(NodeId),
}

pub(crate) struct Bank {
    nodes: Processes,
    servers: [Server; 2],
}

impl Bank {
    pub(crate) async fn open() -> Self {
        let servers = [Server::start(64).await, Server::start(64).await];
        let dir = servers[0].socket().with_extension("site");
        let example = build_example("twophase", &["postgres"], NAME);
        let nodes = Processes::new(example, dir, 3);
        let mut bank = Self { nodes, servers };
        bank.run(NodeId(1), None);
        bank.run(NodeId(2), None);
        bank.run(NodeId(3), None);
        bank
    }

    fn run(&mut self, node: NodeId, kill_at: Option<String>) {
        let mut command = self.nodes.command(&["run", &node.to_string()]);
        command.stderr(Stdio::null());
        if node != NodeId(1) {
            command.arg(self.server(node).address());
        }
        command.envs(kill_at.map(|kill_at| ("KILL_AT", kill_at)));
        self.nodes.run_as(node, command);
    }

    fn server(&mut self, node: NodeId) -> &mut Server {
        &mut self.servers[usize::from(node.0) - 2]
    }

    /// At `step` of the next transaction, `node` kills itself, or its server.
    pub(crate) fn kill_at(&mut self, node: NodeId, step: &str, victim: Victim) {
        self.nodes.kill(node);
        let process = match victim {
            Victim::Node(_) => 0,
            Victim::Server(of) => self.server(of).process(),
        };
        self.run(node, Some(format!("{step}:{process}")));
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Node(node) => self.nodes.kill(node),
            Victim::Server(node) => self.server(node).kill(),
        }
    }

    /// Whoever is dead is started again. How many were.
    pub(crate) async fn revive(&mut self) -> usize {
        let mut revived = 0;
        for server in &mut self.servers {
            revived += usize::from(server.revive().await);
        }
        for node in (1..=3).map(NodeId) {
            if self.nodes.has_ended(node) {
                self.nodes.kill(node);
                self.run(node, None);
                revived += 1;
            }
        }
        revived
    }

    /// Asks until there is an answer that is certain. How often it took.
    pub(crate) fn payer(&self, name: &str, amount: i64) -> impl FnOnce() -> u32 + Send + 'static {
        let words = ["pay", name, &amount.to_string()];
        let mut command = self.nodes.command(&words);
        move || {
            let until = Instant::now() + PATIENCE;
            for tries in 1.. {
                let output = command.output().unwrap();
                if output.status.success() {
                    return tries;
                }
                assert!(
                    Instant::now() < until,
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            unreachable!("the clock goes on")
        }
    }

    /// Waits until nothing is prepared any more; then both databases have made the same payments.
    pub(crate) async fn audit(&self, payments: i64, sum: i64) {
        let until = Instant::now() + PATIENCE;
        for server in &self.servers {
            while server
                .number("SELECT count(*) FROM pg_prepared_xacts")
                .await
                > 0
            {
                assert!(Instant::now() < until, "an orphan holds its locks");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let [pays, is_paid] = &self.servers;
        for (server, sign) in [(pays, -1), (is_paid, 1)] {
            let made = server.number("SELECT count(*) FROM payment").await;
            assert_eq!(made, payments);
            let balance = server.number("SELECT balance FROM account").await;
            assert_eq!(balance, 1_000_000 + sign * sum);
        }
        let names = "SELECT md5(string_agg(name || abs(amount), ',' ORDER BY name)) FROM payment";
        assert_eq!(pays.query(names).await, is_paid.query(names).await);
    }
}

/// TP-01 to TP-12 and TP-33 with real processes: the coordinator, a participant and a database are
/// killed at every step, and each payment is made once in both databases.
pub(crate) async fn a_payment_survives_kill_9_at_every_step() {
    let mut bank = Bank::open().await;
    let (coordinator, participant) = (NodeId(1), NodeId(3));
    let mut steps = Vec::new();
    for step in ["begun", "named", "decided"] {
        steps.push((coordinator, step, Victim::Node(coordinator)));
        steps.push((coordinator, step, Victim::Server(participant)));
    }
    for step in ["asked", "prepared", "told", "carried-out"] {
        steps.push((participant, step, Victim::Node(participant)));
        steps.push((participant, step, Victim::Server(participant)));
    }
    let count = i64::try_from(steps.len()).unwrap();
    for (at, (node, step, victim)) in steps.into_iter().enumerate() {
        bank.kill_at(node, step, victim);
        let name = format!("step-{at}");
        let paying = tokio::task::spawn_blocking(bank.payer(&name, 10));
        let until = Instant::now() + PATIENCE;
        let mut revived = 0;
        // Some steps come after the payer has its answer.
        while !paying.is_finished() || revived == 0 {
            assert!(Instant::now() < until, "{node} never has {step}");
            revived += bank.revive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tries = paying.await.unwrap();
        println!("{victim:?} killed when {node} has {step}: asked for {tries} times");
    }
    bank.audit(count, count * 10).await;
}

/// Somebody is killed at every tenth payment of four clients, at a random moment.
pub(crate) async fn payments_are_conserved_when_each_tenth_kills_somebody() {
    let payments: i64 = match std::env::var("PAYMENTS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => 60,
    };
    let mut bank = Bank::open().await;
    let mut draw = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut kills, mut tries, mut next) = ([0; 5], 0, 0);
    let mut paying = tokio::task::JoinSet::new();
    let mut ended = 0;
    while ended < payments {
        while next < payments && paying.len() < 4 {
            paying.spawn_blocking(bank.payer(&format!("payment-{next}"), 1 + next % 7));
            next += 1;
        }
        tries += paying.join_next().await.unwrap().unwrap();
        ended += 1;
        if ended % 10 == 0 {
            // Each in turn; xorshift says when in the course of a payment.
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            let victim = (ended / 10 % 5) as usize;
            tokio::time::sleep(Duration::from_millis(draw % 40)).await;
            kills[victim] += 1;
            bank.kill(match victim {
                0..3 => Victim::Node(NodeId(victim as u16 + 1)),
                _ => Victim::Server(NodeId(victim as u16 - 1)),
            });
            bank.revive().await;
        }
    }
    bank.audit(payments, (0..payments).map(|n| 1 + n % 7).sum())
        .await;
    println!(
        "{payments} payments, asked for {tries} times; killed: coordinator {}, participants {} and {}, \
         servers {} and {}; sums conserved, nothing left prepared",
        kills[0], kills[1], kills[2], kills[3], kills[4]
    );
}
