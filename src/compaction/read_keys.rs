//! Reading the keys of the dirty part of a log into the map.

use crate::compaction::key_id::KeyId;
use crate::compaction::key_map::KeyMap;
use crate::compaction::spans::Spans;
use crate::compaction::transactions::Transactions;
use crate::compaction::{ProgressMeter, READ_BYTES, Scratch, Source, damaged};
use crate::error::{Error, InvalidBatch, Result};
use crate::record::{BatchHeader, BatchRef};
use crate::segment::batches::SegmentBatches;
use crate::types::Offset;

/// The number of keys that are inserted into the map together.
const MAX_PENDING: usize = 256;

/// The spans of batches take at most this fraction of the map's memory.
const MAP_SHARE: usize = 8;

/// The result of reading keys into a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysRead {
    /// The offset up to which the log can be cleaned with the map: the one after the last offset
    /// that was read.
    pub(crate) end: Offset,
    /// Whether the map was full before everything was read.
    pub(crate) full: bool,
    /// The number of records that were read.
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) bytes_read: u64,
    /// The positions of the batches.
    pub(crate) spans: Spans,
}

/// Reads the last offset of each key from `from` on. `sources` are the dirty segments in order,
/// from the one that holds `from`.
///
/// Control records, records without a key, and records of aborted transactions do not count: they
/// supersede nothing. Every batch is validated by its checksum and its neighbours, and all its
/// records are decoded.
///
/// # Errors
///
/// [`Error::Corrupt`]; a batch that this build cannot decompress, or not within the limit; the
/// error of `report`.
pub(crate) fn read_keys(
    sources: &[Source<'_>],
    from: Offset,
    map: &mut KeyMap,
    scratch: &mut Scratch,
    transactions: &mut dyn Transactions,
    report: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<KeysRead> {
    map.clear();
    let spans = Spans::new(map.memory_bytes() / MAP_SHARE);
    let (end, full) = (from, false);
    let read = KeysRead { end, full, records: 0, batches: 0, bytes_read: 0, spans };
    let meter = ProgressMeter::new(report);
    let pending = Vec::with_capacity(MAX_PENDING);
    let mut reader = KeyReader { map, from, transactions, meter, read, pending };
    for source in sources {
        reader.segment(source, scratch)?;
        if reader.read.full {
            break;
        }
    }
    reader.meter.finish()?;
    Ok(reader.read)
}

struct KeyReader<'a> {
    map: &'a mut KeyMap,
    from: Offset,
    transactions: &'a mut dyn Transactions,
    meter: ProgressMeter<'a>,
    read: KeysRead,
    /// The keys that are not in the map yet, and their offsets.
    pending: Vec<(KeyId, Offset)>,
}

impl KeyReader<'_> {
    fn segment(&mut self, source: &Source<'_>, scratch: &mut Scratch) -> Result<()> {
        let segment = source.segment;
        self.transactions.begin_segment(segment.base..source.next);
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
            if self.read.full {
                break;
            }
        }
        scratch.input = batches.into_buffer();
        self.read.spans.close();
        if !self.read.full {
            self.read.end = self.read.end.max(source.next);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batch: &BatchRef<'_>,
        position: u64,
        scratch: &mut Scratch,
    ) -> Result<(), BatchFailure> {
        let header: &BatchHeader = batch.header();
        let bytes = header.size_bytes() as u64;
        self.read.batches = self.read.batches.saturating_add(1);
        self.read.bytes_read = self.read.bytes_read.saturating_add(bytes);
        self.meter.add(bytes).map_err(BatchFailure::Other)?;
        if !header.is_control() && !self.transactions.is_aborted(header)? {
            for record in batch.records(&mut scratch.decode)? {
                let record = record?;
                let Some(key) = record.key.filter(|_| record.offset >= self.from) else { continue };
                self.pending.push((self.map.id(key), record.offset));
                if self.pending.len() == MAX_PENDING && !self.insert_all() {
                    return Ok(());
                }
            }
            if !self.insert_all() {
                return Ok(());
            }
            let count = u64::try_from(header.record_count).unwrap_or(0);
            self.read.records = self.read.records.saturating_add(count);
        }
        self.read.end = self.read.end.max(header.next_offset());
        self.read.spans.add(position, header);
        Ok(())
    }
}

impl KeyReader<'_> {
    /// Inserts the pending keys. Returns false if there is no room for one of them: then the pass
    /// ends before it.
    fn insert_all(&mut self) -> bool {
        self.map.touch(self.pending.iter().map(|(key, _)| *key));
        for (key, offset) in self.pending.drain(..) {
            if !self.map.insert(key, offset) {
                self.read.full = true;
                return false;
            }
            self.read.end = offset.saturating_add(1);
        }
        true
    }
}

/// The reason why a batch could not be used: the batch is invalid, or another error.
pub(crate) enum BatchFailure {
    Batch(InvalidBatch),
    Other(Error),
}

impl BatchFailure {
    /// Returns the error for a batch of a segment.
    pub(super) fn at(self, source: &Source<'_>, position: u64, header: &BatchHeader) -> Error {
        match self {
            BatchFailure::Batch(reason) => damaged(source, position, header, reason),
            BatchFailure::Other(error) => error,
        }
    }
}

impl From<InvalidBatch> for BatchFailure {
    fn from(reason: InvalidBatch) -> BatchFailure {
        BatchFailure::Batch(reason)
    }
}

impl From<Error> for BatchFailure {
    fn from(error: Error) -> BatchFailure {
        BatchFailure::Other(error)
    }
}
