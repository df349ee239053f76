//! The file system of a log: two small traits.
//!
//! A log accesses the disk only through [`Fs`] and [`File`]. Three implementations come with the
//! crate, and all pass one test suite:
//!
//! | type | purpose |
//! |---|---|
//! | [`DiskFs`] | the operating system's file system: the default of a log |
//! | [`MemFs`] | a file system in memory that distinguishes synced bytes from written bytes, so that [`MemFs::crash`] can produce every disk that a power loss could leave |
//! | [`FaultFs`] | wraps another file system, makes calls fail by rule, and keeps a trace |
//!
//! Nothing here knows a file format.

mod dir;
mod disk;
mod fault;
mod memory;
mod reserve;
mod revocable;
mod view;

pub(crate) use dir::{Dir, OPEN, WhenFull};
pub use disk::DiskFs;
pub(crate) use fault::Place;
#[doc(hidden)]
pub use fault::Turns;
pub use fault::{Call, Fault, FaultFs, FaultHook, Operation, Rule, RuleId};
pub use memory::{CrashState, MemFs};
pub(crate) use reserve::{RESERVE_FILES, Reserve};
pub(crate) use revocable::Revocable;
pub use view::FileView;

use crate::types::Timestamp;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The mode in which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// Creates a file for reading and writing. Fails with `AlreadyExists` if the name is taken.
    CreateNew,
    /// Opens an existing file for reading and writing. Fails with `NotFound` if it does not exist.
    ReadWrite,
    /// Opens an existing file for reading. Fails with `NotFound` if it does not exist.
    ReadOnly,
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, such as a symbolic link, which is never followed.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory. A name that is not UTF-8 contains replacement characters.
    pub name: String,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The length of a file; 0 for everything else.
    pub len: u64,
}

/// A file system. All methods may be called from any thread at any time.
///
/// [`DiskFs`] has an example.
///
/// A change is durable only after the `sync` that covers it: the bytes and length of a file after
/// [`File::sync_data`], a name that was created, renamed or removed after [`Fs::sync_dir`] of its
/// directory. Until then a power loss may keep any part of the change and lose the rest.
///
/// An implementation should return an error rather than panic. A panic reaches the caller of the
/// log. If it may have left a change half done, or a sync of a file, the log is poisoned, as after
/// an error there: it rejects all changes with [`Error::Poisoned`](crate::Error::Poisoned), and
/// goes on after it is closed and opened again. No acknowledged record is lost.
pub trait Fs: Send + Sync + Debug + 'static {
    /// Opens a regular file. A symbolic link in place of the file is not followed.
    ///
    /// # Errors
    /// `AlreadyExists` and `NotFound`, depending on the [`OpenMode`]; `IsADirectory` for a
    /// directory, `InvalidInput` for anything else that is not a regular file; other errors of the
    /// system.
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Lists the entries of a directory, in no particular order.
    ///
    /// # Errors
    /// `NotFound` if it does not exist, `NotADirectory` if it is something else.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory and its missing parents, and makes their names durable. A directory
    /// that exists already is not an error.
    ///
    /// # Errors
    /// `AlreadyExists` or `NotADirectory` if a file has one of the names.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file in one step, replacing a file that has the new name.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `IsADirectory` if either name is that of a directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file. Handles to it stay usable until they are dropped.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `IsADirectory` if it is a directory.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a directory with everything in it, in one step. The new name must be free.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory, `NotADirectory` if it is something else,
    /// `AlreadyExists` if the new name is taken.
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory, `NotADirectory` if it is something else,
    /// `DirectoryNotEmpty`.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The error of the system. After a failure you cannot know which names are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file without blocking, creating the file if necessary.
    ///
    /// The lock belongs to the returned value. It is released when the value is dropped, and when
    /// the process exits in any way. It excludes every other attempt, in this process and in
    /// others.
    ///
    /// # Errors
    /// `WouldBlock` if another process or handle has the lock; with a message if the holder is a
    /// program that does not write its identity into the file.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;

    /// Holds a directory: opens it, and returns a file system in which its path and every path
    /// below it lead to that directory. This stays so if another directory is renamed or mounted
    /// to the path later. A link at the path is followed once, now.
    ///
    /// The default is `Ok(None)`: this file system cannot hold directories. Then paths are used as
    /// they are, and only the lock file of a directory excludes a second writer.
    ///
    /// ```
    /// use annals::fs::{Fs, MemFs, OpenMode};
    /// use std::path::Path;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let fs = MemFs::new();
    /// let (dir, moved) = (Path::new("/orders-0"), Path::new("/moved"));
    /// fs.create_dir(dir)?;
    /// let held = fs.hold_dir(dir)?.expect("this file system can");
    /// fs.rename_dir(dir, moved)?;
    /// held.fs.open(&dir.join("a"), OpenMode::CreateNew)?;
    /// assert_eq!(fs.list(moved)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` if it does not exist, `NotADirectory` if it is something else; other errors of
    /// the system.
    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        _ = dir;
        Ok(None)
    }

    /// Takes the exclusive lock of a directory itself, without blocking. The lock needs no file,
    /// and excludes every other attempt by any path, in this process and in others, until the
    /// guard is dropped or the process exits.
    ///
    /// It is called only for file systems that [hold directories](Fs::hold_dir).
    ///
    /// # Errors
    /// `WouldBlock` while the lock is taken; `Unsupported`, the default; errors of
    /// [`hold_dir`](Fs::hold_dir).
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns an id of the current boot of the machine, or `None` if it is not known. If the id
    /// has changed, the machine was restarted since, and any unsynced write may be lost.
    fn boot_id(&self) -> Option<String>;

    /// Returns the object that orders the calls of threads, for tests of [`FaultFs`]. `None` means
    /// that threads run freely.
    #[doc(hidden)]
    fn turns(&self) -> Option<Arc<Turns>> {
        None
    }
}

