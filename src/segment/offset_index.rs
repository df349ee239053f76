//! The offset index: from an offset to a position in the log near it.
//!
//! An entry is 8 bytes, big-endian: the offset relative to the segment's base (4), and a byte
//! position in the log (4). It says that the append which began at that position ended with that
//! offset.

use crate::fs::FileView;
use crate::segment::index_entries::IndexEntries;
use crate::types::Offset;

/// The size of an entry.
pub(crate) const ENTRY_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// The last offset of an append.
    pub(crate) offset: Offset,
    /// The position at which that append began.
    pub(crate) position: u64,
}

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base: Offset,
    entries: IndexEntries<1, ENTRY_BYTES>,
}

impl OffsetIndex {
    pub(crate) fn empty(base: Offset) -> OffsetIndex {
        OffsetIndex { base, entries: IndexEntries::new(FileView::from_vec(Vec::new())) }
    }

    /// Opens the index in a file. Returns the problem if no log of `log_bytes` has such an index.
    pub(crate) fn open(
        base: Offset,
        file: FileView,
        log_bytes: u64,
    ) -> Result<OffsetIndex, &'static str> {
        if !file.len().is_multiple_of(ENTRY_BYTES) {
            return Err("its length is not a multiple of 8");
        }
        let index = OffsetIndex { base, entries: IndexEntries::new(file) };
        let mut before: Option<OffsetEntry> = None;
        for entry in index.iter() {
            if before.is_some_and(|b| entry.offset <= b.offset || entry.position <= b.position) {
                return Err("its entries are not in order");
            }
            before = Some(entry);
        }
        match before {
            Some(last) if last.position >= log_bytes => Err("an entry points past the log"),
            _ => Ok(index),
        }
    }

    fn decode(&self, entry: [u8; ENTRY_BYTES]) -> OffsetEntry {
        let [a, b, c, d, e, f, g, h] = entry;
        OffsetEntry {
            offset: self.base.saturating_add(u32::from_be_bytes([a, b, c, d]).into()),
            position: u32::from_be_bytes([e, f, g, h]).into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Marks all entries as unverified, because they were copied from a file.
    pub(crate) fn mark_unverified(&mut self) {
        self.entries.mark_unverified();
    }

    pub(crate) fn is_checked(&self, index: usize) -> bool {
        self.entries.is_checked(index)
    }

    pub(crate) fn set_checked(&self, index: usize) {
        self.entries.set_checked(index);
    }

    pub(crate) fn get(&self, index: usize) -> Option<OffsetEntry> {
        self.entries.get(index).map(|entry| self.decode(entry))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = OffsetEntry> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// Returns the number of the first entry at or above an offset. The previous entry is below
    /// it.
    pub(crate) fn ceiling(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| self.decode(entry).offset < offset)
    }

    /// Adds an entry, unless it does not fit the format or is not above the last entry.
    pub(crate) fn push(&self, offset: Offset, position: u64) {
        let relative =
            offset.checked_sub(self.base).and_then(|relative| i32::try_from(relative).ok());
        let (Some(relative), Ok(position)) = (relative, i32::try_from(position)) else { return };
        if self.entries.last().is_some_and(|last| self.decode(last).offset >= offset) {
            return;
        }
        let [a, b, c, d] = relative.to_be_bytes();
        let [e, f, g, h] = position.to_be_bytes();
        self.entries.push([a, b, c, d, e, f, g, h]);
    }

    pub(crate) fn bytes_from(&self, first: usize) -> Vec<u8> {
        self.entries.bytes_from(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_eight_bytes_relative_to_base() {
        let index = OffsetIndex::empty(1000);
        index.push(1005, 4096);
        assert_eq!(index.bytes_from(0), [0, 0, 0, 5, 0, 0, 0x10, 0]);
        assert_eq!(index.get(0), Some(OffsetEntry { offset: 1005, position: 4096 }));
    }

    #[test]
    fn file_and_added_entries_form_one_list() {
        let file = OffsetIndex::empty(10);
        file.push(12, 100);
        file.push(15, 200);
        let index = OffsetIndex::open(10, FileView::from_vec(file.bytes_from(0)), 300).unwrap();
        index.push(20, 300);
        assert_eq!(index.len(), 3);
        assert_eq!((index.ceiling(9), index.ceiling(12), index.ceiling(13)), (0, 0, 1));
        assert_eq!((index.ceiling(20), index.ceiling(21)), (2, 3));
        assert_eq!(index.bytes_from(2), [0, 0, 0, 10, 0, 0, 1, 44]);
    }

    #[test]
    fn open_rejects_impossible_index() {
        let open =
            |bytes: &[u8]| OffsetIndex::open(0, FileView::from_vec(bytes.to_vec()), 100).err();
        assert_eq!(open(&[]), None);
        assert!(open(&[0; 7]).is_some());
        assert!(open(&[0; 16]).is_some(), "the zero tail of a pre-sized file");
        let entries = |first: [u8; 2], second: [u8; 2]| {
            let [a, b] = [first, second].map(|[offset, at]| [0, 0, 0, offset, 0, 0, 0, at]);
            open(&[a, b].concat())
        };
        assert_eq!(entries([1, 5], [2, 6]), None);
        for second in [[1, 6], [0, 6], [2, 5], [2, 4]] {
            assert!(entries([1, 5], second).is_some(), "{second:?}");
        }
        assert!(open(&[0, 0, 0, 1, 0, 0, 0, 100]).is_some());
        assert_eq!(open(&[0, 0, 0, 1, 0, 0, 0, 99]), None);
    }

    #[test]
    fn push_ignores_offset_out_of_range() {
        let index = OffsetIndex::empty(5);
        index.push(4, 0);
        index.push(5 + (1 << 31), 0);
        assert_eq!(index.len(), 0);
        index.push(9, 0);
        index.push(9, 50);
        assert_eq!(index.len(), 1);
    }
}
