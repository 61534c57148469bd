//! The node processes of one cluster: started on free ports, told of each other, watched, and ended.

use super::{
    child::Child,
    costs::{Costs, Counters},
    folder::Folder,
    hosts::Hosts,
    link::Links,
    plan::Plan,
};
use crate::{
    certs::{self, Files},
    node::{
        Look,
        config::{Config, Joins, Link, Supervisor},
    },
    proc::Usage,
    supervised::Place,
};
use anyhow::{Context as _, anyhow};
use consensus_core::{ClusterId, Index, NodeId, contract::replicated_log::Member};
use net_quic::{Client, ClusterCa, Identity, Limits, Role};
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// A node that is not ready after this will never be.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// A node that has not drained after this never will.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Certificates outlive the longest run by little.
const VALIDITY: Duration = Duration::from_secs(3600);

/// A running cluster. Dropping it kills every process and removes its folder.
pub(crate) struct Nodes {
    // Dropped before the folder that they write to.
    children: BTreeMap<NodeId, Child>,
    addresses: BTreeMap<NodeId, SocketAddr>,
    /// Once all of them listen.
    operator: Option<Arc<Client>>,
    /// What processes used that are gone.
    retired: Usage,
    /// What they counted.
    retired_counters: BTreeMap<u16, Counters>,
    /// Who has ended by itself, and its last words.
    fallen: BTreeMap<NodeId, String>,
    folder: Folder,
    program: PathBuf,
    /// Machines on which they run, and what this cluster is called there.
    hosts: Hosts,
    name: String,
}

impl Nodes {
    /// Starts the nodes of a plan, and waits until every one of them listens and knows its peers.
    ///
    /// # Errors
    /// When one does not come up, with its own words.
    pub(crate) async fn start(
        plan: &Plan,
        links: &Links,
        parent: &Path,
        hosts: &Hosts,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(parent, &plan.name)?;
        let name = format!("{}-{:x}", plan.name, rand::random::<u32>());
        let validity = VALIDITY + 2 * plan.window.end();
        let cluster = ClusterId(rand::random());
        let ever = plan.processes().max(plan.faults.last_added());
        certs::write(folder.path(), cluster, ever, validity)?;
        let program = std::env::current_exe().context("finding this program")?;
        let emulated = !links.are_bare() || plan.faults.need_links();
        let mut nodes = Self {
            children: BTreeMap::new(),
            addresses: BTreeMap::new(),
            operator: None,
            retired: Usage::default(),
            retired_counters: BTreeMap::new(),
            fallen: BTreeMap::new(),
            folder,
            program,
            hosts: hosts.clone(),
            name,
        };
        for node in (1..=plan.processes()).map(NodeId) {
            let links = emulated.then(|| links.of(node));
            let config = config(plan, nodes.folder.path(), node, links);
            let child = nodes.begin(config, Some(cluster)).await?;
            nodes.children.insert(node, child);
        }
        nodes.introduce().await?;
        Ok(nodes)
    }

    /// Waits until all listen, and tells each where the others do.
    async fn introduce(&mut self) -> anyhow::Result<()> {
        let children = &mut self.children;
        let mut places = Vec::new();
        for child in children.values_mut() {
            places.push(child.ready(READY_WITHIN).await?);
        }
        for child in children.values_mut() {
            child.introduce(&places).await?;
        }
        let addresses: BTreeMap<_, _> = places
            .iter()
            .map(|place| (NodeId(place.node), place.address))
            .collect();
        let operator = client(Role::Operator, self.folder.path(), addresses.clone())?;
        (self.operator, self.addresses) = (Some(Arc::new(operator)), addresses);
        Ok(())
    }

    /// Starts a process for a node, here or where it belongs. With `format` its disk is made first.
    async fn begin(&self, mut config: Config, format: Option<ClusterId>) -> anyhow::Result<Child> {
        let (folder, node) = (self.folder.path(), NodeId(config.node));
        let log = folder.join(format!("node-{node}.log"));
        let Some(host) = self.hosts.of(node) else {
            if let Some(cluster) = format {
                crate::node::format(&config, cluster)?;
            }
            let file = write(&config, folder)?;
            return Child::start(node.0, &self.program, &file, &log);
        };
        let files = config.travels(host.address());
        write(&config, folder)?;
        host.send(&self.name, folder, &files).await?;
        if format.is_some() {
            host.format(&self.name, node).await?;
        }
        Child::start_at(node.0, host, &self.name, &log).await
    }

