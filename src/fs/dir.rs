//! A directory whose small files are replaced durably, in one step each.
//!
//! The directory of a log and the data directory of a store are both such directories. This module
//! does not know the content of the files.

use super::{File, Fs, OpenMode, Reserve, Revocable};
use crate::error::{Error, ErrorKind, Result, is_storage_full, is_too_many_files};
use crate::event::{Event, EventSink};
use crate::sync::RwLock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operation in the error of a file that could not be opened.
pub(crate) const OPEN: &str = "open";

/// The choice of a caller that needs room on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// The call fails.
    Fail,
    /// The call takes a file of the reserve: for operations that free more room than they take.
    UseReserve,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    /// All calls fail after [`close`](Dir::close).
    pub(crate) fs: Arc<dyn Fs>,
    /// The same file system, with the means to revoke the access to it.
    access: Arc<Revocable>,
    pub(crate) path: PathBuf,
    pub(crate) events: EventSink,
    /// Whether this process opened the directory for writing.
    pub(crate) writable: bool,
    /// Whether this process still owns the directory. A reader may outlive the ownership, so a
    /// reader holds this lock for reading while it removes or replaces a file by itself. Only the
    /// file system is called while the lock is held.
    owned: RwLock<bool>,
    /// The room that is set aside for a full disk. All logs of a data directory share its reserve.
    reserve: Option<Arc<Reserve>>,
}

impl Dir {
    pub(crate) fn new(fs: Arc<dyn Fs>, path: PathBuf, events: EventSink, writable: bool) -> Dir {
        let access = Arc::new(Revocable::new(fs));
        let (fs, owned) = (Arc::clone(&access) as Arc<dyn Fs>, RwLock::new(writable));
        Dir { fs, access, path, events, writable, owned, reserve: None }
    }

    /// Returns the directory with a reserve for a full disk.
    pub(crate) fn with_reserve(self, reserve: Option<Arc<Reserve>>) -> Dir {
        Dir { reserve, ..self }
    }

    /// Returns the directory with a reserve of its own.
    pub(crate) fn with_own_reserve(self) -> Dir {
        let reserve = Reserve::new(&self.fs, &self.path, &self.events);
        self.with_reserve(Some(Arc::new(reserve)))
    }

    pub(crate) fn reserve(&self) -> Option<&Arc<Reserve>> {
        self.reserve.as_ref()
    }

    /// Creates the reserve again, if it is missing or too small and there is room.
    pub(crate) fn fill_reserve(&self) {
        let is_owned = *self.owned.read();
        if let Some(reserve) = self.reserve.as_ref().filter(|_| is_owned) {
            reserve.fill();
        }
    }

    /// Ends the ownership: from here on, readers that live on remove and replace nothing.
    pub(crate) fn disown(&self) {
        *self.owned.write() = false;
    }

    /// Closes the directory for all its holders. Later calls fail; files that are in use stay
    /// usable.
    pub(crate) fn close(&self) {
        self.disown();
        self.access.revoke();
    }

