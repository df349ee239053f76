//! The last offset of each key, in memory of a fixed size.
//!
//! Keys can have any length, so a slot stores a [`KeyId`] instead of the key: 16 bytes, and 8 for
//! the offset.
//!
//! A search begins at the slot that the key hashes to, and continues with the next slots.
//! Neighbours share a cache line, and a tenth of the slots stays free, so searches are short.
//!
//! Most of the time is spent waiting for memory, and two measures reduce that. The map uses only
//! as many slots as its keys need: it begins with a small part of its memory and grows in place as
//! it fills. And keys are inserted many at a time: the slots of all of them are touched first, so
//! that the processor fetches them in parallel. Touching each slot just before it is needed is
//! three times slower, because the computation then waits for memory too.

use crate::compaction::key_id::{KeyHasher, KeyId};
use crate::error::{InvalidOption, Result};
use crate::types::Offset;
use std::ops::Range;

/// The two halves of the key's id, and the offset plus one: 0 marks a free slot.
type Slot = [u64; 3];

/// The memory of a slot.
const SLOT_BYTES: usize = size_of::<Slot>();

/// One slot in this many stays free.
const FREE_ONE_IN: usize = 10;

/// The number of slots in use at first.
const FIRST_SLOTS: usize = 4096;

/// Marks a slot that has not been moved yet while the map grows. No offset is as large.
const OLD: u64 = 1 << 63;

/// The option that bounds the memory of a map.
const OPTION: &str = "dedupe_buffer_bytes";

/// The last offset of each key.
pub(crate) struct KeyMap {
    slots: Vec<Slot>,
    /// The number of slots in use, from the first on.
    used: usize,
    hasher: KeyHasher,
    len: usize,
}

/// Returns the number of keys that fit into this many slots.
fn room_in(slots: usize) -> usize {
    slots.saturating_sub(slots.div_ceil(FREE_ONE_IN))
}

impl KeyMap {
    /// Creates a map in at most `memory_bytes`, or in less if one key for each of `offsets` needs
    /// less.
    ///
    /// The seed must not be known to a client that writes to the log.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if the memory is too small for one key, or cannot be allocated.
    pub(crate) fn new(
        memory_bytes: usize,
        offsets: &Range<Offset>,
        seed: [u8; 16],
    ) -> Result<KeyMap> {
        let keys = usize::try_from(offsets.end.saturating_sub(offsets.start)).unwrap_or(usize::MAX);
        let needed = keys.saturating_add(keys / (FREE_ONE_IN - 1)).saturating_add(2);
        let slots = (memory_bytes / SLOT_BYTES).min(needed);
        if room_in(slots) == 0 {
            let rule = format!("must be at least {} bytes, the room for a key", 2 * SLOT_BYTES);
            return Err(InvalidOption::new(OPTION, memory_bytes, rule).into());
        }
        // Zeroed memory need not be written, but its allocation cannot fail gracefully: so a
        // reservation is tried first.
        if Vec::<Slot>::new().try_reserve_exact(slots).is_err() {
            let bytes = slots.saturating_mul(SLOT_BYTES);
            let rule = format!("{bytes} bytes cannot be allocated; choose a lower limit");
            return Err(InvalidOption::new(OPTION, memory_bytes, rule).into());
        }
        let hasher = KeyHasher::new(seed);
        Ok(KeyMap { slots: vec![[0; 3]; slots], used: slots.min(FIRST_SLOTS), hasher, len: 0 })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of keys that fit.
    pub(crate) fn capacity(&self) -> usize {
        room_in(self.slots.len())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.len().saturating_mul(SLOT_BYTES)
    }

    /// Returns the id of a key in this map.
    #[inline]
    pub(crate) fn id(&self, key: &[u8]) -> KeyId {
        self.hasher.id(key)
    }

    /// Touches the slots of keys that are about to be inserted, at both ends, because a slot can
    /// lie across two cache lines.
    #[inline]
    pub(crate) fn touch(&self, keys: impl Iterator<Item = KeyId>) {
        let mut seen = 0;
        for key in keys {
            seen |= self.slots.get(self.home(key)).map_or(0, |[a, _, place]| *a ^ *place);
        }
        std::hint::black_box(seen);
    }

    /// Sets the last offset of a key. If the key is new and there is no room, returns false and
    /// changes nothing.
    #[inline]
    pub(crate) fn insert(&mut self, key: KeyId, offset: Offset) -> bool {
        let mut at = self.find(key);
        if self.slots.get(at).is_some_and(|[_, _, place]| *place == 0) {
            if self.len >= self.room() {
                if self.used == self.slots.len() {
                    return false;
                }
                self.grow();
                at = self.find(key);
            }
            self.len = self.len.saturating_add(1);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = [key.0, key.1, offset.saturating_add(1)];
        }
        true
    }

    /// Returns the last offset of a key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let [_, _, place] = self.slots.get(self.find(self.id(key)))?;
        place.checked_sub(1)
    }

    pub(crate) fn clear(&mut self) {
        if let Some(used) = self.slots.get_mut(..self.used) {
            used.fill([0; 3]);
        }
        self.used = self.slots.len().min(FIRST_SLOTS);
        self.len = 0;
    }

