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
use crate::segment::txn_index::{AbortedTxn, ENTRY_BYTES, MAX_BYTES};
use crate::types::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// The aborted transactions that a replay finds.
#[derive(Debug, Default)]
pub(crate) struct TxnIndexes {
    /// The segments that have an index.
    stored: BTreeSet<Offset>,
    /// The offset from which on the batches of a segment were read, by the base of the segment.
    read_from: BTreeMap<Offset, Offset>,
    found: Vec<AbortedTxn>,
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
            self.found.push(AbortedTxn { producer_id, first, last, last_stable });
        }
    }

    /// Brings the index files in line with a log that ends here.
    pub(crate) fn store(&self, dir: &SegmentDir, end: Offset) -> Result<()> {
        let mut nexts = self.read_from.keys().skip(1).copied().chain([Offset::MAX]);
        for (base, from) in &self.read_from {
            let next = nexts.next().unwrap_or(Offset::MAX);
            let is_here = |aborted: &&AbortedTxn| (*from..end.min(next)).contains(&aborted.last);
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
    let (entries, _) = stored.as_chunks();
    let is_below = |entry: &&_| AbortedTxn::decode(entry).last < from;
    let kept = entries.iter().take_while(is_below).count();
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
