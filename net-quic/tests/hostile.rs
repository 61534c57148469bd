//! Strangers in number, certificates taken back, and what is said about it all (RELIABILITY X,
//! SCENARIOS NW).
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{
    CLUSTER, Echo, Message, Node, PATIENCE, authority, client, config, introduce, node,
    raw::{self, CLIENT, PEER},
    start, until,
};
use consensus_core::{ClientId, NodeId, Sequence, service::Answer};
use net_quic::{Client, ClusterCa, Counter, Identity, Limits, Role, hostile};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

fn node_identity(ca: &ClusterCa, id: u16) -> Identity {
    ca.issue(Role::Node(NodeId(id))).unwrap()
}

async fn call(client: &Client, number: u64) -> Answer {
    let body = b"hello".to_vec().into();
    let called = client.call(ClientId(7), Sequence(number), body, PATIENCE);
    called.await.expect("an answer")
}

/// Still serves: a peer of good standing is connected and heard.
async fn lives(ca: &ClusterCa, one: &mut Node) {
    let mut two = node(ca, 2, 1);
    introduce(&[one, &two]);
    two.connected_to(1).await;
    two.say(1, Message::Beat { number: 7 });
    assert_eq!(one.hear().await, (NodeId(2), Message::Beat { number: 7 }));
}

/// An authority of the test's own making, which issues what no honest one would.
struct Forger {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Forger {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().into();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A certificate of node `id` for these purposes; signed by itself when `signs` is false.
    fn issue(&self, id: u16, purposes: &[ExtendedKeyUsagePurpose], signs: bool) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = purposes.to_vec();
        let uri = format!("consensus://{CLUSTER}/node/{id}");
        let dns = format!("n{id}.{CLUSTER}.consensus.invalid");
        params.subject_alt_names = vec![
            SanType::URI(uri.try_into().unwrap()),
            SanType::DnsName(dns.try_into().unwrap()),
        ];
        let issued = if signs {
            params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))
        } else {
            params.self_signed(&key)
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![issued.unwrap().into()];
        Identity::new(chain, key, vec![self.certificate.clone()]).unwrap()
    }
}

const BOTH: [ExtendedKeyUsagePurpose; 2] = [
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];

/// X1: a certificate that signs itself, one for servers only, and none at all.
#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused() {
    let forger = Forger::new();
    let one = start(config(forger.issue(1, &BOTH, true), 1, 1));
    let good = forger.issue(2, &BOTH, true);
    let cases = [
        ("signed by itself", forger.issue(2, &BOTH, false), true),
        ("for servers only", forger.issue(2, &BOTH[..1], true), true),
        ("none", forger.issue(2, &BOTH, true), false),
    ];
    for (refused, (what, identity, shows)) in (1..).zip(cases) {
        let dialling = hostile::config(&identity, shows, PEER, None).unwrap();
        let dialled = raw::dial(one.address, 1, dialling).await;
        if let Ok(dialled) = dialled {
            // The dialer is done before the other side has judged.
            dialled.connection.closed().await;
        }
        until(what, || one.count(Counter::HandshakeFailed) == refused).await;
        assert!(one.endpoint.connected().is_empty(), "{what}");
    }
    let dialled = raw::dial(one.address, 1, raw::config(&good, PEER, None));
    let dialled = dialled.await.unwrap();
    dialled.settle(&raw::hello(2, 1)).await.unwrap();
    one.connected_to(2).await;
}

/// X9: a certificate is taken back. What stands on it ends at once, no handshake with it succeeds any
/// more, and nobody else notices; without a restart.
#[tokio::test]
async fn a_revoked_certificate_is_turned_out_and_not_let_in_again() {
    let ca = authority();
    let own = node_identity(&ca, 1);
    let stolen = node_identity(&ca, 2);
    let one = start(config(own.clone(), 1, 1));
    one.endpoint.serve(Echo, String::new);
    let (thief, three) = (start(config(stolen.clone(), 2, 1)), node(&ca, 3, 1));
    introduce(&[&one, &thief, &three]);
    one.connected_to(2).await;
    one.connected_to(3).await;
    let lent = ca.issue(Role::Client).unwrap();
    let addresses = [(NodeId(1), one.address)];
    let customer =
        Client::connect(addresses.into(), &lent, Limits::default(), None).expect("a free port");
    call(&customer, 1).await;

    let list = ca.revoke(&[&stolen.chain()[0], &lent.chain()[0]]).unwrap();
    one.endpoint.reload(&own.revoking(vec![list])).unwrap();
    until("both are turned out", || {
        one.count(Counter::CertificateRevoked) >= 2
    })
    .await;
    until("the thief is gone", || {
        one.endpoint.connected() == [NodeId(3)]
    })
    .await;
    // It dials, or is dialled, again and again.
    let before = one.count(Counter::CertificateRevoked);
    let knocked = raw::dial(one.address, 1, raw::config(&stolen, PEER, None)).await;
    if let Ok(knocked) = knocked {
        knocked.connection.closed().await;
    }
    until("a handshake with it is refused by name", || {
        one.count(Counter::CertificateRevoked) > before
    })
    .await;
    let called = customer
        .call(
            ClientId(7),
            Sequence(2),
            b"again".to_vec().into(),
            Duration::from_millis(500),
        )
        .await;
    assert!(called.is_err(), "a revoked client was answered: {called:?}");
    assert_eq!(one.endpoint.connected(), [NodeId(3)]);
}

