//! What the two indexes of a segment have in common: fixed-size entries, those
//! of the file they were opened from in front, those added since behind.
//!
//! An index is a cache of the log. It is checked when it is opened, and each entry
//! when it is first used: the log must lead from the entry before it to it. One that
//! is wrong is made again; nothing is ever served on its word alone. Looking at the
//! place of one entry would not do: a value may hold what reads as a batch.

use crate::fs::FileView;
use crate::segment::entries::EntryList;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Offset, Timestamp};
use std::sync::OnceLock;

/// Entries of `BYTES` bytes, kept in memory as `WORDS` 64-bit words when they were added since the
/// file was opened.
#[derive(Debug)]
pub(crate) struct Entries<const WORDS: usize, const BYTES: usize> {
    file: FileView,
    file_len: usize,
    added: EntryList<WORDS>,
    /// The number of entries at the start that come from the file, so that they must be checked
    /// before use.
    doubted: usize,
    /// One bit for each of them and one for what follows, set once it was checked; made when first
    /// needed.
    checked: OnceLock<Box<[AtomicU64]>>,
}

impl<const WORDS: usize, const BYTES: usize> Entries<WORDS, BYTES> {
    pub(crate) fn new(file: FileView) -> Self {
        let file_len = file.len().checked_div(BYTES).unwrap_or(0);
        let checked = OnceLock::new();
        Entries { file, file_len, added: EntryList::new(), doubted: file_len, checked }
    }

    /// Takes the entries there are for ones of a file: they were copied from one.
    pub(crate) fn doubt(&mut self) {
        self.doubted = self.len();
    }

    /// Whether it is an entry that was made here.
    pub(crate) fn is_own(&self, index: usize) -> bool {
        (self.doubted..self.len()).contains(&index)
    }