    /// Makes the names of the files durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.fs.sync_dir(&self.path).map_err(|error| {
            // A sync opens the directory first. If no file descriptor is left, there was no fsync.
            match Error::io("sync", &self.path, error) {
                Error::Io { path, source, .. } if is_too_many_files(&source) => {
                    Error::Io { operation: OPEN, path, source }
                }
                other => other,
            }
        })
    }

    /// Reads a small file whole, up to `limit` bytes. Returns `None` if it does not exist.
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

    /// Replaces the content of a file in one step, by way of a temporary file beside it.
    ///
    /// The new content is durable when this returns. After a crash at any point, the file has
    /// either the old content or the new. On a full disk, the reserve makes room for it.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        if let Some(reserve) = &self.reserve {
            reserve.require(content.len() as u64);
        }
        self.replace_if_room(path, content).or_else(|error| match &self.reserve {
            Some(reserve) if error.kind() == ErrorKind::StorageFull => {
                let replaced = self.replace_from_reserve(reserve, path, content);
                reserve.fill();
                if replaced? { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        })
    }

    /// Replaces the content of a file durably, without touching the reserve: for content that may
    /// stay unwritten.
    pub(crate) fn replace_if_room(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.put(path, content, true).inspect_err(|_| self.discard_path(&temporary(path)))
    }

    /// Replaces the content of a file in one step. It becomes durable with a sync of the file and
    /// of the directory: for content that can be rebuilt.
    pub(crate) fn replace_unsynced(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.put(path, content, false).inspect_err(|_| self.discard_path(&temporary(path)))
    }

    /// Replaces the content of a file durably, unless this process no longer owns the directory.
    pub(crate) fn replace_if_owned(&self, path: &Path, content: &[u8]) -> Result<()> {
        let written = {
            let owned = self.owned.read();
            if !*owned {
                return Ok(());
            }
            self.put(path, content, true)
        };
        written.inspect_err(|_| self.discard_path(&temporary(path)))
    }

    fn put(&self, path: &Path, content: &[u8], durable: bool) -> Result<()> {
        let temporary = temporary(path);
        let write = || -> io::Result<()> {
            let file = self.create_anew(&temporary)?;
            file.write_all_at(content, 0)?;
            if durable {
                file.sync_all()?;
            }
            self.fs.rename(&temporary, path)?;
            if durable { self.fs.sync_dir(&self.path) } else { Ok(()) }
        };
        write().map_err(|error| Error::io("replace", path, error))
    }

    /// Creates a file, removing a leftover of that name first.
    pub(crate) fn create_anew(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.fs.open(path, OpenMode::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.remove(path)?;
                self.fs.open(path, OpenMode::CreateNew)
            }
            created => created,
        }
    }

    /// Replaces the content of a file by way of the reserve, whose bytes are overwritten in place:
    /// that takes no room. Returns whether there was a reserve.
    fn replace_from_reserve(&self, reserve: &Reserve, path: &Path, content: &[u8]) -> Result<bool> {
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

    /// Makes a change that needs room for a name in the directory. On a full disk, removes files
    /// of the reserve to make that room.
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
    pub(crate) fn create(&self, path: &Path, when_full: WhenFull) -> Result<Arc<dyn File>> {
        let from_reserve = |reserve: &Reserve| -> io::Result<Option<Arc<dyn File>>> {
            let Some((taken, file)) = reserve.take()? else { return Ok(None) };
            // Truncate it before it has the name: the bytes of the reserve are no content.
            file.set_len(0)?;
            self.with_room_for_name(|| self.fs.rename(&taken.path, path))?;
            Ok(Some(file))
        };
        let created = match (self.fs.open(path, OpenMode::CreateNew), &self.reserve) {
            (Err(error), Some(reserve))
                if when_full == WhenFull::UseReserve && is_storage_full(&error) =>
            {
                from_reserve(reserve).and_then(|file| file.ok_or(error))
            }
            (created, _) => created,
        };
        created.map_err(|error| Error::io("create", path, error))
    }

    /// Renames a file to a name under which no opening looks for it. If there is no room for a
    /// name, removes the file at once. A reader that has the file open keeps it either way.
    pub(crate) fn rename_or_remove(&self, from: &Path, to: &Path) -> Result<()> {
        let renamed = match self.fs.rename(from, to) {
            Err(error) if is_storage_full(&error) => self.fs.remove(from),
            renamed => renamed,
        };
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| Error::io("rename", from, error)),
        }
    }

    /// Removes a file, if it exists.
    pub(crate) fn remove_if_exists(&self, path: &Path) -> Result<bool> {
        match self.fs.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", path, error)),
        }
    }

    /// Removes a file that is no longer needed. It need not exist. A failure is reported, and the
    /// next opening tries again.
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
}

/// Returns the path at which the next content of a file is written.
fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Heard;
    use crate::fs::{Fault, FaultFs, MemFs, Operation, Rule};

    fn directory() -> (FaultFs, Arc<Heard>, Dir) {
        let fs = FaultFs::new(MemFs::new());
        fs.create_dir(Path::new("t-0")).unwrap();
        let heard = Arc::new(Heard::default());
        let events = EventSink::new(Some(heard.clone()));
        let dir = Dir::new(Arc::new(fs.clone()), "t-0".into(), events, true);
        (fs, heard, dir)
    }

    /// A leftover temporary file does not prevent a replacement, and a failure to remove it is
    /// reported.
    #[test]
    fn replace_succeeds_after_interrupted_replacement() {
        let (fs, heard, dir) = directory();
        let path = dir.path.join("index");
        for (content, kind) in
            [(b"one", io::ErrorKind::StorageFull), (b"two", io::ErrorKind::Other)]
        {
            fs.add_rule(Rule::new(Operation::Rename, Fault::Error(kind)));
            let denied = Fault::Error(io::ErrorKind::PermissionDenied);
            fs.add_rule(Rule::new(Operation::Remove, denied));
            dir.replace(&path, content).unwrap_err();
            let left = heard.0.lock().drain(..).collect::<Vec<_>>();
            assert!(matches!(&left[..], [Event::CleanupFailed { .. }]), "{left:?}");
            fs.clear_rules();
            dir.replace(&path, content).unwrap();
            assert_eq!(dir.read_small(&path, 100).unwrap().as_deref(), Some(&content[..]));
            let names = fs.list(Path::new("t-0")).unwrap();
            assert_eq!(names.len(), 1, "{names:?}");
        }
        // A missing file need not be removed, and the first failure is the one that is returned.
        dir.discard_path(Path::new("t-0/none"));
        let full = Fault::Error(io::ErrorKind::StorageFull);
        fs.add_rule(Rule::new(Operation::CreateNew, full).nth(1));
        let failed = dir.replace(&path, b"three").unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::StorageFull);
        assert!(heard.0.lock().is_empty());
    }

    /// A directory is opened to be synced. Without a file descriptor there was no fsync, so the
    /// disk is not suspect.
    #[test]
    fn sync_reports_open_when_descriptors_run_out() {
        let (fs, _, dir) = directory();
        dir.sync().unwrap();
        for (number, tried) in [(24, "open"), (23, "open"), (5, "sync"), (28, "sync")] {
            fs.add_rule(Rule::new(Operation::SyncDir, Fault::Errno(number)));
            let error = dir.sync().unwrap_err();
            assert!(matches!(error, Error::Io { operation, .. } if operation == tried), "{error}");
            fs.clear_rules();
        }
    }
}
