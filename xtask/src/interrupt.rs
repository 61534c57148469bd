//! Long work that a person or a supervisor may end at any time.

use crate::ending::INTERRUPTED;
use anyhow::Context as _;
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Carries out `work`, which tells the exit status, unless SIGINT or SIGTERM ends it; then it is dropped,
/// and with it the processes that it holds. On this thread, which lives as long as the process: child
/// processes die with the thread that started them.
///
/// # Errors
/// Those of `work`; and when the runtime cannot be started.
pub(crate) fn run(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            status = work => status,
            _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED),
            _ = terminate.recv() => Ok(INTERRUPTED),
        }
    })
}
