//! Events of logs and stores, and their delivery to the listener.

use crate::error::{Corruption, CorruptionKind};
use crate::types::Offset;
use std::cell::RefCell;
use std::fmt::Debug;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An event of a log or a store: something that it did or found, and that no call returns.
///
/// [`Listener`] has an example.
///
/// Events are delivered on the thread that caused them, after the log and its store have released
/// their locks, so a [`Listener`] may call the log and the store. If a listener panics, the call
/// that caused the event unwinds after its work is done; in calls of a group, the panic is caught.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The directory of a log has a file with an unknown name, or the directory of a store has a
    /// directory that is not a partition, such as `lost+found`. The file or directory is left
    /// alone.
    UnknownFile {
        /// The file or directory.
        path: PathBuf,
    },
    /// A file left behind by an interrupted change was removed.
    StaleFileRemoved {
        /// The file.
        path: PathBuf,
    },
    /// A complete replacement that an interrupted compaction had left was put in place of its
    /// segments.
    SwapCompleted {
        /// The segment file that now has its final name.
        path: PathBuf,
    },
    /// A checkpoint could not be read, so the log was recovered as if the checkpoint did not
    /// exist. A damaged checkpoint of the log's start is an error instead.
    CheckpointIgnored {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: &'static str,
    },
    /// The torn end of the log, never acknowledged as durable, was truncated.
    TailTruncated {
        /// The file that was truncated.
        path: PathBuf,
        /// The present length of the file.
        position: u64,
        /// The number of bytes truncated, including those of removed segments after the
        /// file.
        bytes: u64,
        /// The present end of the log.
        end: Offset,
    },
    /// Damage was moved out of the log, because of
    /// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine).
    Quarantined(Quarantined),
    /// An index was missing or wrong, and was rebuilt from the log.
    IndexRebuilt {
        /// The index file.
        path: PathBuf,
        /// The problem.
        reason: &'static str,
    },
    /// A new segment was created.
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
        /// The duration of the fsync.
        took: Duration,
    },
    /// Records were removed from the end of the log.
    Truncated {
        /// The present end of the log.
        end: Offset,
    },
    /// The start of the log moved up: readers no longer see the deleted records, and segments
    /// wholly below it are removed from disk.
    LogStartMoved {
        /// The present start of the log.
        start: Offset,
        /// The number of segments removed from the log.
        segments: usize,
        /// The bytes of their batches.
        bytes: u64,
    },
    /// The log was compacted.
    Compacted(CompactionReport),
    /// The log cannot be compacted until it is reopened, because of a record or batch in it.
    /// Everything else still works.
    Uncleanable {
        /// The failure.
        cause: String,
    },
    /// A [`Maintainer`](crate::Maintainer) could not maintain the log. It retries in its next
    /// round.
    MaintenanceFailed {
        /// The message of the error.
        error: String,
    },
    /// A partition of a store could not be opened, and is [offline](crate::OfflinePartitions). All
    /// other partitions work.
    PartitionOffline {
        /// The directory of the partition.
        path: PathBuf,
        /// The message of the error.
        error: String,
    },
    /// A read found damage, or an opening with
    /// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine) covers offsets whose batches
    /// are missing.
    CorruptionFound(Corruption),
    /// A file that is no longer needed could not be removed or truncated. The next opening of the
    /// log retries.
    CleanupFailed {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: String,
    },
    /// A checkpoint could not be written. No record is lost, but after a crash, the next opening
    /// reads more.
    CheckpointFailed {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: String,
    },
    /// User-supplied code that a producer or consumer called has panicked. The panic was caught.
    CallbackPanicked {
        /// The topic of the record for which it was called.
        topic: String,
        /// The kind of callback.
        what: &'static str,
    },
    /// Records of a producer with [`Acks::None`](crate::Acks::None) could not be written.
    RecordsLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The number of records.
        records: u64,
        /// The message of the error.
        error: String,
    },
    /// The log stopped accepting writes. Close it and open it again; in a store, call
    /// [`reopen_partition`](crate::Store::reopen_partition).
    Poisoned {
        /// The failure that caused it.
        cause: String,
    },
}

/// Damage that was moved out of a log when it was opened with
/// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The file to which the bytes were moved. annals never reads it: you can inspect it, and
    /// delete it.
    pub path: PathBuf,
    /// The log file that the bytes were in.
    pub segment: PathBuf,
    /// The position in the log file at which the bytes began.
    pub position: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// The range of offsets that have lost their records. Some of them may never have had one.
    pub offsets: Range<Offset>,
    /// The kind of damage at the position.
    pub reason: CorruptionKind,
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompactionReport {
    /// The number of passes over the log. More than one if its keys do not all fit into
    /// [`dedupe_buffer_bytes`](crate::LogConfig::dedupe_buffer_bytes); 0 if there was nothing to
    /// do.
    pub passes: usize,
    /// The number of segments removed.
    pub segments_removed: usize,
    /// The number of bytes removed.
    pub bytes_removed: u64,
    /// The number of records kept, among those that the last pass covered.
    pub records_kept: u64,
    /// The number of records removed, including tombstones.
    pub records_removed: u64,
    /// The number of tombstones removed after their delete horizon.
    pub tombstones_removed: u64,
    /// The first offset that is not compacted: below it, each key is in the log once.
    pub first_dirty_offset: Offset,
}

