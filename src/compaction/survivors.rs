//! The records that survive a compaction.
//!
//! When the map is complete, the offsets in it *are* the surviving records of the dirty part. A
//! bitmap over the dirty offsets answers without a hash, and for a whole batch at once: a batch
//! without a bit need not be decompressed. In a log whose records are mostly superseded, that
//! saves nearly all of the work. Records of the clean part still look up their keys.

use crate::compaction::key_map::KeyMap;
use crate::compaction::spans::{Span, Spans};
use crate::types::Offset;
use std::ops::Range;

/// The bitmap takes at most this fraction of the map's memory.
const MAP_SHARE: usize = 8;

/// Decides which records survive, by key and offset.
pub(crate) struct Survivors<'a> {
    map: &'a KeyMap,
    /// The dirty offsets that the map covers.
    mapped: Range<Offset>,
    /// One bit for each of them, unless there are too many.
    bits: Option<Vec<u64>>,
    /// The positions of their batches, as far as known.
    spans: Option<&'a Spans>,
}

impl<'a> Survivors<'a> {
    /// Takes a map of the keys at these offsets.
    pub(crate) fn new(map: &'a KeyMap, mapped: Range<Offset>) -> Survivors<'a> {
        let bits = bitmap(map, &mapped);
        Survivors { map, mapped, bits, spans: None }
    }

    /// Adds the positions of the batches.
    pub(crate) fn with_spans(mut self, spans: &'a Spans) -> Survivors<'a> {
        self.spans = Some(spans);
        self
    }

    /// Returns the spans that begin at one of these offsets, in order.
    pub(crate) fn spans_within(&self, offsets: Range<Offset>) -> &'a [Span] {
        self.spans.map_or(&[], |spans| spans.within(offsets))
    }

    /// Takes a map of the keys at these offsets, and builds no bitmap.
    #[cfg(test)]
    pub(crate) fn by_key(map: &'a KeyMap, mapped: Range<Offset>) -> Survivors<'a> {
        Survivors { map, mapped, bits: None, spans: None }
    }

    /// Returns the offset after those that the map covers.
    pub(crate) fn end(&self) -> Offset {
        self.mapped.end
    }

    /// Returns whether the map has no higher offset of the same key. Records above the offsets of
    /// the map all survive.
    #[inline]
    pub(crate) fn survives(&self, key: Option<&[u8]>, offset: Offset) -> bool {
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

    /// Returns the surviving offsets in a range, if they are known without the keys.
    pub(crate) fn in_range(&self, offsets: Range<Offset>) -> Option<SurvivingOffsets<'_>> {
        let bits = self.bits.as_deref()?;
        let known = offsets.start >= self.mapped.start && offsets.end <= self.mapped.end;
        let number = |offset: Offset| offset.saturating_sub(self.mapped.start);
        known.then(|| SurvivingOffsets {
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

/// An iterator over the offsets in a range whose bit is set, in order.
#[derive(Debug, Clone)]
pub(crate) struct SurvivingOffsets<'a> {
    bits: &'a [u64],
    /// The offset of the first bit.
    first: Offset,
    next: u64,
    end: u64,
}

impl Iterator for SurvivingOffsets<'_> {
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
    fn bits_and_keys_agree() {
        let mut map = KeyMap::new(1 << 20, &(100..400), [1; 16]).unwrap();
        let key = |offset: Offset| (offset * offset % 37).to_be_bytes();
        (100..400).for_each(|offset| assert!(map.insert(map.id(&key(offset)), offset)));
        let bits = Survivors::new(&map, 100..400);
        let keys = Survivors::by_key(&map, 100..400);
        assert!(bits.bits.is_some());
        assert!(keys.in_range(100..200).is_none());
        let all: Vec<_> = (90..410).filter(|&o| keys.survives(Some(&key(o)), o)).collect();
        assert_eq!(all, (90..410).filter(|&o| bits.survives(Some(&key(o)), o)).collect::<Vec<_>>());
        for range in [100..400, 100..164, 163..165, 200..200, 333..400, 340..341] {
            let found: Vec<_> = bits.in_range(range.clone()).unwrap().collect();
            let expected: Vec<_> = all.iter().copied().filter(|o| range.contains(o)).collect();
            assert_eq!(found, expected, "{range:?}");
        }
        assert!(bits.in_range(99..200).is_none());
        assert!(bits.in_range(300..401).is_none());
        assert!(bits.survives(None, 400) && !bits.survives(None, 399));
    }

    #[test]
    fn too_many_offsets_get_no_bitmap() {
        let map = KeyMap::new(24 * 10, &(0..Offset::MAX), [1; 16]).unwrap();
        assert!(Survivors::new(&map, 0..192).bits.is_some());
        assert!(Survivors::new(&map, 0..193).bits.is_none());
        assert!(Survivors::new(&map, 0..Offset::MAX).bits.is_none());
    }
}
