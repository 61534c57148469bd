//! How long a cluster of Raft is without a leader, and how often nobody is elected [Ongaro14 §9].

use consensus_core::{
    Algorithm, Input, Members, NodeId, Time,
    contract::replicated_log::{Event, Request},
    log::Commands,
    sim::{Chance, Climate, Keep, World},
};
use raft::{Options, Raft};
use std::{ops::RangeInclusive, time::Duration};

/// A cluster whose leader will die.
#[derive(Clone, PartialEq, Debug)]
pub struct Election {
    /// Members, those that are down included.
    pub servers: u16,
    /// How many are down from the start, besides the leader that will die.
    pub down: u16,
    /// How many survivors miss the last entry, and so cannot be elected.
    pub ineligible: u16,
    /// Election timeouts. Heartbeats come every half of the least.
    pub timeout: RangeInclusive<Duration>,
    /// One way, uniform.
    pub delay: RangeInclusive<Duration>,
    /// What a disk write takes.
    pub sync: Duration,
    /// Without a leader for so long, it counts as never having one again.
    pub cutoff: Duration,
}

/// What does not come within this time of waiting for anything but the new leader, never comes.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Draws the moment of the crash; the world draws everything else from the same seed.
const CRASH: u64 = 2_000;

impl Election {
    /// The cluster of [OngaroOusterhout14 §9.3]: five servers, of the four survivors two cannot be
    /// elected. A network and a disk that were fitted to what it measured: 2.2 ms one way, a fifth more
    /// or less, and 8 ms a write.
    #[must_use]
    pub fn published(timeout: RangeInclusive<Duration>) -> Self {
        Self {
            servers: 5,
            down: 0,
            ineligible: 2,
            timeout,
            delay: Duration::from_micros(1_760)..=Duration::from_micros(2_640),
            sync: Duration::from_millis(8),
            cutoff: Duration::from_secs(15),
        }
    }

    /// From the crash, at a random moment of a heartbeat interval, until every survivor has heard its
    /// new leader; none when that takes longer than the cut-off.
    ///
    /// # Errors
    /// When the options do not fit, an invariant breaks, or there is no leader in the first place.
    pub fn outage(&self, seed: u64) -> Result<Option<Duration>, String> {
        let mut world = self.world(seed)?;
        let leader = self.lead(&mut world)?;
        let heard = self.fall_behind(&mut world, leader)?;
        let mut chance = Chance::new(seed, CRASH);
        let dies = heard + chance.span(Duration::ZERO..=self.heartbeat());
        until(&mut world, dies)?;
        world.crash(place(leader), Some(Keep::All));
        let end = dies + self.cutoff;
        run(&mut world, |world| {
            self.agreed(world, Some(leader)).is_some() || world.now() > end
        })?;
        let found = self.agreed(&world, Some(leader)).is_some();
        Ok(found.then(|| world.now().since(dies)))
    }

    fn heartbeat(&self) -> Duration {
        *self.timeout.start() / 2
    }

    /// As it was published: pre-vote came later.
    fn world(&self, seed: u64) -> Result<World<Raft>, String> {
        self.made(seed, false)
    }

    fn made(&self, seed: u64, pre_vote: bool) -> Result<World<Raft>, String> {
        let mut climate = Climate::constant(*self.delay.start(), self.sync);
        climate.weather.jitter = (*self.delay.end() - *self.delay.start()).as_nanos() as u64 / 2;
        climate.weather.ordered = false;
        let options = Options {
            election_timeout: self.timeout.clone(),
            heartbeat: self.heartbeat(),
            pre_vote,
            check_quorum: false,
            ..Options::default()
        };
        let members = Members::new((1..=self.servers).map(NodeId)).map_err(|e| e.to_string())?;
        let mut world = World::new(seed, members, options, climate)?;
        world.observe();
        Ok(world)
    }

    fn alive(&self) -> impl Iterator<Item = NodeId> {
        (1..=self.servers - self.down).map(NodeId)
    }

    /// Whom all that run follow, if that is one and not `but`.
    fn agreed(&self, world: &World<Raft>, but: Option<NodeId>) -> Option<NodeId> {
        let mut follow = self
            .alive()
            .filter_map(|node| world.protocol(node))
            .map(Raft::leader);
        let first = follow.next()??;
        (Some(first) != but && follow.all(|leader| leader == Some(first))).then_some(first)
    }

    /// Starts the cluster and waits for its first leader. Who starts first has most often no rival.
    fn lead(&self, world: &mut World<Raft>) -> Result<NodeId, String> {
        world.start(0).map_err(|e| e.to_string())?;
        let others = Time::ZERO + *self.timeout.start() * 9 / 10;
        until(world, others)?;
        for node in self.alive().skip(1) {
            world.start(place(node)).map_err(|e| e.to_string())?;
        }
        loop {
            run(world, |world| self.agreed(world, None).is_some())?;
            // What is under way ends: the first entry, and its commitment.
            let calm = world.now() + self.heartbeat() * 3 + self.sync * 2;
            until(world, calm)?;
            if let Some(leader) = self.agreed(world, None) {
                return Ok(leader);
            }
        }
    }

