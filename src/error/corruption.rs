//! Damage on disk.

use super::InvalidBatch;
use super::count::Counted;
use crate::types::Offset;
use std::fmt;
use std::path::{Path, PathBuf};

/// Damage on disk: the file, the position, and the problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {position}{}: {reason}", path.display(), AtOffset(*.offset))]
pub struct Corruption {
    /// The damaged file.
    pub path: PathBuf,
    /// The byte at which the damaged batch or entry begins.
    pub position: u64,
    /// The offset that the log had reached there, if known.
    pub offset: Option<Offset>,
    /// The damage.
    pub reason: CorruptionKind,
}

struct AtOffset(Option<Offset>);

impl fmt::Display for AtOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " (offset {offset})"),
            None => Ok(()),
        }
    }
}

/// The kind of damage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionKind {
    /// A batch cannot be decoded.
    #[error("{0}")]
    Batch(#[from] InvalidBatch),

    /// The offsets of a batch are not above those of the previous batch.
    #[error("a batch begins at offset {found}, but the previous one ended at {expected}")]
    OffsetsNotIncreasing {
        /// The lowest valid base offset.
        expected: Offset,
        /// The base offset of the batch.
        found: Offset,
    },

    /// The offsets of a batch overlap those of the next batch or segment, or exceed the end of the
    /// log.
    #[error(
        "a batch reaches offset {found}, but the next batch begins, or the log ends, at {limit}"
    )]
    OffsetsOverlapNext {
        /// The base offset of the next batch or segment, or the end of the log.
        limit: Offset,
        /// The last offset of the batch.
        found: Offset,
    },

    /// Data that was known to be durable is missing.
    #[error("the data ends at offset {found}, but everything below {expected} was synced")]
    MissingData {
        /// Everything below this offset had been synced.
        expected: Offset,
        /// The end of the data that is there.
        found: Offset,
    },

    /// Offsets have no batch in a part of a log that was never compacted: their batches were lost.
    #[error("the batches of offsets {from} to {before} are missing; nothing was compacted there", before = to.saturating_sub(1))]
    OffsetsMissing {
        /// The first missing offset.
        from: Offset,
        /// The offset at which the next batch or segment begins.
        to: Offset,
    },

    /// A file without a batch has the name of a segment, and does not begin where the log ends. If
    /// it is not one of the log's files, remove it.
    #[error(
        "it holds no batch, and its name skips {} from {end} on, the end of the log; if it is not one \
         of the log's files, remove it",
        Counted(base.saturating_sub(*end), "offset")
    )]
    StraySegment {
        /// The end of the log without the file.
        end: Offset,
        /// The offset in the name of the file.
        base: Offset,
    },

    /// The file ends before the data it should hold.
    #[error("the sound data ends after {} instead of {expected}", Counted(*.found, "byte"))]
    FileTruncated {
        /// The bytes of data that it should hold.
        expected: u64,
        /// The bytes before the end or the damage.
        found: u64,
    },

    /// An index entry contradicts the log. The log itself is not damaged: the next read that needs
    /// the index rebuilds it, and the process that has the log open for writing replaces the file.
    #[error("index entry {entry} contradicts the log: {what}")]
    IndexEntry {
        /// The number of the entry in its file.
        entry: u64,
        /// The contradiction.
        what: &'static str,
    },

    /// The content of a file is not in its format.
    #[error("{0}")]
    Malformed(&'static str),
}

/// The remedy for damage in a file: only a log file cannot be rebuilt.
pub(super) struct Advice<'a>(pub(super) &'a Path);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.extension().and_then(std::ffi::OsStr::to_str) {
            Some("index" | "timeindex") => {
                "remove the file: it is rebuilt from the log when it is needed"
            }
            Some("log") => {
                "restore the file from a copy, or set the damage aside with \
                 `OnCorruption::Quarantine`, in `Log::open` or `Store::reopen_partition`, which \
                 moves the damaged bytes to another file and keeps every sound batch"
            }
            _ => "restore the file from a copy",
        })
    }
}