    /// A connection of its own for a client.
    ///
    /// # Errors
    /// When no socket can be had.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        client(Role::Client, self.folder.path(), self.addresses.clone())
    }

    /// Where everybody listens, those included that are gone.
    pub(crate) const fn addresses(&self) -> &BTreeMap<NodeId, SocketAddr> {
        &self.addresses
    }

    /// Where a node listens.
    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.get(&node).copied()
    }

    /// The authority of this cluster, for whoever wants to be somebody else.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(crate) fn authority(&self) -> anyhow::Result<ClusterCa> {
        Ok(ClusterCa::load(self.folder.path())?)
    }

    /// Looks inside, and commands emulated links.
    ///
    /// # Panics
    /// Before the cluster has started, when nobody has it yet.
    pub(crate) fn operator(&self) -> &Arc<Client> {
        self.operator.as_ref().expect("set when it has started")
    }

    /// Those that run.
    pub(crate) fn alive(&self) -> Vec<NodeId> {
        self.children.keys().copied().collect()
    }

    /// What all processes have used since they were started, those that are gone included.
    pub(crate) async fn usage(&self) -> Usage {
        let mut sum = self.retired;
        for child in self.children.values() {
            if let Ok(usage) = child.usage().await {
                sum.cpu += usage.cpu;
                sum.rss_bytes_max = sum.rss_bytes_max.max(usage.rss_bytes_max);
            }
        }
        sum
    }

    /// The first node that has ended by itself, in a sentence.
    pub(crate) fn casualty(&mut self) -> Option<anyhow::Error> {
        self.children.values_mut().find_map(|child| {
            let how = child.ended()?;
            Some(child.complaint(&how))
        })
    }

    /// Ends a process at once.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) async fn kill(&mut self, node: NodeId) -> anyhow::Result<()> {
        self.retire(node).await?.kill().await;
        Ok(())
    }

    /// Asks a process to drain and end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end well.
    pub(crate) async fn halt(&mut self, node: NodeId) -> anyhow::Result<()> {
        self.retire(node).await?.stop(STOP_WITHIN).await
    }

    /// Waits until a process has ended that is about to, and says how it did. One that has nothing
    /// to write does not come to the point: it is killed.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) async fn await_end(&mut self, node: NodeId) -> anyhow::Result<&'static str> {
        let mut child = self.retire(node).await?;
        let until = tokio::time::Instant::now() + END_WITHIN;
        while child.ended().is_none() {
            if tokio::time::Instant::now() >= until {
                child.kill().await;
                return Ok("had nothing to write, and was killed");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok("was ended in the middle of a write")
    }

    /// Does something to the disk of a node that was started for it.
    ///
    /// # Errors
    /// When it does not run, or refuses.
    pub(crate) async fn disk(&mut self, node: NodeId, command: &str) -> anyhow::Result<()> {
        let child = self.children.get_mut(&node);
        let child = child.ok_or_else(|| anyhow!("node {node} does not run"))?;
        child.disk(command, LOOK_WITHIN).await
    }

    /// Takes note of those that have ended by themselves: they do not run any more.
    pub(crate) fn reap(&mut self) {
        let fallen = &mut self.fallen;
        self.children.retain(|node, child| match child.ended() {
            None => true,
            Some(how) => {
                fallen.insert(*node, child.complaint(&how).to_string());
                false
            }
        });
    }

    /// The last words of a node that has ended by itself.
    pub(crate) fn fell(&self, node: NodeId) -> Option<&str> {
        self.fallen.get(&node).map(String::as_str)
    }

    /// Takes a process out, with all that it has used and counted.
    async fn retire(&mut self, node: NodeId) -> anyhow::Result<Child> {
        // One last look, unless the node is past answering: a kill does not wait.
        if let Ok(Some(look)) = timeout(LAST_LOOK_WITHIN, self.inspect(node)).await {
            add(&mut self.retired_counters, node, look.counters());
        }
        let child = self
            .children
            .remove(&node)
            .ok_or_else(|| anyhow!("node {node} does not run"))?;
        if let Ok(usage) = child.usage().await {
            self.retired.cpu += usage.cpu;
            self.retired.rss_bytes_max = self.retired.rss_bytes_max.max(usage.rss_bytes_max);
        }
        Ok(child)
    }

    /// Starts a node again where it was.
    ///
    /// # Errors
    /// When it runs, or does not come up.
    pub(crate) async fn restart(&mut self, node: NodeId) -> anyhow::Result<()> {
        if self.children.contains_key(&node) {
            return Err(anyhow!("node {node} runs already"));
        }
        let mut config = self.config(node)?;
        config.listen = self.addresses[&node];
        self.launch(&config).await
    }

    fn config(&self, node: NodeId) -> anyhow::Result<Config> {
        let file = self.folder.path().join(format!("node-{node}.toml"));
        Ok(toml::from_str(&fs::read_to_string(&file)?)?)
    }

    /// Starts a node that is to join, and says how the group can find it.
    ///
    /// # Errors
    /// When it runs, or does not come up.
    pub(crate) async fn join(&mut self, node: NodeId) -> anyhow::Result<Member> {
        let mut config = self.config(NodeId(1))?;
        config.node = node.0;
        config.joins = Joins::New;
        config.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.data = data(self.folder.path(), node);
        config.identity = Files::of(Role::Node(node), self.folder.path()).into();
        if let Some(link) = &mut config.link {
            link.seed = link.seed.wrapping_add(node.0.into());
            link.commands.clear();
        }
        let cluster = config.identity.load()?.name().cluster;
        let disk = crate::node::format(&config, cluster)?;
        self.launch(&config).await?;
        Ok(net_quic::member(node, disk, self.addresses[&node]))
    }

    /// Gives a node that is down another disk, and says how the group can find it then.
    ///
    /// # Errors
    /// When its folder cannot be put aside.
    pub(crate) fn renew(&self, node: NodeId) -> anyhow::Result<Member> {
        let config = self.config(node)?;
        let disk = crate::node::renew(&config)?;
        Ok(net_quic::member(node, disk, self.addresses[&node]))
    }

    /// Starts a node that the group has taken in again by the entry `index`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn rejoin(&mut self, node: NodeId, index: Index) -> anyhow::Result<()> {
        let mut config = self.config(node)?;
        config.joins = Joins::Again(index.0);
        config.listen = self.addresses[&node];
        self.launch(&config).await
    }

    /// Starts a node when others run already.
    async fn launch(&mut self, config: &Config) -> anyhow::Result<()> {
        let node = NodeId(config.node);
        let mut child = self.begin(config.clone(), None).await?;
        let place = child.ready(READY_WITHIN).await?;
        self.addresses.insert(node, place.address);
        self.operator().set_address(node, place.address);
        let places: Vec<_> = self
            .addresses
            .iter()
            .map(|(node, address)| Place {
                node: node.0,
                address: *address,
            })
            .collect();
        child.introduce(&places).await?;
        self.children.insert(node, child);
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the node does not run.
    pub(crate) fn signal(&self, node: NodeId, signal: Signal) -> anyhow::Result<()> {
        self.children
            .get(&node)
            .ok_or_else(|| anyhow!("node {node} does not run"))?
            .signal(signal)
    }

    /// The number of a node's process.
    pub(crate) fn pid(&self, node: NodeId) -> Option<u32> {
        self.children.get(&node).and_then(Child::pid)
    }

    /// Asks all nodes to drain and end.
    ///
    /// # Errors
    /// The first that did not end well, with its own words.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let children = std::mem::take(&mut self.children);
        let mut stopping = tokio::task::JoinSet::new();
        for (_, mut child) in children {
            stopping.spawn(async move { child.stop(STOP_WITHIN).await });
        }
        let ended = stopping.join_all().await;
        ended.into_iter().collect()
    }
}

