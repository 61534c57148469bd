//! From propose to decided: in delays, and on this machine.

use bench::{
    algorithms::{self, Visitor},
    harness::{Load, virtual_time::VirtualTime},
};
use consensus_core::runtime::Runnable;
use criterion::{Criterion, criterion_group, criterion_main};

mod settings;

/// `virtual/<algorithm>/n<N>`: virtual time with a constant one-way delay of a millisecond and free
/// disks.
fn in_virtual_time(c: &mut Criterion<settings::VirtualTime>) {
    struct Each<'a>(&'a mut Criterion<settings::VirtualTime>);
    impl Visitor for Each<'_> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let mut group = self.0.benchmark_group(format!("virtual/{}", A::NAME));
            for nodes in [3, 5, 7] {
                group.bench_function(format!("n{nodes}"), |b| {
                    let mut cluster = VirtualTime::<A, L>::new(nodes, &A::Options::default())
                        .expect("the default options fit any number of members");
                    b.iter_custom(|commits| {
                        (0..commits)
                            .map(|_| cluster.decide().expect("nothing fails"))
                            .sum()
                    });
                });
            }
            group.finish();
        }
    }
    algorithms::each(&mut Each(c));
}

criterion_group! {
    name = simulated;
    config = settings::simulated();
    targets = in_virtual_time
}
criterion_main!(simulated);
