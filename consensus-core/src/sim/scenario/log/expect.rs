//! What can be expected of a replicated log.

use super::{LogWords, index, named};
use crate::{Index, NodeId, sim::scenario::step::one};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

impl LogWords {
    pub(super) fn judge(&self, words: &[&str]) -> Option<Result<(), String>> {
        // A trailing `at NODE` narrows what is expected.
        let (words, at) = match words {
            ["nothing", "committed", "at", _] => (words, None),
            [words @ .., "at", node] => match self.who(node) {
                Ok(node) => (words, Some(node)),
                Err(error) => return Some(Err(error)),
            },
            _ => (words, None),
        };
        let there = at.and_then(|node| self.judge_at(words, node));
        there.or_else(|| self.judge_all(words, at))
    }

    /// What can be expected of one node only.
    fn judge_at(&self, words: &[&str], node: NodeId) -> Option<Result<(), String>> {
        Some(match words {
            ["read", what] => self.covers(what, node),
            ["restored", place] => {
                index(place).and_then(|place| last(&self.restored, node, &place))
            }
            ["members", members @ ..] => self.votes(members, node),
            ["rejected", reason] => match self.rejected.get(&node) {
                Some(found) if found.starts_with(reason) => Ok(()),
                Some(found) => Err(format!("the last reason was {found}")),
                None => Err("nothing was rejected".to_string()),
            },
            ["waiting"] => says(self.waits(Some(node)), "nobody waits there"),
            _ => return None,
        })
    }

    /// What can be expected of everybody, or of one node.
    fn judge_all(&self, words: &[&str], at: Option<NodeId>) -> Option<Result<(), String>> {
        Some(match words {
            ["committed", place, text] => {
                index(place).and_then(|place| self.committed(place, text, at))
            }
            ["nothing", "committed", "at", place] => {
                index(place).and_then(|place| self.nothing(place, at))
            }
            ["told", text] => says(self.told_text(text, at).is_some(), "it was not told"),
            ["not", "told", text] => match self.told_text(text, at) {
                None => Ok(()),
                Some((place, node)) => Err(format!("{} was told so at {place}", named(node))),
            },
            ["leader", "not", leader] => self.leads(leader, true, at),
            ["leader", leader] => self.leads(leader, false, at),
            ["agreed"] => self.agreed(),
            ["sending", from, to, place] => self.sends(from, to, place),
            ["answered"] => says(!self.waits(at), "somebody waits for an answer"),
            _ => return None,
        })
    }

    fn sends(&self, from: &str, to: &str, place: &str) -> Result<(), String> {
        let (link, place) = ((one(from)?, one(to)?), index(place)?);
        match self.sending.get(&link) {
            Some(found) if *found == place => Ok(()),
            Some(found) => Err(format!("it was told to send one at {found}")),
            None => Err("it was told to send none".to_string()),
        }
    }

    fn waits(&self, at: Option<NodeId>) -> bool {
        let mut waiting = self.waiting.values();
        waiting.any(|waiting| at.is_none_or(|at| at == *waiting))
    }

    fn committed(&self, index: Index, text: &str, at: Option<NodeId>) -> Result<(), String> {
        let mut told = false;
        for ((place, node), found) in &self.committed {
            if *place == index && at.is_none_or(|at| at == *node) {
                told = true;
                if found != text {
                    return Err(format!("{} was told {found}", named(*node)));
                }
            }
        }
        told.then_some(())
            .ok_or_else(|| "nobody was told anything there".to_string())
    }

    fn nothing(&self, index: Index, at: Option<NodeId>) -> Result<(), String> {
        let told = |((place, node), _): &(&(Index, NodeId), &String)| {
            *place == index && at.is_none_or(|at| at == *node)
        };
        match self.committed.iter().find(told) {
            None => Ok(()),
            Some(((_, node), found)) => Err(format!("{} was told {found}", named(*node))),
        }
    }

    /// Whether X was told, anywhere in the log.
    fn told_text(&self, text: &str, at: Option<NodeId>) -> Option<(Index, NodeId)> {
        let told = self
            .committed
            .iter()
            .find(|((_, node), found)| found.as_str() == text && at.is_none_or(|at| at == *node));
        told.map(|(at, _)| *at)
    }

    fn leads(&self, leader: &str, other: bool, at: Option<NodeId>) -> Result<(), String> {
        let leader = match leader {
            "nobody" => None,
            leader => Some(one(leader)?),
        };
        let fits = |told: Option<NodeId>| match other {
            false => told == leader,
            true => told.is_some() && told != leader,
        };
        let mut told = self
            .leaders
            .iter()
            .filter(|(node, _)| at.is_none_or(|at| at == **node));
        if at.is_some() && told.clone().next().is_none() {
            return Err("it was told nothing".to_string());
        }
        match told.find(|(_, (_, told))| !fits(*told)) {
            None => Ok(()),
            Some((node, (_, told))) => Err(format!(
                "{} was told that {} leads",
                named(*node),
                told.map_or("nobody".to_string(), named)
            )),
        }
    }

    fn agreed(&self) -> Result<(), String> {
        let mut told = self.leaders.values().map(|(_, leader)| *leader);
        match told.next() {
            Some(Some(leader)) if told.all(|other| other == Some(leader)) => Ok(()),
            _ => Err("they were not all told of the same leader".to_string()),
        }
    }

    /// The last read at `node` covers what stands at a place, or a text.
    fn covers(&self, what: &str, node: NodeId) -> Result<(), String> {
        if let Ok(place) = index(what) {
            return last(&self.reads, node, &place);
        }
        let (place, _) = self.told_text(what, None).ok_or("nobody was told that")?;
        match self.reads.get(&node) {
            Some(read) if *read >= place => Ok(()),
            Some(read) => Err(format!("it reads at {read}, and {what} stands at {place}")),
            None => Err("it was told nothing".to_string()),
        }
    }

    fn votes(&self, expected: &[&str], at: NodeId) -> Result<(), String> {
        let members = self.members.get(&at).ok_or("it was told nothing")?;
        let voters = members.voters.iter().map(|m| named(m.node));
        let learners = members
            .learners
            .iter()
            .map(|m| format!("({})", named(m.node)));
        let plus = (!members.outgoing.is_empty()).then(|| "+".to_string());
        let outgoing = members.outgoing.iter().map(|m| named(m.node));
        let joint = plus.into_iter().chain(outgoing);
        let found: Vec<String> = voters.chain(joint).chain(learners).collect();
        if found == expected {
            Ok(())
        } else {
            Err(format!("it was told {}", found.join(" ")))
        }
    }
}

fn says(so: bool, otherwise: &str) -> Result<(), String> {
    so.then_some(()).ok_or_else(|| otherwise.to_string())
}

/// What was told last under `node` is `expected`.
fn last<T: PartialEq + core::fmt::Display>(
    told: &BTreeMap<NodeId, T>,
    node: NodeId,
    expected: &T,
) -> Result<(), String> {
    match told.get(&node) {
        Some(told) if told == expected => Ok(()),
        Some(told) => Err(format!("it was told {told}")),
        None => Err("it was told nothing".to_string()),
    }
}
