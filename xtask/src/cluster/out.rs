//! Where clusters live and reports go.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The root of this source tree; the current folder when the tree has moved since it was built.
pub(crate) fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let built = built.filter(|root| root.join("Cargo.toml").exists());
    built.unwrap_or(Path::new(".")).to_owned()
}

/// The folder of reports, and of clusters while they run: beside the build, not under `/tmp`, which
/// may be memory.
pub(crate) fn parent() -> PathBuf {
    root().join("target").join("cluster")
}

/// What was typed, with the seed even when it was drawn.
pub(crate) fn command(seed: u64) -> String {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let mut line = format!("cargo xtask {}", words.join(" "));
    if !words
        .iter()
        .any(|word| word == "--seed" || word.starts_with("--seed="))
    {
        line.push_str(&format!(" --seed {seed}"));
    }
    line
}

/// Now, as the name of a folder: `2026-11-25T03-14-15Z`.
pub(crate) fn utc_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    utc(now.map_or(0, |since| since.as_secs()))
}

/// A moment in seconds since 1970.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days in eras of 400, counted from the first of March, so that the leap day
    // is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}Z",
        era * 400 + year + carry,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00-00-00Z"),
            (951_782_399, "2000-02-28T23-59-59Z"),
            (951_782_400, "2000-02-29T00-00-00Z"),
            (1_798_761_599, "2026-12-31T23-59-59Z"),
            (4_107_542_400, "2100-03-01T00-00-00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
