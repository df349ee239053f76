//! Appending batches to the active log file: the only place that writes log bytes.

use crate::error::{Error, ErrorKind, Result, is_storage_full};
use crate::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// The log file of the active segment, and the end of its batches.
///
/// There is no buffer: when [`append`](ActiveLog::append) returns, the operating system has the
/// bytes, and they survive a process crash.
#[derive(Debug)]
pub(crate) struct ActiveLog {
    file: Arc<dyn File>,
    path: PathBuf,
    position: u64,
    /// The length of the file if room for the whole segment is reserved.
    reserved: u64,
}

/// A failed append.
#[derive(Debug)]
pub(crate) struct AppendFailure {
    pub(crate) error: Error,
    /// Whether the file is known to end where it did before, so that another append can follow.
    pub(crate) rolled_back: bool,
}

impl ActiveLog {
    /// Takes a file with batches up to `position`, and room up to `reserved` if that is more.
    pub(crate) fn new(file: Arc<dyn File>, path: PathBuf, position: u64, reserved: u64) -> Self {
        ActiveLog { file, path, position, reserved }
    }

    /// Reserves room, so that the file has `upto` bytes. On a full disk it reserves none, so that
    /// the log can still be opened. If reserving fails, the file is as long as before, so that it
    /// matches the marker of a clean shutdown.
    pub(crate) fn reserve(&mut self, upto: u64) -> Result<()> {
        let Err(error) = self.file.allocate(upto) else {
            self.reserved = upto;
            return Ok(());
        };
        let trimmed = self.file.set_len(self.position);
        if !is_storage_full(&error) {
            return Err(Error::io("preallocate", &self.path, error));
        }
        trimmed.map_err(|error| Error::io("trim", &self.path, error))
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Writes a batch after the last one, and returns its position.
    ///
    /// A failed write may have left a part of the batch, which is removed. Only a full disk, quota
    /// or file leaves the log usable afterwards: after any other failure of a write, the disk
    /// cannot be trusted.
    #[inline(always)]
    pub(crate) fn append(&mut self, batch: &[u8]) -> Result<u64, AppendFailure> {
        let position = self.position;
        match self.file.write_all_at(batch, position) {
            Ok(()) => {
                self.position = position.saturating_add(batch.len() as u64);
                Ok(position)
            }
            Err(error) => Err(self.fail(batch.len() as u64, error)),
        }
    }

    /// Counts bytes that were written after the last batch in another way.
    pub(crate) fn take_written(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
    }

    #[cold]
    fn fail(&mut self, len: u64, error: std::io::Error) -> AppendFailure {
        let error = Error::io("append to", &self.path, error);
        let survivable = error.kind() == ErrorKind::StorageFull;
        let rolled_back = survivable && self.remove_partial(len).is_ok();
        AppendFailure { error, rolled_back }
    }

    /// Removes the part of a batch that a failed write may have left after the last one.
    fn remove_partial(&self, len: u64) -> std::io::Result<()> {
        if self.reserved > self.position {
            // Reserved room stays reserved, and reads as zeros again.
            let zeros = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
            let upto = self.reserved.saturating_sub(self.position).min(len);
            let zeros = zeros.get(..usize::try_from(upto).unwrap_or(0)).unwrap_or_default();
            self.file.write_all_at(zeros, self.position)?;
        }
        self.file.set_len(self.reserved.max(self.position))
    }

    /// Returns reserved room that was not used to the file system.
    pub(crate) fn trim(&mut self) -> Result<()> {
        if self.reserved > self.position {
            self.file
                .set_len(self.position)
                .map_err(|error| Error::io("trim", &self.path, error))?;
            self.reserved = 0;
        }
        Ok(())
    }
}
