//! Emulated links: what happens to packets between this node and others, by command.

use crate::emulated::Emulated;
use crate::error::LinkError;
use consensus_core::NodeId;
use quinn::AsyncUdpSocket;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// The hand on the emulated links of one socket. Clones are the same hand.
///
/// Packets that leave are judged here, so each direction of a link is emulated by its sender; only
/// `deaf` and `cut … in` drop what arrives. Judgement is drawn from a generator with a seed.
#[derive(Clone)]
pub struct LinkControl {
    inner: Arc<Inner>,
}

struct Inner {
    /// Whether any packet is to be treated otherwise than sent at once: asked without a lock.
    is_active: AtomicBool,
    rules: Mutex<Rules>,
}

impl fmt::Debug for LinkControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        f.debug_struct("LinkControl")
            .field("all", &rules.all)
            .field("cut_out", &rules.cut_out)
            .field("cut_in", &rules.cut_in)
            .finish_non_exhaustive()
    }
}

/// What a link does to packets.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Quality {
    delay: Duration,
    jitter: Duration,
    loss: f64,
    duplication: f64,
    reordering: f64,
}

struct Rules {
    chance: Pcg64,
    nodes: BTreeMap<SocketAddr, NodeId>,
    all: Quality,
    clients: Quality,
    each: BTreeMap<NodeId, Quality>,
    cut_out: BTreeSet<NodeId>,
    cut_in: BTreeSet<NodeId>,
    is_deaf: bool,
    is_mute: bool,
}

/// What becomes of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fate {
    /// Delays of its copies; none when it is lost.
    pub(crate) copies: [Option<Duration>; 2],
    /// May overtake what left before it.
    pub(crate) overtakes: bool,
}

impl Fate {
    /// Sent at once, once.
    pub(crate) const CLEAN: Self = Self {
        copies: [Some(Duration::ZERO), None],
        overtakes: false,
    };
}

/// Whom a command is about.
enum Whom {
    All,
    Clients,
    Node(NodeId),
}

