//! Partial connectivity: links fail so that some node still reaches a majority, but not everybody does
//! [Ng23 §2]. Does the group go on, and does leadership come to rest?

use consensus_core::{
    Algorithm, Input, NodeId, Time,
    contract::replicated_log::{Event, Request},
    log::{Commands, EntryKind},
    sim::{World, measure::Laboratory},
};
use std::{fmt, time::Duration};

/// Which links are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Five nodes; one that does not lead keeps its links, all others fail: the leader has lost its
    /// quorum, and is still heard by the only node that has one.
    QuorumLoss,
    /// The same, but the leader is alone, and the node that keeps its links had been cut off and lacks
    /// what was committed meanwhile.
    Constrained,
    /// Three nodes in a row, the leader at one end.
    Chain,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QuorumLoss, Self::Constrained, Self::Chain];
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::QuorumLoss => "quorum loss",
            Self::Constrained => "constrained election",
            Self::Chain => "chain",
        })
    }
}

/// What became of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// From the failure until somebody was told a command proposed after it; none: not within
    /// [`LASTING`].
    pub progress: Option<Duration>,
    /// Epochs in which some node was told of a leader after the failure.
    pub epochs: usize,
}

/// How long the links stay as they are.
pub const LASTING: Duration = Duration::from_secs(20);
/// Longer than any first election takes.
const SETTLE: Duration = Duration::from_secs(5);
/// How often whoever takes itself for the leader is asked to propose.
const PROPOSE: Duration = Duration::from_millis(5);

/// After so long without its leader, at most, a node of Multi-Paxos stands: two rounds without an
/// answer, an eighth longer at most, and the longest wait.
#[must_use]
pub fn multipaxos_timeout(options: &multipaxos::Options) -> Duration {
    options.heartbeat * 9 / 8 * 2 + *options.campaign.end()
}

/// Lets the links of a settled group fail, a millisecond one way and free disks.
///
/// # Errors
/// When the options do not fit, an invariant breaks, or there is no leader in the first place.
pub fn fail<A>(shape: Shape, options: &A::Options) -> Result<Verdict, String>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    let nodes = if shape == Shape::Chain { 3 } else { 5 };
    let laboratory = Laboratory {
        nodes,
        options: options.clone(),
        settle: SETTLE,
        ..Laboratory::default()
    };
    let mut world = laboratory.world::<A>()?;
    let all: Vec<NodeId> = (1..=nodes as u16).map(NodeId).collect();
    let leads = |node: &&NodeId| world.protocol(**node).and_then(A::leader) == Some(**node);
    let leader = *all.iter().find(leads).ok_or("nobody leads")?;
    let hub = *all.iter().find(|node| **node != leader).ok_or("one node")?;
    let spokes: Vec<NodeId> = all.iter().copied().filter(|node| *node != hub).collect();
    if shape == Shape::Constrained {
        cut_off(&mut world, hub, &spokes);
        drive(&mut world, &all, Duration::from_millis(50), "missed")?;
        spokes
            .iter()
            .for_each(|spoke| join(&mut world, hub, *spoke));
        part(&mut world, hub, leader);
    }
    for (at, a) in spokes.iter().enumerate() {
        spokes[at + 1..]
            .iter()
            .for_each(|b| part(&mut world, *a, *b));
    }
    drive(&mut world, &all, LASTING, "after")
}

fn part<A: Algorithm>(world: &mut World<A>, a: NodeId, b: NodeId) {
    world.cut(a, b);
    world.cut(b, a);
}

fn join<A: Algorithm>(world: &mut World<A>, a: NodeId, b: NodeId) {
    world.mend(a, b);
    world.mend(b, a);
}

fn cut_off<A: Algorithm>(world: &mut World<A>, node: NodeId, others: &[NodeId]) {
    others.iter().for_each(|other| part(world, node, *other));
}

/// Has every leader propose `command` all the time, for `lasting`.
fn drive<A>(
    world: &mut World<A>,
    all: &[NodeId],
    lasting: Duration,
    command: &str,
) -> Result<Verdict, String>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    let start = world.now();
    let mut verdict = Verdict {
        progress: None,
        epochs: 0,
    };
    let mut epochs = Vec::new();
    let mut next = start;
    world.take_told();
    while next < start + lasting {
        next = next + PROPOSE;
        run_until(world, next)?;
        for (_, event) in world.take_told() {
            match event {
                Event::LeaderChanged {
                    epoch,
                    leader: Some(_),
                } if !epochs.contains(&epoch) => epochs.push(epoch),
                Event::Committed(run)
                    if run.kind() == EntryKind::Command
                        && run.iter().any(|entry| entry == command.as_bytes()) =>
                {
                    verdict.progress.get_or_insert(world.now().since(start));
                }
                _ => {}
            }
        }
        for node in all {
            if world.protocol(*node).and_then(A::leader) == Some(*node) {
                let propose = Request::Propose {
                    token: None,
                    commands: Commands::one(command.as_bytes()),
                };
                let place = usize::from(node.0) - 1;
                world
                    .input(place, Input::Request(propose))
                    .map_err(|e| e.to_string())?;
            }
        }
    }
    verdict.epochs = epochs.len();
    Ok(verdict)
}

fn run_until<A: Algorithm>(world: &mut World<A>, end: Time) -> Result<(), String> {
    // Something is always due: heartbeats and election timeouts.
    while world.next().is_some_and(|next| next <= end) {
        world.step().map_err(|e| e.to_string())?;
    }
    Ok(())
}
