//! What clients do, by contract.

pub mod kv;
