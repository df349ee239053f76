//! The batches of one segment, each validated.
//!
//! Every part of the crate that reads a segment from one place to another does so with
//! [`SegmentBatches`]: rebuilding an index, compaction, verification, lookups by time, the replay
//! of producers. [`BatchStream`] decides what a valid next batch is. Damage is an error here; code
//! that repairs damage uses the stream itself.

use crate::error::{CorruptionKind, Error, Result};
use crate::record::BatchRef;
use crate::segment::name::Kind;
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Located, Segment};
use crate::types::Offset;
use std::io;

/// Reads the batches of a segment in order, and validates each: its checksum, and its offsets
/// against those of its neighbours.
#[derive(Debug)]
pub(crate) struct SegmentBatches<'a> {
    segment: &'a Segment,
    stream: BatchStream,
    end: u64,
    limit: Offset,
}

impl<'a> SegmentBatches<'a> {
    /// Reads the first `end` bytes of a segment, whose offsets all lie below `limit`.
    pub(crate) fn new(segment: &'a Segment, end: u64, limit: Offset) -> Result<Self> {
        let stream = BatchStream::new(segment.file()?, 0, segment.base);
        Ok(SegmentBatches { segment, stream, end, limit })
    }

    /// Begins where a batch was located.
    pub(crate) fn starting_at(self, located: &Located) -> Self {
        self.starting_from(located.position, located.lowest)
    }

    /// Begins at a position where a batch begins, at `lowest` or above.
    pub(crate) fn starting_from(mut self, position: u64, lowest: Offset) -> Self {
        self.stream.skip_to(position, lowest);
        self
    }

    /// Reads this much at a time, into this memory.
    pub(crate) fn with_buffer(mut self, buffer: Vec<u8>, read_ahead: usize) -> Self {
        self.stream = self.stream.with_buffer(buffer, read_ahead);
        self
    }

    /// Returns the memory, for the next segment.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.stream.into_buffer()
    }

    /// Returns the offset that the next batch must not begin below.
    pub(crate) fn lowest(&self) -> Offset {
        self.stream.lowest()
    }

    /// Returns the position of the next batch.
    pub(crate) fn next_position(&self) -> u64 {
        self.stream.next_position()
    }

    /// Skips to a position further on where a batch begins, at `lowest` or above, without reading
    /// the bytes between.
    pub(crate) fn skip_to(&mut self, position: u64, lowest: Offset) {
        self.stream.skip_to(position, lowest);
    }

    /// Returns the next batch and its position; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchRef<'_>)>> {
        let step = self.stream.advance(self.end, self.limit);
        let damage = match step {
            Ok(Step::Batch(_)) => {
                let position = self.stream.position();
                return Ok(self.stream.batch().map(|batch| (position, batch)));
            }
            Ok(Step::End) => return Ok(None),
            Ok(Step::Damaged(damage)) => damage,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let found = self.stream.position();
                CorruptionKind::FileTruncated { expected: self.segment.published(), found }
            }
            Err(error) => return Err(Error::io("read", &self.segment.path(Kind::Log), error)),
        };
        Err(self.segment.corrupt(self.stream.position(), Some(self.stream.lowest()), damage))
    }
}
