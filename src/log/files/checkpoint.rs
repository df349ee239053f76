//! The offsets that a log stores in checkpoint files.

use crate::checkpoint::{CLEANED, HIGH_WATERMARK, LOG_START, RECOVERY_POINT, marking_digit};
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::Event;
use crate::fs::{Dir, OpenMode};
use crate::types::Offset;
use std::io;
use std::path::PathBuf;

/// An offset that is stored for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Checkpoint {
    /// Everything below it was synced.
    RecoveryPoint,
    /// The start of the log.
    Start,
    /// Everything below it was compacted.
    Cleaned,
    /// All replicas have everything below it.
    HighWatermark,
}

impl Checkpoint {
    pub(crate) const ALL: [Checkpoint; 4] = [
        Checkpoint::RecoveryPoint,
        Checkpoint::Start,
        Checkpoint::Cleaned,
        Checkpoint::HighWatermark,
    ];

    /// The order in which they are written. The recovery point is last, because where it is ours,
    /// recovery relies on the others.
    pub(crate) const WRITTEN: [Checkpoint; 4] = [
        Checkpoint::HighWatermark,
        Checkpoint::Cleaned,
        Checkpoint::Start,
        Checkpoint::RecoveryPoint,
    ];

    /// Returns the name of its file.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => RECOVERY_POINT,
            Checkpoint::Start => LOG_START,
            Checkpoint::Cleaned => CLEANED,
            Checkpoint::HighWatermark => HIGH_WATERMARK,
        }
    }

    /// Reports a file that cannot be read. The file counts as missing, and the opening reads more
    /// than needed. But without the file of starts, deleted records would be back, so that is an
    /// error.
    pub(crate) fn unreadable(self, dir: &Dir, path: PathBuf, reason: &'static str) -> Result<()> {
        if self != Checkpoint::Start {
            dir.events.emit(&Event::CheckpointIgnored { path, reason });
            return Ok(());
        }
        let reason = CorruptionKind::Malformed(reason);
        Err(Error::Corrupt(Box::new(Corruption { path, position: 0, offset: None, reason })))
    }
}

/// The recovery point, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RecoveryPoint {
    /// Everything below was synced, so recovery need not read it. 0 if nothing is known.
    pub(crate) synced: Offset,
    /// Nothing at or above was ever compacted, so offsets without a batch there were lost. `None`
    /// if that is not known, because the recovery point is lost or a broker wrote it.
    pub(crate) uncompacted: Option<Offset>,
    /// Whether another program had the log open last, or may have. Then it is not known what the
    /// log should look like.
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

/// The largest file that is read: a line for each of a few hundred thousand logs.
pub(crate) const LARGEST_FILE_BYTES: u64 = 64 << 20;

/// [Marks](marking_digit) the second of the two equal lines that begin with `begin` in the file of
/// recovery points. This takes no room on the disk.
pub(crate) fn change_second_line(dir: &Dir, begin: &str) -> Result<()> {
    let path = dir.path.join(RECOVERY_POINT);
    let bytes = dir.read_small(&path, LARGEST_FILE_BYTES)?.unwrap_or_default();
    let text = str::from_utf8(&bytes).unwrap_or_default();
    let Some((at, digit)) = marking_digit(text, begin) else { return Ok(()) };
    let change = || -> io::Result<()> {
        let file = dir.fs.open(&path, OpenMode::ReadWrite)?;
        file.write_all_at(&[digit], at)?;
        file.sync_data()
    };
    change().map_err(|error| Error::io("write", &path, error))
}
