//! Chance from a seed, and a hash over a whole run. Integers only: the same on every machine.

use crate::fault::Rate;
use core::{hash::Hasher, ops::RangeInclusive, time::Duration};
use rand::Rng as _;
use rand_pcg::{Pcg64, rand_core::SeedableRng as _};

/// A stream of draws. Every purpose has its own, so that taking one kind of fault out of a run
/// leaves the draws of all the others as they were.
#[derive(Clone, Debug)]
pub struct Chance(Pcg64);

impl Chance {
    /// The stream that `seed` has for `purpose`.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut hash = TraceHash::default();
        hash.write_u64(seed);
        hash.write_u64(purpose);
        Self(Pcg64::seed_from_u64(hash.finish()))
    }

    /// 64 fair bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero when that is zero.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of the range.
    #[inline]
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start());
        range.start() + self.below(width.saturating_add(1))
    }

    /// A span of the range, in whole nanoseconds.
    #[inline]
    pub fn span(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let nanos = |span: &Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.within(nanos(range.start())..=nanos(range.end())))
    }

    /// Whether something of this rate happens.
    #[inline]
    pub fn hits(&mut self, rate: Rate) -> bool {
        self.below(1_000_000) < u64::from(rate.0)
    }

    /// Whether something that happens `times` in `of` happens.
    #[inline]
    pub fn one_in(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// A number of mean `mean` with a long tail: exponential, with straight lines between the
    /// halvings.
    #[inline]
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let bits = self.bits();
        let halvings = u64::from((bits >> 32 | 1 << 31).trailing_zeros());
        let scaled = (halvings << 32) + (bits & 0xffff_ffff);
        // The mean of halvings plus fraction is three halves.
        ((u128::from(mean) * u128::from(scaled) * 2 / 3) >> 32) as u64
    }

    /// One of `items`; none when there are none.
    #[inline]
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len() as u64) as usize).copied()
    }
}

/// A hash that depends on nothing but what is written: two runs with the same value took the same
/// steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0x6a09_e667_f3bc_c908)
    }
}

impl Hasher for TraceHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }
    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }
    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }
    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_range_and_reach_its_ends() {
        let mut chance = Chance::new(1, 1);
        let mut seen = [0u32; 4];
        for _ in 0..4_000 {
            seen[(chance.within(3..=6) - 3) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1_200).contains(n)), "{seen:?}");
        assert_eq!(chance.within(7..=7), 7);
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn long_tailed_draws_have_their_mean() {
        let mut chance = Chance::new(2, 1);
        let sum: u64 = (0..100_000).map(|_| chance.exponential(1_000)).sum();
        assert!((97_000_000..103_000_000).contains(&sum), "{sum}");
    }

    #[test]
    fn every_purpose_has_a_stream_of_its_own() {
        let first = |seed, purpose| Chance::new(seed, purpose).bits();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
    }

    #[test]
    fn the_hash_sees_order_and_length() {
        let of = |writes: &[&[u8]]| {
            let mut hash = TraceHash::default();
            writes.iter().for_each(|bytes| hash.write(bytes));
            hash.finish()
        };
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
    }
}
