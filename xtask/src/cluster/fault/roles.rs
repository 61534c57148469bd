//! Who is meant by `leader`, `follower` and `majority` at the moment at which a fault strikes.

use consensus_core::{NodeId, fault::Target};
use std::collections::BTreeMap;

/// What is known of a cluster when a fault strikes.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    /// All nodes, dead or alive.
    pub(crate) nodes: u16,
    /// Those that run.
    pub(crate) alive: Vec<NodeId>,
    /// Who decides for the others, as they say.
    pub(crate) leader: Option<NodeId>,
}

impl Roles {
    /// Whom a target means.
    ///
    /// # Errors
    /// When nobody has that role now.
    pub(crate) fn resolve(&self, target: Target) -> Result<Vec<NodeId>, String> {
        match target {
            Target::Node(node) => Ok(vec![node]),
            Target::Leader | Target::Coordinator => self
                .leader
                .map(|leader| vec![leader])
                .ok_or_else(|| "no node says that anybody leads".to_owned()),
            Target::Follower | Target::Participant => self
                .alive
                .iter()
                .find(|node| Some(**node) != self.leader)
                .map(|node| vec![*node])
                .ok_or_else(|| "no other node runs".to_owned()),
            Target::Majority => Ok((1..=self.nodes / 2 + 1).map(NodeId).collect()),
        }
    }
}

/// Who was struck under which name, so that a restart by the same name finds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Victims(BTreeMap<Target, Vec<NodeId>>);

impl Victims {
    /// `nodes` are down, killed as `target`.
    pub(crate) fn killed(&mut self, target: Target, nodes: &[NodeId]) {
        self.0.insert(target, nodes.to_vec());
    }

    /// Whom a restart of `target` means: a node's number is itself, a role is who was killed in it.
    pub(crate) fn restart(&self, target: Target) -> Vec<NodeId> {
        match target {
            Target::Node(node) => vec![node],
            role => self.0.get(&role).cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(leader: Option<u16>) -> Roles {
        Roles {
            nodes: 5,
            alive: vec![NodeId(1), NodeId(2), NodeId(4)],
            leader: leader.map(NodeId),
        }
    }

    #[test]
    fn roles_mean_who_has_them_now() {
        let led = roles(Some(1));
        assert_eq!(led.resolve(Target::Leader), Ok(vec![NodeId(1)]));
        assert_eq!(led.resolve(Target::Coordinator), Ok(vec![NodeId(1)]));
        assert_eq!(led.resolve(Target::Follower), Ok(vec![NodeId(2)]));
        assert_eq!(
            roles(None).resolve(Target::Participant),
            Ok(vec![NodeId(1)])
        );
        assert!(roles(None).resolve(Target::Leader).is_err());
        assert_eq!(
            led.resolve(Target::Majority),
            Ok(vec![NodeId(1), NodeId(2), NodeId(3)])
        );
    }

    #[test]
    fn a_restart_finds_who_was_killed_in_that_role() {
        let mut victims = Victims::default();
        victims.killed(Target::Leader, &[NodeId(3)]);
        assert_eq!(victims.restart(Target::Leader), [NodeId(3)]);
        assert_eq!(victims.restart(Target::Node(NodeId(2))), [NodeId(2)]);
        assert!(victims.restart(Target::Follower).is_empty());
    }
}
