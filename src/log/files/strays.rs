//! Strays: files after the end of a log that have the name of a segment and hold no batch.
//!
//! A roll leaves a segment without a batch where the log ends. A file without a batch that begins
//! further up is the rest of a segment, or not a file of the log at all. Its name does not tell
//! where the log ends: taken as a segment, it would skip all offsets up to its own. Such a file is
//! a stray unless something shows that offsets up there were assigned, because no offset is
//! assigned twice:
//!
//! - The recovery point, the start, the cleaner checkpoint, the marker of a clean shutdown or a
//!   producer snapshot lies above the last batch. Each roll and each close writes a snapshot.
//! - There is an index of its base.
//! - It begins with a torn batch of ours.
//! - It is empty, or zeros, and compaction may have removed the batches before it: a broker rolls
//!   a compacted log, and then cleans the end of the part before. A log that another program had
//!   open last is one of these.
//! - It is empty, or zeros, and the segment before it is damaged at its end.
//!
//! A file with other bytes does not begin like any segment. For such a file only the first two
//! count, and only if they reach its base.

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::fs::File;
use crate::log::files::checkpoint::{Checkpoint, RecoveryPoint};
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::listing::Listing;
use crate::segment::SegmentDir;
use crate::segment::first_bytes::{begins_segment, is_zero};
use crate::segment::message::whole_at;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::SPAN;
use crate::segment::resume::end_of_sealed;
use crate::segment::resync::{has_message_after, next_batch_after};
use crate::segment::scan::{BatchStream, Step};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// The strays of a log.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// Their bases and lengths, in order.
    pub(crate) files: Vec<(Offset, u64)>,
    /// The end of the log without them.
    pub(crate) end: Offset,
    /// Whether they are all empty, or zeros: what a loss of power leaves of unsynced segments.
    pub(crate) are_blank: bool,
}

impl Strays {
    /// Finds the strays of a log that is opened for writing.
    pub(crate) fn find(
        dir: &SegmentDir,
        listing: &Listing,
        checkpoints: &Checkpoints,
        point: RecoveryPoint,
        may_have_holes: bool,
    ) -> Result<Strays> {
        let logs: Vec<_> = listing.logs().collect();
        let Some((last, before)) = logs.split_last().filter(|(_, before)| !before.is_empty())
        else {
            return Ok(Strays::default());
        };
        let marker = checkpoints.clean_shutdown()?.flatten();
        if marker.as_ref().is_some_and(|marker| (marker.base, marker.bytes) == *last)
            || holds_batch(dir, last.0)?
        {
            return Ok(Strays::default());
        }
        let mut sealed = before.len();
        for (index, (base, _)) in before.iter().enumerate().rev() {
            if holds_batch(dir, *base)? {
                break;
            }
            sealed = index;
        }
        let mut known = Known {
            assigned: [
                Some(point.synced),
                checkpoints.get(Checkpoint::Start)?,
                checkpoints.get(Checkpoint::Cleaned)?,
                marker.map(|marker| marker.end),
                listing.last_snapshot(),
            ]
            .into_iter()
            .flatten()
            .fold(0, Offset::max),
            may_have_holes,
        };
        let mut strays = Strays { files: Vec::new(), end: 0, are_blank: true };
        match sealed.checked_sub(1).and_then(|last| logs.get(last)) {
            Some((base, bytes)) => {
                let sound = end_of_sealed(dir, *base, *bytes)?;
                known.may_have_holes |= sound.is_none();
                strays.end = sound.map_or_else(|| end_of_batches(dir, *base), Ok)?;
            }
            None => strays.end = logs.first().map_or(0, |(base, _)| *base),
        }
        for (base, bytes) in logs.get(sealed..).unwrap_or_default() {
            strays.take(dir, *base, *bytes, listing.has_index(*base), known)?;
        }
        Ok(strays)
    }

