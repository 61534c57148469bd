//! The state as bytes, piece by piece.

use crate::{
    service::{Lock, Service, Session},
    words::{Event, encode},
};
use bytes::Bytes;
use consensus_core::{LogClock, Wire, codec};
use std::time::Duration;

/// A part of a snapshot.
#[derive(Clone, Debug)]
enum Piece {
    Head {
        clock: LogClock,
        changed: u64,
        forgotten: u64,
    },
    Session {
        id: u64,
        lease: u64,
        ends: u64,
    },
    Lock {
        name: Bytes,
        holder: u64,
        token: u64,
        waiting: Vec<u64>,
    },
    Happened {
        event: Event,
    },
}

codec! {
    Piece version 1 {
        1 since 1 Bulk => Head { clock, changed, forgotten },
        2 since 1 Bulk => Session { id, lease, ends },
        3 since 1 Bulk => Lock { name, holder, token, waiting },
        4 since 1 Bulk => Happened { event },
    }
}

const fn millis(span: Duration) -> u64 {
    span.as_millis() as u64
}

impl Service {
    pub(crate) fn into_pieces(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        let head = Piece::Head {
            clock: self.clock,
            changed: self.changed,
            forgotten: self.forgotten,
        };
        let sessions = self
            .sessions
            .into_iter()
            .map(|(id, session)| Piece::Session {
                id,
                lease: millis(session.lease),
                ends: millis(session.ends),
            });
        let locks = self.locks.into_iter().map(|(name, lock)| Piece::Lock {
            name,
            holder: lock.holder,
            token: lock.token,
            waiting: lock.waiting.into(),
        });
        let events = self.events.into_iter();
        let events = events.map(|event| Piece::Happened { event });
        let pieces = std::iter::once(head).chain(sessions).chain(locks);
        Box::new(pieces.chain(events).map(|piece| encode(&piece)))
    }

    pub(crate) fn from_pieces(chunks: impl Iterator<Item = Bytes>) -> Result<Self, &'static str> {
        let mut service = Self::default();
        for chunk in chunks {
            match Piece::decode(chunk).map_err(|_| "not a piece of a lock service")? {
                Piece::Head {
                    clock,
                    changed,
                    forgotten,
                } => {
                    (service.clock, service.changed) = (clock, changed);
                    service.forgotten = forgotten;
                }
                Piece::Session { id, lease, ends } => {
                    let [lease, ends] = [lease, ends].map(Duration::from_millis);
                    service.sessions.insert(id, Session { lease, ends });
                }
                Piece::Lock {
                    name,
                    holder,
                    token,
                    waiting,
                } => {
                    let waiting = waiting.into();
                    let lock = Lock {
                        holder,
                        token,
                        waiting,
                    };
                    service.locks.insert(name, lock);
                }
                Piece::Happened { event } => service.events.push_back(event),
            }
        }
        Ok(service)
    }
}
