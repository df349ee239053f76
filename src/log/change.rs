//! Changes of the segment list. Each has one shape: do the file work that must
//! come before, publish the next view, then retire what it no longer has.

use crate::checkpoint::CleanShutdown;
use crate::error::{CloseReason, Error, ErrorKind, Result, is_storage_full};
use crate::event::Event;
use crate::fs::{OpenMode, WhenFull};
use crate::log::append::Writer;
use crate::log::checkpoints::Checkpoint;
use crate::log::config::LogConfig;
use crate::log::flush::was_not_opened;
use crate::log::producers::{Replay, Tracked};
use crate::log::shared::Shared;
use crate::log::view::View;
use crate::record::BatchHeader;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{CLEAN_SHUTDOWN, Kind, SegmentFile};
use crate::segment::placeholder::{SPAN, placeholder};
use crate::segment::recover::Heed as _;
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Segment, SegmentDir, offset_index, time_index};
use crate::sync::atomic::Ordering;
use crate::types::{Offset, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Whether a log is closed by itself or with all of its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closes {
    Alone,
    WithOthers,
}

impl Shared {
    /// Closes the active segment and begins one at `base`. The writer lock is held.
    ///
    /// Fails before anything has changed, or not at all.
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
        let (rolled, events) =
            self.dir.events.hold(|| self.begin_next(writer, base, now, when_full));
        writer.events.extend(events);
        rolled
    }

    fn begin_next(
        &self,
        writer: &mut Writer,
        base: Offset,
        now: Duration,
        when_full: WhenFull,
    ) -> Result<()> {
        // Room that stayed behind the last batch would be read as damage after a clean close.
        writer.log.trim()?;
        let mut next = begin_segment(&self.dir, &self.live.config(), base, now, when_full)?;
        self.store_producers(&mut writer.tracked, writer.segment.base, 0);
        next.tracked = std::mem::replace(&mut writer.tracked, Tracked::nothing(base));
        let closed_bytes = writer.log.position();
        writer.cadence.finish(&writer.indexes);
        self.settle_files(writer);
        let closed =
            Arc::new(Segment::sealed(Arc::clone(&self.dir), writer.segment.base, closed_bytes));
        next.flushed = writer.flushed;
        next.events = std::mem::take(&mut writer.events);
        {
            let mut sync = self.sync.lock();
            sync.segments.pop();
            sync.segments.push(Arc::clone(&closed));
            sync.segments.push(Arc::clone(&next.segment));
            sync.new_names = true;
        }
        self.update_view(|view| {
            let mut segments = view.segments.clone();
            segments.pop();
            segments.push(closed);
            segments.push(Arc::clone(&next.segment));
            View { segments }
        });
        *writer = next;
        self.emit(&Event::SegmentRolled { base_offset: base, closed_bytes });
        Ok(())
    }

    /// Brings the index files of the active segment to what they hold when it is closed. What
    /// fails here is a cache that will be made again.
    fn settle_files(&self, writer: &mut Writer) {
        if let Err(error) = self.store_indexes(writer) {
            self.discard_indexes(writer.segment.base, &error);
        }
    }

    /// Removes index files that could not be written whole: without them they are made from the
    /// log.
    fn discard_indexes(&self, base: Offset, error: &Error) {
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            self.dir.discard(SegmentFile::live(base, kind));
        }
        let path = self.dir.path_of(SegmentFile::live(base, Kind::OffsetIndex));
        self.emit(&Event::CleanupFailed { path, error: error.to_string() });
    }

    /// Writes the index entries that are not in their files yet.
    fn store_indexes(&self, writer: &mut Writer) -> Result<()> {
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

    /// Writes entries into an index file, which is there afterwards even if there are none.
    ///
    /// One that is written from its first entry on is a new file: what a truncation that could
    /// not remove it left under that name may be longer, and may be mapped.
    fn extend_index(&self, base: Offset, kind: Kind, at: usize, entries: &[u8]) -> Result<()> {
        let path = self.dir.path_of(SegmentFile::live(base, kind));
        if at == 0 {
            return self.dir.replace_unsynced(&path, entries);
        }
        let file = self.dir.fs.open(&path, OpenMode::ReadWrite);
        file.and_then(|file| file.write_all_at(entries, at as u64))
            .map_err(|error| Error::io("write", &path, error))
    }

    /// Begins a new segment, if the active one is not empty.
    pub(crate) fn roll(&self, when_full: WhenFull) -> Result<()> {
        let events = {
            let mut slot = self.writer.lock();
            self.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.closed())?;
            if writer.log.position() > 0 {
                self.roll_locked(writer, self.end(), when_full)?;
            }
            std::mem::take(&mut writer.events)
        };
        self.emit_all(events);
        Ok(())
    }

    /// Removes everything at and above `target`.
    pub(crate) fn truncate_to(&self, target: Offset) -> Result<()> {
        let (result, events) = {
            let _change = self.change.lock();
            let mut slot = self.writer.lock();
            self.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.closed())?;
            self.check_range(target)?;
            if target == self.end() {
                return Ok(());
            }
            let (result, mut events) =
                self.dir.events.hold(|| self.truncate_locked(writer, target));
            events.append(&mut writer.events);
            (result, events)
        };
        self.signal.notify();
        self.emit_all(events);
        if result? {
            // Offsets without a record lie below the new segment. With the recovery point behind
            // them, no recovery takes them for a hole.
            self.flush_below(target)?;
        }
        Ok(())
    }

    /// Says whether it left offsets without a record below the new end.
    fn truncate_locked(&self, writer: &mut Writer, target: Offset) -> Result<bool> {
        let view = self.view()?;
        let index = view.find(target);
        let Some(segment) = view.segments.get(index) else { return Ok(false) };
        let limit = view.limit(index, self.end());
        let cut = segment.locate(target, limit)?.map_or(segment.published(), |at| at.position);
        // `Clock` is user-supplied and may panic, so read it before changing any state.
        let now = writer.tracked.time(self.clock().monotonic());
        let kept = view.segments.iter().take(index).map(|s| (s.base, s.published()));
        let logs = kept.chain([(segment.base, cut)]).collect();
        let mut replay = Replay::new(&self.dir, &self.config, logs, now)?.of_sound_batches();
        replay.begin(target)?;
        replay.hear_as(&writer.tracked);
        let (mut next, end_of_data) = self.shorten(segment, cut, limit)?;
        let cover = cover(segment.base, end_of_data..target)?;
        next.flushed = writer.flushed;
        next.events = std::mem::take(&mut writer.events);

        // From here on a failure leaves files and memory apart: it poisons the log.
        let mut sync = self.pause_syncs();
        let recovery_point = self.durable().min(end_of_data);
        let vouched = self.vouch_for_indexes(&sync.segments, segment.base);
        let lowered = vouched.and_then(|()| self.lower_cleaned(target));
        if let Err(error) = lowered.and_then(|()| self.store_recovery_point(recovery_point)) {
            writer.events = std::mem::take(&mut next.events);
            return Err(error);
        }
        let mut segments = view.segments.get(..index).unwrap_or_default().to_vec();
        sync.segments.retain(|s| segments.iter().any(|kept| Arc::ptr_eq(kept, s)));
        segments.push(Arc::clone(&next.segment));
        sync.segments.push(Arc::clone(&next.segment));
        sync.new_names = true;
        self.update_view(|_| View { segments });
        self.end.store(target, Ordering::Release);
        self.durable.fetch_min(end_of_data, Ordering::AcqRel);
        self.announce_revision();
        drop(sync);

        let removed = view.segments.get(index.saturating_add(1)..).unwrap_or_default();
        let cut_files = self.cut_files(segment, cut, cover.as_ref(), removed);
        *writer = next;
        let done = cut_files.and_then(|is_covered| {
            // The recovery point may lie in this segment, and then also covers its indexes.
            if self.dir.store_indexes(writer.segment.base, &writer.indexes)? {
                writer.stored_offset_entries = writer.indexes.offsets.len();
                writer.stored_time_entries = writer.indexes.times.len();
            }
            writer.tracked = replay.finish(target)?.at(cut);
            self.set_first_unstable(writer.tracked.first_unstable());
            // Keep a target inside a batch as a segment's name, or the next opening moves back.
            if end_of_data == target {
                return Ok(());
            }
            if let Some((header, batch)) = cover.filter(|_| is_covered) {
                writer.take_written(&header, batch.len() as u64);
            }
            let begun = writer.begun;
            self.begin_next(writer, target, begun, WhenFull::UseReserve)
                .and_then(|()| self.keep_end(target))
        });
        match done {
            Ok(()) => writer.events.push(Event::Truncated { end: target }),
            Err(ref error) => {
                let poisoned = self.poison(error);
                writer.events.push(poisoned);
            }
        }
        done.map(|()| end_of_data < target)
    }

    /// Syncs the indexes of closed segments up to this one, and their names: a recovery point
    /// vouches for those below it.
    fn vouch_for_indexes(&self, segments: &[Arc<Segment>], upto: Offset) -> Result<()> {
        let closed: Vec<_> =
            segments.iter().filter(|s| s.is_sealed() && s.base <= upto).map(|s| s.base).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let synced = closed.into_iter().try_for_each(|base| self.sync_indexes(base));
        synced.and_then(|()| self.dir.sync()).inspect_err(|error| {
            if !was_not_opened(error) {
                self.emit(&self.poison(error));
            }
        })
    }

    /// Makes durable that the log ends at the base of its last segment, above its last record, and
    /// writes it down: recovery takes offsets that are missing above the recovery point for lost.
    fn keep_end(&self, end: Offset) -> Result<()> {
        let mut sync = self.pause_syncs();
        self.sync_segments(&sync.segments, true)?;
        let sealed = sync.segments.len().saturating_sub(1);
        sync.segments.drain(..sealed);
        sync.new_names = false;
        self.store_recovery_point(end)?;
        self.durable.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Removes the segments above the cut, the last first, each step durable before the next, so
    /// that a crash at any point leaves a log without a hole; then cuts the file. Says whether it
    /// ends with the batch that is to cover what was cut.
    fn cut_files(
        &self,
        segment: &Segment,
        cut: u64,
        cover: Option<&(BatchHeader, Vec<u8>)>,
        removed: &[Arc<Segment>],
    ) -> Result<bool> {
        let dir = &self.dir;
        let sync_dir = || dir.fs.sync_dir(&dir.path).map_err(|e| Error::io("sync", &dir.path, e));
        for segment in removed.iter().rev() {
            for kind in [Kind::Log, Kind::OffsetIndex, Kind::TimeIndex, Kind::TxnIndex] {
                dir.set_aside(SegmentFile::live(segment.base, kind))?;
            }
            segment.retire();
            sync_dir()?;
        }
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            dir.discard(SegmentFile::live(segment.base, kind));
        }
        let path = segment.path(Kind::Log);
        let cut_log = || -> io::Result<bool> {
            let file = dir.fs.open(&path, OpenMode::ReadWrite)?;
            let cover = cover.map_or(&[][..], |(_, batch)| batch);
            // It is written over what is cut: on a full disk, there is no other room. A crash
            // before that leaves the beginning of a batch.
            let end = cut.saturating_add(cover.len() as u64);
            let has_room = end <= file.len()?;
            file.set_len(if has_room { end } else { cut })?;
            let is_covered = match file.write_all_at(cover, cut) {
                // Where no batch is cut, others left these offsets out before. Recovery knows that
                // they may be.
                Err(error) if !has_room && is_storage_full(&error) => {
                    file.set_len(cut)?;
                    false
                }
                written => written.map(|()| !cover.is_empty())?,
            };
            file.sync_all()?;
            Ok(is_covered)
        };
        let is_covered = cut_log().map_err(|e| Error::io("truncate", &path, e))?;
        sync_dir().map(|()| is_covered)
    }

    /// The active segment that a segment becomes when it is cut at `cut`, and the end of what is
    /// kept.
    fn shorten(&self, segment: &Segment, cut: u64, limit: Offset) -> Result<(Writer, Offset)> {
        let old = segment.indexes(limit)?;
        self.shorten_by(segment, cut, &old).or_else(|error| match error {
            // An index is a cache: where it leads astray, everything is read.
            Error::Corrupt(_) => self.shorten_by(segment, cut, &Indexes::empty(segment.base)),
            other => Err(other),
        })
    }

    fn shorten_by(&self, segment: &Segment, cut: u64, old: &Indexes) -> Result<(Writer, Offset)> {
        let mut indexes = Indexes::empty(segment.base);
        let mut from = 0;
        for entry in old.offsets.iter().take_while(|entry| entry.position < cut) {
            indexes.offsets.push(entry.offset, entry.position);
            from = entry.position;
        }
        let mut scan = BatchStream::new(segment.file()?, 0, segment.base);
        let read = |e| Error::io("read", &segment.path(Kind::Log), e);
        let mut first_timestamp = Timestamp::NONE;
        if cut > 0
            && let Step::Batch(header) = scan.advance(cut, Offset::MAX).map_err(read)?
        {
            first_timestamp = header.max_timestamp;
        }
        // Times below the last kept entry stay; what follows it is looked at again.
        let kept_until = old.offsets.iter().take_while(|e| e.position < cut).last();
        for entry in old.times.iter() {
            if kept_until.is_some_and(|kept| entry.offset <= kept.offset) {
                indexes.times.push(entry.timestamp, entry.offset);
            }
        }
        indexes.offsets.doubt();
        indexes.times.doubt();
        let largest = indexes
            .times
            .last()
            .map_or((Timestamp::NONE, segment.base), |last| (last.timestamp, last.offset));
        let mut cadence = IndexCadence::new(self.config.index_interval_bytes, largest);
        let mut end = segment.base;
        scan.seek(segment.file()?, from, segment.base);
        while let Step::Batch(header) = scan.advance(cut, Offset::MAX).map_err(read)? {
            let (position, bytes) = (scan.position(), header.size_bytes() as u64);
            cadence.note(&indexes, position, bytes, header.last_offset(), header.max_timestamp);
            end = header.next_offset();
        }
        if scan.position() != cut {
            return Err(segment.corrupt(
                scan.position(),
                Some(end),
                crate::error::CorruptionKind::Malformed(
                    "it cannot be read up to where it is to be cut",
                ),
            ));
        }
        let file = segment.file()?;
        let path = segment.path(Kind::Log);
        let indexes = Arc::new(indexes);
        let active = Segment::active(
            Arc::clone(&self.dir),
            segment.base,
            &file,
            cut,
            cadence.largest.0,
            Arc::clone(&indexes),
        );
        let log = ActiveLog::new(file, path, cut, 0);
        let roll_age = roll_age(&self.live.config(), &self.dir.path, segment.base);
        let begun = self.clock().monotonic();
        let writer = Writer::new(active, indexes, log, cadence, first_timestamp, begun, roll_age);
        Ok((writer, end))
    }

    /// Lets other options hold from now on, of those that [`Live`](crate::log::live::Live) has;
    /// the others stay as they are.
    pub(crate) fn alter(&self, config: &LogConfig) -> Result<()> {
        config.validate()?;
        let mut slot = self.writer.lock();
        self.check_writable()?;
        self.live.set(config);
        if let Some(writer) = &mut *slot {
            writer.roll_age = roll_age(config, &self.dir.path, writer.segment.base);
        }
        Ok(())
    }

    /// Closes the log for all its handles.
    pub(crate) fn close(&self) -> Result<()> {
        self.close_by(Closes::Alone, CloseReason::ByHandle)
    }

    /// Closes one of many logs of a directory that are closed together.
    pub(crate) fn close_with_others(&self, reason: CloseReason) -> Result<()> {
        self.close_by(Closes::WithOthers, reason)
    }

    fn close_by(&self, how: Closes, reason: CloseReason) -> Result<()> {
        let (closed, events) = self.dir.events.hold(|| self.close_now(how, reason));
        self.let_go();
        self.signal.notify();
        #[cfg(feature = "futures")]
        self.syncer.wake(self);
        self.emit_all(events);
        closed
    }

    fn close_now(&self, how: Closes, reason: CloseReason) -> Result<()> {
        // None may write after the lock is released. That one comes between here and there finds
        // the log closed.
        self.rest();
        let mut disposal = self.cleaner.lock();
        disposal.wait();
        let _change = self.change.lock();
        let writer = {
            let mut slot = self.writer.lock();
            let open = self.check_readable();
            if open.is_ok() || reason != CloseReason::ByHandle {
                self.set_close_reason(reason);
            }
            open?;
            slot.take()
        };
        // Only this close changes the log from here on. A flush that still runs promises only its
        // own records, and they are durable before its recovery point is set.
        if how == Closes::WithOthers {
            self.checkpoints.hold();
        }
        let closed = match writer {
            Some(writer) => self.check_writable().and_then(|()| self.close_files(writer)),
            None => Ok(()),
        };
        if closed.is_err() {
            // The close has failed already, whether this succeeds or not.
            self.write_unsynced_again().ok();
        }
        // A sync that another thread leads may be about to write the recovery point: not
        // after the lock is released.
        let syncs = self.pause_syncs();
        self.latch_closed();
        // The files of segments that readers hold still are another writer's from here on.
        self.dir.disown();
        *self.ownership.lock() = None;
        drop(syncs);
        closed
    }

    /// Makes everything durable and says so in a marker, so that the next opening has nothing to
    /// read.
    fn close_files(&self, mut writer: Writer) -> Result<()> {
        let end = self.end();
        let segment = Arc::clone(&writer.segment);
        writer.cadence.finish(&writer.indexes);
        writer.log.trim()?;
        match self.store_indexes(&mut writer) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.discard_indexes(segment.base, &error)
            }
            stored => stored?,
        }
        self.sync_below(end)?;
        // The leader of an fsync raises `durable` before it writes the recovery point: let it
        // finish. Even if all records are durable, the file names that a roll created may not be.
        let sync = self.pause_syncs();
        if sync.new_names {
            self.sync_segments(&sync.segments, true)?;
        }
        drop(sync);
        let path = segment.path(Kind::Log);
        writer.log.file().sync_all().map_err(|e| Error::io("sync", &path, e))?;
        self.sync_indexes(segment.base)?;
        if writer.tracked.len() > 0 {
            self.store_producers(&mut writer.tracked, segment.base, writer.log.position());
        }
        // Their names too, before the recovery point vouches for them.
        self.dir.sync()?;
        self.unless_full(self.store_recovery_point(end), Checkpoint::RecoveryPoint.file())?;
        let marker = CleanShutdown {
            base: segment.base,
            bytes: writer.log.position(),
            end,
            largest: writer.cadence.largest,
            first_timestamp: writer.first_timestamp,
            bytes_since_entry: writer.cadence.bytes_since_entry(),
            offset_entries: writer.indexes.offsets.len() as u64,
            time_entries: writer.indexes.times.len() as u64,
            producers: Some(writer.tracked.len() as u64),
            segments: self.view()?.segments.iter().map(|s| (s.base, s.published())).collect(),
        };
        self.unless_full(self.checkpoints.set_clean_shutdown(marker), CLEAN_SHUTDOWN)
    }

    /// What only spares the next opening work need not be written on a full disk: that is
    /// reported.
    fn unless_full(&self, written: Result<()>, file: &str) -> Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let path = self.dir.path.join(file);
                self.emit(&Event::CheckpointFailed { path, error: error.to_string() });
                Ok(())
            }
            other => other,
        }
    }
}

