//! The write-ahead log against what it promises.
#![allow(clippy::unwrap_used)]

mod real_files;
mod support;
