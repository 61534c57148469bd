//! `cargo xtask compare`: two report folders side by side.

use crate::{
    ending::{DONE, FAILED, refused},
    flags::CompareFlags,
};
use bench::report::{compare::Comparison, json::Report};

/// The command.
pub(crate) fn run(flags: &CompareFlags) -> anyhow::Result<u8> {
    let first = Report::read(&flags.first).map_err(refused)?;
    let second = Report::read(&flags.second).map_err(refused)?;
    let comparison = Comparison::new(&first, &second);
    print!("{}", comparison.render());
    if first.environment != second.environment {
        eprintln!("warning: the environments differ, in commit, compiler or machine");
    }
    let Some(percent) = flags.fail_above else {
        return Ok(DONE);
    };
    let mut status = DONE;
    for worse in comparison.worse_by(percent / 100.0) {
        status = FAILED;
        let (what, metric, loss) = (&worse.what, worse.metric, 100.0 * worse.loss);
        eprintln!("FAILED {what}: {metric} is {loss:.1} % worse");
    }
    Ok(status)
}
