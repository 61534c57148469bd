//! Floors to stand beside every algorithm: the same client load on the same transport, with less and
//! less behind it. What an algorithm costs is what it takes on top.
//!
//! | baseline | behind the transport |
//! |---|---|
//! | `echo` | nothing: the body comes back |
//! | `unreplicated` | the key-value store of the replicated log, on one node, in memory |
//! | `unreplicated-sync` | the same, answered once the command is on disk |

mod unreplicated;

use bytes::Bytes;
use consensus_core::{ClientId, Sequence, service::Answer, storage::wal};
use net_quic::Gateway;
use std::path::Path;
use unreplicated::Store;

/// One of the baselines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Baseline {
    /// Nothing but the transport.
    Echo,
    /// One copy of the state, which a restart loses.
    Unreplicated,
    /// One copy of the state behind a write-ahead log, synced in groups.
    UnreplicatedSync,
}

/// Why a baseline did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The folder is not empty, or the system refused.
    #[error("the log of a baseline cannot be made")]
    Format(#[from] wal::FormatError),
    /// The log cannot be opened.
    #[error("the log of a baseline cannot be opened")]
    Open(#[from] wal::OpenError),
}

impl Baseline {
    /// All of them, from the least to the most behind the transport.
    pub const ALL: [Self; 3] = [Self::Echo, Self::Unreplicated, Self::UnreplicatedSync];

    /// What it is called on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Unreplicated => "unreplicated",
            Self::UnreplicatedSync => "unreplicated-sync",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|baseline| baseline.name() == name)
    }

    /// Whether an answer survives a loss of power.
    #[must_use]
    pub const fn is_durable(self) -> bool {
        matches!(self, Self::UnreplicatedSync)
    }
}

/// What to serve clients with. `folder`, which must be empty or missing, is used where something is
/// kept; nothing in it is ever read again.
///
/// # Errors
/// When the log cannot be made.
pub fn gateway(baseline: Baseline, folder: &Path) -> Result<Floor, BaselineError> {
    Ok(Floor(match baseline {
        Baseline::Echo => Behind::Nothing,
        Baseline::Unreplicated => Behind::Store(Store::in_memory()),
        Baseline::UnreplicatedSync => Behind::Store(Store::on_disk(folder)?),
    }))
}

/// A gateway to a baseline.
#[derive(Debug)]
pub struct Floor(Behind);

#[derive(Debug)]
enum Behind {
    Nothing,
    Store(Store),
}

impl Floor {
    /// How often its disk has synced; zero where there is none.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        match &self.0 {
            Behind::Nothing => 0,
            Behind::Store(store) => store.syncs(),
        }
    }
}

impl Gateway for Floor {
    async fn call(&self, _client: ClientId, sequence: Sequence, body: Bytes) -> Answer {
        match &self.0 {
            Behind::Nothing => Answer::Done(body),
            // There are no sessions to open: nothing is ever retried here.
            Behind::Store(_) if sequence == Sequence(0) => Answer::Done(Bytes::new()),
            Behind::Store(store) => store.call(&body).await,
        }
    }
}

#[cfg(test)]
mod tests;
