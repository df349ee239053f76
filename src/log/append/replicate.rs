//! Appending batches as another replica wrote them, with its offsets and leader epochs.
//!
//! 1. Without a lock: verify the checksum of each batch, the order of the offsets, and the
//!    markers.
//! 2. Take the writer lock. Check that the batches continue the log, and that no epoch goes back.
//! 3. Roll, if the segment has no room for all of them.
//! 4. Store the epochs that begin, all with one replacement of their file.
//! 5. Write all batches with one call, unchanged. Add index entries, record producers, open and
//!    end transactions.
//! 6. Publish the end of the log, as every append.
//!
//! # Offsets that the leader has not
//!
//! Compaction leaves offsets out, so the next batch of a leader may lie above the end of the log.
//! Inside of a segment, that needs no proof: a batch that a crash took leaves a gap in the bytes,
//! too. The next segment begins at the end of the log, so nothing is missing between the two. The
//! cleaner checkpoint stores that offsets are left out, because the policy may change. In a log
//! that cannot have been compacted, a batch that does not continue it is an error.

use crate::error::{Error, InvalidBatch, Result};
use crate::fs::WhenFull;
use crate::log::inner::LogInner;
use crate::log::state::appended::Appended;
use crate::log::state::writer::{NOT_STORED, Writer};
use crate::record::{BatchHeader, BatchRef, DecodeBuffer, EndTxnMarker, marker_of};
use crate::segment::placeholder::SPAN;
use crate::types::{LeaderEpoch, Offset, Timestamp};
use std::collections::VecDeque;
use std::ops::Range;

/// The whole batches at the start of a buffer, which were checked.
struct Replicated<'a> {
    bytes: &'a [u8],
    batches: usize,
    offsets: Range<Offset>,
    /// The first offsets between two batches that no batch covers.
    gap: Option<Range<Offset>>,
    /// The epochs that rise from one batch to the next, and where each begins.
    epochs: Vec<(LeaderEpoch, Offset)>,
    /// The markers in the control batches; `None` in one that has no marker.
    markers: VecDeque<Option<EndTxnMarker>>,
    max_timestamp: Timestamp,
}

/// Takes the next whole batch from a buffer. A part of a batch at the end is left.
fn take_batch<'a>(rest: &mut &'a [u8]) -> Result<Option<BatchRef<'a>>, InvalidBatch> {
    if rest.len() < BatchHeader::SIZE {
        return Ok(None);
    }
    let header = BatchHeader::parse(rest)?;
    let Some((bytes, behind)) = rest.split_at_checked(header.size_bytes()) else { return Ok(None) };
    *rest = behind;
    Ok(Some(BatchRef::from_parts(header, bytes)))
}

impl<'a> Replicated<'a> {
    /// Checks the whole batches of a buffer. Returns `None` if it has none.
    fn check(buffer: &'a [u8], max_decompressed: usize) -> Result<Option<Replicated<'a>>> {
        let mut decode = DecodeBuffer::new(max_decompressed);
        let mut found = Replicated {
            bytes: buffer,
            batches: 0,
            offsets: 0..0,
            gap: None,
            epochs: Vec::new(),
            markers: VecDeque::new(),
            max_timestamp: Timestamp::NONE,
        };
        let mut rest = buffer;
        while let Some(batch) = take_batch(&mut rest)? {
            batch.verify_checksum()?;
            let header = *batch.header();
            let marker = match header.is_control() {
                true => Some(marker_of(&batch, &mut decode)?),
                false => None,
            };
            found.add(&header, marker)?;
        }
        found.bytes = buffer.get(..buffer.len().saturating_sub(rest.len())).unwrap_or_default();
        Ok((found.batches > 0).then_some(found))
    }

    fn add(&mut self, header: &BatchHeader, marker: Option<Option<EndTxnMarker>>) -> Result<()> {
        let (base, next) = (header.base_offset, header.next_offset());
        if self.batches == 0 {
            self.offsets = base..base;
        }
        if base < self.offsets.end {
            let rule = "the batches of a replica must follow each other in the order of offsets";
            return Err(InvalidBatch::RuleViolation(rule).into());
        }
        if next.saturating_sub(self.offsets.start) > SPAN {
            let rule = "the batches of a replica must span at most 2147483648 offsets";
            return Err(InvalidBatch::RuleViolation(rule).into());
        }
        if base > self.offsets.end {
            self.gap.get_or_insert(self.offsets.end..base);
        }
        self.offsets.end = next;
        self.batches = self.batches.saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        if self
            .epochs
            .last()
            .map_or(header.leader_epoch >= 0, |(last, _)| *last != header.leader_epoch)
        {
            self.epochs.push((header.leader_epoch, base));
        }
        self.markers.extend(marker);
        Ok(())
    }
}

impl LogInner {
    /// Appends the whole batches of a buffer as they are.
    pub(crate) fn append_as_follower(&self, buffer: &[u8]) -> Result<Appended> {
        self.state.check_writable()?;
        let checked = Replicated::check(buffer, self.config.max_decompressed_bytes)?;
        let Some(batches) = checked else { return Ok(self.nothing_appended()) };
        self.check_segment_size(batches.bytes.len() as u64)?;
        let may_have_holes = self.may_have_holes();
        self.append_holding(self.appends.writer.lock(), |writer| {
            self.append_replicated(writer, batches, may_have_holes)
        })
    }

    /// Returns whether compaction may have left offsets out, here or at the leader.
    fn may_have_holes(&self) -> bool {
        self.dynamic.current().cleanup_policy.compacts()
            || self.cleaning.progress.lock().cleaned.is_some()
    }

