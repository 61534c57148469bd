//! The tokio node: one task steps the protocol, one runs the service, and the disk has a thread of
//! its own. Feature `runtime`.

mod transport;

pub use transport::Transport;