/// Forwards to the shared file system.
impl<F: Fs + ?Sized> Fs for Arc<F> {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        (**self).open(path, how)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        (**self).list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        (**self).create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (**self).remove(path)
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).rename_dir(from, to)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        (**self).remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        (**self).sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        (**self).lock(path)
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        (**self).hold_dir(dir)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        (**self).lock_dir(dir)
    }

    fn boot_id(&self) -> Option<String> {
        (**self).boot_id()
    }

    fn turns(&self) -> Option<Arc<Turns>> {
        (**self).turns()
    }
}

/// A directory that is [held](Fs::hold_dir). That method has an example.
#[derive(Debug, Clone)]
pub struct HeldDir {
    /// The file system in which the path that was held leads to this directory. Paths that lie
    /// neither in it nor in its parent fail.
    pub fs: Arc<dyn Fs>,
    /// The parent directory, if there is one: a path that [`fs`](HeldDir::fs) follows from the
    /// held directory itself.
    pub above: Option<PathBuf>,
    /// Its name in the parent, which is not the name of a link that led to it.
    pub name: Option<String>,
    /// Whether the directory is known to be a mount point. If it is, it may be mounted in another
    /// directory, too.
    pub is_mount: bool,
}

/// The lock of a directory, held until it is dropped: [`Fs::lock_dir`].
pub trait DirGuard: Send + Sync + Debug {}

/// The lock of a lock file, held until it is dropped.
pub trait DirLock: Send + Sync + Debug {
    /// Returns the lock file, open for reading and writing.
    fn file(&self) -> &dyn File;
}

/// An open file. All calls are positional: there is no cursor.
///
/// Short reads and writes are allowed. [`read_exact_at`](File::read_exact_at) and
/// [`write_all_at`](File::write_all_at) repeat them. [`DiskFs`] has an example.
#[expect(clippy::len_without_is_empty, reason = "a call to the system, not a property")]
pub trait File: Send + Sync + Debug {
    /// Returns the current length of the file.
    ///
    /// # Errors
    /// The error of the system.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `buf.len()` bytes at a position, and returns their number: 0 only at or past
    /// the end, or for an empty `buf`.
    ///
    /// # Errors
    /// The error of the system. `Interrupted` may be retried.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at most `buf.len()` bytes at a position, and returns their number. Writing past the
    /// end extends the file, and a gap reads as zeros.
    ///
    /// # Errors
    /// `StorageFull` if there is no room; `PermissionDenied` if the file was opened for reading,
    /// as with every call that changes the file. `Interrupted` may be retried.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// The error of the system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns the time of the last write, by the clock of the file system; `None`, the default,
    /// if it is not known.
    ///
    /// # Errors
    /// The error of the system.
    fn modified(&self) -> io::Result<Option<Timestamp>> {
        Ok(None)
    }

    /// Extends the file to `len` with zeros and reserves their room, so that a later write there
    /// cannot find the disk full, if the file system can promise it. It never shortens the file.
    ///
    /// # Errors
    /// `StorageFull` if there is no room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// The error of the system. After a failure you cannot know which bytes are durable, and a
    /// second call may succeed without having written them: never retry it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the bytes, the length and the metadata durable.
    ///
    /// # Errors
    /// As [`sync_data`](File::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// Returns the first `len` bytes as a read-only view, for a file that is neither changed nor
    /// truncated while the view lives.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is shorter.
    fn view(&self, len: u64) -> io::Result<FileView>;

    /// Returns the first position from `at` on that does not lie in a hole of the file: all bytes
    /// between read as zeros. After the last data, that is the length of the file. A file system
    /// that does not know its holes returns `at`, which is the default.
    ///
    /// # Errors
    /// The error of the system.
    fn next_data(&self, at: u64) -> io::Result<u64> {
        Ok(at)
    }

    /// Fills `buf` from a position, repeating short and interrupted reads.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends first; errors of [`read_at`](File::read_at).
    fn read_exact_at(&self, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = buf.get_mut(n..).unwrap_or_default();
                    at = at.saturating_add(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `buf` at a position, repeating short and interrupted writes.
    ///
    /// # Errors
    /// `WriteZero` if the file accepts no more bytes; errors of [`write_at`](File::write_at). Part
    /// of `buf` may have been written.
    fn write_all_at(&self, mut buf: &[u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = buf.get(n..).unwrap_or_default();
                    at = at.saturating_add(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
