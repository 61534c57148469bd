//! Certificates of running nodes: real processes, real files, SIGHUP.

use bytes::Bytes;
use consensus_core::{ClientId, ClusterId, NodeId, Sequence, kv};
use net_quic::{Client, ClusterCa, Identity, Limits, Role};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const CLUSTER: ClusterId = ClusterId(0x5ec);
/// For a broken node to fail in, not a bound on a good one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes of Raft, each a process, in a folder that goes away.
struct Nodes {
    folder: PathBuf,
    children: Vec<Child>,
    addresses: BTreeMap<NodeId, SocketAddr>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.env_remove("RUST_LOG").stderr(Stdio::null());
    command
}

impl Nodes {
    /// Starts them with certificates of `authority`; they trust `trusted`.
    fn start(authority: &ClusterCa, trusted: &[&ClusterCa]) -> Self {
        let name = format!("reload-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("the folder is ours");
        // Free a moment ago: they are taken by nobody else meanwhile, or the node says so.
        let sockets: Vec<_> = (1..=3)
            .map(|id| {
                let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
                (NodeId(id), socket)
            })
            .collect();
        let address =
            |(id, socket): &(NodeId, UdpSocket)| (*id, socket.local_addr().expect("bound"));
        let addresses: BTreeMap<_, _> = sockets.iter().map(address).collect();
        drop(sockets);
        let mut nodes = Self {
            folder,
            children: Vec::new(),
            addresses,
        };
        nodes.trust(trusted);
        for id in nodes.addresses.keys() {
            nodes.certify(*id, authority);
            let config = nodes.configure(*id);
            let format = ["node", "--format", "--config"];
            let formatted = xtask().args(format).arg(&config).status();
            assert!(formatted.expect("it can be run").success());
            let started = xtask().args(["node", "--config"]).arg(&config).spawn();
            nodes.children.push(started.expect("it can be run"));
        }
        nodes
    }

    fn configure(&self, id: NodeId) -> PathBuf {
        let mut text = format!(
            "algorithm = \"raft\"\nnode = {id}\nlisten = \"{}\"\ndata = \"data-{id}\"\n\
             [identity]\ncertificate = \"{id}.pem\"\nkey = \"{id}.key\"\nauthority = \"trust.pem\"\n",
            self.addresses[&id]
        );
        for (peer, address) in &self.addresses {
            let _ = write!(text, "[[peer]]\nnode = {peer}\naddress = \"{address}\"\n");
        }
        let file = self.folder.join(format!("{id}.toml"));
        fs::write(&file, text).expect("the folder is ours");
        file
    }

    fn certify(&self, id: NodeId, authority: &ClusterCa) {
        let issued = authority.issue(Role::Node(id)).expect("issued");
        let [certificate, key] =
            ["pem", "key"].map(|kind| self.folder.join(format!("{id}.{kind}")));
        issued.save(&certificate, &key).expect("the folder is ours");
    }

    fn trust(&self, authorities: &[&ClusterCa]) {
        let mut bundle = String::new();
        for (number, authority) in authorities.iter().enumerate() {
            let folder = self.folder.join(format!("authority-{number}"));
            fs::create_dir_all(&folder).expect("the folder is ours");
            authority.save(&folder).expect("the folder is ours");
            bundle += &fs::read_to_string(folder.join("ca.pem")).expect("it was written");
            fs::remove_dir_all(&folder).expect("the folder is ours");
        }
        fs::write(self.folder.join("trust.pem"), bundle).expect("the folder is ours");
    }

    fn hang_up(&self) {
        for child in &self.children {
            kill_process(Pid::from_child(child), Signal::HUP).expect("it runs");
        }
    }

    fn client(&self, identity: &Identity) -> Client {
        let limits = Limits::default();
        Client::connect(self.addresses.clone(), identity, limits, None).expect("a free port")
    }

    /// Whether a new connection with `identity` is let in by every node, or by none; waits until it is
    /// so.
    async fn until_all(&self, let_in: bool, identity: &Identity) {
        let until = Instant::now() + PATIENCE;
        for node in self.addresses.keys() {
            loop {
                let client = self.client(identity);
                let body = kv::encode(&kv::Operation::WhoLeads {});
                let patience = Duration::from_secs(2);
                let called = client.call_at(*node, ClientId(1), Sequence(1), body, patience);
                if called.await.is_ok() == let_in {
                    break;
                }
                assert!(Instant::now() < until, "node {node}: never {let_in}");
            }
        }
    }
}

/// Writes one value after another until it is stopped; how many.
fn load(client: Client, stop: &Arc<AtomicBool>, written: &Arc<AtomicU64>) -> JoinHandle<u64> {
    let (stop, written) = (Arc::clone(stop), Arc::clone(written));
    tokio::spawn(async move {
        let mut session = client.session(PATIENCE).await.expect("the group is ready");
        let mut count = 0;
        while !stop.load(SeqCst) {
            let value: Bytes = vec![7; 64].into();
            let put = kv::put(b"key", &value);
            session.call(put).await.expect("no request fails");
            count += 1;
            written.fetch_add(1, SeqCst);
        }
        count
    })
}

/// Waits for so many more writes.
async fn until_written(written: &AtomicU64, more: u64) {
    let mark = written.load(SeqCst) + more;
    let until = Instant::now() + PATIENCE;
    while written.load(SeqCst) < mark {
        assert!(Instant::now() < until, "nothing is written");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// NW-08, X9: the authority of a running cluster is exchanged by files and SIGHUP, while clients write.
/// No request fails, no node is started again, and at the end the old authority is worth nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nw_08_sighup_exchanges_the_authority_of_real_nodes_under_load() {
    let authority = || ClusterCa::generate(CLUSTER).expect("randomness");
    let (old, new) = (authority(), authority());
    let both = vec![old.certificate().clone(), new.certificate().clone()];
    let mut nodes = Nodes::start(&old, &[&old, &new]);
    let customer = |authority: &ClusterCa| authority.issue(Role::Client).expect("issued");
    let [stop_old, stop_new] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let written = Arc::new(AtomicU64::new(0));
    let before = customer(&old).trusting(both.clone());
    let old_load = load(nodes.client(&before), &stop_old, &written);
    nodes.until_all(true, &before).await;
    until_written(&written, 20).await;

    // Every node gets a certificate of the new authority.
    for id in nodes.addresses.keys() {
        nodes.certify(*id, &new);
    }
    nodes.hang_up();
    // Such a client believes nobody who shows a certificate of the old one.
    let after = customer(&new);
    nodes.until_all(true, &after).await;
    let new_load = load(nodes.client(&after), &stop_new, &written);

    // Clients follow, then the old authority goes.
    stop_old.store(true, SeqCst);
    let by_old = old_load.await.expect("no request of the old client failed");
    nodes.trust(&[&new]);
    nodes.hang_up();
    nodes.until_all(false, &before).await;
    nodes.until_all(true, &after).await;
    until_written(&written, 100).await;
    stop_new.store(true, SeqCst);
    let by_new = new_load.await.expect("no request of the new client failed");
    println!("{by_old} writes before and {by_new} after the exchange, none failed");
    assert!(by_old > 0);
    for child in &mut nodes.children {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it has stopped"
        );
        kill_process(Pid::from_child(child), Signal::TERM).expect("it runs");
        assert!(child.wait().expect("a child").success());
    }
}
