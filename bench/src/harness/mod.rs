//! Drivers for measuring: the same protocol with more and more of the world around it.
//!
//! | harness | clock | messages | disk |
//! |---|---|---|---|
//! | [`in_memory`] | none | moved between vectors, one thread | durable at once |
//! | [`in_process`] | the real one | channels between tokio tasks | durable at once |
//! | [`quic`] | the real one | QUIC on loopback | a log that is synced |
//! | [`virtual_time`] | virtual | a constant delay | free |
//! | [`locks`] | virtual | a constant delay | a constant time |
//! | [`sites`] | virtual | as far as the sites are apart | free |
//! | [`partial`] | virtual | a constant delay, some links cut | free |
//! | [`election`] | virtual | a uniform delay | a constant time |
//! | [`succession`] | virtual | a constant delay | free |
//! | [`coordinator_killed`] | virtual | a constant delay | a constant time |
//! | [`crashes`] | virtual | a constant delay, some nodes gone | free |

mod alarms;
pub mod coordinator_killed;
pub mod crashes;
pub mod election;
pub mod in_memory;
pub mod in_process;
mod load;
pub mod locks;
pub mod partial;
pub mod quic;
pub mod sites;
pub mod succession;
pub mod virtual_time;

pub use load::{AtomicCommitLoad, Load, LogLoad, RegisterLoad};
