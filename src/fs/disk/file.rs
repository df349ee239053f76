//! Open files of the operating system, their locks, and the errors of opening them.

use crate::fs::{DirLock, File, FileView, OpenMode};
use crate::types::Timestamp;
use std::fs;
use std::io;
use std::path::Path;

/// The maximum number of attempts to lock a file that is removed or replaced meanwhile.
const LOCK_FILES: usize = 100;

/// Takes the lock of a file that `open` opens, and checks that the file still has its name: a lock
/// on a removed file excludes no later process.
pub(super) fn lock_file(
    mut open: impl FnMut() -> io::Result<DiskFile>,
    is_named: impl Fn(&DiskFile) -> io::Result<bool>,
) -> io::Result<Box<dyn DirLock>> {
    for _ in 0..LOCK_FILES {
        let file = open()?;
        match file.file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let lock = DiskLock { file };
        lock_for_brokers(&lock.file.file)?;
        match is_named(&lock.file) {
            Ok(true) => return Ok(Box::new(lock)),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the lock file is replaced repeatedly"))
}

#[cfg(unix)]
pub(super) fn leads_to(path: &Path, file: &fs::File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (named, file) = (fs::symlink_metadata(path)?, file.metadata()?);
    Ok((named.dev(), named.ino()) == (file.dev(), file.ino()))
}

/// Returns true, because an open file keeps its name on these systems.
#[cfg(not(unix))]
pub(super) fn leads_to(_: &Path, _: &fs::File) -> io::Result<bool> {
    Ok(true)
}

/// Takes the lock of a file that a broker sees. Linux has two kinds of locks that ignore each
/// other: std takes the `flock` lock, Java the `fcntl` lock. This function takes the `fcntl` lock
/// that belongs to the open file, because the one that belongs to the process would be released
/// when any handle of the file is closed.
///
/// A file system without such locks has only the `flock` lock.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn lock_for_brokers(file: &fs::File) -> io::Result<()> {
    use nix::errno::Errno;
    match set_lock(file, nix::libc::F_WRLCK) {
        Ok(_) | Err(Errno::EINVAL | Errno::ENOLCK | Errno::EOPNOTSUPP) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            let holder = "another program, such as a broker, has its lock";
            Err(io::Error::new(io::ErrorKind::WouldBlock, holder))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Releases the lock that a broker sees. If this fails, closing the file releases it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unlock_for_brokers(file: &fs::File) {
    set_lock(file, nix::libc::F_UNLCK).ok();
}

/// Locks or unlocks all bytes of a file, for this open file.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_lock(file: &fs::File, kind: nix::libc::c_int) -> nix::Result<nix::libc::c_int> {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    let whole = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole))
}

/// Does nothing, because other systems have only one kind of lock.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lock_for_brokers(_: &fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unlock_for_brokers(_: &fs::File) {}

/// An open file of [`DiskFs`](crate::fs::DiskFs).
#[derive(Debug)]
pub(super) struct DiskFile {
    pub(super) file: fs::File,
    pub(super) writable: bool,
}

#[cfg(unix)]
impl DiskFile {
    /// Takes an open file, if it is a regular file.
    pub(super) fn regular(opened: std::os::fd::OwnedFd, writable: bool) -> io::Result<DiskFile> {
        Ok(DiskFile { file: check_regular(opened.into())?, writable })
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for DiskFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An open directory.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Handle(fs::File);

#[cfg(unix)]
impl Handle {
    pub(super) fn new(opened: std::os::fd::OwnedFd) -> Handle {
        Handle(opened.into())
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Handle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl DiskFile {
    pub(super) fn open(path: &Path, how: OpenMode) -> io::Result<DiskFile> {
        let writable = how != OpenMode::ReadOnly;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(writable).create_new(how == OpenMode::CreateNew);
        Ok(DiskFile { file: open_regular(&mut options, path)?, writable })
    }

    /// Fails unless the file was opened for writing. Systems disagree on the error for this, and
    /// some report it late.
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.file, buf, at);
        // This moves the handle's cursor, which nothing uses.
        #[cfg(windows)]
        return match std::os::windows::fs::FileExt::seek_read(&self.file, buf, at) {
            // ERROR_HANDLE_EOF
            Err(error) if error.raw_os_error() == Some(38) => Ok(0),
            other => other,
        };
    }

    /// Uses `SEEK_DATA` on Linux.
    fn next_data(&self, at: u64) -> io::Result<u64> {
        next_data(&self.file, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.check_writable()?;
        // rustix calls the kernel directly where it can, which makes small appends faster.
        #[cfg(unix)]
        return rustix::io::pwrite(&self.file, buf, at).map_err(io::Error::from);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(&self.file, buf, at);
    }

    fn modified(&self) -> io::Result<Option<Timestamp>> {
        Ok(self.file.metadata()?.modified().ok().map(Timestamp::from))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.file.set_len(len)
    }

    /// Uses `fallocate` on Linux. Without such a call, the file is extended without reserving
    /// room, and a write that extends the file at the same moment could be truncated.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if len == 0 || reserve(&self.file, len)? || self.len()? >= len {
            return Ok(());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Returns a memory map.
    fn view(&self, len: u64) -> io::Result<FileView> {
        // Touching a mapped page beyond the end would kill the process.
        if self.len()? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileView::map(&self.file, len)
    }
}

/// A locked file of [`DiskFs`](crate::fs::DiskFs). The lock belongs to the open file, not to the
/// process.
#[derive(Debug)]
struct DiskLock {
    file: DiskFile,
}

impl DirLock for DiskLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        // Closing releases the lock too, but not while a forked child still has a copy of the
        // descriptor. If this fails, closing is the fallback.
        unlock_for_brokers(&self.file.file);
        self.file.file.unlock().ok();
    }
}

/// Opens a regular file without following a link at the last name.
pub(super) fn open_regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    reject_links(options);
    check_regular(options.open(path).map_err(|error| explain(error, path))?)
}

fn check_regular(file: fs::File) -> io::Result<fs::File> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(file)
    } else if metadata.is_dir() {
        Err(is_a_directory())
    } else {
        Err(not_regular())
    }
}

