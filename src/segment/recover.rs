//! Reading a segment after a crash: its valid batches, and the kind of the bytes after them.
//!
//! The scan stops at the first bytes that are not a valid batch. Their kind decides what may be
//! done about them: recovery truncates the torn end of the last write, and everything else is
//! damage. [`SegmentTail`] tells which, and nothing here truncates.

use crate::error::{CorruptionKind, Error, InvalidBatch, Result, Unsupported};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::SegmentDir;
use crate::segment::first_bytes::{NOT_A_SEGMENT, can_begin_batch, is_zero};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::message::{WholeMessage, whole_at};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::SPAN;
use crate::segment::resume::resume;
use crate::segment::resync::has_message_after;
use crate::segment::scan::{BatchStream, Step};
use crate::types::{Offset, Timestamp};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// The bytes after the last valid batch of a segment.
#[derive(Debug)]
pub(crate) enum SegmentTail {
    /// No bytes.
    Clean,
    /// Only zeros: reserved room, or a length that was synced before its data.
    Zeros,
    /// Bytes that are no batch, without a valid batch after them: a write that was cut short.
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
    /// From this offset on, each offset has its batch.
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

/// Scans a segment.
///
/// Batches below `trusted` were synced and their index entries stored. If the log confirms the
/// stored indexes, the scan begins there; otherwise it begins at the first byte.
pub(crate) fn recover_segment(
    dir: &SegmentDir,
    base: Offset,
    rules: ScanRules,
    observer: &mut dyn RecoveryObserver,
) -> Result<Recovered> {
    let rules = ScanRules { limit: rules.limit.min(base.saturating_add(SPAN)), ..rules };
    let limit = rules.limit;
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let fail = |error| Error::io("read", &path, error);
    let file = dir.open_log(base)?;
    let file_bytes = file.len().map_err(fail)?;
    let resumed =
        if rules.trusted > base { resume(dir, &*file, base, file_bytes, rules)? } else { None };
    let mut found = resumed.unwrap_or_else(|| Recovered {
        valid_bytes: 0,
        file_bytes,
        scanned_bytes: 0,
        end: base,
        first_timestamp: Timestamp::NONE,
        indexes: Indexes::empty(base),
        cadence: IndexCadence::new(dir.index_interval_bytes, (Timestamp::NONE, base)),
        tail: SegmentTail::Clean,
    });
    let from = found.valid_bytes;
    observer.begin(found.end)?;
    let mut stream = BatchStream::new(Arc::clone(&file), from, found.end);
    let mut fills = stream.fills();
    loop {
        let step = stream.advance(file_bytes, limit).map_err(fail)?;
        if std::mem::replace(&mut fills, stream.fills()) != fills {
            observer.read_on()?;
        }
        let position = stream.position();
        found.scanned_bytes = position.saturating_sub(from);
        let damage = match step {
            Step::End => return Ok(found),
            Step::Batch(header) => {
                let mut observe = || stream.batch().map_or(Ok(()), |batch| observer.batch(&batch));
                match rules.check_dense(found.end, &header).and_then(|()| Ok(observe()?)) {
                    Ok(()) => {
                        found.take(position, &header);
                        continue;
                    }
                    Err(damage) => damage,
                }
            }
            Step::Damaged(damage) => damage,
        };
        let rest = position..file_bytes;
        found.tail = match classify(&*file, rest, found.end, limit, damage).map_err(fail)? {
            Ok(tail) => tail,
            Err(unsupported) => return Err(Error::Unsupported(unsupported)),
        };
        return Ok(found);
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

/// Returns the kind of the rest of a file, which begins with damage. A whole message of another
/// format is no damage, and returned as the error.
fn classify(
    file: &dyn File,
    rest: Range<u64>,
    lowest: Offset,
    limit: Offset,
    damage: CorruptionKind,
) -> io::Result<Result<SegmentTail, Unsupported>> {
    if is_zero(file, rest.start, rest.end)? {
        return Ok(Ok(SegmentTail::Zeros));
    }
    // A batch with sound bytes was not torn, whatever its offsets or its records are.
    Ok(match whole_at(file, rest.start, rest.end)? {
        Some(WholeMessage::Foreign(unsupported)) => Err(unsupported),
        Some(WholeMessage::Ours) => Ok(SegmentTail::Damaged(damage)),
        None if has_message_after(file, rest.clone(), lowest, limit)? => {
            Ok(SegmentTail::Damaged(damage))
        }
        None if can_begin_batch(file, &rest, lowest, limit)? => Ok(SegmentTail::Torn(damage)),
        None if rest.start == 0 => {
            Ok(SegmentTail::Damaged(CorruptionKind::Malformed(NOT_A_SEGMENT)))
        }
        None => Ok(SegmentTail::Damaged(damage)),
    })
}
