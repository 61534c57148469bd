//! A measurement whose time is the simulator's.

use criterion::{
    Throughput,
    measurement::{Measurement, ValueFormatter},
};
use std::time::Duration;

/// Virtual time. Benchmarks hand their times over with `iter_custom`; there is no clock to start.
pub(crate) struct VirtualTime;

impl Measurement for VirtualTime {
    type Intermediate = ();
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {}

    fn end(&self, (): Self::Intermediate) -> Duration {
        unreachable!("virtual time passes inside `iter_custom` only")
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Milliseconds
    }
}

struct Milliseconds;

const PER_MILLISECOND: f64 = 1e-6;

impl ValueFormatter for Milliseconds {
    fn scale_values(&self, _typical: f64, values: &mut [f64]) -> &'static str {
        scale(values)
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        _throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        scale(values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        scale(values)
    }
}

fn scale(values: &mut [f64]) -> &'static str {
    for value in values {
        *value *= PER_MILLISECOND;
    }
    "ms (virtual)"
}
