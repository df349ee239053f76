//! Recovery: opening a log that was not closed cleanly.
//!
//! # Offsets without a batch
//!
//! Appends leave no offset out. So if no batch covers an offset, there are two cases. If
//! compaction removed it, the log must stay as it is. If a crash or an accident took it, the
//! records after it must not be served as if nothing were missing.
//!
//! - Nothing was compacted in a log without a policy that compacts and without a cleaner
//!   checkpoint. This crate writes that checkpoint with the first pass, and never removes it. In
//!   such a log, all offsets must have a batch, within segments and between them. No checksum
//!   covers a base offset, so only this check shows that one is wrong.
//! - In a log that may have been compacted, nothing above the recovery point was. Before a pass
//!   changes a file, everything that it will clean is synced and the recovery point raised above
//!   it, durably; a truncation lowers it to the end of the remaining records. That holds for a
//!   recovery point that this crate wrote, and as it wrote it: each line is stored twice, so that
//!   a damaged digit is noticed. A broker cleans above its recovery point, which it writes once a
//!   minute, and writes a line once.
//! - If another program had the log open last, nothing is known. Offsets without a batch stay as
//!   they are, as in Kafka, and the cleaner checkpoint stores that the log may have been
//!   compacted. That ends with the first recovery point of ours, which the opening stores. If a
//!   full disk has no room for it, each segment is synced before the next one begins: so no power
//!   loss leaves offsets out.
//!
//! The start of a log can be checked, too. Each deletion stores the start before it removes a
//! segment, and an opening that finds a log of another program stores its start before the first
//! recovery point of ours. So where the recovery point is ours, a log that begins above its start
//! has lost its first records. If a full disk has no room for the start, the two lines of the
//! recovery point are first made to differ by one, which needs no room: then it confirms
//! everything but the start.
//!
//! If this crate leaves offsets out at the end of a segment, it covers them with an [empty
//! batch](crate::segment::placeholder): compaction, a truncation into a batch, a quarantine. Such
//! a segment needs no proof.
//!
//! A power loss takes the end of a segment that was not synced. That explains offsets that are
//! missing between two segments above the recovery point. The records after them were never
//! acknowledged as durable, because an fsync goes through the segments in order, and they are
//! truncated. Without a power loss, a log that may have been compacted keeps its missing offsets;
//! in any other log they are damage.

use crate::error::{Corruption, CorruptionKind, Error, ErrorKind, Result};
use crate::event::Event;
use crate::log::config::OnCorruption;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::listing::Listing;
use crate::log::files::losses::damage_at_end;
use crate::log::open::Opener;
use crate::log::replay::ProducerReplay;
use crate::log::state::writer::Writer;
use crate::segment::Segment;
use crate::segment::first_bytes::{NOT_A_SEGMENT, begins_segment};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::{SPAN, placeholder};
use crate::segment::recover::recover_segment;
use crate::segment::recovered::{Recovered, RecoveryObserver as _, ScanRules, SegmentTail};
use crate::segment::resume::end_of_sealed;
use crate::segment::scan::{BatchStream, Step};
use crate::types::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Returns the first of these segments that recovery reads.
///
/// If the recovery point is the base of a segment, the previous segment is read too: its records
/// are durable, but the truncation of its reserved room may not be.
fn first_read(logs: &[(Offset, u64)], recovery_point: Offset) -> usize {
    logs.partition_point(|(base, _)| *base < recovery_point).saturating_sub(1)
}

impl Opener {
    /// Returns whether compaction, or another program, may have left offsets out.
    pub(crate) fn may_have_holes(&self, listing: &Listing) -> Result<bool> {
        let cleaned = self.checkpoints.get(Checkpoint::Cleaned)?;
        if self.point.is_foreign && cleaned.is_none() && listing.logs().next().is_some() {
            self.mark_compacted()?;
        }
        Ok(self.point.is_foreign || cleaned.is_some() || self.config.cleanup_policy.compacts())
    }

    /// Stores that offsets may be left out, if that is not known yet.
    pub(crate) fn mark_compacted(&self) -> Result<()> {
        if self.checkpoints.get(Checkpoint::Cleaned)?.is_some() {
            return Ok(());
        }
        self.checkpoints.note(Checkpoint::Cleaned, 0)
    }

    /// Returns the offset from which on a hole between two segments makes the log unusable.
    fn dense_from(&self) -> Offset {
        if self.keeps_gaps() { Offset::MAX } else { self.written_dense_from() }
    }

    /// Returns the offset from which on none was left out between two segments, by the rules at
    /// the head of this file.
    fn written_dense_from(&self) -> Offset {
        match self.point.uncompacted {
            _ if !self.may_have_holes => 0,
            Some(uncompacted) if self.lost_power => uncompacted,
            _ => Offset::MAX,
        }
    }

