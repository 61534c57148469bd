//! What clients ask, and when.
//!
//! Everything follows from one seed: each client draws from a generator of its own, [`Pcg64`] on a
//! stream of its own, so that the operations of a client do not depend on how fast the others were
//! answered, and a seed replays across releases.

use crate::{app::kv, recorder::Kind, zipf::Keys};
use bytes::Bytes;
use consensus_core::kv::Operation;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp};
use rand_pcg::Pcg64;
use std::time::Duration;

/// Bytes at the head of every value that make it unique.
const IDENTITY: usize = 16;

/// What clients ask for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Workload {
    /// Distinct keys, from 1 upwards. Default 10,000.
    pub keys: u64,
    /// Exponent of the distribution of keys, from 0 (uniform, the default) upwards.
    pub zipf: f64,
    /// Share of reads, 0 (the default) to 1.
    pub read_ratio: f64,
    /// Bytes a value, at least 16: every value is written once only, which is what makes the
    /// linearizability check exact and cheap. Default 256.
    pub payload: usize,
    /// Decides every draw.
    pub seed: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            keys: 10_000,
            zipf: 0.0,
            read_ratio: 0.0,
            payload: 256,
            seed: 0,
        }
    }
}

/// A workload that cannot be run; the caller's mistake.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// Nothing to ask for.
    #[error("a workload needs at least one key")]
    NoKeys,
    /// Not an exponent.
    #[error("zipf exponent {0} must be a number from 0 upwards")]
    Zipf(f64),
    /// Not a share.
    #[error("read ratio {0} must lie between 0 and 1")]
    ReadRatio(f64),
    /// No room to make values unique.
    #[error("payload of {0} bytes is too small: values are unique, which takes {IDENTITY} bytes")]
    Payload(usize),
    /// Not a rate.
    #[error("rate {0} must be a positive number of operations a second")]
    Rate(f64),
}

impl Workload {
    /// Whether it can be run.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), WorkloadError> {
        if self.keys == 0 {
            return Err(WorkloadError::NoKeys);
        }
        if !(self.zipf.is_finite() && self.zipf >= 0.0) {
            return Err(WorkloadError::Zipf(self.zipf));
        }
        if !(0.0..=1.0).contains(&self.read_ratio) {
            return Err(WorkloadError::ReadRatio(self.read_ratio));
        }
        if self.payload < IDENTITY {
            return Err(WorkloadError::Payload(self.payload));
        }
        Ok(())
    }

    /// The operations of one client, without end.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn client(&self, client: u32) -> Result<Operations, WorkloadError> {
        self.validate()?;
        let mut rng = generator(self.seed, Purpose::Operations, client);
        let mut filler = vec![0; self.payload];
        rng.fill_bytes(&mut filler);
        Ok(Operations {
            keys: Keys::new(self.keys, self.zipf)?,
            read_ratio: self.read_ratio,
            filler,
            client,
            sequence: 0,
            rng,
        })
    }
}

/// The operations of one client; see [`Workload::client`].
#[derive(Clone, Debug)]
pub struct Operations {
    keys: Keys,
    read_ratio: f64,
    filler: Vec<u8>,
    client: u32,
    sequence: u64,
    rng: Pcg64,
}

impl Iterator for Operations {
    type Item = (Kind, Operation);

    fn next(&mut self) -> Option<Self::Item> {
        let key = kv::key(self.keys.draw(&mut self.rng));
        self.sequence += 1;
        // A share of 0 draws nothing, so that it changes nothing else.
        if self.read_ratio > 0.0 && self.rng.random_bool(self.read_ratio) {
            return Some((Kind::Read, Operation::Get { key }));
        }
        self.filler[..8].copy_from_slice(&u64::from(self.client).to_be_bytes());
        self.filler[8..IDENTITY].copy_from_slice(&self.sequence.to_be_bytes());
        let value = Bytes::copy_from_slice(&self.filler);
        Some((Kind::Write, Operation::Put { key, value }))
    }
}

/// How the moments of an open loop lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Arrivals {
    /// At random, independent of each other, as from many users who do not know of one another:
    /// exponential gaps.
    #[default]
    Poisson,
    /// Evenly spaced: shows the system at its best.
    Constant,
}

/// The intended starts of one of several workers that share an open loop, without end, from the
/// start of the run.
#[derive(Clone, Debug)]
pub struct Schedule {
    gap: Gap,
    next: f64,
    rng: Pcg64,
}

