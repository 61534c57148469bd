//! Which key.

use crate::workload::WorkloadError;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

/// Draws keys 0 to n−1: the key of rank k, from 1, with a probability proportional to k^−θ.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    count: u64,
    skewed: Option<Zipf<f64>>,
}

impl Keys {
    /// `count` keys with exponent `theta`; 0 is uniform.
    ///
    /// # Errors
    /// When there are no keys, or `theta` is negative or not a number.
    pub fn new(count: u64, theta: f64) -> Result<Self, WorkloadError> {
        if count == 0 {
            return Err(WorkloadError::NoKeys);
        }
        let skewed = if theta == 0.0 {
            None
        } else {
            Some(Zipf::new(count as f64, theta).map_err(|_| WorkloadError::Zipf(theta))?)
        };
        Ok(Self { count, skewed })
    }

    /// One key.
    pub fn draw(&self, rng: &mut impl Rng) -> u64 {
        match &self.skewed {
            None => rng.random_range(0..self.count),
            Some(zipf) => (zipf.sample(rng) as u64).clamp(1, self.count) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_pcg::Pcg64;

    fn shares(theta: f64) -> Vec<f64> {
        let keys = Keys::new(10, theta).unwrap();
        let mut rng = Pcg64::new(1, 1);
        let mut counts = vec![0.0; 10];
        for _ in 0..100_000 {
            counts[keys.draw(&mut rng) as usize] += 1e-5;
        }
        counts
    }

    #[test]
    fn shares_follow_the_power_law() {
        for theta in [0.0, 0.5, 0.99, 1.5] {
            let weights: Vec<f64> = (1..=10).map(|k| f64::from(k).powf(-theta)).collect();
            let total: f64 = weights.iter().sum();
            for (share, weight) in shares(theta).iter().zip(&weights) {
                let expected = weight / total;
                assert!(
                    (share - expected).abs() < 0.01,
                    "theta {theta}: {share} {expected}"
                );
            }
        }
    }

    #[test]
    fn one_key_is_always_the_same() {
        let keys = Keys::new(1, 0.9).unwrap();
        let mut rng = Pcg64::new(1, 1);
        assert!((0..100).all(|_| keys.draw(&mut rng) == 0));
    }
}