    /// Opens a log that was not closed cleanly: reads every segment that reaches above the
    /// recovery point.
    pub(crate) fn recover(
        &mut self,
        listing: &Listing,
        recovery_point: Offset,
        start: Offset,
        replay: &mut ProducerReplay,
    ) -> Result<(Writer, Vec<Arc<Segment>>, Offset)> {
        let logs: Vec<(Offset, u64)> = listing.logs().collect();
        let first = first_read(&logs, recovery_point);
        let first = self.first_with_a_hole(logs.get(..=first).unwrap_or(&logs))?.unwrap_or(first);
        let mut sealed: Vec<_> =
            logs.iter().take(first).map(|(base, len)| self.sealed(*base, *len)).collect();
        let (mut last, mut end_before) = (None, None);
        // A loss of power may bring back some of the deleted segments. They need not be complete.
        let owed = if self.lost_power && recovery_point <= start { 0 } else { recovery_point };
        for (index, (base, _)) in logs.iter().enumerate().skip(first) {
            let next = logs.get(index.saturating_add(1)).map(|(base, _)| *base);
            let rules = self.rules(next, recovery_point);
            let mut found = recover_segment(&self.dir, *base, rules, replay)?;
            let scanned = self.recovery.scanned_bytes.saturating_add(found.scanned_bytes);
            self.recovery.scanned_bytes = scanned;
            let whole = self.is_whole(&found, next);
            if !whole || (next.is_none() && found.end < owed) {
                self.check_truncatable(*base, &found, next, owed)?;
            }
            self.check_start(*base, &found, end_before.replace(found.end))?;
            if whole && self.keeps_gaps() {
                self.cover(*base, &mut found, next)?;
            }
            let later = logs.get(index.saturating_add(1)..).unwrap_or_default();
            self.truncate_segment(*base, &found, if whole { &[] } else { later })?;
            if next.is_some() && whole {
                sealed.push(self.seal(*base, &found)?);
                continue;
            }
            last = Some((*base, found));
            break;
        }
        let (writer, end) = match last {
            Some((base, mut found)) if found.end < recovery_point && self.keeps_gaps() => {
                self.cover(base, &mut found, Some(recovery_point))?;
                sealed.push(self.seal(base, &found)?);
                (self.begin_segment(recovery_point)?, recovery_point)
            }
            // The recovery point was wrong. Begin again from a lower one.
            Some((_, found)) if first_read(&logs, found.end) < first => {
                replay.forget();
                return self.recover(&Listing::read(&self.dir)?, found.end, start, replay);
            }
            Some((base, found)) => {
                let stored = self.dir.store_indexes(base, &found.indexes)?;
                let end = found.end;
                (self.writer(base, found, stored)?, end)
            }
            None => self.begin_log(start, recovery_point)?,
        };
        self.sync_segment(writer.segment.base)?;
        self.sync_dir()?;
        Ok((writer, sealed, end))
    }

    /// Completes and syncs a recovered segment that is not the last.
    fn seal(&self, base: Offset, found: &Recovered) -> Result<Arc<Segment>> {
        found.cadence.finish(&found.indexes);
        self.dir.store_indexes(base, &found.indexes)?;
        self.sync_segment(base)?;
        Ok(self.sealed(base, found.valid_bytes))
    }

    fn rules(&self, next: Option<Offset>, trusted: Offset) -> ScanRules {
        let dense_from = if self.may_have_holes || self.keeps_gaps() { Offset::MAX } else { 0 };
        ScanRules { limit: next.unwrap_or(Offset::MAX), trusted, dense_from }
    }

    /// Stores that everything is synced. On a full disk a lower point may stay: the next recovery
    /// begins there. Returns whether it was stored.
    pub(crate) fn reach_recovery_point(&self, before: Offset, end: Offset) -> Result<bool> {
        match self.checkpoints.set(Checkpoint::RecoveryPoint, end) {
            Err(error) if before <= end && error.kind() == ErrorKind::StorageFull => {
                let path = self.dir.path.join(Checkpoint::RecoveryPoint.file());
                self.dir.events.emit(&Event::CheckpointFailed { path, error: error.cause() });
                Ok(false)
            }
            stored => stored.map(|()| true),
        }
    }

