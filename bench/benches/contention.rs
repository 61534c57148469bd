//! What happens when several want the same.

use bench::harness::{
    election::Election,
    locks::{self, Contended, Goodput, Locking},
    virtual_time::{DELAY, DUEL_NODES, POLICIES, duel},
};
use consensus_core::service::locks::LockPolicy;
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use std::{ops::RangeInclusive, time::Duration};

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

const THETAS: [f64; 4] = [0.0, 0.6, 0.9, 1.2];

/// `locks/<policy>/theta<T>`, once for two phases and once for three: virtual time a committed transfer,
/// which is one over the goodput. Goodput and the share of aborted attempts are printed.
fn locks(c: &mut Criterion<settings::VirtualTime>) {
    println!(
        "locks: {} participants, the first coordinates; {} clients in a closed loop, two of {} accounts \
         at every participant; delay {DELAY:?}, disk write {:?}",
        locks::PARTICIPANTS,
        locks::CLIENTS,
        locks::ACCOUNTS,
        locks::SYNC
    );
    for (name, policy) in locks::POLICIES {
        let mut group = c.benchmark_group(format!("locks/{name}"));
        group.sampling_mode(SamplingMode::Flat);
        for theta in THETAS {
            contended::<twophase::TwoPhase>(&mut group, name, policy, theta);
            contended::<threephase::ThreePhase>(&mut group, name, policy, theta);
        }
        group.finish();
    }
}

type Group<'a> = criterion::BenchmarkGroup<'a, settings::VirtualTime>;

fn contended<A: Locking>(group: &mut Group<'_>, name: &str, policy: LockPolicy, theta: f64) {
    let mut all = None::<Goodput>;
    group.bench_function(BenchmarkId::new(format!("theta{theta}"), A::NAME), |b| {
        let mut cluster = Contended::<A>::new(policy, theta, 1).expect("the options fit");
        b.iter_custom(|commits| {
            let goodput = cluster.commit(commits).expect("nothing fails");
            all = Some(all.map_or(goodput, |all| all.and(goodput)));
            goodput.elapsed
        });
    });
    if let Some(all) = all {
        println!(
            "locks/{name}/theta{theta}/{}: {:.0} commits a second, {:.1} % of attempts aborted",
            A::NAME,
            all.a_second(),
            100.0 * all.abort_share()
        );
    }
}

/// Timeout ranges in milliseconds, in the order of [OngaroOusterhout14 §9.3].
const TIMEOUTS: [(u64, u64); 10] = [
    (150, 150),
    (150, 151),
    (150, 155),
    (150, 175),
    (150, 200),
    (150, 300),
    (100, 200),
    (50, 100),
    (25, 50),
    (12, 24),
];

/// `split_vote/<policy>`: virtual time from the death of a Raft leader until every survivor has heard
/// the next, by the range of the election timeouts. A cluster without a leader at the cut-off counts
/// as that long, and their share is printed.
fn split_vote(c: &mut Criterion<settings::VirtualTime>) {
    let mut group = c.benchmark_group("split_vote");
    group.sampling_mode(SamplingMode::Flat);
    for (least, most) in TIMEOUTS {
        let ms = Duration::from_millis;
        let election = Election::published(RangeInclusive::new(ms(least), ms(most)));
        let (mut held, mut open) = (0, 0);
        group.bench_function(format!("{least}-{most}"), |b| {
            b.iter_custom(|elections| {
                let seeds = held..held + elections;
                held += elections;
                let times = seeds.map(|seed| {
                    let outage = election.outage(seed).expect("no invariant breaks");
                    open += u64::from(outage.is_none());
                    outage.unwrap_or(election.cutoff)
                });
                times.sum()
            });
        });
        if open > 0 {
            println!(
                "split_vote/{least}-{most}: no leader after {:?} in {open} of {held} elections",
                election.cutoff
            );
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = settings::simulated();
    targets = livelock, locks, split_vote
}
criterion_main!(benches);
