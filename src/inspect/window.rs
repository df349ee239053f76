//! Reading a file through a buffer of a fixed size.

use crate::error::{Error, Result};
use crate::fs::{File, Fs, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The size of the buffer.
const WINDOW_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    path: PathBuf,
    len: u64,
    buffer: Vec<u8>,
    at: u64,
}

impl Window {
    pub(super) fn open(fs: &dyn Fs, path: &Path) -> Result<Window> {
        let file = fs.open(path, OpenMode::ReadOnly).map_err(|e| Error::io("open", path, e))?;
        let len = file.len().map_err(|e| Error::io("read", path, e))?;
        Ok(Window { file, path: path.to_path_buf(), len, buffer: Vec::new(), at: 0 })
    }

    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length that the file had when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn held(&self, at: u64) -> &[u8] {
        let from = at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.buffer.get(from..)).unwrap_or_default()
    }

    /// Returns the bytes at a position: at most `wanted` and at most the size of the buffer, and
    /// fewer at the end of the file. If they are not in the buffer, reads `ahead` bytes.
    fn bytes(&mut self, at: u64, wanted: usize, ahead: usize) -> Result<&[u8]> {
        let available = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = wanted.min(WINDOW_BYTES).min(available);
        if self.held(at).len() < wanted {
            self.buffer.resize(ahead.min(WINDOW_BYTES).max(wanted).min(available), 0);
            self.at = at;
            let read = self.file.read_exact_at(&mut self.buffer, at);
            if let Err(error) = read {
                self.buffer.clear();
                return Err(Error::io("read", &self.path, error));
            }
        }
        Ok(self.held(at).get(..wanted).unwrap_or_default())
    }

    /// Returns the bytes at a position, and reads ahead.
    pub(super) fn forward(&mut self, at: u64, wanted: usize) -> Result<&[u8]> {
        self.bytes(at, wanted, WINDOW_BYTES)
    }

    /// Returns the bytes at a position without reading ahead: the next bytes will be skipped.
    pub(super) fn only(&mut self, at: u64, wanted: usize) -> Result<&[u8]> {
        self.bytes(at, wanted, wanted)
    }

    /// Returns the whole file, if it is not longer than `limit`.
    pub(super) fn whole(&self, limit: u64) -> Result<Vec<u8>> {
        if self.len > limit {
            return Err(super::malformed(&self.path, 0, "it is too large for a file of its kind"));
        }
        self.copy(0, self.len)
    }

    /// Returns a part of the file, which must lie within it.
    pub(super) fn copy(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        };
        read().map_err(|e| Error::io("read", &self.path, e))
    }
}
