//! The indexes of a segment: opened from their files when first needed, and rebuilt from the log
//! if they are wrong.

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::{self, Event};
use crate::segment::batches::SegmentBatches;
use crate::segment::headers::{HeaderWalk, Walked};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::index_files::indexes_at;
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::txn_index::{self, TxnIndex};
use crate::segment::{Retired, Segment};
use crate::sync::atomic::Ordering;
use crate::types::{Offset, Timestamp};
use std::sync::Arc;

impl Segment {
    /// Returns the indexes, opening their files if they are not open, and rebuilding them if these
    /// are wrong.
    ///
    /// `limit` is the offset that every batch of the segment must lie below.
    pub(crate) fn indexes(&self, limit: Offset) -> Result<Arc<Indexes>> {
        let slot = self.indexes.lock();
        if let Some(indexes) = &*slot {
            return Ok(Arc::clone(indexes));
        }
        event::deliver_after(|| {
            let mut slot = slot;
            let indexes = match self.open_indexes()? {
                Ok(indexes) => indexes,
                Err((kind, reason)) => {
                    let indexes = self.rebuild_indexes(limit)?;
                    self.dir.events.emit(&Event::IndexRebuilt { path: self.path(kind), reason });
                    indexes
                }
            };
            Ok(Arc::clone(slot.insert(Arc::new(indexes))))
        })
    }

