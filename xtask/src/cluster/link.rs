//! Emulated links: what `--link` asks of each node.

use crate::ending::refusal;
use bench::planet::{SITES, round_trip};
use consensus_core::{NodeId, fault::duration};
use net_quic::LinkControl;
use std::time::Duration;

/// What may stand before `=`.
const KEYS: [&str; 5] = ["delay", "jitter", "loss", "dup", "reorder"];

/// The links of every node, as commands that it obeys when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Links(Vec<Vec<String>>);

impl Links {
    /// Reads `--link` for a cluster of `nodes`.
    ///
    /// # Errors
    /// A refusal when it cannot be read, or names a planet with fewer sites.
    pub(crate) fn new(spec: Option<&str>, nodes: u16) -> anyhow::Result<Self> {
        let Some(spec) = spec else {
            return Ok(Self(vec![Vec::new(); nodes.into()]));
        };
        let wrong = |why: String| refusal(format!("invalid --link '{spec}': {why}"));
        let mut links = vec![Vec::new(); nodes.into()];
        for part in spec.split(',') {
            let (key, value) = part
                .split_once('=')
                .map_or((part, ""), |(k, v)| (k.trim(), v.trim()));
            if key == "planet" {
                for (node, commands) in links.iter_mut().enumerate() {
                    commands.extend(planet(value, node, nodes).map_err(wrong)?);
                }
            } else if KEYS.contains(&key) {
                for commands in &mut links {
                    commands.push(format!("{key} {value}"));
                }
            } else {
                return Err(wrong(format!(
                    "`{part}` is none of {}, planet=aws5",
                    KEYS.map(|key| format!("{key}=")).join(", ")
                )));
            }
        }
        // Whoever reads the commands has the last word on times and shares.
        let trial = LinkControl::new(0);
        for command in links.iter().flatten() {
            trial
                .command(command)
                .map_err(|error| wrong(error.reason))?;
        }
        Ok(Self(links))
    }

    /// What a node is told when it starts; nothing, if it joins later.
    pub(crate) fn of(&self, node: NodeId) -> &[String] {
        let links = self.0.get(usize::from(node.0) - 1);
        links.map_or(&[], Vec::as_slice)
    }

    /// Whether every link is as the machine has it.
    pub(crate) fn are_bare(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// The longest one-way delay on any link, which nodes need before they know each other.
    pub(crate) fn delay_max(&self) -> Duration {
        let commands = self.0.iter().flatten();
        let delays = commands.filter_map(|command| {
            let value = command.strip_prefix("delay ")?.split_whitespace().last()?;
            duration(value.split('±').next()?).ok()
        });
        delays.max().unwrap_or_default()
    }
}

/// One way is half of a round trip.
fn planet(name: &str, node: usize, nodes: u16) -> Result<Vec<String>, String> {
    if name != "aws5" {
        return Err(format!("planet `{name}` is not known; aws5 is"));
    }
    if usize::from(nodes) > SITES.len() {
        return Err(format!(
            "planet aws5 has {} sites ({}) and no place for {nodes} nodes",
            SITES.len(),
            SITES.join(", ")
        ));
    }
    let others = (0..usize::from(nodes)).filter(|other| *other != node);
    Ok(others
        .map(|other| {
            format!(
                "delay {} {}us",
                other + 1,
                round_trip(node, other).as_micros() / 2
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_the_same_for_every_node() {
        let links = Links::new(Some("delay=20ms,jitter=2ms,loss=0.1%"), 3).expect("it is good");
        for node in 1..=3 {
            assert_eq!(
                links.of(NodeId(node)),
                ["delay 20ms", "jitter 2ms", "loss 0.1%"]
            );
        }
        assert_eq!(links.delay_max(), Duration::from_millis(20));
        assert!(Links::new(None, 3).expect("none is good").are_bare());
    }

    #[test]
    fn a_planet_gives_each_pair_half_its_round_trip_a_way() {
        let links = Links::new(Some("planet=aws5,loss=1%"), 3).expect("it is good");
        assert_eq!(
            links.of(NodeId(1)),
            ["delay 2 68000us", "delay 3 88000us", "loss 1%"]
        );
        assert_eq!(links.of(NodeId(3))[0], "delay 1 88000us");
        assert_eq!(links.delay_max(), Duration::from_millis(88));
    }

    #[test]
    fn what_cannot_be_emulated_is_refused_in_one_line() {
        for (spec, nodes, why) in [
            ("planet=aws5", 6, "has 5 sites"),
            ("planet=mars", 3, "planet `mars`"),
            ("cut=2", 3, "`cut=2` is none of"),
            ("delay", 3, "invalid --link 'delay'"),
            ("delay=soon", 3, "soon"),
            ("loss=200%", 3, "200%"),
        ] {
            let error = Links::new(Some(spec), nodes).expect_err(spec);
            assert!(error.is::<crate::ending::Refusal>());
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
