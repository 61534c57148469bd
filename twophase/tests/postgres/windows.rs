//! One database and no protocol: what is voted in every window.

use crate::servers::Server;
use bytes::Bytes;
use consensus_core::{
    Boot, ClusterId, NodeId,
    contract::atomic_commit::{Event, Kept, Request, Transaction, Vote},
    service::external::Resource,
};
use core::task::Waker;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    task::Wake,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Notify,
};
use tokio_postgres::Config;
use twophase::postgres::{Perform, Postgres, PostgresError, Refusal, Settings};

/// The work is SQL.
struct Script;

impl Perform for Script {
    async fn perform(&self, client: &tokio_postgres::Client, work: Bytes) -> Result<(), Refusal> {
        let sql = String::from_utf8(work.to_vec()).map_err(|_| "this is no text")?;
        match sql.strip_prefix("hides its error: ") {
            Some(sql) => drop(client.batch_execute(sql).await),
            None if sql == "panic" => panic!("asked for"),
            None => client.batch_execute(&sql).await?,
        }
        Ok(())
    }
}

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A resource as its node hears it.
struct Participant {
    postgres: Postgres,
    bell: Arc<Bell>,
    said: Vec<Request>,
}

impl Participant {
    async fn start(config: Config) -> Self {
        let settings = Settings::new(config, ClusterId(7));
        let mut postgres = Postgres::start(settings, Script).await.unwrap();
        let bell = Arc::new(Bell(Notify::new()));
        postgres.woken_by(Waker::from(Arc::clone(&bell)));
        Self {
            postgres,
            bell,
            said: Vec::new(),
        }
    }

    async fn hear(&mut self) -> Request {
        while self.said.is_empty() {
            self.postgres.take(&mut self.said);
            if self.said.is_empty() {
                self.bell.0.notified().await;
            }
        }
        self.said.remove(0)
    }

    /// Everything that was found at the start.
    async fn found(&mut self) -> Vec<Transaction> {
        match self.hear().await {
            Request::FoundPrepared { transactions } => transactions,
            other => panic!("{other:?}"),
        }
    }

    async fn prepare(&mut self, sequence: u64, work: &str) -> Vote {
        let (transaction, work) = (t(sequence), Bytes::copy_from_slice(work.as_bytes()));
        self.postgres.tell(Event::Prepare { transaction, work });
        match self.hear().await {
            Request::Vote { vote, .. } => vote,
            other => panic!("{other:?}"),
        }
    }

    async fn end(&mut self, event: Event) {
        self.postgres.tell(event);
        let done = self.hear().await;
        let kept = Kept::Resource;
        assert!(
            matches!(done, Request::Done { kept: k, .. } if k == kept),
            "{done:?}"
        );
    }
}

fn t(sequence: u64) -> Transaction {
    Transaction {
        coordinator: NodeId(1),
        boot: Boot(1),
        sequence,
    }
}

const YES: Vote = Vote::Yes { redo: Bytes::new() };

fn commit(sequence: u64) -> Event {
    let (transaction, redo) = (t(sequence), Bytes::new());
    Event::Commit { transaction, redo }
}

fn abort(sequence: u64) -> Event {
    let transaction = t(sequence);
    Event::Abort { transaction }
}

