//! Which records stay, as the rewrite asks for it.
//!
//! When the map is done, the offsets in it *are* the records of the dirty part that stay. As a
//! bitmap over the dirty offsets they answer without a hash, and answer for a whole batch
//! at once: one without a single bit need not even be expanded. In a log of which most is
//! superseded that is nearly all of the work. The clean part still looks up its keys.

use crate::compaction::key_map::KeyMap;
use crate::compaction::spans::{Stretch, Stretches};
use crate::types::Offset;
use std::ops::Range;

/// The bitmap takes no more than this part of the map's memory.
const MAP_SHARE: usize = 8;

/// Decides by key and offset which records the others of their key supersede.
pub(crate) struct Winners<'a> {
    map: &'a KeyMap,
    /// The dirty offsets the map knows about.
    mapped: Range<Offset>,
    /// One bit for each of them, unless they are too many.
    bits: Option<Vec<u64>>,
    /// Where they lie, as far as that is known.
    stretches: Option<&'a Stretches>,
}

impl<'a> Winners<'a> {
    /// Of a map of the keys in these offsets.
    pub(crate) fn new(map: &'a KeyMap, mapped: Range<Offset>) -> Winners<'a> {
        let bits = bitmap(map, &mapped);
        Winners { map, mapped, bits, stretches: None }
    }

    /// The same, with what is known of where the batches lie.
    pub(crate) fn with_stretches(mut self, stretches: &'a Stretches) -> Winners<'a> {
        self.stretches = Some(stretches);
        self
    }

    /// The stretches that begin at one of these offsets, in order.
    pub(crate) fn stretches_within(&self, offsets: Range<Offset>) -> &'a [Stretch] {
        self.stretches.map_or(&[], |stretches| stretches.within(offsets))
    }

    /// The same, without a bitmap.
    #[cfg(test)]
    pub(crate) fn by_key(map: &'a KeyMap, mapped: Range<Offset>) -> Winners<'a> {
        Winners { map, mapped, bits: None, stretches: None }
    }

    /// The offset behind those the map knows about.
    pub(crate) fn end(&self) -> Offset {
        self.mapped.end
    }

    /// Whether no record seen has the same key and a higher offset. Records behind those seen all
    /// win.
    #[inline]
    pub(crate) fn wins(&self, key: Option<&[u8]>, offset: Offset) -> bool {
        if offset >= self.mapped.end {
            return true;
        }
        let Some(key) = key else { return false };
        match &self.bits {
            Some(bits) if offset >= self.mapped.start => {
                let number = offset.saturating_sub(self.mapped.start);
                bits.get((number / 64) as usize)
                    .is_some_and(|word| word & (1 << (number % 64)) != 0)
            }
            _ => self.map.get(key).is_none_or(|last| offset >= last),
        }
    }

    /// The winners in a range of offsets, if they are known without their keys.
    pub(crate) fn in_range(&self, offsets: Range<Offset>) -> Option<Ones<'_>> {
        let bits = self.bits.as_deref()?;
        let known = offsets.start >= self.mapped.start && offsets.end <= self.mapped.end;
        let number = |offset: Offset| offset.saturating_sub(self.mapped.start);
        known.then(|| Ones {
            bits,
            first: self.mapped.start,
            next: number(offsets.start),
            end: number(offsets.end),
        })
    }
}

fn bitmap(map: &KeyMap, mapped: &Range<Offset>) -> Option<Vec<u64>> {
    let words = usize::try_from(mapped.end.saturating_sub(mapped.start).div_ceil(64)).ok()?;
    if words > map.memory_bytes() / MAP_SHARE / size_of::<u64>() {
        return None;
    }
    let mut bits = vec![0u64; words];
    for offset in map.offsets() {
        let number = offset.checked_sub(mapped.start)?;
        let word = bits.get_mut(usize::try_from(number / 64).ok()?)?;
        *word |= 1 << (number % 64);
    }
    Some(bits)
}

/// The offsets in a range whose bit is set, in order.
#[derive(Debug, Clone)]
pub(crate) struct Ones<'a> {
    bits: &'a [u64],
    /// The offset of the first bit.
    first: Offset,
    next: u64,
    end: u64,
}

impl Iterator for Ones<'_> {
    type Item = Offset;

    #[inline]
    fn next(&mut self) -> Option<Offset> {
        while self.next < self.end {
            let word = self.bits.get((self.next / 64) as usize)?;
            let rest = word >> (self.next % 64);
            if rest != 0 {
                let found = self.next.saturating_add(u64::from(rest.trailing_zeros()));
                self.next = found.saturating_add(1);
                return (found < self.end).then(|| self.first.saturating_add(found));
            }
            self.next = (self.next | 63).saturating_add(1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_keys_say_the_same() {
        let mut map = KeyMap::new(1 << 20, &(100..400), [1; 16]).unwrap();
        let key = |offset: Offset| (offset * offset % 37).to_be_bytes();
        (100..400).for_each(|offset| assert!(map.insert(map.id(&key(offset)), offset)));
        let bits = Winners::new(&map, 100..400);
        let keys = Winners::by_key(&map, 100..400);
        assert!(bits.bits.is_some());
        assert!(keys.in_range(100..200).is_none());
        let all: Vec<_> = (90..410).filter(|&o| keys.wins(Some(&key(o)), o)).collect();
        assert_eq!(all, (90..410).filter(|&o| bits.wins(Some(&key(o)), o)).collect::<Vec<_>>());
        for range in [100..400, 100..164, 163..165, 200..200, 333..400, 340..341] {
            let found: Vec<_> = bits.in_range(range.clone()).unwrap().collect();
            let expected: Vec<_> = all.iter().copied().filter(|o| range.contains(o)).collect();
            assert_eq!(found, expected, "{range:?}");
        }
        assert!(bits.in_range(99..200).is_none());
        assert!(bits.in_range(300..401).is_none());
        assert!(bits.wins(None, 400) && !bits.wins(None, 399));
    }

    #[test]
    fn too_many_offsets_get_no_bitmap() {
        let map = KeyMap::new(24 * 10, &(0..Offset::MAX), [1; 16]).unwrap();
        assert!(Winners::new(&map, 0..192).bits.is_some());
        assert!(Winners::new(&map, 0..193).bits.is_none());
        assert!(Winners::new(&map, 0..Offset::MAX).bits.is_none());
    }
}
