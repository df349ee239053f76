//! The index of aborted transactions: the content of a `.txnindex` file.
//!
//! It has an entry for each aborted transaction whose marker lies in its segment, in the order of
//! the markers. A segment without one has no file.
//!
//! ```text
//! version 2 | producer id 8 | first offset 8 | offset of the marker 8 | last stable offset 8
//! ```

use crate::segment::entry_list::EntryList;
use crate::types::{MAX_OFFSET, Offset, ProducerId};

/// The bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 34;

/// The largest index that is read: of two million transactions.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

const VERSION: i16 = 0;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first: Offset,
    /// The offset of its marker.
    pub(crate) last: Offset,
    /// The last stable offset once this transaction was decided.
    pub(crate) last_stable: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let offsets = [self.first, self.last, self.last_stable];
        let fields = VERSION.to_be_bytes().into_iter().chain(self.producer_id.to_be_bytes());
        let fields = fields.chain(offsets.into_iter().flat_map(Offset::to_be_bytes));
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// Decodes the fields of an entry, which later versions begin with as well.
    pub(crate) fn decode(entry: &[u8; ENTRY_BYTES]) -> AbortedTxn {
        let field = |at: usize| entry.get(at..).and_then(|rest| rest.first_chunk().copied());
        let offset = |at| field(at).map_or(0, Offset::from_be_bytes);
        AbortedTxn {
            producer_id: field(2).map_or(0, ProducerId::from_be_bytes),
            first: offset(10),
            last: offset(18),
            last_stable: offset(26),
        }
    }
}

/// The entries of a segment in memory. One thread appends, and others read without a lock.
#[derive(Debug)]
pub(crate) struct TxnIndex {
    /// The producer, the first offset, the offset of the marker and the last stable offset.
    entries: EntryList<4>,
}

impl TxnIndex {
    pub(crate) fn empty() -> TxnIndex {
        TxnIndex { entries: EntryList::new() }
    }

    /// Decodes the content of the file of a segment, or returns the problem with it.
    ///
    /// The last stable offset of an entry may lie below its first offset: an earlier transaction
    /// may still have been open.
    pub(crate) fn open(base: Offset, bytes: &[u8]) -> Result<TxnIndex, &'static str> {
        let (entries, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err("its last entry is incomplete");
        }
        let index = TxnIndex::empty();
        let mut lowest = base;
        for entry in entries {
            if !has_known_version(entry) {
                return Err("an entry has an unknown version");
            }
            let aborted = AbortedTxn::decode(entry);
            if aborted.last < lowest || aborted.last > MAX_OFFSET {
                return Err("its entries are not in the order of their markers");
            }
            lowest = aborted.last.saturating_add(1);
            if aborted.first >= aborted.last || aborted.last_stable > lowest {
                return Err("an entry has impossible offsets");
            }
            index.push(aborted);
        }
        Ok(index)
    }

    /// Appends the entry of a marker that lies above all others. Only one thread at a time may
    /// call this.
    pub(crate) fn push(&self, aborted: AbortedTxn) {
        let AbortedTxn { producer_id, first, last, last_stable } = aborted;
        // A segment has no room for as many markers as the list has for entries.
        self.entries.push([producer_id.cast_unsigned(), first, last, last_stable]);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, entry: usize) -> Option<AbortedTxn> {
        let [id, first, last, last_stable] = self.entries.get(entry)?;
        Some(AbortedTxn { producer_id: id.cast_signed(), first, last, last_stable })
    }

    /// Iterates over the entries whose marker lies at or above an offset.
    pub(crate) fn iter_from(&self, marker: Offset) -> impl Iterator<Item = AbortedTxn> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|entry| entry.last < marker) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        (low..self.len()).map_while(|entry| self.get(entry))
    }

    /// Returns the bytes of the file from an entry on.
    pub(crate) fn bytes_from(&self, entry: usize) -> Vec<u8> {
        (entry..self.len()).map_while(|at| self.get(at)).flat_map(AbortedTxn::encode).collect()
    }
}

/// Returns whether an entry has the version that this crate knows.
pub(crate) fn has_known_version(entry: &[u8; ENTRY_BYTES]) -> bool {
    entry.first_chunk() == Some(&VERSION.to_be_bytes())
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn entry(first: Offset, last: Offset, last_stable: Offset) -> AbortedTxn {
        AbortedTxn { producer_id: 4000, first, last, last_stable }
    }

    #[test]
    fn index_survives_round_trip() {
        let index = TxnIndex::empty();
        let entries = [entry(3, 10, 11), entry(12, 20, 5), entry(8, 21, 15)];
        entries.into_iter().for_each(|entry| index.push(entry));
        let read = TxnIndex::open(10, &index.bytes_from(0)).unwrap();
        assert_eq!(read.iter_from(0).collect::<Vec<_>>(), entries);
        assert_eq!(read.bytes_from(2), entries[2].encode());
        assert_eq!(TxnIndex::open(10, &[]).unwrap().len(), 0);
    }

    #[test]
    fn search_begins_at_marker_offset() {
        let index = TxnIndex::empty();
        (1..200).for_each(|at| index.push(entry(at * 10 - 5, at * 10, at * 10 + 1)));
        for from in 0..2100 {
            let found: Vec<Offset> = index.iter_from(from).map(|entry| entry.last).collect();
            let expected: Vec<_> =
                (1..200).map(|at| at * 10).filter(|last| *last >= from).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn index_with_impossible_entries_is_refused() {
        let open = |entries: &[AbortedTxn]| {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
            TxnIndex::open(10, &bytes).err()
        };
        assert_eq!(open(&[entry(3, 10, 11), entry(4, 11, 12)]), None);
        assert!(open(&[entry(3, 9, 10)]).unwrap().contains("order"));
        assert!(open(&[entry(3, 10, 11), entry(4, 10, 11)]).unwrap().contains("order"));
        assert!(open(&[entry(3, Offset::MAX, 11)]).unwrap().contains("order"));
        assert!(open(&[entry(10, 10, 11)]).unwrap().contains("impossible"));
        assert!(open(&[entry(3, 10, 12)]).unwrap().contains("impossible"));
        let bytes = entry(3, 10, 11).encode();
        assert!(TxnIndex::open(10, &bytes[..33]).unwrap_err().contains("incomplete"));
        assert!(
            TxnIndex::open(10, &[&[0, 1], &bytes[2..]].concat()).unwrap_err().contains("version")
        );
    }

    #[test]
    fn entry_has_kafkas_bytes() {
        let entry = AbortedTxn { producer_id: 4000, first: 10, last: 20, last_stable: 15 };
        let mut bytes = entry.encode();
        let offsets = [10u64, 20, 15].map(u64::to_be_bytes).concat();
        assert_eq!(bytes.to_vec(), [&[0, 0], &4000i64.to_be_bytes()[..], &offsets].concat());
        assert!(has_known_version(&bytes));
        assert_eq!(AbortedTxn::decode(&bytes), entry);
        bytes[1] = 1;
        assert!(!has_known_version(&bytes));
    }
}
