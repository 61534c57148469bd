//! Strangers at a node's door: wrong certificates, noise, and such as never finish a sentence.

use crate::cluster::nodes::Nodes;
use anyhow::{Context as _, anyhow, bail};
use consensus_core::{
    ClusterId, NodeId,
    fault::{BadCertificate, Fault},
};
use net_quic::{
    ClusterCa, Counter, Identity, Role,
    hostile::{self, CLIENT, Hello, HostileError, PEER, Raw, frame},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::{net::UdpSocket, task::JoinSet, time::sleep};

/// Between two tries of one stranger.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two bytes of one that never finishes.
const DRIP: Duration = Duration::from_millis(500);
/// How many of those there are at once.
const DRIPPING: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether it is done by strangers.
pub(crate) const fn is_of_strangers(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Badcert(..) | Fault::Garbage(_) | Fault::Slowloris(_)
    )
}

/// Under which names the node counts such strangers.
fn counters(fault: &Fault) -> &'static [Counter] {
    match fault {
        Fault::Badcert(_, BadCertificate::WrongId) => &[Counter::IdentityMismatch],
        Fault::Badcert(_, BadCertificate::WrongCluster) => &[Counter::WrongCluster],
        Fault::Badcert(..) => &[Counter::HandshakeFailed],
        Fault::Garbage(_) => &[
            Counter::BadHello,
            Counter::OversizeFrame,
            Counter::Undecodable,
        ],
        _ => &[
            Counter::HandshakeTimeout,
            Counter::FrameTimeout,
            Counter::TurnedAway,
            Counter::Retried,
        ],
    }
}

/// Strangers at the door of one node, until it is dropped.
pub(super) struct Siege {
    node: NodeId,
    fault: Fault,
    tries: Arc<AtomicU64>,
    refused_before: u64,
    _strangers: JoinSet<()>,
}

/// What one stranger knows.
#[derive(Clone)]
struct Stranger {
    address: SocketAddr,
    to: (ClusterId, NodeId),
    identity: Identity,
    tries: Arc<AtomicU64>,
}

impl Siege {
    /// Sends strangers.
    ///
    /// # Errors
    /// When the node does not answer an operator, or no certificate can be made.
    pub(super) async fn begin(fault: &Fault, node: NodeId, nodes: &Nodes) -> anyhow::Result<Self> {
        let authority = nodes.authority()?;
        let identity = identity(fault, node, &authority)?;
        let cluster = identity.name().cluster;
        let stranger = Stranger {
            address: nodes.address(node).context("a node has an address")?,
            to: (cluster, node),
            identity,
            tries: Arc::default(),
        };
        let refused_before = refused(fault, node, nodes).await?;
        let mut strangers = JoinSet::new();
        match fault {
            Fault::Badcert(_, why) => {
                strangers.spawn(stranger.clone().knocks(*why));
            }
            Fault::Garbage(_) => {
                strangers.spawn(stranger.clone().babbles());
                strangers.spawn(noise(stranger.address));
            }
            _ => {
                for number in 0..DRIPPING {
                    strangers.spawn(stranger.clone().drips(number % 2 == 0));
                }
            }
        }
        Ok(Self {
            node,
            fault: fault.clone(),
            tries: stranger.tries,
            refused_before,
            _strangers: strangers,
        })
    }

    /// Calls them back, and tells what came of it.
    ///
    /// # Errors
    /// When the node has refused none of them.
    pub(super) async fn end(self, nodes: &Nodes) -> anyhow::Result<String> {
        let tries = self.tries.load(Relaxed);
        if !nodes.alive().contains(&self.node) {
            return Ok(format!("{tries} tries; the node does not run any more"));
        }
        let now = refused(&self.fault, self.node, nodes).await?;
        let refused = now.saturating_sub(self.refused_before);
        let names: Vec<_> = counters(&self.fault).iter().map(|c| c.name()).collect();
        let said = format!(
            "{tries} tries at node {}, which counts {refused} more as {}",
            self.node,
            names.join(" or ")
        );
        // Nobody is late before the deadlines have passed.
        if refused == 0 && !matches!(self.fault, Fault::Slowloris(_)) {
            bail!("{said}: it has let strangers in");
        }
        Ok(said)
    }
}

