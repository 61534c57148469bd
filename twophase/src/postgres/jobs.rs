//! What is done in the database for one transaction, and how long it is tried.

use super::{
    Perform, PostgresError, Prepared, Refusal, Settings,
    session::{Backend, Connect, Lent, Pool, Session},
};
use bytes::Bytes;
use consensus_core::contract::atomic_commit::{Outcome, Transaction, Vote};
use std::{
    format,
    string::{String, ToString as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
    vec::Vec,
};
use tokio_postgres::error::SqlState;

/// A setting of ours, local to a transaction.
const MARK: &str = "atomic_commit.transaction";

/// Between two tries; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The database, as jobs use it.
#[derive(Debug)]
pub(super) struct Database {
    settings: Settings,
    work: Pool,
    decisions: Pool,
    failure: Mutex<Option<String>>,
}

impl Database {
    pub(super) fn new(settings: Settings, connect: &Connect) -> Self {
        let pool = || Pool::new(connect.clone(), settings.connections);
        Self {
            work: pool(),
            decisions: pool(),
            failure: Mutex::default(),
            settings,
        }
    }

    /// Why what has to be done cannot be done at the moment.
    pub(super) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, failure: Option<&PostgresError>) {
        let noted = self.failure.lock();
        *noted.unwrap_or_else(PoisonError::into_inner) = failure.map(|why| why.to_string());
    }

    /// Does the work of a transaction and prepares it.
    pub(super) async fn prepare<W: Perform>(
        &self,
        transaction: Transaction,
        bytes: Bytes,
        work: &W,
        given_up: &AtomicBool,
    ) -> Vote {
        // Before anything is prepared every failure is a no: a lost connection rolls back.
        let name = self.settings.name(transaction);
        let lent = match self.begin(&name).await {
            Ok(lent) => lent,
            Err(why) => return no(&refusal(why)),
        };
        let silent = self.settings.statement_timeout * 2;
        let performed = work.perform(&lent.session.client, bytes);
        let performed = match tokio::time::timeout(silent, performed).await {
            Ok(performed) => performed,
            Err(_) => Err("the work did not end in time".into()),
        };
        if let Err(refusal) = performed {
            roll_back(lent).await;
            return no(&refusal);
        }
        if given_up.load(SeqCst) {
            roll_back(lent).await;
            return no(&"given up".into());
        }
        self.vote(&name, lent).await
    }

    /// Begins a transaction that can be told from any other.
    async fn begin(&self, name: &str) -> Result<Lent<'_>, PostgresError> {
        let begin = format!("BEGIN; SET LOCAL {MARK} = '{name}'");
        let lent = self.work.lend().await?;
        match lent.session.query(&begin).await {
            Ok(_) => Ok(lent),
            // It was idle, and the server has been restarted since.
            Err(_) if lent.session.client.is_closed() => {
                drop(lent);
                let lent = self.work.lend().await?;
                lent.session.query(&begin).await?;
                Ok(lent)
            }
            Err(why) => Err(why),
        }
    }

    /// Prepares what was done, if it can be, and votes what came of it.
    async fn vote(&self, name: &str, lent: Lent<'_>) -> Vote {
        // PREPARE TRANSACTION in a transaction that has failed, or that the work has ended, is a rollback
        // without an error. This look has one in the first case, and misses the mark in the second.
        let look = format!(
            "SELECT current_setting('{MARK}', true) = '{name}', \
             pg_current_xact_id_if_assigned() IS NOT NULL"
        );
        let looked = lent.session.query(&look).await.map(|rows| {
            let is = |index| rows.first().and_then(|row| row.get(index)) == Some("t");
            (is(0), is(1))
        });
        let backend = lent.session.backend().clone();
        let sql = match looked {
            Ok((true, true)) => format!("PREPARE TRANSACTION '{name}'"),
            Ok((true, false)) => "COMMIT".into(),
            Ok((false, _)) => {
                roll_back(lent).await;
                return no(&"the work has ended its transaction".into());
            }
            Err(why) => {
                roll_back(lent).await;
                return no(&refusal(why));
            }
        };
        match (lent.session.query(&sql).await, looked) {
            (Ok(_), Ok((_, true))) => {
                lent.give_back();
                yes()
            }
            (Ok(_), _) => {
                lent.give_back();
                Vote::ReadOnly
            }
            (Err(why), _) => {
                drop(lent);
                match self.was_prepared(name, &backend).await {
                    true => yes(),
                    false => no(&refusal(why)),
                }
            }
        }
    }

    /// What became of a `PREPARE TRANSACTION` without an answer: as long as it takes to know.
    async fn was_prepared(&self, name: &str, backend: &Backend) -> bool {
        let mut tries = Tries::default();
        loop {
            match self.look(name, backend).await {
                Ok(Some(prepared)) => {
                    self.note(None);
                    return prepared;
                }
                Ok(None) => {}
                Err(why) => self.note(Some(&why)),
            }
            tries.pause().await;
        }
    }

    /// None: the backend is still at it.
    async fn look(&self, name: &str, backend: &Backend) -> Result<Option<bool>, PostgresError> {
        let lent = self.decisions.lend().await?;
        if !lent.session.is_gone(backend).await? {
            lent.give_back();
            return Ok(None);
        }
        let found = !lent.session.query(&is_prepared(name)).await?.is_empty();
        lent.give_back();
        Ok(Some(found))
    }

    /// Commits or rolls back what is prepared: as long as it takes.
    pub(super) async fn decide(&self, transaction: Transaction, outcome: Outcome) {
        let verb = match outcome {
            Outcome::Commit => "COMMIT",
            Outcome::Abort => "ROLLBACK",
        };
        let sql = format!("{verb} PREPARED '{}'", self.settings.name(transaction));
        let mut tries = Tries::default();
        while let Err(why) = self.try_to_decide(&sql).await {
            self.note(Some(&why));
            tries.pause().await;
        }
        if tries.count > 0 {
            self.note(None);
        }
    }

    async fn try_to_decide(&self, sql: &str) -> Result<(), PostgresError> {
        let lent = self.decisions.lend().await?;
        match lent.session.query(sql).await {
            Ok(_) => {
                lent.give_back();
                Ok(())
            }
            // Nothing of this name: it was done before, and its answer was lost.
            Err(PostgresError::Database(why))
                if why.code() == Some(&SqlState::UNDEFINED_OBJECT) =>
            {
                lent.give_back();
                Ok(())
            }
            Err(why) => Err(why),
        }
    }

    /// What is prepared here and ours, in this database.
    pub(super) async fn list(&self) -> Result<Vec<Prepared>, PostgresError> {
        let lent = self.decisions.lend().await?;
        let listed = list(&self.settings, &lent.session).await?;
        lent.give_back();
        Ok(listed)
    }
}