    /// Stores that offsets may be left out, if that is not known yet.
    fn mark_compacted(&self) -> Result<()> {
        if self.cleaning.progress.lock().cleaned.is_some() {
            return Ok(());
        }
        self.cleaning.set_cleaned(&self.flushes.checkpoints, 0)
    }

    fn append_replicated(
        &self,
        writer: &mut Writer,
        batches: Replicated<'_>,
        may_have_holes: bool,
    ) -> Result<Appended> {
        self.check_place(&batches, may_have_holes)?;
        let epochs = self.rising_epochs(&batches.epochs)?;
        let Range { start: first, end: next } = batches.offsets;
        if batches.gap.is_some() || first > self.state.end_for_writer() {
            self.mark_compacted()?;
        }
        if next.saturating_sub(self.state.end_for_writer()) > SPAN {
            self.skip_to(writer, first)?;
        }
        let (from, last) = (self.state.end_for_writer(), next.saturating_sub(1));
        let size = batches.bytes.len() as u64;
        if self.must_roll(writer, size, batches.max_timestamp, last, batches.batches) {
            self.roll_locked(writer, from, WhenFull::Fail)?;
        }
        // `Clock` is user-supplied and may panic, so read it before anything is written.
        writer.tracked.hear_at(self.clock().monotonic());
        self.assign_epochs(writer, epochs)?;
        let written = self.poison_on_unwind("append to", || writer.log.append(batches.bytes));
        let position = written.map_err(|failure| {
            // They must not refuse the same batches later.
            if self.truncate_epochs(writer, from).is_err() {
                writer.assigned_epoch = NOT_STORED;
            }
            self.not_appended(failure)
        })?;
        self.note_replicated(writer, batches.bytes, position, batches.markers);
        // As a marker does: a reader that sees the end sees the transactions that are open.
        self.state.lower_first_unstable(writer.tracked.first_unstable());
        self.publish(writer, next);
        self.state.set_first_unstable(writer.tracked.first_unstable());
        self.store_producers_if_due(writer);
        Ok(Appended { first, last, append_time: Timestamp::NONE, duplicate: false })
    }

    /// Fails if the batches do not continue the log.
    fn check_place(&self, batches: &Replicated<'_>, may_have_holes: bool) -> Result<()> {
        let end = self.state.end_for_writer();
        let first = batches.offsets.start;
        let unexpected = |first, end| {
            let log = self.state.location();
            Err(Error::UnexpectedOffset { log, first, end })
        };
        if first < end || (first > end && !may_have_holes) {
            return unexpected(first, end);
        }
        match &batches.gap {
            Some(gap) if !may_have_holes => unexpected(gap.end, gap.start),
            _ => Ok(()),
        }
    }

    /// Returns the epochs that begin with these batches. Fails for one that goes back.
    fn rising_epochs(
        &self,
        epochs: &[(LeaderEpoch, Offset)],
    ) -> Result<Vec<(LeaderEpoch, Offset)>> {
        let mut current = self.epochs.latest();
        let mut rising = Vec::with_capacity(epochs.len());
        for &(given, first) in epochs.iter().filter(|(epoch, _)| *epoch >= 0) {
            if given < current {
                let log = self.state.location();
                return Err(Error::StaleLeaderEpoch { log, given, current });
            }
            if given > current {
                rising.push((given, first));
                current = given;
            }
        }
        Ok(rising)
    }

    /// Records the epochs that begin, before their batches are written.
    fn assign_epochs(&self, writer: &mut Writer, epochs: Vec<(LeaderEpoch, Offset)>) -> Result<()> {
        if epochs.is_empty() && writer.assigned_epoch != NOT_STORED {
            return Ok(());
        }
        self.poison_on_unwind("append to", || self.epochs.assign_all(&epochs)).inspect_err(
            |_| {
                // The file may have them. Before another batch is written, it must not.
                writer.assigned_epoch = NOT_STORED;
            },
        )?;
        writer.assigned_epoch = self.epochs.latest();
        writer.leader_epoch = writer.leader_epoch.max(writer.assigned_epoch);
        Ok(())
    }

    /// Moves the end of the log up to an offset at which a segment begins, because no batch covers
    /// so many offsets. That is durable when it returns.
    fn skip_to(&self, writer: &mut Writer, offset: Offset) -> Result<()> {
        let now = self.clock().monotonic();
        self.begin_next(writer, offset, now, WhenFull::Fail)?;
        self.state.set_end(offset);
        self.keep_end(offset)
    }

    /// Adds index entries for batches that were written, and records their producers and
    /// transactions.
    fn note_replicated(
        &self,
        writer: &mut Writer,
        bytes: &[u8],
        position: u64,
        mut markers: VecDeque<Option<EndTxnMarker>>,
    ) {
        let (mut position, mut rest) = (position, bytes);
        while let Ok(Some(batch)) = take_batch(&mut rest) {
            let header = batch.header();
            if position == 0 {
                writer.first_timestamp = header.max_timestamp;
            }
            let (size, last) = (header.size_bytes() as u64, header.last_offset());
            writer.cadence.note(&writer.indexes, position, size, last, header.max_timestamp);
            position = position.saturating_add(size);
            let marker = if header.is_control() { markers.pop_front().flatten() } else { None };
            match marker {
                Some(marker) if header.has_producer() => self.note_marker(writer, header, &marker),
                _ => writer.tracked.note(header),
            }
        }
    }
}
