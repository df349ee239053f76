//! Errors of the operating system that need a reaction of their own.

use std::fmt;
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

/// The remedy for an error of the operating system, if the caller has one.
pub(super) struct WayOut<'a>(pub(super) &'a io::Error);

impl fmt::Display for WayOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind() {
            io::ErrorKind::StorageFull => {
                "; delete records, topics or other files to make room, then retry"
            }
            io::ErrorKind::QuotaExceeded => "; delete files or raise the quota, then retry",
            io::ErrorKind::FileTooLarge => {
                "; call `roll`, or raise the limit on the size of files (`ulimit -f`), then retry"
            }
            _ if is_too_many_files(self.0) => {
                "; close logs, or raise the limit on open files (`ulimit -n`), then retry"
            }
            io::ErrorKind::PermissionDenied => {
                "; run as the owner of the directory, or change its permissions"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "; mount the file system for writing, or open the log read-only"
            }
            _ => "",
        })
    }
}
