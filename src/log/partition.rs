//! Waiting for many logs at once: each wakes the same task.

use crate::log::Log;
use std::task::Waker;

impl Log {
    /// An identity for a task that waits for this log and others.
    pub(crate) fn waker_id(&self) -> u64 {
        self.shared.signal.new_id()
    }

    /// Wakes the task once, when the end moves or the log is closed. The caller looks at the log
    /// again after this.
    pub(crate) fn wake_on_change(&self, id: u64, waker: &Waker) {
        self.shared.signal.register(id, waker);
    }

    /// Returns whether the log is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Forgets the task.
    pub(crate) fn forget_waker(&self, id: u64) {
        self.shared.signal.unregister(id);
    }
}
