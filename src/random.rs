//! Random numbers: reproducible from a seed for simulated crashes and tests, or from the operating
//! system.
//!
//! This is the only generator of the project. The integration tests and the benchmarks include
//! this file.
#![allow(unreachable_pub, reason = "it is public in the tests that include it")]

use std::hash::{BuildHasher, RandomState};

/// Sebastiano Vigna's SplitMix64: a counter through a mixer. The same seed results in the same
/// numbers. Not for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, or 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        // The upper 53 bits are as many as an f64 holds exactly.
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < probability
    }
}

/// Returns random bits that no client can guess and no two calls share. They come from the seeds
/// of the standard library's hash maps, which it takes from the operating system once for a
/// thread.
pub(crate) fn from_system() -> u128 {
    let state = RandomState::new();
    let [high, low] = [0_u8, 1].map(|half| u128::from(state.hash_one(half)));
    high << 64 | low
}
