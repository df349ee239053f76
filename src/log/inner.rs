//! The state that all handles of a log share, and the protocol by which it changes.
//!
//! Lock order: `cleaner`, then `change`, then `writer`, then `sync`, then `view`. The signal is
//! raised, and events are delivered, with none of them held.

use crate::clock::Clock;
use crate::error::{CloseReason, Error, LogLocation, Result};
use crate::event::Event;
use crate::log::config::LogConfig;
use crate::log::dynamic_config::Live;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::lock::Ownership;
use crate::log::open::directory::PartitionOf;
use crate::log::recovery::Recovery;
use crate::log::state::append_queue::Queue;
use crate::log::state::cleaning::CleaningState;
use crate::log::state::deferred_close::Disposal;
use crate::log::state::follower::Follower;
use crate::log::state::segment_list::View;
use crate::log::state::sync::SyncState;
use crate::log::state::writer::Writer;
use crate::notify::Notify;
use crate::segment::SegmentDir;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use crate::sync::{Condvar, Mutex, RwLock};
use crate::types::Offset;
use std::fmt;
use std::sync::Arc;

const OPEN: u8 = 0;

const POISONED: u8 = 1;

const CLOSED: u8 = 2;

const BY_HANDLE: u8 = 0;

const WITH_STORE: u8 = 1;

const TOPIC_DELETED: u8 = 2;

const REOPENED: u8 = 3;

pub(crate) struct Shared {
    pub(crate) dir: Arc<SegmentDir>,
    /// The location that errors name.
    location: LogLocation,
    partition: Option<PartitionOf>,
    /// The options at the opening. Options that can be altered are read from `live`.
    pub(crate) config: LogConfig,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) recovery: Recovery,
    /// The rules for appends, without the present time.
    pub(crate) live: Live,

    /// Open, then poisoned or closed: one way. See [`Shared::check_readable`].
    latch: AtomicU8,
    /// Why it is closed, or about to be: see [`Shared::close_reason`]. Set with `change` held,
    /// before the latch.
    closed_by: AtomicU8,
    /// Leaf lock. What poisoned the log; set before the latch.
    poison: Mutex<Option<Arc<str>>>,

    /// Leaf lock: held to clone or to store one pointer, never across I/O. `None` once the log is
    /// closed.
    view: RwLock<Option<Arc<View>>>,
    /// Counts the views. Bumped after each is stored.
    generation: AtomicU64,
    /// Counts the truncations and replacements of stored batches. Raised after the view without
    /// them is stored and before any file is touched: a reader that finds it unchanged after a
    /// read has read nothing that was being truncated, overwritten or replaced.
    revision: AtomicU64,

    /// The first offset of the log.
    pub(crate) start: AtomicU64,
    /// The offset after the last record. Stored with release ordering after the bytes,
    /// the index entry and `Segment::published`.
    pub(crate) end: AtomicU64,
    /// Everything below this offset is durable.
    pub(crate) durable: AtomicU64,
    /// Where the earliest open transaction begins, beyond all offsets if none is. Only what others
    /// have written can open one.
    pub(crate) first_unstable: AtomicU64,

    /// One pass of the cleaner at a time. Held for as long as that takes, and taken before
    /// `change`. What the pass before replaced may still be being closed.
    pub(crate) cleaner: Mutex<Disposal>,
    /// Leaf lock. How far the cleaner got, and whether it may go on.
    pub(crate) cleaning: Mutex<CleaningState>,
    /// One structural change at a time: truncating, replacing, closing.
    pub(crate) change: Mutex<()>,
    /// One append at a time. `None` when the log is read-only, and once it is closed.
    pub(crate) writer: Mutex<Option<Writer>>,
    /// The batches of threads that found the writer lock taken.
    pub(crate) queue: Queue,
    /// The segments with bytes that are not durable, and whether an fsync is running.
    pub(crate) sync: Mutex<SyncState>,
    /// Waits with `sync` for a running sync to end.
    pub(crate) synced: Condvar,
    /// Waits with `sync`, as the leader of a sync, for others to join.
    pub(crate) gathered: Condvar,
    /// The threads and tasks that wait for the end to move.
    pub(crate) signal: Notify,
    /// The state of the files of a read-only log that another process writes; `None` within once
    /// it is closed.
    pub(crate) follower: Option<Mutex<Option<Follower>>>,
    /// Whether a thread looks at the files of a read-only log for waiting tails.
    pub(crate) watched: AtomicBool,
    /// Counts the failed looks of that thread: each waiting tail then looks itself, and gets the
    /// error.
    pub(crate) failed_looks: AtomicU64,
    #[cfg(feature = "futures")]
    pub(crate) syncer: crate::log::state::syncer::Syncer,
    /// Leaf lock. Given up when the log is closed; when it is dropped, after all else.
    pub(crate) ownership: Mutex<Option<Ownership>>,
}

