//! Does to real processes what a schedule says.

use super::{
    cuts::{self, Cuts, Way},
    disk::{self, is_of_disks},
    hostile::{Siege, is_of_strangers},
    members::is_of_members,
    roles::{Roles, Victims},
    schedule::{Edge, Moment, Schedule},
};
use crate::{
    algorithms::Catalogue,
    cluster::{link::Links, nodes::Nodes, plan::Plan, recovery::Recoveries},
};
use anyhow::Context as _;
use bench::report::json::FaultReport;
use consensus_core::{
    NodeId,
    fault::{Fault, FaultSpec, Rate, Target},
};
use rustix::process::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// An operator's command on loopback takes far less.
const PATIENCE: Duration = Duration::from_secs(2);
/// A slow process runs one slice of so much, then stands still for the others.
const SLICE: Duration = Duration::from_millis(5);

/// The faults of one run.
pub(crate) struct Striker {
    pub(super) schedule: Schedule,
    pub(super) algorithm: String,
    pub(super) catalogue: Catalogue,
    pub(super) nodes: u16,
    links: Links,
    pub(super) victims: Victims,
    cuts: Cuts,
    /// Who was struck by a fault that lasts, to be healed.
    struck: BTreeMap<usize, Vec<NodeId>>,
    /// Who cannot open its log any more.
    pub(super) damaged: BTreeSet<NodeId>,
    /// Who has been started again.
    back: BTreeSet<NodeId>,
    slowing: BTreeMap<usize, Vec<Slowing>>,
    sieges: BTreeMap<usize, Vec<Siege>>,
    reports: BTreeMap<usize, FaultReport>,
}

impl Striker {
    /// Nothing has been done yet.
    pub(crate) fn new(plan: &Plan, links: Links, catalogue: Catalogue) -> Self {
        Self {
            schedule: plan.faults.clone(),
            algorithm: plan.name.clone(),
            catalogue,
            nodes: plan.processes(),
            links,
            victims: Victims::default(),
            cuts: Cuts::default(),
            struck: BTreeMap::new(),
            damaged: BTreeSet::new(),
            back: BTreeSet::new(),
            slowing: BTreeMap::new(),
            sieges: BTreeMap::new(),
            reports: BTreeMap::new(),
        }
    }

    /// As they were given.
    pub(crate) fn faults(&self) -> &[FaultSpec] {
        &self.schedule.faults
    }

