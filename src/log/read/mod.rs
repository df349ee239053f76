//! Reading. A [`cursor`] goes through the batches of a log without a lock. Here are the reads of
//! one call on top of it, and the read of one record by its offset.
//!
//! 1. Load the revision and the generation, then take the list of segments, then check that the
//!    offset lies between the ends of the log.
//! 2. Find the segment, and in it the batch: from the nearest index entry on, by the headers.
//! 3. Read the file through one buffer, up to what the writer has published. Verify the checksum
//!    of the batch, and its offsets against those of its neighbours.
//! 4. Load the revision again. If it has changed, the log was truncated or compacted meanwhile:
//!    drop what was read, and begin at step 1.
//! 5. At the end of the segment, take the list again and go on with the next one. At the end of
//!    the log, a [`reader`] returns `None`, and a [`tail`] waits.
//! 6. Decode the records, when the caller asks for them.
//!
//! Each reader has an isolation level, which bounds what it sees. Reading committed records, a
//! [`cursor`] also passes over the batches of [`aborted`] transactions. [`moved`] waits for the
//! bounds to move.
//!
//! A read-only log has no writer in this process. It looks at its files ([`refresh`]) when one of
//! these reads or a lookup begins, when a reader is at the end of the log, and, for truncations,
//! after each read of a file.

pub(crate) mod aborted;
pub(crate) mod cursor;
pub(crate) mod epochs;
pub(crate) mod lookup;
pub(crate) mod moved;
pub(crate) mod producers;
pub(crate) mod reader;
pub(crate) mod refresh;
pub(crate) mod stats;
pub(crate) mod survey;
pub(crate) mod tail;
pub(crate) mod verify;

use crate::error::{CorruptionKind, Result};
use crate::log::inner::LogInner;
use crate::log::read::aborted::{AbortedTransaction, listed};
use crate::log::read::cursor::Cursor;
use crate::log::read::stats::Offsets;
use crate::log::state::segment_list::SegmentList;
use crate::record::{BatchHeader, BatchRef, DecodeBuffer, RecordBatch, StoredRecord};
use crate::segment::aborted_ranges::AbortedRanges;
use crate::segment::batches::SegmentBatches;
use crate::types::{IsolationLevel, Offset, OffsetSpec, StartAt};
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::sync::Arc;

/// The limits of a [`read`](crate::Log::read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// The largest size of the batches in bytes. If the first batch is larger, it is returned
    /// anyway: a read below the end of the log always returns a batch.
    pub max_bytes: usize,
}

impl ReadLimits {
    /// Limits a read to this many bytes, and at least one batch.
    #[must_use]
    pub const fn bytes(max_bytes: usize) -> ReadLimits {
        ReadLimits { max_bytes }
    }
}

/// 1 MiB: Kafka's `max.partition.fetch.bytes`.
impl Default for ReadLimits {
    fn default() -> ReadLimits {
        ReadLimits::bytes(1 << 20)
    }
}

/// The result of a [`read`](crate::Log::read): whole batches in the order of their offsets.
///
/// ```
/// use annals::{Log, LogConfig, ReadLimits, fs::MemFs};
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// log.append_all(["a", "b", "c"].map(Into::into))?;
///
/// let fetched = log.read(1, ReadLimits::default())?;
/// assert_eq!(fetched.batches().count(), 1); // stored bytes, from offset 0 on
/// let records = fetched.records()?; // decoded, from offset 1 on
/// assert_eq!(records[0].value_str(), Some("b"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fetched {
    /// The batches, back to back, as they are stored; their checksums have been verified.
    /// The first may begin below the requested offset.
    pub bytes: Bytes,
    /// The offset for the next read: after the last batch.
    pub next_offset: Offset,
    /// The end of the log when this was read.
    pub end: Offset,
    /// The high watermark when this was read: see [`Offsets::high_watermark`].
    pub high_watermark: Offset,
    /// The last stable offset when this was read: see [`Offsets::last_stable`].
    pub last_stable: Offset,
    /// The aborted transactions that began below [`next_offset`](Fetched::next_offset) and ended
    /// at or above the requested offset, in the order of their first offsets: a fetch response
    /// lists them, because `bytes` has their batches. Empty if `bytes` has no batch of any
    /// transaction, and unless the read was at [`ReadCommitted`](IsolationLevel::ReadCommitted).
    pub aborted: Vec<AbortedTransaction>,
    hidden: AbortedRanges,
    from: Offset,
    max_decompressed_bytes: usize,
}

