//! From propose to decided: in delays, and on this machine.

use bench::{
    algorithms::{self, Visitor},
    harness::{Load, quic::Quic, virtual_time::VirtualTime},
};
use consensus_core::runtime::Runnable;
use criterion::{Criterion, criterion_group, criterion_main};

use std::{fs, path::Path};

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

/// `quic/<algorithm>/n3`: one commit on real endpoints on loopback with durable storage, one client.
fn on_quic(c: &mut Criterion) {
    struct Each<'a>(&'a mut Criterion);
    impl Visitor for Each<'_> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let mut group = self.0.benchmark_group(format!("quic/{}", A::NAME));
            group.bench_function("n3", |b| {
                let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(A::NAME);
                if folder.exists() {
                    fs::remove_dir_all(&folder).expect("the folder of an earlier run is ours");
                }
                let mut cluster = Quic::<A>::new(3, &A::Options::default(), &folder)
                    .expect("loopback and a disk are there");
                b.iter_custom(|commits| cluster.run(commits));
                drop(cluster);
                fs::remove_dir_all(&folder).expect("the folder is ours");
            });
            group.finish();
        }
    }
    algorithms::each(&mut Each(c));
}

criterion_group! { name = wall; config = settings::wall(); targets = on_quic }
criterion_group! {
    name = simulated;
    config = settings::simulated();
    targets = in_virtual_time
}
criterion_main!(simulated, wall);
