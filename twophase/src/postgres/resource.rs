//! Keeps the jobs of one transaction in order, and passes on what comes of them.

use super::{
    Perform, PostgresError, Prepared, Settings,
    jobs::{self, Database},
    session::Connect,
};
use bytes::Bytes;
use consensus_core::{
    contract::atomic_commit::{Event, Kept, Outcome, Request, Transaction, Vote},
    service::external::Resource,
};
use core::{mem, task::Waker};
use std::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    vec::Vec,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_postgres::{NoTls, Socket, tls::MakeTlsConnect};

/// A database as a participant's resource. Dropping it closes its connections; what is prepared stays.
///
/// What it is told waits in memory until it is done: as much as the protocol lets be under way.
#[derive(Debug)]
pub struct Postgres {
    orders: UnboundedSender<Step>,
    said: Arc<Said>,
    database: Arc<Database>,
    task: JoinHandle<()>,
}

/// A look at a database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Database>);

impl Watch {
    /// What the database holds prepared for this cluster.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn prepared(&self) -> Result<Vec<Prepared>, PostgresError> {
        self.0.list().await
    }

    /// Why something that is decided cannot be carried out at the moment; it is tried again until it
    /// is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.failure()
    }
}

impl Postgres {
    /// Connects without TLS, reads what the database holds prepared, and starts.
    ///
    /// # Errors
    /// When the database cannot be used; nothing has been changed in it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start<W: Perform>(settings: Settings, work: W) -> Result<Self, PostgresError> {
        Self::start_with(settings, work, NoTls).await
    }

    /// As [`start`](Self::start), over TLS.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start_with<W, T>(
        settings: Settings,
        work: W,
        tls: T,
    ) -> Result<Self, PostgresError>
    where
        W: Perform,
        T: MakeTlsConnect<Socket, Stream: Send, TlsConnect: Send> + Clone + Send + Sync + 'static,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let connect = Connect::new(&settings, tls);
        let session = connect.connect().await?;
        let setting = session.query("SHOW max_prepared_transactions").await?;
        let setting = setting.first().and_then(|row| row.get(0));
        if setting.is_none_or(|number| number == "0") {
            return Err(PostgresError::PreparesNothing);
        }
        let found = jobs::list(&settings, &session).await?;
        let (orders, steps) = unbounded_channel();
        let (said, database) = (
            Arc::<Said>::default(),
            Arc::new(Database::new(settings.clone(), &connect)),
        );
        let mut desk = Desk {
            database: Arc::clone(&database),
            work: Arc::new(work),
            said: Arc::clone(&said),
            jobs: JoinSet::new(),
            busy: BTreeMap::new(),
            held: BTreeSet::new(),
            sweeping: None,
        };
        desk.found(found);
        let task = tokio::spawn(desk.run(steps, settings));
        Ok(Self {
            orders,
            said,
            database,
            task,
        })
    }

    /// A look at it that outlives it.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.database))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Resource for Postgres {
    fn woken_by(&mut self, waker: Waker) {
        *self.said.lock(&self.said.waker) = Some(waker);
    }

    fn tell(&mut self, event: Event) {
        let step = match event {
            Event::Prepare { transaction, work } => Step::Prepare(transaction, work),
            Event::Commit { transaction, .. } => Step::Decide(transaction, Outcome::Commit),
            Event::Abort { transaction } => Step::Decide(transaction, Outcome::Abort),
            // In doubt: the database has kept its locks.
            _ => return,
        };
        // Only a runtime that is going down has ended the task.
        let _ = self.orders.send(step);
    }

    fn is_waiting(&self) -> bool {
        self.said.is_waiting.load(SeqCst)
    }

    fn take(&mut self, requests: &mut Vec<Request>) {
        self.said.is_waiting.store(false, SeqCst);
        requests.append(&mut self.said.lock(&self.said.requests));
    }
}

