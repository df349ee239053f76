//! The batches of threads that found the writer lock taken, and their results.

use crate::error::Result;
use crate::log::state::appended::Appended;
use crate::record::BatchHeader;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;
use std::sync::Arc;

/// The queue of batches that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct AppendQueue {
    /// The number of queued batches. A hint for lock holders.
    len: AtomicUsize,
    /// Leaf lock, held to copy one batch in or to take all out.
    waiting: Mutex<QueuedBatches>,
}

/// Batches back to back, with the threads they belong to.
#[derive(Debug, Default)]
pub(crate) struct QueuedBatches {
    pub(crate) bytes: Vec<u8>,
    pub(crate) batches: Vec<QueuedBatch>,
}

#[derive(Debug)]
pub(crate) struct QueuedBatch {
    pub(crate) header: BatchHeader,
    pub(crate) pending: Arc<PendingAppend>,
}

/// The result of an append, and whether a flush is due after it.
#[derive(Debug)]
pub(crate) struct AppendOutcome {
    pub(crate) appended: Appended,
    pub(crate) flush: bool,
}

/// The result of a queued batch, for the thread that waits for it.
#[derive(Debug, Default)]
pub(crate) struct PendingAppend {
    /// Set after the outcome, with the writer lock held.
    done: AtomicBool,
    /// Leaf lock. Still `None` when its owner gets the writer lock, if no leader has written the
    /// batch.
    outcome: Mutex<Option<Result<AppendOutcome>>>,
}

crate::sync::thread_local! {
    /// The slot for the result of this thread's queued batch, kept for the next one. Taken while
    /// in use.
    static PENDING: Cell<Option<Arc<PendingAppend>>> = const { Cell::new(None) };
}

impl PendingAppend {
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Stores the result. From here on the owner may use the value for its next batch.
    pub(crate) fn complete(&self, outcome: Result<AppendOutcome>) {
        *self.outcome.lock() = Some(outcome);
        self.done.store(true, Ordering::Release);
    }

    /// Takes the result, and keeps the value for the thread's next batch.
    pub(crate) fn take_outcome(self: Arc<Self>) -> Option<Result<AppendOutcome>> {
        let outcome = self.outcome.lock().take();
        PENDING.try_with(|kept| kept.set(Some(self))).ok();
        outcome
    }
}

impl AppendQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Queues a copy of a batch.
    pub(crate) fn push(&self, batch: &[u8], header: &BatchHeader) -> Arc<PendingAppend> {
        let pending = PENDING.try_with(Cell::take).ok().flatten().unwrap_or_default();
        pending.done.store(false, Ordering::Relaxed);
        let queued = QueuedBatch { header: *header, pending: Arc::clone(&pending) };
        let mut waiting = self.waiting.lock();
        waiting.bytes.extend_from_slice(batch);
        waiting.batches.push(queued);
        self.len.store(waiting.batches.len(), Ordering::Relaxed);
        pending
    }

    /// Takes the whole queue, in exchange for an empty one.
    pub(crate) fn take(&self, empty: QueuedBatches) -> QueuedBatches {
        let mut waiting = self.waiting.lock();
        self.len.store(0, Ordering::Relaxed);
        std::mem::replace(&mut *waiting, empty)
    }
}