    /// Begins a log in a directory without a segment. It is a new log, unless it is known to have
    /// had records.
    fn begin_log(&mut self, start: Offset, recovery_point: Offset) -> Result<(Writer, Offset)> {
        // A log that never had a record has nothing to be recovered.
        self.recovery.clean_shutdown =
            (start, recovery_point) == (0, 0) && self.recovery.truncated_at.is_none();
        if recovery_point > start && self.config.on_corruption != OnCorruption::Truncate {
            return Err(Error::Corrupt(Box::new(Corruption {
                path: self.dir.path_of(SegmentFile::live(start, Kind::Log)),
                position: 0,
                offset: Some(start),
                reason: CorruptionKind::MissingData { expected: recovery_point, found: start },
            })));
        }
        Ok((self.begin_segment(start)?, start))
    }

    /// Returns whether lost offsets stay without a record.
    fn keeps_gaps(&self) -> bool {
        self.config.on_corruption == OnCorruption::Quarantine
    }

    /// Returns whether a segment can be followed by the one after it, which begins at `next`: no
    /// offset is missing between them that must have a batch. Zeros in the place of missing
    /// offsets are never right.
    fn is_whole(&self, found: &Recovered, next: Option<Offset>) -> bool {
        let gap = next.filter(|next| found.end < *next);
        match found.tail {
            SegmentTail::Clean => gap.is_none_or(|next| next <= self.dense_from()),
            SegmentTail::Zeros => gap.is_none(),
            SegmentTail::Torn(_) | SegmentTail::Damaged(_) => false,
        }
    }

    /// Covers the offsets after a segment with an empty batch. They are known to be lost, and no
    /// later opening may report them as a new loss.
    fn cover(&self, base: Offset, found: &mut Recovered, next: Option<Offset>) -> Result<()> {
        let Some(next) = next.filter(|next| *next <= base.saturating_add(SPAN)) else {
            return Ok(());
        };
        let Some((header, batch)) = placeholder(found.end..next, -1)? else { return Ok(()) };
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        let file = self.dir.open_log(base)?;
        file.write_all_at(&batch, found.valid_bytes).map_err(|e| Error::io("write", &path, e))?;
        if !self.may_have_holes {
            let (position, offset) = (found.valid_bytes, Some(found.end));
            let reason = CorruptionKind::OffsetsMissing { from: found.end, to: next };
            self.dir.events.emit(&Event::CorruptionFound(Corruption {
                path,
                position,
                offset,
                reason,
            }));
        }
        found.take(found.valid_bytes, &header);
        found.file_bytes = found.file_bytes.max(found.valid_bytes);
        Ok(())
    }

