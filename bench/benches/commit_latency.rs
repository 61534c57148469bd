//! From propose to decided: in delays, and on this machine.

use bench::{
    algorithms::{self, Visitor},
    harness::{Load, quic::Quic, virtual_time::VirtualTime},
};
use consensus_core::runtime::Runnable;
use criterion::{Criterion, criterion_group, criterion_main};
use std::path::Path;

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

/// `quic/<algorithm>/n3`: one commit on real QUIC endpoints on loopback with synced logs, one client.
fn on_this_machine(c: &mut Criterion) {
    struct Each<'a>(&'a mut Criterion);
    impl Visitor for Each<'_> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let mut group = self.0.benchmark_group(format!("quic/{}", A::NAME));
            // Set up once: criterion calls the closure again for every sample of one benchmark.
            let mut cluster = None;
            group.bench_function("n3", |b| {
                let cluster = cluster.get_or_insert_with(|| {
                    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-quic");
                    Quic::<A>::new(&target).expect("three nodes start on loopback")
                });
                b.iter_custom(|commits| cluster.run(commits));
            });
            group.finish();
        }
    }
    algorithms::each(&mut Each(c));
}

criterion_group! {
    name = real;
    config = settings::wall();
    targets = on_this_machine
}
criterion_group! {
    name = simulated;
    config = settings::simulated();
    targets = in_virtual_time
}
criterion_main!(simulated, real);