    /// Everything to be done, in the order of time.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.schedule.moments.clone()
    }

    /// Does what a moment asks for. `at` is now, since the start of measuring; `favourite` is the
    /// node that clients turn to, which stands for the leader where nobody leads.
    ///
    /// # Errors
    /// When it cannot be done, which makes the run useless.
    pub(crate) async fn act(
        &mut self,
        moment: Moment,
        at: Duration,
        nodes: &mut Nodes,
        favourite: Option<NodeId>,
    ) -> anyhow::Result<()> {
        let spec = self.schedule.faults[moment.fault].clone();
        let done = async {
            match moment.edge {
                Edge::Strike => {
                    let victims = self.resolve(&spec.fault, nodes, favourite).await?;
                    self.strike(moment.fault, &spec, at, victims, nodes).await
                }
                Edge::Heal => self.heal(moment.fault, &spec, nodes).await,
            }
        };
        done.await.with_context(|| format!("--fault '{spec}'"))
    }

    /// What was done, in the order in which it was given. `lasted` knows how long service was away,
    /// `recoveries` how it came back.
    pub(crate) fn reports(
        &self,
        lasted: impl Fn(usize) -> Option<Duration>,
        recoveries: &Recoveries,
    ) -> Vec<FaultReport> {
        let told = |(fault, report): (&usize, &FaultReport)| {
            let outage = lasted(*fault);
            FaultReport {
                outage_ms: outage.map(|outage| outage.as_secs_f64() * 1000.0),
                recovery: recoveries.of(*fault, outage),
                ..report.clone()
            }
        };
        self.reports.iter().map(told).collect()
    }

    /// Adds to what is told of a fault.
    pub(super) fn note(&mut self, fault: usize, what: &str) {
        eprintln!("--fault '{}': {what}", self.schedule.faults[fault]);
        let Some(report) = self.reports.get_mut(&fault) else {
            return;
        };
        report.detail = Some(match report.detail.take() {
            None => what.to_owned(),
            Some(before) => format!("{before}; {what}"),
        });
    }

    /// Whom a fault has struck that has not ended.
    pub(crate) fn victims_of(&self, fault: usize) -> Vec<NodeId> {
        self.struck.get(&fault).cloned().unwrap_or_default()
    }

    /// Whether whoever was struck works again after this moment: nothing to catch up with where it was
    /// never away.
    pub(crate) fn brings_back(&self, moment: Moment) -> bool {
        let fault = &self.schedule.faults[moment.fault].fault;
        match moment.edge {
            Edge::Heal => matches!(
                fault,
                Fault::Kill(_)
                    | Fault::Pause(_)
                    | Fault::Isolate(_)
                    | Fault::Deaf(_)
                    | Fault::Mute(_)
            ),
            Edge::Strike => matches!(fault, Fault::Restart(_)),
        }
    }

    /// Whether a node has been started again.
    pub(super) fn came_back(&self, node: NodeId) -> bool {
        self.back.contains(&node)
    }

    async fn strike(
        &mut self,
        fault: usize,
        spec: &FaultSpec,
        at: Duration,
        victims: Vec<NodeId>,
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        self.struck.insert(fault, victims.clone());
        self.reports.insert(
            fault,
            FaultReport {
                kind: spec.fault.kind().word().to_owned(),
                target: target(&spec.fault),
                node: match victims[..] {
                    [node] => Some(node.0),
                    _ => None,
                },
                at_s: at.as_secs_f64(),
                outage_ms: None,
                recovery: None,
                detail: None,
            },
        );
        match &spec.fault {
            Fault::Kill(target) => {
                self.victims.killed(*target, &victims);
                for node in victims {
                    nodes.kill(node).await?;
                }
            }
            Fault::Restart(_) => self.restart(&victims, nodes).await?,
            kind if is_of_members(kind) => {
                self.change_members(fault, kind, &victims, nodes).await?;
            }
            Fault::Pause(_) => {
                for node in victims {
                    nodes.signal(node, Signal::STOP)?;
                }
            }
            Fault::Slow(_, times) => {
                let pids = victims.iter().filter_map(|node| nodes.pid(*node));
                let slowing = pids.map(|pid| Slowing::begin(pid, *times)).collect();
                self.slowing.insert(fault, slowing);
            }
            kind if is_of_strangers(kind) => {
                for node in victims {
                    let siege = Siege::begin(kind, node, nodes).await?;
                    self.sieges.entry(fault).or_default().push(siege);
                }
            }
            kind if is_of_disks(kind) => self.break_disks(fault, spec, &victims, nodes).await?,
            kind if disk::damages(kind) => self.damage(fault, spec, &victims, nodes).await?,
            other => {
                let commands = self.commands(fault, other, &victims);
                tell(nodes, &commands).await?;
            }
        }
        Ok(())
    }

    async fn heal(
        &mut self,
        fault: usize,
        spec: &FaultSpec,
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        let struck = self.struck.remove(&fault).unwrap_or_default();
        match &spec.fault {
            Fault::Kill(_) => self.restart(&struck, nodes).await,
            Fault::Pause(_) => struck
                .iter()
                .try_for_each(|node| nodes.signal(*node, Signal::CONT)),
            Fault::Slow(..) => {
                self.slowing.remove(&fault);
                Ok(())
            }
            kind if is_of_strangers(kind) => self.raise(fault, nodes).await,
            kind if is_of_disks(kind) => self.mend_disks(spec, &struck, nodes).await,
            kind if disk::damages(kind) => Ok(()),
            Fault::Restart(_) => Ok(()),
            kind if is_of_members(kind) => Ok(()),
            other => {
                let commands = match quality(other) {
                    Some((word, _)) => self.as_before(word),
                    None => self.cuts.end(fault),
                };
                tell(nodes, &commands).await
            }
        }
    }

    /// Calls strangers back, who must have been refused.
    pub(super) async fn raise(&mut self, fault: usize, nodes: &Nodes) -> anyhow::Result<()> {
        for siege in self.sieges.remove(&fault).unwrap_or_default() {
            let said = siege.end(nodes).await?;
            self.note(fault, &said);
        }
        Ok(())
    }

    /// Starts nodes again where they were; one that runs is asked to end first. One whose log is damaged
    /// must refuse.
    pub(super) async fn restart(
        &mut self,
        dead: &[NodeId],
        nodes: &mut Nodes,
    ) -> anyhow::Result<()> {
        nodes.reap();
        for node in dead {
            if self.damaged.contains(node) {
                disk::refusal(*node, nodes).await?;
                continue;
            }
            if nodes.alive().contains(node) {
                nodes.halt(*node).await?;
            }
            nodes.restart(*node).await?;
            self.back.insert(*node);
            // A new process knows of no cuts.
            tell(nodes, &self.cuts.at(*node)).await?;
        }
        Ok(())
    }

    /// Whom a fault strikes now.
    async fn resolve(
        &self,
        fault: &Fault,
        nodes: &Nodes,
        favourite: Option<NodeId>,
    ) -> anyhow::Result<Vec<NodeId>> {
        let Some(target) = fault.target() else {
            return Ok((1..=self.nodes).map(NodeId).collect());
        };
        if let Fault::Add(Target::Node(node)) = fault {
            return Ok(vec![*node]);
        }
        if let Fault::Restart(target) | Fault::Readmit(target) = fault
            && let dead = self.victims.restart(*target)
            && !dead.is_empty()
        {
            return Ok(dead);
        }
        // A role may have been killed before its disk is damaged.
        if let Some(dead) = disk::damages(fault).then(|| self.victims.restart(target))
            && !dead.is_empty()
        {
            return Ok(dead);
        }
        let roles = Roles {
            nodes: self.nodes,
            alive: nodes.alive(),
            leader: match favourite {
                Some(favourite) => Some(favourite),
                None => elected(nodes).await,
            },
        };
        let resolve = |target| roles.resolve(target).map_err(anyhow::Error::msg);
        let mut victims = resolve(target)?;
        if let Fault::Cut(_, other) = fault {
            victims.extend(resolve(*other)?);
        }
        Ok(victims)
    }

    /// What to tell whom to begin a fault of links.
    fn commands(
        &mut self,
        fault: usize,
        kind: &Fault,
        victims: &[NodeId],
    ) -> Vec<(NodeId, String)> {
        if let Some((word, value)) = quality(kind) {
            let command = format!("{word} {value}");
            return (1..=self.nodes)
                .map(|node| (NodeId(node), command.clone()))
                .collect();
        }
        let around = |ways: &[Way]| {
            let each = victims.iter();
            each.flat_map(|node| cuts::around(*node, self.nodes, ways))
                .collect()
        };
        let cut = match (kind, victims) {
            (Fault::Cut(..), [a, b]) => cuts::between(*a, *b),
            (Fault::Cut(..), [first, rest @ ..]) => rest
                .iter()
                .flat_map(|other| cuts::between(*first, *other))
                .collect(),
            (Fault::Isolate(_), _) => around(&[Way::Out, Way::In]),
            (Fault::Deaf(_), _) => around(&[Way::In]),
            (Fault::Mute(_), _) => around(&[Way::Out]),
            (Fault::Star(_), _) => cuts::all_but(self.nodes, |a, b| {
                victims.contains(&NodeId(a)) || victims.contains(&NodeId(b))
            }),
            _ => cuts::all_but(self.nodes, |a, b| b - a == 1),
        };
        self.cuts.begin(fault, cut)
    }

    /// What to tell whom to have a quality of links as `--link` wants it.
    fn as_before(&self, word: &str) -> Vec<(NodeId, String)> {
        let perfect = match word {
            "delay" => "delay 0ms±0ms".to_owned(),
            share => format!("{share} 0%"),
        };
        (1..=self.nodes)
            .map(NodeId)
            .flat_map(|node| {
                let again = self.links.of(node).iter();
                let again = again.filter(|command| {
                    command.starts_with(word) || (word == "delay" && command.starts_with("jitter"))
                });
                std::iter::once(perfect.clone())
                    .chain(again.cloned())
                    .map(move |command| (node, command))
            })
            .collect()
    }
}

