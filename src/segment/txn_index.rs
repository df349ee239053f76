//! The index of aborted transactions: the content of a `.txnindex` file.
//!
//! It has an entry for each aborted transaction whose marker lies in its segment, in the order of
//! the markers. A segment without one has no file.
//!
//! ```text
//! version 2 | producer id 8 | first offset 8 | offset of the marker 8 | last stable offset 8
//! ```

use crate::types::{Offset, ProducerId};

/// The bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 34;

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

/// Returns whether an entry has the version that this crate knows.
pub(crate) fn has_known_version(entry: &[u8; ENTRY_BYTES]) -> bool {
    entry.first_chunk() == Some(&VERSION.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

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
