//! Truncating a log: removing everything at and above an offset.
//!
//! First the producers, the indexes and the active segment of the shorter log are made, which
//! changes no file. The recovery point and the cleaner checkpoint are lowered before any batch is
//! removed. From there on a failure poisons the log, because files and memory may differ.

use crate::error::{Error, Result, is_storage_full};
use crate::event::{self, Event};
use crate::fs::{OpenMode, WhenFull};
use crate::log::append::roll::roll_age;
use crate::log::flush::was_not_opened;
use crate::log::inner::LogInner;
use crate::log::replay::ProducerReplay;
use crate::log::state::producers::ProducerTracker;
use crate::log::state::segment_list::SegmentList;
use crate::log::state::writer::Writer;
use crate::record::BatchHeader;
use crate::segment::Segment;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::{SPAN, placeholder};
use crate::segment::recovered::RecoveryObserver as _;
use crate::segment::scan::{BatchStream, Step};
use crate::segment::txn_index::TxnIndex;
use crate::types::{LeaderEpoch, Offset, Timestamp};
use std::io;
use std::ops::Range;
use std::sync::Arc;

impl LogInner {
    /// Removes everything at and above `target`.
    pub(crate) fn truncate_to(&self, target: Offset) -> Result<()> {
        let held = event::hold();
        let result = {
            let _change = self.cleaning.change.lock();
            let mut slot = self.appends.writer.lock();
            self.state.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
            self.state.check_range(target)?;
            if target == self.state.end() {
                // The epoch of a leader that has appended nothing, as in Kafka.
                return self.truncate_epochs(writer, target);
            }
            self.truncate_locked(writer, target)
        };
        self.state.waiters.notify();
        held.deliver();
        if result? {
            // Offsets without a record lie below the new segment. With the recovery point above
            // them, no recovery takes them for a hole.
            self.flush_below(target)?;
        }
        Ok(())
    }

    /// Truncates with the locks held. Returns whether it left offsets without a record below the
    /// new end.
    pub(crate) fn truncate_locked(&self, writer: &mut Writer, target: Offset) -> Result<bool> {
        let list = self.state.segments()?;
        let index = list.find(target);
        let Some(segment) = list.segments.get(index) else { return Ok(false) };
        let limit = list.limit(index, self.state.end());
        let cut = segment.locate(target, limit)?.map_or(segment.published(), |at| at.position);
        // `Clock` is user-supplied and may panic, so read it before changing any state.
        let now = writer.tracked.time(self.clock().monotonic());
        let kept = list.segments.iter().take(index).map(|s| (s.base, s.published()));
        let logs = kept.chain([(segment.base, cut)]).collect();
        let mut replay =
            ProducerReplay::new(&self.dir, &self.config, logs, now)?.of_sound_batches();
        replay.begin(target)?;
        replay.hear_as(&writer.tracked);
        let aborted = aborted_below(target, segment, &mut replay)?;
        let (mut next, end_of_data) = self.shorten(segment, cut, limit)?;
        next.take_aborted(&aborted);
        let cover = cover(segment.base, end_of_data..target, self.epoch_at(end_of_data))?;
        next.continue_from(writer);

        // From here on a failure may leave files and memory different, so it poisons the log.
        self.poison_on_unwind("truncate", || {
            let mut sync = self.flushes.pause_syncs();
            let recovery_point = self.state.durable().min(end_of_data);
            let vouched = self.sync_sealed_indexes(&sync.segments, segment.base);
            let lowered = vouched
                .and_then(|()| self.cleaning.lower_cleaned(&self.flushes.checkpoints, target));
            lowered
                .and_then(|()| self.store_lower_high_watermark(target))
                .and_then(|()| self.flushes.store_recovery_point(recovery_point))?;
            let mut segments = list.segments.get(..index).unwrap_or_default().to_vec();
            sync.segments.retain(|s| segments.iter().any(|kept| Arc::ptr_eq(kept, s)));
            segments.push(Arc::clone(&next.segment));
            sync.segments.push(Arc::clone(&next.segment));
            sync.new_names = true;
            let lower = || {
                // A transaction that was ended above the target is open again, before a reader
                // sees that the end has moved. One that began above it is gone only afterwards.
                self.state.lower_first_unstable(replay.first_undecided());
                self.state.lower_high_watermark(target);
                self.state.set_end(target);
                self.state.lower_durable(end_of_data);
            };
            self.state.revise_segments(|_| SegmentList { segments }, lower);
            drop(sync);

            let removed = list.segments.get(index.saturating_add(1)..).unwrap_or_default();
            let truncate_files = self.truncate_files(segment, cut, cover.as_ref(), removed);
            let Writer { tracked, .. } = std::mem::replace(writer, next);
            let done = truncate_files.and_then(|is_covered| {
                self.finish_truncation(writer, replay, &tracked, target, cut)?;
                self.truncate_epochs(writer, target)?;
                // If the target lies inside a batch, only the name of a new segment stores it.
                // Without it, the next opening would begin at a lower offset.
                if end_of_data == target {
                    return Ok(());
                }
                self.begin_at_end(writer, target, cover.filter(|_| is_covered))
            });
            match done {
                Ok(()) => self.emit(&Event::Truncated { end: target }),
                Err(ref error) => self.poison(error),
            }
            done.map(|()| end_of_data < target)
        })
    }