/// X9: a list speaks for the certificates of the authority that signed it, and for no other's: both
/// may be trusted while one replaces the other.
#[tokio::test]
async fn a_list_of_the_old_authority_refuses_nobody_of_the_new() {
    let (old, new) = (authority(), authority());
    let both = vec![old.certificate().clone(), new.certificate().clone()];
    let list = old.revoke(&[&node_identity(&old, 3).chain()[0]]).unwrap();
    let with = |identity: Identity| identity.trusting(both.clone()).revoking(vec![list.clone()]);
    let one = start(config(with(node_identity(&old, 1)), 1, 1));
    let two = start(config(with(node_identity(&new, 2)), 2, 1));
    introduce(&[&one, &two]);
    two.connected_to(1).await;
    assert_eq!(one.count(Counter::HandshakeFailed), 0);
}

/// NW-08: authorities are exchanged while a client calls without a pause. Not one call fails; at the
/// end a certificate of the old authority is refused.
#[tokio::test]
async fn nw_08_rotation_under_load_fails_no_request() {
    let (old, new) = (authority(), authority());
    let both = vec![old.certificate().clone(), new.certificate().clone()];
    let mut settings = config(node_identity(&old, 1), 1, 1);
    settings.limits.connection_age = Duration::from_millis(300);
    let one = start(settings);
    one.endpoint.serve(Echo, String::new);
    let connect = |ca: &ClusterCa, trust: Vec<CertificateDer<'static>>| {
        let identity = ca.issue(Role::Client).unwrap().trusting(trust);
        let limits = Limits {
            connection_age: Duration::from_millis(300),
            ..Limits::default()
        };
        Client::connect([(NodeId(1), one.address)].into(), &identity, limits, None).unwrap()
    };
    // Operators give clients both authorities first, then nodes, then anybody a new certificate.
    let mut caller = connect(&old, both.clone());
    let mut number = 0;
    for (authority, trust, next) in [
        (&old, both.clone(), Some(connect(&new, both.clone()))),
        (&new, both.clone(), None),
        (&new, vec![new.certificate().clone()], None),
    ] {
        let identity = node_identity(authority, 1).trusting(trust);
        one.endpoint.reload(&identity).unwrap();
        let settled = one.count(Counter::ClientsConnected);
        while one.count(Counter::ClientsConnected) < settled + 2 {
            number += 1;
            call(&caller, number).await;
        }
        if let Some(next) = next {
            caller = next;
        }
    }
    let refused = one.count(Counter::HandshakeFailed);
    let late = old.issue(Role::Client).unwrap().trusting(both);
    let _ = raw::dial(one.address, 1, raw::config(&late, CLIENT, None)).await;
    until("the old certificate is refused", || {
        one.count(Counter::HandshakeFailed) > refused
    })
    .await;
    println!("{number} calls during two exchanges of authority, none failed");
}

/// X9: what an operator watches, so that no certificate ends unnoticed.
#[tokio::test]
async fn a_node_says_how_long_its_certificate_lasts() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    let day = Duration::from_secs(24 * 3600);
    let left = one.endpoint.certificate_expires();
    assert!(left > 89 * day && left <= 90 * day, "{left:?}");
    let now = std::time::SystemTime::now();
    let short = ca.issue_between(Role::Node(NodeId(1)), now - day, now + day);
    one.endpoint.reload(&short.unwrap()).unwrap();
    assert!(one.endpoint.certificate_expires() <= day);
}

/// Counts the lines that a log would get.
struct Lines(Arc<AtomicU64>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("net_quic") && *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Relaxed);
    }
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

