//! How a command ends: the exit statuses that scripts rely on, and the one line that explains them.

use std::{fmt, process::ExitCode};

/// Everything went as it should.
pub(crate) const DONE: u8 = 0;
/// A run failed, a check found a violation, or a log is damaged.
pub(crate) const FAILED: u8 = 1;
/// What was asked for cannot be done: bad arguments, or something that it needs is missing.
pub(crate) const REFUSED: u8 = 2;
/// Interrupted from the keyboard, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;

/// What was asked for cannot be done as asked; ends the process with status 2.
///
/// Says in one line what is wrong and what would help.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// A [`Refusal`] as an error of any kind.
pub(crate) fn refusal(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Refusal(sentence.into()))
}

/// Makes any error a [`Refusal`], with its causes in the one line.
pub(crate) fn refused(error: impl Into<anyhow::Error>) -> anyhow::Error {
    refusal(one_line(&error.into()))
}

/// An error and its causes in one line.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        // Many errors repeat their source in their own words.
        if parts.last().is_none_or(|last| !last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Prints what went wrong, if anything did, and says it to the shell.
pub(crate) fn status(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            let refused = error.chain().any(|cause| cause.is::<Refusal>());
            ExitCode::from(if refused { REFUSED } else { FAILED })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_and_its_causes_are_one_line() {
        let error = Err::<(), _>(refusal("port 7 is in use\nby another"))
            .context("node 2 cannot start")
            .expect_err("it is an error");
        assert_eq!(
            one_line(&error),
            "node 2 cannot start: port 7 is in use by another"
        );
    }

    #[test]
    fn a_cause_that_its_error_repeats_is_said_once() {
        #[derive(Debug)]
        struct Repeats(std::io::Error);
        impl fmt::Display for Repeats {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "reading a key: {}", self.0)
            }
        }
        impl std::error::Error for Repeats {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = anyhow::Error::new(Repeats(std::io::Error::other("denied")));
        assert_eq!(one_line(&error), "reading a key: denied");
    }
}
