//! The store as a state machine: everything that happens to it, the passing of time included, comes
//! from the log, so that every replica agrees on what exists.

use bytes::Bytes;
use consensus_core::{Index, LogClock, StateMachine, Tick, Wire, codec};
use std::collections::{BTreeMap, VecDeque};

/// Changes that a watch may still ask for.
const HISTORY: usize = 10_000;

/// What a client asks, and (`Tick`) what the leading node says.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Writes; with a lease, until that ends.
    Put {
        key: Bytes,
        value: Bytes,
        lease: Option<u64>,
    },
    /// Writes only if the key still has this revision; 0: only if there is none.
    CompareAndSwap {
        key: Bytes,
        revision: u64,
        value: Bytes,
    },
    Delete {
        key: Bytes,
    },
    Get {
        key: Bytes,
    },
    List {
        prefix: Bytes,
    },
    /// Changes of keys with this prefix after that revision.
    Watch {
        prefix: Bytes,
        after: u64,
    },
    /// Opens a lease of so many milliseconds.
    Grant {
        ttl: u64,
    },
    /// A lease begins anew.
    KeepAlive {
        lease: u64,
    },
    /// Time has passed. The only clock of the store.
    Tick {
        tick: Tick,
    },
}

codec! {
    Operation version 1 {
        1 since 1 Log => Put { key, value, lease },
        2 since 1 Log => CompareAndSwap { key, revision, value },
        3 since 1 Log => Delete { key },
        4 since 1 Log => Get { key },
        5 since 1 Log => List { prefix },
        6 since 1 Log => Watch { prefix, after },
        7 since 1 Log => Grant { ttl },
        8 since 1 Log => KeepAlive { lease },
        9 since 1 Log => Tick { tick },
    }
}

/// What comes of it. A revision is the place in the log that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done {
        revision: u64,
    },
    Value {
        revision: u64,
        value: Bytes,
    },
    /// No such key, or lease.
    Missing {},
    /// The key has another revision; 0: it is gone.
    Mismatch {
        revision: u64,
    },
    List {
        entries: Vec<(Bytes, Bytes)>,
    },
    /// Up to `revision`, these keys changed; without a value a key is gone.
    Changes {
        revision: u64,
        changes: Vec<(Bytes, Option<Bytes>)>,
    },
    /// The store no longer knows what changed after that revision: list, then watch from here.
    Forgotten {
        revision: u64,
    },
    Lease {
        lease: u64,
    },
    Malformed {},
}

codec! {
    Outcome version 1 {
        1 since 1 Log => Done { revision },
        2 since 1 Log => Value { revision, value },
        3 since 1 Log => Missing {},
        4 since 1 Log => Mismatch { revision },
        5 since 1 Log => List { entries },
        6 since 1 Log => Changes { revision, changes },
        7 since 1 Log => Forgotten { revision },
        8 since 1 Log => Lease { lease },
        9 since 1 Log => Malformed {},
    }
}

pub(crate) fn encode(value: &impl Wire) -> Bytes {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes.into()
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    revision: u64,
    lease: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: u64,
    ends: u64,
}

#[derive(Clone, Debug)]
struct Change {
    revision: u64,
    key: Bytes,
    value: Option<Bytes>,
}

/// The state.
#[derive(Clone, Default, Debug)]
pub(crate) struct Store {
    clock: LogClock,
    /// The last change.
    revision: u64,
    /// Changes after this are in `history`.
    forgotten: u64,
    entries: BTreeMap<Bytes, Entry>,
    leases: BTreeMap<u64, Lease>,
    history: VecDeque<Change>,
}

impl Store {
    fn change(&mut self, revision: u64, key: Bytes, entry: Option<Entry>) {
        let value = entry.as_ref().map(|entry| entry.value.clone());
        match entry {
            Some(entry) => self.entries.insert(key.clone(), entry),
            None => self.entries.remove(&key),
        };
        self.revision = revision;
        self.history.push_back(Change {
            revision,
            key,
            value,
        });
        // Whole revisions only: the end of a lease changes many keys at once.
        while self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    fn put(&mut self, revision: u64, key: Bytes, value: Bytes, lease: Option<u64>) -> Outcome {
        if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
            return Outcome::Missing {};
        }
        let entry = Entry {
            value,
            revision,
            lease,
        };
        self.change(revision, key, Some(entry));
        Outcome::Done { revision }
    }

    /// Milliseconds.
    fn now(&self) -> u64 {
        self.clock.now().as_millis() as u64
    }