/// Receives the events of a log or a store.
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
    /// Called for each event. The events of one thread arrive in their order.
    fn on_event(&self, event: &Event);
}

/// Delivers events to the [`Listener`].
///
/// Events are delivered with no lock held. Code that works under a lock wraps the work in
/// [`hold`](EventSink::hold), and delivers the events once the lock is released.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSink {
    listener: Option<Arc<dyn Listener>>,
}

crate::sync::thread_local! {
    /// The events that this thread caused under a lock; `None` while it holds none back.
    ///
    /// It has no destructor, so it exists until the thread is gone: the destructor of another
    /// thread-local may use a log or a producer.
    static HELD_BACK: ManuallyDrop<RefCell<Option<Vec<Event>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

fn replace_held(events: Option<Vec<Event>>) -> Option<Vec<Event>> {
    HELD_BACK.with(|held_back| held_back.replace(events))
}

impl EventSink {
    pub(crate) fn new(listener: Option<Arc<dyn Listener>>) -> EventSink {
        EventSink { listener }
    }

    /// Delivers an event, or keeps it if this thread is inside [`hold`](EventSink::hold).
    pub(crate) fn emit(&self, event: &Event) {
        let Some(listener) = &self.listener else { return };
        let is_held_back = HELD_BACK.with(|held_back| match &mut *held_back.borrow_mut() {
            Some(events) => {
                events.push(event.clone());
                true
            }
            None => false,
        });
        if !is_held_back {
            listener.on_event(event);
        }
    }

    pub(crate) fn emit_all(&self, events: &[Event]) {
        events.iter().for_each(|event| self.emit(event));
    }

    /// Does work under a lock, and returns its events. The caller delivers them after releasing
    /// the lock: a listener may call the log, and may panic.
    pub(crate) fn hold<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<Event>) {
        let held = HeldEvents(Some(replace_held(Some(Vec::new()))));
        let done = work();
        (done, held.release())
    }

    /// Holds events back until the guard is released, for work whose events all go to this sink:
    /// see [`hold`](EventSink::hold). Without a listener, there are no events to hold back, and an
    /// append pays nothing.
    #[inline(always)]
    pub(crate) fn hold_own(&self) -> HeldEvents {
        HeldEvents(self.listener.as_ref().map(|_| replace_held(Some(Vec::new()))))
    }

    /// Does work that takes and releases locks, and delivers its events afterwards.
    pub(crate) fn after<T>(&self, work: impl FnOnce() -> T) -> T {
        let (done, events) = self.hold(work);
        self.emit_all(&events);
        done
    }

    /// Returns whether this thread holds its events back.
    pub(crate) fn are_held_back() -> bool {
        HELD_BACK.with(|held_back| held_back.borrow().is_some())
    }
}

/// Holds the events of this thread back. It keeps the events that an outer guard has held so far,
/// and restores them also if the work panics; `None` once they are restored.
#[must_use]
pub(crate) struct HeldEvents(Option<Option<Vec<Event>>>);

impl HeldEvents {
    /// Returns the events, to be delivered without the lock.
    #[inline(always)]
    pub(crate) fn release(mut self) -> Vec<Event> {
        if self.0.is_none() { Vec::new() } else { self.restore() }
    }

    fn restore(&mut self) -> Vec<Event> {
        let held = self.0.take().and_then(replace_held);
        held.unwrap_or_default()
    }
}

impl Drop for HeldEvents {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.restore();
        }
    }
}

#[cfg(test)]
pub(crate) use tests::Heard;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    /// Keeps what it is told.
    #[derive(Debug, Default)]
    pub(crate) struct Heard(pub(crate) Mutex<Vec<Event>>);

    impl Listener for Heard {
        fn on_event(&self, event: &Event) {
            self.0.lock().push(event.clone());
        }
    }

    /// Work under a lock may do other work under a lock. Each gets its own events, and afterwards
    /// events are delivered at once again.
    #[test]
    fn events_are_held_back_under_nested_locks() {
        let heard = Arc::new(Heard::default());
        let events = EventSink::new(Some(heard.clone()));
        let event = |end| Event::Truncated { end };
        let ((), outer) = events.hold(|| {
            events.emit(&event(1));
            let ((), inner) = events.hold(|| events.emit(&event(2)));
            assert_eq!(inner, [event(2)]);
            events.emit(&event(3));
            let panics = std::panic::AssertUnwindSafe(|| events.hold(|| panic!("on purpose")));
            std::panic::catch_unwind(panics).unwrap_err();
            events.emit(&event(4));
        });
        assert_eq!(outer, [event(1), event(3), event(4)]);
        assert!(heard.0.lock().is_empty());
        events.emit_all(&outer);
        assert_eq!(*heard.0.lock(), outer);
    }
}
