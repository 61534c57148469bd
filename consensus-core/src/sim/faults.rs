//! What is done to a world: when it strikes, whom, and when it heals.
//!
//! Every kind has a stream of draws of its own. A seed draws the kinds that are on, how often each
//! strikes and how long it lasts: some seeds are calm, some are hell. Lasting damage is bounded, so
//! that in every run enough good copies are left to make recovery owed.

// A fault that finds nothing to strike does nothing; as a guard of its arm that would read like a
// choice between kinds.
#![allow(clippy::collapsible_match)]

use super::{
    chance::Chance,
    disk::Keep,
    process::Clock,
    world::{World, purpose},
};
use crate::{
    Algorithm, Input, NodeId, Time, Violation,
    fault::{FaultKind, Rate},
};
use alloc::{collections::BTreeMap, format, vec, vec::Vec};

/// The kinds that the simulator knows. The others of the vocabulary need real sockets.
pub const KINDS: &[FaultKind] = &[
    FaultKind::Drop,
    FaultKind::Dup,
    FaultKind::Reorder,
    FaultKind::Delay,
    FaultKind::Cut,
    FaultKind::Isolate,
    FaultKind::Deaf,
    FaultKind::Mute,
    FaultKind::Star,
    FaultKind::Chain,
    FaultKind::Kill,
    FaultKind::Powerloss,
    FaultKind::Pause,
    FaultKind::Slow,
    FaultKind::Skew,
    FaultKind::Torn,
    FaultKind::Lost,
    FaultKind::Rot,
    FaultKind::Misdirect,
    FaultKind::Eio,
    FaultKind::Enospc,
    FaultKind::Slowdisk,
    FaultKind::Wipe,
];

const MILLI: u64 = 1_000_000;

/// One kind that is on.
struct Source {
    kind: FaultKind,
    /// Mean time between two strikes.
    every: u64,
    /// Mean time until one heals.
    lasting: u64,
    chance: Chance,
}

/// What has to be undone.
enum Ending {
    Restart(usize),
    Resume(usize),
    Open(Vec<(usize, usize)>),
    Weather(FaultKind),
    Speed(usize),
    Clock(usize),
    Room(usize),
    Disk(usize),
}

pub(crate) struct Faults {
    sources: Vec<Source>,
    endings: Vec<Option<Ending>>,
    /// Disks that may still be damaged for good.
    budget: usize,
    /// Nothing new strikes and nothing heals.
    frozen: bool,
    /// Nodes that die when they leave something unsynced: by which fault, and for how long.
    traps: Vec<(usize, FaultKind, u64)>,
    restarts: Chance,
    pub(crate) fired: BTreeMap<FaultKind, u64>,
}

/// What the alarms of a run mean: the word that the world hands back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alarm {
    Strike(u32),
    End(u32),
    Client(u32),
    Timeout(u32, u32),
    Deadline(u32),
}

impl Alarm {
    pub(crate) fn word(self) -> u64 {
        let (tag, low) = match self {
            Self::Strike(source) => (1u64, u64::from(source)),
            Self::End(ending) => (2, u64::from(ending)),
            Self::Client(client) => (3, u64::from(client)),
            Self::Timeout(client, call) => (4, u64::from(client) << 32 | u64::from(call)),
            Self::Deadline(phase) => (5, u64::from(phase)),
        };
        tag << 56 | low
    }

    pub(crate) fn read(word: u64) -> Self {
        let low = word as u32;
        match word >> 56 {
            1 => Self::Strike(low),
            2 => Self::End(low),
            3 => Self::Client(low),
            4 => Self::Timeout((word >> 32) as u32 & 0xff_ffff, low),
            _ => Self::Deadline(low),
        }
    }
}