    /// Finds the strays of a read-only log.
    pub(crate) fn of_reader(
        dir: &SegmentDir,
        listing: &Listing,
        checkpoints: &Checkpoints,
        compacts: bool,
    ) -> Result<Strays> {
        let point = checkpoints.recovery_point(true)?;
        let cleaned = checkpoints.get(Checkpoint::Cleaned)?;
        let may_have_holes = point.is_foreign || cleaned.is_some() || compacts;
        Strays::find(dir, listing, checkpoints, point, may_have_holes)
    }

    /// Takes the next file without a batch as a stray, or as a segment of the log.
    fn take(
        &mut self,
        dir: &SegmentDir,
        base: Offset,
        bytes: u64,
        has_index: bool,
        known: Known,
    ) -> Result<()> {
        if base <= self.end {
            return Ok(());
        }
        let path = dir.path_of(SegmentFile::live(base, Kind::Log));
        let fail = |error| Error::io("read", &path, error);
        let file = dir.open_log(base)?;
        let is_blank = is_zero(&*file, 0, file.len().map_err(fail)?).map_err(fail)?;
        let is_stray = if is_blank {
            known.assigned <= self.end && !known.may_have_holes
        } else {
            known.assigned < base && !begins_segment(&*file, base).map_err(fail)?
        };
        if is_stray && !has_index {
            self.are_blank &= is_blank;
            self.files.push((base, bytes));
        } else {
            *self = Strays { files: Vec::new(), end: base, are_blank: true };
        }
        Ok(())
    }

    /// Returns the damage to report for each stray.
    pub(crate) fn damage(&self, dir: &SegmentDir) -> impl Iterator<Item = Corruption> {
        self.files.iter().map(|(base, _)| Corruption {
            path: dir.path_of(SegmentFile::live(*base, Kind::Log)),
            position: 0,
            offset: Some(self.end),
            reason: CorruptionKind::StraySegment { end: self.end, base: *base },
        })
    }

    pub(crate) fn contains(&self, base: Offset) -> bool {
        self.files.iter().any(|(stray, _)| *stray == base)
    }
}

/// The knowledge of a log apart from its batches.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Offsets up to here were assigned.
    assigned: Offset,
    /// Whether offsets without a batch prove nothing.
    may_have_holes: bool,
}

/// Returns whether a file holds a batch or a message of another format anywhere, even a damaged
/// one.
fn holds_batch(dir: &SegmentDir, base: Offset) -> Result<bool> {
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let look = |file: Arc<dyn File>| -> io::Result<bool> {
        let (end, limit) = (file.len()?, base.saturating_add(SPAN));
        Ok(match BatchStream::new(Arc::clone(&file), 0, base).advance(end, limit)? {
            Step::Batch(_) => true,
            Step::End => false,
            Step::Damaged(_) => {
                whole_at(&*file, 0, end)?.is_some()
                    || has_message_after(&*file, 0..end, base, limit)?
                    || next_batch_after(&*file, 0, end, base, limit)?.is_some()
            }
        })
    };
    look(dir.open_log(base)?).map_err(|error| Error::io("read", &path, error))
}

/// Returns where the sound batches of a damaged segment end.
fn end_of_batches(dir: &SegmentDir, base: Offset) -> Result<Offset> {
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let look = |file: Arc<dyn File>| -> io::Result<Offset> {
        let (end, limit) = (file.len()?, base.saturating_add(SPAN));
        let mut stream = BatchStream::new(Arc::clone(&file), 0, base);
        loop {
            match stream.advance(end, limit)? {
                Step::Batch(_) => continue,
                Step::End => return Ok(stream.lowest()),
                Step::Damaged(_) => {}
            }
            let (position, lowest) = (stream.position(), stream.lowest());
            match next_batch_after(&*file, position, end, lowest, limit)? {
                Some((at, offset)) => stream.seek(Arc::clone(&file), at, offset),
                None => return Ok(lowest),
            }
        }
    };
    look(dir.open_log(base)?).map_err(|error| Error::io("read", &path, error))
}
