//! What clients do, by contract.

pub mod bank;
mod client;
pub mod kv;

pub use client::Client;
