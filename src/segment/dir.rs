//! The directory a log lives in: its files by name, and a bounded number of open ones.

use crate::error::{Error, ErrorKind, Result, is_storage_full, is_too_many_files};
use crate::event::{Event, EventSink};
use crate::fs::{File, FileView, Fs, OpenMode, Revocable};
use crate::segment::index::Indexes;
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::reserve::Reserve;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::types::Offset;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of log files of one log that stay open without a reader.
const OPEN_FILES: usize = 16;

/// The same for a log that another process writes: it does not tell when it removes them, so each
/// keeps its room on disk until the next look at the directory.
const FOLLOWED_FILES: usize = 1;

/// The problem of an index file that is not there.
pub(crate) const MISSING: &str = "it is missing";

/// The operation in the error of a file that could not be opened.
pub(crate) const OPEN: &str = "open";

/// Where a new file finds room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Where there is free room, and nowhere else.
    Free,
    /// In the reserve, if there is no free room: for what frees more than it takes.
    Reserved,
}

/// A log's directory, as its segments see it.
#[derive(Debug)]
pub(crate) struct SegmentDir {
    /// All calls fail once the directory was [let go of](SegmentDir::let_go).
    pub(crate) fs: Arc<dyn Fs>,
    /// The same.
    access: Arc<Revocable>,
    pub(crate) path: PathBuf,
    pub(crate) events: EventSink,
    pub(crate) index_interval_bytes: u64,
    /// Whether this process opened the directory for writing.
    pub(crate) writable: bool,
    /// Whether it owns the directory still. A reader may outlive that, and holds this for reading
    /// while it removes or replaces a file on its own account; nothing but the file system is
    /// called under it.
    owned: RwLock<bool>,
    /// What is given up when the disk is full. That of the data directory, where the log is one of
    /// many.
    reserve: Option<Arc<Reserve>>,
    /// Leaf lock: log files opened lately, by the segment. Held to look one up, never across I/O.
    open_files: Mutex<OpenFiles>,
    /// How many segments there have been.
    segments: AtomicU64,
}

/// The log files that stay open, the one opened longest ago first.
#[derive(Debug)]
struct OpenFiles {
    files: VecDeque<(SegmentId, Arc<dyn File>)>,
    /// How many there may be: none once the directory was let go of.
    most: usize,
}

/// Tells segments apart. A base does not: after a truncation or a compaction, another segment has
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentId(u64);

