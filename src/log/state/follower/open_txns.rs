//! The transactions of the last segment of a read-only log.
//!
//! The writer of the log is another process, and may be a broker. The snapshot at the base of the
//! last segment has the transactions that were open there. Without it, they follow from an older
//! snapshot and the batches after it. The rest follows from the batches of the segment, which are
//! read anyway. So do the aborted transactions, whose index file may lag behind the segment. Only
//! for markers that are not read, and for transactions that began below the segment in a log
//! without snapshots, the file is all there is.

use crate::error::{InvalidBatch, Result};
use crate::producer_state::{Producers, Unreplicated};
use crate::record::{BatchHeader, BatchRef, DecodeBuffer, EndTxnMarker, marker_of};
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::recovered::RecoveryObserver;
use crate::segment::txn_index::{AbortedTxn, MAX_BYTES, TxnIndex};
use crate::types::{Offset, ProducerId};
use std::collections::BTreeMap;

/// A limit above the size of any control batch. None of them is compressed.
const CONTROL_BYTES: usize = 1 << 20;

/// The transactions that are not decided.
#[derive(Debug, Clone, Default)]
struct Undecided {
    /// The start of each open one, by its producer.
    open: BTreeMap<ProducerId, Offset>,
    /// The completed ones that not all replicas know, in a replicated log.
    unreplicated: Option<Unreplicated>,
}

/// The transactions that are not decided, and the aborted ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenTxns {
    at_base: Undecided,
    now: Undecided,
    /// The offset from which on batches are read.
    from: Offset,
    /// The entries of the index file, if they are needed.
    stored: Vec<AbortedTxn>,
    /// The aborted transactions that were found and not taken yet.
    aborted: Vec<AbortedTxn>,
}

impl OpenTxns {
    /// Continues the transactions of some producers in a segment, from an offset on, from which on
    /// its batches are read.
    pub(crate) fn after(
        known: &Producers,
        dir: &SegmentDir,
        base: Offset,
        from: Offset,
    ) -> Result<OpenTxns> {
        let stored =
            if from > base || known.len() == 0 { stored_in(dir, base)? } else { Vec::new() };
        let open = known.open_transactions().filter_map(|(state, _)| {
            let first = Offset::try_from(state.current_txn_first_offset).ok()?;
            Some((state.producer_id, first))
        });
        let unreplicated = known.unreplicated.clone();
        let at_base = Undecided { open: open.collect(), unreplicated };
        Ok(OpenTxns { at_base, from, stored, ..OpenTxns::default() })
    }

    /// Returns the completed transactions that not all replicas know.
    pub(crate) fn unreplicated(&self) -> Option<Unreplicated> {
        self.now.unreplicated.clone()
    }

    /// Sets the high watermark of a replicated log.
    pub(crate) fn set_high_watermark(&mut self, offset: Offset) {
        if let Some(unreplicated) = &mut self.now.unreplicated {
            unreplicated.set_high_watermark(offset);
        }
    }

    /// Returns where the earliest open one begins.
    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.now.open.values().copied().min()
    }

    /// Returns where the earliest begins that is open, or that not all replicas know as completed.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let unreplicated = self.now.unreplicated.as_ref().and_then(Unreplicated::first);
        self.first_undecided().into_iter().chain(unreplicated).min()
    }

    /// Takes the aborted transactions that were found since, in the order of their markers.
    pub(crate) fn take_aborted(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.aborted)
    }

    /// Ends the transaction of a marker.
    fn end(&mut self, header: &BatchHeader, marker: &EndTxnMarker) {
        let (producer_id, last) = (header.producer_id, header.base_offset);
        let first = self.now.open.remove(&producer_id);
        if let (Some(first), Some(unreplicated)) = (first, &mut self.now.unreplicated) {
            unreplicated.note(first, last);
        }
        if marker.committed {
            return;
        }
        let last_stable = self.first_undecided().unwrap_or_else(|| last.saturating_add(1));
        let found = first.map(|first| AbortedTxn { producer_id, first, last, last_stable });
        let stored = || {
            let is_it = |one: &&AbortedTxn| one.last == last && one.producer_id == producer_id;
            self.stored.iter().find(is_it).copied()
        };
        let found = found.or_else(stored);
        self.aborted.extend(found);
    }
}

/// Returns the entries of the index file of a segment; none if it is missing or damaged.
fn stored_in(dir: &SegmentDir, base: Offset) -> Result<Vec<AbortedTxn>> {
    let path = dir.path_of(SegmentFile::live(base, Kind::TxnIndex));
    let bytes = dir.read_small(&path, MAX_BYTES)?.unwrap_or_default();
    Ok(TxnIndex::open(base, &bytes)
        .map_or_else(|_| Vec::new(), |index| index.iter_from(0).collect()))
}

impl RecoveryObserver for OpenTxns {
    fn begin(&mut self, _: Offset) -> Result<()> {
        self.now.clone_from(&self.at_base);
        let is_below = |one: &&AbortedTxn| one.last < self.from;
        self.aborted = self.stored.iter().filter(is_below).copied().collect();
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        let header = batch.header();
        if !header.has_producer() {
            return Ok(());
        }
        if !header.is_control() {
            if header.is_transactional() {
                self.now.open.entry(header.producer_id).or_insert(header.base_offset);
            }
        } else if let Some(marker) = marker_of(batch, &mut DecodeBuffer::new(CONTROL_BYTES))? {
            self.end(header, &marker);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.now = Undecided::default();
        self.aborted.clear();
    }
}
