//! What a measurement leaves behind: a folder with `report.json`, `report.html` and one file a run.

mod chart;
pub mod compare;
pub mod environment;
mod group;
pub mod html;
pub mod json;
pub mod table;
mod telling;

use crate::baseline::Baseline;
use json::{Report, Run, SCHEMA};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why a report folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The file system refused; its words follow.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a report, or a damaged one.
    #[error("{} is not a report", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Written by another version of this program.
    #[error("{} has schema {found}, this program reads {SCHEMA}", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

impl Report {
    /// As it is written: indented, with a final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("names are strings");
        text.push('\n');
        text
    }

    /// Writes the folder `dir`, which is made if need be: `report.json`, `report.html`, and in `runs`
    /// each run alone and its timeline as comma-separated values.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn write(&self, dir: &Path) -> Result<(), ReportError> {
        let raw = dir.join("runs");
        fs::create_dir_all(&raw).map_err(file("create", &raw))?;
        write(&dir.join("report.json"), &self.to_json())?;
        for (number, run) in self.runs.iter().enumerate() {
            let name = format!("{number:03}-{}-{}", run.algorithm, run.repetition);
            let text = serde_json::to_string_pretty(run).expect("names are strings");
            write(&raw.join(format!("{name}.json")), &text)?;
            write(&raw.join(format!("{name}.timeline.csv")), &timeline(run))?;
        }
        write(&dir.join("report.html"), &html::page(self))
    }

    /// Reads `report.json` in `dir`.
    ///
    /// # Errors
    /// When there is none, or it is not a report of this schema.
    pub fn read(dir: &Path) -> Result<Self, ReportError> {
        let path = dir.join("report.json");
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let malformed = |source| ReportError::Malformed {
            path: path.clone(),
            source,
        };
        // The schema first: another one's fields would only confuse.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(SCHEMA) => {
                let found = u32::try_from(found).unwrap_or(u32::MAX);
                Err(ReportError::Schema { path, found })
            }
            _ => serde_json::from_value(value).map_err(malformed),
        }
    }

    /// Writes `report.html` anew from the `report.json` in `dir`.
    ///
    /// # Errors
    /// As [`read`](Self::read), or when the page cannot be written.
    pub fn rebuild(dir: &Path) -> Result<Self, ReportError> {
        let report = Self::read(dir)?;
        write(&dir.join("report.html"), &html::page(&report))?;
        Ok(report)
    }
}

impl Run {
    /// Whether its figures may be shown at all: not those of a run that broke a safety property.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.check.as_ref().is_none_or(|check| check.ok)
    }

    /// Whether it is a floor to stand beside the algorithms and not one of them.
    #[must_use]
    pub fn is_baseline(&self) -> bool {
        Baseline::named(&self.algorithm).is_some()
    }
}

fn timeline(run: &Run) -> String {
    let mut text = String::from("second,operations,p50_us,p99_us,max_us\n");
    for point in &run.timeline {
        let json::TimelinePoint {
            second,
            operations,
            p50,
            p99,
            max,
        } = point;
        text.push_str(&format!("{second},{operations},{p50},{p99},{max}\n"));
    }
    text
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(file("write", path))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    let path = path.to_owned();
    move |source| ReportError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