/// NW-02: forty tries are counted one by one and written about once.
#[tokio::test]
async fn nw_02_a_stranger_who_knocks_again_and_again_fills_no_log() {
    let lines = Arc::new(AtomicU64::new(0));
    let _logged = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    let ca = authority();
    let one = node(&ca, 1, 1);
    let identity = node_identity(&ca, 2);
    let lie = hostile::Hello {
        cluster: 1,
        ..raw::hello(2, 1)
    };
    let endpoint = hostile::socket().unwrap();
    for tries in 1..=40 {
        let dialling = raw::config(&identity, PEER, None);
        let to = (CLUSTER, NodeId(1));
        let dialled = hostile::dial(endpoint.clone(), one.address, to, dialling).await;
        let dialled = dialled.unwrap();
        let _streams = dialled.begin(&lie.frame()).await;
        dialled.connection.closed().await;
        until("it is counted", || {
            one.count(Counter::WrongCluster) == tries
        })
        .await;
    }
    assert_eq!(lines.load(Relaxed), 1);
}

/// X5, X8: packets that are no QUIC, and such as look like it.
#[tokio::test]
async fn packets_of_noise_disturb_nobody() {
    let ca = authority();
    let mut one = node(&ca, 1, 1);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut noise = 0x9e37_79b9_u64;
    for length in (0..2000).map(|n| n * 37 % 1400) {
        let packet: Vec<u8> = (0..length)
            .map(|at| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                // A third with the first bytes of a long header, so that they are looked into.
                match (at, length % 3) {
                    (0, 0) => 0xc0 | noise as u8,
                    (1..=3, 0) => 0,
                    (4, 0) => 1,
                    _ => noise as u8,
                }
            })
            .collect();
        socket.send_to(&packet, one.address).unwrap();
        tokio::task::yield_now().await;
    }
    assert!(one.endpoint.connected().is_empty());
    lives(&ca, &mut one).await;
}

/// X6, NW-05: more newcomers at once than may be at the door. Those above it are turned away or prove
/// their address first; none of it is remembered, and a peer gets in.
#[tokio::test]
async fn a_flood_of_handshakes_is_bounded_and_lets_a_peer_in() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.handshakes_unvalidated = 4;
    settings.limits.handshakes = 8;
    settings.limits.handshake_deadline = Duration::from_millis(300);
    let mut one = start(settings);
    let stranger = authority().issue(Role::Node(NodeId(2))).unwrap();
    let stranger = stranger.trusting(vec![ca.certificate().clone()]);
    let silent = node_identity(&ca, 3);
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..200 {
        let identity = if number % 2 == 0 { &stranger } else { &silent };
        let dialling = raw::config(identity, PEER, None);
        let address = one.address;
        flood.spawn(async move {
            let knock = async {
                if let Ok(dialled) = raw::dial(address, 1, dialling).await {
                    // Says nothing until it is turned out.
                    dialled.connection.closed().await;
                }
            };
            // Some are never answered: those of whom nothing is remembered.
            let _ = tokio::time::timeout(Duration::from_secs(2), knock).await;
        });
    }
    flood.join_all().await;
    let turned = one.count(Counter::Retried) + one.count(Counter::TurnedAway);
    // Beyond these the library drops packets before anybody is asked.
    assert!(turned >= 8, "{turned} of 200 were held off");
    lives(&ca, &mut one).await;
}

/// X6, X8: one address takes as many places at the door as it is given, and does not go. While it
/// stands there, a client from another address is let in and served.
#[tokio::test]
async fn x8_one_address_cannot_keep_others_from_the_door() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.handshakes_unvalidated = 4;
    settings.limits.handshakes = 8;
    settings.limits.handshakes_from_one = 4;
    // Nobody is turned out for being slow.
    settings.limits.handshake_deadline = 10 * PATIENCE;
    let one = start(settings);
    one.endpoint.serve(Echo, String::new);
    let silent = ca.issue(Role::Client).unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let dialling = raw::config(&silent, CLIENT, None);
        let address = one.address;
        flood.spawn(async move {
            let socket = hostile::socket_at(2).unwrap();
            loop {
                let to = (CLUSTER, NodeId(1));
                let dialled = hostile::dial(socket.clone(), address, to, dialling.clone()).await;
                if let Ok(dialled) = dialled {
                    dialled.connection.closed().await;
                }
            }
        });
    }
    until("most are turned away", || {
        one.count(Counter::TurnedAway) >= 40
    })
    .await;
    let honest = client(&ca, Role::Client, &[&one]);
    for number in 0..20 {
        call(&honest, number).await;
    }
    assert_eq!(one.count(Counter::HandshakeTimeout), 0);
    assert_eq!(one.count(Counter::ClientsConnected), 1);
}

