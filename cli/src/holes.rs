//! Offsets without a batch in a log that was never compacted: a segment, or its end, is missing.
//!
//! Opening the log for writing fails in this case. Reading does not check, because a compacted log
//! has such gaps everywhere.

use crate::failure::Failure;
use crate::verify::{segment_file, segments};
use annals::fs::DiskFs;
use annals::inspect::{self, BatchScanner, ScanItem};
use annals::{Corruption, CorruptionKind, Error, Log, Offset};
use std::path::Path;

/// The number of lines that annals writes for a log in a checkpoint. Other programs write one
/// line, and may leave gaps in their logs.
const LINES_OF_OURS: usize = 2;

/// Returns the holes between the segments of a log.
pub fn holes(dir: &Path, log: &Log) -> Result<Vec<Corruption>, Failure> {
    if !is_dense(dir) {
        return Ok(Vec::new());
    }
    let (start, mut found) = (log.offsets().start, Vec::new());
    let bases = segments(dir)?;
    for (before, base) in bases.iter().zip(bases.iter().skip(1)) {
        if *base > start && !reaches(log, *base)? {
            found.push(hole(dir, *before, *base)?);
        }
    }
    // A compaction that began meanwhile has written its checkpoint before it made gaps.
    Ok(if is_dense(dir) { found } else { Vec::new() })
}

/// Returns whether a batch has the offset right before the base offset of a segment.
fn reaches(log: &Log, base: Offset) -> Result<bool, Failure> {
    let below = log.reader(base.saturating_sub(1)).and_then(|mut reader| {
        Ok(reader.next_batch()?.is_some_and(|batch| batch.header().base_offset < base))
    });
    match below {
        // The segment was deleted meanwhile, or `verify` reports its damage.
        Err(Error::OffsetOutOfRange { .. } | Error::Corrupt(_)) => Ok(true),
        reaches => Ok(reaches?),
    }
}

fn hole(dir: &Path, before: Offset, base: Offset) -> Result<Corruption, Failure> {
    let path = segment_file(dir, before, "log");
    let (mut from, mut position) = (before, 0);
    for piece in BatchScanner::open(&DiskFs, &path)?.headers_only() {
        let ScanItem::Batch(found) = piece? else { continue };
        from = found.header.next_offset();
        position = found.position.saturating_add(found.header.size_bytes() as u64);
    }
    let reason = CorruptionKind::OffsetsMissing { from, to: base };
    Ok(Corruption { path, position, offset: Some(from), reason })
}

/// Returns whether annals wrote the log, and never compacted it.
fn is_dense(dir: &Path) -> bool {
    lines(dir, "recovery-point-offset-checkpoint") >= LINES_OF_OURS
        && lines(dir, "cleaner-offset-checkpoint") == 0
}

/// Counts the lines of the log in a checkpoint, in the log's directory or in the one above it.
fn lines(dir: &Path, file: &str) -> usize {
    if let Ok(own) = inspect::offset_checkpoint(&DiskFs, &dir.join(file)) {
        return own.len();
    }
    let above = dir.parent().map(|above| inspect::offset_checkpoint(&DiskFs, &above.join(file)));
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let entries = above.and_then(Result::ok).unwrap_or_default();
    let is_ours = |line: &&inspect::OffsetCheckpointEntry| {
        name.as_deref() == Some(&format!("{}-{}", line.topic, line.partition))
    };
    entries.iter().filter(is_ours).count()
}
