//! Detects that another process has truncated the files of a read-only log and appended to them
//! again.
//!
//! Lengths do not show it, because other records may have the same size. So a read-only log
//! remembers the last batch that it knows of. A truncation of anything below removes that batch,
//! and a batch that is appended in its place has another header. As long as the batch is there,
//! everything below it is unchanged.
//!
//! An empty batch is an exception: it is the same in all histories of the log without its offsets.
//! So the last batch with records is remembered, and each empty batch after it. None of these
//! shows that another one is there.
//!
//! The check must come after the read that it confirms. It opens the file by its name, because a
//! handle that is kept open also leads to a removed file.

use crate::error::{Error, InvalidBatch, Result};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::headers::{HeaderWalk, Walked, read_header};
use crate::segment::name::Kind;
use crate::segment::recovered::RecoveryObserver;
use crate::segment::{Segment, SegmentDir};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// The largest number of empty batches that are remembered. A truncation leaves one. But a file
/// can be full of them.
pub(crate) const MOST_EMPTY: usize = 16;

/// The last batch with records, and the empty batches after it.
#[derive(Debug, Clone)]
pub(crate) struct LastBatches<T> {
    records: Option<T>,
    empty: Vec<T>,
}

impl<T> Default for LastBatches<T> {
    fn default() -> LastBatches<T> {
        LastBatches { records: None, empty: Vec::new() }
    }
}

impl<T> LastBatches<T> {
    /// Adds the next batch, which has this header.
    pub(crate) fn push(&mut self, header: &BatchHeader, batch: T) {
        if header.record_count != 0 {
            self.empty.clear();
            self.records = Some(batch);
            return;
        }
        if self.empty.len() >= MOST_EMPTY {
            self.empty.remove(0);
        }
        self.empty.push(batch);
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.empty.last().or(self.records.as_ref())
    }

    /// Returns whether earlier batches need not be remembered.
    fn is_complete(&self) -> bool {
        self.records.is_some() || self.empty.len() >= MOST_EMPTY
    }

    /// Returns the batches in the order of their offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.records.iter().chain(&self.empty)
    }
}

/// The last batches that a read-only log knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Anchor(LastBatches<KnownBatch>);

#[derive(Debug, Clone)]
pub(crate) struct KnownBatch {
    pub(crate) segment: Arc<Segment>,
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Anchor {
    /// Returns the last batches of a segment, found by its indexes; none if they cannot be read.
    pub(crate) fn of_segment(segment: &Arc<Segment>, limit: Offset) -> Result<Anchor> {
        let end = segment.published();
        let fail = |error| Error::io("read", &segment.path(Kind::Log), error);
        let indexes = match segment.indexes(limit) {
            // A read of the damage reports it.
            Err(Error::Corrupt(_)) => return Ok(Anchor::default()),
            indexes => indexes?,
        };
        let file = segment.file()?;
        let mut back = 1usize;
        loop {
            let at = indexes.offsets.len().checked_sub(back);
            let entry = at.and_then(|at| indexes.offsets.get(at));
            let mut walk = HeaderWalk::new(&*file, entry.map_or(0, |entry| entry.position), end);
            let mut anchor = Anchor::default();
            while let Walked::Batch { position, header } = walk.next().map_err(fail)? {
                anchor.push(KnownBatch { segment: Arc::clone(segment), position, header });
            }
            if anchor.is_complete() || entry.is_none() {
                return Ok(anchor);
            }
            back = back.saturating_mul(2);
        }
    }

    pub(crate) fn push(&mut self, batch: KnownBatch) {
        let header = batch.header;
        self.0.push(&header, batch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.last().is_none()
    }

    /// Returns whether the batches before these need not be known.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    /// Returns whether the last batch with records is in this segment.
    pub(crate) fn has_records_in(&self, segment: &Segment) -> bool {
        self.0.records.as_ref().is_some_and(|batch| batch.segment.base == segment.base)
    }

    /// Returns the batches that are not where they were.
    pub(crate) fn lost(&self) -> Result<Vec<&KnownBatch>> {
        let mut lost = Vec::new();
        for batch in self.0.iter() {
            if !batch.is_there()? {
                lost.push(batch);
            }
        }
        Ok(lost)
    }

    /// Returns this anchor with the batches of another one after it.
    pub(crate) fn followed_by(mut self, next: &Anchor) -> Anchor {
        next.0.iter().for_each(|batch| self.push(batch.clone()));
        self
    }
}

impl KnownBatch {
    fn is_there(&self) -> Result<bool> {
        let fail = |error| Error::io("read", &self.segment.path(Kind::Log), error);
        holds(self.segment.open_file(), self.position, &self.header)?.map_err(fail)
    }
}

/// Returns whether a file that was opened has this header at a position.
fn holds(
    opened: Result<Arc<dyn File>>,
    position: u64,
    header: &BatchHeader,
) -> Result<io::Result<bool>> {
    let file = match opened {
        Err(error) if error.is_not_found() => return Ok(Ok(false)),
        opened => opened?,
    };
    Ok(match read_header(&*file, position, u64::MAX) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        found => found.map(|found| found.as_ref() == Ok(header)),
    })
}

/// Checks while a segment is scanned that it is not truncated: after each read of the file, the
/// last batches of the earlier reads must still be there.
pub(crate) struct Chain<'a> {
    inner: &'a mut dyn RecoveryObserver,
    dir: &'a SegmentDir,
    base: Offset,
    position: u64,
    /// The last batches and their positions.
    pub(crate) last: LastBatches<(u64, BatchHeader)>,
    /// Whether the segment was truncated meanwhile.
    pub(crate) is_broken: bool,
}

impl<'a> Chain<'a> {
    /// Creates a chain that passes all batches on to another observer.
    pub(crate) fn new(
        dir: &'a SegmentDir,
        base: Offset,
        inner: &'a mut dyn RecoveryObserver,
    ) -> Chain<'a> {
        Chain { inner, dir, base, position: 0, last: LastBatches::default(), is_broken: false }
    }
}

impl RecoveryObserver for Chain<'_> {
    fn begin(&mut self, at: Offset) -> Result<()> {
        self.inner.begin(at)
    }

    fn read_on(&mut self) -> Result<()> {
        for (position, header) in self.last.iter() {
            let path =
                self.dir.path_of(crate::segment::name::SegmentFile::live(self.base, Kind::Log));
            let there = holds(self.dir.open_log(self.base), *position, header)?;
            self.is_broken |= !there.map_err(|error| Error::io("read", &path, error))?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        self.inner.batch(batch)?;
        let header = *batch.header();
        self.last.push(&header, (self.position, header));
        self.position = self.position.saturating_add(header.size_bytes() as u64);
        Ok(())
    }

    fn forget(&mut self) {
        self.inner.forget();
    }
}