impl LinkControl {
    /// Perfect links. `seed` decides every draw.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rules = Rules {
            chance: Pcg64::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            all: Quality::default(),
            clients: Quality::default(),
            each: BTreeMap::new(),
            cut_out: BTreeSet::new(),
            cut_in: BTreeSet::new(),
            is_deaf: false,
            is_mute: false,
        };
        let inner = Inner {
            is_active: AtomicBool::new(false),
            rules: Mutex::new(rules),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Links as a specification such as `delay=20ms,jitter=2ms,loss=0.1%` wants them, to all nodes;
    /// also `dup=` and `reorder=`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_spec(spec: &str, seed: u64) -> Result<Self, LinkError> {
        let link = Self::new(seed);
        for part in spec.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| LinkError {
                command: part.into(),
                reason: "each part is key=value, such as delay=20ms".into(),
            })?;
            link.command(&format!("{} {}", key.trim(), value.trim()))?;
        }
        Ok(link)
    }

    /// Obeys one command at once.
    ///
    /// | command | meaning |
    /// |---|---|
    /// | `cut N`, `cut N out`, `cut N in` | nothing passes to and from node N, or one way only |
    /// | `mute`, `deaf`, `isolate` | nothing leaves for nodes, arrives from nodes, or either |
    /// | `heal`, `heal N` | ends all cuts, `mute` and `deaf`; or the cuts with node N |
    /// | `delay [WHOM] 20ms±2ms` | one way; `+-` for `±`; order is kept |
    /// | `jitter [WHOM] 2ms` | the part after `±` alone |
    /// | `loss`, `dup`, `reorder [WHOM] 0.1%` | share of packets lost, doubled, let past others |
    /// | `clear` | `heal`, and every link perfect again |
    ///
    /// `WHOM` is a node id, `clients` (any address that is no node's) or, as when left out, all
    /// nodes. Clients are touched by `clients` alone: whoever isolates a node can still reach it to
    /// heal it.
    ///
    /// # Errors
    /// When the command cannot be read; nothing has changed then.
    pub fn command(&self, command: &str) -> Result<(), LinkError> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let mut rules = self.rules();
        let obeyed = rules.obey(&words);
        self.inner.is_active.store(rules.is_active(), Relaxed);
        drop(rules);
        obeyed.map_err(|reason| LinkError {
            command: command.into(),
            reason,
        })
    }

    /// Says which addresses are nodes.
    pub(crate) fn set_members(&self, members: &BTreeMap<NodeId, SocketAddr>) {
        self.rules().nodes = members
            .iter()
            .map(|(node, address)| (*address, *node))
            .collect();
    }

    /// Puts the links in front of a socket.
    pub(crate) fn wrap(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Emulated::new(socket, self.clone()))
    }

    pub(crate) fn is_active(&self) -> bool {
        self.inner.is_active.load(Relaxed)
    }

    /// Draws the fate of one packet to `address`.
    pub(crate) fn fate(&self, address: SocketAddr) -> Fate {
        self.rules().fate(address)
    }

    /// Whether packets from `address` are heard.
    pub(crate) fn hears(&self, address: SocketAddr) -> bool {
        let rules = self.rules();
        let Some(node) = rules.nodes.get(&address) else {
            return true;
        };
        !rules.is_deaf && !rules.cut_in.contains(node)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.inner
            .rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn is_active(&self) -> bool {
        let perfect = Quality::default();
        self.is_deaf
            || self.is_mute
            || !self.cut_out.is_empty()
            || !self.cut_in.is_empty()
            || self.clients != perfect
            || self.all != perfect
            || self.each.values().any(|quality| *quality != perfect)
    }

    fn fate(&mut self, address: SocketAddr) -> Fate {
        const LOST: Fate = Fate {
            copies: [None, None],
            overtakes: false,
        };
        let quality = match self.nodes.get(&address) {
            Some(node) if self.is_mute || self.cut_out.contains(node) => return LOST,
            Some(node) => *self.each.get(node).unwrap_or(&self.all),
            None => self.clients,
        };
        if quality == Quality::default() {
            return Fate::CLEAN;
        }
        // Always the same number of draws, so that a changed rate leaves the other draws alone.
        let [loss, doubled, overtakes, place, again]: [f64; 5] = self.chance.random();
        if loss < quality.loss {
            return LOST;
        }
        let delay = |place: f64| {
            let spread = quality.jitter.mul_f64(2.0 * place);
            (quality.delay + spread).saturating_sub(quality.jitter)
        };
        Fate {
            copies: [
                Some(delay(place)),
                (doubled < quality.duplication).then(|| delay(again)),
            ],
            overtakes: overtakes < quality.reordering,
        }
    }

    fn obey(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["cut", node] => {
                let node = parse_node(node)?;
                self.cut_out.insert(node);
                self.cut_in.insert(node);
            }
            ["cut", node, "out"] => drop(self.cut_out.insert(parse_node(node)?)),
            ["cut", node, "in"] => drop(self.cut_in.insert(parse_node(node)?)),
            ["mute"] => self.is_mute = true,
            ["deaf"] => self.is_deaf = true,
            ["isolate"] => (self.is_mute, self.is_deaf) = (true, true),
            ["heal", node] => {
                let node = parse_node(node)?;
                self.cut_out.remove(&node);
                self.cut_in.remove(&node);
            }
            ["heal"] => self.heal(),
            ["clear"] => {
                self.heal();
                self.each.clear();
                (self.all, self.clients) = Default::default();
            }
            [what, value] => self.set(&Whom::All, what, value)?,
            [what, whom, value] => {
                let whom = match whom {
                    "all" => Whom::All,
                    "clients" => Whom::Clients,
                    node => Whom::Node(parse_node(node)?),
                };
                self.set(&whom, what, value)?;
            }
            _ => return Err(UNKNOWN.into()),
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.cut_out.clear();
        self.cut_in.clear();
        (self.is_mute, self.is_deaf) = (false, false);
    }

    fn set(&mut self, whom: &Whom, what: &str, value: &str) -> Result<(), String> {
        // Read before anything is changed.
        let change: Box<dyn Fn(&mut Quality)> = match what {
            "delay" => {
                let (delay, jitter) = match value.split_once('±').or(value.split_once("+-")) {
                    Some((delay, jitter)) => (parse_time(delay)?, Some(parse_time(jitter)?)),
                    None => (parse_time(value)?, None),
                };
                Box::new(move |quality| {
                    quality.delay = delay;
                    quality.jitter = jitter.unwrap_or(quality.jitter);
                })
            }
            "jitter" => {
                let jitter = parse_time(value)?;
                Box::new(move |quality| quality.jitter = jitter)
            }
            "loss" | "dup" | "reorder" => {
                let share = parse_share(value)?;
                let place: fn(&mut Quality) -> &mut f64 = match what {
                    "loss" => |quality| &mut quality.loss,
                    "dup" => |quality| &mut quality.duplication,
                    _ => |quality| &mut quality.reordering,
                };
                Box::new(move |quality| *place(quality) = share)
            }
            _ => return Err(UNKNOWN.into()),
        };
        match whom {
            Whom::Clients => change(&mut self.clients),
            Whom::Node(node) => change(self.each.entry(*node).or_insert(self.all)),
            Whom::All => {
                change(&mut self.all);
                self.each.values_mut().for_each(change);
            }
        }
        Ok(())
    }
}

