//! Which fault strikes and ends when, and whether this machine can do it to real processes at all.

use super::{
    disk::{damages, is_of_disks},
    members::is_of_members,
};
use crate::ending::refusal;
use consensus_core::{
    NodeId,
    fault::{Fault, FaultSpec, Target, When},
};
use std::{collections::BTreeSet, time::Duration};

/// A fault begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Edge {
    /// It ends. Before strikes of the same moment: what heals at 3 s may be struck anew at 3 s.
    Heal,
    /// It strikes.
    Strike,
}

/// One moment at which something is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Moment {
    /// Since the start of measuring.
    pub(crate) at: Duration,
    /// What.
    pub(crate) edge: Edge,
    /// Which fault, in the order in which they were given.
    pub(crate) fault: usize,
}

impl Moment {
    /// Whether a fault begins.
    pub(crate) fn is_strike(&self) -> bool {
        self.edge == Edge::Strike
    }
}

/// All faults of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    /// As they were given.
    pub(crate) faults: Vec<FaultSpec>,
    /// In the order of time.
    pub(crate) moments: Vec<Moment>,
}

impl Schedule {
    /// Reads the faults of a run of `nodes` nodes that measures for `measured`.
    ///
    /// # Errors
    /// A refusal when one cannot be read, names a node that is not there, never strikes, or needs
    /// what this machine does not have.
    pub(crate) fn new(texts: &[String], nodes: u16, measured: Duration) -> anyhow::Result<Self> {
        let mut schedule = Self::default();
        let mut known = nodes;
        for (fault, text) in texts.iter().enumerate() {
            let spec: FaultSpec = text
                .parse()
                .map_err(|error| refusal(format!("invalid --fault '{text}': {error}")))?;
            if let Fault::Add(Target::Node(NodeId(new))) = spec.fault {
                if new != known + 1 {
                    return Err(refusal(format!(
                        "--fault '{text}' cannot be done: the next node is node {}",
                        known + 1
                    )));
                }
                known = new;
            }
            fits(&spec, known, measured)
                .and_then(|()| possible(&spec.fault))
                .map_err(|why| refusal(format!("--fault '{text}' cannot be done: {why}")))?;
            let at = moment(spec.when);
            schedule.moments.push(Moment {
                at,
                edge: Edge::Strike,
                fault,
            });
            if let Some(lasting) = spec.lasting {
                schedule.moments.push(Moment {
                    at: at + lasting,
                    edge: Edge::Heal,
                    fault,
                });
            }
            schedule.faults.push(spec);
        }
        schedule.moments.sort_unstable();
        schedule.others_follow_damage()?;
        Ok(schedule)
    }

    /// Whether any fault is done by emulated links.
    pub(crate) fn need_links(&self) -> bool {
        self.faults.iter().any(|spec| is_of_links(&spec.fault))
    }

    /// The first that changes who belongs or who leads.
    pub(crate) fn first_of_members(&self) -> Option<&FaultSpec> {
        let mut faults = self.faults.iter();
        faults.find(|spec| is_of_members(&spec.fault))
    }

    /// The highest number of a node that joins; zero when none does.
    pub(crate) fn last_added(&self) -> u16 {
        let added = self.faults.iter().map(|spec| match spec.fault {
            Fault::Add(Target::Node(NodeId(node))) => node,
            _ => 0,
        });
        added.max().unwrap_or(0)
    }

    /// Whether any node that was killed comes back.
    pub(crate) fn restart_nodes(&self) -> bool {
        self.faults.iter().any(|spec| match spec.fault {
            Fault::Restart(_) => true,
            Fault::Kill(_) => spec.lasting.is_some(),
            _ => false,
        })
    }

    /// Whether any node is told to break its own disk.
    pub(crate) fn break_disks(&self) -> bool {
        self.faults.iter().any(|spec| is_of_disks(&spec.fault))
    }

    /// Whether any disk is broken or damaged, so that there must be one.
    pub(crate) fn need_disks(&self) -> bool {
        let mut faults = self.faults.iter();
        self.break_disks() || faults.any(|spec| damages(&spec.fault))
    }