/// What the node has counted so far.
async fn refused(fault: &Fault, node: NodeId, nodes: &Nodes) -> anyhow::Result<u64> {
    let look = nodes.inspect(node).await;
    let look = look.ok_or_else(|| anyhow!("node {node} does not answer an operator"))?;
    let counted = counters(fault).iter();
    Ok(counted.map(|counter| look.transport(counter.name())).sum())
}

/// What strangers show: good certificates where it is not these that are bad.
fn identity(fault: &Fault, node: NodeId, authority: &ClusterCa) -> anyhow::Result<Identity> {
    let peer = Role::Node(NodeId(if node.0 == 1 { 2 } else { 1 }));
    let now = SystemTime::now();
    let trust = vec![authority.certificate().clone()];
    Ok(match fault {
        Fault::Badcert(_, BadCertificate::Untrusted) => {
            let own = authority.issue(peer)?.name().cluster;
            ClusterCa::generate(own)?.issue(peer)?.trusting(trust)
        }
        Fault::Badcert(_, BadCertificate::Expired) => {
            authority.issue_between(peer, now - 2 * DAY, now - DAY)?
        }
        Fault::Badcert(..) => authority.issue(peer)?,
        _ => authority.issue(Role::Client)?,
    })
}

impl Stranger {
    async fn dial(&self, alpn: &[u8]) -> Result<Raw, HostileError> {
        self.tries.fetch_add(1, Relaxed);
        let config = hostile::config(&self.identity, true, alpn, None)?;
        hostile::dial(hostile::socket()?, self.address, self.to, config).await
    }

    /// Knocks with a bad certificate, or with a good one and a lie.
    async fn knocks(self, why: BadCertificate) {
        let honest = match self.identity.name().role {
            Role::Node(NodeId(node)) => Hello::of(self.to.0, node, 1),
            _ => Hello::of(self.to.0, 0, 1),
        };
        let hello = match why {
            BadCertificate::WrongId => Hello {
                node: honest.node + 1,
                ..honest
            },
            BadCertificate::WrongCluster => Hello {
                cluster: honest.cluster ^ 1,
                ..honest
            },
            BadCertificate::Untrusted | BadCertificate::Expired => honest,
        };
        loop {
            if let Ok(dialled) = self.dial(PEER).await {
                let _streams = dialled.begin(&hello.frame()).await;
                dialled.connection.closed().await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Says what nobody understands: instead of a hello, and after one.
    async fn babbles(self) {
        let hello = Hello::of(self.to.0, 0, 0).frame();
        let after = |bytes: &[u8]| [&hello[..], bytes].concat();
        let words = [
            frame(b"GET / HTTP/1.1\r\n\r\nHost: localhost\r\n"),
            vec![0xff; 64],
            after(&[0xff, 0xff, 0xff, 0x7f]),
            after(&frame(&[0xee; 100])),
            after(&[0; 4]),
        ];
        for word in words.iter().cycle() {
            if let Ok(dialled) = self.dial(CLIENT).await {
                let _streams = dialled.begin(word).await;
                dialled.connection.closed().await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Says a byte now and then: of a hello, or of a frame after one.
    async fn drips(self, says_hello: bool) {
        let hello = Hello::of(self.to.0, 0, 0).frame();
        let first = if says_hello { &hello[..] } else { &hello[..1] };
        loop {
            if let Ok(dialled) = self.dial(CLIENT).await
                && let Ok((mut send, _recv)) = dialled.begin(first).await
            {
                let length = 200_u32.to_le_bytes();
                let rest = if says_hello { &length } else { &hello[1..] };
                for byte in rest.iter().cycle() {
                    sleep(DRIP).await;
                    if send.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Packets that are no QUIC.
async fn noise(address: SocketAddr) {
    let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)).await else {
        return;
    };
    loop {
        let mut packet = [0; 1200];
        rand::fill(&mut packet);
        let _ = socket.send_to(&packet, address).await;
        sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_stranger_is_counted_under_names_of_its_own() {
        for (text, name) in [
            ("badcert:2/untrusted", "handshake_failed"),
            ("badcert:2/expired", "handshake_failed"),
            ("badcert:2/wrong-id", "identity_mismatch"),
            ("badcert:2/wrong-cluster", "wrong_cluster"),
            ("garbage:2", "bad_hello"),
            ("slowloris:2", "handshake_timeout"),
        ] {
            let spec: consensus_core::fault::FaultSpec = text.parse().expect("a fault");
            assert!(is_of_strangers(&spec.fault));
            assert_eq!(counters(&spec.fault)[0].name(), name);
        }
    }
}