#[derive(Clone, Debug)]
enum Gap {
    Constant(f64),
    Random(Exp<f64>),
}

impl Schedule {
    /// The part of `worker`, one of `workers`, in `rate` operations a second.
    ///
    /// # Errors
    /// When the rate is not a positive number.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn new(
        rate: f64,
        arrivals: Arrivals,
        worker: u32,
        workers: u32,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        assert!(worker < workers, "worker {worker} of {workers}");
        let share = rate / f64::from(workers);
        if !(share.is_finite() && share > 0.0) {
            return Err(WorkloadError::Rate(rate));
        }
        let mut rng = generator(seed, Purpose::Arrivals, worker);
        let (gap, next) = match arrivals {
            // Interleaved, so that all workers together are evenly spaced.
            Arrivals::Constant => (Gap::Constant(1.0 / share), f64::from(worker) / rate),
            // Independent Poisson processes add up to one.
            Arrivals::Poisson => {
                let gaps = Exp::new(share).map_err(|_| WorkloadError::Rate(rate))?;
                let first = gaps.sample(&mut rng);
                (Gap::Random(gaps), first)
            }
        };
        Ok(Self { gap, next, rng })
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let moment = self.next;
        self.next += match &self.gap {
            Gap::Constant(gap) => *gap,
            Gap::Random(gaps) => gaps.sample(&mut self.rng),
        };
        Some(Duration::from_secs_f64(moment))
    }
}

#[derive(Clone, Copy)]
enum Purpose {
    Operations = 1,
    Arrivals = 2,
}

fn generator(seed: u64, purpose: Purpose, worker: u32) -> Pcg64 {
    // The seed is the state, who draws and what for is the stream.
    Pcg64::new(u128::from(seed), u128::from(worker) << 8 | purpose as u128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn values(client: u32) -> Vec<Operation> {
        let workload = Workload {
            payload: 16,
            ..Workload::default()
        };
        workload
            .client(client)
            .unwrap()
            .map(|(_, op)| op)
            .take(1_000)
            .collect()
    }

    #[test]
    fn every_value_is_written_once() {
        let mut seen = BTreeSet::new();
        for op in (0..5).flat_map(values) {
            let Operation::Put { value, .. } = op else {
                panic!("no reads were asked for")
            };
            assert!(seen.insert(value));
        }
    }

    #[test]
    fn a_seed_replays_and_clients_differ() {
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    fn the_read_ratio_is_kept() {
        let workload = Workload {
            read_ratio: 0.25,
            ..Workload::default()
        };
        let reads = workload
            .client(0)
            .unwrap()
            .take(20_000)
            .filter(|(k, _)| *k == Kind::Read);
        let reads = reads.count();
        // Six standard deviations of a binomial of 20,000 draws.
        assert!((4_633..5_367).contains(&reads), "{reads}");
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let good = Workload::default();
        for (bad, says) in [
            (Workload { keys: 0, ..good }, "at least one key"),
            (Workload { zipf: -1.0, ..good }, "zipf exponent -1"),
            (
                Workload {
                    read_ratio: 1.5,
                    ..good
                },
                "read ratio 1.5",
            ),
            (
                Workload {
                    payload: 15,
                    ..good
                },
                "payload of 15 bytes",
            ),
        ] {
            let error = bad.client(0).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(Schedule::new(0.0, Arrivals::Poisson, 0, 1, 0).is_err());
    }

    fn all_moments(arrivals: Arrivals) -> Vec<Duration> {
        let end = Duration::from_secs(10);
        let mut moments: Vec<_> = (0..4)
            .flat_map(|worker| {
                let schedule = Schedule::new(1_000.0, arrivals, worker, 4, 7).unwrap();
                schedule.take_while(move |moment| *moment < end)
            })
            .collect();
        moments.sort_unstable();
        moments
    }

    #[test]
    fn constant_arrivals_of_all_workers_are_evenly_spaced() {
        let moments = all_moments(Arrivals::Constant);
        assert_eq!(moments.len(), 10_000);
        for pair in moments.windows(2) {
            let gap = (pair[1] - pair[0]).as_secs_f64();
            assert!((gap - 0.001).abs() < 1e-6, "{gap}");
        }
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_the_variance() {
        let moments = all_moments(Arrivals::Poisson);
        assert!(
            (9_400..10_600).contains(&moments.len()),
            "{}",
            moments.len()
        );
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|p| (p[1] - p[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential's standard deviation is its mean.
        let ratio = variance.sqrt() / mean;
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
}
