//! Reading everything, to find all damage there is.

use crate::error::{Corruption, Damage, Error, InvalidBatch, Result};
use crate::log::open::lost_since_close;
use crate::log::shared::Shared;
use crate::log::view::View;
use crate::record::DecodeBuffer;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::{Segment, SegmentScan};
use crate::types::{Offset, Timestamp};
use std::collections::BTreeMap;

impl Shared {
    /// Checks every batch, every record and every index entry that is stored.
    pub(crate) fn verify(&self) -> Result<Vec<Corruption>> {
        self.check_readable()?;
        self.refresh()?;
        let mut found = loop {
            let revision = self.revision();
            let found = self.unrevised(|view, end| self.verify_view(view, end))?;
            // The writer of a read-only log may have replaced files under it.
            if found.is_empty() || !self.is_read_only() {
                break found;
            }
            self.refresh()?;
            if !self.revised_since(revision) {
                break found;
            }
        };
        if self.is_read_only() {
            found.extend(lost_since_close(&self.dir)?);
        }
        Ok(found)
    }

    fn verify_view(&self, view: &View, end: Offset) -> Result<Vec<Corruption>> {
        let mut found = Vec::new();
        for (index, segment) in view.segments.iter().enumerate() {
            let mut limit = view.limit(index, end);
            let bytes = segment.published();
            if limit == end {
                // Appends go on: what they have published lies below the end that they leave.
                limit = self.settled_end().max(end);
            }
            if let Some(batches) = self.verify_log(segment, bytes, limit, &mut found)?
                && segment.is_sealed()
            {
                self.verify_indexes(segment, &batches, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The batches of a sound segment by position: last offset and largest timestamp so far.
    /// `None` when it is damaged, after noting that.
    fn verify_log(
        &self,
        segment: &Segment,
        bytes: u64,
        limit: Offset,
        found: &mut Vec<Corruption>,
    ) -> Result<Option<BTreeMap<u64, Seen>>> {
        let mut scratch = DecodeBuffer::new(self.config.max_expanded_bytes);
        let mut batches = BTreeMap::new();
        let mut largest = Timestamp::NONE;
        let mut note = |error: Error| match error {
            Error::Corrupt(corruption) => {
                found.push(*corruption);
                Ok(())
            }
            other => Err(other),
        };
        let mut scan = match SegmentScan::new(segment, bytes, limit) {
            Ok(scan) => scan,
            Err(error) => return note(error).map(|()| None),
        };
        loop {
            let (position, header) = match scan.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Some(batches)),
                Err(error) => return note(error).map(|()| None),
            };
            let records = scan.stream().batch().map(|batch| batch.records(&mut scratch));
            let decoded = match records {
                Some(Ok(mut records)) => records.try_for_each(|record| record.map(drop)),
                Some(Err(
                    InvalidBatch::CodecUnavailable { .. } | InvalidBatch::ExpandsTooFar { .. },
                ))
                | None => Ok(()),
                Some(Err(reason)) => Err(reason),
            };
            if let Err(reason) = decoded {
                note(segment.corrupt(position, Some(header.base_offset), reason.into()))?;
            }
            largest = largest.max(header.max_timestamp);
            batches.insert(position, Seen { last_offset: header.last_offset(), largest });
        }
    }

    fn verify_indexes(
        &self,
        segment: &Segment,
        batches: &BTreeMap<u64, Seen>,
        found: &mut Vec<Corruption>,
    ) -> Result<()> {
        let mut note = |kind, entry: u64, bytes: u64, offset, reason| {
            found.push(Corruption {
                path: self.dir.path_of(SegmentFile::live(segment.base, kind)),
                position: entry.saturating_mul(bytes),
                offset,
                reason,
            });
        };
        let indexes = match segment.stored_indexes()? {
            Ok(indexes) => indexes,
            // Made again when it is needed: no damage to the log.
            Err((_, "it is missing")) => return Ok(()),
            Err((kind, reason)) => {
                note(kind, 0, 0, None, Damage::Malformed(reason));
                return Ok(());
            }
        };
        for (number, entry) in (0..).zip(indexes.offsets.iter()) {
            let group = batches.range(entry.position..).map(|(_, seen)| seen.last_offset);
            let names_batch = batches.contains_key(&entry.position)
                && group.take_while(|last| *last <= entry.offset).any(|last| last == entry.offset);
            if !names_batch {
                let what = "no append begins at its position and ends with its offset";
                let damage = Damage::IndexEntry { entry: number, what };
                note(Kind::OffsetIndex, number, 8, Some(entry.offset), damage);
            }
        }
        let by_offset: BTreeMap<Offset, Timestamp> =
            batches.values().map(|seen| (seen.last_offset, seen.largest)).collect();
        for (number, entry) in (0..).zip(indexes.times.iter()) {
            if by_offset.get(&entry.offset) != Some(&entry.timestamp) {
                let what = "the batch that ends with its offset is not the latest so far, or has another time";
                let damage = Damage::IndexEntry { entry: number, what };
                note(Kind::TimeIndex, number, 12, Some(entry.offset), damage);
            }
        }
        Ok(())
    }
}

/// What is remembered of a batch.
struct Seen {
    last_offset: Offset,
    largest: Timestamp,
}
