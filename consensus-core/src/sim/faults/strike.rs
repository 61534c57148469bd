//! What each kind does.

use super::{Ending, Faults, MILLI};
use crate::{
    Algorithm, Input, NodeId, Time, Violation,
    fault::{FaultKind, Rate},
    sim::{
        chance::Chance,
        disk::Keep,
        process::Clock,
        trace::{self, What},
        world::World,
    },
};
use alloc::{format, string::String, vec, vec::Vec};

/// The end of a process, and when it comes back.
pub(super) struct Death {
    pub(super) kind: FaultKind,
    pub(super) place: usize,
    pub(super) keep: Option<Keep>,
    pub(super) lasting: u64,
}

impl Faults {
    pub(super) fn apply<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        lasting: u64,
        chance: &mut Chance,
    ) -> Result<(), Violation> {
        let place = target(world, chance);
        match kind {
            FaultKind::Drop | FaultKind::Dup | FaultKind::Reorder | FaultKind::Delay => {
                self.weather(world, kind, lasting, chance);
            }
            FaultKind::Cut
            | FaultKind::Isolate
            | FaultKind::Deaf
            | FaultKind::Mute
            | FaultKind::Star
            | FaultKind::Chain => {
                let links = links(kind, world.nodes.len(), place, chance);
                self.close(world, kind, lasting, links);
            }
            FaultKind::Kill => {
                self.kill(
                    world,
                    Death {
                        kind,
                        place,
                        keep: None,
                        lasting,
                    },
                    chance,
                )?;
            }
            FaultKind::Powerloss => {
                for place in 0..world.nodes.len() {
                    let lasting = lasting / 2 + chance.below(lasting);
                    self.kill(
                        world,
                        Death {
                            kind,
                            place,
                            keep: None,
                            lasting,
                        },
                        chance,
                    )?;
                }
            }
            FaultKind::Pause | FaultKind::Slow | FaultKind::Skew => {
                self.hinder(world, kind, place, lasting, chance);
            }
            _ => self.disk(world, kind, place, lasting, chance),
        }
        Ok(())
    }

    /// A process that stands still or is slow; a clock at another rate.
    fn hinder<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        place: usize,
        lasting: u64,
        chance: &mut Chance,
    ) {
        let node = &mut world.nodes[place];
        let (text, ending) = match kind {
            FaultKind::Pause if node.is_running() => {
                node.paused += 1;
                (format!("{kind}"), Ending::Resume(place))
            }
            FaultKind::Slow if node.is_running() && node.slow == 0 => {
                node.slow = chance.within(MILLI / 10..=20 * MILLI);
                let by = Time::from_nanos(node.slow);
                (format!("{kind} by {by}"), Ending::Speed(place))
            }
            FaultKind::Skew => {
                // Within the bound of 5 % that leases allow for.
                let rate = Clock::RATE - 50_000 + chance.below(100_001);
                world.skew(place, rate);
                (format!("{kind} to {rate} millionths"), Ending::Clock(place))
            }
            _ => return,
        };
        world.note(Some(place), || fault(text));
        self.count(kind);
        self.end(world, lasting, ending);
    }

    fn disk<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        kind: FaultKind,
        place: usize,
        lasting: u64,
        chance: &mut Chance,
    ) {
        let node = &mut world.nodes[place];
        let ending = match kind {
            FaultKind::Torn | FaultKind::Lost if node.trap == 0 => {
                // The moment that matters is just after a batch, when messages have left and records
                // have not arrived: it is waited for, and counted when it comes.
                node.trap = chance.within(1..=4) as u32;
                self.traps.push((place, kind, lasting));
                return;
            }
            FaultKind::Eio if node.is_running() => {
                // Counted when it happens.
                node.disk.fails = true;
                return;
            }
            FaultKind::Rot | FaultKind::Misdirect | FaultKind::Wipe
                if self.budget > 0 && node.disk.damage.is_none() && node.disk.retained() > 0 =>
            {
                // The storage layer refuses such a disk, so the node stays out for good.
                self.budget -= 1;
                node.disk.damage = Some(kind);
                world.crash(place, None);
                None
            }
            FaultKind::Enospc if !node.disk.full => {
                node.disk.full = true;
                Some(Ending::Room(place))
            }
            FaultKind::Slowdisk if node.disk.slower == 0 => {
                node.disk.slower = chance.within(MILLI..=200 * MILLI);
                Some(Ending::Disk(place))
            }
            _ => return,
        };
        world.note(Some(place), || fault(format!("{kind}")));
        self.count(kind);
        if let Some(ending) = ending {
            self.end(world, lasting, ending);
        }
    }

    pub(super) fn weather<A: Algorithm>(
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
                .map_or(String::new(), |kind| format!(" of {kind}")),
            weather.dup,
            weather.reorder,
            weather.slower
        );
        world.note(None, || fault(text));
        self.end(world, lasting, Ending::Weather(kind));
    }

    pub(super) fn close<A: Algorithm>(
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

    /// Counts what struck: `torn` and `lost` by what the disk really lost.
    pub(super) fn kill<A: Algorithm>(
        &mut self,
        world: &mut World<A>,
        death: Death,
        chance: &mut Chance,
    ) -> Result<(), Violation> {
        let Death {
            kind,
            place,
            keep,
            lasting,
        } = death;
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
}

pub(super) fn fault(text: String) -> What {
    What::Fault(text)
}

fn world_name(place: usize) -> String {
    trace::name(NodeId(place as u16 + 1))
}

/// The links that a kind closes.
fn links(kind: FaultKind, count: usize, place: usize, chance: &mut Chance) -> Vec<(usize, usize)> {
    if kind == FaultKind::Cut {
        let other = (place + 1 + chance.below(count as u64 - 1) as usize) % count;
        return vec![(place, other), (other, place)];
    }
    // `isolate` parts one node, or a part of the cluster, from the rest.
    let side = 1 + chance.below(count as u64 / 2) as usize;
    let inside = |node: usize| (node + count - place) % count < side;
    pairs(count)
        .filter(|(from, to)| match kind {
            FaultKind::Isolate => inside(*from) != inside(*to),
            FaultKind::Deaf => *to == place,
            FaultKind::Mute => *from == place,
            FaultKind::Star => *from != place && *to != place,
            _ => from.abs_diff(*to) > 1,
        })
        .collect()
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
