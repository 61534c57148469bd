//! Every algorithm there is: the one place where benchmarks and commands find them.

use crate::harness::{AtomicCommitLoad, Load, LogLoad, RegisterLoad};
use consensus_core::{Algorithm, runtime::Runnable};

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