    /// Whether what lies between the entry before this one and this one needs no check any more.
    pub(crate) fn is_checked(&self, index: usize) -> bool {
        let bit = || self.checked.get()?.get(index / 64).map(|word| word.load(Ordering::Relaxed));
        self.doubted == 0
            || index > self.doubted
            || bit().is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(crate) fn set_checked(&self, index: usize) {
        let words = self.doubted / 64;
        let bits = self.checked.get_or_init(|| (0..=words).map(|_| AtomicU64::new(0)).collect());
        if let Some(word) = bits.get(index / 64) {
            word.fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.file_len.saturating_add(self.added.len())
    }

    pub(crate) fn get(&self, index: usize) -> Option<[u8; BYTES]> {
        let Some(added) = index.checked_sub(self.file_len) else {
            let from = index.checked_mul(BYTES)?;
            return self.file.get(from..from.checked_add(BYTES)?)?.try_into().ok();
        };
        let words = self.added.get(added)?;
        let mut entry = [0; BYTES];
        for (bytes, word) in entry.chunks_mut(8).zip(words) {
            let word = word.to_be_bytes();
            bytes.copy_from_slice(word.get(..bytes.len())?);
        }
        Some(entry)
    }

    /// Adds an entry; false when there is no room. One thread at a time.
    pub(crate) fn push(&self, entry: [u8; BYTES]) -> bool {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(entry.chunks(8)) {
            let mut whole = [0; 8];
            if let Some(front) = whole.get_mut(..bytes.len()) {
                front.copy_from_slice(bytes);
            }
            *word = u64::from_be_bytes(whole);
        }
        self.added.push(words)
    }

    pub(crate) fn last(&self) -> Option<[u8; BYTES]> {
        self.len().checked_sub(1).and_then(|last| self.get(last))
    }

    /// How many entries at the front satisfy `matches`, which must hold for a prefix of them.
    pub(crate) fn partition_point(&self, matches: impl Fn([u8; BYTES]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle) {
                Some(entry) if matches(entry) => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        low
    }

    /// The bytes of the entries from `first` on, as they stand in the file.
    pub(crate) fn bytes_from(&self, first: usize) -> Vec<u8> {
        (first..self.len()).filter_map(|index| self.get(index)).flatten().collect()
    }
}

/// The offset index and the time index of one segment.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
}

impl Indexes {
    pub(crate) fn empty(base: Offset) -> Indexes {
        Indexes { offsets: OffsetIndex::empty(base), times: TimeIndex::empty(base) }
    }
}

/// The index entries of an append: one rule for appending, recovering and rebuilding.
///
/// Before an append is counted, an entry is added if more than the interval has
/// been written since the last one. So the first append of a segment never gets
/// an entry, and an entry pairs the *last* offset of an append with the position
/// where that append *began*.
#[derive(Debug)]
pub(crate) struct IndexCadence {
    interval_bytes: u64,
    bytes_since_entry: u64,
    /// The largest timestamp so far and the last offset of the batch that had it.
    pub(crate) largest: (Timestamp, Offset),
}

impl IndexCadence {
    pub(crate) fn new(interval_bytes: u64, largest: (Timestamp, Offset)) -> IndexCadence {
        IndexCadence { interval_bytes, bytes_since_entry: 0, largest }
    }

    /// Continues from where an earlier opening of the log stopped.
    pub(crate) fn resumed(mut self, bytes_since_entry: u64) -> IndexCadence {
        self.bytes_since_entry = bytes_since_entry;
        self
    }

    pub(crate) fn bytes_since_entry(&self) -> u64 {
        self.bytes_since_entry
    }

    /// Takes note of a batch that was written at `position`.
    #[inline]
    pub(crate) fn note(
        &mut self,
        indexes: &Indexes,
        position: u64,
        bytes: u64,
        last_offset: Offset,
        max_timestamp: Timestamp,
    ) {
        if max_timestamp > self.largest.0 {
            self.largest = (max_timestamp, last_offset);
        }
        if self.bytes_since_entry > self.interval_bytes {
            indexes.offsets.push(last_offset, position);
            indexes.times.push(self.largest.0, self.largest.1);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(bytes);
    }

    /// Adds the last entry of a time index, for the largest timestamp of the whole segment.
    pub(crate) fn finish(&self, indexes: &Indexes) {
        indexes.times.push(self.largest.0, self.largest.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// An entry for each offset from 1 on, and a time with it.
    fn opened(entries: u32) -> Indexes {
        let offsets = (1..=entries).flat_map(|n| [n, n * 100]).flat_map(u32::to_be_bytes);
        let times = (1..=entries)
            .flat_map(|n| u64::from(n).to_be_bytes().into_iter().chain(n.to_be_bytes()));
        let offsets = FileView::from_vec(offsets.collect());
        Indexes {
            offsets: OffsetIndex::open(0, offsets, u64::MAX).unwrap(),
            times: TimeIndex::open(0, FileView::from_vec(times.collect())).unwrap(),
        }
    }

    #[test]
    fn a_check_is_remembered_of_the_entry_it_was_made_of() {
        for entries in [1, 63, 64, 65, 128, 200] {
            let indexes = opened(entries as u32);
            let mut checked = BTreeSet::new();
            // What follows the last entry is checked, too.
            for number in [64, 0, 1, 63, 128, 199, entries] {
                if number > entries {
                    continue;
                }
                indexes.offsets.set_checked(number);
                indexes.times.set_checked(number);
                checked.insert(number);
                for other in 0..=entries {
                    let is_checked = checked.contains(&other);
                    assert_eq!(indexes.offsets.is_checked(other), is_checked, "{number}, {other}");
                    assert_eq!(indexes.times.is_checked(other), is_checked, "{number}, {other}");
                }
            }
        }
    }

    #[test]
    fn a_check_takes_a_bit_for_each_entry_and_one_for_what_follows() {
        for (entries, words) in [(1, 1), (63, 1), (64, 2), (65, 2), (6400, 101)] {
            let index = Entries::<1, 8>::new(FileView::from_vec(vec![0; entries * 8]));
            index.set_checked(0);
            assert_eq!(index.checked.get().unwrap().len(), words, "{entries}");
        }
    }

    #[test]
    fn what_was_made_here_needs_no_check() {
        const ENTRIES: usize = 3;
        let mut indexes = opened(ENTRIES as u32);
        for next in 1000..1003 {
            indexes.offsets.push(next, next);
            indexes.times.push(Timestamp::from_millis(next as i64), next);
            for number in 0..=indexes.times.len() {
                // What leads from the last entry of the file to the first of these is not known.
                assert_eq!(indexes.offsets.is_checked(number), number > ENTRIES, "{number}");
                assert_eq!(indexes.times.is_checked(number), number >= ENTRIES, "{number}");
            }
        }
        // Copied from a file, they are not.
        indexes.times.doubt();
        indexes.offsets.doubt();
        for number in 0..=indexes.times.len() {
            assert!(!indexes.times.is_checked(number), "{number}");
            assert!(!indexes.offsets.is_checked(number), "{number}");
        }
    }

    #[test]
    fn an_entry_comes_when_more_than_the_interval_was_written() {
        let indexes = Indexes::empty(0);
        let mut cadence = IndexCadence::new(100, (Timestamp::NONE, 0));
        let at = Timestamp::from_millis;
        for (position, bytes, last, time) in
            [(0, 100, 0, 5), (100, 1, 1, 5), (101, 60, 2, 4), (161, 60, 3, 6), (221, 9, 4, 6)]
        {
            cadence.note(&indexes, position, bytes, last, at(time));
        }
        let offsets: Vec<_> = indexes.offsets.iter().map(|e| (e.offset, e.position)).collect();
        assert_eq!(offsets, [(2, 101), (4, 221)]);
        // Each with the largest time so far, and where that was seen first.
        let times: Vec<_> = indexes.times.iter().map(|e| (e.timestamp, e.offset)).collect();
        assert_eq!(times, [(at(5), 0), (at(6), 3)]);
        assert_eq!(cadence.bytes_since_entry(), 9);
    }
}
