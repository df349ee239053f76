//! An open log: its parts, and the order of their locks.

use crate::clock::Clock;
use crate::error::{Error, LogLocation};
use crate::event::{self, Event};
use crate::log::config::LogConfig;
use crate::log::dynamic_config::{DynamicConfig, FixedConfig};
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::epochs::EpochFile;
use crate::log::files::high_watermark::StoredHighWatermark;
use crate::log::files::lock::Ownership;
use crate::log::recovery::Recovery;
use crate::log::state::cleaning::Cleaning;
use crate::log::state::follower::{Follow, Follower};
use crate::log::state::partition::PartitionOf;
use crate::log::state::segment_list::SegmentList;
use crate::log::state::sync::{Flushes, SyncState};
use crate::log::state::writer::{Appends, Writer};
use crate::log::state::{KnownOffsets, LogState};
use crate::segment::SegmentDir;
use crate::sync::Mutex;
use crate::types::Offset;
use std::fmt;
use std::io;
use std::sync::Arc;

/// An open log, shared by all its handles, readers and threads.
///
/// Each part has a file in [`state`](crate::log::state) with the methods that touch it alone. A
/// method that needs two parts is a method of `LogInner`, in the module of what it does.
///
/// Lock order: `cleaning.cleaner`, `cleaning.change`, `appends.writer`, `flushes.sync`, and then
/// `epochs` and `stored_high_watermark`, whose files are replaced under their locks, and the list
/// of segments in `state`. All other locks are leaf locks: they are held for a moment, and never
/// across I/O unless the field says so. Waiters are woken, and events delivered, with no lock
/// held.
pub(crate) struct LogInner {
    pub(crate) dir: Arc<SegmentDir>,
    pub(crate) config: FixedConfig,
    pub(crate) dynamic: DynamicConfig,
    pub(crate) recovery: Recovery,
    pub(crate) state: LogState,
    pub(crate) appends: Appends,
    pub(crate) flushes: Flushes,
    pub(crate) cleaning: Cleaning,
    pub(crate) epochs: EpochFile,
    pub(crate) stored_high_watermark: StoredHighWatermark,
    /// The files of a read-only log, which another process writes.
    pub(crate) follower: Option<Follow>,
    /// The locks of the directory, until the log is closed. A leaf lock, and the last field,
    /// because a drop must release the directory after all files.
    pub(crate) ownership: Mutex<Option<Ownership>>,
}

/// Is dropped only if the work that it guards panics.
struct Unwound<'a> {
    log: &'a LogInner,
    operation: &'static str,
}

impl Drop for Unwound<'_> {
    #[cold]
    fn drop(&mut self) {
        if self.log.state.check_writable().is_err() {
            return;
        }
        // A second panic, of a listener, would abort the process. Dropped, the guard catches it.
        let _held = event::hold();
        let source = io::Error::other("user-supplied code, such as the `Fs`, panicked");
        self.log.poison(&Error::io(self.operation, &self.log.dir.path, source));
    }
}

/// The parts of a new [`LogInner`].
pub(crate) struct LogParts {
    pub(crate) dir: Arc<SegmentDir>,
    /// The partition that the log is, if a store opened it.
    pub(crate) partition: Option<PartitionOf>,
    pub(crate) config: LogConfig,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) recovery: Recovery,
    pub(crate) segments: SegmentList,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) durable: Offset,
    /// `None` for a log that is the only copy.
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) cleaned: Option<Offset>,
    pub(crate) epochs: EpochFile,
    pub(crate) writer: Option<Writer>,
    pub(crate) sync: SyncState,
    pub(crate) follower: Option<Follower>,
    pub(crate) ownership: Option<Ownership>,
}

/// Short, because the `Debug` output of readers and tails contains it.
impl fmt::Debug for LogInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.dir.path)
            .field("start", &self.state.start())
            .field("end", &self.state.end())
            .finish_non_exhaustive()
    }
}

impl LogInner {
    pub(crate) fn new(parts: LogParts) -> LogInner {
        let LogParts { start, end, durable, high_watermark, partition, .. } = parts;
        let first_unstable = match &parts.follower {
            Some(follower) => follower.first_unstable(),
            None => parts.writer.as_ref().and_then(|writer| writer.tracked.first_unstable()),
        };
        let location = LogLocation::new(
            &parts.dir.path,
            partition.as_ref().map(|of| (of.name.clone(), of.number)),
        );
        let offsets = KnownOffsets { start, end, durable, high_watermark, first_unstable };
        let read_only = parts.follower.is_some();
        LogInner {
            state: LogState::new(location, partition, read_only, parts.segments, offsets),
            dir: parts.dir,
            config: FixedConfig::new(&parts.config),
            dynamic: DynamicConfig::new(&parts.config),
            recovery: parts.recovery,
            appends: Appends::new(parts.writer),
            flushes: Flushes::new(parts.sync, parts.checkpoints),
            cleaning: Cleaning::new(parts.cleaned),
            epochs: parts.epochs,
            stored_high_watermark: StoredHighWatermark::default(),
            follower: parts.follower.map(Follow::new),
            ownership: Mutex::new(parts.ownership),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.config.clock
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.dir.events.emit(event);
    }

    /// Rejects all changes from now on, for this reason, and reports that. The first reason stays.
    pub(crate) fn poison(&self, cause: &Error) {
        let event = self.state.poison(cause);
        self.emit(&event);
    }

    /// Does work that must not be left half done. If user-supplied code panics in it, most likely
    /// the file system, this poisons the log, as an error would; the panic goes on. Costs nothing
    /// otherwise.
    #[inline(always)]
    pub(crate) fn poison_on_unwind<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> T,
    ) -> T {
        let unwound = Unwound { log: self, operation };
        let done = work();
        std::mem::forget(unwound);
        done
    }

    /// Returns the end once a running append has moved it.
    ///
    /// A batch is published just before the end is. A reader that finds a batch beyond the end
    /// calls this to tell that from damage, and `verify` calls it to know the end of what it
    /// reads. A read that finds no batch calls it to wait for a truncation. Nothing else that
    /// reads waits for the writer.
    pub(crate) fn end_after_current_append(&self) -> Offset {
        match &self.follower {
            Some(follower) => drop(follower.files.lock()),
            None => drop(self.appends.writer.lock()),
        }
        self.state.end()
    }

    /// Releases all files and memory of a closed log, however many handles to it live on. A reader
    /// releases its segment at its next call.
    pub(crate) fn release_files(&self) {
        let segments = self.state.take_segments();
        let follower = self.follower.as_ref().and_then(|follower| follower.files.lock().take());
        let unsynced = std::mem::take(&mut self.flushes.sync.lock().segments);
        // With no lock held, because the files may be of a user-supplied file system.
        drop((segments, follower, unsynced));
        self.flushes.checkpoints.close();
        self.dir.close();
    }
}
