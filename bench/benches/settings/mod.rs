//! How all benchmarks are measured: short enough that the whole set ends within ten minutes, and so
//! that `--quick`, filters and saved baselines work as in any Criterion program.

#![allow(dead_code, reason = "each benchmark takes its part")]

mod virtual_time;

pub(crate) use virtual_time::VirtualTime;

use criterion::{Criterion, measurement::Measurement};
use std::time::Duration;

/// For what is timed by the clock.
pub(crate) fn wall() -> Criterion {
    sized(Criterion::default())
}

/// The sizes, for any measurement.
pub(crate) fn sized<M: Measurement + 'static>(criterion: Criterion<M>) -> Criterion<M> {
    criterion
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(20)
        .nresamples(2_000)
        .without_plots()
}

/// For what is timed by the simulator: exact, so that few samples say it all.
pub(crate) fn simulated() -> Criterion<VirtualTime> {
    sized(Criterion::default().with_measurement(VirtualTime))
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300))
        .sample_size(10)
}
