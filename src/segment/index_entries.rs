//! The entries of an index: fixed-size records, those of the index file first, then those added
//! since it was opened.

use crate::fs::FileView;
use crate::segment::entry_list::EntryList;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// Entries of `BYTES` bytes each. Added entries are kept in memory as `WORDS` 64-bit words.
#[derive(Debug)]
pub(crate) struct IndexEntries<const WORDS: usize, const BYTES: usize> {
    file: FileView,
    file_len: usize,
    added: EntryList<WORDS>,
    /// The number of entries at the start that come from the file, so that they must be checked
    /// before use.
    unverified: usize,
    /// One bit for each unverified entry and one for the part after the last, set once it was
    /// checked. Created when first needed.
    checked: OnceLock<Box<[AtomicU64]>>,
}

impl<const WORDS: usize, const BYTES: usize> IndexEntries<WORDS, BYTES> {
    pub(crate) fn new(file: FileView) -> Self {
        let file_len = file.len().checked_div(BYTES).unwrap_or(0);
        let checked = OnceLock::new();
        IndexEntries { file, file_len, added: EntryList::new(), unverified: file_len, checked }
    }

    /// Marks all entries as unverified, because they were copied from a file.
    pub(crate) fn mark_unverified(&mut self) {
        self.unverified = self.len();
    }

    /// Returns whether an entry was added here, and not read from a file.
    pub(crate) fn is_own(&self, index: usize) -> bool {
        (self.unverified..self.len()).contains(&index)
    }

    /// Returns whether the part of the log between the previous entry and this one needs no check.
    pub(crate) fn is_checked(&self, index: usize) -> bool {
        let bit = || self.checked.get()?.get(index / 64).map(|word| word.load(Ordering::Relaxed));
        self.unverified == 0
            || index > self.unverified
            || bit().is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(crate) fn set_checked(&self, index: usize) {
        let words = self.unverified / 64;
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

    /// Adds an entry. Returns false if there is no room. Only one thread at a time may call this.
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

    /// Returns the number of entries at the start that satisfy `matches`, which must hold for a
    /// prefix of all entries.
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

    /// Returns the bytes of the entries from `first` on, as they stand in the file.
    pub(crate) fn bytes_from(&self, first: usize) -> Vec<u8> {
        (first..self.len()).filter_map(|index| self.get(index)).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_bits_cover_every_entry() {
        for (entries, words) in [(1, 1), (63, 1), (64, 2), (65, 2), (6400, 101)] {
            let index = IndexEntries::<1, 8>::new(FileView::from_vec(vec![0; entries * 8]));
            index.set_checked(0);
            assert_eq!(index.checked.get().unwrap().len(), words, "{entries}");
        }
    }
}
