//! The offsets that a log stores in checkpoint files, and what their lines say.
//!
//! This crate writes each line twice, because these files have no checksum.

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::Event;
use crate::fs::{Dir, OpenMode};
use crate::segment::name::{CLEANED, LOG_START, RECOVERY_POINT};
use crate::types::Offset;
use std::hash::Hash;
use std::io;
use std::path::PathBuf;

/// An offset that is written down of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Checkpoint {
    /// All below it was synced.
    RecoveryPoint,
    /// The start of the log.
    Start,
    /// All below it was compacted.
    Cleaned,
}

impl Checkpoint {
    pub(crate) const ALL: [Checkpoint; 3] =
        [Checkpoint::RecoveryPoint, Checkpoint::Start, Checkpoint::Cleaned];

    /// In the order in which they are written: where a recovery point is ours, recovery relies on
    /// the others.
    pub(crate) const WRITTEN: [Checkpoint; 3] =
        [Checkpoint::Cleaned, Checkpoint::Start, Checkpoint::RecoveryPoint];

    /// The file it is in.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => RECOVERY_POINT,
            Checkpoint::Start => LOG_START,
            Checkpoint::Cleaned => CLEANED,
        }
    }

    /// A file that cannot be read is reported and counts as none: then more is read than needed.
    /// But without its start a log would have deleted records again, so the directory is refused.
    pub(crate) fn unreadable(self, dir: &Dir, path: PathBuf, reason: &'static str) -> Result<()> {
        if self != Checkpoint::Start {
            dir.events.emit(&Event::CheckpointIgnored { path, reason });
            return Ok(());
        }
        let reason = CorruptionKind::Malformed(reason);
        Err(Error::Corrupt(Box::new(Corruption { path, position: 0, offset: None, reason })))
    }
}

/// How often this crate writes the line of a log into a checkpoint, which has no checksum: of a
/// damaged digit the two do not agree, and neither is believed. A broker reads the second over the
/// first, and writes one.
pub(crate) const LINES: usize = 2;

/// The recovery point, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RecoveryPoint {
    /// Everything below was synced: recovery need not read it. 0 where nothing is known.
    pub(crate) synced: Offset,
    /// Nothing at or above was ever compacted: offsets without a batch there were lost. `None`
    /// where that is not known, because the recovery point is lost, or a broker wrote it.
    pub(crate) uncompacted: Option<Offset>,
    /// Whether another program had the log last, or may have: what the log should look like is not
    /// known then.
    pub(crate) is_foreign: bool,
    /// Whether the start may be missing in its file, because there was no room for it.
    pub(crate) is_doubted: bool,
}

impl RecoveryPoint {
    pub(crate) fn new(point: Option<Offset>, is_foreign: bool, is_doubted: bool) -> RecoveryPoint {
        let highest = point.map(|point| point.saturating_add(u64::from(is_doubted)));
        RecoveryPoint {
            synced: point.unwrap_or(0),
            uncompacted: highest.filter(|_| !is_foreign),
            is_foreign,
            is_doubted,
        }
    }
}

/// The lower of the two lines of a log between which one digit was [changed](change_second_line).
pub(crate) fn doubted(lines: &[Offset]) -> Option<Offset> {
    match lines {
        [one, other] if one != other && one / 2 == other / 2 => Some(*one.min(other)),
        _ => None,
    }
}

/// The largest file that is read: a line for each of a few hundred thousand logs.
pub(crate) const LARGEST_FILE_BYTES: u64 = 64 << 20;

/// Changes the last digit of the second of two equal lines of recovery points, which begin like
/// this: they are one apart then. In its place, it takes no room, and a crash leaves the old digit
/// or the new one. A digit that is damaged as if it had been changed so does no harm either: the
/// lower of the two vouches for no more than was synced, and the higher lies above all that was
/// compacted.
pub(crate) fn change_second_line(dir: &Dir, begin: &str) -> Result<()> {
    let path = dir.path.join(RECOVERY_POINT);
    let bytes = dir.read_small(&path, LARGEST_FILE_BYTES)?.unwrap_or_default();
    let text = str::from_utf8(&bytes).unwrap_or_default();
    let (mut end, mut before, mut second) = (0usize, "", None);
    for line in text.split_inclusive('\n') {
        end = end.saturating_add(line.len());
        let is_second = line == before && line.starts_with(begin);
        // The line break lies behind the digit.
        let digit = line.trim_end().bytes().last().filter(u8::is_ascii_digit);
        second = digit.filter(|_| is_second).map(|digit| (end.saturating_sub(2), digit)).or(second);
        before = line;
    }
    let Some((at, digit)) = second else { return Ok(()) };
    let change = || -> io::Result<()> {
        let file = dir.fs.open(&path, OpenMode::ReadWrite)?;
        file.write_all_at(&[digit ^ 1], at as u64)?;
        file.sync_data()
    };
    change().map_err(|error| Error::io("write", &path, error))
}
