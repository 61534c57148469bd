//! A client that asks until it knows.

use crate::client::Client;
use crate::error::CallError;
use bytes::Bytes;
use consensus_core::{
    ClientId, Sequence,
    service::{Answer, Refusal},
};
use rand::{TryRng, rngs::SysRng};
use std::{io, time::Duration};
use tokio::time::{Instant, sleep};

/// One attempt waits for this long: then another node is asked.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Between two attempts, so that a node that is busy or gone is not made busier.
const PAUSE: Duration = Duration::from_millis(20);

/// A session with a replicated state machine: each of its calls is carried out at most once, however
/// often it has to be repeated, and at whichever nodes.
#[derive(Debug)]
pub struct Session {
    client: Client,
    id: ClientId,
    next: u64,
    /// How long a call is repeated before the session gives it up.
    pub patience: Duration,
}

/// A call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Certainly not carried out. [`Refusal::Busy`] and [`Refusal::NotLeader`] only when they lasted
    /// for the whole of [`Session::patience`].
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Carried out, or not, or perhaps later: no node could tell in time.
    /// [`Session::repeat`] asks again, and never has it carried out twice.
    #[error("no node could tell in time whether it was carried out; repeat it")]
    Unknown,
    /// Certainly not carried out: nobody could be reached.
    #[error("nobody could be asked: {0}")]
    Unreachable(CallError),
    /// The operating system gave no randomness.
    #[error("the operating system failed: {0}")]
    System(#[from] io::Error),
}

impl Client {
    /// Opens a session: waits for the group to be ready, up to `patience`.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn session(&self, patience: Duration) -> Result<Session, SessionError> {
        let mut id = [0; 16];
        SysRng.try_fill_bytes(&mut id).map_err(io::Error::other)?;
        let session = Session {
            client: self.clone(),
            id: ClientId(u128::from_le_bytes(id)),
            next: 1,
            patience,
        };
        session.ask(Sequence(0), Bytes::new()).await?;
        Ok(session)
    }
}

impl Session {
    /// Asks until there is an answer, or patience has run out.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn call(&mut self, body: impl Into<Bytes>) -> Result<Bytes, SessionError> {
        let sequence = Sequence(self.next);
        self.next += 1;
        self.ask(sequence, body.into()).await
    }

    /// Asks again for the last call, which must have the same body: its result, if it has been
    /// carried out before, else it is carried out now.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn repeat(&mut self, body: impl Into<Bytes>) -> Result<Bytes, SessionError> {
        self.ask(Sequence(self.next - 1), body.into()).await
    }

    async fn ask(&self, sequence: Sequence, body: Bytes) -> Result<Bytes, SessionError> {
        let until = Instant::now() + self.patience;
        let mut failed = SessionError::Refused(Refusal::NotLeader(None));
        let mut is_unknown = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(if is_unknown {
                    SessionError::Unknown
                } else {
                    failed
                });
            }
            let patience = left.min(ATTEMPT);
            let asked = self.client.call(self.id, sequence, body.clone(), patience);
            match asked.await {
                Ok(Answer::Done(result)) => return Ok(result),
                Ok(Answer::Refused(refusal)) if is_passing(refusal) => {
                    failed = SessionError::Refused(refusal);
                }
                Ok(Answer::Refused(refusal)) => return Err(SessionError::Refused(refusal)),
                Ok(Answer::Unknown) => is_unknown = true,
                Err(error) if error.is_unknown() => is_unknown = true,
                Err(error) => failed = SessionError::Unreachable(error),
            }
            sleep(PAUSE.min(left)).await;
        }
    }
}

const fn is_passing(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotLeader(_) | Refusal::Busy | Refusal::DiskFull | Refusal::ShuttingDown
    )
}
