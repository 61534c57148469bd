//! Clients: many calls under way on one stream, answered in any order.

use crate::call::{Ask, Reply};
use crate::endpoint::Shared;
use crate::frame::{Frames, PREFIX};
use crate::handshake::{Refused, Settled};
use crate::identity::Role;
use crate::stats::Counter;
use bytes::Bytes;
use consensus_core::{
    ClientId, Sequence, Wire,
    service::{Answer, Manage, Refusal},
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use quinn::SendStream;
use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{sleep, timeout};

/// Bytes of answers that wait to be written before a connection is read no further.
const ANSWERS: usize = 1 << 20;

/// Time for the last answers to arrive when a connection ends in good order.
const FAREWELL: Duration = Duration::from_millis(500);

/// Takes clients' calls.
pub trait Gateway: Send + Sync + 'static {
    /// One call. Dropped when the client's connection is lost: nobody waits for it any more.
    fn call(
        &self,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
    ) -> impl Future<Output = Answer> + Send;

    /// What an operator asks of the group. Dropped as a call is. Refused unless there is something to
    /// manage.
    fn manage(&self, what: Manage) -> impl Future<Output = Answer> + Send {
        let _ = what;
        std::future::ready(Answer::Refused(Refusal::Unmanaged))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A gateway whose type is hidden.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves one client until it leaves; says why if it was turned out.
    fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        connection: quinn::Connection,
        settled: Settled,
    ) -> Boxed<'static, Option<Refused>>;
}

pub(crate) struct Service<G, I> {
    gateway: G,
    inspect: I,
}

impl<G, I> Service<G, I> {
    pub(crate) const fn new(gateway: G, inspect: I) -> Self {
        Self { gateway, inspect }
    }
}

impl<G: Gateway, I: Fn() -> String + Send + Sync + 'static> Serve for Service<G, I> {
    fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        connection: quinn::Connection,
        settled: Settled,
    ) -> Boxed<'static, Option<Refused>> {
        Box::pin(async move {
            let left = settled.name.not_after.duration_since(SystemTime::now());
            let left = left.unwrap_or_default();
            let age = shared.limits.connection_age;
            let most = age + age / 4;
            tokio::select! {
                refused = serve(&*self, &shared, settled) => refused,
                // Clients lay a new line at the age itself: nobody calls on this one any more.
                () = sleep(most) => None,
                () = sleep(left) => {
                    let why = "the certificate has expired";
                    Some(Refused::new(Counter::CertificateExpired, why))
                }
                refused = shared.revoked(&connection) => Some(refused),
                _ = connection.closed() => None,
            }
        })
    }
}

/// Answers on their way back.
struct Answers {
    stream: SendStream,
    bytes: Vec<u8>,
    written: usize,
}

impl Answers {
    fn add(&mut self, reply: &Reply) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; PREFIX]);
        reply.encode(&mut self.bytes);
        let length = (self.bytes.len() - begin - PREFIX) as u32;
        self.bytes[begin..begin + PREFIX].copy_from_slice(&length.to_le_bytes());
    }

    const fn left(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes some; nothing is lost when the waiting is given up.
    async fn write(&mut self) -> Result<(), quinn::WriteError> {
        self.written += self.stream.write(&self.bytes[self.written..]).await?;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(ANSWERS);
            self.written = 0;
        }
        Ok(())
    }
}

