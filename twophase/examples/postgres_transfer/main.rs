//! Money moves between two PostgreSQL servers, and `kill -9` of any process loses or makes none.
//!
//! ```text
//! A=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! cargo build --package twophase --features postgres --example postgres_transfer
//! E="target/debug/examples/postgres_transfer /tmp/transfers $A"
//! $E run 1                                        # the coordinator; each in a terminal
//! $E run 2 "host=/run/postgresql port=5432 user=bank dbname=bank"
//! $E run 3 "host=/run/postgresql port=5433 user=bank dbname=bank"
//! $E pay rent-march 250                           # from the bank of node 2 to that of node 3
//! $E in-doubt 2
//! ```
//!
//! Both servers need `max_prepared_transactions` above zero. A payment has a name, which is a key in
//! both databases: whoever does not hear what became of it asks for the same payment again, and it is
//! made once.

mod steps;

use bytes::Bytes;
use consensus_core::{
    ClientId, NodeId, Sequence, Wire,
    runtime::Placement,
    service::{
        Answer,
        external::{Ask, ExternalService, NoResource, Told},
    },
};
use net_quic::{Client, Role, Site, node};
use std::{env, error::Error, time::Duration};
use steps::{Stepping, Steps};
use tokio::time::sleep;
use twophase::{
    TwoPhase,
    postgres::{Perform, Postgres, Refusal, Settings},
};

type Anything<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: postgres_transfer DIR ADDRESS,ADDRESS,ADDRESS COMMAND
  run 1               the coordinator, in the foreground
  run NODE DATABASE   a participant, 2 or 3, with its database
  pay NAME AMOUNT     from the bank of node 2 to that of node 3
  in-doubt NODE       what that node is in doubt about, and whose word would end it";

const SCHEMA: &str = "
    CREATE TABLE account (id integer PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
    CREATE TABLE payment (name text PRIMARY KEY, amount bigint NOT NULL);
    INSERT INTO account VALUES (1, 1000000);";

const COORDINATOR: NodeId = NodeId(1);
const PAYS: NodeId = NodeId(2);
const IS_PAID: NodeId = NodeId(3);
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Anything<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [dir, addresses, command @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    let addresses: Result<Vec<_>, _> = addresses.split(',').map(str::parse).collect();
    let site = Site::open_or_create(dir.as_ref(), &addresses?)?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    match command[..] {
        ["run", "1"] => run(&site, COORDINATOR, None).await,
        ["run", node, database] => run(&site, NodeId(node.parse()?), Some(database)).await,
        ["pay", name, amount] => pay(&site.client()?, name, amount.parse()?).await,
        ["in-doubt", node] => in_doubt(&site.client()?, NodeId(node.parse()?)).await,
        _ => Err(USAGE.into()),
    }
}

/// The work of a participant: a payment's name, and what it adds to the account.
struct Bank;

impl Perform for Bank {
    async fn perform(&self, client: &tokio_postgres::Client, work: Bytes) -> Result<(), Refusal> {
        let parts = str::from_utf8(&work)
            .ok()
            .and_then(|work| work.split_once(' '));
        let amount = parts.and_then(|(amount, _)| amount.parse::<i64>().ok());
        let (Some(amount), Some((_, name))) = (amount, parts) else {
            return Err("this is no payment".into());
        };
        let insert = "INSERT INTO payment VALUES ($1, $2)";
        client.execute(insert, &[&name, &amount]).await?;
        let update = "UPDATE account SET balance = balance + $1 WHERE id = 1";
        client.execute(update, &[&amount]).await?;
        Ok(())
    }
}

/// A node until it breaks.
async fn run(site: &Site, node: NodeId, database: Option<&str>) -> Anything<()> {
    let mut settings = site.settings::<TwoPhase>(node)?;
    settings.runtime.placement = Placement::Together;
    let steps = Steps::from_env()?;
    let mut node = match database {
        None => {
            let service =
                ExternalService::new(Some(COORDINATOR), NoResource::default(), 1024, 1024);
            let service = Stepping::new(service, steps);
            node::start_with(settings, |_, _, _, _| Box::new(service)).await?
        }
        Some(database) => {
            let cluster = site.identity(Role::Node(node))?.name().cluster;
            let bank = bank(Settings::new(database.parse()?, cluster)).await?;
            let bank = Stepping::new(bank, steps);
            let service = ExternalService::new(Some(COORDINATOR), bank, 1024, 1024);
            node::start_with(settings, |_, _, _, _| Box::new(service)).await?
        }
    };
    Ok(node.wait().await?)
}

/// Waits for the server to be there, as a node may be started before it.
async fn bank(settings: Settings) -> Anything<Postgres> {
    loop {
        let schema = async {
            let (client, connection) = settings.database.connect(tokio_postgres::NoTls).await?;
            let connection = tokio::spawn(connection);
            // Only where there is none: whatever waits for the locks of a transaction in doubt must not
            // stand before the node that will end it.
            let made = "SELECT FROM pg_tables WHERE tablename = 'payment'";
            if client.query(made, &[]).await?.is_empty() {
                client.batch_execute(SCHEMA).await?;
            }
            drop(client);
            connection.await.unwrap_or(Ok(()))
        };
        match schema.await {
            Ok(()) => return Ok(Postgres::start(settings, Bank).await?),
            Err(why) => eprintln!("waiting for the database: {why}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(client: &Client, node: NodeId, ask: &Ask) -> Anything<Told> {
    let mut body = Vec::new();
    ask.encode(&mut body);
    // Nobody keeps sessions: what matters is the payment's name.
    let (nobody, once) = (ClientId(0), Sequence(1));
    match client
        .call_at(node, nobody, once, body.into(), PATIENCE)
        .await?
    {
        Answer::Done(told) => Ok(Told::decode(told)?),
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::Unknown => Err("unknown: ask for the same payment again".into()),
    }
}

async fn pay(client: &Client, name: &str, amount: i64) -> Anything<()> {
    let work = vec![
        (PAYS, format!("{} {name}", -amount).into()),
        (IS_PAID, format!("{amount} {name}").into()),
    ];
    match ask(client, COORDINATOR, &Ask::Begin { work }).await? {
        Told::Committed { transaction } => println!("paid by {transaction}"),
        // The key of the payment is there: it was made when it was asked for before.
        Told::Aborted { reason, .. } if reason.starts_with(b"23505") => println!("paid before"),
        Told::Aborted { reason, .. } => return Err(String::from_utf8_lossy(&reason).into()),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

async fn in_doubt(client: &Client, node: NodeId) -> Anything<()> {
    if let Told::InDoubt { transactions } = ask(client, node, &Ask::ListInDoubt {}).await? {
        for (transaction, waiting_for) in transactions {
            println!("{transaction} waits for {waiting_for:?}");
        }
    }
    Ok(())
}