    /// Takes over the producers of the shorter log, and stores the indexes of its last segment.
    fn finish_truncation(
        &self,
        writer: &mut Writer,
        replay: ProducerReplay,
        before: &ProducerTracker,
        target: Offset,
        cut: u64,
    ) -> Result<()> {
        let (tracked, stored) = replay.finish(target, writer.segment.base)?;
        writer.tracked = tracked.at(cut);
        writer.tracked.take_unreplicated(before, target);
        self.state.set_first_unstable(writer.tracked.first_unstable());
        self.agree_on_aborted(writer, &stored)?;
        // The recovery point may lie in this segment, and then it covers its indexes too. They
        // come last: what they cover is not read again.
        if self.dir.store_indexes(writer.segment.base, &writer.indexes)? {
            writer.stored_offset_entries = writer.indexes.offsets.len();
            writer.stored_time_entries = writer.indexes.times.len();
        }
        Ok(())
    }

    /// Begins a segment at the new end, above its last record. `cover` is the batch that was
    /// written for the offsets between.
    fn begin_at_end(
        &self,
        writer: &mut Writer,
        end: Offset,
        cover: Option<(BatchHeader, Vec<u8>)>,
    ) -> Result<()> {
        if let Some((header, batch)) = cover {
            writer.take_written(&header, batch.len() as u64);
        }
        let begun = writer.begun;
        self.begin_next(writer, end, begun, WhenFull::UseReserve)?;
        self.keep_end(end)
    }

    /// Syncs the indexes of closed segments up to this one, and their names: a recovery point
    /// covers the indexes below it.
    fn sync_sealed_indexes(&self, segments: &[Arc<Segment>], upto: Offset) -> Result<()> {
        let closed: Vec<_> = segments.iter().filter(|s| s.is_sealed() && s.base <= upto).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let synced = closed.into_iter().try_for_each(|segment| segment.sync_indexes());
        synced.and_then(|()| self.dir.sync()).inspect_err(|error| {
            if !was_not_opened(error) {
                self.poison(error);
            }
        })
    }

    /// Replaces the stored aborted transactions of the active segment if an append could not store
    /// them all.
    fn agree_on_aborted(&self, writer: &Writer, stored: &TxnIndex) -> Result<()> {
        let entries = writer.segment.aborted_in_memory().bytes_from(0);
        if entries == stored.bytes_from(0) {
            return Ok(());
        }
        self.dir.replace(&writer.segment.path(Kind::TxnIndex), &entries)
    }

    /// Makes durable that the log ends at the base of its last segment, above its last record, and
    /// raises the recovery point to it: recovery takes offsets that are missing above the recovery
    /// point for lost.
    pub(crate) fn keep_end(&self, end: Offset) -> Result<()> {
        let mut sync = self.flushes.pause_syncs();
        self.sync_segments(&sync.segments, true)?;
        let sealed = sync.segments.len().saturating_sub(1);
        sync.segments.drain(..sealed);
        sync.new_names = false;
        self.flushes.store_recovery_point(end)?;
        self.state.raise_durable(end);
        Ok(())
    }

    /// Removes the segments above `cut`, the last first, each step durable before the next, so
    /// that a crash at any point leaves a log without a hole. Then truncates the file. Returns
    /// whether it ends with the batch that covers the truncated offsets.
    fn truncate_files(
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
            // The cover is written over the truncated bytes, because a full disk has no other
            // room. A crash before that leaves the beginning of a batch there.
            let end = cut.saturating_add(cover.len() as u64);
            let has_room = end <= file.len()?;
            file.set_len(if has_room { end } else { cut })?;
            let is_covered = match file.write_all_at(cover, cut) {
                // Where no batch is truncated, another program left these offsets out, and
                // recovery expects that.
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

    /// Returns the active segment that a segment becomes when it is truncated at `cut`, and the
    /// end of its remaining records.
    fn shorten(&self, segment: &Segment, cut: u64, limit: Offset) -> Result<(Writer, Offset)> {
        let old = segment.indexes(limit)?;
        self.shorten_by(segment, cut, &old).or_else(|error| match error {
            // The index is wrong. It is only a cache, so read the whole segment.
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
        // Times below the last kept entry stay. The batches after it are indexed again.
        let kept_until = old.offsets.iter().take_while(|e| e.position < cut).last();
        for entry in old.times.iter() {
            if kept_until.is_some_and(|kept| entry.offset <= kept.offset) {
                indexes.times.push(entry.timestamp, entry.offset);
            }
        }
        indexes.offsets.mark_unverified();
        indexes.times.mark_unverified();
        let largest = indexes
            .times
            .last()
            .map_or((Timestamp::NONE, segment.base), |last| (last.timestamp, last.offset));
        let mut cadence = IndexCadence::new(self.dir.index_interval_bytes, largest);
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
                    "it cannot be read up to the truncation point",
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
        let roll_age = roll_age(&self.dynamic.current(), &self.dir.path, segment.base);
        let begun = self.clock().monotonic();
        let writer = Writer::new(active, indexes, log, cadence, first_timestamp, begun, roll_age);
        Ok((writer, end))
    }
}

/// Returns the transactions that a segment says were aborted by a marker below an offset.
fn aborted_below(
    target: Offset,
    segment: &Segment,
    replay: &mut ProducerReplay,
) -> Result<TxnIndex> {
    let index = match segment.aborted() {
        Ok(stored) => stored,
        // The file is only a cache, so read the batches.
        Err(Error::Corrupt(_)) => Arc::new(replay.index_segment(segment.base, target)?),
        Err(error) => return Err(error),
    };
    let below = TxnIndex::empty();
    index.iter_from(0).take_while(|aborted| aborted.last < target).for_each(|a| below.push(a));
    Ok(below)
}

/// Returns the empty batch that covers the offsets of a truncated batch up to the new end. Without
/// it, recovery could not tell them from records that a crash took.
fn cover(
    base: Offset,
    offsets: Range<Offset>,
    leader_epoch: LeaderEpoch,
) -> Result<Option<(BatchHeader, Vec<u8>)>> {
    if offsets.end > base.saturating_add(SPAN) {
        return Ok(None);
    }
    placeholder(offsets, leader_epoch)
}