/// X6: connections that never say anything again. Up to the limit they are kept, above it they are
/// turned away, and a client that was there is served as before.
#[tokio::test]
async fn idle_connections_are_bounded_and_disturb_no_client() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.clients = 100;
    settings.limits.handshakes_unvalidated = 1000;
    settings.limits.handshakes = 1000;
    let one = start(settings);
    one.endpoint.serve(Echo, String::new);
    let honest = client(&ca, Role::Client, &[&one]);
    call(&honest, 1).await;
    let idle = ca.issue(Role::Client).unwrap();
    let mut kept = Vec::new();
    let endpoint = hostile::socket().unwrap();
    for _ in 0..150 {
        let dialling = raw::config(&idle, CLIENT, None);
        let to = (CLUSTER, NodeId(1));
        let dialled = hostile::dial(endpoint.clone(), one.address, to, dialling).await;
        let dialled = dialled.unwrap();
        let _streams = dialled.begin(&raw::hello(0, 0).frame()).await.unwrap();
        kept.push((dialled, _streams));
    }
    until("those above the limit are turned away", || {
        one.count(Counter::TurnedAway) == 51
    })
    .await;
    assert_eq!(one.count(Counter::ClientsConnected), 100);
    for number in 2..100 {
        call(&honest, number).await;
    }
}

/// X6: a client that opens one connection after another takes its own places, and nobody else's.
#[tokio::test]
async fn x6_one_certificate_cannot_take_all_the_places_of_clients() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.clients = 8;
    settings.limits.clients_of_one = 4;
    let one = start(settings);
    one.endpoint.serve(Echo, String::new);
    let greedy = ca.issue(Role::Client).unwrap();
    let mut kept = Vec::new();
    for _ in 0..20 {
        let dialled = raw::dial(one.address, 1, raw::config(&greedy, CLIENT, None));
        let dialled = dialled.await.unwrap();
        let streams = dialled.begin(&raw::hello(0, 0).frame()).await.unwrap();
        kept.push((dialled, streams));
    }
    until("all others are turned away", || {
        one.count(Counter::TurnedAway) == 16
    })
    .await;
    let honest = client(&ca, Role::Client, &[&one]);
    call(&honest, 1).await;
    // And a place that is left is free again.
    kept.clear();
    until("one of its own is taken again", || {
        one.count(Counter::ClientsConnected) == 5
    })
    .await;
    let dialled = raw::dial(one.address, 1, raw::config(&greedy, CLIENT, None));
    let dialled = dialled.await.unwrap();
    dialled.settle(&raw::hello(0, 0)).await.unwrap();
    until("it is let in", || one.count(Counter::ClientsConnected) == 6).await;
}

/// NW-05: streams that are opened and never finished: three a connection, and one that does not even
/// say its class ends the connection.
#[tokio::test]
async fn streams_that_are_never_finished_are_bounded() {
    let ca = authority();
    let mut settings = config(node_identity(&ca, 1), 1, 1);
    settings.limits.frame_deadline = Duration::from_millis(200);
    let mut one = start(settings);
    let identity = node_identity(&ca, 3);
    let dialled = raw::dial(one.address, 1, raw::config(&identity, PEER, None));
    let dialled = dialled.await.unwrap();
    let _hello = dialled.settle(&raw::hello(3, 1)).await.unwrap();
    one.connected_to(3).await;
    let mut streams = Vec::new();
    for class in [1, 2] {
        let mut stream = dialled.connection.open_uni().await.unwrap();
        stream.write_all(&[class]).await.unwrap();
        streams.push(stream);
    }
    // The third is known to the node by its place alone once a fourth is wanted.
    let mut mute = dialled.connection.open_uni().await.unwrap();
    let fourth = tokio::time::timeout(Duration::from_millis(100), dialled.connection.open_uni());
    assert!(fourth.await.is_err(), "a fourth stream was let through");
    mute.write_all(&[]).await.unwrap();
    mute.reset(0u32.into()).unwrap();
    dialled.connection.closed().await;
    until("the peer is gone", || one.endpoint.connected().is_empty()).await;
    lives(&ca, &mut one).await;
}

/// RUSTSEC-2026-0037 and -0185: nobody builds this with an older QUIC state machine.
#[test]
fn the_quic_library_is_not_older_than_its_advisories() {
    let lock = include_str!("../../Cargo.lock");
    let mut lines = lock.lines();
    let mut found = 0;
    while let Some(line) = lines.next() {
        if line != "name = \"quinn-proto\"" {
            continue;
        }
        let version = lines.next().unwrap();
        let version = version
            .trim_start_matches("version = \"")
            .trim_end_matches('"');
        let parts: Vec<u64> = version.split('.').map(|n| n.parse().unwrap()).collect();
        assert!(parts >= vec![0, 11, 15], "quinn-proto {version}");
        found += 1;
    }
    assert_eq!(found, 1, "one version of quinn-proto");
}
