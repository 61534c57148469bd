//! A baseline as a node of its own: the same socket, the same certificates, less behind it.

use super::{
    config::Config,
    serve::{meet, terminated},
};
use crate::{
    ending::{DONE, refused},
    supervised,
};
use bench::baseline::{Baseline, Floor, gateway};
use bytes::Bytes;
use consensus_core::{Boot, ClientId, DiskId, NodeId, Sequence, service::Answer};
use net_quic::{Endpoint, EndpointConfig, Gateway, Identity, Limits};
use std::{collections::BTreeMap, sync::Arc};

/// Runs it until SIGTERM.
///
/// # Errors
/// A refusal when it cannot start.
pub(crate) fn run(baseline: Baseline, config: &Config, identity: Identity) -> anyhow::Result<u8> {
    let runtime = config.runtime()?;
    runtime.block_on(serve(baseline, config, identity))
}

async fn serve(baseline: Baseline, config: &Config, identity: Identity) -> anyhow::Result<u8> {
    let terminated = terminated()?;
    let floor = Arc::new(gateway(baseline, &config.data).map_err(refused)?);
    let endpoint = Endpoint::bind(EndpointConfig {
        node: NodeId(config.node),
        boot: Boot(1),
        disk: DiskId(rand::random()),
        cluster: identity.name().cluster,
        address: config.listen,
        identity,
        members: BTreeMap::new(),
        limits: Limits::default(),
        link: None,
    })
    .map_err(refused)?;
    let (asked, stats) = (Arc::clone(&floor), endpoint.stats());
    endpoint.serve(Shared(floor), move || {
        serde_json::json!({
            // A lone node decides.
            "leader": 1,
            "counts": { "syncs": asked.syncs() },
            "transport": stats.all(),
        })
        .to_string()
    });
    if config.supervisor.is_some() {
        // It has no peers, and yet says where it is like any other.
        meet(config, endpoint.local_address()?).await?;
    }
    if config.supervisor.is_some_and(|parent| parent.is_far()) {
        supervised::hear_disk_commands(true, |_| Err("a baseline breaks no disk".to_owned()))?;
    }
    terminated.await;
    endpoint.close().await;
    Ok(DONE)
}

/// One floor for the network and for whoever asks how often it has synced.
struct Shared(Arc<Floor>);

impl Gateway for Shared {
    fn call(
        &self,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
    ) -> impl Future<Output = Answer> + Send {
        self.0.call(client, sequence, body)
    }
}