fn words(vote: Vote) -> String {
    match vote {
        Vote::No { reason } => String::from_utf8(reason.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

const INSERT: &str = "INSERT INTO t VALUES (1)";

/// A server that prepares nothing is refused at the start, with the setting that would help.
pub(crate) async fn a_server_that_prepares_nothing_is_refused() {
    let server = Server::start(0).await;
    let settings = Settings::new(server.config(), ClusterId(7));
    let refused = Postgres::start(settings, Script).await.unwrap_err();
    assert!(matches!(refused, PostgresError::PreparesNothing));
    assert!(refused.to_string().contains("max_prepared_transactions"));
}

/// Every way in which work can end, and what is voted for it.
pub(crate) async fn work_is_voted_as_it_ends() {
    let server = Server::start(8).await;
    server.query("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut participant = Participant::start(server.config()).await;
    assert_eq!(participant.found().await, []);

    assert_eq!(participant.prepare(1, INSERT).await, YES);
    let held = participant.postgres.watch().prepared().await.unwrap();
    assert_eq!(
        held.iter().map(|held| held.transaction).collect::<Vec<_>>(),
        [t(1)]
    );
    participant.end(commit(1)).await;
    participant.end(commit(1)).await;
    assert_eq!(server.number("SELECT count(*) FROM t").await, 1);

    assert_eq!(
        participant.prepare(2, "INSERT INTO t VALUES (2)").await,
        YES
    );
    participant.end(abort(2)).await;
    assert_eq!(
        participant.prepare(3, "SELECT * FROM t").await,
        Vote::ReadOnly
    );
    let twice = words(participant.prepare(4, INSERT).await);
    assert!(twice.starts_with("23505: "), "{twice}");
    // The server would turn these two into a rollback, and call it prepared.
    let hidden = words(
        participant
            .prepare(5, &format!("hides its error: {INSERT}"))
            .await,
    );
    assert!(hidden.starts_with("25P02: "), "{hidden}");
    let ended = words(
        participant
            .prepare(6, "INSERT INTO t VALUES (6); COMMIT; BEGIN")
            .await,
    );
    assert!(
        ended.is_empty() || server.number("SELECT count(*) FROM t").await == 2,
        "{ended}"
    );
    let temporary = words(
        participant
            .prepare(7, "CREATE TEMPORARY TABLE s (id int)")
            .await,
    );
    assert!(temporary.starts_with("0A000: "), "{temporary}");
    assert_eq!(
        words(participant.prepare(8, "panic").await),
        "the work panicked"
    );
    // Never prepared: there is nothing to wait for.
    participant.end(abort(9)).await;
    assert_eq!(
        participant.prepare(10, "INSERT INTO t VALUES (10)").await,
        YES
    );
    participant.end(commit(10)).await;
    assert_eq!(
        server
            .number("SELECT count(*) FROM pg_prepared_xacts")
            .await,
        0
    );
}

/// Between a participant and its server: loses the connection at `PREPARE TRANSACTION`.
struct Cut {
    dir: PathBuf,
}

impl Cut {
    /// `passes`: the server still hears it.
    fn start(server: &Server, passes: bool) -> Self {
        let dir = server
            .socket()
            .join(if passes { "after" } else { "before" });
        std::fs::create_dir(&dir).unwrap();
        let name = ".s.PGSQL.5432";
        let (here, there) = (dir.join(name), server.socket().join(name));
        let listener = UnixListener::bind(here).unwrap();
        tokio::spawn(async move {
            let mut cuts = true;
            while let Ok((client, _)) = listener.accept().await {
                // The first connection only looks at settings; every one of them may be the first to
                // prepare.
                cuts = serve(client, &there, cuts, passes).await;
            }
        });
        Self { dir }
    }

    fn config(&self) -> Config {
        format!("host={} user=bank dbname=postgres", self.dir.display())
            .parse()
            .unwrap()
    }
}

/// Whether the next `PREPARE` is to be cut: serves one connection until either side ends it. Each is
/// served on a task of its own once nothing is left to be cut.
async fn serve(mut client: UnixStream, there: &Path, cuts: bool, passes: bool) -> bool {
    let mut server = UnixStream::connect(there).await.unwrap();
    if !cuts {
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        return false;
    }
    let (mut up, mut down) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return true };
                let said = &up[..count];
                let prepares = said.windows(19).any(|text| text == b"PREPARE TRANSACTION");
                if !prepares || passes {
                    server.write_all(said).await.unwrap();
                }
                if prepares {
                    drop(client);
                    if passes {
                        // The answer comes, and nobody hears it.
                        let _ = server.read(&mut down).await;
                    }
                    return false;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return true };
                client.write_all(&down[..count]).await.unwrap();
            }
        }
    }
}

/// TP-33 (c): a connection lost during `PREPARE TRANSACTION` is no vote: what the database holds is.
pub(crate) async fn a_lost_answer_to_prepare_is_looked_up() {
    let server = Server::start(8).await;
    server.query("CREATE TABLE t (id int PRIMARY KEY)").await;
    for passes in [true, false] {
        let cut = Cut::start(&server, passes);
        let mut participant = Participant::start(cut.config()).await;
        participant.found().await;
        let sequence = u64::from(passes) + 1;
        let vote = participant
            .prepare(sequence, &format!("INSERT INTO t VALUES ({sequence})"))
            .await;
        assert_eq!(vote == YES, passes, "{vote:?}");
        let held = server
            .number("SELECT count(*) FROM pg_prepared_xacts")
            .await;
        assert_eq!(held, i64::from(passes));
        if passes {
            participant.end(commit(sequence)).await;
        }
    }
    assert_eq!(server.query("SELECT id FROM t").await, ["2"]);
}

/// TP-33 (a) and (b), as a node sees them that starts again: what is held is said first, whatever is
/// somebody else's is left alone, and what was decided is carried out.
pub(crate) async fn a_start_says_what_is_held_and_touches_nobody_elses() {
    let mut server = Server::start(8).await;
    server.query("CREATE TABLE t (id int PRIMARY KEY)").await;
    server
        .query("BEGIN; INSERT INTO t VALUES (9); PREPARE TRANSACTION 'somebody else''s'")
        .await;
    let mut participant = Participant::start(server.config()).await;
    assert_eq!(participant.found().await, []);
    for sequence in [1, 2, 3] {
        let work = format!("INSERT INTO t VALUES ({sequence})");
        assert_eq!(participant.prepare(sequence, &work).await, YES);
    }
    drop(participant);
    server.kill();
    server.restart().await;

    let mut participant = Participant::start(server.config()).await;
    assert_eq!(participant.found().await, [t(1), t(2), t(3)]);
    participant.end(commit(1)).await;
    participant.end(abort(2)).await;
    let left = participant.postgres.watch().prepared().await.unwrap();
    assert_eq!(
        left.iter().map(|left| left.transaction).collect::<Vec<_>>(),
        [t(3)]
    );
    assert_eq!(server.query("SELECT id FROM t").await, ["1"]);
    assert_eq!(
        server
            .number("SELECT count(*) FROM pg_prepared_xacts")
            .await,
        2
    );
    // Decided while the server is away: done when it is back.
    server.kill();
    participant.postgres.tell(commit(3));
    server.restart().await;
    assert!(matches!(participant.hear().await, Request::Done { .. }));
    assert_eq!(
        server.query("SELECT id FROM t ORDER BY 1").await,
        ["1", "3"]
    );
}
