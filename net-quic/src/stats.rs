//! What is counted, and what is logged without ever flooding the log.

use consensus_core::Class;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// Every counter.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Messages to peers, by class.
    SentControl => "sent_control", /** Messages to peers. */ SentLog => "sent_log", /** Messages to peers. */ SentBulk => "sent_bulk",
    /// Bytes of frames to peers, by class.
    SentControlBytes => "sent_control_bytes", /** Bytes to peers. */ SentLogBytes => "sent_log_bytes", /** Bytes to peers. */ SentBulkBytes => "sent_bulk_bytes",
    /// Messages from peers, by class.
    ReceivedControl => "received_control", /** Messages from peers. */ ReceivedLog => "received_log", /** Messages from peers. */ ReceivedBulk => "received_bulk",
    /// Bytes of frames from peers, by class.
    ReceivedControlBytes => "received_control_bytes", /** Bytes from peers. */ ReceivedLogBytes => "received_log_bytes", /** Bytes from peers. */ ReceivedBulkBytes => "received_bulk_bytes",
    /// Calls from clients.
    Calls => "calls",
    /// Connections to peers that were settled.
    PeersConnected => "peers_connected",
    /// Connections to peers that were lost.
    PeersLost => "peers_lost",
    /// Connections of clients that were settled.
    ClientsConnected => "clients_connected",
    /// Messages dropped because a peer's queue was full: the oldest goes.
    DroppedFull => "dropped_full",
    /// Messages dropped because the peer is not connected.
    DroppedUnreachable => "dropped_unreachable",
    /// Messages dropped because the peer's version does not know their kind.
    DroppedTooNew => "dropped_too_new",
    /// Messages dropped because they exceed what the peer accepts.
    DroppedOversize => "dropped_oversize",
    /// Messages for a group that this node does not run.
    UnknownGroup => "unknown_group",
    /// Frames of a peer's earlier run, which arrived after its restart was known.
    StaleBoot => "stale_boot",
    /// Another disk under a known node id.
    OtherDisk => "other_disk",
    /// TLS handshakes that failed: an untrusted, expired or missing certificate among others.
    HandshakeFailed => "handshake_failed",
    /// Handshakes or hellos that took too long.
    HandshakeTimeout => "handshake_timeout",
    /// A certificate that names nobody of our scheme.
    UnnamedCertificate => "unnamed_certificate",
    /// A hello that claims another node than the certificate names, or than was dialled.
    IdentityMismatch => "identity_mismatch",
    /// A certificate of a role that may not speak this protocol.
    RoleRefused => "role_refused",
    /// A certificate or hello of another cluster.
    WrongCluster => "wrong_cluster",
    /// No wire version in common.
    UnknownVersion => "unknown_version",
    /// A first frame that is not a hello.
    BadHello => "bad_hello",
    /// A frame longer than allowed; nothing was allocated for it.
    OversizeFrame => "oversize_frame",
    /// Frames whose bytes are not a message.
    Undecodable => "undecodable",
    /// Frames that were begun and not ended in time.
    FrameTimeout => "frame_timeout",
    /// Connections that lost against another one between the same two nodes.
    Duplicate => "duplicate_connection",
    /// Newcomers who had to prove their address first.
    Retried => "retried",
    /// Newcomers turned away because too many were there.
    TurnedAway => "turned_away",
    /// Certificates that were taken back: handshakes that showed one, and connections that stood on
    /// one.
    CertificateRevoked => "certificate_revoked",
    /// Connections that ended because a certificate did.
    CertificateExpired => "certificate_expired",
}

/// How many peers are told apart in the log.
const PEERS_MAX: usize = 1024;
/// A peer is not written about again before this has passed.
const SILENCE: Duration = Duration::from_secs(60);

/// Counters of one endpoint. Cheap to raise, monotone, read at any time.
pub struct Stats {
    counts: [AtomicU64; Counter::ALL.len()],
    logged: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; Counter::ALL.len()],
            logged: Mutex::default(),
        }
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

impl Stats {
    /// The value of one counter.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Relaxed)
    }

    /// All counters by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let read = |counter: &Counter| (counter.name(), self.count(*counter));
        Counter::ALL.iter().map(read).collect()
    }

    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.counts[counter as usize].fetch_add(amount, Relaxed);
    }

    pub(crate) fn sent(&self, class: Class, bytes: usize) {
        let (messages, total) = match class {
            Class::Control => (Counter::SentControl, Counter::SentControlBytes),
            Class::Log => (Counter::SentLog, Counter::SentLogBytes),
            Class::Bulk => (Counter::SentBulk, Counter::SentBulkBytes),
        };
        self.add(messages, 1);
        self.add(total, bytes as u64);
    }

    pub(crate) fn received(&self, class: Class, messages: usize, bytes: usize) {
        let (counter, total) = match class {
            Class::Control => (Counter::ReceivedControl, Counter::ReceivedControlBytes),
            Class::Log => (Counter::ReceivedLog, Counter::ReceivedLogBytes),
            Class::Bulk => (Counter::ReceivedBulk, Counter::ReceivedBulkBytes),
        };
        self.add(counter, messages as u64);
        self.add(total, bytes as u64);
    }

    /// Counts, and logs at most one line a minute a peer: whoever knocks a thousand times a second
    /// fills no disk.
    pub(crate) fn refuse(&self, counter: Counter, peer: impl fmt::Display, why: impl fmt::Display) {
        self.add(counter, 1);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut peer = peer.to_string();
        if logged.len() >= PEERS_MAX && !logged.contains_key(&peer) {
            logged.retain(|_, (since, _)| now.duration_since(*since) < SILENCE);
            if logged.len() >= PEERS_MAX {
                // More strangers than anybody would read about, such as a flood of made-up
                // addresses: one line for all of them.
                "others".clone_into(&mut peer);
            }
        }
        let known = logged.entry(peer.clone());
        let entry = known.and_modify(|entry| entry.1 += 1).or_insert((now, 0));
        let (since, silent) = *entry;
        if silent == 0 || now.duration_since(since) >= SILENCE {
            *entry = (now, 0);
            drop(logged);
            tracing::warn!(%peer, kind = counter.name(), silent, "{why}");
        }
    }
}
