//! The id of a key in the map: 16 bytes, whatever the length of the key.
//!
//! The id of a key of up to 15 bytes is the key itself, with its length in the last byte. Two such
//! keys never collide, and there is nothing to compute.
//!
//! Longer keys are hashed to 120 bits, and the last byte marks the id as a hash. Two keys with the
//! same hash would count as one key, and a record of one of them would be lost. That does not
//! happen by chance: among 10^9 keys the odds are one in 10^18. To force a collision, an attacker
//! would need two keys that SipHash maps to one value under a random seed, which is new for each
//! pass and never leaves the process. SipHash was designed to prevent this. It takes 10 to 15 ns
//! for a short key. XXH3 takes 5 to 10 ns, but its 128 bits resist an attacker less: for keys of
//! 32 bytes that differ in their first two words, and not in the sum of those, one half of its
//! hash is the same for every seed. The other half alone collides by chance among a few 10^9 keys,
//! and there is no proof that an attacker needs chance.

use siphasher::sip128::{Hash128, SipHasher13};

/// The last byte of the id of a hashed key. For other keys, it is their length.
const HASHED: u64 = 0xff << 56;

/// The id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(pub(crate) u64, pub(crate) u64);

/// Computes the ids of keys, and their positions in a map.
pub(crate) struct KeyHasher {
    hasher: SipHasher13,
    /// Secret, so that an attacker cannot choose keys that all hash to one slot.
    spread: [u64; 2],
}

impl KeyHasher {
    /// The seed must not be known to a client that chooses keys.
    pub(crate) fn new(seed: [u8; 16]) -> KeyHasher {
        let hasher = SipHasher13::new_with_key(&seed);
        let Hash128 { h1, h2 } = hasher.hash(b"where keys go");
        KeyHasher { hasher, spread: [h1, h2] }
    }

    /// Returns the id of a key.
    #[inline]
    pub(crate) fn id(&self, key: &[u8]) -> KeyId {
        short(key).unwrap_or_else(|| {
            let Hash128 { h1, h2 } = self.hasher.hash(key);
            KeyId(h1, h2 | HASHED)
        })
    }

    /// Returns a number whose upper bits depend on the whole key.
    #[inline]
    pub(crate) fn position(&self, KeyId(first, second): KeyId) -> u64 {
        let [a, b] = self.spread;
        // One multiplication is not enough: keys that count up may leave half of the slots free.
        folded(folded(first ^ a, second ^ b), FACTOR)
    }
}

/// The golden ratio, as a fraction of 64 bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the exclusive or of the two halves of the product.
#[inline]
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one).wrapping_mul(u128::from(other));
    (product >> 64) as u64 ^ product as u64
}

/// Returns the id of a short key, which is the key itself. Its first and last bytes may overlap:
/// no other key of the same length has the same ones.
#[inline]
fn short(key: &[u8]) -> Option<KeyId> {
    let length = key.len() as u64;
    let (first, second) = if let (Some(head), Some(tail)) = (key.first_chunk(), key.last_chunk()) {
        // The part of the last eight bytes that is not among the first ones: at most seven bytes.
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
    fn short_key_has_unique_id() {
        let hasher = KeyHasher::new([5; 16]);
        let mut seen: HashMap<KeyId, Vec<u8>> = HashMap::new();
        let mut note = |key: &[u8]| {
            let id = hasher.id(key);
            assert_eq!(id.1 >= HASHED, key.len() > 15, "{key:?}");
            let other = seen.entry(id).or_insert_with(|| key.to_vec());
            assert_eq!(other, key, "both are {id:?}");
        };
        // Every length, every single bit, every pair of bytes in every two positions.
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
    fn hash_differs_between_passes() {
        let [one, two] = [[1; 16], [2; 16]].map(KeyHasher::new);
        let (long, short) = (one.id(b"sixteen bytes 16"), one.id(b"fifteen bytes15"));
        assert_ne!(two.id(b"sixteen bytes 16"), long);
        assert_eq!(two.id(b"fifteen bytes15"), short);
        assert_ne!(two.position(short), one.position(short));
    }

    /// Typical keys use as many slots as random ones would.
    #[test]
    fn similar_keys_spread() {
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
            let hasher = KeyHasher::new([seed; 16]);
            for (family, key) in families.iter().enumerate() {
                let taken: HashSet<u64> = (0..PLACES)
                    .map(|n| hasher.position(hasher.id(&key(n))) / (u64::MAX / PLACES + 1))
                    .collect();
                // Random keys would use 63% of them.
                let share = taken.len() as f64 / PLACES as f64;
                assert!(share > 0.6, "family {family}, seed {seed}: {share}");
            }
        }
    }
}
