//! Whether a log is open: the latch, and the errors of a log that is not.

use crate::error::{CloseReason, Error, LogLocation, Result};
use crate::event::Event;
use crate::log::state::LogState;
use crate::sync::atomic::Ordering;

/// The values of the latch. A new one is open.
const OPEN: u8 = 0;
const POISONED: u8 = 1;
const CLOSED: u8 = 2;

const BY_HANDLE: u8 = 0;
const WITH_STORE: u8 = 1;
const TOPIC_DELETED: u8 = 2;
const REOPENED: u8 = 3;

impl LogState {
    /// Fails once the log is closed. Reads go on after a failure of the disk.
    pub(crate) fn check_readable(&self) -> Result<()> {
        if self.latch.load(Ordering::Acquire) == CLOSED { Err(self.closed()) } else { Ok(()) }
    }

    /// Fails for a log that takes no changes: read-only, poisoned or closed.
    #[inline(always)]
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.latch.load(Ordering::Acquire) == OPEN && !self.read_only {
            return Ok(());
        }
        Err(self.why_not_writable())
    }

    #[cold]
    fn why_not_writable(&self) -> Error {
        if self.is_closed() {
            return self.closed();
        }
        if self.read_only {
            return self.read_only();
        }
        let cause = self.poison.lock().clone().unwrap_or_else(|| "unknown".into());
        Error::Poisoned { log: self.location(), cause }
    }

    /// Returns the error of a log that is closed, or whose closing has begun.
    #[cold]
    pub(crate) fn closed(&self) -> Error {
        Error::Closed { log: self.location(), reason: self.close_reason() }
    }

    #[cold]
    pub(crate) fn read_only(&self) -> Error {
        Error::ReadOnly { log: self.location() }
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns whether this is the same partition of the same topic as another log, which was
    /// opened earlier or later.
    pub(crate) fn is_same_partition(&self, other: &LogState) -> bool {
        self.partition.is_some() && self.partition == other.partition
    }

    /// Returns the id of the topic whose partition this is, if a store opened the log.
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

    /// Stores why the log is about to be closed. The reason can change after the close: the topic
    /// of a log that was closed by a handle may be deleted later.
    pub(crate) fn set_close_reason(&self, reason: CloseReason) {
        let reason = match reason {
            CloseReason::WithStore => WITH_STORE,
            CloseReason::TopicDeleted => TOPIC_DELETED,
            CloseReason::Reopened => REOPENED,
            CloseReason::ByHandle => BY_HANDLE,
        };
        self.closed_by.store(reason, Ordering::Release);
    }

    /// Returns the error of a read that failed. If the log was closed meanwhile, and with it the
    /// directory, that is the reason.
    pub(crate) fn unless_closed(&self, error: Error) -> Error {
        if self.is_closed() && matches!(error, Error::Io { .. }) { self.closed() } else { error }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.latch.load(Ordering::Acquire) == CLOSED
    }

    /// Rejects all changes from now on, for this reason. The first reason stays.
    pub(crate) fn poison(&self, cause: &Error) -> Event {
        let cause = cause.cause();
        self.poison.lock().get_or_insert_with(|| cause.as_str().into());
        // A log that is poisoned or closed already stays so.
        self.latch.compare_exchange(OPEN, POISONED, Ordering::AcqRel, Ordering::Acquire).ok();
        Event::Poisoned { cause }
    }

    /// Closes the log for all handles. Returns false if it was closed before.
    pub(crate) fn latch_closed(&self) -> bool {
        self.latch.swap(CLOSED, Ordering::AcqRel) != CLOSED
    }
}