    /// A member is taken in anew only when its disk was damaged before.
    fn others_follow_damage(&self) -> anyhow::Result<()> {
        let mut damaged: BTreeSet<Option<Target>> = BTreeSet::new();
        let strikes = self.moments.iter().filter(|moment| moment.is_strike());
        for moment in strikes {
            let spec = &self.faults[moment.fault];
            match &spec.fault {
                fault if damages(fault) => drop(damaged.insert(fault.target())),
                Fault::Readmit(target) if !damaged.contains(&Some(*target)) => {
                    return Err(refusal(format!(
                        "--fault '{spec}' cannot be done: nothing damages the disk of {target} before"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a fault is done by emulated links.
pub(crate) const fn is_of_links(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Drop(_)
            | Fault::Dup(_)
            | Fault::Reorder(_)
            | Fault::Delay { .. }
            | Fault::Cut(..)
            | Fault::Isolate(_)
            | Fault::Deaf(_)
            | Fault::Mute(_)
            | Fault::Star(_)
            | Fault::Chain
    )
}

/// When a fault strikes. One that is counted in system calls is armed from the start.
fn moment(when: When) -> Duration {
    match when {
        When::At(at) => at,
        When::Start | When::Nth(_) => Duration::ZERO,
    }
}

/// Whether nodes and time exist.
fn fits(spec: &FaultSpec, nodes: u16, measured: Duration) -> Result<(), String> {
    let both = match spec.fault {
        Fault::Cut(a, b) => [Some(a), Some(b)],
        _ => [spec.fault.target(), None],
    };
    for target in both.into_iter().flatten() {
        match target {
            Target::Node(NodeId(node)) if node > nodes => {
                return Err(format!("there are {nodes} nodes, numbered from 1"));
            }
            Target::Follower | Target::Participant if nodes < 2 => {
                return Err("one node alone has no follower".to_owned());
            }
            _ => {}
        }
    }
    if moment(spec.when) >= measured {
        return Err(format!(
            "it would strike after the {} s that are measured",
            measured.as_secs_f64()
        ));
    }
    Ok(())
}

/// Whether a fault can be done to real processes on this machine; otherwise what is missing.
fn possible(fault: &Fault) -> Result<(), String> {
    let simulator = |needs: &str| {
        Err(format!(
            "it needs {needs}, which real processes here do not have; `cargo xtask sim --faults {}` does it",
            fault.kind()
        ))
    };
    match fault {
        Fault::Skew { .. } => simulator("a clock of the node's own"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(texts: &[&str]) -> anyhow::Result<Schedule> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        Schedule::new(&texts, 3, Duration::from_secs(8))
    }

    fn refused(texts: &[&str]) -> String {
        let error = schedule(texts).expect_err("it cannot be done");
        assert!(error.is::<crate::ending::Refusal>());
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }

    #[test]
    fn moments_are_in_the_order_of_time_and_healing_comes_first() {
        let schedule = schedule(&["isolate:2@3s+2s", "kill:leader@1s", "isolate:2@5s"])
            .expect("all can be done");
        let moments: Vec<_> = schedule
            .moments
            .iter()
            .map(|moment| (moment.at.as_secs(), moment.edge, moment.fault))
            .collect();
        assert_eq!(
            moments,
            [
                (1, Edge::Strike, 1),
                (3, Edge::Strike, 0),
                (5, Edge::Heal, 0),
                (5, Edge::Strike, 2)
            ]
        );
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        for (texts, why) in [
            (&["explode:2"][..], "explode"),
            (&["kill:4@1s"], "there are 3 nodes"),
            (&["cut:1-9@1s"], "there are 3 nodes"),
            (&["kill:1@8s"], "8 s that are measured"),
            (&["skew:2+50ms"], "a clock of the node's own"),
            (&["add:5@1s"], "the next node is node 4"),
            (&["kill:4@2s", "add:4@1s"], "there are 3 nodes"),
            (&["readmit:2@1s"], "nothing damages the disk of 2"),
        ] {
            let said = refused(texts);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_restart_may_name_the_number_of_a_role_that_was_killed() {
        assert!(schedule(&["kill:leader@1s", "restart:leader@2s"]).is_ok());
        assert!(schedule(&["kill:leader@1s", "restart:1@2s"]).is_ok());
    }

    #[test]
    fn a_node_that_joins_may_be_struck_and_let_go() {
        let schedule = schedule(&["add:4@1s", "kill:4@2s", "remove:4@3s"]).expect("it can be done");
        assert_eq!(schedule.last_added(), 4);
    }

    #[test]
    fn one_node_alone_has_no_follower() {
        let error = Schedule::new(&["kill:follower@1s".to_owned()], 1, Duration::from_secs(8));
        assert!(error.is_err());
    }
}