impl Fetched {
    /// Returns whether there was nothing to read: no record lies between the requested offset and
    /// the end of what the isolation level shows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns an iterator over the batches, which share the memory of [`bytes`](Fetched::bytes).
    pub fn batches(&self) -> impl Iterator<Item = RecordBatch> + use<> {
        let mut rest = self.bytes.clone();
        std::iter::from_fn(move || {
            let size = BatchHeader::parse(&rest).ok()?.size_bytes();
            let batch = rest.split_to(size.min(rest.len()));
            RecordBatch::parse_unverified(batch).ok()
        })
    }

    /// Returns the records from the requested offset on, without control records and those of
    /// the [`aborted`](Fetched::aborted) transactions.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) and
    /// [`Error::InvalidBatch`](crate::Error::InvalidBatch) when a batch cannot be decoded.
    pub fn records(&self) -> Result<Vec<StoredRecord>> {
        let mut scratch = DecodeBuffer::new(self.max_decompressed_bytes);
        let mut records = Vec::new();
        let is_shown = |header: &BatchHeader| !header.is_control() && !self.hidden.holds(header);
        for batch in self.batches().filter(|batch| is_shown(batch.header())) {
            let mut stored = batch.records_with(&mut scratch)?.into_iter();
            stored.skip_to_offset(self.from)?;
            for record in stored {
                records.push(record?);
            }
        }
        Ok(records)
    }
}

/// The buffers of a point read, kept for the thread's next one.
#[derive(Default)]
struct PointRead {
    buffer: Vec<u8>,
    scratch: Option<DecodeBuffer>,
}

crate::sync::thread_local! {
    static POINT_READ: Cell<PointRead> = const { Cell::new(PointRead { buffer: Vec::new(), scratch: None }) };
}

/// Memory kept from one point read to the next goes back to the system above this size.
const KEPT_BYTES: usize = 4 << 20;

impl LogInner {
    /// Returns the offset with which a reader of this level begins.
    pub(crate) fn resolve(&self, level: IsolationLevel, start: StartAt) -> Result<Offset> {
        self.state.check_readable()?;
        self.refresh()?;
        match start {
            StartAt::Earliest => Ok(self.state.start()),
            StartAt::Latest => Ok(self.state.bound(level)),
            // A reader may begin above the bound, and waits there.
            StartAt::Offset(offset) => self.state.check_range(offset).map(|()| offset),
            StartAt::Time(at) => {
                let found = self.list_offset(level, OffsetSpec::Time(at))?;
                Ok(found.map_or_else(|| self.state.bound(level), |(offset, _)| offset))
            }
        }
    }

    /// Returns the record at an offset; `None` if compaction removed it, a control record is
    /// there, or a reader of committed records may not see it.
    pub(crate) fn get(
        &self,
        level: IsolationLevel,
        offset: Offset,
    ) -> Result<Option<StoredRecord>> {
        self.state.check_readable()?;
        self.refresh()?;
        let mut looks = 1;
        loop {
            // Read the revision before the ends: then the ends belong to this revision or a later
            // one.
            let revision = self.state.revision();
            let (start, bound) = (self.state.start(), self.state.bound(level));
            if offset >= bound || offset < start {
                return Err(self.state.outside_of(level, offset, start, bound));
            }
            let found = self.find_record(level, offset);
            match found {
                Ok(_) => self.recheck()?,
                Err(_) => self.refresh()?,
            }
            let looks_again =
                found.as_ref().is_err_and(|error| self.looks_again(error, &mut looks));
            if !looks_again && !self.state.revised_since(revision) {
                return found.map_err(|error| self.state.unless_deleted(offset, error));
            }
        }
    }

    /// Checks that a batch lies below the next segment, or the end of the log. Returns false for a
    /// batch that was published a moment before the end was.
    ///
    /// The checksum does not cover the base offset: the records of a batch whose base offset was
    /// raised would have the offsets of other records.
    pub(crate) fn is_within(
        &self,
        list: &SegmentList,
        index: usize,
        end: Offset,
        position: u64,
        header: &BatchHeader,
    ) -> Result<bool> {
        let (limit, found) = (list.limit(index, end), header.last_offset());
        if found < limit {
            return Ok(true);
        }
        let is_last = index.saturating_add(1) == list.segments.len();
        if is_last && header.base_offset >= end && found < self.end_after_current_append() {
            return Ok(false);
        }
        let Some(segment) = list.segments.get(index) else { return Ok(false) };
        let damage = CorruptionKind::OffsetsOverlapNext { limit, found };
        Err(segment.corrupt(position, Some(header.next_offset()), damage))
    }

