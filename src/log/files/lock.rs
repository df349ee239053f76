//! The locks of a directory that is open for writing, and what its lock file says about the last
//! holder.
//!
//! A directory is [held](crate::fs::Fs::hold_dir) if the file system can do that. Then two locks
//! keep other writers out: the lock of the directory itself, which works for every path to it and
//! cannot be removed, and the lock of its `.lock` file, which a broker takes too, and which names
//! the holder. A log of a store has its own directory lock, and shares the lock file.

use crate::checkpoint::{LOCK, LOCK_FILE_BYTES, LockHolder};
use crate::error::{Error, Result, is_storage_full};
use crate::fs::{Dir, DirGuard, DirLock, Fs, HeldDir};
use crate::sync::thread;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory, and how it is reached: held, if the file system can do that.
#[derive(Debug)]
pub(crate) struct DirHandle {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    /// The directory that it lies in, if it lies in one.
    pub(crate) above: Option<PathBuf>,
    /// Its name there.
    pub(crate) name: Option<String>,
    /// Whether it is mounted there, and may lie in another directory as well.
    pub(crate) is_mount: bool,
    /// Whether calls stay in this directory, whatever its path leads to later.
    pub(crate) is_held: bool,
}

impl DirHandle {
    /// Fails for an empty path, which names no directory: most likely a variable that was not set.
    pub(crate) fn check(path: &Path) -> Result<()> {
        if !path.as_os_str().is_empty() {
            return Ok(());
        }
        let reason = "is empty; give a directory, or `.` for the current one".to_owned();
        Err(Error::InvalidConfig { option: "dir", reason })
    }

    /// Holds an existing directory.
    pub(crate) fn hold(fs: &Arc<dyn Fs>, path: &Path) -> io::Result<DirHandle> {
        let to_owned = path.to_owned();
        if let Some(HeldDir { fs, above, name, is_mount }) = fs.hold_dir(path)? {
            return Ok(DirHandle { fs, path: to_owned, above, name, is_mount, is_held: true });
        }
        Ok(DirHandle::at(fs, path))
    }

    /// Returns a directory that is reached by its path.
    pub(crate) fn at(fs: &Arc<dyn Fs>, path: &Path) -> DirHandle {
        // The paths `.`, `..` and the root tell neither the name nor the directory above.
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let above = path.parent().filter(|_| name.is_some()).map(Path::to_owned);
        let (is_mount, is_held) = (false, false);
        DirHandle { fs: Arc::clone(fs), path: path.to_owned(), above, name, is_mount, is_held }
    }

    /// Locks the directory itself, if it is held.
    pub(crate) fn guard(&self) -> Result<Option<Box<dyn DirGuard>>> {
        if !self.is_held {
            return Ok(None);
        }
        match tried(|| self.fs.lock_dir(&self.path)) {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Error::Locked { path: self.path.as_path().into(), holder: self.holder() })
            }
            Err(error) => Err(Error::io("lock", &self.path, error)),
        }
    }

    /// Returns the process that has the directory locked: its own lock file says so, or that of
    /// the store it belongs to.
    fn holder(&self) -> Option<u32> {
        let of = |dir: &Path| session(&*self.fs, &dir.join(LOCK)).ok()??.process;
        of(&self.path).or_else(|| of(self.above.as_deref()?))
    }
}

/// The locks that keep other writers out of the directory of a log while it is open.
#[derive(Debug)]
pub(crate) struct Ownership {
    /// The lock of the log's own directory, if it lies in a data directory.
    _guard: Option<Box<dyn DirGuard>>,
    /// The lock of the directory that holds the lock file.
    _lock: Arc<WriteLock>,
}

impl Ownership {
    /// Returns the ownership of a log whose directory has a lock file.
    pub(crate) fn alone(lock: Arc<WriteLock>) -> Ownership {
        Ownership { _guard: None, _lock: lock }
    }

    /// Returns the ownership of a log in a data directory. The lock of that directory is released
    /// with the store and the last of its logs.
    pub(crate) fn shared(guard: Option<Box<dyn DirGuard>>, lock: &Arc<WriteLock>) -> Ownership {
        Ownership { _guard: guard, _lock: Arc::clone(lock) }
    }
}

/// The lock of a directory that no other store, log or process can open for writing.
#[derive(Debug)]
pub(crate) struct WriteLock {
    lock: Box<dyn DirLock>,
    /// Whether the power was lost since the last holder had the directory open. Then unsynced
    /// writes may be missing in any order, and a valid batch after a hole does not prove
    /// corruption.
    pub(crate) lost_power: bool,
    /// Whether another program had the directory open last, if any did. A broker leaves the file
    /// empty.
    pub(crate) was_foreign: bool,
    /// Whether there was room for the content of the file.
    is_stored: bool,
    _guard: Option<Box<dyn DirGuard>>,
}

