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
        self.replace_list(change, || {});
    }

    /// Replaces the list by one without some of the stored batches, and tells readers, before a
    /// file is touched. `lower` moves the offsets that change with it; it must do no I/O, either.
    ///
    /// The revision rises before the lock is released: a reader that gets the new list sees the
    /// new revision. Otherwise it could look up in the new list whether a batch of the old one was
    /// aborted.
    pub(crate) fn revise_segments(
        &self,
        change: impl FnOnce(&SegmentList) -> SegmentList,
        lower: impl FnOnce(),
    ) {
        self.replace_list(change, || {
            lower();
            self.revision.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        });
    }

    fn replace_list(
        &self,
        change: impl FnOnce(&SegmentList) -> SegmentList,
        publish: impl FnOnce(),
    ) {
        let old = {
            let mut list = self.segments.write();
            let next = list.as_deref().map(|list| Arc::new(change(list)));
            let old = std::mem::replace(&mut *list, next);
            publish();
            old
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
}