fn yes() -> Vote {
    // The database itself keeps what it takes.
    Vote::Yes { redo: Bytes::new() }
}

fn no(refusal: &Refusal) -> Vote {
    Vote::No {
        reason: refusal.0.clone(),
    }
}

fn refusal(why: PostgresError) -> Refusal {
    match why {
        PostgresError::Database(error) => error.into(),
        other => Refusal(other.to_string().into()),
    }
}

/// A connection that cannot is closed, which does it too.
async fn roll_back(lent: Lent<'_>) {
    if lent.session.query("ROLLBACK").await.is_ok() {
        lent.give_back();
    }
}

/// Gives a row if so. Transactions of other databases of the same server are listed too.
fn is_prepared(name: &str) -> String {
    format!(
        "SELECT 1 FROM pg_prepared_xacts WHERE gid = '{name}' AND database = current_database()"
    )
}

/// Those of this cluster and database.
pub(super) async fn list(
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Prepared>, PostgresError> {
    let sql = "SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 \
               FROM pg_prepared_xacts WHERE database = current_database()";
    let rows = session.query(sql).await?;
    let listed = rows.iter().filter_map(|row| {
        let seconds: f64 = row.get(1)?.parse().ok()?;
        Some(Prepared {
            transaction: settings.transaction(row.get(0)?)?,
            age: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        })
    });
    Ok(listed.collect())
}

#[derive(Debug, Default)]
struct Tries {
    count: u32,
}

impl Tries {
    async fn pause(&mut self) {
        let pause = PAUSE * (1 << self.count.min(10));
        tokio::time::sleep(pause.min(PAUSE_MAX)).await;
        self.count += 1;
    }
}