    /// Rebuilds indexes that the log contradicts, if the segment is sealed and whole. Otherwise
    /// they stay, and this returns `None`: an entry that the log contradicts is never used.
    pub(super) fn replace_wrong_indexes(
        &self,
        kind: Kind,
        reason: &'static str,
        limit: Offset,
    ) -> Result<Option<Arc<Indexes>>> {
        event::deliver_after(|| {
            let mut slot = self.indexes.lock();
            let made = if self.sealed { Some(self.rebuild_indexes(limit)) } else { None };
            self.dir.events.emit(&Event::IndexRebuilt { path: self.path(kind), reason });
            match made.transpose() {
                Ok(made) => Ok(made.map(|indexes| Arc::clone(slot.insert(Arc::new(indexes))))),
                Err(Error::Corrupt(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Returns the index files, checked against themselves, or which of them is wrong and why.
    pub(crate) fn stored_indexes(&self) -> Result<Result<Indexes, (Kind, &'static str)>> {
        let staged = self.staged.load(Ordering::Acquire);
        let stages: &[Stage] = if staged { &[Stage::Swap, Stage::Live] } else { &[Stage::Live] };
        indexes_at(&self.dir, self.base, self.published(), stages)
    }

    /// Returns the index of aborted transactions, reading its file if that was not read yet. A
    /// segment without the file has no such transaction.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the file cannot be the index of this segment.
    pub(crate) fn aborted(&self) -> Result<Arc<TxnIndex>> {
        if !self.is_sealed() {
            return Ok(self.aborted_in_memory());
        }
        let mut slot = self.aborted.lock();
        if let Some(aborted) = &*slot {
            return Ok(Arc::clone(aborted));
        }
        let aborted = self.stored_aborted()?.map_err(|reason| {
            let (path, reason) = (self.path(Kind::TxnIndex), CorruptionKind::Malformed(reason));
            Error::Corrupt(Box::new(Corruption { path, position: 0, offset: None, reason }))
        })?;
        Ok(Arc::clone(slot.insert(Arc::new(aborted))))
    }

    /// Returns the content of the file of aborted transactions, or the problem with it. It is
    /// empty if there is no file.
    pub(crate) fn stored_aborted(&self) -> Result<Result<TxnIndex, &'static str>> {
        let stages: &[Stage] = match self.staged.load(Ordering::Acquire) {
            // The live file may be that of a replaced segment. Its entries
            // name aborted transactions as well.
            true => &[Stage::Swap, Stage::Live],
            false if self.dir.writable => &[Stage::Live],
            // Another process may be replacing the file by one with the other name.
            false => &[Stage::Live, Stage::Swap, Stage::Live],
        };
        let mut bytes = None;
        for &stage in stages {
            let path =
                self.dir.path_of(SegmentFile { base: self.base, kind: Kind::TxnIndex, stage });
            bytes = self.dir.read_small(&path, txn_index::MAX_BYTES)?;
            if bytes.is_some() {
                break;
            }
        }
        Ok(TxnIndex::open(self.base, &bytes.unwrap_or_default()))
    }

    /// Keeps a rebuilt index of aborted transactions in memory, unless another thread was earlier.
    pub(crate) fn keep_aborted(&self, rebuilt: TxnIndex) -> Arc<TxnIndex> {
        let mut slot = self.aborted.lock();
        Arc::clone(slot.get_or_insert_with(|| Arc::new(rebuilt)))
    }

    /// Returns the number of aborted transactions that are in memory: all of an active segment.
    pub(crate) fn aborted_count(&self) -> usize {
        self.aborted.lock().as_ref().map_or(0, |index| index.len())
    }

    /// Returns the index of aborted transactions of an active segment, to add to it. Makes it if
    /// there was none, which takes memory.
    pub(crate) fn aborted_in_memory(&self) -> Arc<TxnIndex> {
        let mut slot = self.aborted.lock();
        Arc::clone(slot.get_or_insert_with(|| Arc::new(TxnIndex::empty())))
    }

    /// Syncs the index files and the snapshot of a sealed segment, because the recovery point
    /// covers them as well as the log.
    pub(crate) fn sync_indexes(&self) -> Result<()> {
        // The entries that were added since the log was opened are in memory. Older ones are
        // durable.
        let has_aborted = self.aborted_count() > 0;
        self.dir.sync_indexes(self.base, has_aborted)
    }

    fn open_indexes(&self) -> Result<Result<Indexes, (Kind, &'static str)>> {
        let bytes = self.published();
        let indexes = match self.stored_indexes()? {
            Ok(indexes) => indexes,
            Err(found) => return Ok(Err(found)),
        };
        Ok(self.check_tail(&indexes, bytes)?.map(|()| indexes))
    }

    /// Checks the end of an index, because a shortened index still looks like one. The last entry
    /// must name a batch, and no later batch may have a later timestamp than the last entry.
    ///
    /// The number of bytes after the last entry is not checked: the index may have been written
    /// with another interval.
    fn check_tail(
        &self,
        indexes: &Indexes,
        bytes: u64,
    ) -> Result<Result<(), (Kind, &'static str)>> {
        let file = self.file()?;
        let last = indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last));
        if let Some(last) = last
            && self.check_entry(&*file, last, bytes)?.is_none()
        {
            return Ok(Err((Kind::OffsetIndex, "its last entry names no batch")));
        }
        let mut walk = HeaderWalk::new(&*file, last.map_or(0, |last| last.position), bytes);
        let mut largest = indexes.times.last();
        loop {
            let header = match walk.next().map_err(|e| self.io("read", e))? {
                Walked::Batch { header, .. } => header,
                Walked::End => return Ok(Ok(())),
                Walked::Invalid(_) => {
                    let reason = "it does not lead to the end of the log";
                    return Ok(Err((Kind::OffsetIndex, reason)));
                }
            };
            let max = header.max_timestamp;
            if max >= Timestamp::from_millis(0) && largest.is_none_or(|entry| max > entry.timestamp)
            {
                return Ok(Err((Kind::TimeIndex, "it ends before the log does")));
            }
            if largest.is_some_and(|entry| entry.offset == header.last_offset()) {
                largest = largest.filter(|entry| entry.timestamp == max);
                if largest.is_none() {
                    return Ok(Err((Kind::TimeIndex, "its last entry names no batch")));
                }
            }
        }
    }

    /// Rebuilds both indexes from the log, and their files if the directory is open for writing.
    pub(super) fn rebuild_indexes(&self, limit: Offset) -> Result<Indexes> {
        let indexes = Indexes::empty(self.base);
        let mut cadence =
            IndexCadence::new(self.dir.index_interval_bytes, (Timestamp::NONE, self.base));
        let mut batches = SegmentBatches::new(self, self.published(), limit)?;
        while let Some((position, batch)) = batches.next()? {
            let header = batch.header();
            cadence.note(
                &indexes,
                position,
                header.size_bytes() as u64,
                header.last_offset(),
                header.max_timestamp,
            );
        }
        cadence.finish(&indexes);
        if self.retired.get() == Some(&Retired::Replaced) || self.staged.load(Ordering::Acquire) {
            return Ok(indexes);
        }
        // A full disk must not keep a reader from reading: then the indexes stay in memory alone.
        if let Err(error) = self.dir.replace_indexes(self.base, &indexes) {
            let path = self.path(Kind::OffsetIndex);
            self.dir.events.emit(&Event::CleanupFailed { path, error: error.cause() });
        }
        Ok(indexes)
    }
}
