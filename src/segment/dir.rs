//! The directory of a log, as its segments use it: a [`Dir`] with a bounded number of open files.

use crate::error::{Error, Result};
use crate::fs::{Dir, File, OPEN, OpenMode, Reserve, WhenFull};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::Offset;
use std::collections::VecDeque;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of log files of one log that stay open without a reader.
const OPEN_FILES: usize = 16;

/// The number for a log that another process writes. That process does not announce that it
/// removes a file, so an open file keeps its room on disk until the next look at the directory.
const FOLLOWED_FILES: usize = 1;

/// The directory of a log. It dereferences to the [`Dir`] itself.
#[derive(Debug)]
pub(crate) struct SegmentDir {
    dir: Dir,
    pub(crate) index_interval_bytes: u64,
    /// Leaf lock: the log files opened last, by segment. Held to look one up, never across I/O.
    open_files: Mutex<OpenFiles>,
    /// The id of the next segment.
    segments: AtomicU64,
    /// The id from which on segments that left the log own the live names of their files. Held
    /// while such a segment removes them.
    named_from: Mutex<SegmentId>,
}

impl Deref for SegmentDir {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

/// The log files that stay open, in the order in which they were opened.
#[derive(Debug)]
struct OpenFiles {
    files: VecDeque<(SegmentId, Arc<dyn File>)>,
    /// The maximum number of files: 0 once the directory is closed.
    most: usize,
}

/// Identifies a segment. A base offset does not: after a truncation or a compaction, another
/// segment can have the same base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId(u64);

impl SegmentDir {
    pub(crate) fn new(dir: Dir, index_interval_bytes: u64) -> SegmentDir {
        let most = if dir.writable { OPEN_FILES } else { FOLLOWED_FILES };
        let open_files = Mutex::new(OpenFiles { files: VecDeque::new(), most });
        let (segments, named_from) = (AtomicU64::new(0), Mutex::new(SegmentId(0)));
        SegmentDir { dir, index_interval_bytes, open_files, segments, named_from }
    }

    /// Returns the directory with a reserve for a full disk.
    pub(crate) fn with_reserve(self, reserve: Option<Arc<Reserve>>) -> SegmentDir {
        SegmentDir { dir: self.dir.with_reserve(reserve), ..self }
    }

    /// Returns the directory with a reserve of its own.
    pub(crate) fn with_own_reserve(self) -> SegmentDir {
        SegmentDir { dir: self.dir.with_own_reserve(), ..self }
    }

    /// Closes the directory for all its holders, and all files that it keeps open. Later calls
    /// fail; files that are in use stay usable.
    pub(crate) fn close(&self) {
        self.dir.disown();
        let files = {
            let mut open = self.open_files.lock();
            open.most = 0;
            std::mem::take(&mut open.files)
        };
        drop(files);
        self.dir.close();
    }

    pub(crate) fn path_of(&self, file: SegmentFile) -> PathBuf {
        self.path.join(file.to_string())
    }

    /// Returns the id of a new segment of this directory.
    pub(crate) fn new_segment(&self) -> SegmentId {
        SegmentId(self.segments.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens the log file of this base.
    pub(crate) fn open_log(&self, base: Offset) -> Result<Arc<dyn File>> {
        self.open_log_at(SegmentFile::live(base, Kind::Log))
    }

    /// Opens a log file in any stage.
    pub(crate) fn open_log_at(&self, file: SegmentFile) -> Result<Arc<dyn File>> {
        let path = self.path_of(file);
        let how = if self.writable { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
        self.fs.open(&path, how).map_err(|e| Error::io(OPEN, &path, e))
    }

    /// Returns the log file of a segment, if it is open.
    pub(crate) fn opened(&self, segment: SegmentId) -> Option<Arc<dyn File>> {
        let open = self.open_files.lock();
        let found = open.files.iter().find(|(open, _)| *open == segment);
        found.map(|(_, file)| Arc::clone(file))
    }

    /// Keeps a log file open, and closes the one opened first if there are too many.
    pub(crate) fn keep_open(&self, segment: SegmentId, file: &Arc<dyn File>) {
        let mut open = self.open_files.lock();
        if open.most == 0 || open.files.iter().any(|(other, _)| *other == segment) {
            return;
        }
        let evicted = if open.files.len() >= open.most { open.files.pop_front() } else { None };
        open.files.push_back((segment, Arc::clone(file)));
        drop(open);
        drop(evicted);
    }

    /// Closes the log file of a segment that left the log.
    pub(crate) fn release(&self, segment: SegmentId) {
        let mut open = self.open_files.lock();
        let at = open.files.iter().position(|(open, _)| *open == segment);
        let released = at.and_then(|at| open.files.remove(at));
        drop(open);
        drop(released);
    }

    /// Takes the live names from the segments that left the log: later segments may have them.
    pub(crate) fn disown_names(&self) {
        let next = SegmentId(self.segments.load(Ordering::Relaxed));
        *self.named_from.lock() = next;
    }

    /// Removes the files of a segment that left the log, unless others may have their names.
    pub(crate) fn discard_all(&self, segment: SegmentId, base: Offset, stage: Stage) {
        let named_from = self.named_from.lock();
        if stage == Stage::Live && segment < *named_from {
            return;
        }
        for kind in Kind::ALL {
            self.discard(SegmentFile { base, kind, stage });
        }
    }

    /// Creates the log file of a new segment. Stale files of its base are removed first.
    pub(crate) fn create_log(&self, base: Offset, when_full: WhenFull) -> Result<Arc<dyn File>> {
        for kind in Kind::ALL {
            if !kind.is_of_offset() {
                self.discard(SegmentFile::live(base, kind));
            }
        }
        self.create(&self.path_of(SegmentFile::live(base, Kind::Log)), when_full)
    }

    /// Renames a file so that no opening finds it. It is removed when no reader needs it.
    pub(crate) fn set_aside(&self, live: SegmentFile) -> Result<()> {
        let deleted = SegmentFile { stage: Stage::Deleted, ..live };
        self.rename_or_remove(&self.path_of(live), &self.path_of(deleted))
    }

    /// Removes a file that is no longer needed. It need not exist. A failure is reported, and the
    /// next opening of the log retries.
    pub(crate) fn discard(&self, file: SegmentFile) {
        self.discard_path(&self.path_of(file));
    }
}
