//! The limit of the bytes that wait to be written.

use crate::notify::Notify;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The number of bytes that wait to be written, and its limit.
#[derive(Debug)]
pub(super) struct Buffer {
    limit: u64,
    used: AtomicU64,
    /// Notified when bytes are released.
    freed: Notify,
}

impl Buffer {
    pub(super) fn new(limit: u64) -> Buffer {
        Buffer { limit, used: AtomicU64::new(0), freed: Notify::default() }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn freed(&self) -> &Notify {
        &self.freed
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Acquire).saturating_add(bytes) <= self.limit
    }

    /// Reserves bytes; returns false if there is no room for them.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    pub(super) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        self.freed.notify();
    }
}
