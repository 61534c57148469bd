//! Every algorithm there is: the one place where benchmarks and commands find them.

use crate::harness::{AtomicCommitLoad, Load, LogLoad, RegisterLoad};
use crate::replicated::OverRaft;
use consensus_core::{Algorithm, NodeId, replicated, runtime::Runnable};

/// Something to be done with every algorithm, or with one by name.
pub trait Visitor {
    /// Does it with `A`. `L` is its application in the in-memory harness.
    fn visit<A: Runnable, L: Load<A>>(&mut self);
}

macro_rules! algorithms {
    ($($algorithm:ty, $load:ty;)+) => {
        /// What they are called, in the order in which they are shown.
        pub const NAMES: &[&str] = &[$(<$algorithm as Algorithm>::NAME),+];

        /// Visits all of them, in the order of [`NAMES`].
        pub fn each(visitor: &mut impl Visitor) {
            $(visitor.visit::<$algorithm, $load>();)+
        }

        /// Visits the one called `name`; false when there is none.
        pub fn named(name: &str, visitor: &mut impl Visitor) -> bool {
            $(if name == <$algorithm as Algorithm>::NAME {
                visitor.visit::<$algorithm, $load>();
                return true;
            })+
            false
        }
    };
}

// One line an algorithm.
algorithms! {
    paxos::Paxos, RegisterLoad;
    multipaxos::MultiPaxos, LogLoad;
    raft::Raft, LogLoad;
    twophase::TwoPhase, AtomicCommitLoad;
    threephase::ThreePhase, AtomicCommitLoad;
}

/// Where the coordinator of an atomic commitment runs. In its place, the figures count it along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Coordinator {
    /// At node 1, which is a participant too.
    #[default]
    Together,
    /// At a node of its own, after the participants.
    Apart,
    /// At nodes of its own, after the participants, on the Raft group that they form.
    Replicated,
}

impl Coordinator {
    /// Nodes besides the participants.
    #[must_use]
    pub const fn nodes(self) -> u16 {
        match self {
            Self::Together => 0,
            Self::Apart => 1,
            Self::Replicated => 3,
        }
    }

    /// What it is called on command lines and in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Apart => "apart",
            Self::Replicated => "replicated",
        }
    }
}

/// Something to be done with an algorithm and the options that put its coordinator where it belongs.
pub trait PlacedVisitor {
    /// Does it with `A`.
    fn visit<A: Runnable>(&mut self, options: A::Options);
}

/// Visits the algorithm called `name`, with `coordinator` beside `participants`, which are numbered from
/// 1; false when there is none, or when its coordinator cannot be there.
pub fn placed(
    name: &str,
    coordinator: Coordinator,
    participants: u16,
    visitor: &mut impl PlacedVisitor,
) -> bool {
    struct Plain<'a, V>(&'a mut V);
    impl<V: PlacedVisitor> Visitor for Plain<'_, V> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            self.0.visit::<A>(A::Options::default());
        }
    }
    let after = Some(NodeId(participants + 1));
    match (name, coordinator) {
        (_, Coordinator::Together) => return named(name, &mut Plain(visitor)),
        ("twophase", Coordinator::Apart) => {
            visitor.visit::<twophase::TwoPhase>(twophase::Options {
                coordinator: after,
                ..Default::default()
            })
        }
        ("twophase", Coordinator::Replicated) => visitor.visit::<OverRaft>(replicated::Options {
            replicas: Some(usize::from(coordinator.nodes())),
            ..Default::default()
        }),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<&'static str>);

    impl Visitor for Seen {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            self.0.push(A::NAME);
        }
    }

    #[test]
    fn a_coordinator_stands_where_it_can() {
        struct Count(usize);
        impl PlacedVisitor for Count {
            fn visit<A: Runnable>(&mut self, options: A::Options) {
                let nodes = (1..=6).map(NodeId);
                let members = consensus_core::Members::new(nodes).unwrap();
                assert!(A::config(&options, &members, NodeId(1)).is_ok());
                self.0 += 1;
            }
        }
        let mut count = Count(0);
        for coordinator in [
            Coordinator::Together,
            Coordinator::Apart,
            Coordinator::Replicated,
        ] {
            assert!(placed("twophase", coordinator, 3, &mut count));
            let together = coordinator == Coordinator::Together;
            assert_eq!(placed("raft", coordinator, 3, &mut count), together);
        }
        assert_eq!(count.0, 4);
    }

    #[test]
    fn each_visits_all_and_named_visits_one() {
        let mut seen = Seen::default();
        each(&mut seen);
        assert_eq!(seen.0, NAMES);
        for name in NAMES {
            let mut seen = Seen::default();
            assert!(named(name, &mut seen));
            assert_eq!(seen.0, [*name]);
        }
        assert!(!named("viewstamped", &mut Seen::default()));
    }
}