impl Faults {
    pub(crate) fn draw(seed: u64, kinds: &[FaultKind], budget: usize) -> Self {
        let mut shape = Chance::new(seed, purpose::FAULT);
        let temper = shape.below(10);
        let mut sources = Vec::new();
        for (i, &kind) in KINDS.iter().enumerate() {
            let mut chance = Chance::new(seed, purpose::FAULT + 1 + i as u64);
            let on = match temper {
                0 => false,
                1..=6 => chance.one_in(2, 5),
                _ => true,
            };
            let every = chance.within(100 * MILLI..=4_000 * MILLI);
            let lasting = chance.within(5 * MILLI..=1_500 * MILLI);
            if on && kinds.contains(&kind) {
                sources.push(Source {
                    kind,
                    every,
                    lasting,
                    chance,
                });
            }
        }
        Self {
            sources,
            endings: Vec::new(),
            budget,
            frozen: false,
            traps: Vec::new(),
            restarts: shape,
            fired: BTreeMap::new(),
        }
    }

    pub(crate) fn is_on(&self, kind: FaultKind) -> bool {
        self.sources.iter().any(|source| source.kind == kind)
    }

    pub(crate) fn kinds(&self) -> Vec<FaultKind> {
        self.sources.iter().map(|source| source.kind).collect()
    }

    pub(crate) fn begin<A: Algorithm>(&mut self, world: &mut World<A>) {
        for (i, source) in self.sources.iter_mut().enumerate() {
            let at = Time::from_nanos(world.now + source.chance.exponential(source.every));
            world.call_at(at, Alarm::Strike(i as u32).word());
        }
    }

    fn count(&mut self, kind: FaultKind) {
        *self.fired.entry(kind).or_default() += 1;
    }

    fn end<A: Algorithm>(&mut self, world: &mut World<A>, after: u64, ending: Ending) {
        let alarm = Alarm::End(self.endings.len() as u32);
        self.endings.push(Some(ending));
        world.call_at(Time::from_nanos(world.now + after.max(1)), alarm.word());
    }

