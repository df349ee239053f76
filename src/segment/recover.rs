//! Reading a segment after a crash: its valid batches, and the kind of the bytes after them.
//!
//! The scan stops at the first bytes that are not a valid batch. Their kind decides what may be
//! done about them: recovery truncates the torn end of the last write, and everything else is
//! damage. [`SegmentTail`] tells which, and nothing here truncates.

use crate::error::{CorruptionKind, Error, Result, Unsupported};
use crate::fs::File;
use crate::segment::SegmentDir;
use crate::segment::first_bytes::{NOT_A_SEGMENT, can_begin_batch, is_zero};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::message::{WholeMessage, whole_at};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::SPAN;
use crate::segment::recovered::{Recovered, RecoveryObserver, ScanRules, SegmentTail};
use crate::segment::resume::resume;
use crate::segment::resync::has_message_after;
use crate::segment::scan::{BatchStream, Step};
use crate::types::{Offset, Timestamp};
use std::io;
use std::ops::Range;
use std::sync::Arc;

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