/// The empty batch that covers the offsets of a batch that is cut, up to the new end: recovery
/// could not tell them from what a crash took.
fn cover(base: Offset, offsets: Range<Offset>) -> Result<Option<(BatchHeader, Vec<u8>)>> {
    if offsets.end > base.saturating_add(SPAN) {
        return Ok(None);
    }
    placeholder(offsets, -1)
}

/// Creates the file of an empty active segment, and what the writer needs to know of it.
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
            // A file that stayed would claim the offsets that the segment before it takes now:
            // where it cannot be removed, it is used as it is.
            } else if dir.fs.remove(&path).is_ok() {
                return Err(Error::io("preallocate", &path, error));
            }
        }
    }
    let indexes = Arc::new(Indexes::empty(base));
    let segment =
        Segment::active(Arc::clone(dir), base, &file, 0, Timestamp::NONE, Arc::clone(&indexes));
    let log = ActiveLog::new(file, path, 0, reserved);
    let cadence = IndexCadence::new(dir.index_interval_bytes, (Timestamp::NONE, base));
    let roll_age = roll_age(config, &dir.path, base);
    Ok(Writer::new(segment, indexes, log, cadence, Timestamp::NONE, now, roll_age))
}

/// The age at which a segment is closed: the configured age less a share of the
/// jitter that follows from where the segment is, so that it is the same in every run.
pub(crate) fn roll_age(config: &LogConfig, dir: &Path, base: Offset) -> Duration {
    let jitter = config.segment_jitter.min(config.segment_age);
    let mut hasher = DefaultHasher::new();
    (dir, base).hash(&mut hasher);
    let jitter_millis = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    let share = hasher.finish().checked_rem(jitter_millis).unwrap_or(0);
    config.segment_age.saturating_sub(Duration::from_millis(share))
}
