//! Places that are far apart, as they were measured.

use std::time::Duration;

/// Five AWS regions, in the order in which nodes take their places.
pub const SITES: [&str; 5] = ["ireland", "california", "singapore", "canada", "são paulo"];

/// Round trips between them in milliseconds.
const ROUND_TRIPS_MS: [[u64; 5]; 5] = [
    [0, 136, 176, 72, 181],
    [136, 0, 173, 79, 173],
    [176, 173, 0, 206, 321],
    [72, 79, 206, 0, 124],
    [181, 173, 321, 124, 0],
];

/// The round trip between two of [`SITES`], by their places in it.
///
/// # Panics
/// When there is no such place.
#[must_use]
pub const fn round_trip(a: usize, b: usize) -> Duration {
    Duration::from_millis(ROUND_TRIPS_MS[a][b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_as_long() {
        for a in 0..SITES.len() {
            for b in 0..SITES.len() {
                assert_eq!(round_trip(a, b), round_trip(b, a));
                assert_eq!(round_trip(a, b).is_zero(), a == b);
            }
        }
    }
}
