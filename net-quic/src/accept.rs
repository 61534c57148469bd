//! Newcomers: bounded in number until they have shown who they are.

use crate::endpoint::Shared;
use crate::handshake::{self, Refused, Settled};
use crate::identity::Role;
use crate::stats::Counter;
use crate::{connection, tls};
use quinn::{Connection, ConnectionError, Incoming, VarInt, crypto::rustls::HandshakeData};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
};
use tokio::time::timeout;

/// One of a bounded number.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    of: fn(&Shared) -> &AtomicUsize,
}

impl Ticket {
    /// Takes one unless `most` are taken.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        of: fn(&Shared) -> &AtomicUsize,
        most: usize,
    ) -> Option<Self> {
        let count = of(shared).fetch_add(1, AcqRel);
        let ticket = Self {
            shared: Arc::clone(shared),
            of,
        };
        (count < most).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.of)(&self.shared).fetch_sub(1, AcqRel);
    }
}

/// How many of each there are. Nothing is kept of those of whom there are none.
#[derive(Debug)]
pub(crate) struct Crowd<K>(Mutex<BTreeMap<K, usize>>);

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// One of a bounded number of its kind.
struct Place<K: Ord> {
    shared: Arc<Shared>,
    of: fn(&Shared) -> &Crowd<K>,
    kind: K,
}

impl<K: Ord + Clone> Place<K> {
    /// Lets one in unless `most` of its kind are there.
    fn admit(
        shared: &Arc<Shared>,
        of: fn(&Shared) -> &Crowd<K>,
        kind: K,
        most: usize,
    ) -> Option<Self> {
        let mut crowd = of(shared).0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crowd.get(&kind).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        crowd.insert(kind.clone(), count + 1);
        drop(crowd);
        Some(Self {
            shared: Arc::clone(shared),
            of,
            kind,
        })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let crowd = &(self.of)(&self.shared).0;
        let mut crowd = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = crowd.get_mut(&self.kind) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.kind);
            }
        }
    }
}

/// What one stranger has to himself: an address, of IPv6 the network of 64 bits that providers give.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

/// Listens until the socket is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let limits = shared.limits.clone();
    while let Some(incoming) = shared.quinn.accept().await {
        let under_way = shared.handshakes.load(std::sync::atomic::Ordering::Acquire);
        let is_known = incoming.remote_address_validated();
        // A spoofed flood costs us a small packet each, and no state.
        if !is_known && under_way >= limits.handshakes_unvalidated && incoming.may_retry() {
            shared.stats.add(Counter::Retried, 1);
            let _ = incoming.retry();
            continue;
        }
        let Some(ticket) = Ticket::take(&shared, |s| &s.handshakes, limits.handshakes) else {
            shared.stats.add(Counter::TurnedAway, 1);
            incoming.refuse();
            continue;
        };
        // One stranger who keeps at it leaves the other places to others.
        let from = origin(incoming.remote_address().ip());
        let most = limits.handshakes_from_one;
        let Some(guest) = Place::admit(&shared, |s| &s.door, from, most) else {
            shared.stats.add(Counter::TurnedAway, 1);
            incoming.refuse();
            continue;
        };
        shared.spawn(newcomer(Arc::clone(&shared), incoming, (ticket, guest)));
    }
}

async fn newcomer(shared: Arc<Shared>, incoming: Incoming, place: (Ticket, Place<IpAddr>)) {
    let address = incoming.remote_address();
    // Fails at once when no protocol is offered that we speak.
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            return shared
                .stats
                .refuse(Counter::HandshakeFailed, address.ip(), error);
        }
    };
    let connection = match timeout(shared.limits.handshake_deadline, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            let counter = if is_revoked(&error) {
                Counter::CertificateRevoked
            } else {
                Counter::HandshakeFailed
            };
            return shared.stats.refuse(counter, address.ip(), error);
        }
        Err(_) => {
            let why = "no handshake in time";
            return shared
                .stats
                .refuse(Counter::HandshakeTimeout, address.ip(), why);
        }
    };
    let settled = settle(&shared, &connection).await;
    drop(place);
    match settled {
        Ok((settled, true)) => connection::run(&shared, connection, settled, false).await,
        Ok((settled, false)) => client(&shared, connection, settled).await,
        Err(refused) => refused.close(&connection, &shared.stats, address.ip()),
    }
}