impl SegmentDir {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        events: EventSink,
        index_interval_bytes: u64,
        writable: bool,
    ) -> SegmentDir {
        let most = if writable { OPEN_FILES } else { FOLLOWED_FILES };
        let open_files = Mutex::new(OpenFiles { files: VecDeque::new(), most });
        let segments = AtomicU64::new(0);
        let (reserve, owned) = (None, RwLock::new(writable));
        let access = Arc::new(Revocable::new(fs));
        SegmentDir {
            fs: Arc::clone(&access) as Arc<dyn Fs>,
            access,
            path,
            events,
            index_interval_bytes,
            writable,
            owned,
            reserve,
            open_files,
            segments,
        }
    }

    /// Gives the directory up: from here on nothing in it is removed or replaced for readers that
    /// live on.
    pub(crate) fn disown(&self) {
        *self.owned.write() = false;
    }

    /// Closes the directory and all files that are kept open, however many still have this. What
    /// is tried in it from here on fails, except in files that are in use.
    pub(crate) fn let_go(&self) {
        self.disown();
        let files = {
            let mut open = self.open_files.lock();
            open.most = 0;
            std::mem::take(&mut open.files)
        };
        drop(files);
        self.access.revoke();
    }

    /// Returns the directory with a reserve for a full disk.
    pub(crate) fn with_reserve(self, reserve: Option<Arc<Reserve>>) -> SegmentDir {
        SegmentDir { reserve, ..self }
    }

    pub(crate) fn reserve(&self) -> Option<&Arc<Reserve>> {
        self.reserve.as_ref()
    }

    /// Makes the reserve again, if it is missing or too small and there is room.
    pub(crate) fn fill_reserve(&self) {
        let is_owned = *self.owned.read();
        if let Some(reserve) = self.reserve.as_ref().filter(|_| is_owned) {
            reserve.fill();
        }
    }

    pub(crate) fn path_of(&self, file: SegmentFile) -> PathBuf {
        self.path.join(file.to_string())
    }

    /// Makes the names of the files durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.fs.sync_dir(&self.path).map_err(|error| {
            // A directory is opened to be synced. For want of a descriptor it was not.
            match Error::io("sync", &self.path, error) {
                Error::Io { path, source, .. } if is_too_many_files(&source) => {
                    Error::Io { operation: OPEN, path, source }
                }
                other => other,
            }
        })
    }

    /// The name of a new segment among those of this directory.
    pub(crate) fn new_segment(&self) -> SegmentId {
        SegmentId(self.segments.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens the log file of this base.
    pub(crate) fn open_log(&self, base: Offset) -> Result<Arc<dyn File>> {
        self.open_log_at(SegmentFile::live(base, Kind::Log))
    }

    /// Opens a log file, whatever stage it is in.
    pub(crate) fn open_log_at(&self, file: SegmentFile) -> Result<Arc<dyn File>> {
        let path = self.path_of(file);
        let how = if self.writable { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
        self.fs.open(&path, how).map_err(|e| Error::io(OPEN, &path, e))
    }

    /// The log file of a segment, if it is open.
    pub(crate) fn opened(&self, segment: SegmentId) -> Option<Arc<dyn File>> {
        let open = self.open_files.lock();
        let found = open.files.iter().find(|(open, _)| *open == segment);
        found.map(|(_, file)| Arc::clone(file))
    }

    /// Keeps a log file open, and lets go of the one opened longest ago when there are many.
    pub(crate) fn remember(&self, segment: SegmentId, file: &Arc<dyn File>) {
        let mut open = self.open_files.lock();
        if open.most == 0 || open.files.iter().any(|(other, _)| *other == segment) {
            return;
        }
        let evicted = if open.files.len() >= open.most { open.files.pop_front() } else { None };
        open.files.push_back((segment, Arc::clone(file)));
        drop(open);
        drop(evicted);
    }

    /// Lets go of the log file of a segment that is no more.
    pub(crate) fn forget(&self, segment: SegmentId) {
        let mut open = self.open_files.lock();
        let at = open.files.iter().position(|(open, _)| *open == segment);
        let forgotten = at.and_then(|at| open.files.remove(at));
        drop(open);
        drop(forgotten);
    }

    /// The content of an index file of at most so many bytes; otherwise what is wrong with it.
    ///
    /// It is mapped only if this process holds the lock: then no other process truncates it.
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

    /// Renames a file so that no opening finds it; it is removed when no reader needs it any more.
    /// If there is no room for a name, it is removed at once: a reader that has it open keeps it.
    pub(crate) fn set_aside(&self, live: SegmentFile) -> Result<()> {
        let deleted = SegmentFile { stage: Stage::Deleted, ..live };
        let (from, to) = (self.path_of(live), self.path_of(deleted));
        let renamed = match self.fs.rename(&from, &to) {
            Err(error) if is_storage_full(&error) => self.fs.remove(&from),
            renamed => renamed,
        };
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| Error::io("rename", &from, error)),
        }
    }

    /// Removes a file that nothing needs. One that is not there is no matter; one
    /// that will not go is reported, and tried again when the log is opened.
    pub(crate) fn discard(&self, file: SegmentFile) {
        self.discard_path(&self.path_of(file));
    }

    pub(crate) fn discard_path(&self, path: &Path) {
        let removed = {
            let owned = self.owned.read();
            if !*owned {
                return;
            }
            self.fs.remove(path)
        };
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self
                .events
                .emit(&Event::CleanupFailed { path: path.to_path_buf(), error: error.to_string() }),
        }
    }

    /// Writes both index files anew, in one step each. A reader of the old ones keeps them.
    pub(crate) fn replace_indexes(&self, base: Offset, indexes: &Indexes) -> Result<()> {
        let write = |kind, bytes: Vec<u8>| {
            let path = self.path_of(SegmentFile::live(base, kind));
            let written = {
                let owned = self.owned.read();
                if !*owned {
                    return Ok(());
                }
                self.put(&path, &bytes, true)
            };
            written.inspect_err(|_| self.discard_path(&beside(&path)))
        };
        // Times beyond the last offset entry are made again by recovery. Times that are missing
        // below it are not: so the times come first.
        write(Kind::TimeIndex, indexes.times.bytes_from(0))?;
        write(Kind::OffsetIndex, indexes.offsets.bytes_from(0))
    }

    /// Writes both index files anew, or removes them where there is no room: then the indexes are
    /// made from the log whenever they are needed. Says whether they are there.
    pub(crate) fn store_indexes(&self, base: Offset, indexes: &Indexes) -> Result<bool> {
        let is_full = |error: &Error| error.kind() == ErrorKind::StorageFull;
        match self.replace_indexes(base, indexes) {
            Err(error) if is_full(&error) => {}
            replaced => return replaced.map(|()| true),
        }
        // What is there is of another state of the log. Its removal may make the room that was
        // missing.
        for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
            let path = self.path_of(SegmentFile::live(base, kind));
            match self.fs.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| Error::io("remove", &path, error))?,
            }
        }
        self.sync()?;
        match self.replace_indexes(base, indexes) {
            Err(error) if is_full(&error) => {
                let path = self.path_of(SegmentFile::live(base, Kind::OffsetIndex));
                self.events.emit(&Event::CheckpointFailed { path, error: error.to_string() });
                Ok(false)
            }
            replaced => replaced.map(|()| true),
        }
    }

    /// Replaces the content of a file in one step, by way of a file beside it.
    ///
    /// It is durable when this returns, and after a crash at any point there is either
    /// the old content or the new. On a full disk the reserve makes room for it.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        if let Some(reserve) = &self.reserve {
            reserve.note(content.len() as u64);
        }
        self.replace_if_room(path, content).or_else(|error| match &self.reserve {
            Some(reserve) if error.kind() == ErrorKind::StorageFull => {
                let replaced = self.replace_from(reserve, path, content);
                reserve.fill();
                if replaced? { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        })
    }

    /// Like [`replace`](SegmentDir::replace), but leaves the reserve alone: for what needs not be
    /// written.
    pub(crate) fn replace_if_room(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.put(path, content, true).inspect_err(|_| self.discard_path(&beside(path)))
    }

    /// Replaces the content of a file in one step, durably only after a sync of the file and of
    /// the directory: for what can be made again.
    pub(crate) fn replace_unsynced(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.put(path, content, false).inspect_err(|_| self.discard_path(&beside(path)))
    }

    fn put(&self, path: &Path, content: &[u8], durable: bool) -> Result<()> {
        let beside = beside(path);
        let write = || -> io::Result<()> {
            let file = match self.fs.open(&beside, OpenMode::CreateNew) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.fs.remove(&beside)?;
                    self.fs.open(&beside, OpenMode::CreateNew)?
                }
                other => other?,
            };
            file.write_all_at(content, 0)?;
            if durable {
                file.sync_all()?;
            }
            self.fs.rename(&beside, path)?;
            if durable { self.fs.sync_dir(&self.path) } else { Ok(()) }
        };
        write().map_err(|error| Error::io("replace", path, error))
    }

    /// Replaces the content of a file by way of the reserve: its bytes are written over in place,
    /// which takes no room. Says whether there was a reserve.
    fn replace_from(&self, reserve: &Reserve, path: &Path, content: &[u8]) -> Result<bool> {
        let write = || -> io::Result<bool> {
            let Some((taken, file)) = reserve.take()? else { return Ok(false) };
            file.write_all_at(content, 0)?;
            file.set_len(content.len() as u64)?;
            file.sync_all()?;
            self.with_room_for_name(|| self.fs.rename(&taken.path, path))?;
            self.fs.sync_dir(&self.path).map(|()| true)
        };
        write().map_err(|error| Error::io("replace", path, error))
    }

    /// Does what takes room in a directory, for a name. On a full disk the files of the reserve
    /// make that room.
    pub(crate) fn with_room_for_name(&self, change: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match (change(), &self.reserve) {
                (Err(error), Some(reserve)) if is_storage_full(&error) => {
                    if !reserve.give_up()? {
                        return Err(error);
                    }
                }
                (changed, _) => return changed,
            }
        }
    }

    /// Creates an empty file.
    pub(crate) fn create(&self, file: SegmentFile, room: Room) -> Result<Arc<dyn File>> {
        let path = self.path_of(file);
        let from_reserve = |reserve: &Reserve| -> io::Result<Option<Arc<dyn File>>> {
            let Some((taken, file)) = reserve.take()? else { return Ok(None) };
            // Emptied before it has the name: what the reserve holds is nothing of a log.
            file.set_len(0)?;
            self.with_room_for_name(|| self.fs.rename(&taken.path, &path))?;
            Ok(Some(file))
        };
        let created = match (self.fs.open(&path, OpenMode::CreateNew), &self.reserve) {
            (Err(error), Some(reserve)) if room == Room::Reserved && is_storage_full(&error) => {
                from_reserve(reserve).and_then(|file| file.ok_or(error))
            }
            (created, _) => created,
        };
        created.map_err(|error| Error::io("create", &path, error))
    }

    /// Reads a small file whole; `None` when there is none.
    pub(crate) fn read_small(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match self.fs.open(path, OpenMode::ReadOnly) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let len = file.len()?.min(limit);
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(Some(bytes))
        };
        read().map_err(|e| Error::io("read", path, e))
    }
}

/// Where the next content of a file is written.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    PathBuf::from(beside)
}
