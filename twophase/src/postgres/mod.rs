//! PostgreSQL as a participant: feature `postgres`.
//!
//! [`Postgres`] is a [`Resource`] over `PREPARE TRANSACTION`, `COMMIT PREPARED` and
//! `ROLLBACK PREPARED`. What the work of a transaction means is said by a [`Perform`]; the rest is
//! done here, for any protocol that speaks the contract of atomic commit.
//!
//! | window | what happens |
//! |---|---|
//! | crash after `PREPARE TRANSACTION`, before the participant's prepared record | the yes never left; what `pg_prepared_xacts` lists at the next start and nobody has voted for is rolled back |
//! | crash after the commit record, before `COMMIT PREPARED` | the record is kept until the database has done it, and the commit is told again |
//! | connection lost during `PREPARE TRANSACTION` | nothing is voted before the old backend is gone and `pg_prepared_xacts` has been read |
//! | connection lost during `COMMIT PREPARED` | it is said again; an unknown name then means that it was done |
//! | process killed during `PREPARE TRANSACTION`, and the backend finishes it later | found by reading `pg_prepared_xacts` again every [`Settings::sweep`] |
//!
//! The server needs `max_prepared_transactions` above zero, which is not its default. It refuses to
//! prepare transactions that have used temporary objects, `LISTEN` or `NOTIFY`, a cursor `WITH HOLD`,
//! or an exported snapshot: that is a no, with its words. The work must not end its transaction.

mod jobs;
mod resource;
mod session;

pub use resource::{Postgres, Watch};

use bytes::Bytes;
#[cfg(doc)]
use consensus_core::service::external::Resource;
use consensus_core::{Boot, ClusterId, NodeId, contract::atomic_commit::Transaction};
use std::{
    format,
    string::{String, ToString as _},
    time::Duration,
};
use tokio_postgres::Client;

/// How a participant of one node uses its database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database is, and as whom: whoever prepares a transaction has to commit it, so this
    /// role must not change while anything is prepared.
    pub database: tokio_postgres::Config,
    /// In the names of prepared transactions, to tell ours from anybody else's.
    pub cluster: ClusterId,
    /// Connections that do work, and as many again that commit and roll back, so that what is decided
    /// never waits for work that waits for its locks. At least 1. Default: 8.
    pub connections: usize,
    /// How long work waits for a lock before it is refused. Two transactions that wait for each other
    /// in different databases are only ended by this. Default: 1 s.
    pub lock_timeout: Duration,
    /// How long one statement may take before the server gives it up; twice this is how long a server
    /// may be silent before its connection counts as lost. Default: 10 s.
    pub statement_timeout: Duration,
    /// How often what is prepared is compared with what is known. Default: 5 s.
    pub sweep: Duration,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub const fn new(database: tokio_postgres::Config, cluster: ClusterId) -> Self {
        Self {
            database,
            cluster,
            connections: 8,
            lock_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(10),
            sweep: Duration::from_secs(5),
        }
    }

    /// What a transaction is called in the database: below the 200 bytes that it may be.
    fn name(&self, transaction: Transaction) -> String {
        let Transaction {
            coordinator,
            boot,
            sequence,
        } = transaction;
        format!("{}{}:{}:{sequence}", self.prefix(), coordinator.0, boot.0)
    }

    fn prefix(&self) -> String {
        format!("{:032x}:", self.cluster.0)
    }

    /// Whose name this is; none: not one of ours.
    fn transaction(&self, name: &str) -> Option<Transaction> {
        let mut parts = name.strip_prefix(&self.prefix())?.split(':');
        let transaction = Transaction {
            coordinator: NodeId(parts.next()?.parse().ok()?),
            boot: Boot(parts.next()?.parse().ok()?),
            sequence: parts.next()?.parse().ok()?,
        };
        // Written back it must be the same, or committing it would miss it.
        (self.name(transaction) == name).then_some(transaction)
    }
}

/// What the work of a transaction means in this database.
pub trait Perform: Send + Sync + 'static {
    /// Does the work inside a transaction that has begun, and that this must neither end nor prepare.
    /// What changes nothing is voted read-only.
    ///
    /// # Errors
    /// Why it cannot be done: the participant then votes no. An error of the database is turned into
    /// one by `?`.
    fn perform(
        &self,
        client: &Client,
        work: Bytes,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// Why a participant votes no, for whoever began the transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(pub Bytes);

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Self(Bytes::copy_from_slice(words.as_bytes()))
    }
}

/// The server's error code and words, such as `23505: duplicate key value …`.
impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        let words = match error.as_db_error() {
            Some(said) => format!("{}: {}", said.code().code(), said.message()),
            None => error.to_string(),
        };
        Self(words.into())
    }
}

/// Why a database cannot take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// It cannot be reached, or refuses.
    #[error("the database cannot be used: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// It did not answer within twice the statement time-out.
    #[error("the database does not answer")]
    Silent,
    /// It is configured not to prepare transactions.
    #[error(
        "the server prepares no transactions: set max_prepared_transactions in its postgresql.conf \
         to at least the number of transactions that may be under way, and restart it"
    )]
    PreparesNothing,
}

/// A transaction that the database holds prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Which. Resolve it by hand through the protocol, never in the database: see
    /// [`Ask::DecideByHand`](consensus_core::service::external::Ask::DecideByHand).
    pub transaction: Transaction,
    /// Since when it holds its locks, and keeps the database from cleaning up.
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_names_are_not_ours() {
        let settings = Settings::new(tokio_postgres::Config::new(), ClusterId(7));
        let transaction = Transaction {
            coordinator: NodeId(u16::MAX),
            boot: Boot(u32::MAX),
            sequence: u64::MAX,
        };
        let name = settings.name(transaction);
        assert!(name.len() < 200, "{name}");
        assert_eq!(settings.transaction(&name), Some(transaction));
        let other = Settings::new(tokio_postgres::Config::new(), ClusterId(8));
        let prefix = settings.prefix();
        for stranger in [
            other.name(transaction),
            format!("{prefix}1:1"),
            format!("{prefix}01:1:1"),
            format!("{prefix}1:1:1:1"),
            "somebody else's".into(),
        ] {
            assert_eq!(settings.transaction(&stranger), None, "{stranger}");
        }
    }
}
