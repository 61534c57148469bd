//! `cargo xtask report`: the page anew from the figures, or the cost sheet.

use crate::{
    ending::{DONE, refusal, refused},
    flags::ReportFlags,
};
use bench::{
    algorithms::Registry,
    cost,
    report::{json::Report, table},
};

/// The command.
pub(crate) fn run<R: Registry>(flags: &ReportFlags) -> anyhow::Result<u8> {
    let Some(directory) = &flags.directory else {
        print!("{}", cost::markdown::<R>().map_err(refusal)?);
        return Ok(DONE);
    };
    let report = Report::rebuild(directory).map_err(refused)?;
    print!("{}", table::render(&report));
    eprintln!("wrote {}", directory.join("report.html").display());
    Ok(DONE)
}