    /// A source's time has come.
    pub(crate) fn strike<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        index: u32,
    ) -> Result<(), Violation> {
        if self.frozen {
            return Ok(());
        }
        let Some(source) = self.sources.get_mut(index as usize) else {
            return Ok(());
        };
        let (kind, mut chance) = (source.kind, source.chance.clone());
        let again = Time::from_nanos(world.now + MILLI + chance.exponential(source.every));
        // A minimum, so that a state lasts long enough to matter.
        let lasting = source.lasting / 4 + chance.exponential(source.lasting);
        world.call_at(again, Alarm::Strike(index).word());
        let result = self.apply(world, kind, lasting, &mut chance);
        self.sources[index as usize].chance = chance;
        result
    }

    fn apply<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        lasting: u64,
        chance: &mut Chance,
    ) -> Result<(), Violation> {
        let count = world.nodes.len();
        let place = target(world, chance);
        match kind {
            FaultKind::Drop | FaultKind::Dup | FaultKind::Reorder | FaultKind::Delay => {
                self.weather(world, kind, lasting, chance)
            }
            FaultKind::Cut => {
                let other = (place + 1 + chance.below(count as u64 - 1) as usize) % count;
                self.close(world, kind, lasting, vec![(place, other), (other, place)]);
            }
            FaultKind::Isolate => {
                // One node, or a part of the cluster from the rest.
                let side = 1 + chance.below(count as u64 / 2) as usize;
                let inside = |node: usize| (node + count - place) % count < side;
                let links = pairs(count)
                    .filter(|(a, b)| inside(*a) != inside(*b))
                    .collect();
                self.close(world, kind, lasting, links);
            }
            FaultKind::Deaf => {
                let links = pairs(count).filter(|(_, to)| *to == place).collect();
                self.close(world, kind, lasting, links);
            }
            FaultKind::Mute => {
                let links = pairs(count).filter(|(from, _)| *from == place).collect();
                self.close(world, kind, lasting, links);
            }
            FaultKind::Star => {
                let links = pairs(count)
                    .filter(|(a, b)| *a != place && *b != place)
                    .collect();
                self.close(world, kind, lasting, links);
            }
            FaultKind::Chain => {
                let links = pairs(count).filter(|(a, b)| a.abs_diff(*b) > 1).collect();
                self.close(world, kind, lasting, links);
            }
            FaultKind::Kill => self.kill(world, kind, place, None, lasting, chance)?,
            FaultKind::Powerloss => {
                for place in 0..count {
                    let after = lasting / 2 + chance.below(lasting);
                    self.kill(world, kind, place, None, after, chance)?;
                }
            }
            FaultKind::Torn | FaultKind::Lost => {
                // The moment that matters is just after a batch, when messages have left and records
                // have not arrived: it is waited for.
                if world.nodes[place].trap == 0 {
                    world.nodes[place].trap = chance.within(1..=4) as u32;
                    self.traps.push((place, kind, lasting));
                }
            }
            FaultKind::Rot | FaultKind::Misdirect | FaultKind::Wipe => {
                // The storage layer refuses such a disk, so the node stays out for good.
                let node = &mut world.nodes[place];
                if self.budget > 0 && node.disk.damage.is_none() && node.disk.retained() > 0 {
                    self.budget -= 1;
                    node.disk.damage = Some(kind);
                    world.crash(place, None);
                    world.note(Some(place), || {
                        fault(format!("{kind}: the disk is refused"))
                    });
                    self.count(kind);
                }
            }
            FaultKind::Pause => {
                if world.nodes[place].is_running() {
                    world.nodes[place].paused += 1;
                    world.note(Some(place), || fault(format!("{kind}")));
                    self.count(kind);
                    self.end(world, lasting, Ending::Resume(place));
                }
            }
            FaultKind::Slow => {
                if world.nodes[place].is_running() && world.nodes[place].slow == 0 {
                    let by = chance.within(MILLI / 10..=20 * MILLI);
                    world.nodes[place].slow = by;
                    world.note(Some(place), || {
                        fault(format!("{kind} by {}", Time::from_nanos(by)))
                    });
                    self.count(kind);
                    self.end(world, lasting, Ending::Speed(place));
                }
            }
            FaultKind::Skew => {
                // Within the bound of 5 % that leases allow for.
                let rate = Clock::RATE - 50_000 + chance.below(100_001);
                world.skew(place, rate);
                world.note(Some(place), || {
                    fault(format!("{kind} to {rate} millionths"))
                });
                self.count(kind);
                self.end(world, lasting, Ending::Clock(place));
            }
            FaultKind::Eio => {
                // Counted when it happens.
                if world.nodes[place].is_running() {
                    world.nodes[place].disk.fails = true;
                }
            }
            FaultKind::Enospc => {
                if !world.nodes[place].disk.full {
                    world.nodes[place].disk.full = true;
                    world.note(Some(place), || fault(format!("{kind}")));
                    self.count(kind);
                    self.end(world, lasting, Ending::Room(place));
                }
            }
            FaultKind::Slowdisk => {
                if world.nodes[place].disk.slower == 0 {
                    world.nodes[place].disk.slower = chance.within(MILLI..=200 * MILLI);
                    world.note(Some(place), || fault(format!("{kind}")));
                    self.count(kind);
                    self.end(world, lasting, Ending::Disk(place));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn weather<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        lasting: u64,
        chance: &mut Chance,
    ) {
        let weather = &mut world.network.weather;
        match kind {
            FaultKind::Drop => {
                // All of one kind finds what a share of everything does not.
                weather.only = if chance.one_in(1, 3) {
                    chance.pick(&world.kinds)
                } else {
                    None
                };
                let most = if weather.only.is_some() {
                    1_000_000
                } else {
                    300_000
                };
                weather.drop = Rate(chance.within(10_000..=most) as u32);
            }
            FaultKind::Dup => {
                weather.dup = Rate(chance.within(10_000..=500_000) as u32);
                // Mostly soon; sometimes much later, from another age.
                let most = if chance.one_in(1, 3) { 5_000 } else { 20 };
                weather.echo = chance.within(MILLI..=most * MILLI);
            }
            FaultKind::Reorder => weather.reorder = Rate(chance.within(10_000..=500_000) as u32),
            _ => {
                weather.slower = chance.within(2..=30);
                if let (Some(a), Some(b)) = (
                    world.members.position(NodeId(1)),
                    chance.pick(&(0..world.nodes.len()).collect::<Vec<_>>()),
                ) && a != b
                {
                    let until = world.now + lasting;
                    world.network.clog(a, b, until);
                }
            }
        }
        let weather = &world.network.weather;
        let text = format!(
            "{kind}: drop {}{}, dup {}, reorder {}, {} times slower",
            weather.drop,
            weather
                .only
                .map_or(alloc::string::String::new(), |kind| format!(" of {kind}")),
            weather.dup,
            weather.reorder,
            weather.slower
        );
        world.note(None, || fault(text));
        self.end(world, lasting, Ending::Weather(kind));
    }

    fn close<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        lasting: u64,
        links: Vec<(usize, usize)>,
    ) {
        // What is closed already or leads nowhere does not count.
        let bites = |(a, b): &(usize, usize)| {
            world.network.is_open(*a, *b)
                && world.nodes[*a].process.is_some()
                && world.nodes[*b].process.is_some()
        };
        if links.iter().any(bites) {
            self.count(kind);
        }
        for (from, to) in &links {
            world.network.close(*from, *to);
        }
        world.note(None, || {
            let id = |place: &usize| world_name(*place);
            let links: Vec<_> = links
                .iter()
                .map(|(a, b)| format!("{}→{}", id(a), id(b)))
                .collect();
            fault(format!("{kind} closes {}", links.join(" ")))
        });
        self.end(world, lasting, Ending::Open(links));
    }

    fn kill<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        place: usize,
        keep: Option<Keep>,
        lasting: u64,
        chance: &mut Chance,
    ) -> Result<(), Violation> {
        if !world.crash(place, keep) {
            return Ok(());
        }
        if !matches!(kind, FaultKind::Torn | FaultKind::Lost) {
            self.count(kind);
        }
        self.end(world, lasting, Ending::Restart(place));
        // Some peers notice.
        let gone = world.nodes[place].id;
        for other in 0..world.nodes.len() {
            if other != place && chance.one_in(1, 2) && world.nodes[other].is_running() {
                world.input(other, Input::Unreachable(gone))?;
            }
        }
        Ok(())
    }

    /// A node has left something unsynced, as a trap set by `torn` or `lost` waited for.
    pub(crate) fn trapped<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        place: usize,
    ) -> Result<(), Violation> {
        let Some(at) = self.traps.iter().position(|(trap, ..)| *trap == place) else {
            return Ok(());
        };
        let (_, kind, lasting) = self.traps.swap_remove(at);
        if self.frozen {
            return Ok(());
        }
        let mut chance = self.restarts.clone();
        let pending = world.nodes[place].disk.pending();
        let keep = match kind {
            FaultKind::Torn => {
                Keep::Torn(chance.within(pending.min(1)..=pending.saturating_sub(1)))
            }
            _ => Keep::Synced,
        };
        // Back soon, as often as not: what it had sent is still under way.
        let lasting = if chance.one_in(1, 2) {
            lasting
        } else {
            chance.within(1..=5 * MILLI)
        };
        let result = self.kill(world, kind, place, Some(keep), lasting, &mut chance);
        self.restarts = chance;
        result
    }

    /// A node stopped by itself because of its disk.
    pub(crate) fn stopped<A: Algorithm>(&mut self, world: &mut World<A>, place: usize) {
        self.count(FaultKind::Eio);
        if !self.frozen {
            let after = self.restarts.within(MILLI..=1_000 * MILLI);
            self.end(world, after, Ending::Restart(place));
        }
    }

    /// Something heals.
    pub(crate) fn ended<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        index: u32,
    ) -> Result<(), Violation> {
        if self.frozen {
            return Ok(());
        }
        let Some(ending) = self.endings.get_mut(index as usize).and_then(Option::take) else {
            return Ok(());
        };
        match ending {
            Ending::Restart(place) => {
                if world.start(place)? {
                    self.count(FaultKind::Restart);
                }
            }
            Ending::Resume(place) => {
                world.note(Some(place), || fault("goes on".into()));
                world.resume(place)?;
            }
            Ending::Open(links) => {
                for (from, to) in links {
                    world.network.open(from, to);
                }
            }
            Ending::Weather(kind) => {
                let weather = &mut world.network.weather;
                match kind {
                    FaultKind::Drop => weather.drop = Rate(0),
                    FaultKind::Dup => weather.dup = Rate(0),
                    FaultKind::Reorder => weather.reorder = Rate(0),
                    _ => weather.slower = 1,
                }
            }
            Ending::Speed(place) => world.nodes[place].slow = 0,
            Ending::Clock(place) => world.skew(place, Clock::RATE),
            Ending::Room(place) => {
                world.note(Some(place), || fault("there is room again".into()));
                world.make_room(place);
            }
            Ending::Disk(place) => world.nodes[place].disk.slower = 0,
        }
        Ok(())
    }

    /// The liveness phase: `core` is healed, and everything else stays as it is for ever.
    pub(crate) fn freeze<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        core: &[usize],
    ) -> Result<(), Violation> {
        self.frozen = true;
        world.network.shelter(core);
        for &place in core {
            let node = &mut world.nodes[place];
            node.slow = 0;
            node.disk.slower = 0;
            node.disk.fails = false;
            world.skew(place, Clock::RATE);
            world.make_room(place);
            world.nodes[place].paused = world.nodes[place].paused.min(1);
            if world.nodes[place].paused > 0 {
                world.resume(place)?;
            }
            world.start(place)?;
        }
        Ok(())
    }

    /// What the network and the disks counted.
    pub(crate) fn collect<A: Algorithm>(&mut self, world: &World<A>) {
        let toll = world.network.toll;
        let (lost, torn) = world.losses;
        for (kind, times) in [
            (FaultKind::Drop, toll.dropped),
            (FaultKind::Dup, toll.doubled),
            (FaultKind::Reorder, toll.reordered),
            (FaultKind::Delay, toll.delayed),
            (FaultKind::Lost, lost),
            (FaultKind::Torn, torn),
        ] {
            if times > 0 {
                *self.fired.entry(kind).or_default() += times;
            }
        }
    }
}

fn fault(text: alloc::string::String) -> super::trace::What {
    super::trace::What::Fault(text)
}

fn world_name(place: usize) -> alloc::string::String {
    super::trace::name(NodeId(place as u16 + 1))
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count)
        .flat_map(move |a| (0..count).map(move |b| (a, b)))
        .filter(|(a, b)| a != b)
}

/// Any node, or as often as not the one that decides for the others.
fn target<A: Algorithm>(world: &World<A>, chance: &mut Chance) -> usize {
    let any = chance.below(world.nodes.len() as u64) as usize;
    if chance.one_in(1, 2) {
        return any;
    }
    leader(world).unwrap_or(any)
}

/// Whom most running nodes take for the one that decides.
pub(crate) fn leader<A: Algorithm>(world: &World<A>) -> Option<usize> {
    let mut votes = vec![0; world.nodes.len()];
    for node in &world.nodes {
        if let Some(process) = &node.process
            && let Some(leader) = process.protocol.leader()
            && let Some(place) = world.members.position(leader)
        {
            votes[place] += 1;
        }
    }
    (0..votes.len())
        .max_by_key(|place| votes[*place])
        .filter(|place| votes[*place] > 0)
}
