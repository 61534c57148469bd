//! A dialer that follows no rules: the QUIC library alone, and the wire as bytes. For tests of who
//! is let in, and for the faults `badcert`, `garbage` and `slowloris` of real clusters.

use crate::Identity;
use consensus_core::{ClusterId, NodeId};
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, RootCertStore,
    client::{ClientSessionStore, Resumption, Tls12Resumption},
};
use std::{fmt, io, net::SocketAddr, sync::Arc};

/// What peers speak.
pub const PEER: &[u8] = crate::tls::PEER;
/// What clients speak.
pub const CLIENT: &[u8] = crate::tls::CLIENT;

/// Why an attack came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostileError {
    /// The other side refused, or could not be reached.
    #[error("the connection ended: {0}")]
    Ended(#[from] quinn::ConnectionError),
    /// It no longer listens on this stream.
    #[error("nothing can be written: {0}")]
    Write(#[from] quinn::WriteError),
    /// It says no more on this stream.
    #[error("nothing can be read: {0}")]
    Read(#[from] quinn::ReadExactError),
    /// It answered with something else than a hello.
    #[error("no hello came back")]
    NoHello,
    /// The system gave no socket, or the library refuses the certificate.
    #[error("cannot dial: {0}")]
    Local(String),
}

impl From<io::Error> for HostileError {
    fn from(error: io::Error) -> Self {
        Self::Local(error.to_string())
    }
}

/// A connection on which anything can be said.
pub struct Raw {
    /// Kept alive for the connection.
    pub endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

/// What a first frame says, all of it to be lied about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// What tells a hello from anything else.
    pub magic: [u8; 8],
    /// The cluster's number.
    pub cluster: u128,
    /// Who claims to speak; zero for a client.
    pub node: u16,
    /// Its disk.
    pub disk: u128,
    /// Its run.
    pub boot: u32,
    /// The oldest and the newest wire version.
    pub versions: (u8, u8),
    /// The longest frame that it takes.
    pub frame_bytes_max: u32,
}

impl Hello {
    /// What a node of good standing says.
    #[must_use]
    pub fn of(cluster: ClusterId, node: u16, boot: u32) -> Self {
        Self {
            magic: *b"cnsnsus1",
            cluster: cluster.0,
            node,
            disk: node.into(),
            boot,
            versions: (1, 1),
            frame_bytes_max: 1 << 20,
        }
    }

    /// As it stands on the wire, its length in front.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.cluster.to_le_bytes());
        bytes.extend(self.node.to_le_bytes());
        bytes.extend(self.disk.to_le_bytes());
        bytes.extend(self.boot.to_le_bytes());
        bytes.extend([self.versions.0, self.versions.1]);
        bytes.extend(self.frame_bytes_max.to_le_bytes());
        frame(&bytes)
    }
}

/// A payload with its length in front.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes()[..], payload].concat()
}

/// How to dial: as `identity`, or with no certificate at all, offering `alpn`. With a store for
/// sessions, resumption and early data are tried.
///
/// # Errors
/// When the library refuses the certificates.
pub fn config(
    identity: &Identity,
    shows_certificate: bool,
    alpn: &[u8],
    store: Option<Arc<dyn ClientSessionStore>>,
) -> Result<quinn::ClientConfig, HostileError> {
    let local = |error: &dyn fmt::Display| HostileError::Local(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in identity.trust() {
        roots.add(authority.clone()).map_err(|e| local(&e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| local(&e))?
        .with_root_certificates(roots);
    let mut config = if shows_certificate {
        config
            .with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key())
            .map_err(|e| local(&e))?
    } else {
        config.with_no_client_auth()
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    if let Some(store) = store {
        config.enable_early_data = true;
        config.resumption = Resumption::store(store).tls12_resumption(Tls12Resumption::Disabled);
    }
    let config = QuicClientConfig::try_from(config).map_err(|e| local(&e))?;
    Ok(quinn::ClientConfig::new(Arc::new(config)))
}

/// A socket of its own to dial from.
///
/// # Errors
/// When the system has none.
pub fn socket() -> Result<Endpoint, HostileError> {
    socket_at(1)
}

/// As [`socket`], at the address 127.0.0.`host`: another stranger's.
///
/// # Errors
/// When the system has none.
pub fn socket_at(host: u8) -> Result<Endpoint, HostileError> {
    Ok(Endpoint::client(([127, 0, 0, host], 0).into())?)
}

/// Dials node `node` of `cluster` at `address`.
///
/// # Errors
/// When it refuses the handshake, or does not answer.
pub async fn dial(
    endpoint: Endpoint,
    address: SocketAddr,
    (cluster, node): (ClusterId, NodeId),
    config: quinn::ClientConfig,
) -> Result<Raw, HostileError> {
    let name = crate::identity::dns(cluster, node);
    let connecting = endpoint
        .connect_with(config, address, &name)
        .map_err(|error| HostileError::Local(error.to_string()))?;
    let connection = connecting.await?;
    Ok(Raw {
        endpoint,
        connection,
    })
}

impl Raw {
    /// Writes `first` on the stream of the hellos.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn begin(&self, first: &[u8]) -> Result<(SendStream, RecvStream), HostileError> {
        let (mut send, recv) = self.connection.open_bi().await?;
        send.write_all(first).await?;
        Ok((send, recv))
    }

    /// Says hello and waits until the node has said so too.
    ///
    /// # Errors
    /// When it does not.
    pub async fn settle(&self, hello: &Hello) -> Result<(SendStream, RecvStream), HostileError> {
        let (send, mut recv) = self.begin(&hello.frame()).await?;
        let mut reply = vec![0; hello.frame().len()];
        recv.read_exact(&mut reply).await?;
        if reply[4..12] != hello.magic {
            return Err(HostileError::NoHello);
        }
        Ok((send, recv))
    }

    /// A stream of the control class on which `bytes` follow.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn control(&self, bytes: &[u8]) -> Result<SendStream, HostileError> {
        let mut stream = self.connection.open_uni().await?;
        stream.write_all(&[1]).await?;
        stream.write_all(bytes).await?;
        Ok(stream)
    }
}