    /// Returns the first of these segments with a hole before the next one: a segment is gone, or
    /// the end of one. Recovery need not read any of them but the last.
    fn first_with_a_hole(&self, logs: &[(Offset, u64)]) -> Result<Option<usize>> {
        for (index, ((base, bytes), (next, _))) in logs.iter().zip(logs.iter().skip(1)).enumerate()
        {
            // If gaps are kept, the hole is covered with an empty batch, like any gap.
            if *next > self.written_dense_from()
                && end_of_sealed(&self.dir, *base, *bytes)?.is_some_and(|end| end < *next)
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Fails if the bytes after the valid part of a segment may not be truncated.
    fn check_truncatable(
        &self,
        base: Offset,
        found: &Recovered,
        next: Option<Offset>,
        recovery_point: Offset,
    ) -> Result<()> {
        let has_later_segments = next.is_some();
        let explained = found.end >= recovery_point
            && match found.tail {
                SegmentTail::Clean => self.lost_power,
                SegmentTail::Zeros | SegmentTail::Torn(_) => !has_later_segments || self.lost_power,
                SegmentTail::Damaged(_) => self.lost_power,
            };
        // The damage was quarantined already, and the gap is what is left of it.
        let missing =
            matches!(found.tail, SegmentTail::Clean | SegmentTail::Zeros) && !has_later_segments;
        if explained
            || self.config.on_corruption == OnCorruption::Truncate
            || (missing && self.keeps_gaps())
        {
            return Ok(());
        }
        let gap = next.filter(|_| matches!(found.tail, SegmentTail::Clean));
        gap.map_or(Ok(()), |next| self.check_follows(next, found.end))?;
        Err(damage_at_end(&self.dir, base, found, next, recovery_point))
    }

    /// Fails for a file without a batch that does not begin at the end of the log before it,
    /// unless it can be a segment.
    fn check_start(&self, base: Offset, found: &Recovered, before: Option<Offset>) -> Result<()> {
        let is_apart = found.valid_bytes == 0 && before.is_some_and(|end| end < base);
        if is_apart { self.check_begins(base) } else { Ok(()) }
    }

    /// Fails for a file that only has the name of a segment. If it does not begin at the end of
    /// the log, no torn write explains it, and it is neither truncated nor removed, unless that is
    /// chosen.
    fn check_begins(&self, base: Offset) -> Result<()> {
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        let file = self.dir.open_log(base)?;
        let begins = begins_segment(&*file, base).map_err(|e| Error::io("read", &path, e))?;
        if begins || self.config.on_corruption == OnCorruption::Truncate {
            return Ok(());
        }
        let reason = CorruptionKind::Malformed(NOT_A_SEGMENT);
        Err(Error::Corrupt(Box::new(Corruption { path, position: 0, offset: None, reason })))
    }

    /// Fails for a segment without a batch after a gap. That file is wrong, and not the sound
    /// segment before it.
    fn check_follows(&self, base: Offset, end: Offset) -> Result<()> {
        self.check_begins(base)?;
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        let fail = |e| Error::io("read", &path, e);
        let file = self.dir.open_log(base)?;
        let bytes = file.len().map_err(fail)?;
        let first = BatchStream::new(file, 0, base).advance(bytes, Offset::MAX).map_err(fail)?;
        if matches!(first, Step::Batch(_)) {
            return Ok(());
        }
        let reason = CorruptionKind::OffsetsMissing { from: end, to: base };
        let corruption = Corruption { path, position: 0, offset: Some(end), reason };
        Err(Error::Corrupt(Box::new(corruption)))
    }

    /// Checks the start of the log. Returns whether all its remaining segments were removed.
    ///
    /// The start is stored before anything below it is removed, and for a log of another program
    /// before the first recovery point of ours. So records that are missing after the start were
    /// lost: in a power loss, if they were not synced.
    pub(crate) fn check_front(
        &mut self,
        listing: &Listing,
        start: Offset,
        is_clean: bool,
    ) -> Result<bool> {
        let Some((first, _)) = listing.logs().next().filter(|(first, _)| *first > start) else {
            return Ok(false);
        };
        if is_clean || self.point.uncompacted.is_none() || self.point.is_doubted {
            return self.checkpoints.note(Checkpoint::Start, first).map(|()| false);
        }
        let path = self.dir.path_of(SegmentFile::live(first, Kind::Log));
        // The name of the very first segment was synced when the log was made.
        let is_explained = self.lost_power && start > 0 && self.point.synced <= start;
        if is_explained && !self.keeps_gaps() {
            let bytes = self.remove_segments(&listing.logs().collect::<Vec<_>>())?;
            self.record_truncation(path, 0, bytes, start);
            return Ok(true);
        }
        let reason = CorruptionKind::OffsetsMissing { from: start, to: first };
        let lost = Corruption { path, position: 0, offset: Some(start), reason };
        if self.config.on_corruption == OnCorruption::Fail {
            return Err(Error::Corrupt(Box::new(lost)));
        }
        self.dir.events.emit(&Event::CorruptionFound(lost));
        self.checkpoints.note(Checkpoint::Start, first).map(|()| false)
    }

    /// Removes segments, the last first, and returns how many bytes they had.
    fn remove_segments(&self, segments: &[(Offset, u64)]) -> Result<u64> {
        segments.iter().try_for_each(|(base, _)| self.check_begins(*base))?;
        for (base, _) in segments.iter().rev() {
            for kind in [Kind::TxnIndex, Kind::TimeIndex, Kind::OffsetIndex, Kind::Log] {
                let path = self.dir.path_of(SegmentFile::live(*base, kind));
                match self.dir.fs.remove(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other.map_err(|e| Error::io("remove", &path, e))?,
                }
            }
            self.sync_dir()?;
        }
        Ok(segments.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes)))
    }

    /// Truncates a segment to its valid part, and removes the segments after it.
    fn truncate_segment(
        &mut self,
        base: Offset,
        found: &Recovered,
        later: &[(Offset, u64)],
    ) -> Result<()> {
        let dropped = match found.tail {
            SegmentTail::Clean | SegmentTail::Zeros => 0,
            SegmentTail::Torn(_) | SegmentTail::Damaged(_) => {
                found.file_bytes.saturating_sub(found.valid_bytes)
            }
        };
        let dropped = dropped.saturating_add(self.remove_segments(later)?);
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        if found.file_bytes != found.valid_bytes {
            let file = self.dir.open_log(base)?;
            file.set_len(found.valid_bytes).map_err(|e| Error::io("truncate", &path, e))?;
        }
        if dropped > 0 {
            self.record_truncation(path, found.valid_bytes, dropped, found.end);
        }
        Ok(())
    }

    pub(crate) fn record_truncation(
        &mut self,
        path: PathBuf,
        position: u64,
        bytes: u64,
        end: Offset,
    ) {
        self.recovery.truncated_bytes = self.recovery.truncated_bytes.saturating_add(bytes);
        self.recovery.truncated_at = Some((path.clone(), position));
        self.dir.events.emit(&Event::TailTruncated { path, position, bytes, end });
    }
}
