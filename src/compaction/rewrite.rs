//! Rewriting segments without the superseded records.
//!
//! | the records of a batch | the batch |
//! |---|---|
//! | all stay | is copied byte for byte, so that a second pass over the same log changes nothing |
//! | some are removed | is rebuilt with the same offsets, epoch, producer and sequence numbers |
//! | all are removed | is removed, or stays without records if a producer or the end of the segment needs its header |
//! | a tombstone stays for the first time | gets a delete horizon |

use crate::compaction::output::Output;
use crate::compaction::read_keys::BatchFailure;
use crate::compaction::spans::Span;
use crate::compaction::survivors::Survivors;
use crate::compaction::transactions::{MarkerFate, Transactions};
use crate::compaction::{ProgressMeter, READ_BYTES, Scratch, Source};
use crate::error::{InvalidBatch, Result};
use crate::record::{BatchBuilder, BatchHeader, BatchRef, Compression, Records, marker_of};
use crate::segment::SegmentDir;
use crate::segment::batches::SegmentBatches;
use crate::segment::index::Indexes;
use crate::segment::placeholder::{SPAN, placeholder};
use crate::types::{Codec, LeaderEpoch, Offset, Timestamp};
use std::time::Duration;

const CHANGED: InvalidBatch =
    InvalidBatch::RuleViolation("it has changed since its keys were read");

/// Segments that become one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentGroup<'a> {
    pub(crate) dir: &'a SegmentDir,
    /// The base of the first segment, and of the segment that they become.
    pub(crate) base: Offset,
    /// The segments, in order and without gaps.
    pub(crate) sources: &'a [Source<'a>],
}

/// The options for all groups of a pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RewriteOptions {
    pub(crate) now: Timestamp,
    /// The time that a tombstone stays after the pass that first kept it.
    pub(crate) delete_retention: Duration,
    /// The compression of rebuilt batches. Without it, they keep their own.
    pub(crate) compression: Option<Compression>,
}

/// The result of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) base: Offset,
    /// The offset after its last batch.
    pub(crate) end: Offset,
    /// The bytes of its log.
    pub(crate) bytes: u64,
    pub(crate) largest: Timestamp,
    /// Whether any batch changed.
    pub(crate) changed: bool,
    /// The number of batches that were read or known to be superseded.
    pub(crate) batches_read: u64,
    pub(crate) batches_kept: u64,
    pub(crate) records_kept: u64,
    pub(crate) records_removed: u64,
    /// The number of tombstones among them, removed after their time.
    pub(crate) tombstones_removed: u64,
    /// Whether it lacks a marker that was there.
    pub(crate) marker_removed: bool,
    pub(crate) bytes_read: u64,
    /// The bytes of all files.
    pub(crate) bytes_written: u64,
}

/// Writes the `.cleaned` files of a group, and returns the indexes in them. The files are durable,
/// their names are not.
///
/// The sources are only read. After an error no output is left, as far as it can be removed.
///
/// # Errors
///
/// [`Error::Corrupt`](crate::Error::Corrupt); a batch that this build cannot decompress, or not
/// within the limit; an error of the file system; the error of `report`.
pub(crate) fn rewrite(
    group: &SegmentGroup<'_>,
    survivors: &Survivors<'_>,
    options: &RewriteOptions,
    scratch: &mut Scratch,
    transactions: &mut dyn Transactions,
    report: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(Rewritten, Indexes)> {
    let buffer = std::mem::take(&mut scratch.output);
    let output = Output::create(group.dir, group.base, buffer)?;
    let done = Rewritten {
        base: group.base,
        end: group.base,
        bytes: 0,
        largest: Timestamp::NONE,
        changed: false,
        batches_read: 0,
        batches_kept: 0,
        records_kept: 0,
        records_removed: 0,
        tombstones_removed: 0,
        marker_removed: false,
        bytes_read: 0,
        bytes_written: 0,
    };
    let meter = ProgressMeter::new(report);
    let end = group.sources.last().map_or(group.base, |last| last.next);
    let mut pass =
        Pass { survivors, options, end, leader_epoch: -1, transactions, meter, output, done };
    for source in group.sources {
        pass.segment(source, scratch)?;
    }
    pass.cover_the_end()?;
    pass.meter.finish()?;
    let mut done = pass.done;
    done.bytes = pass.output.log_bytes();
    done.largest = pass.output.largest_timestamp();
    let finished = pass.output.finish()?;
    done.bytes_written = finished.bytes;
    scratch.output = finished.buffer;
    Ok((done, finished.indexes))
}

struct Pass<'a> {
    survivors: &'a Survivors<'a>,
    options: &'a RewriteOptions,
    /// The base of the segment after the group. The last batch before it stays, if necessary
    /// without records, so that removed offsets can be told from offsets that a crash lost: see
    /// [`placeholder`].
    end: Offset,
    /// The leader epoch of the last batch written.
    leader_epoch: LeaderEpoch,
    transactions: &'a mut dyn Transactions,
    meter: ProgressMeter<'a>,
    output: Output<'a>,
    done: Rewritten,
}

