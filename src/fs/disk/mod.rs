//! The operating system's file system: the only code of the crate that names `std::fs`.
//!
//! It does three things that a plain use of `std::fs` does not:
//!
//! - **Links are not followed.** A symbolic link in place of a file is rejected, so that a link in
//!   a log's directory cannot make the log read, write or lock a file elsewhere. Links *above* the
//!   file belong to the administrator, and are followed. Opening a named pipe does not block.
//! - **Names are made durable.** A new name is durable only after its *directory* was synced
//!   ([`Fs::sync_dir`]). Windows has no such call, and its file systems journal their names
//!   themselves: there it does nothing.
//! - **Errors have one kind on every system**, whatever number the system uses. A directory in
//!   place of a file is `IsADirectory`. Anything else that is not a regular file is
//!   `InvalidInput`. A write to a file that was opened for reading is `PermissionDenied`.

mod boot;
mod file;
#[cfg(unix)]
mod held;

use crate::fs::{DirEntry, DirLock, EntryKind, File, Fs, OpenMode};
#[cfg(unix)]
use crate::fs::{DirGuard, HeldDir};
use file::{DiskFile, explain, is_a_directory, leads_to, lock_file, open_regular};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The operating system's file system: the default of a log.
///
/// Everything that was written survives a process crash. After a power loss, all synced bytes
/// exist, and any part of the others. This requires a disk that honors fsync, and a local file
/// system: network file systems promise less.
///
/// ```
/// use annals::fs::{DiskFs, File, Fs, OpenMode};
///
/// # fn main() -> std::io::Result<()> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("hello");
///
/// let file = DiskFs.open(&path, OpenMode::CreateNew)?;
/// file.write_all_at(b"hello", 0)?;
/// file.sync_data()?; // the bytes are durable
/// DiskFs.sync_dir(dir.path())?; // and so is the name
///
/// assert_eq!(file.view(5)?.as_slice(), b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFs;

impl Fs for DiskFs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile::open(path, how)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // The metadata of the entry itself, even if it is a link.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It was removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (kind, len) = if metadata.is_file() {
                (EntryKind::File, metadata.len())
            } else if metadata.is_dir() {
                (EntryKind::Directory, 0)
            } else {
                (EntryKind::Other, 0)
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, kind, len });
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for dir in dir.ancestors() {
            // The last ancestor of a relative path is empty: the working directory.
            if dir.as_os_str().is_empty() || dir.exists() {
                break;
            }
            missing.push(dir);
        }
        fs::create_dir_all(dir)?;
        for dir in missing.iter().rev() {
            sync_parent(dir)?;
        }
        if missing.is_empty() {
            // The process that created it may have crashed before this step. A parent without
            // read permission cannot be synced, which is no reason to reject the directory.
            match sync_parent(dir) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if fs::symlink_metadata(from)?.is_dir() {
            return Err(is_a_directory());
        }
        fs::rename(from, to).map_err(|error| explain(error, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|error| explain(error, path))
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(from)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // The system call would replace an empty directory.
        match fs::symlink_metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_names(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let open = || Ok(DiskFile { file: open_regular(&mut options, path)?, writable: true });
        lock_file(open, |file| leads_to(path, &file.file))
    }

    #[cfg(unix)]
    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        held::hold(dir, &fs::canonicalize(dir)?).map(Some)
    }

    #[cfg(unix)]
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        held::hold(dir, &fs::canonicalize(dir)?)?.fs.lock_dir(dir)
    }

    /// Returns Linux's `/proc/sys/kernel/random/boot_id`; `None` on other systems, and if `/proc`
    /// is not mounted.
    fn boot_id(&self) -> Option<String> {
        boot::id()
    }
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_names(Path::new(".")),
        Some(parent) => sync_names(parent),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn sync_names(dir: &Path) -> io::Result<()> {
    let handle = fs::File::open(dir)?;
    if !handle.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    handle.sync_all()
}

#[cfg(windows)]
fn sync_names(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}
