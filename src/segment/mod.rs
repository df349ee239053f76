//! One segment of a log: a `.log` file of batches, and its two indexes.
//!
//! All readers share a [`Segment`]. Only the log's writer adds to it, and only to the active one;
//! `published` tells readers how far they may read. Files are opened when they are first needed.
//!
//! | module | content |
//! |---|---|
//! | `name` | the names of the files of a log directory |
//! | `dir`, `index_files` | the directory, its open log files, its index files |
//! | `active` | the one place that writes batches |
//! | `scan`, `batches`, `headers` | reading batches: validated, of one segment, by headers alone |
//! | `locate`, `timestamps`, `indexes` | from an offset to a batch, from a time to an offset, and the indexes for both |
//! | `index`, `offset_index`, `time_index`, `index_entries`, `entry_list` | the indexes in memory |
//! | `txn_index` | the index of aborted transactions |
//! | `recover`, `resume`, `resync`, `message`, `first_bytes` | reading a segment after a crash, and telling a torn write from damage |
//! | `placeholder` | batches without records |

pub(crate) mod aborted_ranges;
pub(crate) mod active;
pub(crate) mod batches;
pub(crate) mod dir;
mod entry_list;
pub(crate) mod first_bytes;
pub(crate) mod headers;
pub(crate) mod index;
mod index_entries;
pub(crate) mod index_files;
mod indexes;
mod locate;
pub(crate) mod message;
pub(crate) mod name;
pub(crate) mod offset_index;
pub(crate) mod placeholder;
pub(crate) mod recover;
pub(crate) mod recovered;
pub(crate) mod resume;
pub(crate) mod resync;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
pub(crate) mod time_index;
mod timestamps;
pub(crate) mod txn_index;

pub(crate) use dir::SegmentDir;
pub(crate) use locate::Located;

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::fs::File;
use crate::segment::dir::SegmentId;
use crate::segment::index::Indexes;
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::txn_index::TxnIndex;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::types::{Offset, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    id: SegmentId,
    dir: Arc<SegmentDir>,
    /// The bytes of the log file that readers may read. Stored with release ordering after the
    /// bytes were written.
    published: AtomicU64,
    /// The largest timestamp of an active segment. For a sealed one, the time index has it.
    largest_timestamp: AtomicI64,
    /// Leaf lock: held while an index is opened, so that it is opened once. Only readers that need
    /// the same index wait for it.
    indexes: Mutex<Option<Arc<Indexes>>>,
    /// `None` for an active segment without aborted transactions, and for a sealed one whose index
    /// was not needed so far.
    ///
    /// Leaf lock: held while the index of aborted transactions is read, so that it is read once.
    aborted: Mutex<Option<Arc<TxnIndex>>>,
    sealed: bool,
    /// Leaf lock: the size at which retention first found records from the future, and the
    /// monotonic time of that moment.
    from_future: Mutex<Option<(u64, Duration)>>,
    /// Whether the files still have the names of a replacement.
    staged: AtomicBool,
    /// Set when the segment leaves the log.
    retired: OnceLock<Retired>,
}

/// The fate of the files of a segment that left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retired {
    /// The last holder removes them, under the names of this stage.
    Dropped(Stage),
    /// A replacement has taken their names.
    Replaced,
}

impl Segment {
    /// Creates the segment that is appended to, from its file and its indexes in memory. Its index
    /// of aborted transactions is empty.
    pub(crate) fn active(
        dir: Arc<SegmentDir>,
        base: Offset,
        file: &Arc<dyn File>,
        bytes: u64,
        largest_timestamp: Timestamp,
        indexes: Arc<Indexes>,
    ) -> Segment {
        let segment = Segment::new(dir, base, bytes, Some(indexes), false);
        segment.largest_timestamp.store(largest_timestamp.as_millis(), Ordering::Relaxed);
        segment.dir.keep_open(segment.id, file);
        segment
    }

    /// Creates the same active segment with another file, which replaced its own.
    pub(crate) fn with_file(&self, file: &Arc<dyn File>, indexes: &Arc<Indexes>) -> Segment {
        let largest = Timestamp::from_millis(self.largest_timestamp.load(Ordering::Relaxed));
        let (dir, bytes) = (Arc::clone(&self.dir), self.published());
        let mut segment =
            Segment::active(dir, self.base, file, bytes, largest, Arc::clone(indexes));
        segment.aborted = Mutex::new(self.aborted.lock().clone());
        segment
    }

    /// Creates a segment that will not change. Its indexes are opened when they are needed.
    pub(crate) fn sealed(dir: Arc<SegmentDir>, base: Offset, bytes: u64) -> Segment {
        Segment::new(dir, base, bytes, None, true)
    }

