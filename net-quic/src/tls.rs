//! TLS by hand. The convenience constructors of the QUIC library ask for no client certificate and
//! turn early data on, so they are used nowhere.

use crate::error::NetError;
use crate::identity::Identity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring as provider},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use std::sync::Arc;

/// What peers speak.
pub(crate) const PEER: &[u8] = b"consensus/1";
/// What clients speak.
pub(crate) const CLIENT: &[u8] = b"consensus-client/1";

/// TLS 1.3 only, the cheapest cipher of equal worth first.
fn crypto() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..provider::default_provider()
    })
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, NetError> {
    let mut roots = RootCertStore::empty();
    for authority in identity.trust() {
        roots.add(authority.clone()).map_err(tls)?;
    }
    Ok(Arc::new(roots))
}

fn tls(error: impl std::fmt::Display) -> NetError {
    NetError::Tls(error.to_string())
}

/// The side that is dialled: every dialer shows a certificate of the cluster. No tickets, no
/// resumption (a resumed session restores the stored chain unverified, so that rotation and
/// revocation would not bite), no early data.
pub(crate) fn server(identity: &Identity) -> Result<QuicServerConfig, NetError> {
    let crypto = crypto();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(identity)?, Arc::clone(&crypto))
            .with_crls(identity.revoked().to_vec())
            // A list of one authority says nothing of another's, while one replaces the other.
            .allow_unknown_revocation_status()
            .build()
            .map_err(tls)?;
    let mut config = rustls::ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())
        .map_err(tls)?;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![PEER.to_vec(), CLIENT.to_vec()];
    QuicServerConfig::try_from(config).map_err(tls)
}

/// The side that dials.
pub(crate) fn client(identity: &Identity, alpn: &[u8]) -> Result<QuicClientConfig, NetError> {
    let crypto = crypto();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(identity)?, Arc::clone(&crypto))
            .with_crls(identity.revoked().to_vec())
            .allow_unknown_revocation_status()
            .build()
            .map_err(tls)?;
    let mut config = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key())
        .map_err(tls)?;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![alpn.to_vec()];
    QuicClientConfig::try_from(config).map_err(tls)
}
