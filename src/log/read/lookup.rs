//! Looking up an offset by time.

use crate::error::{Error, Result};
use crate::log::inner::LogInner;
use crate::log::state::segment_list::SegmentList;
use crate::record::{BatchRef, DecodeBuffer};
use crate::segment::batches::SegmentBatches;
use crate::types::{IsolationLevel, Offset, OffsetSpec, Timestamp, TimestampType};
use std::sync::Arc;

/// The number of bytes to read ahead. The target usually lies at most one index interval, or one
/// batch, after the start of the search.
const READ_AHEAD_BYTES: usize = 32 * 1024;

impl LogInner {
    /// Returns the offset that a spec means at an isolation level. A record at or above the bound
    /// of the level is not found, as in Kafka.
    pub(crate) fn list_offset(
        &self,
        level: IsolationLevel,
        spec: OffsetSpec,
    ) -> Result<Option<(Offset, Timestamp)>> {
        self.state.check_readable()?;
        self.refresh()?;
        let found = match spec {
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                return Ok(Some((self.state.start(), Timestamp::NONE)));
            }
            OffsetSpec::Latest => return Ok(Some((self.state.bound(level), Timestamp::NONE))),
            OffsetSpec::LatestTiered => return Ok(None),
            OffsetSpec::Time(at) => self.offset_for_time(at)?,
            OffsetSpec::MaxTimestamp => self.offset_of_largest_time()?,
        };
        Ok(found.filter(|(offset, _)| *offset < self.state.bound(level)))
    }

    /// Returns the first record with the largest timestamp.
    fn offset_of_largest_time(&self) -> Result<Option<(Offset, Timestamp)>> {
        self.unrevised(|list, end| {
            let mut largest: Option<(Timestamp, usize)> = None;
            for (index, segment) in list.segments.iter().enumerate() {
                let mut time = segment.largest_timestamp(list.limit(index, end))?;
                // This timestamp may belong to a deleted record.
                if segment.base < self.state.start()
                    && self.first_at(&list, index, time, end)?.is_none()
                {
                    time = self.largest_kept(&list, index, end)?;
                }
                if !time.is_none() && largest.is_none_or(|(before, _)| time > before) {
                    largest = Some((time, index));
                }
            }
            let Some((time, index)) = largest else { return Ok(None) };
            self.first_at(&list, index, time, end)
        })
    }

    /// Returns the largest timestamp of the records of a segment that are not deleted.
    fn largest_kept(&self, list: &SegmentList, index: usize, end: Offset) -> Result<Timestamp> {
        let Some(segment) = list.segments.get(index) else { return Ok(Timestamp::NONE) };
        let (bytes, start) = (segment.published(), self.state.start());
        let mut largest = Timestamp::NONE;
        let located = segment.locate(start, list.limit(index, end))?;
        let Some(located) = located else { return Ok(largest) };
        let mut batches = SegmentBatches::new(segment, bytes, Offset::MAX)?.starting_at(&located);
        let mut scratch = DecodeBuffer::new(self.config.max_decompressed_bytes);
        while let Some((position, batch)) = batches.next()? {
            let header = batch.header();
            if !self.is_within(list, index, end, position, header)? {
                break;
            }
            if header.base_offset >= start {
                largest = largest.max(header.max_timestamp);
                continue;
            }
            let mut records = batch.records(&mut scratch)?;
            records.skip_to_offset(start)?;
            for record in records {
                largest = largest.max(record?.timestamp);
            }
        }
        Ok(largest)
    }

    /// Returns the first record whose timestamp is this or later.
    fn offset_for_time(&self, at: Timestamp) -> Result<Option<(Offset, Timestamp)>> {
        self.unrevised(|list, end| {
            for (index, segment) in list.segments.iter().enumerate() {
                if segment.largest_timestamp(list.limit(index, end))? < at {
                    continue;
                }
                if let Some(found) = self.first_at(&list, index, at, end)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// Runs a lookup. Repeats it if anything was truncated or replaced meanwhile, or if a file was
    /// missing that the next list does not have: a segment may be rolled and deleted during the
    /// lookup.
    pub(crate) fn unrevised<T>(
        &self,
        look: impl Fn(Arc<SegmentList>, Offset) -> Result<T>,
    ) -> Result<T> {
        let mut looks = 1;
        loop {
            let (revision, generation) = (self.state.revision(), self.state.generation());
            let found = self.state.segments().and_then(|list| look(list, self.state.end()));
            match found {
                Ok(_) => self.recheck()?,
                // The writer may have truncated or compacted a read-only log.
                Err(_) => self.refresh()?,
            }
            let deleted = found.as_ref().is_err_and(Error::is_not_found)
                && generation != self.state.generation();
            let looks_again =
                found.as_ref().is_err_and(|error| self.looks_again(error, &mut looks));
            // Records that were not there, or not whole, may have been truncated or replaced.
            if !deleted && !looks_again && !self.state.revised_since(revision) {
                return found.map_err(|error| self.state.unless_closed(error));
            }
        }
    }

    /// Returns the first record of one segment with this timestamp or a later one.
    fn first_at(
        &self,
        list: &SegmentList,
        index: usize,
        at: Timestamp,
        end: Offset,
    ) -> Result<Option<(Offset, Timestamp)>> {
        let Some(segment) = list.segments.get(index) else { return Ok(None) };
        let limit = list.limit(index, end);
        let (bytes, start) = (segment.published(), self.state.start());
        let from = segment.earlier_than(at, limit)?.max(start);
        let Some(located) = segment.locate(from, limit)? else { return Ok(None) };
        let mut batches = SegmentBatches::new(segment, bytes, Offset::MAX)?
            .starting_at(&located)
            .with_buffer(Vec::new(), READ_AHEAD_BYTES);
        let mut scratch = DecodeBuffer::new(self.config.max_decompressed_bytes);
        while let Some((position, batch)) = batches.next()? {
            let header = batch.header();
            if !self.is_within(list, index, end, position, header)? {
                break;
            }
            if header.max_timestamp < at || header.last_offset() < start {
                continue;
            }
            if let Some(found) = first_in_batch(&batch, &mut scratch, at, start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn first_in_batch(
    batch: &BatchRef<'_>,
    scratch: &mut DecodeBuffer,
    at: Timestamp,
    start: Offset,
) -> Result<Option<(Offset, Timestamp)>> {
    let header = batch.header();
    // Every record of such a batch has the batch's time, so it need not be decompressed for that.
    if header.timestamp_type() == TimestampType::LogAppendTime
        && header.offset_count() == u64::try_from(header.record_count).unwrap_or(0)
    {
        return Ok(Some((header.base_offset.max(start), header.max_timestamp)));
    }
    for record in batch.records(scratch)? {
        let record = record?;
        if record.timestamp >= at && record.offset >= start {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}
