//! The right to compact a log or to change its segments, and how far compaction got.

use crate::error::Result;
use crate::event::Event;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::state::deferred_close::DeferredClose;
use crate::sync::Mutex;
use crate::types::Offset;
use std::sync::Arc;

/// The part of a log that maintenance works with.
pub(crate) struct Cleaning {
    /// The right to run the one pass of the cleaner, held for the whole pass. The value closes the
    /// files that the previous replacement removed.
    pub(crate) cleaner: Mutex<DeferredClose>,
    /// One structural change at a time: truncating, replacing, deleting, closing.
    pub(crate) change: Mutex<()>,
    /// Leaf lock.
    pub(crate) progress: Mutex<CleaningProgress>,
}

/// How far the cleaner of a log got, and whether it may go on.
#[derive(Debug)]
pub(crate) struct CleaningProgress {
    /// Everything below was compacted. The cleaner checkpoint has the same offset.
    pub(crate) cleaned: Option<Offset>,
    /// The reason why the log is not compacted any more, until it is opened again.
    pub(crate) uncleanable: Option<Arc<str>>,
    /// The number of callers that want maintenance to pause.
    pub(crate) pauses: usize,
}

impl Cleaning {
    pub(crate) fn new(cleaned: Option<Offset>) -> Cleaning {
        let progress = CleaningProgress { cleaned, uncleanable: None, pauses: 0 };
        let (cleaner, change) = (Mutex::default(), Mutex::default());
        Cleaning { cleaner, change, progress: Mutex::new(progress) }
    }

    /// Returns whether maintenance must leave the log alone.
    pub(crate) fn is_paused(&self) -> bool {
        self.progress.lock().pauses > 0
    }

    /// Pauses maintenance until [`resume`](Cleaning::resume), and waits for a running pass or
    /// deletion to end.
    pub(crate) fn pause(&self) {
        let mut progress = self.progress.lock();
        progress.pauses = progress.pauses.saturating_add(1);
        drop(progress);
        drop(self.cleaner.lock());
        drop(self.change.lock());
    }

    pub(crate) fn resume(&self) {
        let mut progress = self.progress.lock();
        progress.pauses = progress.pauses.saturating_sub(1);
    }

    /// Stores that everything below an offset is compacted.
    pub(crate) fn set_cleaned(&self, checkpoints: &Checkpoints, cleaned: Offset) -> Result<()> {
        checkpoints.set(Checkpoint::Cleaned, cleaned)?;
        self.progress.lock().cleaned = Some(cleaned);
        Ok(())
    }

    /// Lowers the cleaner checkpoint before the log is truncated to `end`, because records that
    /// are appended there later were not compacted.
    pub(crate) fn lower_cleaned(&self, checkpoints: &Checkpoints, end: Offset) -> Result<()> {
        if self.progress.lock().cleaned.is_none_or(|cleaned| cleaned <= end) {
            return Ok(());
        }
        self.set_cleaned(checkpoints, end)
    }

    /// Keeps the log from being compacted until it is opened again, and returns the event that
    /// says so.
    pub(crate) fn set_uncleanable(&self, cause: &str) -> Event {
        self.progress.lock().uncleanable = Some(cause.into());
        Event::Uncleanable { cause: cause.to_owned() }
    }
}
