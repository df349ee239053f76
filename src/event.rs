//! Events of logs and stores, and their delivery to the listener.

use crate::callback;
use crate::error::{Corruption, CorruptionKind};
use crate::types::{Offset, TopicPartition};
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
///
/// If an `Fs` or a [`Clock`](crate::Clock) panics, the events that happened before are delivered
/// while the panic unwinds, and a panic of the listener is caught.
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
        /// The error: the call that failed, its file, and the cause.
        error: String,
    },
    /// A checkpoint could not be written. No record is lost, but after a crash, the next opening
    /// reads more.
    CheckpointFailed {
        /// The file.
        path: PathBuf,
        /// The error: the call that failed, its file, and the cause.
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
    /// A transaction was aborted, although its producer did not ask for that.
    TransactionAborted {
        /// The transactional id.
        id: String,
        /// The reason.
        reason: AbortReason,
    },
    /// A transaction that was decided earlier is complete now: all its partitions have their
    /// markers. The call that decided it has failed, or its process has ended.
    TransactionCompleted {
        /// The transactional id.
        id: String,
        /// Whether it was committed.
        committed: bool,
    },
    /// A partition of a transaction gets no marker, because its topic was deleted.
    MarkerSkipped {
        /// The transactional id.
        id: String,
        /// The partition.
        partition: TopicPartition,
    },
    /// A transaction is decided, but one of its partitions cannot get its marker at present, and
    /// holds readers of committed records back. The store retries.
    MarkerDelayed {
        /// The transactional id.
        id: String,
        /// The partition.
        partition: TopicPartition,
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

/// The reason for which a store has [aborted](Event::TransactionAborted) a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbortReason {
    /// It took longer than the timeout of its producer.
    TimedOut,
    /// Another producer has taken over the transactional id.
    Fenced,
    /// It was ongoing when its process ended.
    ProcessEnded,
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
/// Events are delivered with no lock held. Code that takes locks [holds](hold) the events of its
/// thread back before the first lock, and delivers them after the last one is released.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSink {
    listener: Option<Arc<dyn Listener>>,
}

/// An event that waits for its delivery. It knows its listener, because user-supplied code may use
/// another log while a log calls it.
#[derive(Debug)]
pub(crate) struct HeldEvent {
    listener: Arc<dyn Listener>,
    event: Event,
}

crate::sync::thread_local! {
    /// The events that this thread caused under a lock; `None` while it holds none back.
    ///
    /// It has no destructor, so it exists until the thread is gone: the destructor of another
    /// thread-local may use a log or a producer.
    static HELD_BACK: ManuallyDrop<RefCell<Option<Vec<HeldEvent>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

fn replace_held(events: Option<Vec<HeldEvent>>) -> Option<Vec<HeldEvent>> {
    HELD_BACK.with(|held_back| held_back.replace(events))
}

/// Returns whether this thread holds its events back.
pub(crate) fn are_held_back() -> bool {
    HELD_BACK.with(|held_back| held_back.borrow().is_some())
}

fn keep(event: HeldEvent) {
    HELD_BACK.with(|held_back| held_back.borrow_mut().get_or_insert_default().push(event));
}

/// Delivers an event, unless an outer guard holds events back.
fn deliver(held: HeldEvent) {
    if are_held_back() { keep(held) } else { held.listener.on_event(&held.event) }
}

/// Delivers events. If a listener panics, the others get their events all the same.
pub(crate) fn deliver_all(events: Vec<HeldEvent>) {
    struct Rest(std::vec::IntoIter<HeldEvent>);

    impl Drop for Rest {
        fn drop(&mut self) {
            for event in self.0.by_ref() {
                callback::call(|| deliver(event)).ok();
            }
        }
    }

    let mut rest = Rest(events.into_iter());
    rest.0.by_ref().for_each(deliver);
}

/// Holds the events of this thread back until the guard delivers them. Create it before the first
/// lock is taken: a listener may call the log, and may panic.
pub(crate) fn hold() -> HeldEvents {
    HeldEvents(Some(replace_held(Some(Vec::new()))))
}

/// Does work that takes and releases locks, and delivers its events afterwards.
pub(crate) fn deliver_after<T>(work: impl FnOnce() -> T) -> T {
    let held = hold();
    let done = work();
    held.deliver();
    done
}

impl EventSink {
    pub(crate) fn new(listener: Option<Arc<dyn Listener>>) -> EventSink {
        EventSink { listener }
    }

    /// Delivers an event, or keeps it if this thread [holds](hold) events back.
    pub(crate) fn emit(&self, event: &Event) {
        let Some(listener) = &self.listener else { return };
        if are_held_back() {
            keep(HeldEvent { listener: Arc::clone(listener), event: event.clone() });
        } else {
            listener.on_event(event);
        }
    }

    /// Holds the events of an append back, like [`hold`]. Without a listener, the append has no
    /// events, and pays nothing.
    #[inline(always)]
    pub(crate) fn hold_own(&self) -> HeldEvents {
        if self.listener.is_some() { hold() } else { HeldEvents(None) }
    }
}

/// Holds the events of this thread back. Contains the events that an outer guard has held so far;
/// `None` once they are restored.
///
/// If user-supplied code panics under the locks, dropping the guard delivers the events that
/// happened before, and no log finds them later. A panic of a listener is caught then.
#[must_use]
pub(crate) struct HeldEvents(Option<Option<Vec<HeldEvent>>>);

impl HeldEvents {
    /// Delivers the events. The locks are released.
    #[inline(always)]
    pub(crate) fn deliver(mut self) {
        let events = if self.0.is_some() { self.restore() } else { return };
        if !events.is_empty() {
            deliver_all(events);
        }
    }

    /// Returns the events, for another thread to [deliver](deliver_all).
    pub(crate) fn take(mut self) -> Vec<HeldEvent> {
        self.restore()
    }

    fn restore(&mut self) -> Vec<HeldEvent> {
        let held = self.0.take().and_then(replace_held);
        held.unwrap_or_default()
    }
}

impl Drop for HeldEvents {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            callback::call(|| deliver_all(self.restore())).ok();
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
        let emit = |end| events.emit(&event(end));
        let outer = hold();
        emit(1);
        let inner = hold();
        emit(2);
        let inner = inner.take();
        assert!(inner.iter().map(|held| &held.event).eq([&event(2)]));
        emit(3);
        let panics = std::panic::AssertUnwindSafe(|| {
            let _held = hold();
            emit(4);
            panic!("on purpose")
        });
        std::panic::catch_unwind(panics).unwrap_err();
        emit(5);
        assert!(heard.0.lock().is_empty());
        outer.deliver();
        emit(6);
        assert_eq!(*heard.0.lock(), [1, 3, 4, 5, 6].map(event));
    }
}
