//! Writing segments anew, without the records that are superseded.
//!
//! A batch comes out in one of four ways. Where nothing changes it is copied byte for byte, so
//! that a second pass over the same log changes nothing. Where records go, it is built again, with
//! the same offsets, epoch, producer and sequence numbers. Where all go, it goes too, unless a
//! producer or the end of the round needs its header: then that stays, with no records. And where
//! a tombstone stays for the first time, the batch gets its delete horizon.

use crate::compaction::aborted_txns::AbortedEntries;
use crate::compaction::output::Output;
use crate::compaction::read_keys::Failure;
use crate::compaction::spans::Stretch;
use crate::compaction::survivors::Winners;
use crate::compaction::{Meter, READ_BYTES, Scratch, Source, Transactions, marker_of};
use crate::error::{InvalidBatch, Result};
use crate::record::{BatchBuilder, BatchHeader, BatchRef, Compression, Records};
use crate::segment::SegmentDir;
use crate::segment::batches::SegmentBatches;
use crate::segment::index::Indexes;
use crate::segment::placeholder::{SPAN, placeholder};
use crate::types::{Codec, LeaderEpoch, Offset, Timestamp};
use std::time::Duration;

const CHANGED: InvalidBatch =
    InvalidBatch::RuleViolation("it is not what it was when its keys were read");

/// Segments that become one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) dir: &'a SegmentDir,
    /// The base of the first, and of what they become.
    pub(crate) base: Offset,
    /// In order, one behind the other.
    pub(crate) sources: &'a [Source<'a>],
}

/// The terms for all groups of a pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) now: Timestamp,
    /// For how long a tombstone stays after the pass that first kept it.
    pub(crate) delete_retention: Duration,
    /// How rebuilt batches are compressed; as they were, if not set.
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
    /// Whether any batch is not as it was.
    pub(crate) changed: bool,
    /// The batches there were, read or known to be superseded.
    pub(crate) batches_read: u64,
    pub(crate) batches_kept: u64,
    pub(crate) records_kept: u64,
    pub(crate) records_removed: u64,
    /// The tombstones among them that had stayed for long enough.
    pub(crate) tombstones_removed: u64,
    pub(crate) bytes_read: u64,
    /// Those of all files.
    pub(crate) bytes_written: u64,
}

/// Writes the `.cleaned` files of a group, durably but for their names, and returns the indexes
/// that are in them.
///
/// The sources are only read. On any error no output is left, if it can be removed.
///
/// # Errors
///
/// Damage, with its place; a batch that this build cannot expand, or not within the limit; what
/// the disk says; what `report` says.
pub(crate) fn rewrite(
    group: &Group<'_>,
    winners: &Winners<'_>,
    terms: &Terms,
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
        bytes_read: 0,
        bytes_written: 0,
    };
    let meter = Meter::new(report);
    let end = group.sources.last().map_or(group.base, |last| last.next);
    let mut pass =
        Pass { winners, terms, end, leader_epoch: -1, transactions, meter, output, done };
    for source in group.sources {
        pass.segment(group.dir, source, scratch)?;
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
    winners: &'a Winners<'a>,
    terms: &'a Terms,
    /// Where the segment behind the group begins. The last batch before it stays, if without
    /// records, so that what was removed can be told from what a crash took: see [`placeholder`].
    end: Offset,
    /// That of the last batch written.
    leader_epoch: LeaderEpoch,
    transactions: &'a mut dyn Transactions,
    meter: Meter<'a>,
    output: Output<'a>,
    done: Rewritten,
}

/// The decision about a batch.
struct Verdict {
    /// Whether all of its records go.
    discard: bool,
    /// Whether its header stays when no record does.
    keep_empty: bool,
    /// Whether it says nothing any more, and goes when it has stayed for long enough.
    expires: bool,
}

/// The records of a batch that stay; `Scratch` has which.
#[derive(Default)]
struct Kept {
    tombstone: bool,
    tombstones_removed: u64,
}

