//! The write-ahead log against what it promises.
#![allow(clippy::unwrap_used)]

mod again;
mod every_error;
mod exhaustive;
mod faults;
mod faulty_disk;
mod fuzz;
mod mistaken;
mod real_files;
mod simulated;
mod snapshots;
mod support;
