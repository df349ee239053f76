//! Detects that another process has truncated the files of a read-only log and written on.
//!
//! Nothing tells it, and lengths do not: other records may take the same room. So it remembers the
//! last batch it knows of. A truncation of anything below removes that batch, and what is appended
//! then has another header at its place. As long as the batch is there, everything below it is
//! what it was.
//!
//! The check comes after the bytes were read that it vouches for, and it looks at the file that
//! has the name now: a handle leads to a removed file, too.

use crate::error::{Error, InvalidBatch, Result};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::headers::{HeaderWalk, Walked, read_header};
use crate::segment::name::Kind;
use crate::segment::recover::RecoveryObserver;
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
    /// The last batch of a segment, found by its indexes; `None` if it has none that can be read.
    pub(crate) fn of_segment(segment: &Arc<Segment>, limit: Offset) -> Result<Option<Anchor>> {
        let end = segment.published();
        let fail = |error| Error::io("read", &segment.path(Kind::Log), error);
        let indexes = match segment.indexes(limit) {
            // A read of damage reports it.
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

    /// Whether the batch is where it was.
    pub(crate) fn is_there(&self) -> Result<bool> {
        let fail = |error| Error::io("read", &self.segment.path(Kind::Log), error);
        holds(self.segment.open_file(), self.position, &self.header)?.map_err(fail)
    }
}

/// Whether a file that was opened has this header at a position.
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

/// Checks while a segment is scanned that it is not truncated: whenever its file was read, the
/// last batch of what was read before must still be there.
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
    /// Hands all that is read on to another observer.
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
