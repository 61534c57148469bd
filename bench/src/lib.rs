//! One measure for every algorithm: workloads, recorders, harnesses, baselines, reports.
//!
//! | module | holds |
//! |---|---|
//! | [`workload`], [`zipf`] | what clients ask and when, from one seed |
//! | [`algorithms`] | every algorithm there is, registered once |
//! | [`app`] | operations and answers, by contract |
//! | [`recorder`] | what became of every operation: latency from the intended start, throughput, timeline |
//! | [`report`] | `report.json`, its schema |
//! | [`baseline`] | the floors that stand beside them |
//! | [`harness`] | the same protocol with more and more of the world around it |
//! | [`cost`] | what a commit takes, counted exactly |
//! | [`planet`] | places that are far apart |
//! | [`verdict`] | whether a run's figures may be used |
//! | [`statistics`] | how sure a figure is |
//!
//! An algorithm that is not of this repository joins by [`algorithms::Registry`]; `docs/own-algorithm.md`
//! is the way.
//!
//! Knows every protocol crate; no protocol crate knows this one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod algorithms;
pub mod app;
pub mod baseline;
pub mod cost;
pub mod harness;
pub mod planet;
pub mod recorder;
pub mod replicated;
pub mod report;
pub mod statistics;
pub mod verdict;
pub mod workload;
pub mod zipf;
