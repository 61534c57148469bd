//! Snapshots on their way: a stream each, beside and behind everything else on the connection.
//!
//! ```text
//! sender                             receiver
//!   Offer { group, epoch, manifest } ─▶
//!                                    ◀─ Go { offset }      or Have, or No { why }
//!   the file's bytes from there on   ─▶
//!                                    ◀─ At { bytes }       now and then
//!                                    ◀─ Whole              verified, synced, under its own name
//! ```
//!
//! What has arrived stays when a stream ends: an offer of the same snapshot goes on there, on
//! whichever connection it comes. One copy at a time arrives at a node: another one under the same epoch
//! is refused meanwhile, one under a later epoch takes its place, one under an older is refused. A sender reads a piece when
//! the last has left, and no faster than its rate; a receiver writes a piece before it takes the next:
//! neither ever holds more than a few.

use crate::endpoint::Shared;
use crate::frame::{Frames, PREFIX};
use crate::snapshots::{Depot, blocking};
use bytes::Bytes;
use consensus_core::{
    Epoch, GroupId, NodeId, Wire, codec,
    contract::replicated_log::{Manifest, SnapshotId},
    storage::snapshots::{Incoming, SnapshotError},
};
use quinn::{Connection, RecvStream, SendStream};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// Streams of snapshots that a peer may have open at a time: one for each of a few groups, and those
/// being replaced.
pub(crate) const STREAMS: u32 = 4;
/// Bytes of a file read, sent and written at a time.
const PIECE: usize = 256 << 10;
/// An offer or an answer is no longer than this.
const WORD: u32 = 64 << 10;
/// How often progress is told while bytes move: well below any election timeout.
const TELL: Duration = Duration::from_millis(20);
/// Behind the lanes, which have 1, 0 and -1.
const PRIORITY: i32 = -2;

/// What the two sides of a transfer say to each other, the file's bytes aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Offer {
        group: GroupId,
        epoch: Epoch,
        manifest: Manifest,
    },
    Go {
        offset: u64,
    },
    Have,
    At {
        bytes: u64,
    },
    Whole,
    No {
        why: String,
    },
}

