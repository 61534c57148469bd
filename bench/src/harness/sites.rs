//! A replicated log whose nodes are far apart: how long a commit takes at the leader, by where that is.

use crate::planet::{SITES, round_trip};
use consensus_core::{
    Algorithm, Input, NodeId, Token,
    contract::replicated_log::{Event, Request},
    log::{Commands, EntryKind},
    sim::{World, measure::Laboratory},
};
use std::time::Duration;

/// Longer than any election with the options that suit these distances.
const SETTLE: Duration = Duration::from_secs(60);

/// From propose to committed at a leader in the place `leader` of [`SITES`], a node at each; disks are
/// free.
///
/// # Errors
/// When the options do not fit, an invariant breaks, or that node does not come to lead.
pub fn commit_latency<A>(leader: usize, options: &A::Options) -> Result<Duration, String>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    let laboratory = Laboratory {
        nodes: SITES.len(),
        options: options.clone(),
        delay: Duration::ZERO,
        ..Laboratory::default()
    };
    let mut world = laboratory.world::<A>()?;
    for (a, b) in (0..SITES.len()).flat_map(|a| (0..SITES.len()).map(move |b| (a, b))) {
        world.distance(node(a), node(b), round_trip(a, b) / 2);
    }
    rest(&mut world)?;
    // Whoever leads hands over; where nobody does, the node itself is told to.
    let first = world.protocol(node(0)).and_then(A::leader);
    let asked = first.unwrap_or(node(leader));
    if first != Some(node(leader)) {
        let request = Request::TransferLeadership {
            token: Token(1),
            to: Some(node(leader)),
        };
        ask(&mut world, asked, request)?;
        rest(&mut world)?;
    }
    let leads = world.protocol(node(leader)).and_then(A::leader) == Some(node(leader));
    if !leads {
        return Err(format!("{} does not lead from {}", A::NAME, SITES[leader]));
    }
    world.take_told();
    let mut commands = Commands::default();
    commands.push(b"command");
    let token = None;
    let begun = world.now();
    ask(
        &mut world,
        node(leader),
        Request::Propose { token, commands },
    )?;
    loop {
        let committed = world.take_told().into_iter().any(|(at, event)| {
            at == node(leader)
                && matches!(event, Event::Committed(run) if run.kind() == EntryKind::Command)
        });
        if committed {
            return Ok(world.now().since(begun));
        }
        world.step().map_err(|e| e.to_string())?;
    }
}

fn node(site: usize) -> NodeId {
    NodeId(site as u16 + 1)
}

fn ask<A: Algorithm>(world: &mut World<A>, at: NodeId, request: A::Request) -> Result<(), String> {
    let place = usize::from(at.0) - 1;
    let asked = world.input(place, Input::Request(request));
    asked.map(drop).map_err(|e| e.to_string())
}

fn rest<A: Algorithm>(world: &mut World<A>) -> Result<(), String> {
    let end = world.now() + SETTLE;
    world.call_at(end, 0);
    while world.next().is_some_and(|next| next <= end) {
        world.step().map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_for_the_second_nearest() {
        let options = multipaxos::Options {
            elections: false,
            ..multipaxos::Options::default()
        };
        for (leader, name) in SITES.into_iter().enumerate() {
            let mut trips: Vec<_> = (0..SITES.len())
                .map(|site| round_trip(leader, site))
                .collect();
            trips.sort_unstable();
            let took = commit_latency::<multipaxos::MultiPaxos>(leader, &options).unwrap();
            assert_eq!(took, trips[2], "{name}");
        }
    }
}
