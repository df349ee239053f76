//! The last offset of each key, in a fixed piece of memory.
//!
//! Keys can be of any length, so a slot has a hash in place of its key: 16 bytes, and 8 for the
//! offset. Two keys with the same hash would be taken for one, and the record of one of them
//! lost. With 128 bits that does not happen by chance: among a thousand million keys
//! the odds are one in 10^20. To make it happen on purpose, somebody who chooses keys would
//! need two that SipHash maps to one value under a key that is drawn for each pass and never
//! leaves the process, which is what that function was designed to prevent. It takes some 15
//! to 20 ns for a short key, where XXH3 takes 5 to 10: a few percent of a pass, for a
//! hash whose collisions nobody can find without the seed rather than one where nobody has promised it.
//!
//! Slots are searched from the one the hash names onwards. Neighbours share a cache line, and as
//! a tenth of the slots stays free the way is short.

use crate::error::{Error, Result};
use crate::types::Offset;
use siphasher::sip128::{Hash128, SipHasher13};
use std::ops::Range;

/// The two halves of the hash, and the offset plus one: 0 marks a free slot.
type Slot = [u64; 3];

/// The memory of a slot.
const SLOT_BYTES: usize = size_of::<Slot>();

/// Of how many slots one stays free.
const FREE_ONE_IN: usize = 10;

/// The option that bounds the memory of a map.
const OPTION: &str = "cleaner_memory_bytes";

/// Where each key was last seen.
pub(crate) struct KeyMap {
    slots: Vec<Slot>,
    hasher: SipHasher13,
    len: usize,
    capacity: usize,
}

impl KeyMap {
    /// A map in at most `memory_bytes`, or in what as many keys as `offsets` has numbers need, if that is less.
    ///
    /// The seed must be one that nobody who writes to the log knows.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if the memory is too little for one key, or more than there is.
    pub(crate) fn new(
        memory_bytes: usize,
        offsets: &Range<Offset>,
        seed: [u8; 16],
    ) -> Result<KeyMap> {
        let keys = usize::try_from(offsets.end.saturating_sub(offsets.start)).unwrap_or(usize::MAX);
        let needed = keys.saturating_add(keys / (FREE_ONE_IN - 1)).saturating_add(2);
        let slots = (memory_bytes / SLOT_BYTES).min(needed);
        let capacity = slots.saturating_sub(slots.div_ceil(FREE_ONE_IN));
        let refuse = |reason: String| Error::InvalidConfig { option: OPTION, reason };
        if capacity == 0 {
            let least = 2 * SLOT_BYTES;
            return Err(refuse(format!(
                "{memory_bytes} bytes hold no key; give it {least} or more"
            )));
        }
        // Memory that comes as zeros need not be written, but there is no way to ask for it and hear a no.
        if Vec::<Slot>::new().try_reserve_exact(slots).is_err() {
            let bytes = slots.saturating_mul(SLOT_BYTES);
            return Err(refuse(format!("there are no {bytes} bytes to be had; give it less")));
        }
        let hasher = SipHasher13::new_with_key(&seed);
        Ok(KeyMap { slots: vec![[0; 3]; slots], hasher, len: 0, capacity })
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many keys it can have.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.len().saturating_mul(SLOT_BYTES)
    }

