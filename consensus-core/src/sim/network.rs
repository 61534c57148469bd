//! Links between nodes: delay, loss, duplication, order, and who hears whom.

use super::chance::Chance;
use crate::fault::Rate;
use alloc::{vec, vec::Vec};

/// One direction between two nodes.
#[derive(Clone, Debug, Default)]
struct Link {
    /// How many faults close it at present.
    closed: u16,
    /// Nothing arrives before this.
    clogged: u64,
    /// When the message sent last arrives, for links that keep order.
    latest: u64,
    /// What every message takes on top of the weather's delay.
    longer: u64,
}

/// Delays and rates; nanoseconds.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The least delay.
    pub least: u64,
    /// The mean of what comes on top.
    pub jitter: u64,
    /// Whether what comes on top has a long tail; else it is uniform up to twice the mean.
    pub tailed: bool,
    /// Whether a link keeps order when nothing else disturbs it.
    pub ordered: bool,
    /// Loses messages.
    pub drop: Rate,
    /// Loses messages of this kind only.
    pub only: Option<&'static str>,
    /// Doubles messages.
    pub dup: Rate,
    /// How much later the second may come.
    pub echo: u64,
    /// Lets messages be overtaken.
    pub reorder: Rate,
    /// So many times slower; 1 normally.
    pub slower: u64,
}

impl Weather {
    /// A constant delay and nothing else.
    #[must_use]
    pub const fn constant(delay: u64) -> Self {
        Self {
            least: delay,
            jitter: 0,
            tailed: false,
            ordered: true,
            drop: Rate(0),
            only: None,
            dup: Rate(0),
            echo: 0,
            reorder: Rate(0),
            slower: 1,
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fate {
    /// When it arrives; none: never.
    pub(crate) arrives: Option<u64>,
    /// When it arrives once more.
    pub(crate) again: Option<u64>,
}

/// How often the weather had its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Toll {
    pub(crate) dropped: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) delayed: u64,
    pub(crate) blocked: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    count: usize,
    links: Vec<Link>,
    pub(crate) weather: Weather,
    /// Links between these nodes are above all weather: the core of the liveness phase.
    pub(crate) sheltered: Vec<bool>,
    pub(crate) toll: Toll,
    chance: Chance,
}

impl Network {
    pub(crate) fn new(count: usize, weather: Weather, chance: Chance) -> Self {
        Self {
            count,
            links: vec![Link::default(); count * count],
            weather,
            sheltered: vec![false; count],
            toll: Toll::default(),
            chance,
        }
    }

    /// Closes the way from `from` to `to`, on top of whatever closes it already.
    pub(crate) fn close(&mut self, from: usize, to: usize) {
        self.links[from * self.count + to].closed += 1;
    }

    /// Takes one closing back.
    pub(crate) fn open(&mut self, from: usize, to: usize) {
        let link = &mut self.links[from * self.count + to];
        link.closed = link.closed.saturating_sub(1);
    }

    pub(crate) fn clog(&mut self, from: usize, to: usize, until: u64) {
        let link = &mut self.links[from * self.count + to];
        link.clogged = link.clogged.max(until);
    }

    /// Every message takes this much more.
    pub(crate) fn lengthen(&mut self, from: usize, to: usize, more: u64) {
        self.links[from * self.count + to].longer = more;
    }

    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        self.links[from * self.count + to].closed == 0
    }

    /// Opens every link among `core` and shelters it from the weather.
    pub(crate) fn shelter(&mut self, core: &[usize]) {
        for &from in core {
            self.sheltered[from] = true;
            for &to in core {
                let link = &mut self.links[from * self.count + to];
                let longer = link.longer;
                *link = Link {
                    longer,
                    ..Link::default()
                };
            }
        }
    }

    #[inline]
    pub(crate) fn route(&mut self, now: u64, from: usize, to: usize, kind: &'static str) -> Fate {
        let link = &mut self.links[from * self.count + to];
        if link.closed > 0 {
            self.toll.blocked += 1;
            return Fate::default();
        }
        let weather = &self.weather;
        let sheltered = self.sheltered[from] && self.sheltered[to];
        // One draw decides all the yes or no: sixteen bits each.
        let bits = if sheltered {
            u64::MAX
        } else {
            self.chance.bits()
        };
        let hit = |rate: Rate, lane: u32| {
            rate.0 > 0 && ((bits >> (16 * lane)) & 0xffff) * 1_000_000 < u64::from(rate.0) << 16
        };
        if hit(weather.drop, 0) && weather.only.is_none_or(|only| only == kind) {
            self.toll.dropped += 1;
            return Fate::default();
        }
        let jitter = if weather.jitter == 0 {
            0
        } else if weather.tailed {
            self.chance.exponential(weather.jitter)
        } else {
            self.chance.below(2 * weather.jitter)
        };
        let slower = if sheltered { 1 } else { weather.slower };
        let mut arrives = now + (weather.least + link.longer + jitter) * slower;
        if slower > 1 || link.clogged > arrives {
            self.toll.delayed += 1;
            arrives = arrives.max(link.clogged);
        }
        if hit(weather.reorder, 1) {
            self.toll.reordered += 1;
            arrives += self
                .chance
                .exponential(4 * (weather.least + weather.jitter));
        } else if weather.ordered {
            arrives = arrives.max(link.latest);
            link.latest = arrives;
        }
        let again = hit(weather.dup, 2).then(|| {
            self.toll.doubled += 1;
            arrives + self.chance.exponential(weather.echo)
        });
        Fate {
            arrives: Some(arrives),
            again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(weather: Weather) -> Network {
        Network::new(3, weather, Chance::new(1, 1))
    }

    #[test]
    fn a_constant_link_delays_by_its_constant() {
        let mut network = network(Weather::constant(7));
        for now in [0, 5, 100] {
            let fate = network.route(now, 0, 1, "X");
            assert_eq!(
                fate,
                Fate {
                    arrives: Some(now + 7),
                    again: None
                }
            );
        }
    }

    #[test]
    fn a_closed_link_is_closed_in_one_direction_until_every_closing_is_taken_back() {
        let mut network = network(Weather::constant(7));
        network.close(0, 1);
        network.close(0, 1);
        network.open(0, 1);
        assert_eq!(network.route(0, 0, 1, "X"), Fate::default());
        assert!(network.route(0, 1, 0, "X").arrives.is_some());
        network.open(0, 1);
        assert!(network.route(0, 0, 1, "X").arrives.is_some());
    }

    #[test]
    fn rates_are_kept_and_spare_other_kinds_and_the_core() {
        let drop = Rate(250_000);
        let mut network = network(Weather {
            drop,
            only: Some("X"),
            ..Weather::constant(7)
        });
        let lost = |network: &mut Network, to, kind| {
            (0..10_000)
                .filter(|_| network.route(0, 0, to, kind).arrives.is_none())
                .count()
        };
        assert!((2_300..2_700).contains(&lost(&mut network, 1, "X")));
        assert_eq!(lost(&mut network, 1, "Y"), 0);
        network.shelter(&[0, 1]);
        assert_eq!(lost(&mut network, 1, "X"), 0);
        assert!(lost(&mut network, 2, "X") > 0);
    }

    #[test]
    fn an_ordered_link_keeps_order() {
        let weather = Weather {
            jitter: 50,
            tailed: true,
            ..Weather::constant(7)
        };
        let mut network = network(weather);
        let mut latest = 0;
        for now in 0..1_000 {
            let arrives = network
                .route(now, 0, 1, "X")
                .arrives
                .expect("nothing is lost");
            assert!(arrives >= latest);
            latest = arrives;
        }
    }
}
