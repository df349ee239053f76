//! Where the log begins, and what is removed from its front.
//!
//! The start offset moves at once, to any offset. The segments that lie wholly below it
//! leave the log with that, and their files go when the last reader lets go of them. The new
//! start is on the medium before any file goes: should a crash leave some of
//! them, with holes between, the next opening knows that they are to go, and removes them.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::log::checkpoints::Checkpoint;
use crate::log::shared::Shared;
use crate::log::view::View;
use crate::sync::atomic::Ordering;
use crate::types::Offset;
use std::sync::Arc;

/// What went from the front of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Removed {
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
}

impl Shared {
    /// Moves the start of the log to an offset between its ends, and returns where it is then.
    pub(crate) fn delete_before(&self, target: Offset) -> Result<Offset> {
        if !self.live.config().cleanup_policy.deletes() {
            return Err(Error::InvalidConfig {
                option: "cleanup_policy",
                reason: "a log that is only compacted has no records to delete by offset: append a tombstone for each \
                    key, or open it with CompactAndDelete"
                    .to_owned(),
            });
        }
        self.change_front(|| self.remove_front(target))?;
        Ok(self.start())
    }

    /// Does what removes something from the front, from the look at what is to go on: no truncation comes between, after
    /// which the same offsets could be those of other records.
    pub(crate) fn change_front(&self, change: impl FnOnce() -> Result<Removed>) -> Result<Removed> {
        let (removed, events) = {
            let _change = self.change.lock();
            self.check_writable()?;
            self.dir.events.hold(change)
        };
        self.emit_all(events);
        removed
    }

    /// Moves the start of the log up to `target` and lets go of what lies below. The change lock is held.
    pub(crate) fn remove_front(&self, target: Offset) -> Result<Removed> {
        let start = self.start().max(target);
        self.check_range(start)?;
        // A log that ended below its start would give out again what was deleted.
        self.sync_below(start)?;
        let view = self.view();
        let count = view.find(start);
        if start == self.start() && count == 0 {
            return Ok(Removed::default());
        }
        // Also where it stays: what goes now is to stay away after a crash.
        self.checkpoints.set(Checkpoint::Start, start)?;
        self.start.store(start, Ordering::Release);
        let front = view.segments.get(..count).unwrap_or_default();
        self.sync.lock().segments.retain(|s| !front.iter().any(|gone| Arc::ptr_eq(gone, s)));
        self.update_view(|view| View {
            segments: view.segments.get(count..).unwrap_or_default().to_vec(),
        });
        let mut removed = Removed::default();
        for segment in front {
            removed.segments = removed.segments.saturating_add(1);
            removed.bytes = removed.bytes.saturating_add(segment.published());
            segment.retire_in_place();
        }
        self.emit(&Event::StartMoved { start, segments: removed.segments, bytes: removed.bytes });
        Ok(removed)
    }

    /// Why something at `offset` was not found or could not be read: if it was deleted meanwhile, that.
    pub(crate) fn unless_deleted(&self, offset: Offset, error: Error) -> Error {
        if offset < self.start() { self.out_of_range(offset) } else { error }
    }
}