/// The decision about a batch.
struct BatchDecision {
    /// Whether all records are removed.
    discard: bool,
    /// Whether the header stays even if no record does.
    keep_empty: bool,
    /// Whether the batch has no effect any more, so that it is removed after its time.
    expires: bool,
}

/// Facts about the surviving records of a batch. `Scratch` has their offsets.
#[derive(Default)]
struct ChosenRecords {
    tombstone: bool,
    tombstones_removed: u64,
}

impl Pass<'_> {
    fn segment(&mut self, source: &Source<'_>, scratch: &mut Scratch) -> Result<()> {
        let segment = source.segment;
        self.transactions.begin_segment(segment.base..source.next);
        let mut batches = SegmentBatches::new(segment, segment.published(), source.next)?
            .with_buffer(std::mem::take(&mut scratch.input), READ_BYTES);
        let mut spans = self.survivors.spans_within(segment.base..source.next);
        loop {
            while let Some(span) = self.superseded(&mut spans, batches.next_position()) {
                self.count_skipped(&span);
                batches.skip_to(span.end(), span.next);
            }
            let Some((position, batch)) = batches.next()? else { break };
            self.batch(&batch, scratch)
                .map_err(|failure| failure.at(source, position, batch.header()))?;
        }
        scratch.input = batches.into_buffer();
        Ok(())
    }

    /// Returns the span that begins at this position, if none of its records stay. Drops the spans
    /// before it.
    fn superseded(&self, spans: &mut &[Span], position: u64) -> Option<Span> {
        while let Some((span, rest)) = spans.split_first()
            && span.position <= position
        {
            *spans = rest;
            let offsets = span.base..span.next;
            if span.position == position
                && span.next != self.end
                && self
                    .survivors
                    .in_range(offsets)
                    .is_some_and(|mut survivors| survivors.next().is_none())
            {
                return Some(*span);
            }
        }
        None
    }

    /// Counts batches that are skipped without reading them.
    fn count_skipped(&mut self, span: &Span) {
        let done = &mut self.done;
        done.changed = true;
        done.batches_read = done.batches_read.saturating_add(u64::from(span.batches));
        done.records_removed = done.records_removed.saturating_add(u64::from(span.records));
    }

    fn batch(&mut self, batch: &BatchRef<'_>, scratch: &mut Scratch) -> Result<(), BatchFailure> {
        let header = batch.header();
        let bytes = header.size_bytes() as u64;
        self.done.batches_read = self.done.batches_read.saturating_add(1);
        self.done.bytes_read = self.done.bytes_read.saturating_add(bytes);
        self.meter.add(bytes)?;
        let decision = self.decide(batch, scratch)?;
        let mut kept = ChosenRecords::default();
        scratch.kept.clear();
        if !decision.discard && header.record_count > 0 {
            kept = if header.is_control() {
                self.keep_all(batch, scratch)?
            } else {
                self.choose(batch, scratch)?
            };
        }
        let count = scratch.kept.len() as u64;
        let all = u64::try_from(header.record_count).unwrap_or(0);
        self.done.records_kept = self.done.records_kept.saturating_add(count);
        self.done.records_removed =
            self.done.records_removed.saturating_add(all.saturating_sub(count));
        self.done.tombstones_removed =
            self.done.tombstones_removed.saturating_add(kept.tombstones_removed);
        self.done.marker_removed |= header.is_control() && count < all;
        if count == 0 {
            return if decision.keep_empty {
                self.write_empty(batch, &mut scratch.builder)
            } else {
                self.done.changed = true;
                Ok(())
            };
        }
        let begins = (kept.tombstone || decision.expires) && header.delete_horizon().is_none();
        if count == all && !begins {
            return Ok(self.write(header, batch.as_bytes())?);
        }
        let horizon = if begins { Some(self.horizon()) } else { header.delete_horizon() };
        self.rebuild(batch, horizon, scratch)
    }

    /// Decides about a batch as a whole.
    fn decide(
        &mut self,
        batch: &BatchRef<'_>,
        scratch: &mut Scratch,
    ) -> Result<BatchDecision, BatchFailure> {
        let header = batch.header();
        let is_last = header.has_producer() && self.transactions.is_last_of_producer(header);
        let keep_empty = is_last || header.next_offset() == self.end;
        if !header.is_control() {
            let discard = self.transactions.is_aborted(header)?;
            return Ok(BatchDecision { discard, keep_empty, expires: false });
        }
        let fate = match marker_of(batch, &mut scratch.decode)? {
            Some(marker) => self.transactions.end(header, marker)?,
            None => MarkerFate::Keep,
        };
        if let MarkerFate::KeepWithEntry(aborted) = fate {
            self.output.append_aborted(aborted)?;
        }
        let expires = fate == MarkerFate::Discardable;
        let has_expired = header.delete_horizon().is_some_and(|at| at <= self.options.now);
        // Without its record, a marker says nothing about the epochs of its producer.
        let discard = expires && has_expired && !is_last;
        Ok(BatchDecision { discard, keep_empty, expires })
    }

    /// Keeps all records of a control batch.
    fn keep_all(
        &self,
        batch: &BatchRef<'_>,
        scratch: &mut Scratch,
    ) -> Result<ChosenRecords, BatchFailure> {
        let base = batch.header().base_offset;
        for record in batch.records(&mut scratch.decode)? {
            scratch.kept.push(delta(base, record?.offset));
        }
        Ok(ChosenRecords::default())
    }

    /// Chooses the records of a batch that stay.
    fn choose(
        &self,
        batch: &BatchRef<'_>,
        scratch: &mut Scratch,
    ) -> Result<ChosenRecords, BatchFailure> {
        let header = batch.header();
        let base = header.base_offset;
        let keeps_tombstones = header.delete_horizon().is_none_or(|at| self.options.now < at);
        let end = self.survivors.end();
        let mut kept = ChosenRecords::default();
        let chosen = &mut scratch.kept;
        let mut take = |offset: Offset, is_tombstone: bool| {
            // Records that the map has not seen stay, whatever the delete horizon is.
            if is_tombstone && !keeps_tombstones && offset < end {
                kept.tombstones_removed = kept.tombstones_removed.saturating_add(1);
                return;
            }
            kept.tombstone |= is_tombstone;
            chosen.push(delta(base, offset));
        };
        if let Some(mut survivors) = self.survivors.in_range(base..header.next_offset()) {
            let Some(first) = survivors.next() else { return Ok(kept) };
            let mut records = batch.records(&mut scratch.decode)?;
            for survivor in std::iter::once(first).chain(survivors) {
                let record = record_at(&mut records, survivor)?.ok_or(CHANGED)?;
                take(survivor, record.value.is_none());
            }
            return Ok(kept);
        }
        for record in batch.records(&mut scratch.decode)? {
            let record = record?;
            if self.survivors.survives(record.key, record.offset) {
                take(record.offset, record.value.is_none());
            }
        }
        Ok(kept)
    }

    fn horizon(&self) -> Timestamp {
        let retention =
            i64::try_from(self.options.delete_retention.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.options.now.as_millis().saturating_add(retention))
    }

    /// Rebuilds a batch with the chosen records.
    fn rebuild(
        &mut self,
        batch: &BatchRef<'_>,
        horizon: Option<Timestamp>,
        scratch: &mut Scratch,
    ) -> Result<(), BatchFailure> {
        let header = batch.header();
        let builder = &mut scratch.builder;
        begin_like(builder, header);
        let own = Compression::of(header.codec());
        let wanted = self.options.compression.filter(|_| !header.is_control()).unwrap_or(own);
        builder.compression(wanted).delete_horizon(horizon);
        push_chosen(batch, scratch)?;
        self.done.changed = true;
        let (bytes, rebuilt) = scratch.builder.finish_with_header()?;
        if wanted == own || bytes.len() <= header.size_bytes() {
            return Ok(self.write(&rebuilt, bytes)?);
        }
        // A batch that becomes larger could make the group larger than a segment may be.
        begin_like(&mut scratch.builder, header);
        scratch.builder.compression(own).delete_horizon(horizon);
        push_chosen(batch, scratch)?;
        let (bytes, rebuilt) = scratch.builder.finish_with_header()?;
        Ok(self.write(&rebuilt, bytes)?)
    }

    /// Writes a batch without records.
    fn write_empty(
        &mut self,
        batch: &BatchRef<'_>,
        builder: &mut BatchBuilder,
    ) -> Result<(), BatchFailure> {
        let header = batch.header();
        begin_like(builder, header);
        builder.compression(Compression::of(Codec::None)).set_max_timestamp(header.max_timestamp);
        let (bytes, header) = builder.finish_with_header()?;
        self.done.changed |= *bytes != *batch.as_bytes();
        Ok(self.write(&header, bytes)?)
    }

    /// Covers the offsets up to the next segment if the last batch does not: another program may
    /// have left them without a batch.
    fn cover_the_end(&mut self) -> Result<()> {
        let fits = self.end <= self.done.base.saturating_add(SPAN)
            && self.output.has_room_for(BatchHeader::SIZE as u64);
        let Some((header, batch)) =
            placeholder(self.done.end..self.end, self.leader_epoch)?.filter(|_| fits)
        else {
            return Ok(());
        };
        self.done.changed = true;
        self.write(&header, &batch)
    }

    fn write(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        self.output.append(header, bytes)?;
        self.done.end = header.next_offset();
        self.leader_epoch = header.leader_epoch;
        self.done.batches_kept = self.done.batches_kept.saturating_add(1);
        self.meter.add(bytes.len() as u64)
    }
}

