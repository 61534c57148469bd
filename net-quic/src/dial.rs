//! The lower id dials: keeps a connection to one peer, replaces it before it is too old, and comes
//! back after a loss with pauses that grow and are never the same on two nodes. The higher id dials
//! too when the lower has not come for a while: one of the two may not know the other yet.

use crate::connection;
use crate::endpoint::Shared;
use crate::handshake::{self, Refused, Settled};
use crate::identity::dns;
use crate::peer::Peer;
use crate::stats::Counter;
use quinn::{Connection, VarInt};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

/// An attempt is given up after this, and the next one asks anew at once: a node that has just come
/// up is found sooner than by the growing repetitions of one attempt.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// The higher id leaves it to the lower for so long.
const RELUCTANCE: Duration = Duration::from_secs(1);

/// Every so many attempts one is patient: some networks are slow.
const PATIENT: u32 = 3;

/// Keeps a connection to `peer`, for ever.
pub(crate) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    let shortest = *shared.limits.backoff.start();
    let mut pause = shortest;
    let mut attempt = 0;
    loop {
        if peer.node < shared.hello.node {
            missed(&shared, &peer).await;
        }
        let address = address(&peer).await;
        let begun = Instant::now();
        let is_patient = attempt % PATIENT == PATIENT - 1;
        let changed = peer.changed.notified();
        let dialled = tokio::select! {
            dialled = dial(&shared, &peer, address, is_patient) => dialled,
            // Nobody will answer there any more.
            () = moved(&peer, address, changed) => {
                pause = shortest;
                continue;
            }
        };
        match dialled {
            Ok((connection, settled)) => {
                attempt = 0;
                if hold(&shared, connection, settled).await {
                    continue;
                }
                if begun.elapsed() > *shared.limits.backoff.end() {
                    pause = shortest;
                }
            }
            Err(refused) => {
                attempt += 1;
                // A node that is down is no news, and is tried for as long as it takes.
                if !matches!(
                    refused.counter,
                    Counter::PeersLost | Counter::HandshakeTimeout
                ) {
                    shared
                        .stats
                        .refuse(refused.counter, peer.node, &refused.why);
                }
            }
        }
        let changed = peer.changed.notified();
        let wait = pause.mul_f64(0.5 + 0.5 * shared.draw());
        pause = (pause * 2).min(*shared.limits.backoff.end());
        tokio::select! {
            () = sleep(wait) => {}
            () = moved(&peer, address, changed) => pause = shortest,
        }
    }
}

/// Waits for a change of the address alone.
async fn moved(peer: &Peer, from: SocketAddr, first: tokio::sync::futures::Notified<'_>) {
    first.await;
    while peer.address() == Some(from) {
        peer.changed.notified().await;
    }
}

/// Waits until the peer is a member.
async fn address(peer: &Peer) -> SocketAddr {
    loop {
        let changed = peer.changed.notified();
        if let Some(address) = peer.address() {
            return address;
        }
        changed.await;
    }
}

/// Waits until a member with a lower id has not been connected for a while.
async fn missed(shared: &Shared, peer: &Peer) {
    loop {
        let changed = peer.changed.notified();
        if peer.is_connected() || peer.address().is_none() {
            changed.await;
            continue;
        }
        tokio::select! {
            () = sleep(RELUCTANCE.mul_f64(1.0 + shared.draw())) => return,
            () = changed => {}
        }
    }
}

/// Holds a connection; true when it is time for another while this one still works.
async fn hold(shared: &Arc<Shared>, connection: Connection, settled: Settled) -> bool {
    let age = shared.limits.connection_age;
    let replace = Instant::now() + age.mul_f64(0.75 + 0.25 * shared.draw());
    let (lost, ended) = oneshot::channel::<()>();
    let held = Arc::clone(shared);
    shared.spawn(async move {
        connection::run(&held, connection, settled, true).await;
        drop(lost);
    });
    tokio::select! {
        _ = ended => false,
        () = sleep_until(replace) => true,
    }
}

async fn dial(
    shared: &Shared,
    peer: &Peer,
    address: SocketAddr,
    is_patient: bool,
) -> Result<(Connection, Settled), Refused> {
    let name = dns(shared.hello.cluster, peer.node);
    let failed = |why: String| Refused::new(Counter::HandshakeFailed, why);
    let connecting = shared.quinn.connect_with(shared.dialer(), address, &name);
    let connecting = connecting.map_err(|error| failed(error.to_string()))?;
    let patience = shared.limits.handshake_deadline;
    let patience = if is_patient {
        patience
    } else {
        patience.min(IMPATIENCE)
    };
    let late = |_| Refused::new(Counter::HandshakeTimeout, "no handshake in time");
    let connected = timeout(patience, connecting).await.map_err(late)?;
    let connection = connected.map_err(|error| match error {
        quinn::ConnectionError::TransportError(error) => failed(error.to_string()),
        other => Refused::new(Counter::PeersLost, other.to_string()),
    })?;
    match handshake::dialled(&connection, &shared.hello, &shared.limits, peer.node).await {
        Ok(settled) => Ok((connection, settled)),
        Err(refused) => {
            connection.close(
                VarInt::from_u32(refused.counter as u32 + 1),
                refused.why.as_bytes(),
            );
            Err(refused)
        }
    }
}
