//! Losses of a log: segments that are missing, or end before they should.

use crate::checkpoint::CleanShutdown;
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::listing::Listing;
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::recovered::{Recovered, SegmentTail};
use crate::types::Offset;
use std::collections::BTreeMap;

/// Returns the segments that are missing or shorter than at the close. Segments wholly below the
/// start were deleted, and do not count.
pub(crate) fn lost_segments(
    dir: &SegmentDir,
    marker: &CleanShutdown,
    listing: &Listing,
    start: Offset,
) -> Vec<Corruption> {
    let there: BTreeMap<Offset, u64> = listing.logs().collect();
    let mut kept = marker.segments.iter().copied().peekable();
    let mut lost = Vec::new();
    while let Some((base, expected)) = kept.next() {
        let reason = match there.get(&base) {
            Some(&found) if found >= expected => continue,
            Some(&found) => CorruptionKind::FileTruncated { expected, found },
            None if kept.peek().is_some_and(|(next, _)| *next <= start) => continue,
            None => {
                let expected = kept.peek().map_or(marker.end, |(next, _)| *next);
                CorruptionKind::MissingData { expected, found: base }
            }
        };
        let path = dir.path_of(SegmentFile::live(base, Kind::Log));
        lost.push(Corruption { path, position: 0, offset: Some(base), reason });
    }
    lost
}

/// Returns what a closed log has lost since; nothing while another process has it open for
/// writing.
pub(crate) fn lost_since_close(
    dir: &SegmentDir,
    checkpoints: &Checkpoints,
) -> Result<Vec<Corruption>> {
    let Some(marker) = checkpoints.clean_shutdown()?.flatten() else { return Ok(Vec::new()) };
    let start = checkpoints.get(Checkpoint::Start)?.unwrap_or(0);
    let lost = lost_segments(dir, &marker, &Listing::read(dir)?, start);
    // A writer that opened the log meanwhile has removed the marker, or left another.
    Ok(if checkpoints.clean_shutdown()?.flatten() == Some(marker) { lost } else { Vec::new() })
}

/// Returns the damage of a segment whose valid part ends too early.
pub(crate) fn damage_at_end(
    dir: &SegmentDir,
    base: Offset,
    found: &Recovered,
    next: Option<Offset>,
    recovery_point: Offset,
) -> Error {
    let reason = match (&found.tail, next) {
        (SegmentTail::Torn(damage) | SegmentTail::Damaged(damage), _) => damage.clone(),
        (SegmentTail::Clean, Some(to)) => CorruptionKind::OffsetsMissing { from: found.end, to },
        (SegmentTail::Clean | SegmentTail::Zeros, _) if found.end < recovery_point => {
            CorruptionKind::MissingData { expected: recovery_point, found: found.end }
        }
        (SegmentTail::Clean | SegmentTail::Zeros, _) => {
            CorruptionKind::FileTruncated { expected: found.file_bytes, found: found.valid_bytes }
        }
    };
    Error::Corrupt(Box::new(Corruption {
        path: dir.path_of(SegmentFile::live(base, Kind::Log)),
        position: found.valid_bytes,
        offset: Some(found.end),
        reason,
    }))
}
