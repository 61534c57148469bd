//! One run: a cluster is started, loaded, broken, measured, drained, judged and ended.

use super::{
    audit,
    costs::Costs,
    fault::Striker,
    hosts::{Hosts, SAME_HOST},
    link::Links,
    load::{self, Book, Ledger, Load, Outages, Router},
    nodes::Nodes,
    plan::Plan,
    recovery::{Recoveries, Watcher},
    verify,
};
use crate::{algorithms::Catalogue, flags, progress::Progress};
use anyhow::{Context as _, anyhow};
use bench::{
    algorithms as placed,
    report::{environment::cores, json},
    verdict::{Evidence, judge},
};
use consensus_core::{Contract, NodeId, fault::Fault};
use net_quic::Client;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

/// A cluster that serves nobody after this, and twenty times the longest delay, never will.
const SERVES_WITHIN: Duration = Duration::from_secs(15);
/// How often a run looks after its processes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Clients on one connection: few enough that one is not the bottleneck, enough that their packets
/// are shared.
const CLIENTS_A_LINE: u32 = 256;

/// What one run is made of.
pub(crate) struct Job<'a> {
    /// What is run.
    pub(crate) plan: &'a Plan,
    /// What is known of it.
    pub(crate) catalogue: Catalogue,
    /// How its links are.
    pub(crate) links: &'a Links,
    /// Where its nodes are.
    pub(crate) hosts: &'a Hosts,
    /// Where clusters have their folders.
    pub(crate) parent: &'a Path,
}

/// Runs it.
///
/// # Errors
/// When nodes do not come up, end by themselves, or cannot be broken as asked.
pub(crate) async fn run(job: &Job<'_>) -> anyhow::Result<json::Run> {
    let plan = job.plan;
    let contract = job.catalogue.contract(&plan.name);
    let mut nodes = Nodes::start(plan, job.links, job.parent, job.hosts).await?;
    let lines = plan.clients.div_ceil(CLIENTS_A_LINE);
    let caller: Vec<Client> = (0..lines)
        .map(|_| nodes.client())
        .collect::<Result<_, _>>()?;
    let load = Arc::new(Load {
        contract,
        workload: plan.workload,
        clients: plan.clients,
        rate: plan.rate,
        window: plan.window,
        caller,
        router: Router::new(plan.processes()),
        nodes: plan.nodes,
        ledger: Ledger::new(plan.window, plan.check, cores() as usize),
        outages: Arc::new(Outages::new(plan.faults.faults.len())),
        began: Instant::now(),
    });
    let patience = SERVES_WITHIN + 20 * job.links.delay_max();
    serve(&load, &mut nodes, patience).await?;
    // The clock of the run starts only now.
    let mut load = Arc::into_inner(load).context("nobody else has the load yet")?;
    load.began = Instant::now();
    let load = Arc::new(load);
    let mut clients = load::start(&load)?;
    let striker = Striker::new(plan, job.links.clone(), job.catalogue);
    let Driven {
        mut striker,
        recoveries,
        before,
        after,
    } = drive(plan, &load, &mut nodes, striker).await?;
    drain(&mut clients, &mut nodes, &striker).await?;
    striker.settle(&mut nodes).await?;
    let outages = Arc::clone(&load.outages);
    let load = Arc::into_inner(load).context("every client has ended")?;
    let book = load.ledger.close();
    let (book, check) = match contract {
        Contract::AtomicCommit if plan.check => {
            let holdings = audit::audit(&nodes, plan.nodes).await;
            let check = audit::judge(plan.nodes, book.transfers(), holdings);
            (book, Some(check))
        }
        Contract::AtomicCommit => (book, None),
        Contract::Register | Contract::ReplicatedLog => {
            spawn_blocking(move || {
                let check = verify::judge(&book);
                (book, check)
            })
            .await?
        }
    };
    let faults = striker.reports(|fault| outages.lasted(fault), &recoveries);
    nodes.stop().await?;
    Ok(figures(plan, &book, check, faults, &before, &after))
}

