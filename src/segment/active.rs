//! The way of a batch into a file: the only place where log bytes are written.

use crate::error::{Error, ErrorKind, Result, is_storage_full};
use crate::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// The log file of the active segment, and how far it is filled.
///
/// There is no buffer: what [`append`](ActiveLog::append) took is in the
/// operating system's hands when it returns, and survives this process.
#[derive(Debug)]
pub(crate) struct ActiveLog {
    file: Arc<dyn File>,
    path: PathBuf,
    position: u64,
    /// The length of the file when room for the whole segment is reserved.
    reserved: u64,
}

/// An append that did not happen.
#[derive(Debug)]
pub(crate) struct AppendFailure {
    pub(crate) error: Error,
    /// Whether the file is known to end where it did before, so that another append may follow.
    pub(crate) rolled_back: bool,
}

impl ActiveLog {
    /// A file filled up to `position`, with room up to `reserved` if that is more.
    pub(crate) fn new(file: Arc<dyn File>, path: PathBuf, position: u64, reserved: u64) -> Self {
        ActiveLog { file, path, position, reserved }
    }

    /// Reserves room, so that the file has so many bytes. A full disk does not keep a log from
    /// being opened: then there is none. Where that fails, the file is as long as before, as the
    /// marker of a clean shutdown has it.
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

    /// Writes a batch behind the last and says where it begins.
    ///
    /// A failed write may have left a part of it. That part is taken back; only a
    /// full disk, quota or file leaves the log usable afterwards, as any other
    /// failure of a write means that the disk cannot be trusted.
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

    /// Takes in what was written behind the last batch by another way.
    pub(crate) fn take_written(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
    }

    #[cold]
    fn fail(&mut self, len: u64, error: std::io::Error) -> AppendFailure {
        let error = Error::io("append to", &self.path, error);
        let survivable = error.kind() == ErrorKind::StorageFull;
        let rolled_back = survivable && self.take_back(len).is_ok();
        AppendFailure { error, rolled_back }
    }

    /// Removes what a failed write may have left behind the last batch.
    fn take_back(&self, len: u64) -> std::io::Result<()> {
        if self.reserved > self.position {
            // Reserved room stays reserved, and reads as zeros again.
            let zeros = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
            let upto = self.reserved.saturating_sub(self.position).min(len);
            let zeros = zeros.get(..usize::try_from(upto).unwrap_or(0)).unwrap_or_default();
            self.file.write_all_at(zeros, self.position)?;
        }
        self.file.set_len(self.reserved.max(self.position))
    }

    /// Gives back reserved room that was not used.
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