/// Sets the flags that make `open` fail on a link, and not block on a pipe without a writer.
#[cfg(unix)]
fn reject_links(options: &mut fs::OpenOptions) {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
}

/// Makes `open` open a link itself, which is not a regular file.
#[cfg(windows)]
fn reject_links(options: &mut fs::OpenOptions) {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
}

/// Converts the error of a call on `path` into the error kinds of this module.
pub(super) fn explain(error: io::Error, path: &Path) -> io::Error {
    // These are the same on every system.
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) {
        return error;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => is_a_directory(),
        Ok(metadata) if !metadata.is_file() => not_regular(),
        _ => error,
    }
}

pub(super) fn is_a_directory() -> io::Error {
    io::ErrorKind::IsADirectory.into()
}

pub(super) fn not_regular() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file; symbolic links are not followed",
    )
}

/// Reserves room for the first `len` bytes, extending the file to them. Returns `false` if the
/// file system does not support that.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &fs::File, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        return match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(true),
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(_file: &fs::File, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Finds the next data. This moves the handle's cursor, which nothing uses.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn next_data(file: &fs::File, at: u64) -> io::Result<u64> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data),
        // Only a hole is left, or the file ends earlier.
        Err(Errno::NXIO) => Ok(file.metadata()?.len().max(at)),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(at),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn next_data(_file: &fs::File, at: u64) -> io::Result<u64> {
    Ok(at)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use crate::fs::{DiskFs, Fs};

    #[test]
    fn lock_of_either_kind_excludes_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let refused = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        };
        let open = || fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = || DiskFs.lock(&path).map(drop);
        let broker = open().unwrap();
        lock_for_brokers(&broker).unwrap();
        refused(lock());
        drop(broker);
        let other = open().unwrap();
        other.lock().unwrap();
        refused(lock());
        drop(other);
        let ours = DiskFs.lock(&path).unwrap();
        refused(lock());
        refused(lock_for_brokers(&open().unwrap()));
        assert!(open().unwrap().try_lock().is_err());
        drop(ours);
        lock().unwrap();
        // A forked child has a copy of the descriptor.
        let file = DiskFile::open(&path, OpenMode::ReadWrite).unwrap();
        file.file.try_lock().unwrap();
        lock_for_brokers(&file.file).unwrap();
        let copy = file.file.try_clone().unwrap();
        drop(DiskLock { file });
        lock().unwrap();
        drop(copy);
    }
}