    /// Iterates over the last offsets of all keys, in no particular order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> {
        self.slots.iter().take(self.used).filter_map(|[_, _, place]| place.checked_sub(1))
    }

    /// Returns the number of keys that the slots in use may have. As long as there are unused
    /// slots, that is half as many, because searches are shorter then.
    #[inline]
    fn room(&self) -> usize {
        if self.used == self.slots.len() { self.capacity() } else { self.used / 2 }
    }

    /// Returns the slot where the search for a key begins.
    #[inline]
    fn home(&self, key: KeyId) -> usize {
        let scaled = u128::from(self.hasher.position(key)).saturating_mul(self.used as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    /// Returns the next slot.
    #[inline]
    fn after(&self, at: usize) -> usize {
        let next = at.saturating_add(1);
        if next == self.used { 0 } else { next }
    }

    /// Returns the slot of a key, or the free slot for it. There is always a free slot.
    #[inline]
    fn find(&self, key: KeyId) -> usize {
        let mut at = self.home(key);
        while let Some([first, second, place]) = self.slots.get(at) {
            if *place == 0 || (*first == key.0 && *second == key.1) {
                break;
            }
            at = self.after(at);
        }
        at
    }

    /// Doubles the number of slots in use, as far as there are more, and moves every key to its
    /// new slot.
    #[cold]
    fn grow(&mut self) {
        let before = self.used;
        self.used = before.saturating_mul(2).min(self.slots.len());
        for [_, _, place] in self.slots.iter_mut().take(before).filter(|[_, _, place]| *place != 0)
        {
            *place |= OLD;
        }
        for at in 0..before {
            let mut moving = match self.slots.get_mut(at) {
                Some(slot) if slot[2] & OLD != 0 => std::mem::take(slot),
                _ => continue,
            };
            // A key in the new slot has to move as well.
            while let [first, second, place] = moving
                && place != 0
            {
                let mut to = self.home(KeyId(first, second));
                while self.slots.get(to).is_some_and(|[_, _, p]| *p != 0 && p & OLD == 0) {
                    to = self.after(to);
                }
                let Some(slot) = self.slots.get_mut(to) else { break };
                moving = std::mem::replace(slot, [first, second, place & !OLD]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(memory_bytes: usize) -> KeyMap {
        KeyMap::new(memory_bytes, &(0..Offset::MAX), [7; 16]).unwrap()
    }

    fn insert(map: &mut KeyMap, key: &[u8], offset: Offset) -> bool {
        map.insert(map.id(key), offset)
    }

    #[test]
    fn map_keeps_last_offset_of_key() {
        let mut map = map(24 * 1000);
        assert_eq!((map.len(), map.capacity(), map.memory_bytes()), (0, 900, 24_000));
        assert_eq!(map.get(b"a"), None);
        assert!(insert(&mut map, b"a", 0));
        assert!(insert(&mut map, b"b", 1));
        assert!(insert(&mut map, b"a", 9));
        assert!(insert(&mut map, b"", 10));
        assert_eq!((map.get(b"a"), map.get(b"b"), map.get(b"")), (Some(9), Some(1), Some(10)));
        assert_eq!(map.len(), 3);
        let mut offsets: Vec<_> = map.offsets().collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [1, 9, 10]);
        map.clear();
        assert_eq!((map.len(), map.get(b"a"), map.offsets().count()), (0, None, 0));
    }

    #[test]
    fn full_map_accepts_known_keys() {
        for slots in 2..40u64 {
            let mut map = map(24 * slots as usize);
            let capacity = map.capacity() as u64;
            assert!(capacity >= 1 && capacity < slots);
            for key in 0..capacity {
                assert!(insert(&mut map, &key.to_be_bytes(), key));
            }
            assert!(!insert(&mut map, b"one more", 1000));
            assert!(insert(&mut map, &0u64.to_be_bytes(), 1001));
            assert_eq!(map.get(b"one more"), None);
            assert_eq!(map.get(&0u64.to_be_bytes()), Some(1001));
            assert_eq!(map.len() as u64, capacity);
            assert!((1..capacity).all(|key| map.get(&key.to_be_bytes()) == Some(key)));
        }
    }

    #[test]
    fn memory_fits_offsets_and_limit() {
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

    #[test]
    fn keys_stay_distinct_while_map_grows() {
        let keys = 300_000u64;
        let mut map = map(24 * 350_000);
        for round in 0..2 {
            for key in 0..keys {
                assert!(insert(&mut map, &key.to_be_bytes(), key * 3 + round));
                let earlier = key / 2;
                assert_eq!(map.get(&earlier.to_be_bytes()), Some(earlier * 3 + round));
            }
            assert_eq!(map.len() as u64, keys);
        }
        assert!((0..keys).all(|key| map.get(&key.to_be_bytes()) == Some(key * 3 + 1)));
        assert_eq!(map.get(&keys.to_be_bytes()), None);
        assert_eq!(map.offsets().count() as u64, keys);
        map.clear();
        assert_eq!((map.offsets().count(), map.slots.iter().flatten().sum()), (0, 0u64));
        assert!(insert(&mut map, b"again", Offset::from(crate::MAX_OFFSET)));
        assert_eq!(map.get(b"again"), Some(crate::MAX_OFFSET));
    }
}
