//! The parts of an open log, each in a file with the methods that touch that part alone.
//!
//! - [`LogState`]: shared by all the others. Whether the log is open, its segments, its offsets,
//!   and the threads and tasks that wait for its end to move.
//! - [`Appends`](writer::Appends): the writer, with the active segment and the producers, and the
//!   queue of batches that wait for it.
//! - [`Flushes`](sync::Flushes): what is not durable, the fsync that is running, the checkpoints,
//!   and the tasks that await durability.
//! - [`Cleaning`](cleaning::Cleaning): the right to run the one pass of the cleaner, and how far
//!   it got.
//! - [`Follow`](follower::Follow): of a read-only log, the files seen so far.

pub(crate) mod append_queue;
pub(crate) mod appended;
pub(crate) mod cleaning;
pub(crate) mod deferred_close;
pub(crate) mod follower;
mod offsets;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod segment_list;
mod segments;
mod status;
pub(crate) mod sync;
pub(crate) mod sync_batcher;
#[cfg(feature = "futures")]
pub(crate) mod syncer;
pub(crate) mod writer;

use crate::error::LogLocation;
use crate::log::state::partition::PartitionOf;
use crate::log::state::segment_list::SegmentList;
use crate::notify::Notify;
use crate::sync::atomic::{AtomicU8, AtomicU64};
use crate::sync::{Mutex, RwLock};
use crate::types::Offset;
use std::sync::Arc;

/// Whether a log is open, its segments and its offsets: all that a reader needs.
pub(crate) struct LogState {
    /// The location that errors name.
    location: LogLocation,
    partition: Option<PartitionOf>,
    read_only: bool,

    /// Open, then poisoned or closed, and never back. See [`LogState::check_readable`].
    latch: AtomicU8,
    /// Why it is closed, or about to be: see [`LogState::close_reason`]. Set with the change lock
    /// held, before the latch.
    closed_by: AtomicU8,
    /// Leaf lock. The cause that poisoned the log; set before the latch.
    poison: Mutex<Option<Arc<str>>>,

    /// Held to clone or to store one pointer, never across I/O. `None` once the log is closed.
    segments: RwLock<Option<Arc<SegmentList>>>,
    /// Counts the lists. Raised after each is stored.
    generation: AtomicU64,
    /// Counts the truncations and replacements of stored batches. Raised together with the list
    /// without them and before any file is touched: a reader that finds it unchanged after a read
    /// has read nothing that was being truncated, overwritten or replaced.
    revision: AtomicU64,

    /// The first offset of the log.
    start: AtomicU64,
    /// The offset after the last record. Stored with release ordering after the bytes,
    /// the index entry and `Segment::published`.
    end: AtomicU64,
    /// Everything below this offset is durable.
    durable: AtomicU64,
    /// All replicas have everything below this offset; above all offsets for a log that is the
    /// only copy. Lowered before `end` is. It may lie below `start`, which moves on its own.
    high_watermark: AtomicU64,
    /// The start of the earliest transaction that is open, or whose marker is not below the high
    /// watermark; above all offsets if there is none. Lowered before `end` is raised over the
    /// first batch of a transaction, and raised after `end` is raised over its marker.
    first_unstable: AtomicU64,
    /// Counts the aborted transactions that were added to the indexes in memory. Raised after the
    /// entry is there and before the first unstable offset moves.
    aborted_total: AtomicU64,

    /// The threads and tasks that wait for the end to move.
    pub(crate) waiters: Notify,
}

/// The offsets that a new [`LogState`] begins with.
pub(crate) struct KnownOffsets {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) durable: Offset,
    /// `None` for a log that is the only copy.
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) first_unstable: Option<Offset>,
}

impl LogState {
    /// Creates the state of an open log.
    pub(crate) fn new(
        location: LogLocation,
        partition: Option<PartitionOf>,
        read_only: bool,
        segments: SegmentList,
        offsets: KnownOffsets,
    ) -> LogState {
        LogState {
            location,
            partition,
            read_only,
            latch: AtomicU8::default(),
            closed_by: AtomicU8::default(),
            poison: Mutex::new(None),
            segments: RwLock::new(Some(Arc::new(segments))),
            generation: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            start: AtomicU64::new(offsets.start),
            end: AtomicU64::new(offsets.end),
            durable: AtomicU64::new(offsets.durable),
            high_watermark: AtomicU64::new(offsets.high_watermark.unwrap_or(Offset::MAX)),
            first_unstable: AtomicU64::new(offsets.first_unstable.unwrap_or(Offset::MAX)),
            aborted_total: AtomicU64::new(0),
            waiters: Notify::default(),
        }
    }
}
