//! Faults of a real cluster: what is done, to whom, when.

mod cuts;
mod disk;
mod hostile;
mod members;
mod roles;
mod schedule;
mod strike;
mod tamper;

pub(crate) use schedule::Schedule;
pub(crate) use strike::Striker;
