//! Golden files: the script, a line `----`, and the transcript that it must give.

use super::{ScenarioError, Transcript};
use alloc::{format, string::String};
use std::{fs, io, path::Path};

/// A scenario file that does not give the transcript it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The file cannot be read or written.
    #[error("{file}: {error}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// The scenario does not go as its text says.
    #[error("{file}: {error}\n{transcript}", transcript = error.transcript)]
    Scenario {
        /// Which.
        file: String,
        /// What went otherwise.
        error: ScenarioError,
    },
    /// It goes, and not as it used to.
    #[error(
        "{file}: the transcript has changed at its line {line}\nit was: {was}\nit is:  {is}\nif that is right, rewrite it with UPDATE_EXPECT=1"
    )]
    Changed {
        /// Which.
        file: String,
        /// The first line that differs, counted from the line after `----`.
        line: usize,
        /// That line as the file has it.
        was: String,
        /// That line now.
        is: String,
    },
}

/// Plays the scenario in `file` and compares its transcript with the one the file holds, or, when
/// told to, replaces that.
///
/// # Errors
/// When the file cannot be read, the scenario fails, or the transcript differs.
pub fn golden(
    file: &Path,
    update: bool,
    play: impl FnOnce(&str) -> Result<Transcript, ScenarioError>,
) -> Result<Transcript, GoldenError> {
    let name = || format!("{}", file.display());
    let failed = |error| GoldenError::File {
        file: name(),
        error,
    };
    let text = fs::read_to_string(file).map_err(failed)?;
    let (script, was) = text.split_once("\n----\n").unwrap_or((text.trim_end(), ""));
    let transcript = play(script).map_err(|error| GoldenError::Scenario {
        file: name(),
        error,
    })?;
    let is = format!("{transcript}");
    if was == is {
        return Ok(transcript);
    }
    if update {
        fs::write(file, format!("{script}\n----\n{is}")).map_err(failed)?;
        return Ok(transcript);
    }
    let lines = was.lines().count().max(is.lines().count());
    let at = (0..lines)
        .find(|i| was.lines().nth(*i) != is.lines().nth(*i))
        .unwrap_or(0);
    let line = |text: &str| String::from(text.lines().nth(at).unwrap_or("(nothing)"));
    Err(GoldenError::Changed {
        file: name(),
        line: at + 1,
        was: line(was),
        is: line(&is),
    })
}
