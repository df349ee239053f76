//! The rules of compaction for transactions and producers, those of Kafka's KIP-534.
//!
//! The cleaner sees every batch from the start of the log up to the end of a pass, and all
//! transactions with a batch there are decided: a pass ends below the last stable offset.
//!
//! | batch | what happens |
//! |---|---|
//! | records of an aborted transaction | are removed, and supersede nothing |
//! | a marker, and a batch of its transaction was seen | stays; an abort marker with its entry in the index of aborted transactions |
//! | a marker, and none was seen | has no effect any more: it gets a delete horizon, and is removed after that |
//! | the last batch of an active producer | stays: without the snapshots, only that batch has the sequence number or the epoch |
//!
//! A marker outlives the records by one pass at least, and then by the delete horizon. Readers that
//! took the records from the old segments still find it.

use crate::error::Result;
use crate::producer_state::ProducerState;
use crate::record::{BatchHeader, EndTxnMarker};
use crate::segment::aborted_ranges::AbortedRanges;
use crate::segment::txn_index::AbortedTxn;
use crate::types::{Offset, ProducerId};
use std::collections::HashSet;
use std::ops::Range;

/// The facts about transactions and producers that the cleaner needs. The cleaner passes it all
/// batches in order, but may leave out batches that involve neither.
pub(crate) trait Transactions {
    /// Begins a segment, of which all offsets lie in this range.
    fn begin_segment(&mut self, offsets: Range<Offset>);

    /// Returns whether a batch of records belongs to an aborted transaction.
    fn is_aborted(&mut self, header: &BatchHeader) -> Result<bool>;

    /// Decides about the marker at the end of a transaction.
    fn end(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> Result<MarkerFate>;

    /// Returns whether the batch has the last sequence number or the last epoch of an active
    /// producer.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool;
}

/// The fate of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerFate {
    /// It stays.
    Keep,
    /// It stays, and the index of aborted transactions keeps its entry.
    KeepWithEntry(AbortedTxn),
    /// No batch is left of the transaction that it ends, so that it has no effect any more.
    Discardable,
}

/// Finds the aborted transactions with records at some offsets, in the order of their markers.
/// These markers must be durable when it returns: a transaction whose marker a crash loses can
/// still end the other way.
pub(crate) type FindAborted<'a> = &'a dyn Fn(Range<Offset>) -> Result<Vec<AbortedTxn>>;

/// The transactions and producers of a log, over one run through its segments.
///
/// The log decides at the beginning of the pass which producers are active, and which batch is the
/// last of each. The batches of a forgotten producer are not kept.
pub(crate) struct LogTransactions<'a> {
    find: FindAborted<'a>,
    /// Sorted by id.
    active: Vec<ProducerState>,
    /// The offsets of the present segment.
    segment: Range<Offset>,
    /// The aborted transactions there; `None` until the segment has a batch of a transaction.
    aborted: Option<AbortedRanges>,
    /// The producers with a batch of a transaction since their last marker.
    seen: HashSet<ProducerId>,
}

impl<'a> LogTransactions<'a> {
    pub(crate) fn new(find: FindAborted<'a>) -> LogTransactions<'a> {
        let (active, seen) = (Vec::new(), HashSet::new());
        LogTransactions { find, active, segment: 0..0, aborted: None, seen }
    }

    /// Keeps the last batches of these producers.
    pub(crate) fn with_active(mut self, mut active: Vec<ProducerState>) -> LogTransactions<'a> {
        active.sort_unstable_by_key(|state| state.producer_id);
        self.active = active;
        self
    }

    fn aborted(&mut self) -> Result<&AbortedRanges> {
        Ok(match &mut self.aborted {
            Some(aborted) => aborted,
            none => none.insert((self.find)(self.segment.clone())?.into_iter().collect()),
        })
    }
}

impl Transactions for LogTransactions<'_> {
    fn begin_segment(&mut self, offsets: Range<Offset>) {
        self.segment = offsets;
        self.aborted = None;
    }

    fn is_aborted(&mut self, header: &BatchHeader) -> Result<bool> {
        if !header.is_transactional() {
            return Ok(false);
        }
        self.seen.insert(header.producer_id);
        Ok(self.aborted()?.holds(header))
    }

    fn end(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> Result<MarkerFate> {
        if !self.seen.remove(&header.producer_id) {
            return Ok(MarkerFate::Discardable);
        }
        if marker.committed {
            return Ok(MarkerFate::Keep);
        }
        // Without an entry the records of the transaction stayed, and the marker stays with them.
        let entry = self.aborted()?.ended_by(header);
        Ok(entry.map_or(MarkerFate::Keep, MarkerFate::KeepWithEntry))
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let found =
            self.active.binary_search_by_key(&header.producer_id, |state| state.producer_id);
        let Some(state) = found.ok().and_then(|at| self.active.get(at)) else { return false };
        match Offset::try_from(state.last_offset) {
            Ok(last) => header.last_offset() == last,
            // Its last batch is a marker, which has its epoch.
            Err(_) => header.is_control() && header.producer_epoch == state.producer_epoch,
        }
    }
}
