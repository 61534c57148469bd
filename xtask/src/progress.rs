//! Progress on standard error: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// How often a log file or a pipe gets a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Something that takes a while.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    what: String,
    said: Instant,
}

impl Progress {
    /// Begins `total` steps of `unit` (such as `seeds`) of something called `what`.
    pub(crate) fn new(what: impl Into<String>, total: u64, unit: &str) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
            let template =
                format!("{{prefix:24}} {{wide_bar}} {{pos}}/{{len}} {unit} {{elapsed}} {{msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.set_prefix(what.clone());
            bar
        });
        if bar.is_none() {
            eprintln!("{what}: {total} {unit}");
        }
        Self {
            bar,
            total,
            what,
            said: Instant::now(),
        }
    }

    /// So far, and whatever else is worth a glance.
    pub(crate) fn at(&mut self, position: u64, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(message.to_owned());
            }
            None if self.said.elapsed() >= LINE_EVERY => {
                self.said = Instant::now();
                eprintln!("{}: {position}/{} {message}", self.what, self.total);
            }
            None => {}
        }
    }

    /// Ends with a line that stays.
    pub(crate) fn end(self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {message}", self.what);
    }
}