    fn tick(&mut self, revision: u64, tick: Tick) -> Outcome {
        self.clock.hear(tick);
        let now = self.now();
        let over = |lease: &Lease| lease.ends <= now;
        let ended: Vec<u64> = self
            .leases
            .iter()
            .filter(|(_, lease)| over(lease))
            .map(|(id, _)| *id)
            .collect();
        for lease in ended {
            self.leases.remove(&lease);
            let held = |entry: &Entry| entry.lease == Some(lease);
            let keys = self.entries.iter().filter(|(_, entry)| held(entry));
            let keys: Vec<Bytes> = keys.map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.change(revision, key, None);
            }
        }
        Outcome::Done { revision }
    }

    fn answer(&self, query: &Operation) -> Outcome {
        match query {
            Operation::Get { key } => match self.entries.get(key) {
                Some(entry) => Outcome::Value {
                    revision: entry.revision,
                    value: entry.value.clone(),
                },
                None => Outcome::Missing {},
            },
            Operation::List { prefix } => Outcome::List {
                entries: self
                    .entries
                    .range(prefix.clone()..)
                    .take_while(|(key, _)| key.starts_with(prefix))
                    .map(|(key, entry)| (key.clone(), entry.value.clone()))
                    .collect(),
            },
            Operation::Watch { after, .. } if *after < self.forgotten => Outcome::Forgotten {
                revision: self.revision,
            },
            Operation::Watch { prefix, after } => {
                let first = self.history.partition_point(|c| c.revision <= *after);
                let changes = self.history.range(first..);
                Outcome::Changes {
                    revision: self.revision,
                    changes: changes
                        .filter(|change| change.key.starts_with(prefix))
                        .map(|change| (change.key.clone(), change.value.clone()))
                        .collect(),
                }
            }
            _ => Outcome::Malformed {},
        }
    }

    fn carry_out(&mut self, revision: u64, operation: Operation) -> Outcome {
        match operation {
            Operation::Put { key, value, lease } => self.put(revision, key, value, lease),
            Operation::CompareAndSwap {
                key,
                revision: expected,
                value,
            } => {
                let now = self.entries.get(&key).map_or(0, |entry| entry.revision);
                if now != expected {
                    return Outcome::Mismatch { revision: now };
                }
                self.put(revision, key, value, None)
            }
            Operation::Delete { key } => {
                if !self.entries.contains_key(&key) {
                    return Outcome::Missing {};
                }
                self.change(revision, key, None);
                Outcome::Done { revision }
            }
            Operation::Grant { ttl } => {
                let ends = self.now() + ttl;
                self.leases.insert(revision, Lease { ttl, ends });
                Outcome::Lease { lease: revision }
            }
            Operation::KeepAlive { lease } => {
                let now = self.now();
                match self.leases.get_mut(&lease) {
                    Some(found) => {
                        found.ends = now + found.ttl;
                        Outcome::Lease { lease }
                    }
                    None => Outcome::Missing {},
                }
            }
            Operation::Tick { tick } => self.tick(revision, tick),
            query => self.answer(&query),
        }
    }
}

/// A part of a snapshot.
#[derive(Clone, Debug)]
enum Piece {
    Head {
        clock: LogClock,
        revision: u64,
        forgotten: u64,
    },
    Lease {
        id: u64,
        ttl: u64,
        ends: u64,
    },
    Entry {
        key: Bytes,
        value: Bytes,
        revision: u64,
        lease: Option<u64>,
    },
    Change {
        revision: u64,
        key: Bytes,
        value: Option<Bytes>,
    },
}

codec! {
    Piece version 1 {
        1 since 1 Bulk => Head { clock, revision, forgotten },
        2 since 1 Bulk => Lease { id, ttl, ends },
        3 since 1 Bulk => Entry { key, value, revision, lease },
        4 since 1 Bulk => Change { revision, key, value },
    }
}

impl StateMachine for Store {
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes {
        let operation = Operation::decode(Bytes::copy_from_slice(command));
        encode(&match operation {
            Ok(operation) => self.carry_out(index.0, operation),
            Err(_) => Outcome::Malformed {},
        })
    }

    fn is_read(&self, body: &[u8]) -> bool {
        matches!(
            Operation::decode(Bytes::copy_from_slice(body)),
            Ok(Operation::Get { .. } | Operation::List { .. } | Operation::Watch { .. })
        )
    }

    fn read(&self, _: Index, query: &[u8]) -> Bytes {
        let query = Operation::decode(Bytes::copy_from_slice(query));
        encode(&query.map_or(Outcome::Malformed {}, |query| self.answer(&query)))
    }

    type Snapshot = Box<dyn Iterator<Item = Bytes> + Send>;

    /// The bytes are shared with the state and encoded by whoever writes them.
    fn snapshot(&self) -> Self::Snapshot {
        let Self {
            clock,
            revision,
            forgotten,
            entries,
            leases,
            history,
        } = self.clone();
        let head = Piece::Head {
            clock,
            revision,
            forgotten,
        };
        let leases = leases.into_iter().map(|(id, lease)| Piece::Lease {
            id,
            ttl: lease.ttl,
            ends: lease.ends,
        });
        let entries = entries.into_iter().map(|(key, entry)| Piece::Entry {
            key,
            value: entry.value,
            revision: entry.revision,
            lease: entry.lease,
        });
        let history = history.into_iter().map(|change| Piece::Change {
            revision: change.revision,
            key: change.key,
            value: change.value,
        });
        let pieces = std::iter::once(head).chain(leases).chain(entries);
        Box::new(pieces.chain(history).map(|piece| encode(&piece)))
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        *self = Self::default();
        for chunk in chunks {
            match Piece::decode(chunk).map_err(|_| "not a piece of a store")? {
                Piece::Head {
                    clock,
                    revision,
                    forgotten,
                } => (self.clock, self.revision, self.forgotten) = (clock, revision, forgotten),
                Piece::Lease { id, ttl, ends } => {
                    self.leases.insert(id, Lease { ttl, ends });
                }
                Piece::Entry {
                    key,
                    value,
                    revision,
                    lease,
                } => {
                    let entry = Entry {
                        value,
                        revision,
                        lease,
                    };
                    self.entries.insert(key, entry);
                }
                Piece::Change {
                    revision,
                    key,
                    value,
                } => self.history.push_back(Change {
                    revision,
                    key,
                    value,
                }),
            }
        }
        Ok(())
    }
}