    fn find_record(&self, level: IsolationLevel, offset: Offset) -> Result<Option<StoredRecord>> {
        let list = self.state.segments()?;
        let end = self.state.end();
        // Load the start after the list: a deletion moves the start before it publishes the list
        // without the deleted segments.
        if offset < self.state.start() {
            return Err(self.state.out_of_range(offset));
        }
        let hides_aborted = level == IsolationLevel::ReadCommitted;
        let mut index = list.find(offset);
        while let Some(segment) = list.segments.get(index) {
            let limit = list.limit(index, end);
            let Some(located) = segment.locate(offset, limit)? else {
                index = index.saturating_add(1);
                continue;
            };
            let mut kept = POINT_READ.try_with(Cell::take).unwrap_or_default();
            let limit_bytes = self.config.max_decompressed_bytes;
            let mut scratch = kept
                .scratch
                .take()
                .filter(|scratch| scratch.limit_bytes() == limit_bytes)
                .unwrap_or_else(|| DecodeBuffer::new(limit_bytes));
            let mut batches = SegmentBatches::new(segment, segment.published(), Offset::MAX)?
                .starting_at(&located)
                .with_buffer(kept.buffer, located.batch_bytes());
            let found = batches.next().and_then(|next| {
                let Some((position, batch)) = next else { return Ok(None) };
                let header = batch.header();
                if !self.is_within(&list, index, end, position, header)?
                    || header.base_offset > offset
                    || header.is_control()
                    || (hides_aborted && self.is_aborted(header)?)
                {
                    return Ok(None);
                }
                pick(&batch, &mut scratch, offset)
            });
            let buffer = batches.into_buffer();
            let buffer = if buffer.len() > KEPT_BYTES { Vec::new() } else { buffer };
            let kept = PointRead { buffer, scratch: Some(scratch) };
            POINT_READ.try_with(|slot| slot.set(kept)).ok();
            return found;
        }
        // A truncation lowers the end before it raises the revision, under the writer lock. Wait
        // for the lock: then the caller sees the revision, and looks again.
        self.end_after_current_append();
        Ok(None)
    }
}

fn pick(
    batch: &BatchRef<'_>,
    scratch: &mut DecodeBuffer,
    offset: Offset,
) -> Result<Option<StoredRecord>> {
    let mut records = batch.records(scratch)?;
    records.skip_to_offset(offset)?;
    let record = records.next().transpose()?;
    Ok(record.filter(|record| record.offset == offset).map(StoredRecord::from))
}

/// Reads whole batches from an offset on, as many as the limit allows and at least one.
///
/// All of them are of one history: if the log is truncated or compacted meanwhile, they are read
/// again. Batches of aborted transactions are among them, and the result says which these are.
pub(crate) fn read(
    log: &Arc<LogInner>,
    level: IsolationLevel,
    from: Offset,
    limits: ReadLimits,
) -> Result<Fetched> {
    log.state.check_readable()?;
    log.refresh()?;
    log.state.check_range(from)?;
    let mut bytes = BytesMut::new();
    loop {
        let revision = log.state.revision();
        let mut cursor = Cursor::new(Arc::clone(log), level, from)
            .reading_ahead(limits.max_bytes)
            .with_aborted();
        bytes.clear();
        let has_transactions = collect(&mut cursor, limits, &mut bytes)?;
        // Truncation can leave the last offsets of a log without a record: the next read begins
        // after them.
        if bytes.is_empty() {
            cursor.pass_rest();
        }
        let mut aborted = Vec::new();
        if has_transactions && level == IsolationLevel::ReadCommitted {
            aborted = log.aborted_within(from..cursor.offset())?;
        }
        let Offsets { end, high_watermark, last_stable, .. } = log.state.offsets();
        if !log.state.revised_since(revision) {
            return Ok(Fetched {
                bytes: bytes.freeze(),
                next_offset: cursor.offset(),
                end,
                high_watermark,
                last_stable,
                aborted: listed(&aborted),
                hidden: aborted.into_iter().collect(),
                from,
                max_decompressed_bytes: log.config.max_decompressed_bytes,
            });
        }
        log.state.check_range(from)?;
    }
}

/// Returns whether there are batches of transactions among those that it has read.
fn collect(cursor: &mut Cursor, limits: ReadLimits, bytes: &mut BytesMut) -> Result<bool> {
    let mut has_transactions = false;
    while let Some(header) = cursor.advance()? {
        let fits = bytes.len().saturating_add(header.size_bytes()) <= limits.max_bytes;
        if !bytes.is_empty() && !fits {
            break;
        }
        let Some(batch) = cursor.batch() else { break };
        bytes.extend_from_slice(batch.as_bytes());
        has_transactions |= header.is_transactional();
        cursor.pass(header.next_offset());
        if bytes.len() >= limits.max_bytes {
            break;
        }
    }
    Ok(has_transactions)
}
