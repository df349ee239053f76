//! Reading a whole log to find all its damage.

use crate::error::{Corruption, CorruptionKind, Error, InvalidBatch, Result};
use crate::log::files::losses::lost_since_close;
use crate::log::inner::LogInner;
use crate::log::read::survey::read_strays;
use crate::log::state::segment_list::SegmentList;
use crate::record::DecodeBuffer;
use crate::segment::Segment;
use crate::segment::batches::SegmentBatches;
use crate::segment::index::Indexes;
use crate::segment::index_files::MISSING;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::txn_index::{AbortedTxn, ENTRY_BYTES};
use crate::types::{Offset, ProducerId, Timestamp};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

impl LogInner {
    /// Checks every batch, every record and every index entry that is stored.
    pub(crate) fn verify(&self) -> Result<Vec<Corruption>> {
        self.state.check_readable()?;
        self.refresh()?;
        let (mut found, mut from) = (Vec::new(), 0);
        // Stop at the present end: records may be appended faster than they are read here.
        let until = self.state.end();
        while from <= until {
            let (damage, next) = self.verify_next(from).map_err(|error| self.explained(error))?;
            found.extend(damage);
            let Some(next) = next else { break };
            from = next;
        }
        if self.state.is_read_only() {
            let strays = read_strays(&self.dir, &self.flushes.checkpoints, &self.dynamic.current());
            found.extend(strays.map_err(|error| self.state.unless_closed(error))?);
            let lost = lost_since_close(&self.dir, &self.flushes.checkpoints);
            found.extend(lost.map_err(|error| self.state.unless_closed(error))?);
        }
        Ok(found)
    }

    /// Says why a file is missing: in a poisoned log, a replacement of segments may have stopped
    /// halfway, and the next opening finishes it.
    fn explained(&self, error: Error) -> Error {
        let is_missing = matches!(
            &error,
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound
        );
        match self.state.check_writable() {
            Err(poisoned @ Error::Poisoned { .. }) if is_missing => poisoned,
            _ => error,
        }
    }

    /// Checks the segment in which an offset lies, or the last one. Returns the base of the next
    /// segment.
    ///
    /// Segments are checked one at a time, so that after a truncation or replacement only one of
    /// them is read again.
    fn verify_next(&self, from: Offset) -> Result<(Vec<Corruption>, Option<Offset>)> {
        loop {
            let revision = self.state.revision();
            let (found, next) = self.unrevised(|list, end| self.verify_in(list, end, from))?;
            // The writer of a read-only log may have replaced files under it.
            if found.is_empty() || !self.state.is_read_only() {
                return Ok((found, next));
            }
            self.refresh()?;
            if !self.state.revised_since(revision) {
                return Ok((found, next));
            }
        }
    }

    fn verify_in(
        &self,
        list: Arc<SegmentList>,
        end: Offset,
        from: Offset,
    ) -> Result<(Vec<Corruption>, Option<Offset>)> {
        let mut found = Vec::new();
        let behind = list.segments.iter().skip(1).position(|segment| segment.base > from);
        let index = behind.unwrap_or(list.segments.len().saturating_sub(1));
        let next = list.segments.get(index.saturating_add(1)).map(|segment| segment.base);
        let Some(segment) = list.segments.get(index).map(Arc::clone) else {
            return Ok((found, next));
        };
        let bytes = segment.published();
        let mut limit = list.limit(index, end);
        let logs =
            list.segments.iter().map(|segment| (segment.base, segment.published())).collect();
        // This reads for a while, and segments that are deleted meanwhile must leave the disk.
        drop(list);
        if limit == end {
            // Appends go on. The batches that they have published lie below the end after the
            // current append.
            limit = self.end_after_current_append().max(end);
        }
        if let Some(batches) = self.verify_log(&segment, bytes, limit, &mut found)? {
            if segment.is_sealed() {
                self.verify_stored_indexes(&segment, &batches.by_position, &mut found)?;
                self.verify_aborted(&segment, logs, &batches, &mut found)?;
            } else if !self.state.is_read_only() {
                // The indexes of the active segment are in memory. Later appends are left to the
                // next call.
                let indexes = segment.indexes(limit)?;
                self.verify_indexes(&segment, &indexes, bytes, &batches.by_position, &mut found);
            }
        }
        Ok((found, next))
    }

