//! The calls that a [`FaultFs`](super::FaultFs) sees.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// The operation of a call: one for each method of [`Fs`](crate::fs::Fs) and
/// [`File`](crate::fs::File), and two for [`Fs::open`](crate::fs::Fs::open).
/// [`Rule`](crate::fs::Rule) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Fs::open`](crate::fs::Fs::open) of a file that exists.
    Open,
    /// [`Fs::open`](crate::fs::Fs::open) with
    /// [`OpenMode::CreateNew`](crate::fs::OpenMode::CreateNew).
    CreateNew,
    /// [`Fs::list`](crate::fs::Fs::list).
    List,
    /// [`Fs::create_dir`](crate::fs::Fs::create_dir).
    CreateDir,
    /// [`Fs::rename`](crate::fs::Fs::rename).
    Rename,
    /// [`Fs::remove`](crate::fs::Fs::remove).
    Remove,
    /// [`Fs::rename_dir`](crate::fs::Fs::rename_dir).
    RenameDir,
    /// [`Fs::remove_dir`](crate::fs::Fs::remove_dir).
    RemoveDir,
    /// [`Fs::sync_dir`](crate::fs::Fs::sync_dir).
    SyncDir,
    /// [`Fs::lock`](crate::fs::Fs::lock).
    Lock,
    /// [`Fs::hold_dir`](crate::fs::Fs::hold_dir).
    HoldDir,
    /// [`Fs::lock_dir`](crate::fs::Fs::lock_dir).
    LockDir,
    /// [`File::len`](crate::fs::File::len).
    Len,
    /// [`File::read_at`](crate::fs::File::read_at).
    Read,
    /// [`File::write_at`](crate::fs::File::write_at).
    Write,
    /// [`File::set_len`](crate::fs::File::set_len).
    SetLen,
    /// [`File::allocate`](crate::fs::File::allocate).
    Allocate,
    /// [`File::sync_data`](crate::fs::File::sync_data).
    SyncData,
    /// [`File::sync_all`](crate::fs::File::sync_all).
    SyncAll,
    /// [`File::view`](crate::fs::File::view).
    View,
}

/// One call, as in a trace and as passed to a [`Fault::Call`](super::Fault::Call).
/// [`FaultFs`](super::FaultFs) has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The file or directory. For an open file, the path it was opened with.
    pub path: Arc<Path>,
    /// The new path of a rename.
    pub to: Option<Arc<Path>>,
    /// The position at which a read or a write begins; 0 otherwise.
    pub at: u64,
    /// The number of bytes that a read or a write requests, or the length that another call sets;
    /// 0 otherwise.
    pub len: u64,
    /// The result: `Ok` with the number of bytes that were read or written (0 for other calls), or
    /// the kind of error. `Ok(0)` before the call is made.
    pub result: Result<u64, io::ErrorKind>,
}

impl Call {
    pub(super) fn new(operation: Operation, path: Arc<Path>) -> Call {
        Call { operation, path, to: None, at: 0, len: 0, result: Ok(0) }
    }

    /// Returns whether the call succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}
