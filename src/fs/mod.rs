//! The file system of a log: an interface of two small traits.
//!
//! Everything a log does to a disk goes through [`Fs`] and [`File`]. Three
//! implementations come with the crate, and all pass one suite of tests:
//!
//! | type | purpose |
//! |---|---|
//! | [`DiskFs`] | the operating system's file system: the default of a log |
//! | [`MemFs`] | a file system in memory that distinguishes synced bytes from bytes that were only written, so that [`MemFs::crash`] can produce every disk that a loss of power could leave |
//! | [`FaultFs`] | wraps another and fails, shortens or garbles calls by rule, keeping a trace |
//!
//! This floor knows no format: it moves bytes and names.

mod dir;
mod disk;
mod fault;
#[cfg(unix)]
mod held;
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
    /// Create it for reading and writing; `AlreadyExists` if there is something of that name.
    CreateNew,
    /// Open an existing file for reading and writing; `NotFound` if there is none.
    ReadWrite,
    /// Open an existing file for reading; `NotFound` if there is none.
    ReadOnly,
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else. Symbolic links are never followed: they are this.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory. A name that is not UTF-8 is given with replacement
    /// characters.
    pub name: String,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The length of a file; 0 for everything else.
    pub len: u64,
}

/// A file system. All methods may be called from any thread at any time.
///
/// A change is durable only after the `sync` that covers it:
/// the bytes and length of a file after [`File::sync_data`], a name that was
/// created, renamed or removed after [`Fs::sync_dir`] of its directory. Until
/// then a loss of power may keep any part of it and lose the rest.
pub trait Fs: Send + Sync + Debug + 'static {
    /// Opens a regular file. A symbolic link at the file's own name is not followed.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` as [`OpenMode`] says; `IsADirectory` or, for anything else that
    /// is no regular file, `InvalidInput`; what the system says otherwise.
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The entries of a directory, in no particular order.
    ///
    /// # Errors
    /// `NotFound` if it does not exist, `NotADirectory` if it is something else.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory and those above it that are missing, and makes their names durable.
    /// One that exists already is no error.
    ///
    /// # Errors
    /// `AlreadyExists` or `NotADirectory` if something else is in the way.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name in one step, replacing a file that has it.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `IsADirectory` if either name is a directory's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file. Handles to it stay usable until they are dropped.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `IsADirectory` if it is a directory.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a directory another name, with all that is in it, in one step. Nothing may have that
    /// name.
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
    /// The error of the system. After a failure it is unknown which names are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, creating the file if needed, without waiting.
    ///
    /// The lock belongs to the returned value: it is released when that is
    /// dropped, and when the process ends, however it ends. It excludes every
    /// other taker, in this process and in others.
    ///
    /// # Errors
    /// `WouldBlock` if another process or handle has it; with a message if that is a program that
    /// does not write its identity into the file.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;

    /// Holds a directory: opens it, and returns a file system in which its path, and every path
    /// below it, leads to that very directory, whatever is renamed, mounted or put in its place
    /// meanwhile. A link at the path is followed once, now.
    ///
    /// `Ok(None)`, the default, says that this file system cannot do that: then paths are used as
    /// they are, and only the lock file of a directory keeps a second writer out.
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
    /// `NotFound` if it does not exist, `NotADirectory` if it is something else; what the system
    /// says otherwise.
    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        _ = dir;
        Ok(None)
    }

    /// Takes the exclusive lock of a directory itself, without waiting. It needs no file in it,
    /// and excludes every other taker by whatever path it reaches the directory, in this process
    /// and in others, until the guard is dropped or the process ends.
    ///
    /// It is asked for only of file systems that [hold directories](Fs::hold_dir).
    ///
    /// # Errors
    /// `WouldBlock` while it is taken; `Unsupported`, by default; as [`hold_dir`](Fs::hold_dir).
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Names the current run of the machine: another value than before means that the machine
    /// has stopped since, and that what was not synced by then may be lost in any part.
    /// `None` when it is not known.
    fn boot_id(&self) -> Option<String>;

    /// What decides in which order threads that work together make their calls; `None` lets them
    /// run. For [`FaultFs`] alone, and for what wraps it.
    #[doc(hidden)]
    fn turns(&self) -> Option<Arc<Turns>> {
        None
    }
}