    /// Returns the batches of a sound segment. `None` if it is damaged; the damage is added to
    /// `found`.
    fn verify_log(
        &self,
        segment: &Segment,
        bytes: u64,
        limit: Offset,
        found: &mut Vec<Corruption>,
    ) -> Result<Option<SeenBatches>> {
        let mut scratch = DecodeBuffer::new(self.config.max_decompressed_bytes);
        let mut batches = SeenBatches::default();
        let mut largest = Timestamp::NONE;
        let mut note = |error: Error| match error {
            Error::Corrupt(corruption) => {
                found.push(*corruption);
                Ok(())
            }
            other => Err(other),
        };
        let mut scan = match SegmentBatches::new(segment, bytes, limit) {
            Ok(scan) => scan,
            Err(error) => return note(error).map(|()| None),
        };
        loop {
            let (position, batch) = match scan.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Some(batches)),
                Err(error) => return note(error).map(|()| None),
            };
            let header = batch.header();
            let decoded = match batch.records(&mut scratch) {
                Ok(mut records) => records.try_for_each(|record| record.map(drop)),
                Err(
                    InvalidBatch::CodecUnavailable { .. }
                    | InvalidBatch::DecompressedTooLarge { .. },
                ) => Ok(()),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = decoded {
                note(segment.corrupt(position, Some(header.base_offset), reason.into()))?;
            }
            largest = largest.max(header.max_timestamp);
            let seen = Seen { last_offset: header.last_offset(), largest };
            batches.by_position.insert(position, seen);
            batches.has_transactions |= header.is_transactional();
            if header.is_control() {
                batches.markers.insert(header.base_offset, header.producer_id);
            }
        }
    }

    fn verify_stored_indexes(
        &self,
        segment: &Segment,
        batches: &BTreeMap<u64, Seen>,
        found: &mut Vec<Corruption>,
    ) -> Result<()> {
        match segment.stored_indexes()? {
            Ok(indexes) => {
                self.verify_indexes(segment, &indexes, segment.published(), batches, found);
            }
            // A missing index is no damage: it is rebuilt when it is needed.
            Err((_, MISSING)) => {}
            Err((kind, reason)) => {
                let path = self.dir.path_of(SegmentFile::live(segment.base, kind));
                let reason = CorruptionKind::Malformed(reason);
                found.push(Corruption { path, position: 0, offset: None, reason });
            }
        }
        Ok(())
    }

    /// Compares the stored index of aborted transactions with the markers of a segment. A missing
    /// file is as one without entries: a reader would see aborted records.
    fn verify_aborted(
        &self,
        segment: &Segment,
        logs: Vec<(Offset, u64)>,
        batches: &SeenBatches,
        found: &mut Vec<Corruption>,
    ) -> Result<()> {
        let mut note = |entry: u64, offset, reason| {
            let path = self.dir.path_of(SegmentFile::live(segment.base, Kind::TxnIndex));
            let position = entry.saturating_mul(ENTRY_BYTES as u64);
            found.push(Corruption { path, position, offset, reason });
        };
        let stored = match segment.stored_aborted()? {
            Ok(stored) => stored,
            Err(reason) => {
                note(0, None, CorruptionKind::Malformed(reason));
                return Ok(());
            }
        };
        for (entry, aborted) in (0..).zip(stored.iter_from(0)) {
            if batches.markers.get(&aborted.last) != Some(&aborted.producer_id) {
                let what = "no marker of its producer has its last offset";
                note(entry, Some(aborted.last), CorruptionKind::IndexEntry { entry, what });
            }
        }
        if !batches.has_transactions {
            return Ok(());
        }
        let expected = match self.indexed_anew(logs.clone(), segment.base) {
            Ok(expected) => expected,
            // The damage lies in an earlier segment, and is found there.
            Err(Error::Corrupt(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        for (entry, aborted) in (0..).zip(expected.iter_from(0)) {
            let there = stored.iter_from(aborted.last).next();
            // Compaction leaves the entry of a transaction whose first records it removed. A
            // recovery that read the records anew begins it at the first that is left.
            let of_same = |there: &AbortedTxn| {
                (there.producer_id, there.last) == (aborted.producer_id, aborted.last)
            };
            let covered_from = there.filter(of_same).map_or(aborted.last, |there| there.first);
            let uncovered = aborted.first..covered_from;
            if !uncovered.is_empty() && self.has_batch_of(aborted.producer_id, &uncovered, &logs)? {
                let what = "an aborted transaction is missing, or begins below its first offset";
                note(entry, Some(aborted.last), CorruptionKind::IndexEntry { entry, what });
            }
        }
        Ok(())
    }

    /// Returns whether a batch of an aborted transaction is left at these offsets. The snapshot
    /// from which the index is rebuilt may be older than the compaction that removed them all.
    fn has_batch_of(
        &self,
        producer_id: ProducerId,
        offsets: &Range<Offset>,
        logs: &[(Offset, u64)],
    ) -> Result<bool> {
        let nexts = logs.iter().skip(1).map(|(base, _)| *base).chain([Offset::MAX]);
        let holds = |&(base, next): &(Offset, Offset)| offsets.start < next && base < offsets.end;
        let known = logs.iter().zip(nexts).map(|((base, bytes), next)| ((*base, next), *bytes));
        for ((base, next), bytes) in known.filter(|(segment, _)| holds(segment)) {
            let segment = Segment::sealed(Arc::clone(&self.dir), base, bytes);
            let mut batches = SegmentBatches::new(&segment, bytes, next)?;
            while let Some((_, batch)) = batches.next()? {
                let header = batch.header();
                if offsets.contains(&header.base_offset)
                    && header.producer_id == producer_id
                    && header.is_transactional()
                    && !header.is_control()
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Compares the index entries for the first bytes of a segment with its batches.
    fn verify_indexes(
        &self,
        segment: &Segment,
        indexes: &Indexes,
        bytes: u64,
        batches: &BTreeMap<u64, Seen>,
        found: &mut Vec<Corruption>,
    ) {
        let mut note = |kind, entry: u64, bytes: u64, offset, reason| {
            found.push(Corruption {
                path: self.dir.path_of(SegmentFile::live(segment.base, kind)),
                position: entry.saturating_mul(bytes),
                offset,
                reason,
            });
        };
        let sealed = segment.is_sealed();
        let offsets = indexes.offsets.iter().take_while(|entry| sealed || entry.position < bytes);
        for (number, entry) in (0..).zip(offsets) {
            let group = batches.range(entry.position..).map(|(_, seen)| seen.last_offset);
            let names_batch = batches.contains_key(&entry.position)
                && group.take_while(|last| *last <= entry.offset).any(|last| last == entry.offset);
            if !names_batch {
                let what = "no append begins at its position and ends with its offset";
                let damage = CorruptionKind::IndexEntry { entry: number, what };
                note(Kind::OffsetIndex, number, 8, Some(entry.offset), damage);
            }
        }
        let by_offset: BTreeMap<Offset, Timestamp> =
            batches.values().map(|seen| (seen.last_offset, seen.largest)).collect();
        let last = by_offset.last_key_value().map(|(last, _)| *last);
        let times = indexes.times.iter().take_while(|entry| sealed || Some(entry.offset) <= last);
        for (number, entry) in (0..).zip(times) {
            if by_offset.get(&entry.offset) != Some(&entry.timestamp) {
                let what = "the batch that ends with its offset has another timestamp, or an earlier batch has a later one";
                let damage = CorruptionKind::IndexEntry { entry: number, what };
                note(Kind::TimeIndex, number, 12, Some(entry.offset), damage);
            }
        }
    }
}

/// The facts about a segment that its index entries must match.
#[derive(Debug, Default)]
struct SeenBatches {
    /// Last offset and largest timestamp so far.
    by_position: BTreeMap<u64, Seen>,
    /// The producers of the control batches, by offset.
    markers: BTreeMap<Offset, ProducerId>,
    has_transactions: bool,
}

/// The facts about a batch that its index entries must match.
#[derive(Debug)]
struct Seen {
    last_offset: Offset,
    largest: Timestamp,
}
