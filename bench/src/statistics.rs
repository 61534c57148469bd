//! How sure a figure is.
//!
//! Repeated runs are few and not normally distributed, so medians are compared and their uncertainty
//! is resampled: the percentile bootstrap of \[Efron79\]. With fewer than about six runs it claims more
//! certainty than it has; the number of runs belongs beside every interval that is shown.

use rand::RngExt;
use rand_pcg::Pcg64;

/// Resamples an interval; the error of its ends is then small beside the interval.
const RESAMPLES: usize = 4_000;

/// A figure and where it could as well have been.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// From the samples as they are.
    pub value: f64,
    /// Its confidence interval; none of a single sample.
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// Whether the whole interval lies above `bound`: false when there is no interval.
    #[must_use]
    pub fn is_above(&self, bound: f64) -> bool {
        self.interval.is_some_and(|(low, _)| low > bound)
    }

    /// Whether the whole interval lies below `bound`: false when there is no interval.
    #[must_use]
    pub fn is_below(&self, bound: f64) -> bool {
        self.interval.is_some_and(|(_, high)| high < bound)
    }
}

/// The median; of an even number of samples the mean of the middle two. None of no samples.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    median_in_place(&mut sorted)
}

fn median_in_place(samples: &mut [f64]) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_unstable_by(f64::total_cmp);
    let middle = samples.len() / 2;
    Some(if samples.len() % 2 == 1 {
        samples[middle]
    } else {
        f64::midpoint(samples[middle - 1], samples[middle])
    })
}

/// The median of `samples` with its interval of `confidence`, such as 0.95. None of no samples.
///
/// # Panics
/// When `confidence` does not lie between 0 and 1.
#[must_use]
pub fn estimate(samples: &[f64], confidence: f64, seed: u64) -> Option<Estimate> {
    let value = median(samples)?;
    let mut resample = Resample::new(seed);
    let interval =
        (samples.len() > 1).then(|| percentiles(|| resample.median(samples), confidence));
    Some(Estimate { value, interval })
}

/// How many times the median of `samples` is that of `base`, with its interval of `confidence`. The
/// two sides are resampled independently. None when either is empty or `base`'s median is zero.
///
/// # Panics
/// When `confidence` does not lie between 0 and 1.
#[must_use]
pub fn ratio(samples: &[f64], base: &[f64], confidence: f64, seed: u64) -> Option<Estimate> {
    let below = median(base)?;
    let value = median(samples)? / below;
    if below == 0.0 {
        return None;
    }
    let mut resample = Resample::new(seed);
    let interval = (samples.len() > 1 && base.len() > 1).then(|| {
        percentiles(
            || resample.median(samples) / resample.median(base),
            confidence,
        )
    });
    Some(Estimate { value, interval })
}

struct Resample {
    rng: Pcg64,
    drawn: Vec<f64>,
}

impl Resample {
    fn new(seed: u64) -> Self {
        Self {
            rng: Pcg64::new(u128::from(seed), 0),
            drawn: Vec::new(),
        }
    }

    fn median(&mut self, samples: &[f64]) -> f64 {
        self.drawn.clear();
        let picks = (0..samples.len()).map(|_| samples[self.rng.random_range(0..samples.len())]);
        self.drawn.extend(picks);
        median_in_place(&mut self.drawn).expect("as many as there are samples")
    }
}

fn percentiles(mut draw: impl FnMut() -> f64, confidence: f64) -> (f64, f64) {
    assert!(
        confidence > 0.0 && confidence < 1.0,
        "confidence {confidence}"
    );
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let outside = ((1.0 - confidence) / 2.0 * RESAMPLES as f64) as usize;
    (drawn[outside], drawn[RESAMPLES - 1 - outside])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, LogNormal};

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn one_sample_claims_no_certainty() {
        let estimate = estimate(&[5.0], 0.95, 1).unwrap();
        assert_eq!(
            estimate,
            Estimate {
                value: 5.0,
                interval: None
            }
        );
        assert!(!estimate.is_above(1.0) && !estimate.is_below(10.0));
    }

    #[test]
    fn intervals_cover_the_truth_about_as_often_as_they_claim() {
        // Skewed on purpose; the true median is 1.
        let noise = LogNormal::new(0.0, 0.5).unwrap();
        let mut rng = Pcg64::new(3, 3);
        let covered = (0..300)
            .filter(|seed| {
                let samples: Vec<f64> = (0..15).map(|_| noise.sample(&mut rng)).collect();
                let (low, high) = estimate(&samples, 0.9, *seed).unwrap().interval.unwrap();
                low <= 1.0 && 1.0 <= high
            })
            .count();
        assert!((250..=297).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn a_clear_difference_is_seen_and_an_unclear_one_is_not() {
        let base = [100.0, 103.0, 98.0, 101.0, 99.0, 102.0];
        let twice: Vec<f64> = base.iter().map(|x| 2.0 * x).collect();
        assert!(ratio(&twice, &base, 0.95, 1).unwrap().is_above(1.9));
        let same = ratio(&base, &base, 0.95, 1).unwrap();
        assert!(!same.is_above(1.0) && !same.is_below(1.0), "{same:?}");
        assert_eq!(ratio(&base, &[0.0, 0.0], 0.95, 1), None);
    }

    #[test]
    fn a_seed_replays() {
        let samples = [1.0, 5.0, 2.0, 8.0];
        assert_eq!(estimate(&samples, 0.95, 9), estimate(&samples, 0.95, 9));
    }
}
