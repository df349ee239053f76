//! Log compaction, the pure half: segments in, segments out.
//!
//! A compacted log keeps the last record of each key. The part that was written long ago is
//! *clean*: each key is in it once. The newer part is *dirty*. A pass of the cleaner makes some of
//! the dirty part clean:
//!
//! ```text
//!   log start                first dirty              end of the pass   first uncleanable   log end
//!      |------- clean ----------|-------- dirty, mapped -----|---- dirty ----|--- left alone ---|
//! ```
//!
//! 1. [`plan`] decides where these places are, whether a pass is due, and which segments become
//!    one.
//! 2. [`read_keys`] reads the dirty part and stores the offset of the last record of each key in a
//!    [`key_map`] of bounded memory. If the map is full, the pass ends there, and another follows.
//!    [`survivors`] answers from the map which records stay, and [`spans`] knows the positions of
//!    the batches, so that a batch without surviving records need not be read again.
//! 3. [`rewrite`] rewrites each group of segments without the superseded records. A record without
//!    a value, a *tombstone*, deletes its key. It stays for a while, so that slow readers see the
//!    deletion: the first pass that keeps it sets a time in its batch, the *delete horizon*, and a
//!    pass after that time removes it.
//!
//! Offsets never change: a batch keeps its range when records are removed from it, and a removed
//! batch leaves a gap in the log.
//!
//! Nothing here replaces a live file, takes a lock, reads a clock or starts a thread. The output
//! is files with the suffix `.cleaned`, which an opening of the log removes. The log puts them in
//! place.

mod aborted_txns;
mod key_id;
pub(crate) mod key_map;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod read_keys;
pub(crate) mod rewrite;
pub(crate) mod spans;
pub(crate) mod survivors;
#[cfg(test)]
mod tests;

use crate::error::{Error, InvalidBatch, Result, Unsupported};
use crate::producer_state::ProducerState;
use crate::record::{BatchBuilder, BatchHeader, DecodeBuffer, EndTxnMarker};
use crate::segment::Segment;
use crate::types::Offset;

/// The bytes that are read at a time: few enough to be still in the processor's cache when they
/// are checked and decoded.
const READ_BYTES: usize = 256 << 10;

/// The bytes that are read and written between two reports of progress: few enough for
/// throttling.
const REPORT_BYTES: u64 = 256 << 10;

/// A segment to read, all of whose offsets lie below `next`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) segment: &'a Segment,
    /// The base of the next segment.
    pub(crate) next: Offset,
}

/// The facts about transactions and producers that the cleaner needs. The cleaner passes it all
/// batches in order. During the rewrite, it may leave out batches that involve neither.
pub(crate) trait Transactions {
    /// Takes a batch of the dirty part, before any batch is rewritten.
    fn note(&mut self, header: &BatchHeader) -> Result<()>;

    /// Returns whether a batch of records belongs to an aborted transaction.
    fn is_aborted(&mut self, header: &BatchHeader) -> bool;

    /// Returns whether no record is left of the transaction that this marker ends, so that the
    /// marker has no effect any more.
    fn is_marker_discardable(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> bool;

    /// Returns whether the batch has the last sequence number or the last epoch of an active
    /// producer: then it stays, empty if necessary.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool;
}

/// The rules for a log without transactions: a batch of a transaction is rejected.
///
/// The last batch of each active producer stays, empty if necessary: without the snapshots, only
/// that batch has the sequence number. The log decides at the beginning of the pass which
/// producers are active, and which batch is the last of each. The batches of a forgotten producer
/// are not kept.
#[derive(Debug, Default)]
pub(crate) struct NoTransactions {
    /// Sorted by id.
    active: Vec<ProducerState>,
}

impl NoTransactions {
    pub(crate) fn with_active(mut active: Vec<ProducerState>) -> NoTransactions {
        active.sort_unstable_by_key(|state| state.producer_id);
        NoTransactions { active }
    }
}

impl Transactions for NoTransactions {
    fn note(&mut self, header: &BatchHeader) -> Result<()> {
        if header.is_transactional() {
            return Err(Error::Unsupported(Unsupported::CompactingTransactions));
        }
        Ok(())
    }

    fn is_aborted(&mut self, _: &BatchHeader) -> bool {
        false
    }

    fn is_marker_discardable(&mut self, _: &BatchHeader, _: EndTxnMarker) -> bool {
        false
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let found =
            self.active.binary_search_by_key(&header.producer_id, |state| state.producer_id);
        let last = found.ok().and_then(|at| self.active.get(at)).map(|state| state.last_offset);
        last.and_then(|last| Offset::try_from(last).ok()) == Some(header.last_offset())
    }
}

/// The memory of a pass besides the map, reused from segment to segment.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The read buffer.
    input: Vec<u8>,
    /// The write buffer.
    output: Vec<u8>,
    decode: DecodeBuffer,
    builder: BatchBuilder,
    /// The offset deltas of the surviving records of a batch.
    kept: Vec<i32>,
}

impl Scratch {
    /// Creates memory for a pass whose batches may have at most this many bytes when decompressed.
    pub(crate) fn new(max_decompressed_bytes: usize) -> Scratch {
        Scratch {
            input: Vec::new(),
            output: Vec::new(),
            decode: DecodeBuffer::new(max_decompressed_bytes),
            builder: BatchBuilder::new(),
            kept: Vec::new(),
        }
    }
}

/// Reports progress in portions. The receiver may block, or end the pass with an error.
struct ProgressMeter<'a> {
    pending: u64,
    report: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl<'a> ProgressMeter<'a> {
    fn new(report: &'a mut dyn FnMut(u64) -> Result<()>) -> ProgressMeter<'a> {
        ProgressMeter { pending: 0, report }
    }

    fn add(&mut self, bytes: u64) -> Result<()> {
        self.pending = self.pending.saturating_add(bytes);
        if self.pending < REPORT_BYTES { Ok(()) } else { self.finish() }
    }

    fn finish(&mut self) -> Result<()> {
        (self.report)(std::mem::take(&mut self.pending))
    }
}

/// Returns the error for a damaged batch, with its position.
#[cold]
fn damaged(
    source: &Source<'_>,
    position: u64,
    header: &BatchHeader,
    reason: InvalidBatch,
) -> Error {
    source.segment.corrupt(position, Some(header.base_offset), reason.into())
}
