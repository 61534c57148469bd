//! Three members of etcd on loopback, each with a log on the same disk as our nodes' have. They speak plain
//! HTTP; ours speak QUIC with TLS.

use anyhow::{Context as _, anyhow, bail};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MEMBERS: usize = 3;
/// Three members on an idle machine take a second to elect a leader.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
/// One answer of a member that is up.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A running etcd. Dropping it ends its processes and removes its folder.
pub(super) struct Etcd {
    members: Vec<Child>,
    clients: Vec<SocketAddr>,
    folder: PathBuf,
}

impl Etcd {
    /// Starts it, with its data under `parent`, and waits until it has a leader.
    ///
    /// # Errors
    /// When it does not come up, with the place of its own words.
    pub(super) fn start(parent: &Path) -> anyhow::Result<Self> {
        let folder = parent.join(format!("etcd-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let mut etcd = Self {
            members: Vec::new(),
            clients: clients.to_vec(),
            folder,
        };
        let cluster: Vec<_> = peers
            .iter()
            .enumerate()
            .map(|(number, address)| format!("m{number}=http://{address}"))
            .collect();
        for (number, peer) in peers.iter().enumerate() {
            let member = etcd.member(number, *peer, &cluster.join(","))?;
            etcd.members.push(member);
        }
        etcd.await_leader()?;
        Ok(etcd)
    }

    fn member(&self, number: usize, peer: SocketAddr, cluster: &str) -> anyhow::Result<Child> {
        let log = File::create(self.folder.join(format!("m{number}.log")))?;
        let (client, peer) = (self.url(number), format!("http://{peer}"));
        Command::new("etcd")
            .args(["--name", &format!("m{number}"), "--log-level", "error"])
            .arg("--data-dir")
            .arg(self.folder.join(format!("m{number}")))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                cluster,
                "--initial-cluster-state",
                "new",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting etcd")
    }

    fn url(&self, member: usize) -> String {
        format!("http://{}", self.clients[member])
    }

    fn await_leader(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + HEALTHY_WITHIN;
        while self.leader().is_none() {
            for (number, member) in self.members.iter_mut().enumerate() {
                if let Some(status) = member.try_wait()? {
                    let log = self.folder.join(format!("m{number}.log"));
                    let words = fs::read_to_string(log).unwrap_or_default();
                    let last = words.lines().last().unwrap_or_default();
                    bail!("member {number} of etcd ended with {status}: {last}");
                }
            }
            if Instant::now() >= until {
                bail!("etcd had no leader within {} s", HEALTHY_WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Where its leader takes puts: with another one a client would pay for a detour.
    pub(super) fn leader(&self) -> Option<String> {
        let leads = |member: &usize| {
            let metrics = get(self.clients[*member], "/metrics").unwrap_or_default();
            metrics
                .lines()
                .any(|line| line == "etcd_server_is_leader 1")
        };
        (0..MEMBERS).find(leads).map(|member| self.url(member))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended by itself.
            let _ = member.kill();
            let _ = member.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Which etcd is installed, such as `etcd 3.4.23`.
pub(super) fn version() -> anyhow::Result<String> {
    let output = Command::new("etcd").arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version: "));
    version
        .map(|version| format!("etcd {version}"))
        .ok_or_else(|| anyhow!("`etcd --version` names no version"))
}

/// Ports that nobody listens on. Somebody may take one before it is used; then etcd says so and ends.
fn free_ports(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let taken: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    let addresses = taken?
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>();
    Ok(addresses?)
}

/// One page, headers and all.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
