//! Rolling: closing the active segment and beginning the next one.
//!
//! The file work that may fail comes first. Then the new list of segments is published, and only
//! then does the writer go on to the new segment.

use crate::error::{Error, Result, is_storage_full};
use crate::event::{self, Event};
use crate::fs::{File, OpenMode, WhenFull};
use crate::log::config::LogConfig;
use crate::log::inner::LogInner;
use crate::log::state::producers::ProducerTracker;
use crate::log::state::segment_list::SegmentList;
use crate::log::state::writer::Writer;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::{Segment, SegmentDir, offset_index, time_index};
use crate::types::{Offset, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

impl LogInner {
    /// Returns whether the segment has no room for all of these batches.
    #[inline(always)]
    pub(crate) fn must_roll(
        &self,
        writer: &Writer,
        bytes: u64,
        timestamp: Timestamp,
        last_offset: Offset,
        batches: usize,
    ) -> bool {
        let size = writer.log.position();
        let spans_too_far =
            last_offset.checked_sub(writer.segment.base).is_none_or(|span| span > i32::MAX as u64);
        spans_too_far
            || size.saturating_add(bytes) > self.dynamic.segment_bytes()
            || self.index_is_full(writer, batches)
            || (size > 0 && self.is_aged(writer, timestamp))
    }

    /// Returns whether an index lacks room for so many batches: each may add an entry to both
    /// indexes.
    #[inline(always)]
    fn index_is_full(&self, writer: &Writer, batches: usize) -> bool {
        use crate::segment::{offset_index, time_index};
        let room = |entry: usize| self.dynamic.index_bytes() / entry as u64;
        let after = |entries: usize| entries.saturating_add(batches) as u64;
        // One slot of the time index is kept for the entry that is made when the segment is
        // closed.
        after(writer.indexes.offsets.len()) > room(offset_index::ENTRY_BYTES)
            || after(writer.indexes.times.len()) > room(time_index::ENTRY_BYTES).saturating_sub(1)
    }

    /// Returns whether the segment is too old for a batch. The age counts from the first timestamp
    /// of the segment to that of the batch; without timestamps, from when the segment was begun.
    #[inline(always)]
    fn is_aged(&self, writer: &Writer, timestamp: Timestamp) -> bool {
        let age = if writer.first_timestamp.is_none() {
            self.clock().monotonic().saturating_sub(writer.begun)
        } else if timestamp.is_none() {
            return false;
        } else {
            timestamp.since(writer.first_timestamp)
        };
        age > writer.roll_age
    }

    /// Begins a new segment, if the active one is not empty.
    pub(crate) fn roll(&self, when_full: WhenFull) -> Result<()> {
        event::deliver_after(|| {
            let mut slot = self.appends.writer.lock();
            self.state.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
            if writer.log.position() > 0 {
                self.roll_locked(writer, self.state.end(), when_full)?;
            }
            Ok(())
        })
    }

    /// Closes the active segment and begins one at `base`. The caller holds the writer lock.
    ///
    /// If it fails, nothing has changed. The caller holds back the events of this call until the
    /// lock is released.
    pub(crate) fn roll_locked(
        &self,
        writer: &mut Writer,
        base: Offset,
        when_full: WhenFull,
    ) -> Result<()> {
        if writer.log.position() == 0 && writer.segment.base == base {
            return Ok(());
        }
        // `Clock` is user-supplied and may panic, so read it before changing any state.
        let now = self.clock().monotonic();
        writer.tracked.expire(now, self.config.producer_id_expiration);
        self.begin_next(writer, base, now, when_full)
    }

    pub(crate) fn begin_next(
        &self,
        writer: &mut Writer,
        base: Offset,
        now: Duration,
        when_full: WhenFull,
    ) -> Result<()> {
        // Recovery does not read a closed segment that was flushed, so its entries must be stored.
        self.store_aborted(writer)?;
        // Reserved room that stayed after the last batch would be read as damage after a clean
        // close.
        writer.log.trim()?;
        if writer.syncs_before_roll {
            self.sync_now(&[Arc::clone(&writer.segment)], true)?;
        }
        self.poison_on_unwind("roll", || self.go_on_in_next(writer, base, now, when_full))
    }

    /// Creates the next segment and goes on in it.
    fn go_on_in_next(
        &self,
        writer: &mut Writer,
        base: Offset,
        now: Duration,
        when_full: WhenFull,
    ) -> Result<()> {
        // The snapshot comes first. A process that follows the log takes the transactions that are
        // open at the base of a segment from it.
        self.store_producers(&mut writer.tracked, writer.segment.base, 0);
        let mut next = begin_segment(&self.dir, &self.dynamic.current(), base, now, when_full)?;
        next.tracked = std::mem::replace(&mut writer.tracked, ProducerTracker::nothing(base));
        let closed_bytes = writer.log.position();
        writer.cadence.finish(&writer.indexes);
        self.seal_index_files(writer);
        let closed = Arc::new(writer.segment.seal(closed_bytes));
        next.continue_from(writer);
        {
            let mut sync = self.flushes.sync.lock();
            sync.segments.pop();
            sync.segments.push(Arc::clone(&closed));
            sync.segments.push(Arc::clone(&next.segment));
            sync.new_names = true;
        }
        self.state.update_segments(|list| {
            let mut segments = list.segments.clone();
            segments.pop();
            segments.push(closed);
            segments.push(Arc::clone(&next.segment));
            SegmentList { segments }
        });
        *writer = next;
        self.emit(&Event::SegmentRolled { base_offset: base, closed_bytes });
        Ok(())
    }

    /// Completes the index files of the active segment, as it is being closed. If that fails, they
    /// are removed, and rebuilt when they are needed.
    fn seal_index_files(&self, writer: &mut Writer) {
        if let Err(error) = self.store_indexes(writer) {
            self.discard_indexes(writer.segment.base, &error);
        }
    }

    /// Removes index files that could not be written whole. They are rebuilt from the log.
    pub(crate) fn discard_indexes(&self, base: Offset, error: &Error) {
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            self.dir.discard(SegmentFile::live(base, kind));
        }
        let path = self.dir.path_of(SegmentFile::live(base, Kind::OffsetIndex));
        self.emit(&Event::CleanupFailed { path, error: error.cause() });
    }

    /// Writes the index entries that are not in their files yet.
    pub(crate) fn store_indexes(&self, writer: &mut Writer) -> Result<()> {
        let (base, indexes) = (writer.segment.base, &writer.indexes);
        let stored = writer.stored_offset_entries;
        let at = stored.saturating_mul(offset_index::ENTRY_BYTES);
        self.extend_index(base, Kind::OffsetIndex, at, &indexes.offsets.bytes_from(stored))?;
        writer.stored_offset_entries = indexes.offsets.len();
        let stored = writer.stored_time_entries;
        let at = stored.saturating_mul(time_index::ENTRY_BYTES);
        self.extend_index(base, Kind::TimeIndex, at, &indexes.times.bytes_from(stored))?;
        writer.stored_time_entries = indexes.times.len();
        Ok(())
    }

    /// Writes entries into an index file, which exists afterwards even if there are none.
    ///
    /// If `at` is 0, a new file replaces the old one: a truncation that could not remove the old
    /// file may have left it longer, and readers may have mapped it.
    pub(crate) fn extend_index(
        &self,
        base: Offset,
        kind: Kind,
        at: usize,
        entries: &[u8],
    ) -> Result<()> {
        let path = self.dir.path_of(SegmentFile::live(base, kind));
        if at == 0 {
            return self.dir.replace_unsynced(&path, entries);
        }
        let file = self.dir.fs.open(&path, OpenMode::ReadWrite);
        file.and_then(|file| file.write_all_at(entries, at as u64))
            .map_err(|error| Error::io("write", &path, error))
    }
}

