//! What applications ask and are told: three contracts, so that applications, clients, checks,
//! scenarios and benchmarks are written once a contract and run by every protocol that speaks it.
//!
//! | contract | agrees on | spoken by |
//! |---|---|---|
//! | [`register`] | one value an instance | `paxos` |
//! | [`replicated_log`] | a sequence of commands | `multipaxos`, `raft` |
//! | [`atomic_commit`] | all or nothing | `twophase`, `threephase` |

pub mod atomic_commit;
mod membership;
pub mod register;
pub mod replicated_log;
mod view;