/// Connects as somebody of this cluster.
fn client(
    role: Role,
    folder: &Path,
    addresses: BTreeMap<NodeId, SocketAddr>,
) -> anyhow::Result<Client> {
    let files = Files::of(role, folder);
    let identity = Identity::load(&files.certificate, &files.key, &files.authority)?;
    Ok(Client::connect(
        addresses,
        &identity,
        Limits::default(),
        None,
    )?)
}

fn config(plan: &Plan, folder: &Path, node: NodeId, links: Option<&[String]>) -> Config {
    Config {
        algorithm: plan.name.clone(),
        coordinator: plan.coordinator,
        node: node.0,
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        data: data(folder, node),
        durability: plan.durability,
        snapshot_bytes: plan.snapshot_bytes,
        workers: plan.workers,
        joins: Joins::Founds,
        identity: Files::of(Role::Node(node), folder).into(),
        link: links.map(|commands| Link {
            seed: plan.workload.seed.wrapping_add(node.0.into()),
            commands: commands.to_vec(),
        }),
        supervisor: Some(Supervisor {
            process: std::process::id(),
            nodes: plan.processes(),
            breaks_disk: plan.faults.break_disks(),
        }),
        peers: Vec::new(),
    }
}

fn write(config: &Config, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join(format!("node-{}.toml", config.node));
    fs::write(&file, toml::to_string(config)?)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Before a kill the counters are read, if that takes no longer than this.
const LAST_LOOK_WITHIN: Duration = Duration::from_millis(50);
/// A node whose disk ends it at its next write has written something by then, if it has anything
/// to write.
const END_WITHIN: Duration = Duration::from_secs(1);
/// A node that does not answer an operator within this is as good as gone.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

impl Nodes {
    /// A look inside a node; none when it does not answer.
    pub(crate) async fn inspect(&self, node: NodeId) -> Option<Look> {
        let text = self.operator().inspect(node, LOOK_WITHIN).await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// What nodes and kernel have counted so far.
    pub(crate) async fn costs(&self) -> Costs {
        let mut costs = Costs {
            nodes: self.retired_counters.clone(),
            usage: self.usage().await,
        };
        for node in self.alive() {
            if let Some(look) = self.inspect(node).await {
                add(&mut costs.nodes, node, look.counters());
            }
        }
        costs
    }

    /// The data folder of a node.
    pub(crate) fn data(&self, node: NodeId) -> PathBuf {
        data(self.folder.path(), node)
    }

    /// What the nodes have written to standard error last, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let words = self.children.values().filter_map(Child::last_words);
        let words: Vec<_> = words.collect();
        if words.is_empty() {
            "the nodes said nothing".to_owned()
        } else {
            words.join("; ")
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.hosts.forget(&self.name);
    }
}

impl Config {
    /// Makes it good for another machine, where this node listens at `address`: a folder of its own with
    /// everything in it. Returns what has to be there, the file of the configuration included.
    fn travels(&mut self, address: IpAddr) -> Vec<String> {
        let name = |path: &mut PathBuf| {
            let name = path.file_name().unwrap_or_default().to_owned();
            *path = PathBuf::from(&name);
            name.to_string_lossy().into_owned()
        };
        name(&mut self.data);
        let identity = &mut self.identity;
        let mut files = vec![format!("node-{}.toml", self.node)];
        files.extend(
            [
                &mut identity.certificate,
                &mut identity.key,
                &mut identity.authority,
            ]
            .map(name),
        );
        self.listen.set_ip(address);
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.process = 0;
        }
        files
    }
}

fn data(folder: &Path, node: NodeId) -> PathBuf {
    folder.join(format!("data-{node}"))
}

/// Adds a node's counters to those of its earlier runs.
fn add(sums: &mut BTreeMap<u16, Counters>, node: NodeId, counters: Counters) {
    let sum = sums.entry(node.0).or_default();
    for (name, count) in counters {
        *sum.entry(name).or_default() += count;
    }
}
