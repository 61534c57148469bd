//! Connections to the database, and a few of them for many.

use super::{PostgresError, Settings};
use core::{fmt, future::Future, pin::Pin};
use std::{
    boxed::Box,
    format,
    string::String,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
    vec::Vec,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, Socket, tls::MakeTlsConnect};

/// The process that serves a connection: its number is used again, its start is not.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pid: String,
    started: String,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    backend: Backend,
    patience: Duration,
}

impl Session {
    /// Sends statements and reads the rows that they give.
    pub(super) async fn query(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, PostgresError> {
        let answer = tokio::time::timeout(self.patience, self.client.simple_query(sql));
        let answer = answer.await.map_err(|_| PostgresError::Silent)??;
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    pub(super) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Ends `backend` and whatever it is doing. Whether it is gone, and what it did is done or undone.
    pub(super) async fn is_gone(&self, backend: &Backend) -> Result<bool, PostgresError> {
        let Backend { pid, started } = backend;
        let ended = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid = {pid} AND backend_start::text = '{started}'"
        );
        Ok(self.query(&ended).await?.is_empty())
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<Session, PostgresError>> + Send>>;

/// How to get a connection.
#[derive(Clone)]
pub(super) struct Connect(Arc<dyn Fn() -> Connecting + Send + Sync>);

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connect")
    }
}

impl Connect {
    pub(super) fn new<T>(settings: &Settings, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket, Stream: Send, TlsConnect: Send> + Clone + Send + Sync + 'static,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let settings = settings.clone();
        Self(Arc::new(move || {
            Box::pin(connect(settings.clone(), tls.clone()))
        }))
    }

    pub(super) async fn connect(&self) -> Result<Session, PostgresError> {
        (self.0)().await
    }
}

async fn connect<T>(settings: Settings, tls: T) -> Result<Session, PostgresError>
where
    T: MakeTlsConnect<Socket, Stream: Send> + 'static,
{
    let patience = settings.statement_timeout * 2;
    let connecting = tokio::time::timeout(patience, settings.database.connect(tls));
    let (client, connection) = connecting.await.map_err(|_| PostgresError::Silent)??;
    // Ends with its client, or with the server; then the client says so.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut session = Session {
        client,
        backend: Backend {
            pid: String::new(),
            started: String::new(),
        },
        patience,
    };
    let (lock, statement) = (
        settings.lock_timeout.as_millis(),
        settings.statement_timeout.as_millis(),
    );
    let rows = session
        .query(&format!(
            "SET lock_timeout = {lock}; SET statement_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {statement}; \
             SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ))
        .await?;
    if let Some(row) = rows.first() {
        let column = |index| row.get(index).map(String::from).unwrap_or_default();
        session.backend = Backend {
            pid: column(0),
            started: column(1),
        };
    }
    Ok(session)
}

/// Some connections for many jobs.
#[derive(Debug)]
pub(super) struct Pool {
    connect: Connect,
    free: Semaphore,
    idle: Mutex<Vec<Session>>,
}

/// A connection for one job. Dropped it is closed; [`Lent::give_back`] lets the next job have it.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pub(super) session: Session,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(connect: Connect, size: usize) -> Self {
        Self {
            connect,
            free: Semaphore::new(size.max(1)),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a connection to be free, not for the server to be there.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, PostgresError> {
        let permit = self.free.acquire().await;
        let permit = permit.expect("the semaphore of a pool is never closed");
        let idle = loop {
            let idle = self.idle().pop();
            match idle {
                Some(session) if session.client.is_closed() => {}
                idle => break idle,
            }
        };
        let session = match idle {
            Some(session) => session,
            None => self.connect.connect().await?,
        };
        Ok(Lent {
            session,
            pool: self,
            _permit: permit,
        })
    }
}

impl Lent<'_> {
    /// It is as it was: in no transaction.
    pub(super) fn give_back(self) {
        self.pool.idle().push(self.session);
    }
}
