//! What a new leader costs while the log holds entries that nobody knows to be committed
//! [HowardMortier20 §4]: Raft elects only whoever has them, and moves none; Multi-Paxos elects anybody,
//! and moves them with the promises.

use consensus_core::{
    Algorithm, Index, Input, Members, NodeId, Protocol, Time, Token,
    contract::replicated_log::{Event, Request},
    log::Commands,
    sim::{Climate, Counts, Keep, World},
};
use multipaxos::MultiPaxos;
use raft::Raft;
use std::time::Duration;

/// One way. Disks are free.
const DELAY: Duration = Duration::from_millis(1);
/// Nothing happens by itself for so long.
const CALM: Duration = Duration::from_secs(1);
/// What does not come within this time never comes.
const LIMIT: Duration = Duration::from_secs(10);
const LEADER: NodeId = NodeId(1);
/// Whoever stands for election when the leader is dead.
const HEIR: NodeId = NodeId(2);

/// Bytes of an entry's command.
pub const PAYLOAD: usize = 256;
/// Voters, the dead leader included.
pub const NODES: u16 = 5;

/// What it took until something was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// One-way delays.
    pub delays: u64,
    /// Messages, those to the dead leader included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a new leader took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Succession {
    /// Until it led. None when it never did.
    pub elected: Option<Cost>,
    /// Until it knew everything that it had found to be committed.
    pub repaired: Option<Cost>,
}

/// How one node, and nobody else, stands for election at once.
trait Stand: Algorithm<Request = Request, Event = Event> {
    /// Options under which nothing happens by itself within [`CALM`].
    fn options() -> Self::Options;

    /// None of these runs; when this returns all do, and the first is about to stand.
    fn stand(world: &mut World<Self>, nodes: &[NodeId]) -> Result<Begun, String>;
}

/// When, and what had been sent before.
type Begun = (Time, Counts);

impl Stand for Raft {
    fn options() -> raft::Options {
        raft::Options {
            election_timeout: CALM * 2..=CALM * 2,
            heartbeat: CALM,
            pre_vote: false,
            check_quorum: false,
            ..raft::Options::default()
        }
    }

    /// Whoever starts first is the first to miss a leader; no two stand at once.
    fn stand(world: &mut World<Self>, nodes: &[NodeId]) -> Result<Begun, String> {
        start(world, &nodes[..1])?;
        pass(world, CALM)?;
        for node in &nodes[1..] {
            start(world, &[*node])?;
            pass(world, DELAY * 10)?;
        }
        let asked = world.sent_of("RequestVote");
        run(world, |world| world.sent_of("RequestVote") > asked)
    }
}

impl Stand for MultiPaxos {
    fn options() -> multipaxos::Options {
        multipaxos::Options {
            elections: false,
            heartbeat: CALM * 10,
            ..multipaxos::Options::default()
        }
    }

    fn stand(world: &mut World<Self>, nodes: &[NodeId]) -> Result<Begun, String> {
        start(world, nodes)?;
        pass(world, CALM)?;
        let begun = (world.now(), world.counts());
        let lead = Request::TransferLeadership {
            token: Token::default(),
            to: Some(nodes[0]),
        };
        ask(world, nodes[0], lead)?;
        Ok(begun)
    }
}

/// A group of Raft: `suffix` entries are at all survivors, or at all but the one that stands.
///
/// # Errors
/// When an invariant breaks, or nothing happens.
pub fn raft(suffix: u64, heir_has_them: bool) -> Result<Succession, String> {
    succeed::<Raft>(suffix, heir_has_them)
}

/// The same of Multi-Paxos.
///
/// # Errors
/// When an invariant breaks, or nothing happens.
pub fn multipaxos(suffix: u64, heir_has_them: bool) -> Result<Succession, String> {
    succeed::<MultiPaxos>(suffix, heir_has_them)
}

