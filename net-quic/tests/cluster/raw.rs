//! A dialer that follows no rules: the QUIC library alone, and the wire as bytes.

use super::CLUSTER;
use net_quic::Identity;
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, RootCertStore,
    client::{ClientSessionStore, Resumption, Tls12Resumption},
};
use std::{net::SocketAddr, sync::Arc};

pub const PEER: &[u8] = b"consensus/1";
pub const CLIENT: &[u8] = b"consensus-client/1";

pub struct Raw {
    /// Kept alive for the connection.
    pub endpoint: Endpoint,
    pub connection: Connection,
}

/// What a first frame says, all of it to be lied about.
#[derive(Clone)]
pub struct Hello {
    pub magic: [u8; 8],
    pub cluster: u128,
    pub node: u16,
    pub disk: u128,
    pub boot: u32,
    pub versions: (u8, u8),
    pub frame_bytes_max: u32,
}

impl Hello {
    pub fn of(node: u16, boot: u32) -> Self {
        Self {
            magic: *b"cnsnsus1",
            cluster: CLUSTER.0,
            node,
            disk: node.into(),
            boot,
            versions: (1, 1),
            frame_bytes_max: 1 << 20,
        }
    }

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

pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes()[..], payload].concat()
}

pub fn config(
    identity: &Identity,
    alpn: &[u8],
    store: Option<Arc<dyn ClientSessionStore>>,
) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in identity.trust() {
        roots.add(authority.clone()).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key())
        .expect("a usable key");
    config.alpn_protocols = vec![alpn.to_vec()];
    if let Some(store) = store {
        config.enable_early_data = true;
        config.resumption = Resumption::store(store).tls12_resumption(Tls12Resumption::Disabled);
    }
    quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(config).expect("TLS 1.3"),
    ))
}

/// Dials node `node` at `address`.
pub async fn dial(
    address: SocketAddr,
    node: u16,
    config: quinn::ClientConfig,
) -> Result<Raw, quinn::ConnectionError> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let name = format!("n{node}.{CLUSTER}.consensus.invalid");
    let connecting = endpoint
        .connect_with(config, address, &name)
        .expect("a valid name");
    let connection = connecting.await?;
    Ok(Raw {
        endpoint,
        connection,
    })
}

impl Raw {
    /// Writes `first` on the stream of the hellos.
    pub async fn begin(&self, first: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, recv) = self.connection.open_bi().await.expect("a stream");
        send.write_all(first).await.expect("written");
        (send, recv)
    }

    /// Says hello and waits until the node has said so too.
    pub async fn settle(&self, hello: &Hello) -> (SendStream, RecvStream) {
        let (send, mut recv) = self.begin(&hello.frame()).await;
        let mut reply = vec![0; hello.frame().len()];
        recv.read_exact(&mut reply)
            .await
            .expect("a hello in return");
        assert_eq!(&reply[4..12], b"cnsnsus1");
        (send, recv)
    }

    /// A stream of the control class on which `bytes` follow.
    pub async fn control(&self, bytes: &[u8]) -> SendStream {
        let mut stream = self.connection.open_uni().await.expect("a stream");
        stream.write_all(&[1]).await.expect("written");
        stream.write_all(bytes).await.expect("written");
        stream
    }
}

/// A message `Beat` of group 1, framed.
pub fn beat(number: u8) -> Vec<u8> {
    assert!(number < 128, "one byte of a varint");
    frame(&[1, 1, number])
}
