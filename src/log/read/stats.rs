//! Statistics of a log.

use crate::error::{Corruption, Error, Result};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::inner::LogInner;
use crate::log::state::LogState;
use crate::log::state::segment_list::SegmentList;
use crate::segment::Segment;
use crate::types::{Offset, Timestamp};

/// The offsets that bound a log and its parts.
///
/// ```
/// use annals::{Log, LogConfig, fs::MemFs};
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// log.append("a")?;
/// log.flush()?;
/// log.append("b")?;
/// let offsets = log.offsets();
/// assert_eq!((offsets.start, offsets.durable, offsets.end), (0, 1, 2));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offsets {
    /// The first offset.
    pub start: Offset,
    /// The offset after the last record, which the next append gets.
    pub end: Offset,
    /// The durable end: everything below survives loss of power. On a read-only log it is the
    /// start, because a reader does not know what is durable.
    pub durable: Offset,
    /// The high watermark: below it, all replicas have the records. It is the end, unless the log
    /// is [replicated](crate::LogConfig::replicated). Readers stop there.
    pub high_watermark: Offset,
    /// The last stable offset: below it, no record is part of an open transaction. It is the first
    /// offset of the earliest open transaction, and the high watermark if none is open. If the log
    /// is replicated, a transaction is open until its marker is below the high watermark.
    /// [`ReadCommitted`](crate::IsolationLevel::ReadCommitted) readers stop there. On a read-only
    /// log, a transaction that is open where the last segment begins is known from the snapshot
    /// there.
    pub last_stable: Offset,
}

impl Offsets {
    /// Returns the number of offsets left to read from this one on, without deleted records.
    pub(crate) fn behind(&self, offset: Offset) -> u64 {
        self.end.saturating_sub(offset.max(self.start))
    }
}

/// The statistics of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Its offsets: start, end and durable end.
    pub offsets: Offsets,
    /// The bytes of all batches.
    pub bytes: u64,
    /// The segments in the order of their offsets; the last is active.
    pub segments: Vec<SegmentStats>,
    /// The offset below which each key is in the log once. For a log that was never compacted, its
    /// start.
    pub first_dirty_offset: Offset,
    /// The reason why the log is not compacted any more, if there is one: see
    /// [`Event::Uncleanable`](crate::Event::Uncleanable).
    pub uncleanable: Option<String>,
}

/// The statistics of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its base offset, after which it is named.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The bytes of its batches.
    pub bytes: u64,
    /// Its largest timestamp; [`Timestamp::NONE`] if no record has one.
    pub largest_timestamp: Timestamp,
    /// The number of entries in its offset index.
    pub offset_index_entries: usize,
    /// The number of entries in its time index.
    pub time_index_entries: usize,
    /// The damage that hides its indexes or its largest timestamp, if there is any; these are 0
    /// and [`Timestamp::NONE`] then. `None` does not mean that it is sound:
    /// [`verify`](crate::Log::verify) reads all of it.
    pub damage: Option<Corruption>,
}

impl LogState {
    pub(crate) fn offsets(&self) -> Offsets {
        let (durable, start) = (self.durable(), self.start());
        // From the lowest to the highest, so that they are in this order whatever is appended.
        let last_stable = self.last_stable();
        let high_watermark = self.high_watermark();
        // A truncation lowers them meanwhile.
        let end = self.end().max(start);
        let high_watermark = high_watermark.max(start).min(end);
        let last_stable = last_stable.max(start).min(high_watermark);
        Offsets { start, end, durable: durable.min(end), high_watermark, last_stable }
    }
}

impl LogInner {
    pub(crate) fn stats(&self) -> Result<LogStats> {
        self.state.check_readable()?;
        self.refresh()?;
        self.unrevised(|list, _| self.stats_of(&list))
    }

    fn stats_of(&self, list: &SegmentList) -> Result<LogStats> {
        let offsets = self.state.offsets();
        let mut segments = Vec::with_capacity(list.segments.len());
        for (index, segment) in list.segments.iter().enumerate() {
            let next_offset = list.limit(index, offsets.end);
            segments.push(stats_of_segment(segment, next_offset)?);
        }
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let (mut cleaned, uncleanable) = {
            let cleaning = self.cleaning.progress.lock();
            (cleaning.cleaned, cleaning.uncleanable.as_deref().map(str::to_owned))
        };
        if self.state.is_read_only() {
            cleaned = self.flushes.checkpoints.get(Checkpoint::Cleaned)?;
        }
        let first_dirty_offset = cleaned.unwrap_or(0).max(offsets.start);
        Ok(LogStats { offsets, bytes, segments, first_dirty_offset, uncleanable })
    }
}

/// Returns the statistics of a segment. Damage is reported in them, so that it does not hide the
/// other segments.
fn stats_of_segment(segment: &Segment, next_offset: Offset) -> Result<SegmentStats> {
    let look = || -> Result<_> {
        let indexes = segment.indexes(next_offset)?;
        let largest = segment.largest_timestamp(next_offset)?;
        Ok((largest, indexes.offsets.len(), indexes.times.len()))
    };
    let (seen, damage) = match look() {
        Ok(seen) => (seen, None),
        Err(Error::Corrupt(corruption)) => ((Timestamp::NONE, 0, 0), Some(*corruption)),
        Err(error) => return Err(error),
    };
    let (largest_timestamp, offset_index_entries, time_index_entries) = seen;
    Ok(SegmentStats {
        base_offset: segment.base,
        next_offset,
        bytes: segment.published(),
        largest_timestamp,
        offset_index_entries,
        time_index_entries,
        damage,
    })
}
