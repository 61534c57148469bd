//! Every algorithm there is: the one place where benchmarks and commands find them, and how a crate
//! outside of this repository puts its own beside them ([`Registry`]).

use crate::harness::{AtomicCommitLoad, Load, LogLoad, RegisterLoad};
use crate::replicated::OverRaft;
use consensus_core::{Algorithm, NodeId, replicated, runtime::Runnable};

/// Something to be done with every algorithm, or with one by name.
pub trait Visitor {
    /// Does it with `A`. `L` is its application in the in-memory harness.
    fn visit<A: Runnable, L: Load<A>>(&mut self);
}

/// Algorithms that commands know by name. [`Shipped`] are those of this repository; whoever has another
/// one lists it, beside them or alone:
///
/// ```
/// use bench::{algorithms::{Registry, Shipped, Visitor}, harness::LogLoad};
/// # use raft::Raft as Mine;
/// struct WithMine;
///
/// impl Registry for WithMine {
///     fn each(visitor: &mut impl Visitor) {
///         Shipped::each(visitor);
///         visitor.visit::<Mine, LogLoad>();
///     }
/// }
/// assert!(WithMine::names().contains(&"raft"));
/// ```
pub trait Registry: 'static {
    /// Visits all of them, in the order in which they are shown. The same each time.
    fn each(visitor: &mut impl Visitor);

    /// What they are called.
    #[must_use]
    fn names() -> Vec<&'static str> {
        struct Names(Vec<&'static str>);
        impl Visitor for Names {
            fn visit<A: Runnable, L: Load<A>>(&mut self) {
                self.0.push(A::NAME);
            }
        }
        let mut names = Names(Vec::new());
        Self::each(&mut names);
        names.0
    }

    /// Visits the one called `name`; false when there is none. Of two with one name the first.
    fn named(name: &str, visitor: &mut impl Visitor) -> bool {
        struct One<'a, V> {
            name: &'a str,
            visitor: &'a mut V,
            found: bool,
        }
        impl<V: Visitor> Visitor for One<'_, V> {
            fn visit<A: Runnable, L: Load<A>>(&mut self) {
                if A::NAME == self.name && !self.found {
                    self.found = true;
                    self.visitor.visit::<A, L>();
                }
            }
        }
        let mut one = One {
            name,
            visitor,
            found: false,
        };
        Self::each(&mut one);
        one.found
    }
}

/// The algorithms of this repository.
#[derive(Clone, Copy, Debug)]
pub enum Shipped {}

impl Registry for Shipped {
    fn each(visitor: &mut impl Visitor) {
        each(visitor);
    }
}

macro_rules! algorithms {
    ($($algorithm:ty, $load:ty;)+) => {
        /// What they are called, in the order in which they are shown.
        pub const NAMES: &[&str] = &[$(<$algorithm as Algorithm>::NAME),+];

        /// Visits all of them, in the order of [`NAMES`].
        pub fn each(visitor: &mut impl Visitor) {
            $(visitor.visit::<$algorithm, $load>();)+
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

/// Visits the algorithm that `R` calls `name`, with `coordinator` beside `participants`, which are numbered from
/// 1; false when there is none, or when its coordinator cannot be there.
///
/// A replicated log takes a snapshot every `snapshot_bytes` of commands; never when that is zero.
pub fn placed<R: Registry>(
    name: &str,
    coordinator: Coordinator,
    participants: u16,
    snapshot_bytes: usize,
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
        (<raft::Raft as Algorithm>::NAME, Coordinator::Together) => {
            visitor.visit::<raft::Raft>(raft::Options {
                snapshot_bytes,
                ..Default::default()
            })
        }
        (<multipaxos::MultiPaxos as Algorithm>::NAME, Coordinator::Together) => {
            visitor.visit::<multipaxos::MultiPaxos>(multipaxos::Options {
                snapshot_bytes,
                ..Default::default()
            })
        }
        (_, Coordinator::Together) => return R::named(name, &mut Plain(visitor)),
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
            assert!(placed::<Shipped>("twophase", coordinator, 3, 0, &mut count));
            let together = coordinator == Coordinator::Together;
            assert_eq!(
                placed::<Shipped>("raft", coordinator, 3, 0, &mut count),
                together
            );
        }
        assert_eq!(count.0, 4);
    }

    #[test]
    fn each_visits_all_and_named_visits_one() {
        let mut seen = Seen::default();
        each(&mut seen);
        assert_eq!(seen.0, NAMES);
        assert_eq!(Shipped::names(), NAMES);
        for name in NAMES {
            let mut seen = Seen::default();
            assert!(Shipped::named(name, &mut seen));
            assert_eq!(seen.0, [*name]);
        }
        assert!(!Shipped::named("viewstamped", &mut Seen::default()));
    }
}
