//! What is done to a world: when it strikes, whom, and when it heals.
//!
//! Every kind has a stream of draws of its own. A seed draws the kinds that are on, how often each
//! strikes and how long it lasts: some seeds are calm, some are hell. Lasting damage is bounded, so
//! that in every run enough good copies are left to make recovery owed.

mod strike;

use strike::{Death, fault};

use super::{
    chance::Chance,
    disk::Keep,
    process::Clock,
    world::{World, purpose},
};
use crate::{
    Algorithm, Time, Violation,
    fault::{FaultKind, Rate},
};
use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

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
    /// Mean time until the first strike.
    first: u64,
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
    /// How long after the last operation a fault may have to last to do its harm.
    pub(crate) lingers: Duration,
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
                    first: every,
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
            lingers: Duration::ZERO,
            fired: BTreeMap::new(),
        }
    }

    /// Lets `kinds` begin early and last longer than `least`, with as much time between them.
    pub(crate) fn prolong(&mut self, kinds: &[FaultKind], least: Duration) {
        let nanos = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        for source in &mut self.sources {
            if kinds.contains(&source.kind) {
                source.first /= 8;
                source.every = source.every.saturating_add(nanos);
                source.lasting = source.lasting.saturating_add(nanos);
                self.lingers = least;
            }
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
            let at = Time::from_nanos(world.now + source.chance.exponential(source.first));
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
        let death = Death {
            kind,
            place,
            keep: Some(keep),
            lasting,
        };
        let result = self.kill(world, death, &mut chance);
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
