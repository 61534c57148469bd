//! A client's side: a session that knows for itself how long it can be sure of its locks.

use crate::words::{Operation, Outcome, SessionId, Token, encode};
use bytes::Bytes;
use consensus_core::Wire;
use net_quic::Client;
use std::{error::Error, time::Duration};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a call is repeated before it is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often whoever waits looks.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

pub(crate) type Anything<T> = Result<T, Box<dyn Error>>;

/// Calls, each of which is carried out once.
pub(crate) struct Caller(net_quic::Session);

impl Caller {
    pub(crate) async fn connect(client: &Client) -> Anything<Self> {
        Ok(Self(client.session(PATIENCE).await?))
    }

    pub(crate) async fn ask(&mut self, operation: &Operation) -> Anything<Outcome> {
        let answer = self.0.call(encode(operation)).await?;
        match Outcome::decode(answer)? {
            Outcome::NoSession {} => Err("no such session: it is over".into()),
            Outcome::Malformed {} => Err("the service does not understand".into()),
            outcome => Ok(outcome),
        }
    }
}

/// A session that is kept alive.
///
/// The service's clock starts the lease when it hears of it and never runs ahead of time; this one
/// starts it before it asks. So it gives up before the service lets anybody else have a lock, as far as
/// the two machines' clocks go at the same rate.
pub(crate) struct Holder {
    caller: Caller,
    pub(crate) session: SessionId,
    lease: Duration,
    /// Until then nobody else has what it holds.
    sure: Instant,
}

/// The lease has run out, or may have.
const LOST: &str = "lost: the lease has run out";

impl Holder {
    pub(crate) async fn open(mut caller: Caller, lease: Duration) -> Anything<Self> {
        let sure = Instant::now() + lease;
        let open = Operation::Open {
            lease: lease.as_millis() as u64,
        };
        let Outcome::Session { session } = caller.ask(&open).await? else {
            return Err("the service does not open sessions".into());
        };
        Ok(Self {
            caller,
            session,
            lease,
            sure,
        })
    }

    /// What the service says, if it says so while the lease is sure.
    async fn ask(&mut self, operation: &Operation) -> Anything<Outcome> {
        let asked = timeout_at(self.sure, self.caller.ask(operation));
        asked.await.map_err(|_| LOST)?
    }

    async fn keep(&mut self) -> Anything<()> {
        let sure = Instant::now() + self.lease;
        let session = self.session;
        self.ask(&Operation::Keep { session }).await?;
        self.sure = sure;
        Ok(())
    }

    /// When it is time to let the lease begin anew.
    fn due(&self) -> Instant {
        self.sure - self.lease * 2 / 3
    }

    /// Waits for its turn.
    pub(crate) async fn lock(&mut self, name: &Bytes) -> Anything<Token> {
        let (session, name) = (self.session, name.clone());
        let mut ask = Operation::Acquire {
            session,
            name: name.clone(),
            waits: true,
        };
        loop {
            if let Outcome::Held { token } = self.ask(&ask).await? {
                return Ok(token);
            }
            let name = name.clone();
            ask = Operation::Stands { session, name };
            sleep(LOOK).await;
            if Instant::now() >= self.due() {
                self.keep().await?;
            }
        }
    }

    /// Keeps the lease until `done`, and ends the session; fails at the moment from which somebody else
    /// may have its locks.
    pub(crate) async fn keep_until(mut self, done: impl Future<Output = ()>) -> Anything<()> {
        let mut done = std::pin::pin!(done);
        loop {
            let due = self.due();
            tokio::select! {
                () = sleep_until(due) => self.keep().await?,
                () = &mut done => break,
            }
        }
        let session = self.session;
        self.ask(&Operation::Close { session }).await?;
        Ok(())
    }
}
