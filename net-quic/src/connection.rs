//! One settled connection between two nodes, from its first frame to its end.

use crate::bulk;
use crate::endpoint::Shared;
use crate::frame::Frames;
use crate::group::Delivered;
use crate::handshake::{Refused, Settled};
use crate::peer::{CLASSES, Peer, Unseated, place};
use crate::stats::Counter;
use bytes::Bytes;
use consensus_core::{Boot, Class, Decoder, Field, GroupId};
use quinn::{Connection, RecvStream, VarInt};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// A connection that was replaced may deliver what is under way for this long.
const REPLACED_LINGER: Duration = Duration::from_secs(1);

/// The code of a connection that ended in good order.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);

/// Runs `connection` until it ends. `is_ours` tells who dialled.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    connection: Connection,
    settled: Settled,
    is_ours: bool,
) {
    let node = settled.hello.node;
    let peer = shared.enter(node);
    match attach(shared, &connection, &peer, &settled, is_ours).await {
        Ok(epochs) => {
            shared.stats.add(Counter::PeersConnected, 1);
            bulk::admit(&connection);
            tracing::info!(peer = %node, boot = %settled.hello.boot, "connected");
            let refused = serve(shared, &connection, &peer, &settled, epochs, is_ours).await;
            refused.close(&connection, &shared.stats, node);
            if peer.unseat(&connection, epochs) {
                shared.unreachable(node);
            }
        }
        Err(refused) => refused.close(&connection, &shared.stats, node),
    }
}

async fn attach(
    shared: &Arc<Shared>,
    connection: &Connection,
    peer: &Peer,
    settled: &Settled,
    is_ours: bool,
) -> Result<[u64; 3], Refused> {
    let is_regular = if is_ours {
        shared.hello.node < peer.node
    } else {
        peer.node < shared.hello.node
    };
    let lost = |error: String| Refused::new(Counter::PeersLost, error);
    let mut streams = Vec::with_capacity(CLASSES.len());
    for (place, class) in CLASSES.into_iter().enumerate() {
        let open = timeout(shared.limits.handshake_deadline, connection.open_uni());
        let opened = open
            .await
            .map_err(|_| lost("the node accepts no streams".into()))?;
        let mut stream = opened.map_err(|error| lost(error.to_string()))?;
        // A heartbeat never waits behind a log, nor a log behind a snapshot.
        let _ = stream.set_priority(1 - place as i32);
        let written = stream.write_all(&[class_byte(class)]).await;
        written.map_err(|error| lost(error.to_string()))?;
        streams.push(stream);
    }
    let streams =
        <[_; 3]>::try_from(streams).map_err(|_| lost("three streams were opened".into()))?;
    let seated = peer.seat_connection(
        connection,
        is_regular,
        settled,
        streams,
        shared.limits.other_disk,
    );
    let seated = seated.map_err(|unseated| {
        let counter = match unseated {
            Unseated::StaleBoot => Counter::StaleBoot,
            Unseated::OtherDisk => Counter::OtherDisk,
            Unseated::Duplicate => Counter::Duplicate,
        };
        Refused::new(counter, unseated.to_string())
    })?;
    if let Some((before, is_same_run)) = seated.before {
        shared.stats.add(Counter::Duplicate, u64::from(is_same_run));
        let linger = if is_same_run {
            REPLACED_LINGER
        } else {
            Duration::ZERO
        };
        shared.spawn(async move {
            sleep(linger).await;
            before.close(CLOSED, b"replaced by a newer connection");
        });
    }
    Ok(seated.epochs)
}

const fn class_byte(class: Class) -> u8 {
    place(class) as u8 + 1
}

/// Ends with why the connection did.
async fn serve(
    shared: &Arc<Shared>,
    connection: &Connection,
    peer: &Arc<Peer>,
    settled: &Settled,
    epochs: [u64; 3],
    is_ours: bool,
) -> Refused {
    let mut tasks: JoinSet<Result<(), Refused>> = JoinSet::new();
    for (place, epoch) in epochs.into_iter().enumerate() {
        let peer = Arc::clone(peer);
        tasks.spawn(async move {
            peer.lanes[place].drain(epoch).await;
            Ok(())
        });
    }
    let boot = settled.hello.boot;
    let opened = Arc::new(Mutex::new([false; 3]));
    let age = end(shared, settled, is_ours);
    let revoked = shared.revoked(connection);
    tokio::pin!(age, revoked);
    loop {
        tokio::select! {
            refused = &mut age => return refused,
            refused = &mut revoked => return refused,
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let (shared, peer) = (Arc::clone(shared), Arc::clone(peer));
                    let opened = Arc::clone(&opened);
                    tasks.spawn(async move { read(&shared, &peer, boot, stream, &opened).await });
                }
                Err(error) => return Refused::new(Counter::PeersLost, error.to_string()),
            },
            stream = connection.accept_bi() => match stream {
                Ok((answers, stream)) => {
                    let shared_too = Arc::clone(shared);
                    // Outlives the connection: what has arrived is put away first.
                    shared.spawn(bulk::receive(shared_too, peer.node, answers, stream));
                }
                Err(error) => return Refused::new(Counter::PeersLost, error.to_string()),
            },
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return refused,
                Err(error) => return Refused::new(Counter::PeersLost, error.to_string()),
            },
        }
    }
}