/// Who decides for the others. An election that is on is waited for.
async fn elected(nodes: &Nodes) -> Option<NodeId> {
    let until = Instant::now() + PATIENCE;
    loop {
        let leader = nodes.leader().await;
        if leader.is_some() || Instant::now() >= until {
            return leader;
        }
        sleep(SLICE).await;
    }
}

/// Whom a specification names, in its own words.
fn target(fault: &Fault) -> String {
    match fault {
        Fault::Cut(a, b) => format!("{a}-{b}"),
        other => other
            .target()
            .map_or_else(|| "all".to_owned(), |target| target.to_string()),
    }
}

/// The command for a quality of all links; none for cuts.
fn quality(fault: &Fault) -> Option<(&'static str, String)> {
    let share = |Rate(millionths): Rate| format!("{}%", f64::from(millionths) / 10_000.0);
    match *fault {
        Fault::Drop(rate) => Some(("loss", share(rate))),
        Fault::Dup(rate) => Some(("dup", share(rate))),
        Fault::Reorder(rate) => Some(("reorder", share(rate))),
        Fault::Delay { mean, jitter } => Some((
            "delay",
            format!("{}us±{}us", mean.as_micros(), jitter.as_micros()),
        )),
        _ => None,
    }
}

/// Tells nodes what their links are like now. One that does not run is told when it starts.
async fn tell(nodes: &Nodes, commands: &[(NodeId, String)]) -> anyhow::Result<()> {
    let alive = nodes.alive();
    for (node, command) in commands.iter().filter(|(node, _)| alive.contains(node)) {
        nodes
            .operator()
            .link(*node, command, PATIENCE)
            .await
            .with_context(|| format!("telling node {node} `{command}`"))?;
    }
    Ok(())
}

/// A process that runs a slice in so many. Runs on when dropped.
struct Slowing {
    pid: u32,
    task: JoinHandle<()>,
}

impl Slowing {
    fn begin(pid: u32, times: u32) -> Self {
        let task = tokio::spawn(async move {
            loop {
                signal(pid, Signal::STOP);
                let rest = SLICE * times.saturating_sub(1);
                sleep(rest).await;
                signal(pid, Signal::CONT);
                sleep(SLICE).await;
            }
        });
        Self { pid, task }
    }
}

impl Drop for Slowing {
    fn drop(&mut self) {
        self.task.abort();
        signal(self.pid, Signal::CONT);
    }
}

/// Signals a process that may be gone.
fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
