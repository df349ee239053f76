//! The result of reading a segment, and the rules and the observer of the reading.

use crate::error::{CorruptionKind, InvalidBatch, Result};
use crate::record::{BatchHeader, BatchRef};
use crate::segment::index::{IndexCadence, Indexes};
use crate::types::{Offset, Timestamp};

/// The bytes after the last valid batch of a segment.
#[derive(Debug)]
pub(crate) enum SegmentTail {
    /// No bytes.
    Clean,
    /// Only zeros: reserved room, or a length that was synced before its data.
    Zeros,
    /// Bytes that are no batch, without a valid batch after them: a torn write.
    Torn(CorruptionKind),
    /// Bytes that are no batch, with a valid batch after them.
    Damaged(CorruptionKind),
}

/// The result of a scan of a segment.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The length of the valid batches.
    pub(crate) valid_bytes: u64,
    /// The length of the file.
    pub(crate) file_bytes: u64,
    /// The number of bytes that were read and checked.
    pub(crate) scanned_bytes: u64,
    /// The offset after the last valid batch; the base if there is none.
    pub(crate) end: Offset,
    /// The largest timestamp of the first batch.
    pub(crate) first_timestamp: Timestamp,
    /// Indexes of the valid batches, without the final time entry of a sealed segment.
    pub(crate) indexes: Indexes,
    pub(crate) cadence: IndexCadence,
    pub(crate) tail: SegmentTail,
}

/// An observer of the batches that recovery reads.
pub(crate) trait RecoveryObserver {
    /// Called first: all batches that follow lie at or above this offset.
    fn begin(&mut self, at: Offset) -> Result<()>;
    /// Called when the file was read again, further on: the next batch is in those bytes.
    fn read_on(&mut self) -> Result<()> {
        Ok(())
    }
    /// Called for each valid batch.
    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch>;
    /// Discards all batches so far: they are read again, from an earlier position.
    fn forget(&mut self);
}

/// Ignores every batch.
impl RecoveryObserver for () {
    fn begin(&mut self, _: Offset) -> Result<()> {
        Ok(())
    }

    fn batch(&mut self, _: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        Ok(())
    }

    fn forget(&mut self) {}
}

/// The rules for the scan of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanRules {
    /// The offset that all others lie below: the base of the next segment.
    pub(crate) limit: Offset,
    /// Everything below this offset was synced.
    pub(crate) trusted: Offset,
    /// The offset from which on every offset has its batch.
    pub(crate) dense_from: Offset,
}

impl ScanRules {
    /// The rules for a segment of which nothing is known.
    pub(crate) const NONE: ScanRules =
        ScanRules { limit: Offset::MAX, trusted: 0, dense_from: Offset::MAX };

    /// Checks that no offset is missing before a batch. A base offset has no checksum: where no
    /// offset is missing, it must follow from the previous batch.
    pub(super) fn check_dense(
        &self,
        expected: Offset,
        header: &BatchHeader,
    ) -> Result<(), CorruptionKind> {
        let (from, to) = (expected, header.base_offset);
        if from < to && to > self.dense_from {
            return Err(CorruptionKind::OffsetsMissing { from, to });
        }
        Ok(())
    }
}

impl Recovered {
    /// Takes a batch as the next valid one.
    pub(crate) fn take(&mut self, position: u64, header: &BatchHeader) {
        let bytes = header.size_bytes() as u64;
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        self.cadence.note(
            &self.indexes,
            position,
            bytes,
            header.last_offset(),
            header.max_timestamp,
        );
        self.valid_bytes = position.saturating_add(bytes);
        self.end = header.next_offset();
    }
}
