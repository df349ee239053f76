//! A directory of the operating system that is held by its file descriptor.
//!
//! All calls are relative to the descriptor, so they reach the directory that was opened, even if
//! another directory has its name now.

use super::boot;
use super::file::{DiskFile, Handle, is_a_directory, lock_file, not_regular};
use crate::fs::{DirEntry, DirGuard, DirLock, EntryKind, File, Fs, HeldDir, OpenMode};
use crate::sync::atomic::{AtomicBool, Ordering};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{self as at, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The file system below a held directory.
#[derive(Debug)]
struct HeldDisk {
    held: Arc<Held>,
    /// The path that stands for the directory.
    root: PathBuf,
    /// The path that stands for its parent.
    above: Option<PathBuf>,
}

#[derive(Debug)]
struct Held {
    dir: Handle,
    /// Whether a guard exists. The lock of the operating system does not exclude a second lock
    /// through the same descriptor.
    locked: AtomicBool,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Holds the directory at a path, which may contain links. `real` is the path without them.
pub(super) fn hold(path: &Path, real: &Path) -> io::Result<HeldDir> {
    let dir = open(at::CWD, path, DIRECTORY)?;
    let is_above = |text: &Path| -> io::Result<bool> {
        let one = at::statat(at::CWD, text, AtFlags::empty())?;
        Ok(is_same(&one, &at::statat(&dir, "..", AtFlags::empty())?))
    };
    let named = |name: &OsStr| -> io::Result<bool> {
        let there = at::statat(&dir, Path::new("..").join(name), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(is_same(&there, &at::fstat(&dir)?))
    };
    let (Some(above), Some(name)) = (real.parent(), real.file_name()) else {
        return Ok(held(dir, path, None));
    };
    if !named(name)? || !is_above(above)? {
        return Err(io::Error::other("the directory was moved while it was opened"));
    }
    // Use the caller's own path for the parent, if it leads there.
    let text = path.parent().filter(|_| path.file_name().is_some());
    let text = text.map(|text| if text.as_os_str().is_empty() { Path::new(".") } else { text });
    let above = match text {
        Some(text) if text == above || is_above(text)? => text,
        _ => above,
    };
    Ok(held(dir, path, Some((above, name))))
}

fn held(dir: OwnedFd, root: &Path, above: Option<(&Path, &OsStr)>) -> HeldDir {
    let held = Arc::new(Held { dir: Handle::new(dir), locked: AtomicBool::new(false) });
    let is_mount = is_mount(&held);
    let fs =
        HeldDisk { held, root: root.to_owned(), above: above.map(|(above, _)| above.to_owned()) };
    HeldDir {
        above: fs.above.clone(),
        name: above.map(|(_, name)| name.to_string_lossy().into_owned()),
        is_mount,
        fs: Arc::new(fs),
    }
}

impl HeldDisk {
    fn dir(&self) -> BorrowedFd<'_> {
        self.held.dir.as_fd()
    }

    /// Returns a path relative to the held directory.
    fn within<'a>(&self, path: &'a Path) -> io::Result<Cow<'a, Path>> {
        if let Ok(below) = path.strip_prefix(&self.root) {
            let here = below.as_os_str().is_empty();
            return Ok(Cow::Borrowed(if here { Path::new(".") } else { below }));
        }
        let above = self.above.as_ref().and_then(|above| path.strip_prefix(above).ok());
        match above {
            Some(beside) => Ok(Cow::Owned(Path::new("..").join(beside))),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path leads out of the directory that is held",
            )),
        }
    }

    fn stat(&self, at: &Path) -> io::Result<Stat> {
        Ok(at::statat(self.dir(), at, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Converts the error of a call into the error kinds of [`Fs`].
    fn explain(&self, error: io::Error, at: &Path) -> io::Error {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) {
            return error;
        }
        match self.stat(at).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => is_a_directory(),
            Ok(FileType::RegularFile) | Err(_) => error,
            Ok(_) => not_regular(),
        }
    }

    fn open_file(&self, at: &Path, flags: OFlags, writable: bool) -> io::Result<DiskFile> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open(self.dir(), at, flags).map_err(|error| self.explain(error, at))?;
        DiskFile::regular(opened, writable)
    }

    /// Makes the names in a directory durable.
    fn sync(&self, at: &Path) -> io::Result<()> {
        if at == Path::new(".") {
            return self.held.dir.sync();
        }
        Handle::new(open(self.dir(), at, DIRECTORY)?).sync()
    }

    fn sync_above(&self, at: &Path) -> io::Result<()> {
        match at.parent() {
            _ if at == Path::new(".") => self.sync(Path::new("..")),
            Some(above) if !above.as_os_str().is_empty() => self.sync(above),
            _ => self.sync(Path::new(".")),
        }
    }

    /// Creates a directory whose parent exists. Returns false if it exists already.
    fn make(&self, at: &Path) -> io::Result<bool> {
        match at::mkdirat(self.dir(), at, Mode::from_raw_mode(0o777)) {
            Ok(()) => self.sync_above(at).map(|()| true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Fs for HeldDisk {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        let at = self.within(path)?;
        let flags = match how {
            OpenMode::CreateNew if &*at == Path::new(".") => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            OpenMode::ReadWrite => OFlags::RDWR,
            OpenMode::ReadOnly => OFlags::RDONLY,
        };
        Ok(Arc::new(self.open_file(&at, flags, how != OpenMode::ReadOnly)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut dir = Dir::new(open(self.dir(), &self.within(dir)?, DIRECTORY)?)?;
        let mut entries = Vec::new();
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match at::statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                // It was removed since the directory was read.
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let (kind, len) = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    (EntryKind::File, u64::try_from(stat.st_size).unwrap_or(0))
                }
                FileType::Directory => (EntryKind::Directory, 0),
                _ => (EntryKind::Other, 0),
            };
            let name = OsStr::from_bytes(name.to_bytes()).to_string_lossy().into_owned();
            entries.push(DirEntry { name, kind, len });
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let at = self.within(dir)?;
        let mut made = false;
        let mut upto = PathBuf::new();
        for component in at.components() {
            upto.push(component);
            made = matches!(component, Component::Normal(_)) && self.make(&upto)?;
        }
        if made {
            return Ok(());
        }
        if FileType::from_raw_mode(self.stat(&at)?.st_mode) != FileType::Directory {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // The process that created it may have crashed before this step. A parent without read
        // permission cannot be synced, which is no reason to reject the directory.
        match self.sync_above(&at) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.within(from)?, self.within(to)?);
        if FileType::from_raw_mode(self.stat(&from)?.st_mode) == FileType::Directory {
            return Err(is_a_directory());
        }
        let renamed = at::renameat(self.dir(), &*from, self.dir(), &*to);
        renamed.map_err(|error| self.explain(error.into(), &to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let at = self.within(path)?;
        let removed = at::unlinkat(self.dir(), &*at, AtFlags::empty());
        removed.map_err(|error| self.explain(error.into(), &at))
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.within(from)?, self.within(to)?);
        if FileType::from_raw_mode(self.stat(&from)?.st_mode) != FileType::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // The system call would replace an empty directory.
        match self.stat(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(at::renameat(self.dir(), &*from, self.dir(), &*to)?)
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(at::unlinkat(self.dir(), &*self.within(dir)?, AtFlags::REMOVEDIR)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sync(&self.within(dir)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let at = self.within(path)?;
        lock_file(
            || self.open_file(&at, OFlags::RDWR | OFlags::CREATE, true),
            |file| Ok(is_same(&at::fstat(file)?, &self.stat(&at)?)),
        )
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        let at = self.within(dir)?;
        // A link is not followed, because it could lead elsewhere later.
        let opened = open(self.dir(), &at, DIRECTORY | OFlags::NOFOLLOW)?;
        let mut names = at.components();
        let above = match (names.next(), names.next()) {
            (Some(Component::Normal(name)), None) => Some((&*self.root, name)),
            _ => None,
        };
        Ok(Some(held(opened, dir, above)))
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        let at = self.within(dir)?;
        let held = if &*at == Path::new(".") {
            Arc::clone(&self.held)
        } else {
            let dir = Handle::new(open(self.dir(), &at, DIRECTORY | OFlags::NOFOLLOW)?);
            Arc::new(Held { dir, locked: AtomicBool::new(false) })
        };
        lock(held)
    }

    fn boot_id(&self) -> Option<String> {
        boot::id()
    }
}

/// Takes the lock of a directory itself. A file system without such locks has only those of files.
fn lock(held: Arc<Held>) -> io::Result<Box<dyn DirGuard>> {
    if held.locked.swap(true, Ordering::AcqRel) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let locked = retried(|| at::flock(held.dir.as_fd(), FlockOperation::NonBlockingLockExclusive));
    let guard = HeldGuard { held };
    match locked {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BADF) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Box::new(guard))
}

/// The lock of a held directory.
#[derive(Debug)]
struct HeldGuard {
    held: Arc<Held>,
}

impl DirGuard for HeldGuard {}

impl Drop for HeldGuard {
    fn drop(&mut self) {
        // The descriptor may live on, here and in a forked child. If this fails, closing releases
        // the lock.
        at::flock(self.held.dir.as_fd(), FlockOperation::Unlock).ok();
        self.held.locked.store(false, Ordering::Release);
    }
}

/// Returns whether the directory is a mount point.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_mount(held: &Held) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let found = statx(held.dir.as_fd(), "", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
    // A kernel before 5.8 does not report it.
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Returns false, because other systems do not report mount points.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_mount(_: &Held) -> bool {
    false
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn open(dir: BorrowedFd<'_>, at: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(retried(|| at::openat(dir, at, flags, Mode::from_raw_mode(0o666)))?)
}

fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
