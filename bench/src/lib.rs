//! One measure for every algorithm: workloads, recorders, harnesses, baselines, reports.
//!
//! | module | holds |
//! |---|---|
//! | [`recorder`] | what became of every operation: latency from the intended start, throughput, timeline |
//! | [`report`] | `report.json`, its schema |
//!
//! Knows every protocol crate; no protocol crate knows this one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod recorder;
pub mod report;
