//! The lock of a directory that is open for writing, and what its file tells of who had it last.

use crate::checkpoint::{SESSION_BYTES, Session};
use crate::error::{Error, Result, is_storage_full};
use crate::fs::DirLock;
use crate::segment::SegmentDir;
use crate::segment::name::LOCK;
use crate::sync::thread;
use std::io;
use std::path::Path;

/// A directory that nobody else opens for writing.
#[derive(Debug)]
pub(crate) struct WriteLock {
    lock: Box<dyn DirLock>,
    /// Whether the machine stopped since the last holder had it. Then what was not synced
    /// may be lost in any part and any order, and valid batches behind a hole are no proof of damage.
    pub(crate) lost_power: bool,
}

impl WriteLock {
    /// Takes the lock, and tells whether the machine stopped since the last holder had it.
    ///
    /// If it did, this run of the machine is not written down until the directory is [recovered](WriteLock::recovered):
    /// a recovery that is itself interrupted must begin again from the same knowledge.
    pub(crate) fn take(dir: &SegmentDir) -> Result<WriteLock> {
        let path = dir.path.join(LOCK);
        let existed = dir.read_small(&path, SESSION_BYTES)?;
        let session = existed.map(|bytes| Session::parse(&String::from_utf8_lossy(&bytes)));
        let lock =
            try_lock(dir, &path).map_err(|error| not_locked(dir, session.as_ref(), error))?;
        let boot = dir.fs.boot_id();
        let lost_power = session.is_some_and(|before| before.boot.is_none() || before.boot != boot);
        let lock = WriteLock { lock, lost_power };
        lock.write(dir, boot.filter(|_| !lost_power))?;
        dir.fs.sync_dir(&dir.path).map_err(|e| Error::io("sync", &dir.path, e))?;
        Ok(lock)
    }

    /// Fails if somebody has the directory open for writing.
    pub(crate) fn check_free(dir: &SegmentDir) -> Result<()> {
        match dir.read_small(&dir.path.join(LOCK), SESSION_BYTES)? {
            None => Ok(()),
            Some(bytes) => {
                let session = Session::parse(&String::from_utf8_lossy(&bytes));
                try_lock(dir, &dir.path.join(LOCK))
                    .map(drop)
                    .map_err(|error| not_locked(dir, Some(&session), error))
            }
        }
    }

    /// Writes down that what is in the directory can be relied upon in this run of the machine.
    pub(crate) fn recovered(&self, dir: &SegmentDir) -> Result<()> {
        if self.lost_power { self.write(dir, dir.fs.boot_id()) } else { Ok(()) }
    }

    /// Writes into the file who holds the lock, and in which run of the machine.
    fn write(&self, dir: &SegmentDir, boot: Option<String>) -> Result<()> {
        let content = Session { process: Some(std::process::id()), boot }.format();
        let store = || -> io::Result<()> {
            let file = self.lock.file();
            match file.write_all_at(content.as_bytes(), 0) {
                // On a full disk the file stays as it is. It says that the machine stopped since, or nothing,
                // which counts as that.
                Err(error) if is_storage_full(&error) => return Ok(()),
                written => written?,
            }
            file.set_len(content.len() as u64)?;
            file.sync_all()
        };
        store().map_err(|e| Error::io("write", &dir.path.join(LOCK), e))
    }
}

/// How often a lock that somebody has is tried: who only looks whether it is free has it for a moment.
const TRIES: usize = 100;

fn try_lock(dir: &SegmentDir, path: &Path) -> io::Result<Box<dyn DirLock>> {
    for _ in 1..TRIES {
        match dir.fs.lock(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            other => return other,
        }
    }
    dir.fs.lock(path)
}

fn not_locked(dir: &SegmentDir, session: Option<&Session>, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Error::io("lock", &dir.path.join(LOCK), error);
    }
    // A holder of another kind has not written into the file who it is.
    let session = session.filter(|_| error.get_ref().is_none());
    let holder = session.and_then(|session| session.process);
    Error::Locked { path: dir.path.as_path().into(), holder }
}
