//! Reading the dirty part of a log into the map of keys.

use crate::compaction::key_id::KeyId;
use crate::compaction::key_map::KeyMap;
use crate::compaction::spans::Stretches;
use crate::compaction::{Meter, READ_BYTES, Scratch, Source, Transactions, damaged, marker_of};
use crate::error::{Error, InvalidBatch, Result};
use crate::record::{BatchHeader, BatchRef};
use crate::segment::batches::SegmentBatches;
use crate::types::Offset;

/// How many keys go into the map at a time.
const CROWD: usize = 256;

/// What is noted of batches takes no more than this part of the map's memory.
const MAP_SHARE: usize = 8;

/// The content that was read into a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Up to here the log can be cleaned with the map: the offset after the last that it knows
    /// about.
    pub(crate) end: Offset,
    /// Whether the map was full before everything had been read.
    pub(crate) full: bool,
    /// The records that were looked at.
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) bytes_read: u64,
    /// The positions of their batches.
    pub(crate) stretches: Stretches,
}

/// Notes the last offset of each key from `from` on. `sources` are the dirty segments in order,
/// from the one that holds `from`.
///
/// Control records, records without a key, and those of aborted transactions do not count: none of
/// them supersedes anything. Every batch is checked against its checksum and its neighbours, and
/// all its records are decoded.
///
/// # Errors
///
/// Damage, with its place; a batch that this build cannot expand, or not within the limit; what
/// `report` says.
pub(crate) fn build_map(
    sources: &[Source<'_>],
    from: Offset,
    map: &mut KeyMap,
    scratch: &mut Scratch,
    transactions: &mut dyn Transactions,
    report: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Mapped> {
    map.clear();
    let stretches = Stretches::new(map.memory_bytes() / MAP_SHARE);
    let (end, full) = (from, false);
    let mapped = Mapped { end, full, records: 0, batches: 0, bytes_read: 0, stretches };
    let meter = Meter::new(report);
    let crowd = Vec::with_capacity(CROWD);
    let mut reading = Reading { map, from, transactions, meter, mapped, crowd };
    for source in sources {
        reading.segment(source, scratch)?;
        if reading.mapped.full {
            break;
        }
    }
    reading.meter.finish()?;
    Ok(reading.mapped)
}

struct Reading<'a> {
    map: &'a mut KeyMap,
    from: Offset,
    transactions: &'a mut dyn Transactions,
    meter: Meter<'a>,
    mapped: Mapped,
    /// Keys that are still to go into the map, and their offsets.
    crowd: Vec<(KeyId, Offset)>,
}

impl Reading<'_> {
    fn segment(&mut self, source: &Source<'_>, scratch: &mut Scratch) -> Result<()> {
        let segment = source.segment;
        let (mut position, mut lowest) = (0, segment.base);
        if segment.base < self.from {
            match segment.locate(self.from, source.next)? {
                Some(located) => (position, lowest) = (located.position, located.lowest),
                None => position = segment.published(),
            }
        }
        let mut batches = SegmentBatches::new(segment, segment.published(), source.next)?
            .starting_from(position, lowest)
            .with_buffer(std::mem::take(&mut scratch.input), READ_BYTES);
        while let Some((position, batch)) = batches.next()? {
            self.batch(&batch, position, scratch)
                .map_err(|failure| failure.at(source, position, batch.header()))?;
            if self.mapped.full {
                break;
            }
        }
        scratch.input = batches.into_buffer();
        self.mapped.stretches.close();
        if !self.mapped.full {
            self.mapped.end = self.mapped.end.max(source.next);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batch: &BatchRef<'_>,
        position: u64,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        let header: &BatchHeader = batch.header();
        let bytes = header.size_bytes() as u64;
        self.mapped.batches = self.mapped.batches.saturating_add(1);
        self.mapped.bytes_read = self.mapped.bytes_read.saturating_add(bytes);
        self.meter.add(bytes).map_err(Failure::Other)?;
        self.transactions.note(header).map_err(Failure::Other)?;
        if header.is_control() {
            if let Some(marker) = marker_of(batch, &mut scratch.decode)? {
                self.transactions.is_marker_discardable(header, marker);
            }
        } else if !self.transactions.is_aborted(header) {
            for record in batch.records(&mut scratch.decode)? {
                let record = record?;
                let Some(key) = record.key.filter(|_| record.offset >= self.from) else { continue };
                self.crowd.push((self.map.id(key), record.offset));
                if self.crowd.len() == CROWD && !self.insert_all() {
                    return Ok(());
                }
            }
            if !self.insert_all() {
                return Ok(());
            }
            let count = u64::try_from(header.record_count).unwrap_or(0);
            self.mapped.records = self.mapped.records.saturating_add(count);
        }
        self.mapped.end = self.mapped.end.max(header.next_offset());
        self.mapped.stretches.note(position, header);
        Ok(())
    }
}

impl Reading<'_> {
    /// Inserts the keys that wait. False when there is no room for one of them: the pass ends
    /// before it.
    fn insert_all(&mut self) -> bool {
        self.map.touch(self.crowd.iter().map(|(key, _)| *key));
        for (key, offset) in self.crowd.drain(..) {
            if !self.map.insert(key, offset) {
                self.mapped.full = true;
                return false;
            }
            self.mapped.end = offset.saturating_add(1);
        }
        true
    }
}

/// Why a batch could not be used: it is not one, or something else went wrong.
pub(crate) enum Failure {
    Batch(InvalidBatch),
    Other(Error),
}

impl Failure {
    /// Returns the error for a batch of a segment.
    pub(super) fn at(self, source: &Source<'_>, position: u64, header: &BatchHeader) -> Error {
        match self {
            Failure::Batch(reason) => damaged(source, position, header, reason),
            Failure::Other(error) => error,
        }
    }
}

impl From<InvalidBatch> for Failure {
    fn from(reason: InvalidBatch) -> Failure {
        Failure::Batch(reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}