/// Waits for the moment at which this connection must be over. The side that dialled has replaced it
/// before; see `dial`.
async fn end(shared: &Shared, settled: &Settled, is_ours: bool) -> Refused {
    let left = settled.name.not_after.duration_since(SystemTime::now());
    let left = left.unwrap_or_default();
    let most = shared.limits.connection_age;
    // The dialer draws its moment below the age, and gets some time on top to make another.
    let most = if is_ours { most * 2 } else { most + most / 4 };
    if left < most {
        sleep(left).await;
        return Refused::new(Counter::CertificateExpired, "the certificate has expired");
    }
    sleep(most).await;
    Refused::new(Counter::PeersLost, "the connection has reached its age")
}

/// Hands what comes on one stream to the groups.
async fn read(
    shared: &Shared,
    peer: &Peer,
    boot: Boot,
    mut stream: RecvStream,
    opened: &Mutex<[bool; 3]>,
) -> Result<(), Refused> {
    let mut first = [0];
    let begun = timeout(shared.limits.frame_deadline, stream.read_exact(&mut first)).await;
    let begun =
        begun.map_err(|_| Refused::new(Counter::FrameTimeout, "a stream without a class"))?;
    begun.map_err(|error| Refused::new(Counter::PeersLost, error.to_string()))?;
    let class = CLASSES
        .into_iter()
        .find(|class| class_byte(*class) == first[0]);
    let class = class.ok_or_else(|| {
        Refused::new(
            Counter::Undecodable,
            format!("unknown class {} of a stream", first[0]),
        )
    })?;
    let twice = {
        let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut opened[place(class)], true)
    };
    if twice {
        return Err(Refused::new(
            Counter::Undecodable,
            "two streams of one class",
        ));
    }
    let mut frames = Frames::new(
        stream,
        shared.limits.frame_bytes_max,
        shared.limits.frame_deadline,
    );
    let mut batch = Vec::new();
    loop {
        let mut group = None;
        let mut bytes = 0;
        let mut count = 0;
        while let Some(frame) = frames.next()? {
            bytes += frame.len() + crate::frame::PREFIX;
            count += 1;
            let (to, message) = split(frame)?;
            if let Some(other) = group.filter(|other| *other != to) {
                deliver(shared, peer, boot, other, &mut batch).await?;
            }
            group = Some(to);
            batch.push(message);
        }
        if let Some(group) = group {
            shared.stats.received(class, count, bytes);
            deliver(shared, peer, boot, group, &mut batch).await?;
        }
        if !frames.fill().await? {
            return Ok(());
        }
    }
}

/// The group that a frame is for, and the message.
fn split(mut frame: Bytes) -> Result<(GroupId, Bytes), Refused> {
    let mut input = Decoder::new(frame.clone());
    let group = GroupId::take(&mut input);
    let group = group.map_err(|error| Refused::new(Counter::Undecodable, error.to_string()))?;
    let message = frame.split_off(frame.len() - input.remaining());
    Ok((group, message))
}

async fn deliver(
    shared: &Shared,
    peer: &Peer,
    boot: Boot,
    group: GroupId,
    batch: &mut Vec<Bytes>,
) -> Result<(), Refused> {
    let Some(handler) = shared.group(group) else {
        shared.stats.add(Counter::UnknownGroup, batch.len() as u64);
        batch.clear();
        return Ok(());
    };
    match handler.deliver(peer, boot, batch).await {
        Ok(Delivered::All) => Ok(()),
        Ok(Delivered::Stale(count)) => {
            // The rest of the counting is done by the refusal itself.
            shared.stats.add(Counter::StaleBoot, count as u64 - 1);
            Err(Refused::new(
                Counter::StaleBoot,
                "a frame of an earlier run of the node",
            ))
        }
        Err(error) => Err(Refused::new(Counter::Undecodable, error.to_string())),
    }
}