/// Waits until the cluster serves.
async fn serve(
    load: &Arc<Load<Vec<Client>>>,
    nodes: &mut Nodes,
    patience: Duration,
) -> anyhow::Result<()> {
    let until = Instant::now() + patience;
    while !load::serves(load).await {
        if let Some(casualty) = nodes.casualty() {
            return Err(casualty);
        }
        if Instant::now() >= until {
            return Err(anyhow!(
                "the cluster served nobody within {} s; {}",
                patience.as_secs(),
                nodes.last_words()
            ));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// What a window leaves behind.
struct Driven {
    striker: Striker,
    recoveries: Recoveries,
    before: Costs,
    after: Costs,
}

/// Lets the window pass: reads the counters at its edges and breaks things in between.
async fn drive(
    plan: &Plan,
    load: &Arc<Load<Vec<Client>>>,
    nodes: &mut Nodes,
    mut striker: Striker,
) -> anyhow::Result<Driven> {
    let measuring = load.began + plan.window.warmup;
    let end = load.began + plan.window.end();
    let mut progress = Progress::new(
        plan.title(),
        plan.window.end().as_millis().try_into().unwrap_or(u64::MAX),
        "ms",
    );
    watch(load, nodes, &striker, &mut progress, measuring).await?;
    let before = nodes.costs().await;
    let mut probes = JoinSet::new();
    let (operator, outages) = (Arc::clone(nodes.operator()), Arc::clone(&load.outages));
    let mut watcher = Watcher::new(operator, plan.processes(), outages, load.began);
    for moment in striker.moments() {
        watch(load, nodes, &striker, &mut progress, measuring + moment.at).await?;
        let led = match moment.is_strike() && load.contract != Contract::Register {
            true => nodes.leader().await,
            false => None,
        };
        let at = load.now().saturating_sub(plan.window.warmup);
        // Where every node decides for itself, the one that most clients talk to.
        let favourite = (load.contract == Contract::Register).then(|| load.router.preferred());
        let takes_a_while = striker.is_of_members(moment.fault);
        let mut began = load.now();
        if moment.is_strike() && takes_a_while {
            load.outages.struck(moment.fault, began);
        }
        striker.act(moment, at, nodes, favourite).await?;
        load.reach(nodes.addresses());
        if moment.is_strike() {
            // Only now: what began while it was being done may have found everything well.
            if !takes_a_while {
                began = load.now();
                load.outages.struck(moment.fault, began);
            }
            watcher.struck(moment.fault, began, striker.victims_of(moment.fault), led);
            probes.spawn(load::probe(Arc::clone(load), moment.fault));
        }
        if striker.brings_back(moment) {
            watcher.returned(moment.fault);
        }
    }
    watch(load, nodes, &striker, &mut progress, end).await?;
    let after = nodes.costs().await;
    probes.shutdown().await;
    progress.end("measured");
    Ok(Driven {
        striker,
        recoveries: watcher.end(),
        before,
        after,
    })
}

/// Sleeps until a moment, with an eye on the processes.
async fn watch(
    load: &Arc<Load<Vec<Client>>>,
    nodes: &mut Nodes,
    striker: &Striker,
    progress: &mut Progress,
    until: Instant,
) -> anyhow::Result<()> {
    while Instant::now() < until {
        sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        look(nodes, striker)?;
        let elapsed = load.now().as_millis();
        progress.at(elapsed.try_into().unwrap_or(u64::MAX), "");
    }
    Ok(())
}

/// A process that has ended by itself ends the run, unless its disk was to do so.
fn look(nodes: &mut Nodes, striker: &Striker) -> anyhow::Result<()> {
    if striker.breaks_nodes() {
        nodes.reap();
        return Ok(());
    }
    nodes.casualty().map_or(Ok(()), Err)
}

/// Waits for every operation under way: answered, or given up after the time-out.
async fn drain(
    clients: &mut JoinSet<()>,
    nodes: &mut Nodes,
    striker: &Striker,
) -> anyhow::Result<()> {
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")?;
        look(nodes, striker)?;
    }
    Ok(())
}

/// Puts the report of a run together.
fn figures(
    plan: &Plan,
    book: &Book,
    check: Option<json::CheckReport>,
    faults: Vec<json::FaultReport>,
    before: &Costs,
    after: &Costs,
) -> json::Run {
    let measured = book.recorder().measured();
    let seconds = plan.window.measured.as_secs_f64();
    let mut evidence = Evidence::of(&measured, plan.clients, plan.rate);
    // The moments of an open loop are drawn; what counts is whether those drawn were kept.
    let counts = measured.counts;
    let asked = counts.done + counts.failed + counts.aborted + counts.timeouts;
    evidence.rate = evidence
        .rate
        .map(|(_, reached)| (asked as f64 / seconds, reached));
    // Elsewhere they do not share the cores of this machine.
    evidence.load =
        (plan.placement == SAME_HOST).then(|| (u32::from(plan.processes()) + 1, cores()));
    evidence.check.clone_from(&check);
    let ended = (measured.throughput_ops * seconds).round() as u64;
    let mut run = json::Run {
        algorithm: plan.name.clone(),
        nodes: plan.processes().into(),
        coordinator: match plan.coordinator {
            flags::Coordinator::Together => None,
            elsewhere => Some(placed::Coordinator::from(elsewhere).word().to_owned()),
        },
        clients: plan.clients,
        mode: plan.rate.map_or(json::Loop::Closed, |_| json::Loop::Open),
        rate: plan.rate,
        payload: u32::try_from(plan.workload.payload).unwrap_or(u32::MAX),
        durability: match plan.durability {
            flags::Durability::Fsync => json::Durability::Fsync,
            flags::Durability::Memory => json::Durability::Memory,
        },
        link: plan.link.clone(),
        share: None,
        seed: plan.workload.seed,
        repetition: plan.repetition,
        keys: plan.workload.keys,
        zipf: plan.workload.zipf,
        read_ratio: plan.workload.read_ratio,
        warmup_s: plan.window.warmup.as_secs_f64(),
        placement: plan.placement.clone(),
        seconds,
        operations: measured.counts.done,
        failed: measured.counts.failed,
        aborted: measured.counts.aborted,
        timeouts: measured.counts.timeouts,
        throughput_ops: measured.throughput_ops,
        latency_us: measured.latency,
        service_us: measured.service,
        reads_us: measured.reads,
        writes_us: measured.writes,
        stages_us: after.stages(before),
        histogram: measured.histogram,
        per_operation: after.per_operation(before, ended),
        rss_bytes_max: after.usage.rss_bytes_max,
        timeline: measured.timeline,
        faults,
        check,
        verdict: judge(&evidence),
        in_flight: measured.in_flight,
        floor: None,
    };
    if !run.is_safe() {
        verify::withhold(&mut run);
    }
    run
}

impl Striker {
    /// Whether nodes are meant to end by themselves, as they do when their disk fails.
    fn breaks_nodes(&self) -> bool {
        let mut faults = self.faults().iter();
        faults.any(|spec| matches!(spec.fault, Fault::Eio(_)))
    }
}

impl Nodes {
    /// Who decides for the others, as the nodes say: the first that knows.
    pub(crate) async fn leader(&self) -> Option<NodeId> {
        for node in self.alive() {
            if let Some(leader) = self.inspect(node).await.and_then(|looked| looked.leader) {
                return Some(NodeId(leader));
            }
        }
        None
    }
}
