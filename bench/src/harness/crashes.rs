//! Crashes: with how many nodes gone for good does a cluster still commit? Counted, not quoted: nodes are
//! taken away, whoever decides for the others first, and a client goes on asking.

use crate::{app::Client, recorder::Outcome};
use consensus_core::{
    Algorithm, Members, NodeId,
    service::{Answer, Call, CallId, Refusal},
    sim::{Climate, World},
};
use std::time::Duration;

/// One way.
const DELAY: Duration = Duration::from_millis(1);
/// Longer than any election with default options takes.
const SETTLE: Duration = Duration::from_secs(5);
/// A client asks elsewhere after so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Before it asks again where it was refused.
const PAUSE: Duration = Duration::from_millis(20);
/// What is not committed by then never is.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes a command.
const PAYLOAD: usize = 64;

/// The most of `nodes` nodes that may be down while a write, or a transaction over all of them, that is asked
/// for afterwards still commits.
///
/// # Errors
/// When the options do not fit, an invariant breaks, or not even the whole cluster commits.
pub fn survived<A: Algorithm>(nodes: u16, options: &A::Options) -> Result<u16, String> {
    if !commits::<A>(nodes, 0, options)? {
        return Err(format!("{} commits nothing at all", A::NAME));
    }
    for down in 1..=nodes {
        if !commits::<A>(nodes, down, options)? {
            return Ok(down - 1);
        }
    }
    Ok(nodes)
}

fn commits<A: Algorithm>(nodes: u16, down: u16, options: &A::Options) -> Result<bool, String> {
    let mut cluster = Cluster::<A>::settled(nodes, options)?;
    cluster.crash(down);
    cluster.run_for(SETTLE)?;
    let mut client = Client::new(A::CONTRACT, 0, nodes, PAYLOAD);
    // The first call opens a session where there are any.
    cluster.ask(&mut client)?;
    client.advance();
    let answer = cluster.ask(&mut client)?;
    Ok(answer.is_some_and(|answer| client.outcome(&answer) == Outcome::Done))
}

struct Cluster<A: Algorithm> {
    world: World<A>,
    nodes: u16,
    calls: u64,
}

impl<A: Algorithm> Cluster<A> {
    fn settled(nodes: u16, options: &A::Options) -> Result<Self, String> {
        let members = Members::new((1..=nodes).map(NodeId)).map_err(|e| e.to_string())?;
        let climate = Climate::constant(DELAY, Duration::ZERO);
        let mut world = World::new(1, members, options.clone(), climate)?;
        for place in 0..usize::from(nodes) {
            world.start(place).map_err(|e| e.to_string())?;
        }
        let mut cluster = Self {
            world,
            nodes,
            calls: 0,
        };
        cluster.run_for(SETTLE)?;
        Ok(cluster)
    }

    /// Takes away so many nodes: whoever decides for the others, then by their number.
    fn crash(&mut self, down: u16) {
        let leader = (1..=self.nodes)
            .filter_map(|node| self.world.protocol(NodeId(node)).and_then(A::leader))
            .next();
        let others = (1..=self.nodes).map(NodeId);
        let others = others.filter(|node| Some(*node) != leader);
        for node in leader.into_iter().chain(others).take(down.into()) {
            self.world.crash(place(node), None);
        }
    }

    /// What a client is told that asks until nothing changes by asking again; none: nothing within [`LIMIT`].
    fn ask(&mut self, client: &mut Client) -> Result<Option<Answer>, String> {
        let end = self.world.now() + LIMIT;
        while self.world.now() < end {
            match self.call(client)? {
                Some(Answer::Refused(refusal)) if client.retries(refusal) => self.run_for(PAUSE)?,
                Some(Answer::Unknown) | None => {
                    // Nobody there, or nobody who knows.
                    client.retries(Refusal::NotLeader(None));
                    self.run_for(PAUSE)?;
                }
                answer => return Ok(answer),
            }
        }
        Ok(None)
    }

    fn call(&mut self, client: &Client) -> Result<Option<Answer>, String> {
        self.calls += 1;
        let id = CallId(self.calls);
        let call = Call {
            id,
            client: client.id(),
            sequence: client.sequence(),
            body: client.body(),
        };
        let taken = self.world.call(place(client.home()), call);
        if !taken.map_err(|e| e.to_string())? {
            return Ok(None);
        }
        let end = self.world.now() + PATIENCE;
        loop {
            let answers = self.world.take_answers();
            if let Some((.., answer)) = answers.into_iter().find(|(_, asked, _)| *asked == id) {
                return Ok(Some(answer));
            }
            if self.world.next().is_none_or(|next| next > end) {
                return Ok(None);
            }
            self.world.step().map_err(|e| e.to_string())?;
        }
    }

    fn run_for(&mut self, span: Duration) -> Result<(), String> {
        let end = self.world.now() + span;
        // Time passes even if nothing happens.
        self.world.call_at(end, 0);
        while self.world.next().is_some_and(|next| next <= end) {
            self.world.step().map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}
