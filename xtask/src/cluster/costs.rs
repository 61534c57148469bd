//! What nodes counted, and what it comes to an operation.

use crate::proc::Usage;
use bench::report::json::{PerOperation, Stages};
use std::collections::BTreeMap;

/// Counters of one node since its start, by name.
pub(crate) type Counters = BTreeMap<String, u64>;

/// Everything that nodes and the kernel count, at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Costs {
    /// Of each node; those of a process that is gone added to those of its successor.
    pub(crate) nodes: BTreeMap<u16, Counters>,
    /// Of all processes.
    pub(crate) usage: Usage,
}

impl Costs {
    /// What was counted after `older`, all nodes together.
    fn since(&self, older: &Self) -> Counters {
        let mut sum = Counters::new();
        for (node, counters) in &self.nodes {
            for (name, grown) in grown(counters, older.nodes.get(node)) {
                *sum.entry(name.clone()).or_default() += grown;
            }
        }
        sum
    }

    /// What each of `operations` cost since `older`.
    pub(crate) fn per_operation(&self, older: &Self, operations: u64) -> PerOperation {
        if operations == 0 {
            return PerOperation::default();
        }
        let counted = self.since(older);
        let each = |name: &str| {
            let count = counted.get(name).copied().unwrap_or_default();
            count as f64 / operations as f64
        };
        let cpu = self.usage.cpu.saturating_sub(older.usage.cpu);
        PerOperation {
            messages: each("messages"),
            bytes: each("bytes"),
            syncs: each("syncs"),
            cpu_us: cpu.as_secs_f64() * 1e6 / operations as f64,
        }
    }

    /// Where an operation's time went since `older`, at the node that answered most.
    pub(crate) fn stages(&self, older: &Self) -> Stages {
        let of_node = |(node, counters): (&u16, &Counters)| -> Counters {
            let grown = grown(counters, older.nodes.get(node));
            grown.map(|(name, grown)| (name.clone(), grown)).collect()
        };
        let busiest = self
            .nodes
            .iter()
            .map(of_node)
            .max_by_key(|counted| counted.get("total_count").copied().unwrap_or_default());
        busiest.map_or_else(Stages::default, |counted| stages(&counted))
    }
}

/// What has been counted since `older`. A restarted node counts from zero again, which its
/// successor's sum hides; what still seems to shrink has not grown.
fn grown<'a>(
    counters: &'a Counters,
    older: Option<&'a Counters>,
) -> impl Iterator<Item = (&'a String, u64)> {
    counters.iter().map(move |(name, count)| {
        let before = older.and_then(|older| older.get(name)).copied();
        (name, count.saturating_sub(before.unwrap_or_default()))
    })
}

fn stages(counted: &Counters) -> Stages {
    let count = |name: &str| counted.get(name).copied().unwrap_or_default();
    let mean = |what: &str| {
        let times = count(&format!("{what}_count"));
        if times == 0 {
            return 0.0;
        }
        count(&format!("{what}_ns")) as f64 / times as f64 / 1000.0
    };
    let (queue, sync, apply) = (mean("queue"), mean("sync"), mean("apply"));
    Stages {
        queue,
        sync,
        network: (mean("total") - queue - sync - apply).max(0.0),
        apply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn costs(nodes: &[(u16, &[(&str, u64)])], cpu_ms: u64) -> Costs {
        let counters = |counters: &[(&str, u64)]| {
            let each = counters
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count));
            each.collect()
        };
        Costs {
            nodes: nodes.iter().map(|(node, c)| (*node, counters(c))).collect(),
            usage: Usage {
                cpu: Duration::from_millis(cpu_ms),
                rss_bytes_max: 0,
            },
        }
    }

    #[test]
    fn costs_are_differences_over_all_nodes() {
        let before = costs(
            &[
                (1, &[("messages", 10), ("syncs", 1)]),
                (2, &[("messages", 5)]),
            ],
            100,
        );
        let after = costs(
            &[
                (1, &[("messages", 50), ("syncs", 11)]),
                (2, &[("messages", 25)]),
            ],
            120,
        );
        let each = after.per_operation(&before, 10);
        assert_eq!((each.messages, each.syncs, each.bytes), (6.0, 1.0, 0.0));
        assert_eq!(each.cpu_us, 2000.0);
        assert_eq!(after.per_operation(&before, 0), PerOperation::default());
    }

    #[test]
    fn stages_are_those_of_the_node_that_answered_most() {
        let before = Costs::default();
        let after = costs(
            &[
                (1, &[("total_count", 1), ("total_ns", 9_000_000)]),
                (
                    2,
                    &[
                        ("total_count", 10),
                        ("total_ns", 10_000_000),
                        ("queue_count", 10),
                        ("queue_ns", 100_000),
                        ("sync_count", 2),
                        ("sync_ns", 400_000),
                    ],
                ),
            ],
            0,
        );
        let stages = after.stages(&before);
        assert_eq!(
            (stages.queue, stages.sync, stages.apply),
            (10.0, 200.0, 0.0)
        );
        assert_eq!(stages.network, 790.0);
    }
}
