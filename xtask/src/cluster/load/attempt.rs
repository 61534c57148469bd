//! One operation of one client: asked of one node after another until somebody answers, or time is
//! up.

use super::{Load, asker::Asker, book::Begun};
use bench::{app::kv as app, recorder::Outcome};
use bytes::Bytes;
use consensus_core::{
    ClientId, NodeId, Sequence,
    service::{Answer, Refusal},
};
use net_quic::CallError;
use std::{future::Future, time::Duration};
use tokio::time::sleep;

/// Pause before asking again after a refusal that may pass: well below an election, well above a
/// round trip.
const PAUSE: Duration = Duration::from_millis(5);

/// A node that keeps sessions is given up after this share of the time-out and another is asked
/// under the same number, which carries it out once whoever hears it.
const TRIES: u32 = 4;

/// Reaches nodes.
pub(crate) trait Caller: Send + Sync + 'static {
    /// Asks `node`, and waits no longer than `patience`.
    fn call(
        &self,
        node: NodeId,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
        patience: Duration,
    ) -> impl Future<Output = Result<Answer, CallError>> + Send;
}

/// What one attempt came to.
enum Attempt {
    Ended(Outcome, Option<Answer>),
    /// Certainly not carried out.
    Refused,
    /// Perhaps carried out, and safe to repeat.
    Repeat(Outcome),
}

impl<C: Caller> Load<C> {
    /// Since the start of the run.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Opens the client's session, where services keep one. A client without one is told so by its
    /// first operation.
    pub(crate) async fn open(&self, asker: &Asker) {
        if asker.keeps_session() {
            self.ask(asker, self.now(), Sequence(0), Bytes::new()).await;
        }
    }

    /// Carries one operation through and writes down what came of it.
    pub(crate) async fn perform(&self, asker: &mut Asker, intended: Duration) {
        let question = asker.question();
        let started = self.now();
        let (outcome, answer) = self
            .ask(asker, intended, asker.sequence(), question.body)
            .await;
        let ended = self.now();
        if outcome == Outcome::Done {
            self.outages.done(started, ended);
        }
        let begun = Begun {
            client: asker.number,
            intended,
            started,
            kind: question.kind,
            operation: question.operation,
        };
        let result = answer.as_ref().and_then(app::result);
        self.ledger.end(begun, ended, outcome, result);
    }

    /// Asks until there is an answer or the time is up. Repeats only what was certainly not carried
    /// out, or what a session carries out once.
    async fn ask(
        &self,
        asker: &Asker,
        intended: Duration,
        sequence: Sequence,
        body: Bytes,
    ) -> (Outcome, Option<Answer>) {
        let deadline = intended + self.window.timeout;
        // Never sent, and yet the client has waited all its time.
        let mut so_far = Outcome::Timeout;
        let mut doubtful = false;
        loop {
            let left = deadline.saturating_sub(self.now());
            if left.is_zero() {
                return (so_far, None);
            }
            let patience = match asker.keeps_session() {
                true => left.min(self.window.timeout / TRIES),
                false => left,
            };
            match self.attempt(asker, sequence, body.clone(), patience).await {
                Attempt::Ended(outcome, answer) => return (outcome, answer),
                Attempt::Repeat(outcome) => {
                    doubtful = true;
                    so_far = outcome;
                }
                // A certain no says nothing of the attempts before.
                Attempt::Refused if doubtful => {}
                Attempt::Refused => so_far = Outcome::Failed,
            }
            sleep(PAUSE.min(deadline.saturating_sub(self.now()))).await;
        }
    }

    async fn attempt(
        &self,
        asker: &Asker,
        sequence: Sequence,
        body: Bytes,
        patience: Duration,
    ) -> Attempt {
        let node = self.router.preferred();
        match self
            .caller
            .call(node, asker.id, sequence, body, patience)
            .await
        {
            Ok(Answer::Refused(refusal)) if app::may_retry(refusal) => {
                self.refused(node, refusal);
                Attempt::Refused
            }
            Ok(answer) => Attempt::Ended(asker.outcome(&answer), Some(answer)),
            Err(error) if error.is_unknown() => {
                self.router.away_from(node);
                let outcome = match error {
                    CallError::Timeout => Outcome::Timeout,
                    _ => Outcome::Unknown,
                };
                match asker.keeps_session() {
                    true => Attempt::Repeat(outcome),
                    false => Attempt::Ended(outcome, None),
                }
            }
            Err(CallError::Unreachable { .. } | CallError::UnknownNode(_)) => {
                self.router.away_from(node);
                Attempt::Refused
            }
            // Would be refused everywhere and for ever.
            Err(_) => Attempt::Ended(Outcome::Failed, None),
        }
    }

    fn refused(&self, node: NodeId, refusal: Refusal) {
        match refusal {
            Refusal::NotLeader(leader) => self.router.redirected(node, leader),
            Refusal::ShuttingDown | Refusal::DiskFull => self.router.away_from(node),
            // Busy: the same node will have room again.
            _ => {}
        }
    }
}

impl Caller for Vec<net_quic::Client> {
    /// Clients of one node share a few connections.
    async fn call(
        &self,
        node: NodeId,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let line = (client.0 % self.len() as u128) as usize;
        self[line]
            .call_at(node, client, sequence, body, patience)
            .await
    }
}