/// Begins a batch with the same offsets and the same producer as another.
fn begin_like(builder: &mut BatchBuilder, header: &BatchHeader) {
    builder.clear();
    builder
        .base_offset(header.base_offset)
        .leader_epoch(header.leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .timestamp_type(header.timestamp_type())
        .transactional(header.is_transactional())
        .control(header.is_control())
        .set_last_offset_delta(header.last_offset_delta);
}

/// Adds the chosen records of a batch to the one that is being built.
fn push_chosen(batch: &BatchRef<'_>, scratch: &mut Scratch) -> Result<(), BatchFailure> {
    let mut records = batch.records(&mut scratch.decode)?;
    for &delta in &scratch.kept {
        let offset = batch.header().base_offset.saturating_add_signed(i64::from(delta));
        let record = record_at(&mut records, offset)?.ok_or(CHANGED)?;
        scratch.builder.push_record_ref(delta, &record)?;
    }
    Ok(())
}

/// Returns the record of this offset. Offsets must not decrease from call to call.
#[inline]
fn record_at<'a>(
    records: &mut Records<'a>,
    offset: Offset,
) -> Result<Option<crate::record::RecordRef<'a>>, InvalidBatch> {
    records.skip_to_offset(offset)?;
    let record = records.next().transpose()?;
    Ok(record.filter(|record| record.offset == offset))
}

/// Returns an offset relative to the base of its batch. It fits, because decoding has checked
/// that.
fn delta(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.saturating_sub(base)).unwrap_or(i32::MAX)
}
