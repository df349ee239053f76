//! Keeping the index of aborted transactions correct when a log is recovered or truncated.
//!
//! A `.txnindex` has an entry for each aborted transaction whose marker lies in its segment, in
//! the order of the markers. A consumer that reads committed records hides the records that the
//! entries name. After a clean close a broker trusts the entries, so they must describe exactly
//! the markers that are in the log. The part that recovery reads is indexed anew, and truncated
//! markers leave the index.

use crate::error::{Error, Result};
use crate::fs::OpenMode;
use crate::record::{BatchHeader, EndTxnMarker};
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, SegmentFile};
use crate::types::{Offset, ProducerId};
use std::collections::{BTreeMap, BTreeSet};

/// The bytes of an entry: version 2, producer id 8, and first offset, last offset and last stable
/// offset of 8 each.
const ENTRY_BYTES: usize = 34;

const VERSION: i16 = 0;

/// The position of the marker's offset in an entry.
const LAST_OFFSET_AT: usize = 18;

/// The largest index that is read: of two million transactions.
const MAX_BYTES: u64 = 64 << 20;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aborted {
    producer_id: ProducerId,
    first: Offset,
    /// The offset of its marker.
    last: Offset,
    /// The last stable offset once this transaction was decided.
    last_stable: Offset,
}

impl Aborted {
    fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let offsets = [self.first, self.last, self.last_stable];
        let fields = VERSION.to_be_bytes().into_iter().chain(self.producer_id.to_be_bytes());
        let fields = fields.chain(offsets.into_iter().flat_map(Offset::to_be_bytes));
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }
}

/// The aborted transactions that a replay finds.
#[derive(Debug, Default)]
pub(crate) struct TxnIndexes {
    /// The segments that have an index.
    stored: BTreeSet<Offset>,
    /// The offset from which on the batches of a segment were read, by the base of the segment.
    read_from: BTreeMap<Offset, Offset>,
    found: Vec<Aborted>,
}

impl TxnIndexes {
    pub(crate) fn new(stored: BTreeSet<Offset>) -> TxnIndexes {
        TxnIndexes { stored, ..TxnIndexes::default() }
    }

    /// Begins a segment, all of whose batches from an offset on are about to be read.
    pub(crate) fn begin(&mut self, base: Offset, at: Offset) {
        self.found.retain(|aborted| aborted.last < at);
        let from = self.read_from.entry(base).or_insert(at);
        *from = at.min(*from);
    }

    /// Discards everything that was read.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
        self.read_from.clear();
    }

    /// Records the marker of a transaction that began at `first`.
    pub(crate) fn note(
        &mut self,
        header: &BatchHeader,
        marker: &EndTxnMarker,
        first: Offset,
        first_unstable: Option<Offset>,
    ) {
        if !marker.committed {
            let last_stable = first_unstable.unwrap_or(header.next_offset());
            let (producer_id, last) = (header.producer_id, header.base_offset);
            self.found.push(Aborted { producer_id, first, last, last_stable });
        }
    }

    /// Brings the index files in line with a log that ends here.
    pub(crate) fn store(&self, dir: &SegmentDir, end: Offset) -> Result<()> {
        let mut nexts = self.read_from.keys().skip(1).copied().chain([Offset::MAX]);
        for (base, from) in &self.read_from {
            let next = nexts.next().unwrap_or(Offset::MAX);
            let is_here = |aborted: &&Aborted| (*from..end.min(next)).contains(&aborted.last);
            let found: Vec<u8> =
                self.found.iter().filter(is_here).flat_map(|found| found.encode()).collect();
            if self.stored.contains(base) || !found.is_empty() {
                store_one(dir, *base, (*from).min(end), &found)?;
            }
        }
        Ok(())
    }
}

/// Replaces the entries of an index from an offset on.
fn store_one(dir: &SegmentDir, base: Offset, from: Offset, found: &[u8]) -> Result<()> {
    let path = dir.path_of(SegmentFile::live(base, Kind::TxnIndex));
    let stored = dir.read_small(&path, MAX_BYTES)?.unwrap_or_default();
    let is_below = |entry: &&[u8]| {
        let last = entry.get(LAST_OFFSET_AT..).and_then(|rest| rest.first_chunk());
        last.is_some_and(|last| u64::from_be_bytes(*last) < from)
    };
    let kept = stored.chunks_exact(ENTRY_BYTES).take_while(is_below).count();
    let kept = stored.get(..kept.saturating_mul(ENTRY_BYTES)).unwrap_or_default();
    let entries = [kept, found].concat();
    if entries == stored {
        return Ok(());
    }
    if !stored.starts_with(&entries) {
        return dir.replace(&path, &entries);
    }
    // An index that only gets shorter needs no room on the disk.
    if entries.is_empty() {
        dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        return dir.sync();
    }
    let cut = || {
        let file = dir.fs.open(&path, OpenMode::ReadWrite)?;
        file.set_len(entries.len() as u64)?;
        file.sync_all()
    };
    cut().map_err(|e| Error::io("truncate", &path, e))
}
