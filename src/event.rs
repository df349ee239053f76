//! What a log reports about itself while it works.

use crate::error::{Corruption, Damage};
use crate::types::Offset;
use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// Something a log did or found that no call returns.
///
/// Events are delivered on the thread that caused them, after the log, and the store it is in, have
/// released their locks: a [`Listener`] may call either. One that panics takes the call with it whose
/// event it was, after that call's work was done; in calls of a group, the panic ends there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A file whose name means nothing to a log lies in its directory, or a directory in that of a store which is named like no
    /// partition's: `lost+found`, say. It is left alone.
    UnknownFile {
        /// The file or directory.
        path: PathBuf,
    },
    /// A file left behind by an interrupted change was removed.
    LeftoverRemoved {
        /// The file.
        path: PathBuf,
    },
    /// A replacement for segments that had been written completely was put in their place.
    SwapCompleted {
        /// The segment file that now has its final name.
        path: PathBuf,
    },
    /// A checkpoint could not be read, so the log was recovered as if it did not exist. That of the log's start is an error instead.
    CheckpointIgnored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The torn end of the log, never acknowledged as durable, was cut off.
    TailCut {
        /// The file that was cut.
        path: PathBuf,
        /// Its length now.
        position: u64,
        /// The bytes cut off it, and those of segments after it that went with it.
        bytes: u64,
        /// The end of the log now.
        end: Offset,
    },
    /// Damage was taken out of the log, as [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine) asks.
    Quarantined(Quarantined),
    /// An index was missing or wrong and was made again from the log.
    IndexRebuilt {
        /// The index file.
        path: PathBuf,
        /// What was wrong with it.
        reason: &'static str,
    },
    /// A new segment was begun.
    SegmentRolled {
        /// The base offset of the new active segment.
        base_offset: Offset,
        /// The bytes in the segment that was closed.
        closed_bytes: u64,
    },
    /// Everything below `through` became durable.
    Flushed {
        /// The durable end of the log.
        through: Offset,
        /// How long the disk took.
        took: Duration,
    },
    /// Records were removed from the end of the log.
    Truncated {
        /// The end of the log now.
        end: Offset,
    },
    /// The start of the log moved up: deleted records are gone for readers, whole segments of them also from the disk.
    StartMoved {
        /// The start of the log now.
        start: Offset,
        /// How many segments left the log.
        segments: usize,
        /// The bytes of their batches.
        bytes: u64,
    },
    /// The log was compacted.
    Compacted(CompactionReport),
    /// The log cannot be compacted, and is not until it is opened again: what is stored makes it fail. Everything else goes on.
    Uncleanable {
        /// The failure.
        cause: String,
    },
    /// A [`Maintainer`](crate::Maintainer) could not maintain the log, and tries again in its next round.
    MaintenanceFailed {
        /// Why.
        error: String,
    },
    /// A partition of a store could not be opened, and is [offline](crate::OfflinePartitions). All others can be used.
    PartitionOffline {
        /// Its directory.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// Damage was met while reading.
    Damaged(Corruption),
    /// A file that is no longer needed could not be removed or trimmed. Opening the log tries again.
    CleanupFailed {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// A checkpoint could not be written. Nothing is lost: after a crash, more has to be read.
    CheckpointFailed {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// Code of yours that a producer or consumer called has panicked. It was left at that.
    CallbackPanicked {
        /// The topic of the record that it was called for.
        topic: String,
        /// What it was.
        what: &'static str,
    },
    /// Records that nobody waits for, as they were [handed over](crate::Acks::HandedOver), could not be written.
    RecordsLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// How many.
        records: u64,
        /// Why.
        error: String,
    },
    /// The log stopped taking changes: close it and open it again, in a store with
    /// [`reopen_partition`](crate::Store::reopen_partition).
    Poisoned {
        /// The failure that did it.
        cause: String,
    },
}

/// Damage that was taken out of a log when it was opened with
/// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Where the bytes are now. Nothing reads this file: look into it, and delete it when you like.
    pub path: PathBuf,
    /// The log file they were taken from.
    pub segment: PathBuf,
    /// Where in it they began.
    pub position: u64,
    /// How many there were.
    pub bytes: u64,
    /// The offsets that have no record any more, as far as they had one.
    pub offsets: Range<Offset>,
    /// What was found at the position.
    pub reason: Damage,
}

/// What compaction did to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompactionReport {
    /// How often the log was gone through. More than once when its keys do not fit into
    /// [`dedupe_bytes`](crate::LogConfig::dedupe_bytes) together; 0 when there was nothing to do.
    pub passes: usize,
    /// How many segments fewer there are.
    pub segments_removed: usize,
    /// How many bytes fewer their batches take.
    pub bytes_removed: u64,
    /// The records that stayed, of those the last pass looked at.
    pub records_kept: u64,
    /// The records that went, tombstones included.
    pub records_removed: u64,
    /// The tombstones that had stayed for as long as they have to.
    pub tombstones_removed: u64,
    /// Every key is in the log once below this offset.
    pub clean_until: Offset,
}

/// Receives the events of a log.
///
/// ```
/// use annals::{Event, Listener, Log, LogConfig, fs::MemFs};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Debug, Default)]
/// struct Collected(Mutex<Vec<Event>>);
///
/// impl Listener for Collected {
///     fn on_event(&self, event: &Event) {
///         self.0.lock().unwrap().push(event.clone());
///     }
/// }
///
/// let seen = Arc::new(Collected::default());
/// let config = LogConfig::default().fs(MemFs::new()).listener(seen.clone());
/// let log = Log::open("orders-0", config)?;
/// log.append("hello")?;
/// log.roll()?;
/// assert!(matches!(seen.0.lock().unwrap()[0], Event::SegmentRolled { base_offset: 1, .. }));
/// # Ok::<(), annals::Error>(())
/// ```
pub trait Listener: Send + Sync + Debug {
    /// Called for each event, in the order of each thread's own.
    fn on_event(&self, event: &Event);
}