/// The parts of a new [`Shared`].
pub(crate) struct Parts {
    pub(crate) dir: Arc<SegmentDir>,
    /// Which partition it is, if a store opened it.
    pub(crate) partition: Option<PartitionOf>,
    pub(crate) config: LogConfig,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) recovery: Recovery,
    pub(crate) view: View,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) durable: Offset,
    pub(crate) cleaned: Option<Offset>,
    pub(crate) writer: Option<Writer>,
    pub(crate) sync: SyncState,
    pub(crate) follower: Option<Follower>,
    pub(crate) ownership: Option<Ownership>,
}

/// Short: readers, tails and all that is made of them show it.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.dir.path)
            .field("start", &self.start())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Shared {
        let first_unstable = match &parts.follower {
            Some(follower) => follower.first_unstable(),
            None => parts.writer.as_ref().and_then(|writer| writer.tracked.first_unstable()),
        };
        Shared {
            location: LogLocation::new(
                &parts.dir.path,
                parts.partition.as_ref().map(|of| (of.name.clone(), of.number)),
            ),
            partition: parts.partition,
            dir: parts.dir,
            live: Live::new(&parts.config),
            config: parts.config,
            checkpoints: parts.checkpoints,
            recovery: parts.recovery,
            latch: AtomicU8::new(OPEN),
            closed_by: AtomicU8::new(BY_HANDLE),
            poison: Mutex::new(None),
            view: RwLock::new(Some(Arc::new(parts.view))),
            generation: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            start: AtomicU64::new(parts.start),
            end: AtomicU64::new(parts.end),
            durable: AtomicU64::new(parts.durable),
            first_unstable: AtomicU64::new(first_unstable.unwrap_or(Offset::MAX)),
            cleaner: Mutex::default(),
            cleaning: Mutex::new(CleaningState::new(parts.cleaned)),
            change: Mutex::new(()),
            writer: Mutex::new(parts.writer),
            queue: Queue::default(),
            sync: Mutex::new(parts.sync),
            synced: Condvar::new(),
            gathered: Condvar::new(),
            signal: Notify::default(),
            follower: parts.follower.map(|follower| Mutex::new(Some(follower))),
            watched: AtomicBool::new(false),
            failed_looks: AtomicU64::new(0),
            #[cfg(feature = "futures")]
            syncer: crate::log::state::syncer::Syncer::default(),
            ownership: Mutex::new(parts.ownership),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.config.clock
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.dir.events.emit(event);
    }

    pub(crate) fn emit_all(&self, events: Vec<Event>) {
        self.dir.events.emit_all(&events);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.follower.is_some()
    }

    /// Reads go on after a failure of the disk; they end when the log is closed.
    pub(crate) fn check_readable(&self) -> Result<()> {
        if self.latch.load(Ordering::Acquire) == CLOSED { Err(self.closed()) } else { Ok(()) }
    }

    /// Whether the log takes changes: not read-only, not poisoned, not closed.
    #[inline(always)]
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.latch.load(Ordering::Acquire) == OPEN && !self.is_read_only() {
            return Ok(());
        }
        Err(self.why_not_writable())
    }

    #[cold]
    fn why_not_writable(&self) -> Error {
        if self.is_closed() {
            return self.closed();
        }
        if self.is_read_only() {
            return self.read_only();
        }
        let cause = self.poison.lock().clone().unwrap_or_else(|| "unknown".into());
        Error::Poisoned { log: self.location(), cause }
    }

    /// The error of a log that is closed, or whose closing has begun.
    #[cold]
    pub(crate) fn closed(&self) -> Error {
        Error::Closed { log: self.location(), reason: self.close_reason() }
    }

    #[cold]
    pub(crate) fn read_only(&self) -> Error {
        Error::ReadOnly { log: self.location() }
    }

    /// Whether it is the same partition of the same topic as another log, which was opened earlier
    /// or later.
    pub(crate) fn is_same_partition(&self, other: &Shared) -> bool {
        self.partition.is_some() && self.partition == other.partition
    }

    /// The id of the topic whose partition it is, if a store opened it.
    pub(crate) fn topic_id(&self) -> Option<[u8; 16]> {
        self.partition.as_ref().map(|of| of.topic)
    }

    pub(crate) fn location(&self) -> LogLocation {
        self.location.clone()
    }

    pub(crate) fn close_reason(&self) -> CloseReason {
        match self.closed_by.load(Ordering::Acquire) {
            WITH_STORE => CloseReason::WithStore,
            TOPIC_DELETED => CloseReason::TopicDeleted,
            REOPENED => CloseReason::Reopened,
            _ => CloseReason::ByHandle,
        }
    }

    /// Says why it is about to be closed, or why it does not come back: a log that was closed by a
    /// handle can be gone later.
    pub(crate) fn set_close_reason(&self, reason: CloseReason) {
        let reason = match reason {
            CloseReason::WithStore => WITH_STORE,
            CloseReason::TopicDeleted => TOPIC_DELETED,
            CloseReason::Reopened => REOPENED,
            CloseReason::ByHandle => BY_HANDLE,
        };
        self.closed_by.store(reason, Ordering::Release);
    }

    /// What a read says that failed: that the log was closed meanwhile, if it was, and with it the
    /// directory.
    pub(crate) fn unless_closed(&self, error: Error) -> Error {
        if self.is_closed() && matches!(error, Error::Io { .. }) { self.closed() } else { error }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.latch.load(Ordering::Acquire) == CLOSED
    }

    /// Refuses all changes from now on, for this reason. The first reason stays.
    pub(crate) fn poison(&self, cause: &Error) -> Event {
        let cause = cause.to_string();
        self.poison.lock().get_or_insert_with(|| cause.as_str().into());
        if self.latch.compare_exchange(OPEN, POISONED, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            // Already poisoned or closed: nothing goes back from there.
        }
        Event::Poisoned { cause }
    }

    /// Closes the log for all handles; false when it was closed before.
    pub(crate) fn latch_closed(&self) -> bool {
        self.latch.swap(CLOSED, Ordering::AcqRel) != CLOSED
    }

    /// Returns the present segments. A caller that keeps them keeps their files on disk, even the
    /// deleted ones, so use them for one look, and call this again for the next.
    pub(crate) fn view(&self) -> Result<Arc<View>> {
        self.view.read().clone().ok_or_else(|| self.closed())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the view by one made from it. `change` must do no I/O.
    pub(crate) fn update_view(&self, change: impl FnOnce(&View) -> View) {
        let old = {
            let mut view = self.view.write();
            let next = view.as_deref().map(|view| Arc::new(change(view)));
            std::mem::replace(&mut *view, next)
        };
        self.generation.fetch_add(1, Ordering::Release);
        drop(old);
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether anything was cut or replaced since [`revision`](Shared::revision) gave this number.
    pub(crate) fn revised_since(&self, revision: u64) -> bool {
        fence(Ordering::Acquire);
        self.revision.load(Ordering::Relaxed) != revision
    }

    /// Tells readers, after the new view is in place and before a file is touched.
    pub(crate) fn announce_revision(&self) {
        self.revision.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Lets go of all that a closed log has open or keeps in memory, whatever handles to it live
    /// on. A reader lets go of its segment when it is asked next.
    pub(crate) fn let_go(&self) {
        let view = self.view.write().take();
        let follower = self.follower.as_ref().and_then(|follower| follower.lock().take());
        let unsynced = std::mem::take(&mut self.sync.lock().segments);
        // With no lock held: what is closed here may be of a file system of the caller's.
        drop((view, follower, unsynced));
        self.checkpoints.let_go();
        self.dir.close();
    }

    pub(crate) fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    /// Returns the end once a running append has moved it.
    ///
    /// A batch is published just before the end is. A reader that has met a batch beyond the end
    /// calls this to tell that from damage.
    pub(crate) fn settled_end(&self) -> Offset {
        match &self.follower {
            Some(follower) => drop(follower.lock()),
            None => drop(self.writer.lock()),
        }
        self.end()
    }

    /// Below it, no record is part of an open transaction.
    pub(crate) fn last_stable(&self) -> Offset {
        let (start, end) = (self.start(), self.end());
        self.first_unstable.load(Ordering::Acquire).max(start).min(end)
    }

    pub(crate) fn set_first_unstable(&self, offset: Option<Offset>) {
        self.first_unstable.store(offset.unwrap_or(Offset::MAX), Ordering::Release);
    }

    pub(crate) fn durable(&self) -> Offset {
        self.durable.load(Ordering::Acquire)
    }

    #[cold]
    pub(crate) fn out_of_range(&self, requested: Offset) -> Error {
        self.outside(requested, self.start(), self.end())
    }

    /// The error of an offset that is not between these ends.
    #[cold]
    pub(crate) fn outside(&self, requested: Offset, start: Offset, end: Offset) -> Error {
        Error::OffsetOutOfRange { log: self.location(), requested, start, end }
    }

    /// Whether `offset` lies between the ends, both included: there may be nothing at the end yet.
    pub(crate) fn check_range(&self, offset: Offset) -> Result<()> {
        // Looked at once: an append meanwhile must not make the error contradict itself.
        let (start, end) = (self.start(), self.end());
        if offset < start || offset > end {
            return Err(self.outside(offset, start, end));
        }
        Ok(())
    }
}
