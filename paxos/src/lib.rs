#![no_std]
#![forbid(unsafe_code)]
//! Not built yet: this crate has a place in the workspace and nothing else.
