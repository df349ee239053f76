//! The segments of a log: the list in use, and how a reader notices that it has changed.

use crate::error::Result;
use crate::log::state::LogState;
use crate::log::state::segment_list::SegmentList;
use crate::sync::atomic::{Ordering, fence};
use std::sync::Arc;

impl LogState {
    /// Returns the present segments. A caller that keeps them keeps their files on disk, even the
    /// deleted ones, so use them for one look, and call this again for the next.
    pub(crate) fn segments(&self) -> Result<Arc<SegmentList>> {
        self.segments.read().clone().ok_or_else(|| self.closed())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the list by one made from it. `change` must do no I/O.
    pub(crate) fn update_segments(&self, change: impl FnOnce(&SegmentList) -> SegmentList) {
        let old = {
            let mut list = self.segments.write();
            let next = list.as_deref().map(|list| Arc::new(change(list)));
            std::mem::replace(&mut *list, next)
        };
        self.generation.fetch_add(1, Ordering::Release);
        drop(old);
    }

    /// Takes the list out of a closed log.
    pub(crate) fn take_segments(&self) -> Option<Arc<SegmentList>> {
        self.segments.write().take()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Returns whether anything was truncated or replaced since
    /// [`revision`](LogState::revision) returned this number.
    pub(crate) fn revised_since(&self, revision: u64) -> bool {
        fence(Ordering::Acquire);
        self.revision.load(Ordering::Relaxed) != revision
    }

    /// Tells readers about a truncation or a replacement, after the new list is in place and
    /// before a file is touched.
    pub(crate) fn announce_revision(&self) {
        self.revision.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}
