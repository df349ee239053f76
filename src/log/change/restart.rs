//! Beginning a log anew at another offset, without any record.
//!
//! A replica does this if its leader has deleted everything that the replica has, or if its own
//! log is of no use. The log is one without a hole at each moment, whatever fails:
//!
//! - Upwards, or to an offset inside of the log: the log is truncated to the offset, and then its
//!   start is stored as that offset. From there on an opening finds the new log: it removes the
//!   segments below the start, and begins one there. Before that, it finds the truncated log.
//! - Downwards: the log is truncated to its start. What remains are segments whose records were
//!   all deleted. They are removed, the last first, except for the first one, which is emptied.
//!   Then the segment of the new log is created, the other one removed, and last the start is
//!   stored. Before that, an opening finds a log that ends below its start, and begins it at the
//!   start again.

use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event};
use crate::fs::{OpenMode, WhenFull};
use crate::log::append::roll::{begin_segment, writer_of_empty};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::snapshots::{remove_snapshots, stored_offsets};
use crate::log::inner::LogInner;
use crate::log::state::segment_list::SegmentList;
use crate::log::state::writer::Writer;
use crate::segment::Segment;
use crate::segment::name::{Kind, SegmentFile};
use crate::types::{MAX_OFFSET, Offset};
use std::sync::Arc;

/// The files of a segment, those that depend on the log first.
const FILES: [Kind; 4] = [Kind::TxnIndex, Kind::TimeIndex, Kind::OffsetIndex, Kind::Log];

impl LogInner {
    /// Removes all records, and continues at an offset.
    pub(crate) fn restart_at(&self, offset: Offset) -> Result<()> {
        event::deliver_after(|| {
            let done = {
                let _change = self.cleaning.change.lock();
                let mut slot = self.appends.writer.lock();
                self.state.check_writable()?;
                let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
                if offset > MAX_OFFSET {
                    return Err(self.state.out_of_range(offset));
                }
                self.restart_locked(writer, offset)
            };
            self.state.waiters.notify();
            self.dir.fill_reserve();
            done
        })
    }

    fn restart_locked(&self, writer: &mut Writer, offset: Offset) -> Result<()> {
        let start = self.state.start();
        let kept = offset.max(start);
        if kept < self.state.end() {
            self.truncate_locked(writer, kept)?;
        }
        self.store_lower_high_watermark(offset)?;
        if offset >= start {
            // A start that is not stored for lack of room leaves the truncated log.
            match self.flushes.checkpoints.set(Checkpoint::Start, offset) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return Err(error),
                Err(error) => {
                    self.poison(&error);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        let begun = self.poison_on_unwind("restart", || {
            if offset < start {
                self.empty_below(offset)?;
            }
            self.begin_anew(writer, offset)
        });
        match &begun {
            Ok(()) => self.emit(&Event::Truncated { end: offset }),
            Err(error) => self.poison(error),
        }
        begun
    }

    /// Replaces the segments of a log without records by one that begins below its start, and
    /// stores that as the start.
    fn empty_below(&self, offset: Offset) -> Result<()> {
        let list = self.state.segments()?;
        let Some((first, rest)) = list.segments.split_first() else { return Ok(()) };
        // A reader of deleted records must not take what follows for damage.
        let same = |list: &SegmentList| SegmentList { segments: list.segments.clone() };
        self.state.revise_segments(same, || {});
        let _no_sync = self.flushes.pause_syncs();
        self.remove_deleted(&list)?;
        self.cleaning.lower_cleaned(&self.flushes.checkpoints, offset)?;
        self.flushes.store_recovery_point(offset.min(first.base))?;
        for segment in rest.iter().rev() {
            self.set_segment_aside(segment)?;
        }
        self.empty_segment(first.base)?;
        if first.base != offset {
            let now = self.clock().monotonic();
            begin_segment(&self.dir, &self.dynamic.current(), offset, now, WhenFull::UseReserve)?;
            self.dir.sync()?;
            self.set_segment_aside(first)?;
        }
        self.flushes.checkpoints.set(Checkpoint::Start, offset)
    }

    /// Removes the files of deleted segments that an idle reader holds: the new log may have
    /// segments of the same names.
    fn remove_deleted(&self, list: &SegmentList) -> Result<()> {
        self.dir.disown_names();
        let (dir, path) = (&self.dir, &self.dir.path);
        let entries = dir.fs.list(path).map_err(|error| Error::io("list", path, error))?;
        for base in stored_offsets(&entries, Kind::Log) {
            if !list.segments.iter().any(|segment| segment.base == base) {
                FILES.into_iter().for_each(|kind| dir.discard(SegmentFile::live(base, kind)));
            }
        }
        dir.sync()
    }

    /// Removes the files of a segment, durably, as soon as no reader is in it.
    fn set_segment_aside(&self, segment: &Segment) -> Result<()> {
        for kind in FILES {
            self.dir.set_aside(SegmentFile::live(segment.base, kind))?;
        }
        segment.retire();
        self.dir.sync()
    }

    /// Removes the records of a segment, durably.
    fn empty_segment(&self, base: Offset) -> Result<()> {
        for kind in FILES.into_iter().filter(|kind| *kind != Kind::Log) {
            self.dir.discard(SegmentFile::live(base, kind));
        }
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        let file = self.dir.fs.open(&path, OpenMode::ReadWrite);
        file.and_then(|file| file.set_len(0).and_then(|()| file.sync_all()))
            .map_err(|error| Error::io("truncate", &path, error))
    }

    /// Begins the one segment of the new log, whose start is stored, in the place of all others.
    fn begin_anew(&self, writer: &mut Writer, offset: Offset) -> Result<()> {
        let (config, now) = (self.dynamic.current(), self.clock().monotonic());
        let old = self.state.segments()?;
        let (dir, path) = (&self.dir, &self.dir.path);
        let entries = dir.fs.list(path).map_err(|error| Error::io("list", path, error))?;
        let mut next = if stored_offsets(&entries, Kind::Log).contains(&offset) {
            self.empty_segment(offset)?;
            writer_of_empty(&self.dir, &config, offset, now, (self.dir.open_log(offset)?, 0))
        } else {
            begin_segment(&self.dir, &config, offset, now, WhenFull::UseReserve)?
        };
        remove_snapshots(&self.dir, &Vec::from_iter(stored_offsets(&entries, Kind::Snapshot)))?;
        for recent in stored_offsets(&entries, Kind::Recent) {
            self.dir.discard(SegmentFile::live(recent, Kind::Recent));
        }
        self.dir.sync()?;
        next.continue_from(writer);
        next.tracked = writer.tracked.restarted(offset);
        self.truncate_epochs(&mut next, 0)?;
        let mut sync = self.flushes.pause_syncs();
        sync.segments = vec![Arc::clone(&next.segment)];
        let segments = vec![Arc::clone(&next.segment)];
        // The start comes first: a reader at the old end must not wait for the new one.
        let lower = || {
            self.state.set_start(offset);
            if self.config.replicated {
                self.state.set_high_watermark(offset);
            }
            self.state.set_end(offset);
            self.state.lower_durable(offset);
        };
        self.state.revise_segments(|_| SegmentList { segments }, lower);
        self.state.set_first_unstable(None);
        self.state.raise_durable(offset);
        drop(sync);
        *writer = next;
        // Their files are below the start, so the next opening removes what is left of them.
        old.segments.iter().filter(|old| old.base != offset).for_each(|old| old.retire_in_place());
        Ok(())
    }
}