impl WriteLock {
    /// Takes the lock of the file, and finds out whether the power was lost since the last holder
    /// had it. `guard` is the lock of the directory itself.
    ///
    /// If the power was lost, the present boot is not stored until the directory is
    /// [recovered](WriteLock::recovered): a recovery that is itself interrupted must begin again
    /// with the same knowledge.
    pub(crate) fn take(guard: Option<Box<dyn DirGuard>>, dir: &Dir) -> Result<WriteLock> {
        let path = dir.path.join(LOCK);
        let existed = session(&*dir.fs, &path).map_err(|e| Error::io("read", &path, e))?;
        let lock = tried(|| dir.fs.lock(&path))
            .map_err(|error| not_locked(&dir.path, existed.as_ref(), error))?;
        let boot = dir.fs.boot_id();
        let ours = existed.filter(|before| before.is_ours);
        let was_foreign = ours.is_none();
        let lost_power = ours.is_some_and(|before| has_stopped_before(&before, boot.as_deref()));
        let is_stored = false;
        let mut lock = WriteLock { lock, lost_power, was_foreign, is_stored, _guard: guard };
        lock.is_stored = lock.write(dir, boot.filter(|_| !lost_power))?;
        dir.sync()?;
        Ok(lock)
    }

    /// Fails while a process has a directory with a lock file open for writing. Otherwise returns
    /// what the last holder left there.
    pub(crate) fn check_free(fs: &dyn Fs, dir: &Path) -> Result<Option<LockHolder>> {
        let path = dir.join(LOCK);
        let Some(session) = session(fs, &path).map_err(|e| Error::io("read", &path, e))? else {
            return Ok(None);
        };
        match tried(|| fs.lock(&path)) {
            Ok(_) => Ok(Some(session)),
            Err(error) => Err(not_locked(dir, Some(&session), error)),
        }
    }

    /// Stores that the contents of the directory can be relied upon until the next power loss.
    pub(crate) fn recovered(&self, dir: &Dir) -> Result<()> {
        if !self.lost_power && self.is_stored {
            return Ok(());
        }
        self.write(dir, dir.fs.boot_id()).map(|_| ())
    }

    /// Writes into the file which process holds the lock, and in which boot. Returns whether there
    /// was room.
    fn write(&self, dir: &Dir, boot: Option<String>) -> Result<bool> {
        let content =
            LockHolder { process: Some(std::process::id()), boot, is_ours: true }.format();
        let store = || -> io::Result<bool> {
            let file = self.lock.file();
            let len = content.len() as u64;
            let written = match file.write_all_at(content.as_bytes(), 0) {
                // On a full disk an old file stays as it is. A new one gets its length, which
                // takes no room, because an empty one is a broker's. Either says that the power
                // was lost since, or may have been.
                Err(error) if is_storage_full(&error) => {
                    if file.len()? >= len {
                        return Ok(false);
                    }
                    false
                }
                written => written.map(|()| true)?,
            };
            if file.len()? == len {
                file.sync_data()?;
            } else {
                file.set_len(len)?;
                file.sync_all()?;
            }
            Ok(written)
        };
        store().map_err(|e| Error::io("write", &dir.path.join(LOCK), e))
    }
}

/// Returns whether the power was lost since a holder had a directory open.
pub(crate) fn has_stopped_since(before: &LockHolder, fs: &dyn Fs) -> bool {
    has_stopped_before(before, fs.boot_id().as_deref())
}

/// Returns whether the power was lost between a holder's boot and this one.
fn has_stopped_before(before: &LockHolder, boot: Option<&str>) -> bool {
    before.boot.is_none() || before.boot.as_deref() != boot
}

/// Returns the content of a lock file, if there is one.
fn session(fs: &dyn Fs, path: &Path) -> io::Result<Option<LockHolder>> {
    let file = match fs.open(path, crate::fs::OpenMode::ReadOnly) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = file.len()?.min(LOCK_FILE_BYTES);
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(LockHolder::parse(&String::from_utf8_lossy(&bytes))))
}

/// How often to try a lock that is taken. Another process may only check whether it is free, and
/// hold it for a moment.
const TRIES: usize = 100;

fn tried<T>(lock: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            other => return other,
        }
    }
    lock()
}

fn not_locked(dir: &Path, session: Option<&LockHolder>, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Error::io("lock", &dir.join(LOCK), error);
    }
    // Another program that holds the lock has not written its identity into the file.
    let session = session.filter(|_| error.get_ref().is_none());
    let holder = session.and_then(|session| session.process);
    Error::Locked { path: dir.into(), holder }
}