/// One task a connection does all: reads, runs the calls, writes. A call meets no other task on its
/// way to the gateway, and its answer none on its way back.
async fn serve<G: Gateway, I: Fn() -> String + Send + Sync>(
    service: &Service<G, I>,
    shared: &Shared,
    settled: Settled,
) -> Option<Refused> {
    let Settled {
        name,
        mut frames,
        send,
        ..
    } = settled;
    let mut answers = Answers {
        stream: send,
        bytes: Vec::new(),
        written: 0,
    };
    let mut calls = FuturesUnordered::new();
    let mut closing = shared.closing.subscribe();
    let mut is_reading = true;
    // Read, and not begun: what came in one read may be more than there is room for.
    let mut asks = Vec::new().into_iter();
    loop {
        while calls.len() < shared.limits.calls && answers.left() < ANSWERS {
            match asks
                .next()
                .map(|ask| begin(service, shared, name.role, ask))
            {
                Some(Begun::Asked(id, asked)) => calls.push(answer(&service.gateway, id, asked)),
                Some(Begun::Answered(reply)) => answers.add(&reply),
                None => break,
            }
        }
        let is_idle = asks.len() == 0 && calls.is_empty() && answers.left() == 0;
        if !is_reading && is_idle {
            let _ = answers.stream.finish();
            let _ = timeout(FAREWELL, answers.stream.stopped()).await;
            return None;
        }
        let has_room = calls.len() < shared.limits.calls && answers.left() < ANSWERS;
        if !has_room {
            // What does not arrive then is not the client's fault.
            frames.pause();
        }
        tokio::select! {
            biased;
            Some(reply) = calls.next(), if !calls.is_empty() => {
                answers.add(&reply);
                while let Some(Some(reply)) = calls.next().now_or_never() {
                    answers.add(&reply);
                }
            }
            written = answers.write(), if answers.left() > 0 => {
                if written.is_err() {
                    return None;
                }
            }
            asked = read(&mut frames), if is_reading && has_room => match asked {
                Ok(Some(read)) => asks = read.into_iter(),
                Ok(None) => is_reading = false,
                Err(refused) => return Some(refused).filter(|r| r.counter != Counter::PeersLost),
            },
            _ = closing.wait_for(|closing| *closing), if is_reading => is_reading = false,
        }
    }
}

/// What has become of a question.
enum Begun {
    Answered(Reply),
    Asked(u64, Asked),
}

fn begin<G, I: Fn() -> String>(
    service: &Service<G, I>,
    shared: &Shared,
    role: Role,
    ask: Ask,
) -> Begun {
    match ask {
        Ask::Call {
            id,
            client,
            sequence,
            body,
        } => {
            shared.stats.add(Counter::Calls, 1);
            Begun::Asked(id, Asked::Call(client, sequence, body))
        }
        Ask::Inspect { id } => Begun::Answered(Reply::Text {
            id,
            text: (service.inspect)(),
        }),
        Ask::Manage { id, what } if role == Role::Operator => Begun::Asked(id, Asked::Manage(what)),
        Ask::Manage { id, .. } => Begun::Answered(Reply::Denied {
            id,
            why: "only a certificate of an operator may change members".into(),
        }),
        Ask::Link { id, command } => Begun::Answered(link(shared, role, id, &command)),
    }
}

/// What takes a while to answer.
enum Asked {
    Call(ClientId, Sequence, Bytes),
    Manage(Manage),
}

/// One kind of future for all of them: none is moved to the heap by itself.
async fn answer(gateway: &impl Gateway, id: u64, asked: Asked) -> Reply {
    let answer = match asked {
        Asked::Call(client, sequence, body) => gateway.call(client, sequence, body).await,
        Asked::Manage(what) => gateway.manage(what).await,
    };
    Reply::to(id, answer)
}

/// All that has arrived; nothing is lost when the waiting is given up.
async fn read(frames: &mut Frames) -> Result<Option<Vec<Ask>>, Refused> {
    loop {
        let mut asks = Vec::new();
        while let Some(frame) = frames.next()? {
            let ask = Ask::decode(frame);
            let bad = |error: consensus_core::DecodeError| {
                Refused::new(Counter::Undecodable, error.to_string())
            };
            asks.push(ask.map_err(bad)?);
        }
        if !asks.is_empty() {
            return Ok(Some(asks));
        }
        if !frames.fill().await? {
            return Ok(None);
        }
    }
}

fn link(shared: &Shared, role: Role, id: u64, command: &str) -> Reply {
    let denied = |why: String| Reply::Denied { id, why };
    if role != Role::Operator {
        return denied("only a certificate of an operator may change links".into());
    }
    let Some(link) = &shared.link else {
        return denied("this node was started without emulated links".into());
    };
    match link.command(command) {
        Ok(()) => Reply::Text {
            id,
            text: String::new(),
        },
        Err(error) => denied(error.to_string()),
    }
}