    /// Takes this for the last offset of the key. False, and nothing done, if the key is new and there is no room.
    #[inline]
    pub(crate) fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hasher.hash(key);
        let full = self.len >= self.capacity;
        let at = self.find(hash);
        let Some([first, second, place]) = self.slots.get_mut(at) else { return false };
        if *place == 0 {
            if full {
                return false;
            }
            (*first, *second) = (hash.h1, hash.h2);
            self.len = self.len.saturating_add(1);
        }
        *place = offset.saturating_add(1);
        true
    }

    /// The last offset of a key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let [_, _, place] = self.slots.get(self.find(self.hasher.hash(key)))?;
        place.checked_sub(1)
    }

    /// Forgets all keys.
    pub(crate) fn clear(&mut self) {
        self.slots.fill([0; 3]);
        self.len = 0;
    }

    /// The last offsets of all keys, in no order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> {
        self.slots.iter().filter_map(|[_, _, place]| place.checked_sub(1))
    }

    /// The slot that has the hash, or the free one where it would go. There is always a free one.
    #[inline]
    fn find(&self, hash: Hash128) -> usize {
        let slots = self.slots.len();
        let scaled = u128::from(hash.h1).saturating_mul(slots as u128) >> 64;
        let mut at = usize::try_from(scaled).unwrap_or(0);
        while let Some([first, second, place]) = self.slots.get(at) {
            if *place == 0 || (*first == hash.h1 && *second == hash.h2) {
                break;
            }
            at = at.saturating_add(1);
            if at == slots {
                at = 0;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(memory_bytes: usize) -> KeyMap {
        KeyMap::new(memory_bytes, &(0..Offset::MAX), [7; 16]).unwrap()
    }

    #[test]
    fn the_last_offset_of_a_key_is_kept() {
        let mut map = map(24 * 1000);
        assert_eq!((map.len(), map.capacity(), map.memory_bytes()), (0, 900, 24_000));
        assert_eq!(map.get(b"a"), None);
        assert!(map.insert(b"a", 0));
        assert!(map.insert(b"b", 1));
        assert!(map.insert(b"a", 9));
        assert!(map.insert(b"", 10));
        assert_eq!((map.get(b"a"), map.get(b"b"), map.get(b"")), (Some(9), Some(1), Some(10)));
        assert_eq!(map.len(), 3);
        let mut offsets: Vec<_> = map.offsets().collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [1, 9, 10]);
        map.clear();
        assert_eq!((map.len(), map.get(b"a"), map.offsets().count()), (0, None, 0));
    }

    #[test]
    fn a_full_map_still_takes_known_keys() {
        for slots in 2..40u64 {
            let mut map = map(24 * slots as usize);
            let capacity = map.capacity() as u64;
            assert!(capacity >= 1 && capacity < slots);
            for key in 0..capacity {
                assert!(map.insert(&key.to_be_bytes(), key));
            }
            assert!(!map.insert(b"one more", 1000));
            assert!(map.insert(&0u64.to_be_bytes(), 1001));
            assert_eq!(map.get(b"one more"), None);
            assert_eq!(map.get(&0u64.to_be_bytes()), Some(1001));
            assert_eq!(map.len() as u64, capacity);
            assert!((1..capacity).all(|key| map.get(&key.to_be_bytes()) == Some(key)));
        }
    }

    #[test]
    fn memory_is_what_the_offsets_need_and_no_more_than_allowed() {
        for offsets in [1, 2, 9, 10, 11, 1000] {
            let map = KeyMap::new(1 << 30, &(5..5 + offsets), [0; 16]).unwrap();
            assert!(map.capacity() as u64 >= offsets);
            assert!(map.memory_bytes() as u64 <= offsets * 24 * 12 / 10 + 100);
        }
        for memory_bytes in [0, 24, 47] {
            assert!(KeyMap::new(memory_bytes, &(0..9), [0; 16]).is_err());
        }
        assert!(KeyMap::new(usize::MAX, &(0..Offset::MAX), [0; 16]).is_err());
    }

    /// Half of a hash of 64 bits would do for this test; a quarter would not.
    #[test]
    fn many_keys_are_told_apart() {
        let keys = 300_000u64;
        let mut map = map(24 * 350_000);
        for key in 0..keys {
            assert!(map.insert(&key.to_le_bytes(), key));
        }
        assert_eq!(map.len() as u64, keys);
        assert!((0..keys).all(|key| map.get(&key.to_le_bytes()) == Some(key)));
    }
}