codec! {
    Word version 1 {
        1 since 1 Bulk => Offer { group, epoch, manifest },
        2 since 1 Bulk => Go { offset },
        3 since 1 Bulk => Have {},
        4 since 1 Bulk => At { bytes },
        5 since 1 Bulk => Whole {},
        6 since 1 Bulk => No { why },
    }
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    #[error("the node is not connected")]
    NotConnected,
    #[error("the stream was lost: {0}")]
    Lost(String),
    #[error("nothing moved for {0:?}")]
    Stalled(Duration),
    #[error("the receiver refuses it: {0}")]
    Refused(String),
    #[error("the other side says `{0}`, which makes no sense there")]
    Nonsense(&'static str),
    #[error(transparent)]
    File(#[from] SnapshotError),
}

fn lost(error: impl ToString) -> BulkError {
    BulkError::Lost(error.to_string())
}

fn nonsense(word: Option<&Word>) -> BulkError {
    BulkError::Nonsense(word.map_or("nothing", Wire::kind))
}

async fn say(stream: &mut SendStream, word: &Word) -> Result<(), BulkError> {
    let mut bytes = vec![0; PREFIX];
    word.encode(&mut bytes);
    let length = (bytes.len() - PREFIX) as u32;
    bytes[..PREFIX].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&bytes).await.map_err(lost)
}

async fn hear(frames: &mut Frames, patience: Duration) -> Result<Option<Word>, BulkError> {
    let frame = timeout(patience, frames.one()).await;
    let frame = frame.map_err(|_| BulkError::Stalled(patience))?;
    let Some(frame) = frame.map_err(lost)? else {
        return Ok(None);
    };
    Word::decode(frame).map(Some).map_err(lost)
}

/// Sends a snapshot to `to` and tells how that goes on.
pub(crate) async fn send(
    shared: &Shared,
    depot: &Depot,
    to: NodeId,
    epoch: Epoch,
    manifest: &Manifest,
) -> Result<(), BulkError> {
    let peer = shared.roster.find(to).ok_or(BulkError::NotConnected)?;
    let connection = peer.connection().ok_or(BulkError::NotConnected)?;
    let patience = shared.limits.frame_deadline;
    let opened = timeout(patience, connection.open_bi()).await;
    let opened = opened.map_err(|_| BulkError::Stalled(patience))?;
    let (mut stream, answers) = opened.map_err(lost)?;
    let _ = stream.set_priority(PRIORITY);
    let offer = Word::Offer {
        group: depot.group,
        epoch,
        manifest: manifest.clone(),
    };
    say(&mut stream, &offer).await?;
    let mut answers = Frames::new(answers, WORD, patience);
    let offset = match hear(&mut answers, patience).await? {
        Some(Word::Go { offset }) => offset,
        Some(Word::Have) => return Ok(()),
        Some(Word::No { why }) => return Err(BulkError::Refused(why)),
        other => return Err(nonsense(other.as_ref())),
    };
    let writing = write(shared, depot, stream, manifest.id, offset);
    let reading = progress(depot, &mut answers, to, manifest.id, patience);
    let ((), ()) = tokio::try_join!(writing, reading)?;
    Ok(())
}

/// The file's bytes from `offset` on, no faster than the rate.
async fn write(
    shared: &Shared,
    depot: &Depot,
    mut stream: SendStream,
    id: SnapshotId,
    offset: u64,
) -> Result<(), BulkError> {
    let store = Arc::clone(&depot.store);
    let mut outgoing = blocking(move || store.outgoing(id)).await?;
    let (begin, mut at) = (Instant::now(), offset);
    let rate = shared.limits.snapshot_bytes_per_second.max(1) as f64;
    loop {
        let piece;
        (outgoing, piece) = blocking(move || {
            let piece = outgoing.read(at, PIECE);
            (outgoing, piece)
        })
        .await;
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        stream.write_chunk(piece.into()).await.map_err(lost)?;
        let due = Duration::from_secs_f64((at - offset) as f64 / rate);
        sleep_until(begin + due).await;
    }
    stream.finish().map_err(lost)
}

/// What the receiver says until it has everything.
async fn progress(
    depot: &Depot,
    answers: &mut Frames,
    to: NodeId,
    id: SnapshotId,
    patience: Duration,
) -> Result<(), BulkError> {
    loop {
        match hear(answers, patience).await? {
            Some(Word::At { bytes }) => depot.sent(to, id, bytes),
            Some(Word::Whole) => return Ok(()),
            Some(Word::No { why }) => return Err(BulkError::Refused(why)),
            None => return Err(lost("the receiver has ended it")),
            other => return Err(nonsense(other.as_ref())),
        }
    }
}

/// Takes what a peer sends on a stream of its own. Runs beyond the connection's end for as long as it
/// takes to put away what has arrived.
pub(crate) async fn receive(
    shared: Arc<Shared>,
    from: NodeId,
    mut answers: SendStream,
    stream: RecvStream,
) {
    let patience = shared.limits.frame_deadline;
    let mut frames = Frames::new(stream, WORD, patience);
    let taken = async {
        let offer = hear(&mut frames, patience).await?;
        let Some(Word::Offer {
            group,
            epoch,
            manifest,
        }) = offer
        else {
            return Err(nonsense(offer.as_ref()));
        };
        let depot = shared.depot(group);
        let depot =
            depot.ok_or_else(|| BulkError::Refused("no such group keeps snapshots".into()))?;
        take(
            &depot,
            from,
            epoch,
            manifest,
            &mut answers,
            frames,
            patience,
        )
        .await
    };
    if let Err(error) = taken.await {
        tracing::warn!(peer = %from, "a snapshot did not arrive: {error}");
        let why = error.to_string();
        let _ = say(&mut answers, &Word::No { why }).await;
    }
    let _ = answers.finish();
    let _ = timeout(patience, answers.stopped()).await;
}

async fn take(
    depot: &Depot,
    from: NodeId,
    epoch: Epoch,
    manifest: Manifest,
    answers: &mut SendStream,
    frames: Frames,
    patience: Duration,
) -> Result<(), BulkError> {
    let turn = depot.turn(epoch, manifest.id)?;
    // Held by the stream before until it sees that its turn is over.
    let mut place = depot.arriving.lock().await;
    if turn.is_over() {
        return Err(BulkError::Refused("a later offer goes before".into()));
    }
    let store = Arc::clone(&depot.store);
    let (before, wanted) = (place.take(), manifest.clone());
    let incoming = blocking(move || match before {
        Some(before) if *before.manifest() == wanted => Ok(Some(before)),
        before => {
            if let Some(before) = before {
                store.discard(before);
            }
            store.receive(&wanted)
        }
    });
    let Some(mut incoming) = incoming.await? else {
        depot.received(from, manifest);
        return say(answers, &Word::Have).await;
    };
    let offset = incoming.offset();
    say(answers, &Word::Go { offset }).await?;
    let (mut stream, early) = frames.into_parts();
    if !early.is_empty() {
        *place = Some(incoming);
        return Err(lost("bytes came before they were asked for"));
    }
    let mut told = Instant::now();
    while !incoming.is_whole() {
        let mut pieces = vec![Bytes::new(); 64];
        let read = tokio::select! {
            read = timeout(patience, stream.read_chunks(&mut pieces)) => read,
            () = turn.over() => {
                *place = Some(incoming);
                return Err(BulkError::Refused("a later offer goes before".into()));
            }
        };
        let count = match read {
            Ok(Ok(Some(count))) => count,
            other => {
                *place = Some(incoming);
                return Err(match other {
                    Err(_) => BulkError::Stalled(patience),
                    Ok(Err(error)) => lost(error),
                    Ok(_) => lost("it ended before the file did"),
                });
            }
        };
        pieces.truncate(count);
        let (back, written) = blocking(move || write_all(incoming, &pieces)).await;
        incoming = back;
        if let Err(error) = written {
            let store = Arc::clone(&depot.store);
            blocking(move || store.discard(incoming)).await;
            return Err(error.into());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let bytes = incoming.offset();
            depot.arrived(from, &manifest, bytes);
            if let Err(error) = say(answers, &Word::At { bytes }).await {
                *place = Some(incoming);
                return Err(error);
            }
        }
    }
    let store = Arc::clone(&depot.store);
    blocking(move || store.finish(incoming)).await?;
    depot.received(from, manifest);
    say(answers, &Word::Whole).await
}

fn write_all(mut incoming: Incoming, pieces: &[Bytes]) -> (Incoming, Result<(), SnapshotError>) {
    let written = pieces.iter().try_for_each(|piece| incoming.write(piece));
    (incoming, written)
}

/// Lets a settled peer open streams of snapshots.
pub(crate) fn admit(connection: &Connection) {
    // And the one of the hellos.
    connection.set_max_concurrent_bi_streams((1 + STREAMS).into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::Index;

    #[test]
    fn every_word_survives_the_wire() {
        let manifest = Manifest {
            id: SnapshotId(3 << 64 | 9),
            index: Index(9),
            epoch: Epoch::of_term(4),
            members: Default::default(),
            coming: Vec::new(),
            size: u64::MAX,
        };
        for word in [
            Word::Offer {
                group: GroupId(7),
                epoch: Epoch::of_term(5),
                manifest,
            },
            Word::Go { offset: u64::MAX },
            Word::Have,
            Word::At { bytes: 300 },
            Word::Whole,
            Word::No { why: "no".into() },
        ] {
            let mut bytes = Vec::new();
            word.encode(&mut bytes);
            assert!(bytes.len() < WORD as usize);
            assert_eq!(Word::decode(bytes.into()), Ok(word));
        }
    }

    /// Fuzzed: a decoder that panics would be a stranger's switch.
    #[test]
    fn any_bytes_are_a_word_or_none() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let word = Word::decode(Bytes::copy_from_slice(bytes));
            if let Ok(word) = word {
                let mut again = Vec::new();
                word.encode(&mut again);
                assert_eq!(Word::decode(again.into()), Ok(word));
            }
        });
    }
}
