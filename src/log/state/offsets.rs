//! The offsets that bound a log, and the errors of offsets outside of them.

use crate::error::{Error, Result};
use crate::log::state::LogState;
use crate::sync::atomic::Ordering;
use crate::types::{IsolationLevel, Offset};

impl LogState {
    pub(crate) fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub(crate) fn set_start(&self, start: Offset) {
        self.start.store(start, Ordering::Release);
    }

    pub(crate) fn raise_start(&self, start: Offset) {
        self.start.fetch_max(start, Ordering::AcqRel);
    }

    pub(crate) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    /// Returns the end, for a caller with the writer lock.
    #[inline(always)]
    pub(crate) fn end_for_writer(&self) -> Offset {
        self.end.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set_end(&self, end: Offset) {
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn durable(&self) -> Offset {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn raise_durable(&self, end: Offset) {
        self.durable.fetch_max(end, Ordering::AcqRel);
    }

    pub(crate) fn lower_durable(&self, end: Offset) {
        self.durable.fetch_min(end, Ordering::AcqRel);
    }

    /// Returns the high watermark: below it, all replicas have the records. For a log that is the
    /// only copy it is the end.
    ///
    /// The end is loaded last, because a truncation lowers it last.
    pub(crate) fn high_watermark(&self) -> Offset {
        match self.high_watermark.load(Ordering::Acquire) {
            Offset::MAX => self.end(),
            replicated => replicated.max(self.start()).min(self.end()),
        }
    }

    /// Sets the high watermark of a replicated log. The caller holds the writer lock.
    pub(crate) fn set_high_watermark(&self, offset: Offset) {
        self.high_watermark.store(offset, Ordering::Release);
    }

    /// Lowers the high watermark of a replicated log.
    pub(crate) fn lower_high_watermark(&self, offset: Offset) {
        if self.high_watermark.load(Ordering::Acquire) != Offset::MAX {
            self.high_watermark.fetch_min(offset, Ordering::AcqRel);
        }
    }

    /// Returns the last stable offset: below it, no record is part of a transaction that is open,
    /// or whose end not all replicas have.
    ///
    /// The high watermark is loaded first. A batch that opens a transaction stores the first
    /// unstable offset before the end, so this never returns an offset above such a batch.
    pub(crate) fn last_stable(&self) -> Offset {
        let (start, high_watermark) = (self.start(), self.high_watermark());
        self.first_unstable.load(Ordering::Acquire).max(start).min(high_watermark)
    }

    /// Returns the offset below which a read of this level finds records.
    ///
    /// Load it before the aborted transactions: all that were aborted below it are known then.
    pub(crate) fn bound(&self, level: IsolationLevel) -> Offset {
        match level {
            IsolationLevel::LogEnd => self.end(),
            IsolationLevel::ReadUncommitted | IsolationLevel::HighWatermark => {
                self.high_watermark()
            }
            IsolationLevel::ReadCommitted => self.last_stable(),
        }
    }

    pub(crate) fn set_first_unstable(&self, offset: Option<Offset>) {
        self.first_unstable.store(offset.unwrap_or(Offset::MAX), Ordering::Release);
    }

    /// Lowers the first unstable offset, if this one is lower.
    pub(crate) fn lower_first_unstable(&self, offset: Option<Offset>) {
        self.first_unstable.fetch_min(offset.unwrap_or(Offset::MAX), Ordering::AcqRel);
    }

    /// Returns how many aborted transactions were added to the indexes in memory. While the number
    /// and the list of segments stay the same, so do the indexes.
    pub(crate) fn aborted_total(&self) -> u64 {
        self.aborted_total.load(Ordering::Acquire)
    }

    /// Tells readers about an entry that was added to an index of aborted transactions, before
    /// they may see the records of its transaction.
    pub(crate) fn note_aborted(&self) {
        self.aborted_total.fetch_add(1, Ordering::Release);
    }

    #[cold]
    pub(crate) fn out_of_range(&self, requested: Offset) -> Error {
        self.outside(requested, self.start(), self.end())
    }

    /// Returns the error of an offset that is not between these ends.
    #[cold]
    pub(crate) fn outside(&self, requested: Offset, start: Offset, end: Offset) -> Error {
        let bound = IsolationLevel::LogEnd;
        Error::OffsetOutOfRange { log: self.location(), requested, start, end, bound }
    }

    /// Returns the error of an offset that is not between the start and the bound of a level.
    #[cold]
    pub(crate) fn outside_of(
        &self,
        level: IsolationLevel,
        requested: Offset,
        start: Offset,
        end: Offset,
    ) -> Error {
        let bound = match level {
            _ if end >= self.end() => IsolationLevel::LogEnd,
            IsolationLevel::ReadCommitted if end < self.high_watermark() => level,
            IsolationLevel::LogEnd => level,
            _ => IsolationLevel::HighWatermark,
        };
        Error::OffsetOutOfRange { log: self.location(), requested, start, end, bound }
    }

    /// Fails for an offset that is not between the ends. Both are included, because a reader may
    /// wait at the end.
    pub(crate) fn check_range(&self, offset: Offset) -> Result<()> {
        // Load each end once, or an append meanwhile would make the error contradict itself.
        let (start, end) = (self.start(), self.end());
        if offset < start || offset > end {
            return Err(self.outside(offset, start, end));
        }
        Ok(())
    }

    /// Returns why something at `offset` was not found or could not be read. If it was deleted
    /// meanwhile, that is the reason.
    pub(crate) fn unless_deleted(&self, offset: Offset, error: Error) -> Error {
        if offset < self.start() { self.out_of_range(offset) } else { self.unless_closed(error) }
    }
}