/// Creates the file of an empty active segment, and its writer.
pub(crate) fn begin_segment(
    dir: &Arc<SegmentDir>,
    config: &LogConfig,
    base: Offset,
    now: Duration,
    when_full: WhenFull,
) -> Result<Writer> {
    let file = dir.create_log(base, when_full)?;
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let mut reserved = 0;
    if config.preallocate {
        reserved = config.segment_bytes;
        if let Err(error) = file.allocate(reserved) {
            if when_full == WhenFull::UseReserve && is_storage_full(&error) {
                reserved = 0;
            // A file that stayed would claim the offsets that the previous segment takes now. If
            // it cannot be removed, it is used without the reserved room.
            } else if dir.fs.remove(&path).is_ok() {
                return Err(Error::io("preallocate", &path, error));
            }
        }
    }
    Ok(writer_of_empty(dir, config, base, now, (file, reserved)))
}

/// Returns the writer of a segment whose file is empty, apart from the room that is reserved.
pub(crate) fn writer_of_empty(
    dir: &Arc<SegmentDir>,
    config: &LogConfig,
    base: Offset,
    now: Duration,
    (file, reserved): (Arc<dyn File>, u64),
) -> Writer {
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let indexes = Arc::new(Indexes::empty(base));
    let segment =
        Segment::active(Arc::clone(dir), base, &file, 0, Timestamp::NONE, Arc::clone(&indexes));
    let log = ActiveLog::new(file, path, 0, reserved);
    let cadence = IndexCadence::new(dir.index_interval_bytes, (Timestamp::NONE, base));
    let roll_age = roll_age(config, &dir.path, base);
    Writer::new(segment, indexes, log, cadence, Timestamp::NONE, now, roll_age)
}

/// Returns the age at which a segment is closed: the configured age less a share of the jitter.
/// The share comes from a hash of the directory and the base offset, so that it is the same in
/// every run.
pub(crate) fn roll_age(config: &LogConfig, dir: &Path, base: Offset) -> Duration {
    let jitter = config.segment_jitter.min(config.segment_age);
    let mut hasher = DefaultHasher::new();
    (dir, base).hash(&mut hasher);
    let jitter_millis = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    let share = hasher.finish().checked_rem(jitter_millis).unwrap_or(0);
    config.segment_age.saturating_sub(Duration::from_millis(share))
}
