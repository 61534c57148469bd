//! A distribution of times: an HdrHistogram in microseconds beside the exact extremes and sum.

use crate::report::json::Latency;
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Times {
    histogram: Histogram<u32>,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
}

impl Times {
    /// Sized for times up to `timeout`; grows for longer ones.
    pub(super) fn up_to(timeout: Duration) -> Self {
        let high = u64::try_from(timeout.as_micros())
            .unwrap_or(u64::MAX / 2)
            .max(2);
        let mut histogram =
            Histogram::new_with_bounds(1, high, 3).expect("1 to at least 2 at 3 digits is legal");
        histogram.auto(true);
        Self {
            histogram,
            min_ns: u64::MAX,
            max_ns: 0,
            sum_ns: 0,
        }
    }

    pub(super) fn record(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        self.sum_ns += u128::from(ns);
        self.histogram.record(to_micros(ns)).expect("it grows");
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns += other.sum_ns;
        self.histogram.add(&other.histogram).expect("it grows");
    }

    /// None when nothing was recorded.
    pub(super) fn latency(&self) -> Option<Latency> {
        let count = self.histogram.len();
        if count == 0 {
            return None;
        }
        let (min, max) = (to_micros(self.min_ns), to_micros(self.max_ns));
        // A bucket is named by its highest value, which nothing may have reached.
        let quantile = |q| self.histogram.value_at_quantile(q).clamp(min, max);
        Some(Latency {
            min,
            mean: self.sum_ns as f64 / count as f64 / 1_000.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max,
        })
    }

    /// V2, deflated, in base64.
    pub(super) fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut bytes)
            .expect("writing to memory cannot fail");
        STANDARD.encode(bytes)
    }
}

fn to_micros(ns: u64) -> u64 {
    (ns / 1_000).saturating_add(u64::from(ns % 1_000 >= 500))
}
