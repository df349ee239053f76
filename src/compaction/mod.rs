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
pub(crate) mod transactions;

use crate::error::{Error, InvalidBatch, Result};
use crate::record::{BatchBuilder, BatchHeader, DecodeBuffer};
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