impl Pass<'_> {
    fn segment(
        &mut self,
        dir: &SegmentDir,
        source: &Source<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let segment = source.segment;
        let mut aborted = AbortedEntries::open(dir, segment.base)?;
        let mut batches = SegmentBatches::new(segment, segment.published(), source.next)?
            .with_buffer(std::mem::take(&mut scratch.input), READ_BYTES);
        let mut stretches = self.winners.stretches_within(segment.base..source.next);
        loop {
            while let Some(stretch) = self.superseded(&mut stretches, batches.next_position()) {
                self.leave_out(&stretch);
                batches.skip_to(stretch.end(), stretch.next);
            }
            let Some((position, batch)) = batches.next()? else { break };
            self.batch(&batch, &mut aborted, scratch)
                .map_err(|failure| failure.at(source, position, batch.header()))?;
        }
        scratch.input = batches.into_buffer();
        Ok(())
    }

    /// The stretch that begins at this position, if nothing of it is to stay. Takes those off that
    /// lie before.
    fn superseded(&self, stretches: &mut &[Stretch], position: u64) -> Option<Stretch> {
        while let Some((stretch, rest)) = stretches.split_first()
            && stretch.position <= position
        {
            *stretches = rest;
            let offsets = stretch.base..stretch.next;
            if stretch.position == position
                && stretch.next != self.end
                && self
                    .winners
                    .in_range(offsets)
                    .is_some_and(|mut winners| winners.next().is_none())
            {
                return Some(*stretch);
            }
        }
        None
    }

    /// Goes past batches without reading them.
    fn leave_out(&mut self, stretch: &Stretch) {
        let done = &mut self.done;
        done.changed = true;
        done.batches_read = done.batches_read.saturating_add(u64::from(stretch.batches));
        done.records_removed = done.records_removed.saturating_add(u64::from(stretch.records));
    }

    fn batch(
        &mut self,
        batch: &BatchRef<'_>,
        aborted: &mut AbortedEntries,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        let header = batch.header();
        let bytes = header.size_bytes() as u64;
        self.done.batches_read = self.done.batches_read.saturating_add(1);
        self.done.bytes_read = self.done.bytes_read.saturating_add(bytes);
        self.meter.add(bytes)?;
        let verdict = self.judge(batch, aborted, scratch)?;
        let mut kept = Kept::default();
        scratch.kept.clear();
        if !verdict.discard && header.record_count > 0 {
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
        if count == 0 {
            return if verdict.keep_empty {
                self.write_empty(batch, &mut scratch.builder)
            } else {
                self.done.changed = true;
                Ok(())
            };
        }
        let begins = (kept.tombstone || verdict.expires) && header.delete_horizon().is_none();
        if count == all && !begins {
            return Ok(self.write(header, batch.as_bytes())?);
        }
        let horizon = if begins { Some(self.horizon()) } else { header.delete_horizon() };
        self.rebuild(batch, horizon, scratch)
    }

    /// Decides about a batch as a whole.
    fn judge(
        &mut self,
        batch: &BatchRef<'_>,
        aborted: &mut AbortedEntries,
        scratch: &mut Scratch,
    ) -> Result<Verdict, Failure> {
        let header = batch.header();
        let keep_empty = header.next_offset() == self.end
            || (header.has_producer() && self.transactions.is_last_of_producer(header));
        if !header.is_control() {
            let discard = self.transactions.is_aborted(header);
            return Ok(Verdict { discard, keep_empty, expires: false });
        }
        let Some(marker) = marker_of(batch, &mut scratch.decode)? else {
            return Ok(Verdict { discard: false, keep_empty, expires: false });
        };
        let expires = self.transactions.is_marker_discardable(header, marker);
        if !expires && !marker.committed {
            aborted.carry(header.last_offset(), &mut self.output)?;
        }
        let discard = expires && header.delete_horizon().is_some_and(|at| at <= self.terms.now);
        Ok(Verdict { discard, keep_empty, expires })
    }

    /// Keeps all records of a control batch.
    fn keep_all(&self, batch: &BatchRef<'_>, scratch: &mut Scratch) -> Result<Kept, Failure> {
        let base = batch.header().base_offset;
        for record in batch.records(&mut scratch.decode)? {
            scratch.kept.push(delta(base, record?.offset));
        }
        Ok(Kept::default())
    }

    /// Chooses the records of a batch that stay.
    fn choose(&self, batch: &BatchRef<'_>, scratch: &mut Scratch) -> Result<Kept, Failure> {
        let header = batch.header();
        let base = header.base_offset;
        let keeps_tombstones = header.delete_horizon().is_none_or(|at| self.terms.now < at);
        let end = self.winners.end();
        let mut kept = Kept::default();
        let chosen = &mut scratch.kept;
        let mut take = |offset: Offset, is_tombstone: bool| {
            // What the map has not seen stays, whatever the horizon says.
            if is_tombstone && !keeps_tombstones && offset < end {
                kept.tombstones_removed = kept.tombstones_removed.saturating_add(1);
                return;
            }
            kept.tombstone |= is_tombstone;
            chosen.push(delta(base, offset));
        };
        if let Some(mut winners) = self.winners.in_range(base..header.next_offset()) {
            let Some(first) = winners.next() else { return Ok(kept) };
            let mut records = batch.records(&mut scratch.decode)?;
            for winner in std::iter::once(first).chain(winners) {
                let record = record_at(&mut records, winner)?.ok_or(CHANGED)?;
                take(winner, record.value.is_none());
            }
            return Ok(kept);
        }
        for record in batch.records(&mut scratch.decode)? {
            let record = record?;
            if self.winners.wins(record.key, record.offset) {
                take(record.offset, record.value.is_none());
            }
        }
        Ok(kept)
    }

    fn horizon(&self) -> Timestamp {
        let retention = i64::try_from(self.terms.delete_retention.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.terms.now.as_millis().saturating_add(retention))
    }

    /// Writes a batch again with the records that were chosen.
    fn rebuild(
        &mut self,
        batch: &BatchRef<'_>,
        horizon: Option<Timestamp>,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        let header = batch.header();
        let builder = &mut scratch.builder;
        like(builder, header);
        let own = Compression::of(header.codec());
        let wanted = self.terms.compression.unwrap_or(own);
        builder.compression(wanted).delete_horizon(horizon);
        push_kept(batch, scratch)?;
        self.done.changed = true;
        let (bytes, rebuilt) = scratch.builder.finish_with_header()?;
        if wanted == own || bytes.len() <= header.size_bytes() {
            return Ok(self.write(&rebuilt, bytes)?);
        }
        // Batches that are packed worse than they were could make of a group more than a segment
        // may hold.
        like(&mut scratch.builder, header);
        scratch.builder.compression(own).delete_horizon(horizon);
        push_kept(batch, scratch)?;
        let (bytes, rebuilt) = scratch.builder.finish_with_header()?;
        Ok(self.write(&rebuilt, bytes)?)
    }

    /// Writes the header of a batch whose records are gone.
    fn write_empty(
        &mut self,
        batch: &BatchRef<'_>,
        builder: &mut BatchBuilder,
    ) -> Result<(), Failure> {
        let header = batch.header();
        like(builder, header);
        builder.compression(Compression::of(Codec::None)).set_max_timestamp(header.max_timestamp);
        let (bytes, header) = builder.finish_with_header()?;
        self.done.changed |= *bytes != *batch.as_bytes();
        Ok(self.write(&header, bytes)?)
    }

    /// Covers the offsets up to the next segment where the last batch does not: another program
    /// has left them out.
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

/// Begins a batch that covers the same offsets, from the same producer, as another.
fn like(builder: &mut BatchBuilder, header: &BatchHeader) {
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

/// Adds the records of a batch that were chosen to the one that is being built.
fn push_kept(batch: &BatchRef<'_>, scratch: &mut Scratch) -> Result<(), Failure> {
    let mut records = batch.records(&mut scratch.decode)?;
    for &delta in &scratch.kept {
        let offset = batch.header().base_offset.saturating_add_signed(i64::from(delta));
        let record = record_at(&mut records, offset)?.ok_or(CHANGED)?;
        scratch.builder.push_record_ref(delta, &record)?;
    }
    Ok(())
}

/// The record of this offset, which is not below those asked for before.
#[inline]
fn record_at<'a>(
    records: &mut Records<'a>,
    offset: Offset,
) -> Result<Option<crate::record::RecordRef<'a>>, InvalidBatch> {
    records.skip_to_offset(offset)?;
    let record = records.next().transpose()?;
    Ok(record.filter(|record| record.offset == offset))
}

/// An offset relative to the base of its batch, where it fits: decoding has checked that it does.
fn delta(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.saturating_sub(base)).unwrap_or(i32::MAX)
}
