//! The QUIC library's settings.

use crate::config::Limits;
use crate::error::NetError;
use crate::identity::Identity;
use crate::tls;
use quinn::{IdleTimeout, TransportConfig, VarInt, congestion::CubicConfig};
use quinn_proto::HashedConnectionIdGenerator;
use rand::{SeedableRng, rngs::SysRng};
use rand_pcg::Pcg64;
use ring::{digest, hmac};
use std::sync::Arc;

/// Bytes that may leave before the first acknowledgement: a batch of a log, on networks where peers
/// are.
const INITIAL_WINDOW: u64 = 128 << 10;

/// A generator for jitter alone: nothing of agreement hangs on it.
pub(crate) fn chance() -> Pcg64 {
    Pcg64::try_from_rng(&mut SysRng).unwrap_or_else(|_| Pcg64::seed_from_u64(0))
}

/// A secret of this node alone, the same in each of its runs.
fn secret(identity: &Identity, purpose: &[u8]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(purpose);
    context.update(identity.key().secret_der());
    context.finish()
}

/// Stateless resets are signed, and connection ids recognised, under secrets that outlive a run: the
/// node's next run can tell peers at once that connections of the last one are gone. They would wait
/// for the idle timeout otherwise.
pub(crate) fn endpoint(identity: &Identity) -> quinn::EndpointConfig {
    let reset = secret(identity, b"consensus stateless reset 1");
    let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref());
    let mut ids = [0; 8];
    ids.copy_from_slice(&secret(identity, b"consensus connection id 1").as_ref()[..8]);
    let ids = u64::from_le_bytes(ids);
    let mut config = quinn::EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

fn transport(limits: &Limits) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW);
    config
        // The stream of the hellos (a client goes on with it), and one stream a class.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .receive_window(VarInt::from_u32(limits.receive_window))
        .stream_receive_window(VarInt::from_u32(limits.stream_receive_window))
        .send_window(limits.send_window)
        .max_idle_timeout(IdleTimeout::try_from(limits.idle_timeout).ok())
        .keep_alive_interval(Some(limits.keep_alive))
        .initial_rtt(limits.initial_rtt)
        .congestion_controller_factory(Arc::new(congestion))
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    Arc::new(config)
}

/// Settings of the side that is dialled.
pub(crate) fn server(
    identity: &Identity,
    limits: &Limits,
) -> Result<quinn::ServerConfig, NetError> {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls::server(identity)?));
    config
        .transport_config(transport(limits))
        .migration(false)
        .max_incoming(limits.handshakes)
        .incoming_buffer_size(64 << 10)
        .incoming_buffer_size_total(2 << 20);
    Ok(config)
}

/// Settings of the side that dials.
pub(crate) fn client(
    identity: &Identity,
    alpn: &[u8],
    limits: &Limits,
) -> Result<quinn::ClientConfig, NetError> {
    let mut config = quinn::ClientConfig::new(Arc::new(tls::client(identity, alpn)?));
    config.transport_config(transport(limits));
    Ok(config)
}