/// Whether a handshake ended with TLS's word for a certificate that was taken back.
fn is_revoked(error: &ConnectionError) -> bool {
    let alert = u8::from(rustls::AlertDescription::CertificateRevoked);
    matches!(error, ConnectionError::TransportError(error)
        if error.code == quinn_proto::TransportErrorCode::crypto(alert))
}

/// Settles a connection; true for a peer, false for a client.
async fn settle(shared: &Arc<Shared>, connection: &Connection) -> Result<(Settled, bool), Refused> {
    let data = connection.handshake_data();
    let data = data.and_then(|any| any.downcast::<HandshakeData>().ok());
    let protocol = data.and_then(|data| data.protocol);
    let is_peer = match protocol.as_deref() {
        Some(tls::PEER) => true,
        Some(tls::CLIENT) => false,
        _ => {
            return Err(Refused::new(
                Counter::UnknownVersion,
                "no known protocol was offered",
            ));
        }
    };
    let name = handshake::name(connection, &shared.hello)?;
    let may = match name.role {
        Role::Node(_) => is_peer,
        Role::Client | Role::Operator => !is_peer,
        Role::Authority => false,
    };
    if !may {
        let protocol = if is_peer { "peers" } else { "clients" };
        let why = format!(
            "a certificate of {} may not speak the protocol of {protocol}",
            name.role
        );
        return Err(Refused::new(Counter::RoleRefused, why));
    }
    let hello = &shared.hello;
    if name.role == Role::Node(hello.node) {
        let why = "the connection shows this node's own certificate";
        return Err(Refused::new(Counter::IdentityMismatch, why));
    }
    let settled = handshake::accepted(connection, name, hello, &shared.limits).await?;
    Ok((settled, is_peer))
}

/// Why this client is not served, if so; else its places, kept as long as it is.
fn places(
    shared: &Arc<Shared>,
    connection: &Connection,
) -> Result<(Ticket, Place<Vec<u8>>), &'static str> {
    let (most, of_one) = (shared.limits.clients, shared.limits.clients_of_one);
    let ticket = Ticket::take(shared, |s| &s.clients, most).ok_or("too many clients")?;
    let chain = handshake::chain(connection);
    let certificate = chain.first().map(|first| first.to_vec());
    let member = Place::admit(
        shared,
        |s| &s.certificates,
        certificate.unwrap_or_default(),
        of_one,
    );
    let member = member.ok_or("too many clients with this certificate")?;
    Ok((ticket, member))
}

async fn client(shared: &Arc<Shared>, connection: Connection, settled: Settled) {
    let turn_away = |why: &str| {
        shared.stats.add(Counter::TurnedAway, 1);
        connection.close(
            VarInt::from_u32(Counter::TurnedAway as u32 + 1),
            why.as_bytes(),
        );
    };
    let places = match places(shared, &connection) {
        Ok(places) => places,
        Err(why) => return turn_away(why),
    };
    let Some(service) = shared.service() else {
        return turn_away("not serving yet");
    };
    shared.stats.add(Counter::ClientsConnected, 1);
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(0));
    let refused = service
        .run(Arc::clone(shared), connection.clone(), settled)
        .await;
    drop(places);
    // Wakes whoever waits for the last client to leave.
    shared.closing.send_modify(|_| {});
    match refused {
        Some(refused) => {
            refused.close(&connection, &shared.stats, connection.remote_address().ip())
        }
        None => connection.close(connection::CLOSED, b"good-bye"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_place_and_an_address_of_ipv4_another() {
        let at = |text: &str| origin(text.parse().expect("an address"));
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
