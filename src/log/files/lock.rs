//! The locks of a directory that is open for writing, and what its lock file says about the last
//! holder.
//!
//! A directory is [held](crate::fs::Fs::hold_dir) where the file system can do that. Then two
//! locks keep others out: that of the directory itself, which holds by whatever path it is reached
//! and cannot be removed, and that of its `.lock`, which a broker knows too, and which says whose
//! it is. A log of a store has the former of its own, and shares the latter.

use crate::checkpoint::{LOCK, LOCK_FILE_BYTES, LockHolder};
use crate::error::{Error, Result, is_storage_full};
use crate::fs::{Dir, DirGuard, DirLock, Fs, HeldDir};
use crate::sync::thread;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory, and how it is reached: held, where the file system can.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    /// The directory that it lies in, if it lies in one.
    pub(crate) above: Option<PathBuf>,
    /// Its name there.
    pub(crate) name: Option<String>,
    /// Whether it is mounted there, and may lie in another directory as well.
    pub(crate) is_mount: bool,
    /// Whether it stays this directory, whatever its path leads to later.
    pub(crate) is_held: bool,
}

impl Place {
    /// Fails for an empty path, which names no directory: most likely a variable that was not set.
    pub(crate) fn check(path: &Path) -> Result<()> {
        if !path.as_os_str().is_empty() {
            return Ok(());
        }
        let reason = "is an empty path; give a directory, or `.` for the current one".to_owned();
        Err(Error::InvalidConfig { option: "dir", reason })
    }

    /// Holds a directory that is there.
    pub(crate) fn hold(fs: &Arc<dyn Fs>, path: &Path) -> io::Result<Place> {
        let to_owned = path.to_owned();
        if let Some(HeldDir { fs, above, name, is_mount }) = fs.hold_dir(path)? {
            return Ok(Place { fs, path: to_owned, above, name, is_mount, is_held: true });
        }
        Ok(Place::at(fs, path))
    }

    /// A directory as its path says where it is.
    pub(crate) fn at(fs: &Arc<dyn Fs>, path: &Path) -> Place {
        // Of `.`, `..` and the root the text says neither.
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let above = path.parent().filter(|_| name.is_some()).map(Path::to_owned);
        let (is_mount, is_held) = (false, false);
        Place { fs: Arc::clone(fs), path: path.to_owned(), above, name, is_mount, is_held }
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

    /// The process that has the directory locked: its own lock file says so, or that of the store
    /// it belongs to.
    fn holder(&self) -> Option<u32> {
        let of = |dir: &Path| session(&*self.fs, &dir.join(LOCK)).ok()??.process;
        of(&self.path).or_else(|| of(self.above.as_deref()?))
    }
}

/// What keeps other writers out of the directory of a log: for as long as the log is open, and no
/// longer.
#[derive(Debug)]
pub(crate) struct Ownership {
    /// The lock of the log's own directory, where that is one of many.
    _guard: Option<Box<dyn DirGuard>>,
    /// That of the directory that holds the lock file.
    _lock: Arc<WriteLock>,
}

impl Ownership {
    /// The ownership of a log whose directory has a lock file.
    pub(crate) fn alone(lock: Arc<WriteLock>) -> Ownership {
        Ownership { _guard: None, _lock: lock }
    }

    /// Of a log in a directory of many. The last of them to go, and the store, let go of the lock
    /// of that directory.
    pub(crate) fn shared(guard: Option<Box<dyn DirGuard>>, lock: &Arc<WriteLock>) -> Ownership {
        Ownership { _guard: guard, _lock: Arc::clone(lock) }
    }
}

/// A directory that no other store, log or process opens for writing.
#[derive(Debug)]
pub(crate) struct WriteLock {
    lock: Box<dyn DirLock>,
    /// Whether the machine stopped since the last holder had the directory. Then what was not
    /// synced may be lost in any part and any order, and valid batches behind a hole are no proof
    /// of damage.
    pub(crate) lost_power: bool,
    /// Whether another program had it last, if any did. A broker leaves the file empty.
    pub(crate) was_foreign: bool,
    /// Whether there was room for what the file is to say.
    is_stored: bool,
    _guard: Option<Box<dyn DirGuard>>,
}

impl WriteLock {
    /// Takes the lock of the file, and says whether the machine stopped since the last holder had
    /// it. `guard` is the lock of the directory itself.
    ///
    /// If it did, this run of the machine is not stored until the directory is
    /// [recovered](WriteLock::recovered): a recovery that is itself interrupted must begin again
    /// from the same knowledge.
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

    /// Fails while a process has a directory open for writing, if that has a lock file. Otherwise
    /// it returns what the last holder left there.
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

    /// Stores that the contents of the directory can be relied upon in this run of the machine.
    pub(crate) fn recovered(&self, dir: &Dir) -> Result<()> {
        if !self.lost_power && self.is_stored {
            return Ok(());
        }
        self.write(dir, dir.fs.boot_id()).map(|_| ())
    }

    /// Writes into the file which process holds the lock, and in which run of the machine. Says
    /// whether there was room.
    fn write(&self, dir: &Dir, boot: Option<String>) -> Result<bool> {
        let content =
            LockHolder { process: Some(std::process::id()), boot, is_ours: true }.format();
        let store = || -> io::Result<bool> {
            let file = self.lock.file();
            let len = content.len() as u64;
            let written = match file.write_all_at(content.as_bytes(), 0) {
                // On a full disk an old file stays as it is. A new one gets its length, which
                // takes no room: an empty one is a broker's. Either says that the machine stopped
                // since, or may have.
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

/// Whether the machine stopped since a holder had a directory.
pub(crate) fn has_stopped_since(before: &LockHolder, fs: &dyn Fs) -> bool {
    has_stopped_before(before, fs.boot_id().as_deref())
}

/// Whether the machine stopped between a holder's run of it and this one.
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

/// How often a lock is tried that is taken: another process may only look whether it is free, and
/// has it for a moment.
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
    // A holder of another kind has not written its identity into the file.
    let session = session.filter(|_| error.get_ref().is_none());
    let holder = session.and_then(|session| session.process);
    Error::Locked { path: dir.into(), holder }
}
