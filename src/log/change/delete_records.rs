//! Deleting records from the start of the log.
//!
//! The start offset moves at once, to any offset. The segments wholly below it leave the log at
//! that moment. Their files are removed with it, except for segments that a reader is in: those
//! files are removed when the reader goes on. The new start is durable before any file is removed:
//! if a crash leaves some files, with holes between them, the next opening knows that they are
//! deleted, and removes them. If a full disk has no room for the new start, the files are removed
//! one by one from the start of the log. Then the first remaining segment tells where the log
//! starts. Before that, the recovery point is changed so that it no longer confirms the stored
//! start, and no opening takes the removed segments for lost ones.

use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::flush::was_not_opened;
use crate::log::inner::LogInner;
use crate::log::state::segment_list::SegmentList;
use crate::segment::Segment;
use crate::segment::name::Kind;
use crate::types::{IsolationLevel, Offset};
use std::sync::Arc;

/// The segments that were deleted from the start of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Removed {
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
}

impl Removed {
    fn and(self, more: Removed) -> Removed {
        Removed {
            segments: self.segments.saturating_add(more.segments),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }
}

impl LogInner {
    /// Moves the start of the log to an offset between its ends, and returns where it is then.
    pub(crate) fn delete_before(&self, target: Offset) -> Result<Offset> {
        if !self.dynamic.current().cleanup_policy.deletes() {
            let reason = format!(
                "of log {} is `Compact`, so `delete_before` is rejected; append a tombstone for \
                 each key, or choose `CompactAndDelete`",
                self.state.location()
            );
            return Err(Error::InvalidConfig { option: "cleanup_policy", reason });
        }
        self.change_front(|| self.remove_front(target))?;
        Ok(self.state.start())
    }

    /// Runs a change that removes records from the start, with the change lock held. The change
    /// also chooses what to remove: after a truncation in between, the same offsets could belong
    /// to other records.
    pub(crate) fn change_front(&self, change: impl FnOnce() -> Result<Removed>) -> Result<Removed> {
        event::deliver_after(|| {
            let removed = {
                let _change = self.cleaning.change.lock();
                self.state.check_writable()?;
                let removed = change();
                self.epochs.truncate_from_start(self.state.start());
                removed
            };
            self.state.waiters.notify();
            self.dir.fill_reserve();
            removed
        })
    }

    /// Moves the start of the log up to `target` and removes the segments below. The caller holds
    /// the change lock.
    pub(crate) fn remove_front(&self, target: Offset) -> Result<Removed> {
        let start = self.state.start().max(target);
        self.check_front(start)?;
        // A log that ended below its start would assign deleted offsets again.
        self.sync_below(start)?;
        let list = self.state.segments()?;
        let count = list.find(start);
        if start == self.state.start() && count == 0 {
            return Ok(Removed::default());
        }
        let front = list.segments.get(..count).unwrap_or_default();
        self.poison_on_unwind("delete records of", || self.remove_segments(front, start))
    }

    /// Removes the first segments, whose records lie below the new start.
    fn remove_segments(&self, front: &[Arc<Segment>], start: Offset) -> Result<Removed> {
        // Store it even if it does not move: the segments that are removed now must stay removed
        // after a crash.
        match self.flushes.checkpoints.set(Checkpoint::Start, start) {
            Err(full) if full.kind() == ErrorKind::StorageFull => {
                return self.remove_one_by_one(front, start, full);
            }
            stored => stored?,
        }
        Ok(self.drop_front(front, start))
    }

    /// Fails for a start above the high watermark: the replicas may lack the records below it.
    fn check_front(&self, start: Offset) -> Result<()> {
        self.state.check_range(start)?;
        let high_watermark = self.state.high_watermark();
        if start > high_watermark {
            let (level, first) = (IsolationLevel::HighWatermark, self.state.start());
            return Err(self.state.outside_of(level, start, first, high_watermark));
        }
        Ok(())
    }

    /// Removes the first segments when there is no room to store the new start. The files are
    /// removed one by one from the start of the log, each durably, so that a crash leaves no hole,
    /// until there is room. Meanwhile the recovery point does not confirm the start, or the next
    /// opening would take the removed segments for lost.
    fn remove_one_by_one(
        &self,
        front: &[Arc<Segment>],
        start: Offset,
        full: Error,
    ) -> Result<Removed> {
        let mut point = None;
        let mut stored = Err(full);
        let mut removed = Removed::default();
        for (number, segment) in (1..).zip(front) {
            let next =
                self.state.segments()?.segments.get(1).map_or(start, |next| next.base).min(start);
            // A flush in between stores this before its recovery point.
            self.flushes.checkpoints.note(Checkpoint::Start, next)?;
            if number == 1 {
                point = self.flushes.checkpoints.doubt_point()?;
            }
            let path = segment.path(Kind::Log);
            self.dir.fs.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
            // The segment is gone, so the list must change, whatever fails next.
            removed = removed.and(self.drop_front(std::slice::from_ref(segment), next));
            segment.release_file();
            self.dir.sync().inspect_err(|error| {
                if !was_not_opened(error) {
                    self.poison(error);
                }
            })?;
            stored = self.flushes.checkpoints.set(Checkpoint::Start, start);
            if stored.is_ok() {
                let rest = front.get(number..).unwrap_or_default();
                removed = removed.and(self.drop_front(rest, start));
                self.restore_point(point)?;
                break;
            }
        }
        match stored {
            // The start is not stored, but the first remaining segment says where the log starts.
            Err(_) if self.state.start() == start => Ok(removed),
            stored => stored.map(|()| removed),
        }
    }

    /// Stores a recovery point that was taken back, unless a higher one was stored meanwhile.
    fn restore_point(&self, point: Option<Offset>) -> Result<()> {
        let _syncs = self.flushes.pause_syncs();
        match self.flushes.checkpoints.get(Checkpoint::RecoveryPoint)?.max(point) {
            Some(point) => self.advance_recovery_point(point),
            None => Ok(()),
        }
    }

    /// Moves the start of the log to `start`, and drops these first segments.
    fn drop_front(&self, front: &[Arc<Segment>], start: Offset) -> Removed {
        self.state.raise_start(start);
        self.flushes
            .sync
            .lock()
            .segments
            .retain(|s| !front.iter().any(|gone| Arc::ptr_eq(gone, s)));
        self.state.update_segments(|list| SegmentList {
            segments: list.segments.get(front.len()..).unwrap_or_default().to_vec(),
        });
        let mut removed = Removed::default();
        for segment in front {
            removed.segments = removed.segments.saturating_add(1);
            removed.bytes = removed.bytes.saturating_add(segment.published());
            segment.retire_in_place();
        }
        self.emit(&Event::LogStartMoved {
            start,
            segments: removed.segments,
            bytes: removed.bytes,
        });
        removed
    }
}