    /// Creates a segment that is to replace others, whose files still have the names of a
    /// replacement. Without indexes, they are rebuilt from the log when they are needed.
    pub(crate) fn replacement(
        dir: Arc<SegmentDir>,
        base: Offset,
        bytes: u64,
        indexes: Option<Arc<Indexes>>,
    ) -> Segment {
        let segment = Segment::new(dir, base, bytes, indexes, true);
        segment.staged.store(true, Ordering::Relaxed);
        segment
    }

    fn new(
        dir: Arc<SegmentDir>,
        base: Offset,
        bytes: u64,
        indexes: Option<Arc<Indexes>>,
        sealed: bool,
    ) -> Segment {
        Segment {
            base,
            id: dir.new_segment(),
            dir,
            published: AtomicU64::new(bytes),
            largest_timestamp: AtomicI64::new(Timestamp::NONE.as_millis()),
            indexes: Mutex::new(indexes),
            aborted: Mutex::default(),
            sealed,
            from_future: Mutex::default(),
            staged: AtomicBool::new(false),
            retired: OnceLock::new(),
        }
    }

    /// Returns this active segment as one that will not change any more. Its indexes are opened
    /// when they are needed, except that of aborted transactions, which stays in memory.
    pub(crate) fn seal(&self, bytes: u64) -> Segment {
        let mut sealed = Segment::sealed(Arc::clone(&self.dir), self.base, bytes);
        let aborted = self.aborted.lock().clone();
        sealed.aborted = Mutex::new(aborted.filter(|aborted| aborted.len() > 0));
        sealed
    }

    /// Returns whether nothing is appended to the segment any more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Returns the bytes of the log file that readers may read.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Lets readers see the file up to here. Only the writer calls this.
    pub(crate) fn publish(&self, bytes: u64, largest: Timestamp) {
        self.largest_timestamp.store(largest.as_millis(), Ordering::Relaxed);
        self.published.store(bytes, Ordering::Release);
    }

    pub(crate) fn path(&self, kind: Kind) -> PathBuf {
        self.dir.path_of(SegmentFile::live(self.base, kind))
    }

    /// Returns the log file, opening it if it is not open.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = self.dir.opened(self.id) {
            return Ok(file);
        }
        let file = self.open_file()?;
        self.dir.keep_open(self.id, &file);
        Ok(file)
    }

    /// Opens the log file. A replacement has its own name until the files it replaces are gone,
    /// and the live name afterwards.
    pub(crate) fn open_file(&self) -> Result<Arc<dyn File>> {
        if self.staged.load(Ordering::Acquire) {
            let live = SegmentFile::live(self.base, Kind::Log);
            match self.dir.open_log_at(SegmentFile { stage: Stage::Swap, ..live }) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        self.dir.open_log(self.base)
    }

    fn io(&self, operation: &'static str, error: io::Error) -> Error {
        Error::io(operation, &self.path(Kind::Log), error)
    }

    pub(crate) fn corrupt(
        &self,
        position: u64,
        offset: Option<Offset>,
        reason: CorruptionKind,
    ) -> Error {
        let corruption = Corruption { path: self.path(Kind::Log), position, offset, reason };
        Error::Corrupt(Box::new(corruption))
    }

    /// Retires the segment, whose files have the names of deleted ones: the last reader removes
    /// them.
    pub(crate) fn retire(&self) {
        // The first call decides.
        self.retired.set(Retired::Dropped(Stage::Deleted)).ok();
    }

    /// Retires a segment whose files keep their names, so that a reader finds them. No later
    /// segment may have this base, unless the [names are taken from
    /// it](SegmentDir::disown_names) before.
    pub(crate) fn retire_in_place(&self) {
        self.retired.set(Retired::Dropped(Stage::Live)).ok();
    }

    /// Retires a segment whose names a replacement takes now. From here on it writes no index
    /// files.
    pub(crate) fn retire_replaced(&self) {
        let _no_index_is_written = self.indexes.lock();
        self.retired.set(Retired::Replaced).ok();
    }

    /// Closes the log file: a removed file frees its room when no reader holds it.
    pub(crate) fn release_file(&self) {
        self.dir.release(self.id);
    }

    /// Records that the files of a replacement have the live names now. Its indexes are read from
    /// there from now on, where they take no memory of their own.
    pub(crate) fn mark_renamed(&self) {
        self.staged.store(false, Ordering::Release);
        *self.indexes.lock() = None;
        *self.aborted.lock() = None;
    }
}

/// Removes the files of a retired segment.
impl Drop for Segment {
    fn drop(&mut self) {
        self.release_file();
        let Some(&Retired::Dropped(stage)) = self.retired.get() else { return };
        self.dir.discard_all(self.id, self.base, stage);
    }
}
