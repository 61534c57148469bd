//! Commands decided a second: the protocol alone, and with the tokio runtime around it.

use bench::{
    algorithms::{self, Visitor},
    harness::{Load, in_memory::InMemory, in_process::InProcess},
};
use consensus_core::runtime::Runnable;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

mod settings;

const NODES: [u16; 3] = [3, 5, 7];
const WINDOWS: [usize; 4] = [1, 16, 256, 4096];
const CLIENTS: [u32; 4] = [1, 64, 1024, 4096];

/// `in_memory/<algorithm>/n<N>_w<W>`: W commands proposed, until every node has decided them.
fn in_memory(c: &mut Criterion) {
    struct Each<'a>(&'a mut Criterion);
    impl Visitor for Each<'_> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let mut group = self.0.benchmark_group(format!("in_memory/{}", A::NAME));
            for (nodes, window) in NODES.iter().flat_map(|n| WINDOWS.map(|w| (*n, w))) {
                group.throughput(Throughput::Elements(window as u64));
                group.bench_function(format!("n{nodes}_w{window}"), |b| {
                    let mut cluster = InMemory::<A, L>::new(nodes, &A::Options::default())
                        .expect("the default options fit any number of members");
                    let before = cluster.alarms();
                    b.iter(|| cluster.decide(window));
                    assert_eq!(
                        cluster.alarms(),
                        before,
                        "a steady state waits for no alarm"
                    );
                });
            }
            group.finish();
        }
    }
    algorithms::each(&mut Each(c));
}

/// `in_process/<algorithm>/n3_c<C>`: C concurrent clients, one operation each.
fn in_process(c: &mut Criterion) {
    struct Each<'a>(&'a mut Criterion);
    impl Visitor for Each<'_> {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let mut group = self.0.benchmark_group(format!("in_process/{}", A::NAME));
            group.sampling_mode(SamplingMode::Flat);
            for clients in CLIENTS {
                group.throughput(Throughput::Elements(clients.into()));
                group.bench_function(format!("n3_c{clients}"), |b| {
                    let mut cluster = InProcess::<A>::new(3, clients, &A::Options::default())
                        .expect("the default options fit three members");
                    b.iter_custom(|operations| cluster.run(operations));
                });
            }
            group.finish();
        }
    }
    algorithms::each(&mut Each(c));
}

criterion_group! { name = benches; config = settings::wall(); targets = in_memory, in_process }
criterion_main!(benches);
