//! Keeping the index of aborted transactions correct when a log is recovered or truncated.
//!
//! A `.txnindex` has an entry for each aborted transaction whose marker lies in its segment, in
//! the order of the markers. A consumer that reads committed records hides the records that the
//! entries name. After a clean close a broker trusts the entries, so they must describe exactly
//! the markers that are in the log. The part that recovery reads is indexed anew, and truncated
//! markers leave the index.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::fs::OpenMode;
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::txn_index::{AbortedTxn, MAX_BYTES, TxnIndex};
use crate::types::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// The aborted transactions that a replay finds.
#[derive(Debug, Default)]
pub(crate) struct TxnIndexes {
    /// The segments that have an index.
    stored: BTreeSet<Offset>,
    /// The offset from which on the batches of a segment were read, by the base of the segment.
    read_from: BTreeMap<Offset, Offset>,
    /// Whether the stored indexes lack entries that a clean close had counted.
    are_incomplete: bool,
    /// The aborted transactions whose markers were read.
    pub(super) found: Vec<AbortedTxn>,
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

    /// Takes the aborted transactions of all segments, because the stored ones are not complete.
    pub(super) fn know_all(&mut self, bases: Vec<Offset>, found: Vec<AbortedTxn>) {
        self.read_from = bases.into_iter().map(|base| (base, base)).collect();
        self.found = found;
        self.are_incomplete = true;
    }

    /// Discards everything that was read.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
        self.read_from.clear();
    }

    /// Brings the index files in line with a log that ends here. Returns the index of the active
    /// segment. `rebuild` reads a whole segment, for a file that is damaged in the part that was
    /// not read.
    pub(super) fn store(
        &self,
        dir: &SegmentDir,
        end: Offset,
        active: Offset,
        rebuild: &mut dyn FnMut(Offset) -> Result<TxnIndex>,
    ) -> Result<TxnIndex> {
        let of_active = TxnIndex::empty();
        let mut nexts = self.read_from.keys().skip(1).copied().chain([Offset::MAX]);
        for (&base, &from) in &self.read_from {
            let next = nexts.next().unwrap_or(Offset::MAX);
            let is_here = |aborted: &&AbortedTxn| (from..end.min(next)).contains(&aborted.last);
            let found: Vec<AbortedTxn> = self.found.iter().filter(is_here).copied().collect();
            if self.stored.contains(&base) || !found.is_empty() {
                let lost = self.are_incomplete.then_some("entries are missing");
                let entries = store_one(dir, base, from.min(end), &found, lost, rebuild)?;
                if base == active {
                    entries.into_iter().for_each(|entry| of_active.push(entry));
                }
            }
        }
        Ok(of_active)
    }
}

/// Replaces the entries of an index from an offset on, durably. Returns all entries.
fn store_one(
    dir: &SegmentDir,
    base: Offset,
    from: Offset,
    found: &[AbortedTxn],
    lost: Option<&'static str>,
    rebuild: &mut dyn FnMut(Offset) -> Result<TxnIndex>,
) -> Result<Vec<AbortedTxn>> {
    let path = dir.path_of(SegmentFile::live(base, Kind::TxnIndex));
    let stored = dir.read_small(&path, MAX_BYTES)?.unwrap_or_default();
    let (mut kept, mut damage) = (Vec::new(), None);
    if from > base {
        let index = match TxnIndex::open(base, &stored) {
            Ok(index) => index,
            Err(reason) => {
                damage = Some(reason);
                rebuild(base)?
            }
        };
        kept.extend(index.iter_from(0).take_while(|aborted| aborted.last < from));
    }
    kept.extend(found);
    let entries: Vec<u8> = kept.iter().copied().flat_map(AbortedTxn::encode).collect();
    if !stored.starts_with(&entries) {
        dir.replace(&path, &entries)?;
        damage = damage.or(lost);
    // An index that only gets shorter needs no room on the disk.
    } else if entries.is_empty() {
        dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        dir.sync()?;
    } else {
        // The entries that are there already may not be synced.
        let cut = || {
            let file = dir.fs.open(&path, OpenMode::ReadWrite)?;
            file.set_len(entries.len() as u64)?;
            file.sync_all()
        };
        cut().map_err(|e| Error::io("truncate", &path, e))?;
    }
    if let Some(reason) = damage {
        dir.events.emit(&Event::IndexRebuilt { path, reason });
    }
    Ok(kept)
}