const UNKNOWN: &str = "known are cut, mute, deaf, isolate, heal, delay, jitter, loss, dup, reorder \
                       and clear, such as `delay 2 20ms±2ms`";

fn parse_node(text: &str) -> Result<NodeId, String> {
    let node = text.parse().ok().filter(|node| *node > 0).map(NodeId);
    node.ok_or_else(|| format!("`{text}` is no node id"))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(600);
    let wrong = || format!("`{text}` is no time up to 600s, such as 20ms, 150us or 1.5s");
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let unit = match &text[split..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..split].parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
    if time > LONGEST {
        Err(wrong())
    } else {
        Ok(time)
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no share from 0% to 100%");
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| wrong())?;
    let share = if text.ends_with('%') {
        number / 100.0
    } else {
        number
    };
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> (LinkControl, SocketAddr, SocketAddr) {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let link = LinkControl::new(7);
        link.set_members(&BTreeMap::from([
            (NodeId(2), address(2)),
            (NodeId(3), address(3)),
        ]));
        (link, address(2), address(9))
    }

    fn is_lost(link: &LinkControl, to: SocketAddr) -> bool {
        link.fate(to).copies == [None, None]
    }

    #[test]
    fn isolation_spares_clients_and_healing_ends_it() {
        let (link, node, client) = links();
        assert!(!link.is_active());
        link.command("isolate").unwrap();
        assert!(is_lost(&link, node) && !link.hears(node));
        assert!(!is_lost(&link, client) && link.hears(client));
        link.command("heal").unwrap();
        assert!(!is_lost(&link, node) && link.hears(node) && !link.is_active());
    }

    #[test]
    fn a_cut_may_be_one_way() {
        let (link, node, _) = links();
        link.command("cut 2 out").unwrap();
        assert!(is_lost(&link, node) && link.hears(node));
        link.command("heal 2").unwrap();
        link.command("cut 2 in").unwrap();
        assert!(!is_lost(&link, node) && !link.hears(node));
    }

    #[test]
    fn healing_a_cut_leaves_the_delay() {
        let (link, node, _) = links();
        link.command("delay 20ms±2ms").unwrap();
        link.command("isolate").unwrap();
        link.command("heal").unwrap();
        for _ in 0..1000 {
            let delay = link.fate(node).copies[0].unwrap();
            assert!((18..=22).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn loss_is_drawn_at_its_rate_and_the_same_from_the_same_seed() {
        let lost = || {
            let (link, node, _) = links();
            link.command("loss 10%").unwrap();
            (0..10_000).filter(|_| is_lost(&link, node)).count()
        };
        assert!((850..1150).contains(&lost()));
        assert_eq!(lost(), lost());
    }

    #[test]
    fn a_specification_of_the_command_line_is_understood() {
        let link = LinkControl::of_spec("delay=20ms,jitter=2ms,loss=0.1%", 1).unwrap();
        let all = link.rules().all;
        assert_eq!(all.delay, Duration::from_millis(20));
        assert_eq!(all.jitter, Duration::from_millis(2));
        assert!((all.loss - 0.001).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_says_what_can() {
        let (link, node, _) = links();
        for command in [
            "",
            "cut",
            "cut x",
            "cut 0",
            "delay 20",
            "delay 2 -1ms",
            "loss 101%",
            "lag 5ms",
            "delay 2 700s",
        ] {
            let error = link.command(command).unwrap_err();
            assert_eq!(error.command, command);
            assert!(!link.is_active(), "{command}");
        }
        assert_eq!(link.fate(node), Fate::CLEAN);
    }
}