/// What the protocol has not heard yet.
#[derive(Debug, Default)]
struct Said {
    requests: Mutex<Vec<Request>>,
    is_waiting: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Said {
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, request: Request) {
        self.lock(&self.requests).push(request);
        self.is_waiting.store(true, SeqCst);
        if let Some(waker) = &*self.lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// What happens at the desk.
#[derive(Debug)]
enum Step {
    Prepare(Transaction, Bytes),
    Decide(Transaction, Outcome),
}

/// What a job ends with.
#[derive(Debug)]
enum Ended {
    Voted(Transaction, Vote),
    Decided(Transaction),
    Swept(Option<Vec<Prepared>>),
}

/// A job that runs for a transaction.
#[derive(Debug)]
enum Busy {
    /// And what was decided meanwhile.
    Preparing(Arc<AtomicBool>, Option<Outcome>),
    Deciding,
}

/// Where all transactions of a database pass.
#[derive(Debug)]
struct Desk<W> {
    database: Arc<Database>,
    work: Arc<W>,
    said: Arc<Said>,
    jobs: JoinSet<Ended>,
    busy: BTreeMap<Transaction, Busy>,
    /// What the database holds prepared. All that was prepared before this start was listed then, so
    /// what is not here is over.
    held: BTreeSet<Transaction>,
    /// What has ended since the list under way was asked for, and may be on it still.
    sweeping: Option<BTreeSet<Transaction>>,
}

impl<W: Perform> Desk<W> {
    async fn run(mut self, mut steps: UnboundedReceiver<Step>, settings: Settings) {
        let mut sweeps = interval_at(Instant::now() + settings.sweep, settings.sweep);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                step = steps.recv() => match step {
                    Some(Step::Prepare(transaction, work)) => self.prepare(transaction, work),
                    Some(Step::Decide(transaction, outcome)) => self.decide(transaction, outcome),
                    None => return,
                },
                Some(ended) = self.jobs.join_next() => match ended {
                    Ok(Ended::Voted(transaction, vote)) => self.voted(transaction, vote),
                    Ok(Ended::Decided(transaction)) => self.decided(transaction),
                    Ok(Ended::Swept(found)) => self.swept(found),
                    // Nothing of ours panics, and nobody but the drop of this desk ends a job.
                    Err(_) => {}
                },
                _ = sweeps.tick(), if self.sweeping.is_none() => self.sweep(),
            }
        }
    }

    fn prepare(&mut self, transaction: Transaction, bytes: Bytes) {
        let (database, work) = (Arc::clone(&self.database), Arc::clone(&self.work));
        let given_up = Arc::<AtomicBool>::default();
        let busy = Busy::Preparing(Arc::clone(&given_up), None);
        self.busy.insert(transaction, busy);
        self.jobs.spawn(async move {
            // Apart, so that a panic of the work is a no: its connection closes, which rolls back.
            let mut apart = JoinSet::new();
            apart.spawn(async move {
                database
                    .prepare(transaction, bytes, &*work, &given_up)
                    .await
            });
            let reason = Bytes::from_static(b"the work panicked");
            let vote = apart.join_next().await.and_then(Result::ok);
            Ended::Voted(transaction, vote.unwrap_or(Vote::No { reason }))
        });
    }

    fn voted(&mut self, transaction: Transaction, vote: Vote) {
        if let Vote::Yes { .. } = vote {
            self.held.insert(transaction);
        }
        self.said.say(Request::Vote { transaction, vote });
        if let Some(Busy::Preparing(_, Some(outcome))) = self.busy.remove(&transaction) {
            self.decide(transaction, outcome);
        }
    }

    fn decide(&mut self, transaction: Transaction, outcome: Outcome) {
        match self.busy.get_mut(&transaction) {
            // In its order: nobody knows yet whether there is anything to roll back.
            Some(Busy::Preparing(given_up, decided)) => {
                given_up.store(true, SeqCst);
                *decided = Some(outcome);
            }
            // It is told again.
            Some(Busy::Deciding) => {}
            None if !self.held.contains(&transaction) => self.done(transaction),
            None => {
                let database = Arc::clone(&self.database);
                self.busy.insert(transaction, Busy::Deciding);
                self.jobs.spawn(async move {
                    database.decide(transaction, outcome).await;
                    Ended::Decided(transaction)
                });
            }
        }
    }

    fn decided(&mut self, transaction: Transaction) {
        self.busy.remove(&transaction);
        self.held.remove(&transaction);
        if let Some(ended) = &mut self.sweeping {
            ended.insert(transaction);
        }
        self.done(transaction);
    }

    fn done(&self, transaction: Transaction) {
        let kept = Kept::Resource;
        self.said.say(Request::Done { transaction, kept });
    }

    fn sweep(&mut self) {
        self.sweeping = Some(BTreeSet::new());
        let database = Arc::clone(&self.database);
        self.jobs
            .spawn(async move { Ended::Swept(database.list().await.ok()) });
    }

    fn swept(&mut self, found: Option<Vec<Prepared>>) {
        let ended = mem::take(&mut self.sweeping).unwrap_or_default();
        let mut found = found.unwrap_or_default();
        found.retain(|prepared| {
            let transaction = &prepared.transaction;
            !ended.contains(transaction) && !self.busy.contains_key(transaction)
        });
        if !found.is_empty() {
            self.found(found);
        }
    }

    /// What is nobody's will be aborted, what is committed will be committed, and the rest is in doubt.
    fn found(&mut self, found: Vec<Prepared>) {
        let transactions: Vec<_> = found.iter().map(|found| found.transaction).collect();
        self.held.extend(transactions.iter().copied());
        self.said.say(Request::FoundPrepared { transactions });
    }
}
