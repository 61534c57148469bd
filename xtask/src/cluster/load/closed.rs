//! Closed loop: each client asks again when it has been answered.

use super::{Load, attempt::Caller};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts the clients.
pub(crate) fn start<C: Caller>(load: &Arc<Load<C>>) -> anyhow::Result<JoinSet<()>> {
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        let mut asker = load.asker(number)?;
        let load = Arc::clone(load);
        clients.spawn(async move {
            load.open(&asker).await;
            loop {
                let intended = load.now();
                if intended >= load.window.end() {
                    break;
                }
                load.ledger.issue(number, intended);
                load.perform(&mut asker, intended).await;
            }
        });
    }
    Ok(clients)
}
