//! The deterministic simulator.
mod chance;
mod disk;
mod network;
mod process;
mod trace;
mod world;
pub use chance::{Chance, TraceHash};
pub use disk::Keep;
pub use network::Weather;
pub use trace::{Happening, What, name, node};
pub use world::{Climate, Counts, Step, World};
