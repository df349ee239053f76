//! The batches of threads that found the writer lock taken.

use crate::error::Result;
use crate::log::state::appended::Appended;
use crate::record::BatchHeader;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;
use std::sync::Arc;

/// The queue of batches that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The number of queued batches. A hint for lock holders.
    pub(crate) len: AtomicUsize,
    /// Leaf lock, held to copy one batch in or to take all out.
    waiting: Mutex<Group>,
}

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn hand_over(&self, batch: &[u8], header: &BatchHeader) -> Arc<Ticket> {
        let ticket = TICKET.take().unwrap_or_default();
        ticket.served.store(false, Ordering::Relaxed);
        let handed = Handed { header: *header, ticket: Arc::clone(&ticket) };
        let mut waiting = self.waiting.lock();
        waiting.bytes.extend_from_slice(batch);
        waiting.batches.push(handed);
        self.len.store(waiting.batches.len(), Ordering::Relaxed);
        ticket
    }

    /// Takes the whole queue, in exchange for an empty group.
    pub(crate) fn take(&self, empty: Group) -> Group {
        let mut waiting = self.waiting.lock();
        self.len.store(0, Ordering::Relaxed);
        std::mem::replace(&mut *waiting, empty)
    }
}

/// Batches one after the other, with the threads they belong to.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) bytes: Vec<u8>,
    pub(crate) batches: Vec<Handed>,
}

#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) header: BatchHeader,
    pub(crate) ticket: Arc<Ticket>,
}

/// An append that was made, and whether a flush is due after it.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) appended: Appended,
    pub(crate) flush: bool,
}

/// The result of a queued batch, for the thread that waits for it.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    /// Set after the outcome, with the writer lock held.
    pub(crate) served: AtomicBool,
    /// Leaf lock. Still `None` when its owner gets the writer lock, if no leader has written the
    /// batch.
    pub(crate) outcome: Mutex<Option<Result<Placed>>>,
}

crate::sync::thread_local! {
    /// Taken while in use, like all that is kept from one append to the next.
    static TICKET: Cell<Option<Arc<Ticket>>> = const { Cell::new(None) };
}

impl Ticket {
    pub(crate) fn is_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    pub(crate) fn take_outcome(self: Arc<Self>) -> Option<Result<Placed>> {
        let outcome = self.outcome.lock().take();
        TICKET.set(Some(self));
        outcome
    }

    /// From here on its owner may use it for the next batch.
    pub(crate) fn serve(&self, outcome: Result<Placed>) {
        *self.outcome.lock() = Some(outcome);
        self.served.store(true, Ordering::Release);
    }
}
