//! What a single flag's text may be. Every error is the end of clap's sentence `invalid value 'x'
//! for '--flag <X>': …`.

use std::{str::FromStr, time::Duration};

/// A number of seconds, fractions allowed.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = f64::from_str(text).map_err(|_| "not a number of seconds".to_owned())?;
    if !seconds.is_finite() || !(0.0..=86_400.0).contains(&seconds) {
        return Err("seconds lie between 0 and 86400".to_owned());
    }
    Ok(seconds)
}

/// Seconds, none allowed.
pub(crate) fn seconds_or_none(text: &str) -> Result<f64, String> {
    seconds(text)
}

/// Seconds, more than none.
pub(crate) fn some_seconds(text: &str) -> Result<f64, String> {
    match seconds(text)? {
        0.0 => Err("a run takes more than 0 seconds".to_owned()),
        some => Ok(some),
    }
}

/// A time with its unit, more than none.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match consensus_core::fault::duration(text) {
        Ok(Duration::ZERO) => Err("a bound is more than nothing".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}

/// Operations per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match f64::from_str(text) {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        Ok(_) => Err("a rate is more than 0 operations a second".to_owned()),
        Err(_) => Err("not a number of operations a second".to_owned()),
    }
}

/// A share of the whole.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    match f64::from_str(text) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) => Err("a share lies between 0 and 1".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// So many per cent of something, perhaps more than all of it.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match f64::from_str(text) {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        Ok(_) => Err("a percentage is 0 or more".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// The exponent of a Zipf distribution.
pub(crate) fn zipf(text: &str) -> Result<f64, String> {
    match f64::from_str(text) {
        Ok(theta) if (0.0..=10.0).contains(&theta) => Ok(theta),
        Ok(_) => Err("theta lies between 0 (uniform) and 10".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for (parse, bad) in [
            (
                seconds_or_none as fn(&str) -> Result<f64, String>,
                ["-1", "1e9", "NaN", "x"],
            ),
            (some_seconds, ["0", "-0", "inf", ""]),
            (rate, ["0", "-3", "inf", "many"]),
            (share, ["-0.1", "1.1", "NaN", "half"]),
            (zipf, ["-1", "11", "NaN", "steep"]),
        ] {
            for text in bad {
                assert!(parse(text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn fractions_of_a_second_are_accepted() {
        assert_eq!(some_seconds("0.5"), Ok(0.5));
        assert_eq!(seconds_or_none("0"), Ok(0.0));
    }
}
