//! Detects that another process has truncated the files of a read-only log and appended to them
//! again.
//!
//! Lengths do not show it, because other records may have the same size. So a read-only log
//! remembers the last batch that it knows of. A truncation of anything below removes that batch,
//! and a batch that is appended in its place has another header. As long as the batch is there,
//! everything below it is unchanged.
//!
//! The check must come after the bytes that it confirms were read. It opens the file by its name,
//! because a handle that is kept open also leads to a removed file.

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

/// The last batch that a read-only log knows of.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    pub(crate) segment: Arc<Segment>,
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Anchor {
    /// Returns the last batch of a segment, found by its indexes; `None` if it has none that can
    /// be read.
    pub(crate) fn of_segment(segment: &Arc<Segment>, limit: Offset) -> Result<Option<Anchor>> {
        let end = segment.published();
        let fail = |error| Error::io("read", &segment.path(Kind::Log), error);
        let indexes = match segment.indexes(limit) {
            // A read of the damage reports it.
            Err(Error::Corrupt(_)) => return Ok(None),
            indexes => indexes?,
        };
        let entry = indexes.offsets.len().checked_sub(1).and_then(|at| indexes.offsets.get(at));
        let (file, mut last) = (segment.file()?, None);
        let mut walk = HeaderWalk::new(&*file, entry.map_or(0, |entry| entry.position), end);
        while let Walked::Batch { position, header } = walk.next().map_err(fail)? {
            last = Some(Anchor { segment: Arc::clone(segment), position, header });
        }
        Ok(last)
    }

    /// Returns whether the batch is where it was.
    pub(crate) fn is_there(&self) -> Result<bool> {
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
/// last batch of the earlier reads must still be there.
pub(crate) struct Chain<'a> {
    inner: &'a mut dyn RecoveryObserver,
    dir: &'a SegmentDir,
    base: Offset,
    position: u64,
    /// The last batch and its position.
    pub(crate) last: Option<(u64, BatchHeader)>,
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
        Chain { inner, dir, base, position: 0, last: None, is_broken: false }
    }
}

impl RecoveryObserver for Chain<'_> {
    fn begin(&mut self, at: Offset) -> Result<()> {
        self.inner.begin(at)
    }

    fn read_on(&mut self) -> Result<()> {
        if let Some((position, header)) = &self.last {
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
        self.last = Some((self.position, header));
        self.position = self.position.saturating_add(header.size_bytes() as u64);
        Ok(())
    }

    fn forget(&mut self) {
        self.inner.forget();
    }
}
