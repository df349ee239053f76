//! The id of a key in the map: 16 bytes, whatever the length of the key.
//!
//! The id of a key of up to 15 bytes is the key itself, with its length in the last byte. Two such
//! keys never collide, and there is nothing to compute.
//!
//! Longer keys are hashed to 120 bits; the last byte marks the id as a hash. Two keys with the
//! same hash would count as one, and the record of one of them would be lost. That does not happen
//! by chance: among a thousand million keys the odds are one in 10^18. To force a collision, an
//! attacker who chooses keys would need two that SipHash maps to one value under a random seed
//! that is new for each pass and never leaves the process. That function was designed to prevent
//! this. It takes some 10 to 15 ns for a short key. XXH3 takes 5 to 10, but its 128 bits are worth
//! less against an attacker: for keys of 32 bytes that differ in their first two words, and not in
//! the sum of those, one half of its hash is the same whatever the seed. The other half alone
//! collides by chance among a few thousand millions of keys, and there is no proof that an
//! attacker needs chance.

use siphasher::sip128::{Hash128, SipHasher13};

/// The last byte of the id of a hashed key; for other keys it is their length.
const HASHED: u64 = 0xff << 56;

/// The id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(pub(crate) u64, pub(crate) u64);

/// Computes the ids of keys, and spreads them over a map.
pub(crate) struct Keying {
    hasher: SipHasher13,
    /// Secret, so that an attacker who chooses keys cannot make them meet in one slot.
    spread: [u64; 2],
}

impl Keying {
    /// The seed must not be known to a client that chooses keys.
    pub(crate) fn new(seed: [u8; 16]) -> Keying {
        let hasher = SipHasher13::new_with_key(&seed);
        let Hash128 { h1, h2 } = hasher.hash(b"where keys go");
        Keying { hasher, spread: [h1, h2] }
    }

    /// Returns the id of a key.
    #[inline]
    pub(crate) fn id(&self, key: &[u8]) -> KeyId {
        short(key).unwrap_or_else(|| {
            let Hash128 { h1, h2 } = self.hasher.hash(key);
            KeyId(h1, h2 | HASHED)
        })
    }

    /// A number of which the upper bits depend on all of the key.
    #[inline]
    pub(crate) fn place(&self, KeyId(first, second): KeyId) -> u64 {
        let [a, b] = self.spread;
        // Once is not enough: keys that count up may leave half of the places free.
        folded(folded(first ^ a, second ^ b), FACTOR)
    }
}

/// The golden ratio, as a fraction of 64 bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The two halves of the product, taken together.
#[inline]
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one).wrapping_mul(u128::from(other));
    (product >> 64) as u64 ^ product as u64
}

/// What stands for a key that stands for itself. Its first bytes and its last ones may overlap: of
/// one length, no other key has the same.
#[inline]
fn short(key: &[u8]) -> Option<KeyId> {
    let length = key.len() as u64;
    let (first, second) = if let (Some(head), Some(tail)) = (key.first_chunk(), key.last_chunk()) {
        // Of the last eight bytes those that are not among the first ones, which are seven at
        // most.
        let new_bits = u32::try_from(length).ok()?.checked_sub(8)?.checked_mul(8)?;
        let new = 1u64.checked_shl(new_bits)?.wrapping_sub(1);
        (u64::from_be_bytes(*head), u64::from_be_bytes(*tail) & new)
    } else if let (Some(head), Some(tail)) = (key.first_chunk(), key.last_chunk()) {
        let [head, tail] = [head, tail].map(|part| u64::from(u32::from_be_bytes(*part)));
        (head << 32 | tail, 0)
    } else if let ([head, ..], [.., tail]) = (key, key) {
        let middle = key.get(key.len() / 2).copied().unwrap_or(0);
        (u64::from(*head) | u64::from(middle) << 8 | u64::from(*tail) << 16, 0)
    } else {
        (0, 0)
    };
    Some(KeyId(first, second | length << 56))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn a_short_key_is_taken_for_no_other() {
        let keying = Keying::new([5; 16]);
        let mut seen: HashMap<KeyId, Vec<u8>> = HashMap::new();
        let mut note = |key: &[u8]| {
            let id = keying.id(key);
            assert_eq!(id.1 >= HASHED, key.len() > 15, "{key:?}");
            let other = seen.entry(id).or_insert_with(|| key.to_vec());
            assert_eq!(other, key, "both are {id:?}");
        };
        // Every length, every single bit, every pair of bytes in every two places.
        for length in 0..40 {
            let mut key = vec![0; length];
            note(&key);
            for first in 0..length {
                for bit in 0..8 {
                    key[first] = 1 << bit;
                    note(&key);
                }
                for second in 0..first {
                    for value in [1, 0x80, 0xff] {
                        key[second] = value;
                        note(&key);
                    }
                    key[second] = 0;
                }
                key[first] = 0;
            }
        }
        for number in 0..70_000u32 {
            note(&number.to_be_bytes());
            note(&number.to_be_bytes()[1..]);
            note(number.to_string().as_bytes());
            note(format!("key {number}").as_bytes());
            note(format!("the key of number {number}").as_bytes());
        }
    }

    #[test]
    fn another_pass_hashes_otherwise() {
        let [one, two] = [[1; 16], [2; 16]].map(Keying::new);
        let (long, short) = (one.id(b"sixteen bytes 16"), one.id(b"fifteen bytes15"));
        assert_ne!(two.id(b"sixteen bytes 16"), long);
        assert_eq!(two.id(b"fifteen bytes15"), short);
        assert_ne!(two.place(short), one.place(short));
    }

    /// Keys as people make them go to as many places as random ones would.
    #[test]
    fn keys_that_are_alike_spread() {
        const PLACES: u64 = 1 << 15;
        let families: [fn(u64) -> Vec<u8>; 8] = [
            |n| n.to_be_bytes().to_vec(),
            |n| n.swap_bytes().to_be_bytes().to_vec(),
            |n| (n as u32).to_be_bytes().to_vec(),
            |n| (n << 32).to_be_bytes().to_vec(),
            |n| n.to_string().into_bytes(),
            |n| format!("user-{n:08}").into_bytes(),
            |n| format!("{n:032x}").into_bytes(),
            |n| [[0; 7].as_slice(), &n.to_be_bytes()].concat(),
        ];
        for seed in 0..12 {
            let keying = Keying::new([seed; 16]);
            for (family, key) in families.iter().enumerate() {
                let taken: HashSet<u64> = (0..PLACES)
                    .map(|n| keying.place(keying.id(&key(n))) / (u64::MAX / PLACES + 1))
                    .collect();
                // Random ones would take 63% of them.
                let share = taken.len() as f64 / PLACES as f64;
                assert!(share > 0.6, "family {family}, seed {seed}: {share}");
            }
        }
    }
}
