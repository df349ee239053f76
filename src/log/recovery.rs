//! The report of an opening: what it found, and what it did.

use crate::event::Quarantined;
use std::path::PathBuf;

/// The result of opening a log: what it found and did.
/// [`docs::durability`](crate::docs::durability#what-opening-does) has the procedure.
///
/// ```
/// use annals::{Log, LogConfig, fs::MemFs};
///
/// let fs = MemFs::new();
/// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
/// log.append("a")?;
///
/// let again = Log::open("orders-0", LogConfig::default().fs(fs.kill()))?;
/// // It was not closed, so the opening read what was not flushed.
/// assert!(!again.recovery().clean_shutdown);
/// assert_eq!(again.recovery().scanned_bytes, 69);
/// assert_eq!(again.recovery().truncated_bytes, 0);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether nothing had to be recovered: the log was closed cleanly, or was just created.
    pub clean_shutdown: bool,
    /// The number of bytes of batches that were read and verified.
    pub scanned_bytes: u64,
    /// The number of bytes truncated at the end of the log, because they were not a whole batch or
    /// came after such bytes.
    pub truncated_bytes: u64,
    /// The file that was truncated, and its new length; 0 if it was removed.
    pub truncated_at: Option<(PathBuf, u64)>,
    /// The damage that was moved out of the log. Empty unless it was opened with
    /// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine).
    pub quarantined: Vec<Quarantined>,
    /// The files of interrupted changes that were removed.
    pub stale_files_removed: usize,
    /// Files that do not belong to a log. They are left alone.
    pub unknown_files: Vec<PathBuf>,
}
