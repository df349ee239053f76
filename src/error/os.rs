//! Errors of the operating system that need a reaction of their own.

use std::io;

/// Returns whether the disk or a quota is full, or the file has its maximum size.
pub(crate) fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Returns whether file descriptors have run out. EMFILE and ENFILE have no stable
/// `io::ErrorKind`, but their numbers are the same on every Unix.
pub(crate) fn is_too_many_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}
