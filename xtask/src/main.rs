//! The commands of this repository: `cargo xtask --help`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    xtask::run::<bench::algorithms::Shipped>()
}
