//! What happens when several want the same.

use bench::harness::virtual_time::{DELAY, DUEL_NODES, POLICIES, duel};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

mod settings;

/// Delays after which a duel counts as undecided.
const CUTOFF: u64 = 2_000;

/// `livelock/<policy>/p<P>`: virtual time until P duelling proposers decide. A duel that is undecided
/// at the cut-off counts as that long, and their share is printed.
fn livelock(c: &mut Criterion<settings::VirtualTime>) {
    println!(
        "livelock: {DUEL_NODES} nodes, all acceptors; delay {DELAY:?} ± 10 %; starts over 4 delays; \
         cut-off {CUTOFF} delays"
    );
    for policy in POLICIES {
        let mut group = c.benchmark_group(format!("livelock/{}", policy.name));
        group.sampling_mode(SamplingMode::Flat);
        for proposers in [2, 3, 5, 7, 9] {
            let (mut fought, mut undecided) = (0, 0);
            group.bench_function(format!("p{proposers}"), |b| {
                b.iter_custom(|duels| {
                    let seeds = fought..fought + duels;
                    fought += duels;
                    let times = seeds.map(|seed| {
                        let verdict =
                            duel(policy, proposers, CUTOFF, seed).expect("no invariant breaks");
                        undecided += u64::from(verdict.decided.is_none());
                        verdict.decided.unwrap_or(DELAY * CUTOFF as u32)
                    });
                    times.sum()
                });
            });
            if fought > 0 {
                let share = 100.0 * undecided as f64 / fought as f64;
                println!(
                    "livelock/{}/p{proposers}: undecided {undecided} of {fought} duels ({share:.1} %)",
                    policy.name
                );
            }
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = settings::simulated(); targets = livelock }
criterion_main!(benches);
