//! `cargo xtask report`: the page anew from the figures.

use crate::{
    ending::{DONE, refused},
    flags::ReportFlags,
};
use bench::report::{json::Report, table};

/// The command.
pub(crate) fn run(flags: &ReportFlags) -> anyhow::Result<u8> {
    let report = Report::rebuild(&flags.directory).map_err(refused)?;
    crate::output::show!("{}", table::render(&report));
    eprintln!("wrote {}", flags.directory.join("report.html").display());
    Ok(DONE)
}
