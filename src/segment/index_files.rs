//! The index files of a directory: reading them, and replacing them in one step each.

use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::fs::{FileView, OPEN, OpenMode};
use crate::record::BatchHeader;
use crate::segment::SegmentDir;
use crate::segment::index::Indexes;
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::offset_index::{self, OffsetIndex};
use crate::segment::time_index::{self, TimeIndex};
use crate::types::Offset;
use std::io;

/// Index files up to this size are read rather than mapped: a mapping costs more than the copy.
const MAP_FROM_BYTES: u64 = 65_536;

/// The problem of an index file that does not exist.
pub(crate) const MISSING: &str = "it is missing";

/// Returns the index files of a segment whose log has `bytes`, checked against themselves, or
/// which of them is wrong and why.
pub(crate) fn stored_indexes(
    dir: &SegmentDir,
    base: Offset,
    bytes: u64,
) -> Result<Result<Indexes, (Kind, &'static str)>> {
    indexes_at(dir, base, bytes, &[Stage::Live])
}

/// Reads each of the index files in the first stage that has one.
pub(super) fn indexes_at(
    dir: &SegmentDir,
    base: Offset,
    bytes: u64,
    stages: &[Stage],
) -> Result<Result<Indexes, (Kind, &'static str)>> {
    // One entry for each batch, and the last time.
    let most_entries = (bytes / BatchHeader::SIZE as u64).saturating_add(1);
    let view = |kind, entry_bytes: usize| {
        let most = most_entries.saturating_mul(entry_bytes as u64);
        let mut found = Err(MISSING);
        for stage in stages {
            let file = SegmentFile { base, kind, stage: *stage };
            found = dir.index_view(file, MAP_FROM_BYTES, most)?;
            if !matches!(found, Err(MISSING)) {
                break;
            }
        }
        Ok::<_, Error>(found)
    };
    let offsets = match view(Kind::OffsetIndex, offset_index::ENTRY_BYTES)? {
        Ok(offsets) => offsets,
        Err(reason) => return Ok(Err((Kind::OffsetIndex, reason))),
    };
    let times = match view(Kind::TimeIndex, time_index::ENTRY_BYTES)? {
        Ok(times) => times,
        Err(reason) => return Ok(Err((Kind::TimeIndex, reason))),
    };
    let offsets = match OffsetIndex::open(base, offsets, bytes) {
        Ok(offsets) => offsets,
        Err(reason) => return Ok(Err((Kind::OffsetIndex, reason))),
    };
    let times = match TimeIndex::open(base, times) {
        Ok(times) => times,
        Err(reason) => return Ok(Err((Kind::TimeIndex, reason))),
    };
    Ok(Ok(Indexes { offsets, times }))
}

impl SegmentDir {
    /// Returns the content of an index file of at most `most` bytes, or the problem with it.
    ///
    /// The file is mapped only if this process holds the lock of the directory: then no other
    /// process truncates it.
    pub(crate) fn index_view(
        &self,
        file: SegmentFile,
        map_from: u64,
        most: u64,
    ) -> Result<Result<FileView, &'static str>> {
        let path = self.path_of(file);
        let opened = match self.fs.open(&path, OpenMode::ReadOnly) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(MISSING)),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let view = || -> io::Result<Result<FileView, &'static str>> {
            let len = opened.len()?;
            if len > most {
                return Ok(Err("it has more entries than its log has batches"));
            }
            if self.writable && len >= map_from {
                return opened.view(len).map(Ok);
            }
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            opened.read_exact_at(&mut bytes, 0)?;
            Ok(Ok(FileView::from_vec(bytes)))
        };
        view().map_err(|e| Error::io("read", &path, e))
    }

    /// Syncs the index files and the snapshot of a segment. Most segments have no aborted
    /// transaction, and so no file of these.
    pub(super) fn sync_indexes(&self, base: Offset, has_aborted: bool) -> Result<()> {
        let aborted = has_aborted.then_some(Kind::TxnIndex);
        let kinds = [Kind::OffsetIndex, Kind::TimeIndex, Kind::Snapshot];
        for kind in kinds.into_iter().chain(aborted) {
            let path = self.path_of(SegmentFile::live(base, kind));
            let file = match self.fs.open(&path, OpenMode::ReadWrite) {
                // A missing file is rebuilt when it is needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| Error::io(OPEN, &path, e))?,
            };
            file.sync_data().map_err(|e| Error::io("sync", &path, e))?;
        }
        Ok(())
    }

    /// Replaces both index files, in one step each. A reader of the old files keeps them.
    pub(crate) fn replace_indexes(&self, base: Offset, indexes: &Indexes) -> Result<()> {
        let path_of = |kind| self.path_of(SegmentFile::live(base, kind));
        // Recovery rebuilds times beyond the last offset entry, but not times that are missing
        // below it: so the times come first.
        self.replace_if_owned(&path_of(Kind::TimeIndex), &indexes.times.bytes_from(0))?;
        self.replace_if_owned(&path_of(Kind::OffsetIndex), &indexes.offsets.bytes_from(0))
    }

    /// Replaces both index files, or removes them if there is no room: then the indexes are
    /// rebuilt from the log whenever they are needed. Returns whether the files exist.
    pub(crate) fn store_indexes(&self, base: Offset, indexes: &Indexes) -> Result<bool> {
        let is_full = |error: &Error| error.kind() == ErrorKind::StorageFull;
        match self.replace_indexes(base, indexes) {
            Err(error) if is_full(&error) => {}
            replaced => return replaced.map(|()| true),
        }
        // The existing files describe another state of the log. Removing them may make the room
        // that was missing.
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            self.remove_if_exists(&self.path_of(SegmentFile::live(base, kind)))?;
        }
        self.sync()?;
        match self.replace_indexes(base, indexes) {
            Err(error) if is_full(&error) => {
                let path = self.path_of(SegmentFile::live(base, Kind::OffsetIndex));
                self.events.emit(&Event::CheckpointFailed { path, error: error.cause() });
                Ok(false)
            }
            replaced => replaced.map(|()| true),
        }
    }
}