/// A shared file system is one too.
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

/// A directory that is [held](Fs::hold_dir).
#[derive(Debug, Clone)]
pub struct HeldDir {
    /// The file system in which the path that was held leads to this very directory. Paths that
    /// lie neither in it nor in the directory above it fail.
    pub fs: Arc<dyn Fs>,
    /// The directory that it lies in, if it lies in one: a path that [`fs`](HeldDir::fs) follows
    /// from the held directory itself.
    pub above: Option<PathBuf>,
    /// Its name there, which is not that of a link it was reached through.
    pub name: Option<String>,
    /// Whether it is known that something is mounted there. Then it may lie in another directory
    /// as well.
    pub is_mount: bool,
}

/// The lock of a directory, held until dropped: [`Fs::lock_dir`].
pub trait DirGuard: Send + Sync + Debug {}

/// The lock of a directory, held until dropped, and the file it is a lock on.
pub trait DirLock: Send + Sync + Debug {
    /// The lock file itself, open for reading and writing.
    fn file(&self) -> &dyn File;
}

/// An open file. Positional only: there is no cursor to share or to lose.
///
/// Short reads and writes are legal. [`read_exact_at`](File::read_exact_at) and
/// [`write_all_at`](File::write_all_at) repeat until done.
#[expect(clippy::len_without_is_empty, reason = "a call to the system, not a property")]
pub trait File: Send + Sync + Debug {
    /// The length of the file now.
    ///
    /// # Errors
    /// The error of the system.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `buf.len()` bytes at a position and says how many; 0 only at or past the end,
    /// or for an empty `buf`.
    ///
    /// # Errors
    /// The error of the system; `Interrupted` may be tried again.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at most `buf.len()` bytes at a position and says how many. Writing past the end
    /// extends the file; a gap reads as zeros.
    ///
    /// # Errors
    /// `StorageFull` when there is no room; `PermissionDenied` through a handle opened for
    /// reading, as with every call that changes the file; `Interrupted` may be tried again.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// The error of the system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// When the file was last written, by the clock of the file system; `None` where that is not
    /// known, which is what the default says.
    ///
    /// # Errors
    /// The error of the system.
    fn modified(&self) -> io::Result<Option<Timestamp>> {
        Ok(None)
    }

    /// Extends the file to `len` with zeros for which room is reserved, so that writing there
    /// cannot run out of space, where the file system can promise it. It never shortens the file.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// The error of the system. After a failure it is unknown which bytes are durable, and
    /// a second call may succeed without having written them: never retry it.
    fn sync_data(&self) -> io::Result<()>;

    /// [`sync_data`](File::sync_data), and the file's metadata too.
    ///
    /// # Errors
    /// As [`sync_data`](File::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// The first `len` bytes as a read-only view, for a file that nothing will change or cut while
    /// the view lives.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter.
    fn view(&self, len: u64) -> io::Result<FileView>;

    /// The first position from `at` on that does not lie in a hole of the file: everything between
    /// reads as zeros. Behind the last data it is the length of the file. A file system that does
    /// not know its holes returns `at`, as this method does unless it is implemented.
    ///
    /// # Errors
    /// The error of the system.
    fn next_data(&self, at: u64) -> io::Result<u64> {
        Ok(at)
    }

    /// Fills `buf` from a position, repeating short and interrupted reads.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends first; as [`read_at`](File::read_at) otherwise.
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
    /// `WriteZero` when the file takes no more; as [`write_at`](File::write_at) otherwise. Part of
    /// `buf` may have been written.
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
