//! The aborted transactions of a log, as reads ask for them.
//!
//! The entry of a transaction lies in the index of the segment that holds its marker, which may
//! come long after its records. So a search begins in the segment of the records, and goes on
//! until an entry says that everything below the searched offsets was decided by then.
//!
//! A read loads the bound of what it may see first, then the number of entries, then the entries.
//! The writer stores them in the other order: so a reader knows the fate of each record that it
//! may see.

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::Event;
use crate::log::inner::LogInner;
use crate::log::replay::ProducerReplay;
use crate::log::state::segment_list::SegmentList;
use crate::record::BatchHeader;
use crate::segment::Segment;
use crate::segment::aborted_ranges::AbortedRanges;
use crate::segment::txn_index::{AbortedTxn, TxnIndex};
use crate::types::{Offset, ProducerId};
use std::ops::Range;
use std::sync::Arc;

/// A transaction that was aborted: its data batches from `first_offset` on, up to the marker that
/// aborts it, are not part of the committed records.
///
/// It is an element of [`Fetched::aborted`](crate::Fetched::aborted), as in Kafka's response to a
/// fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbortedTransaction {
    /// The producer whose transaction it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
}

/// The aborted transactions of the segment that a cursor is in, from an offset on. A tail finds
/// only those ahead of it anew each time.
#[derive(Debug)]
pub(crate) struct SegmentAborted {
    /// The base of the segment.
    base: Offset,
    from: Offset,
    ranges: AbortedRanges,
    /// Whether no later marker can abort anything in the segment.
    is_complete: bool,
    /// The list of segments, and the number of aborted transactions, from before the search.
    seen: (u64, u64),
}

impl SegmentAborted {
    /// Finds those of the segment with this base, which ends where the next one begins, from an
    /// offset on.
    pub(crate) fn find(
        log: &LogInner,
        base: Offset,
        from: Offset,
        next_base: Option<Offset>,
    ) -> Result<SegmentAborted> {
        let seen = seen(log);
        let offsets = from..next_base.unwrap_or(Offset::MAX);
        let (found, is_complete) = log.search_aborted(&offsets)?;
        Ok(SegmentAborted { base, from, ranges: found.into_iter().collect(), is_complete, seen })
    }

    /// Returns whether it still says all of the segment with this base from an offset on.
    pub(crate) fn is_current(&self, log: &LogInner, base: Offset, from: Offset) -> bool {
        self.base == base && self.from <= from && (self.is_complete || self.seen == seen(log))
    }

    /// Returns whether a batch of the segment holds records of an aborted transaction.
    pub(crate) fn holds(&self, header: &BatchHeader) -> bool {
        self.ranges.holds(header)
    }
}

fn seen(log: &LogInner) -> (u64, u64) {
    (log.state.generation(), log.state.aborted_total())
}

impl LogInner {
    /// Returns the aborted transactions with records in a range of offsets, in the order of their
    /// markers. The range must lie in the log.
    pub(crate) fn aborted_within(&self, offsets: Range<Offset>) -> Result<Vec<AbortedTxn>> {
        Ok(self.search_aborted(&offsets)?.0)
    }

    /// Returns whether a batch of the log holds records of an aborted transaction.
    pub(crate) fn is_aborted(&self, header: &BatchHeader) -> Result<bool> {
        if !header.is_transactional() || header.is_control() {
            return Ok(false);
        }
        let aborted = self.aborted_within(header.base_offset..header.next_offset())?;
        Ok(aborted.into_iter().collect::<AbortedRanges>().holds(header))
    }

    /// As [`aborted_within`](LogInner::aborted_within). Also returns whether no later marker can
    /// abort anything in the range.
    fn search_aborted(&self, offsets: &Range<Offset>) -> Result<(Vec<AbortedTxn>, bool)> {
        loop {
            let generation = self.state.generation();
            let found = self.search_indexes(offsets);
            // The writer of a read-only log may have replaced the files between two looks.
            self.refresh()?;
            if !self.state.is_read_only() || generation == self.state.generation() {
                return found;
            }
        }
    }

    fn search_indexes(&self, offsets: &Range<Offset>) -> Result<(Vec<AbortedTxn>, bool)> {
        let mut found = Vec::new();
        let list = self.state.segments()?;
        let first = list.find(offsets.start);
        for segment in list.segments.get(first..).unwrap_or_default() {
            for aborted in self.aborted_of(&list, segment)?.iter_from(offsets.start) {
                if aborted.first < offsets.end {
                    found.push(aborted);
                }
                if aborted.last_stable >= offsets.end {
                    return Ok((found, true));
                }
            }
        }
        Ok((found, false))
    }

    /// Returns the index of the transactions whose abort markers lie in a segment. A damaged file
    /// is rebuilt from the log.
    fn aborted_of(&self, list: &SegmentList, segment: &Segment) -> Result<Arc<TxnIndex>> {
        match segment.aborted() {
            Err(Error::Corrupt(damage)) => self.rebuild_aborted(list, segment, *damage),
            found => found,
        }
    }

    #[cold]
    fn rebuild_aborted(
        &self,
        list: &SegmentList,
        segment: &Segment,
        damage: Corruption,
    ) -> Result<Arc<TxnIndex>> {
        let revision = self.state.revision();
        let logs = list.segments.iter().map(|segment| (segment.base, segment.published()));
        let rebuilt = self.indexed_anew(logs.collect(), segment.base)?;
        let Corruption { path, reason, .. } = damage;
        // A truncation or a compaction would change the file as well. If one is running, the index
        // stays in memory.
        let written = match self.cleaning.change.try_lock() {
            Some(_no_change) if !self.state.revised_since(revision) => {
                self.dir.replace_if_owned(&path, &rebuilt.bytes_from(0))
            }
            _ => Ok(()),
        };
        if let Err(error) = written {
            let error = error.cause();
            self.emit(&Event::CheckpointFailed { path: path.clone(), error });
        }
        if let CorruptionKind::Malformed(reason) = reason {
            self.emit(&Event::IndexRebuilt { path, reason });
        }
        Ok(segment.keep_aborted(rebuilt))
    }

    /// Reads from the log which transactions the markers in a segment abort. `logs` are the bases
    /// and the lengths of its segments.
    pub(crate) fn indexed_anew(&self, logs: Vec<(Offset, u64)>, base: Offset) -> Result<TxnIndex> {
        let replay = ProducerReplay::new(&self.dir, &self.config, logs, self.clock().now())?;
        replay.of_sound_batches().index_segment(base, Offset::MAX)
    }
}

/// Returns the transactions as a fetch response lists them: in the order of their first offsets.
pub(crate) fn listed(aborted: &[AbortedTxn]) -> Vec<AbortedTransaction> {
    let of = |aborted: &AbortedTxn| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first,
    };
    let mut listed: Vec<_> = aborted.iter().map(of).collect();
    listed.sort_by_key(|aborted| aborted.first_offset);
    listed
}
