//! What protects users of this repository and no compiler checks: dependency arrows point one way, a
//! protocol crate stays small, whoever overtakes the disk says why, nothing is left undone, and tests that a
//! page promises are there.

mod arrows;
mod early;
mod scenarios;
mod sources;