    /// An entry that does not reach those that shall not be elected; then a heartbeat that reaches all.
    /// Returns when that was sent.
    fn fall_behind(&self, world: &mut World<Raft>, leader: NodeId) -> Result<Time, String> {
        beat(world)?;
        let before = world.now();
        let survivors = self.alive().filter(|node| *node != leader);
        let behind: Vec<_> = survivors.take(self.ineligible.into()).collect();
        behind.iter().for_each(|node| world.cut(leader, *node));
        let mut commands = Commands::default();
        commands.push(b"newest");
        let token = None;
        let appends = world.sent_of("Append");
        world
            .input(
                place(leader),
                Input::Request(Request::Propose { token, commands }),
            )
            .map_err(|e| e.to_string())?;
        run(world, |world| world.sent_of("Append") > appends)?;
        behind.iter().for_each(|node| world.mend(leader, *node));
        let next = before + self.heartbeat();
        until(world, next)?;
        Ok(next)
    }
}

fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

/// Runs to a moment.
fn until(world: &mut World<Raft>, at: Time) -> Result<(), String> {
    world.call_at(at, 0);
    run(world, |world| world.now() >= at)
}

/// Runs until a heartbeat leaves.
fn beat(world: &mut World<Raft>) -> Result<(), String> {
    let sent = world.sent_of("Heartbeat");
    run(world, |world| world.sent_of("Heartbeat") > sent)
}

fn run(world: &mut World<Raft>, reached: impl Fn(&World<Raft>) -> bool) -> Result<(), String> {
    let end = world.now() + LIMIT;
    while !reached(world) {
        if world.next().is_none_or(|next| next > end) {
            return Err(format!("nothing happens within {LIMIT:?} of virtual time"));
        }
        world.step().map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// What it takes to elect the only node that stands, with free disks: one-way delays until it leads, and
/// messages that ask for votes or give them.
///
/// # Errors
/// When the options do not fit or an invariant breaks.
pub fn cost(servers: u16, pre_vote: bool) -> Result<(u64, u64), String> {
    let delay = Duration::from_millis(1);
    let least = Duration::from_secs(1);
    let election = Election {
        servers,
        down: 0,
        ineligible: 0,
        timeout: least..=least,
        delay: delay..=delay,
        sync: Duration::ZERO,
        cutoff: LIMIT,
    };
    let mut world = election.made(1, pre_vote)?;
    world.start(0).map_err(|e| e.to_string())?;
    until(&mut world, Time::ZERO + least / 2)?;
    for node in election.alive().skip(1) {
        world.start(place(node)).map_err(|e| e.to_string())?;
    }
    run(&mut world, |world| world.sent_of("RequestVote") > 0)?;
    let begun = world.now();
    let first = NodeId(1);
    run(&mut world, |world| {
        world.protocol(first).and_then(Raft::leader) == Some(first)
    })?;
    let delays = world.now().since(begun).as_nanos() / delay.as_nanos();
    let messages = world.sent_of("RequestVote") + world.sent_of("Vote");
    Ok((delays as u64, messages))
}

/// Whether the first election of a cluster elects nobody: `alive` of `servers` start at once, with
/// timeouts over a range of which the one-way delay is the share `delay`; disks are free.
///
/// # Errors
/// When the options do not fit or an invariant breaks.
pub fn splits(servers: u16, alive: u16, delay: f64, seed: u64) -> Result<bool, String> {
    let range = Duration::from_millis(100);
    let least = Duration::from_secs(1);
    let delay = range.mul_f64(delay);
    let election = Election {
        servers,
        down: servers - alive,
        ineligible: 0,
        timeout: least..=least + range,
        delay: delay..=delay,
        sync: Duration::ZERO,
        cutoff: LIMIT,
    };
    let mut world = election.world(seed)?;
    for node in election.alive() {
        world.start(place(node)).map_err(|e| e.to_string())?;
    }
    // Whoever is elected says so a delay later; nobody stands a second time before that.
    let over = Time::ZERO + least + range + delay * 3;
    until(&mut world, over)?;
    let elected = world.take_told().into_iter().any(|(_, event)| {
        matches!(
            event,
            Event::LeaderChanged {
                leader: Some(_),
                ..
            }
        )
    });
    Ok(!elected)
}

/// The probability of that: k of the others stand within a delay of the first, for enough k
/// [Ongaro14 §9.2].
#[must_use]
pub fn split_probability(servers: u16, alive: u16, delay: f64) -> f64 {
    let candidates = alive - servers / 2 + 1;
    (candidates - 1..=alive)
        .map(|k| {
            let ways = (0..k).fold(1.0, |ways, i| {
                ways * f64::from(alive - i) / f64::from(i + 1)
            });
            ways * delay.powi(k.into()) * (1.0 - delay).powi((alive - k).into())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_range_of_timeouts_splits_fewer_votes() {
        let split = |share| {
            (0..400)
                .filter(|seed| splits(5, 4, share, *seed).unwrap())
                .count()
        };
        let (wide, narrow) = (split(0.1), split(0.3));
        assert!(wide * 2 < narrow, "{wide} {narrow}");
    }

    #[test]
    fn the_formula_gives_the_published_figures() {
        for (servers, alive, delay, published) in
            [(5, 4, 0.1, 0.0523), (5, 4, 0.2, 0.1808), (9, 5, 0.1, 0.41)]
        {
            let ours = split_probability(servers, alive, delay);
            assert!((ours - published).abs() < 5e-4, "{ours} {published}");
        }
    }

    #[test]
    fn an_election_without_a_rival_takes_a_round_trip_and_pre_vote_another() {
        for servers in [3, 5, 7] {
            let others = u64::from(servers) - 1;
            assert_eq!(cost(servers, false).unwrap(), (2, 2 * others));
            assert_eq!(cost(servers, true).unwrap(), (4, 4 * others));
        }
    }

    #[test]
    fn a_seed_replays() {
        let ms = Duration::from_millis;
        let election = Election::published(ms(150)..=ms(300));
        assert_eq!(election.outage(3), election.outage(3));
    }
}
