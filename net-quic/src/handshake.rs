//! From an encrypted connection to a settled one: whose certificate, whose hello, which version.

use crate::config::Limits;
use crate::frame::{FrameError, Frames, PREFIX};
use crate::hello::{Hello, common};
use crate::identity::{Name, Role};
use crate::stats::{Counter, Stats};
use consensus_core::NodeId;
use quinn::{Connection, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// Why a connection is of no use. Its counter is also the code that the other side sees.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) counter: Counter,
    pub(crate) why: String,
}

impl Refused {
    pub(crate) fn new(counter: Counter, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { counter, why }
    }

    /// Closes the connection and says so, at most once a minute a peer.
    pub(crate) fn close(&self, connection: &Connection, stats: &Stats, who: impl fmt::Display) {
        connection.close(
            VarInt::from_u32(self.counter as u32 + 1),
            self.why.as_bytes(),
        );
        stats.refuse(self.counter, who, &self.why);
    }
}

impl From<FrameError> for Refused {
    fn from(error: FrameError) -> Self {
        let counter = match error {
            FrameError::Oversize(_) => Counter::OversizeFrame,
            FrameError::Empty | FrameError::Torn => Counter::Undecodable,
            FrameError::Slow => Counter::FrameTimeout,
            FrameError::Lost(_) => Counter::PeersLost,
        };
        Self::new(counter, error.to_string())
    }
}

/// A connection whose two ends know each other.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) name: Name,
    pub(crate) hello: Hello,
    pub(crate) version: u8,
    /// The stream of the hellos; clients go on with it.
    pub(crate) send: SendStream,
    pub(crate) frames: Frames,
}

/// What the other end has shown; empty when nothing.
pub(crate) fn chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity();
    let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.map_or_else(Vec::new, |chain| *chain)
}

/// What the other end's certificate says. The chain has been verified by TLS; here it is bound to
/// the connection, once.
pub(crate) fn name(connection: &Connection, ours: &Hello) -> Result<Name, Refused> {
    let unnamed = |why: String| Refused::new(Counter::UnnamedCertificate, why);
    let chain = chain(connection);
    let first = chain
        .first()
        .ok_or_else(|| unnamed("no certificate was shown".into()))?;
    let name = Name::of(first).map_err(|error| unnamed(error.to_string()))?;
    if name.cluster != ours.cluster {
        let why = format!("the certificate is of cluster {}", name.cluster);
        return Err(Refused::new(Counter::WrongCluster, why));
    }
    Ok(name)
}

/// Judges a hello against the certificate.
fn judge(name: Name, hello: &Hello, ours: &Hello) -> Result<u8, Refused> {
    if hello.cluster != ours.cluster {
        let why = format!("the hello is of cluster {}", hello.cluster);
        return Err(Refused::new(Counter::WrongCluster, why));
    }
    let claimed = match name.role {
        Role::Node(node) => node,
        _ => NodeId(0),
    };
    if hello.node != claimed {
        let why = format!(
            "a certificate of {} claims to be node {}",
            name.role, hello.node
        );
        return Err(Refused::new(Counter::IdentityMismatch, why));
    }
    common(&ours.versions, &hello.versions).ok_or_else(|| {
        let (theirs, ours) = (&hello.versions, &ours.versions);
        let why = format!(
            "it speaks wire versions {} to {}, this node {} to {}: upgrade the older one",
            theirs.start(),
            theirs.end(),
            ours.start(),
            ours.end()
        );
        Refused::new(Counter::UnknownVersion, why)
    })
}

async fn write_hello(send: &mut SendStream, ours: &Hello) -> Result<(), Refused> {
    let mut bytes = [0; PREFIX + Hello::BYTES as usize];
    bytes[..PREFIX].copy_from_slice(&Hello::BYTES.to_le_bytes());
    bytes[PREFIX..].copy_from_slice(&ours.encode());
    let lost = |error: quinn::WriteError| Refused::new(Counter::PeersLost, error.to_string());
    send.write_all(&bytes).await.map_err(lost)
}

async fn read_hello(frames: &mut Frames) -> Result<Hello, Refused> {
    let bad = |why: String| Refused::new(Counter::BadHello, why);
    let frame = match frames.one().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(bad("the stream ended before a hello".into())),
        Err(FrameError::Lost(error)) => {
            return Err(Refused::new(Counter::PeersLost, error.to_string()));
        }
        Err(FrameError::Oversize(length)) => {
            let why = format!("a first frame of {length} bytes is no hello");
            return Err(Refused::new(Counter::OversizeFrame, why));
        }
        Err(error) => return Err(bad(format!("instead of a hello: {error}"))),
    };
    Hello::decode(&frame).ok_or_else(|| bad("the first frame is no hello".into()))
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let late = || Refused::new(Counter::HandshakeTimeout, "no hello in time");
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn lost(error: quinn::ConnectionError) -> Refused {
    Refused::new(Counter::PeersLost, error.to_string())
}

/// The dialer's side: says hello, then listens. `dialled` is the node that was meant.
pub(crate) async fn dialled(
    connection: &Connection,
    ours: &Hello,
    limits: &Limits,
    dialled: NodeId,
) -> Result<Settled, Refused> {
    let name = name(connection, ours)?;
    if name.role != Role::Node(dialled) {
        let why = format!(
            "node {dialled} was dialled, and a certificate of {} shown",
            name.role
        );
        return Err(Refused::new(Counter::IdentityMismatch, why));
    }
    within(limits.handshake_deadline, async {
        let (mut send, recv) = connection.open_bi().await.map_err(lost)?;
        write_hello(&mut send, ours).await?;
        let mut frames = Frames::new(recv, Hello::BYTES, limits.handshake_deadline);
        let hello = read_hello(&mut frames).await?;
        settle(name, hello, ours, send, frames, limits)
    })
    .await
}

/// The side that was dialled: listens before it says anything.
pub(crate) async fn accepted(
    connection: &Connection,
    name: Name,
    ours: &Hello,
    limits: &Limits,
) -> Result<Settled, Refused> {
    within(limits.handshake_deadline, async {
        let (send, recv) = connection.accept_bi().await.map_err(lost)?;
        let mut frames = Frames::new(recv, Hello::BYTES, limits.handshake_deadline);
        let hello = read_hello(&mut frames).await?;
        let mut settled = settle(name, hello, ours, send, frames, limits)?;
        write_hello(&mut settled.send, ours).await?;
        Ok(settled)
    })
    .await
}

fn settle(
    name: Name,
    hello: Hello,
    ours: &Hello,
    send: SendStream,
    mut frames: Frames,
    limits: &Limits,
) -> Result<Settled, Refused> {
    let version = judge(name, &hello, ours)?;
    frames.expect(limits.frame_bytes_max, limits.frame_deadline);
    Ok(Settled {
        name,
        hello,
        version,
        send,
        frames,
    })
}
