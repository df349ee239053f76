//! Log compaction, the pure half: segments in, segments out.
//!
//! A compacted log keeps, of all records with the same key, the last. What was written long ago
//! is *clean*: each key is in it once. What came since is *dirty*. A pass of the cleaner makes
//! some of the dirty part clean:
//!
//! ```text
//!   log start                first dirty              end of the pass   first uncleanable   log end
//!      |------- clean ----------|-------- dirty, mapped -----|---- dirty ----|--- left alone ---|
//! ```
//!
//! 1. [`plan`] says where these places are, whether a pass is due, and which
//!    segments become one.
//! 2. [`read_keys`] reads the dirty part and notes for each key the offset of its last record, in a
//!    [`key_map`] of bounded memory. If that fills up, the pass ends there, and another follows.
//!    [`survivors`] turns the map into what the rewrite wants to know, and [`spans`] has where the
//!    batches lie, so that those of which nothing stays need not be read again.
//! 3. [`rewrite`] writes each group of segments anew, without what is superseded. A record without
//!    a value, a *tombstone*, deletes its key. It stays for a while, so that slow readers see the
//!    deletion: the pass that first meets it sets a time in its batch, the *delete horizon*, and a
//!    pass after that time drops it.
//!
//! Offsets never change: a batch keeps its range when records in it go, and the log a hole where a
//! batch went.
//!
//! Nothing here replaces a live file, takes a lock, reads a clock or starts a thread. The output
//! are files with the suffix `.cleaned`, which opening a log removes; to put them in place is up
//! to the log.

pub(crate) mod aborted_txns;
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
use crate::record::{
    BatchBuilder, BatchHeader, BatchRef, ControlRecord, DecodeBuffer, EndTxnMarker,
};
use crate::segment::Segment;
use crate::types::Offset;

/// How much is read at a time: little enough to be in the processor's cache still when it is
/// checked and decoded.
const READ_BYTES: usize = 256 << 10;

/// How many bytes may be read and written before progress is reported: often enough to throttle
/// by.
const REPORT_BYTES: u64 = 256 << 10;

/// A segment to read, all of whose offsets lie below `next`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) segment: &'a Segment,
    /// The base of the segment behind it.
    pub(crate) next: Offset,
}

/// What the cleaner has to know about transactions and producers. Batches are shown to it in
/// order; when they are rewritten, some of those that have to do with neither are left out.
pub(crate) trait Transactions {
    /// Takes note of a batch of the dirty part, before any is rewritten.
    fn note(&mut self, header: &BatchHeader) -> Result<()>;

    /// Whether a batch of records belongs to a transaction that was aborted.
    fn is_aborted(&mut self, header: &BatchHeader) -> bool;

    /// Whether nothing is left of the transaction that this marker ends, so that the marker says
    /// nothing any more.
    fn is_marker_discardable(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> bool;

    /// Whether the batch holds the last sequence number, or the last epoch, of a producer that
    /// may go on: then it stays, empty if need be.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool;
}

/// For a log without transactions: a batch of one is rejected.
///
/// Of each active producer, the last batch stays, empty if need be: nothing else would tell its
/// sequence number once the snapshots are lost. Which producers are active, and which batch is the
/// last of each, is what the log knows when the pass begins, however far the pass comes. A
/// producer that is forgotten leaves nothing.
#[derive(Debug, Default)]
pub(crate) struct NoTransactions {
    /// By id.
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

/// The memory of a pass, besides the map: used for one segment after the other.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The bytes that are read ahead.
    input: Vec<u8>,
    /// The bytes to be written.
    output: Vec<u8>,
    decode: DecodeBuffer,
    builder: BatchBuilder,
    /// The offset deltas of the records of a batch that stay.
    kept: Vec<i32>,
}

impl Scratch {
    /// Memory for a pass in which no batch may expand to more than `max_decompressed_bytes`.
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

/// Reports bytes in portions. The receiver may wait, or end the pass with an error.
struct Meter<'a> {
    pending: u64,
    report: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl<'a> Meter<'a> {
    fn new(report: &'a mut dyn FnMut(u64) -> Result<()>) -> Meter<'a> {
        Meter { pending: 0, report }
    }

    fn add(&mut self, bytes: u64) -> Result<()> {
        self.pending = self.pending.saturating_add(bytes);
        if self.pending < REPORT_BYTES { Ok(()) } else { self.finish() }
    }

    fn finish(&mut self) -> Result<()> {
        (self.report)(std::mem::take(&mut self.pending))
    }
}

/// The marker in a control batch. `None` for control records of other kinds, and for a batch that
/// was emptied.
pub(crate) fn marker_of(
    batch: &BatchRef<'_>,
    decode: &mut DecodeBuffer,
) -> Result<Option<EndTxnMarker>, InvalidBatch> {
    let Some(record) = batch.records(decode)?.next() else { return Ok(None) };
    let record = record?;
    Ok(ControlRecord::parse(record.key, record.value)?.marker)
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