fn succeed<A: Stand>(suffix: u64, heir_has_them: bool) -> Result<Succession, String> {
    let members = Members::new((1..=NODES).map(NodeId)).map_err(|e| e.to_string())?;
    let mut climate = Climate::constant(DELAY, Duration::ZERO);
    climate.wire = true;
    let mut world = World::<A>::new(1, members.clone(), A::options(), climate)?;
    let all: Vec<NodeId> = members.iter().collect();
    A::stand(&mut world, &all)?;
    run(&mut world, |world| leads(world, LEADER))?;
    pass(&mut world, DELAY * 10)?;
    leave_behind(&mut world, &all, suffix, heir_has_them)?;

    for node in &all {
        world.crash(place(*node), Some(Keep::All));
    }
    let survivors: Vec<_> = all.iter().copied().filter(|node| *node != LEADER).collect();
    let (begun, before) = A::stand(&mut world, &survivors)?;
    let cost = |at: Time, counts: Counts| {
        let sent = counts.since(before);
        Cost {
            delays: (at.since(begun).as_nanos() / DELAY.as_nanos()) as u64,
            messages: sent.messages,
            bytes: sent.bytes,
        }
    };
    let somebody = |world: &World<A>| survivors.iter().any(|node| leads(world, *node));
    let (at, counts) = run(&mut world, somebody)?;
    if !leads(&world, HEIR) {
        return Ok(Succession {
            elected: None,
            repaired: None,
        });
    }
    let elected = cost(at, counts);
    let found = log(&world, HEIR).0;
    let (at, counts) = run(&mut world, |world| log(world, HEIR).1 >= found)?;
    Ok(Succession {
        elected: Some(elected),
        repaired: Some(cost(at, counts)),
    })
}

/// Entries reach those who follow, and nobody is told that they did.
fn leave_behind<A: Stand>(
    world: &mut World<A>,
    all: &[NodeId],
    suffix: u64,
    heir_has_them: bool,
) -> Result<(), String> {
    for node in all.iter().filter(|node| **node != LEADER) {
        world.cut(*node, LEADER);
    }
    if !heir_has_them {
        world.cut(LEADER, HEIR);
    }
    let mut commands = Commands::default();
    (0..suffix).for_each(|_| commands.push(&[7; PAYLOAD]));
    if suffix > 0 {
        let token = None;
        ask(world, LEADER, Request::Propose { token, commands })?;
    }
    pass(world, DELAY * 10)?;
    for node in all.iter().filter(|node| **node != LEADER) {
        world.mend(*node, LEADER);
    }
    world.mend(LEADER, HEIR);
    Ok(())
}

fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

fn leads<A: Algorithm>(world: &World<A>, node: NodeId) -> bool {
    world.protocol(node).and_then(A::leader) == Some(node)
}

/// The last entry of a node's log, and the last that it knows to be committed.
fn log<A: Algorithm>(world: &World<A>, node: NodeId) -> (Index, Index) {
    let view = world.protocol(node).and_then(A::view);
    view.map(|view| (view.last, view.commit))
        .unwrap_or_default()
}

fn start<A: Algorithm>(world: &mut World<A>, nodes: &[NodeId]) -> Result<(), String> {
    for node in nodes {
        world.start(place(*node)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn ask<A>(world: &mut World<A>, node: NodeId, request: Request) -> Result<(), String>
where
    A: Algorithm + Protocol<Request = Request>,
{
    let asked = world.input(place(node), Input::Request(request));
    asked.map(|_| ()).map_err(|e| e.to_string())
}

/// Lets time pass.
fn pass<A: Algorithm>(world: &mut World<A>, span: Duration) -> Result<(), String> {
    let end = world.now() + span;
    world.call_at(end, 0);
    run(world, |world| world.now() >= end).map(|_| ())
}

/// When it is reached, and what had been sent before the step that reached it.
fn run<A: Algorithm>(
    world: &mut World<A>,
    reached: impl Fn(&World<A>) -> bool,
) -> Result<Begun, String> {
    let end = world.now() + LIMIT;
    let mut before = world.counts();
    while !reached(world) {
        if world.next().is_none_or(|next| next > end) {
            return Err(format!("nothing happens within {LIMIT:?} of virtual time"));
        }
        before = world.counts();
        world.step().map_err(|e| e.to_string())?;
    }
    Ok((world.now(), before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUFFIX: u64 = 100;
    const ENTRIES: u64 = SUFFIX * PAYLOAD as u64;

    #[test]
    fn raft_elects_whoever_has_everything_and_moves_no_entry() {
        let [none, many] = [0, SUFFIX].map(|suffix| raft(suffix, true).unwrap());
        let (none, many) = (none.elected.unwrap(), many.elected.unwrap());
        assert_eq!((many.delays, many.messages), (2, 7));
        // What stands in the log takes as many bytes to say.
        assert!(many.bytes <= none.bytes + 4, "{many:?} {none:?}");
        assert_eq!(raft(SUFFIX, false).unwrap().elected, None);
    }

    #[test]
    fn multipaxos_elects_anybody_and_every_promise_moves_the_suffix() {
        for heir_has_them in [true, false] {
            let [none, many] = [0, SUFFIX].map(|n| multipaxos(n, heir_has_them).unwrap());
            let cost = many.elected.unwrap();
            assert_eq!((cost.delays, cost.messages), (2, 7));
            let moved = cost.bytes - none.elected.unwrap().bytes;
            assert!((3 * ENTRIES..4 * ENTRIES).contains(&moved), "{moved}");
        }
    }
}
