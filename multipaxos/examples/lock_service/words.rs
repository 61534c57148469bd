//! What is asked of the service, and what it answers.

use bytes::Bytes;
use consensus_core::{DecodeError, Decoder, Field, Tick, Wire, codec};

/// A session: the place in the log that opened it. It lives for as long as its lease does.
pub(crate) type SessionId = u64;
/// A fencing token: the place in the log that granted the lock. Whoever holds it next has a higher one.
pub(crate) type Token = u64;

/// What a client asks, and (`Tick`) what the leading node says.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Opens a session with a lease of so many milliseconds.
    Open { lease: u64 },
    /// The lease begins anew.
    Keep { session: SessionId },
    /// Ends the session; its locks go to whoever waits.
    Close { session: SessionId },
    /// Takes the lock, or waits in line for it, or does not.
    Acquire {
        session: SessionId,
        name: Bytes,
        waits: bool,
    },
    /// Lets the lock go, or waits for it no longer.
    Release { session: SessionId, name: Bytes },
    /// Where the session stands with this lock.
    Stands { session: SessionId, name: Bytes },
    /// Whether this token is that of the lock's holder.
    Check { name: Bytes, token: Token },
    /// What became of locks with this prefix after that place in the log.
    Events { prefix: Bytes, after: u64 },
    /// Time has passed. The only clock of the service.
    Tick { tick: Tick },
}

codec! {
    Operation version 1 {
        1 since 1 Log => Open { lease },
        2 since 1 Log => Keep { session },
        3 since 1 Log => Close { session },
        4 since 1 Log => Acquire { session, name, waits },
        5 since 1 Log => Release { session, name },
        6 since 1 Log => Stands { session, name },
        7 since 1 Log => Check { name, token },
        8 since 1 Log => Events { prefix, after },
        9 since 1 Log => Tick { tick },
    }
}

/// What comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done {},
    Session {
        session: SessionId,
    },
    /// No such session: its lease is over, or it was closed.
    NoSession {},
    /// The lock is the session's, under this token.
    Held {
        token: Token,
    },
    /// So many come before it.
    Waiting {
        before: u64,
    },
    /// Somebody else has the lock, under this token.
    Busy {
        token: Token,
    },
    /// The session neither has the lock nor waits for it.
    NotHeld {},
    /// Whether the token is the holder's.
    Sequencer {
        is_valid: bool,
    },
    /// What happened up to this place in the log.
    Events {
        until: u64,
        events: Vec<Event>,
    },
    /// What happened so long ago is forgotten: ask again from here.
    Forgotten {
        until: u64,
    },
    Malformed {},
}

codec! {
    Outcome version 1 {
        1 since 1 Log => Done {},
        2 since 1 Log => Session { session },
        3 since 1 Log => NoSession {},
        4 since 1 Log => Held { token },
        5 since 1 Log => Waiting { before },
        6 since 1 Log => Busy { token },
        7 since 1 Log => NotHeld {},
        8 since 1 Log => Sequencer { is_valid },
        9 since 1 Log => Events { until, events },
        10 since 1 Log => Forgotten { until },
        11 since 1 Log => Malformed {},
    }
}

/// What became of a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Granted,
    Released,
    /// The holder's session is over: its lease has ended, or it was closed.
    Lost,
}

/// That something became of a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    /// The place in the log.
    pub(crate) at: u64,
    pub(crate) name: Bytes,
    /// Of its holder, then or until then.
    pub(crate) token: Token,
    pub(crate) change: Change,
}

impl Field for Event {
    fn put(&self, out: &mut Vec<u8>) {
        self.at.put(out);
        self.name.put(out);
        self.token.put(out);
        out.push(self.change as u8);
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            at: u64::take(input)?,
            name: Bytes::take(input)?,
            token: u64::take(input)?,
            change: match input.byte("change")? {
                0 => Change::Granted,
                1 => Change::Released,
                2 => Change::Lost,
                _ => return Err(DecodeError::OutOfRange { what: "change" }),
            },
        })
    }
}

pub(crate) fn encode(value: &impl Wire) -> Bytes {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes.into()
}
