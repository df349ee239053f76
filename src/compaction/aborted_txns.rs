//! Copying the index of aborted transactions to the rewritten segment.
//!
//! Entries hold absolute offsets, so the entries of surviving markers are copied unchanged.

use crate::compaction::output::Output;
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::fs::{File, OpenMode};
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::txn_index::{AbortedTxn, ENTRY_BYTES, has_known_version};
use crate::types::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of entries that are read at a time.
const READ_ENTRIES: usize = 1024;

/// The entries of one segment, read once, in step with its markers.
pub(crate) struct AbortedTxns {
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    len: u64,
    /// The position of the next entry.
    at: u64,
    /// The bytes of the file from `buffer_at` on.
    buffer: Vec<u8>,
    buffer_at: u64,
    last: Option<Offset>,
}

impl AbortedTxns {
    /// Opens the entries of a segment: none if it has no such file.
    pub(crate) fn open(dir: &SegmentDir, base: Offset) -> Result<AbortedTxns> {
        let path = dir.path_of(SegmentFile::live(base, Kind::TxnIndex));
        let (file, len) = match dir.fs.open(&path, OpenMode::ReadOnly) {
            Ok(file) => {
                let len = file.len().map_err(|error| Error::io("read", &path, error))?;
                (Some(file), len)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, 0),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let mut entries =
            AbortedTxns { path, file, len, at: 0, buffer: Vec::new(), buffer_at: 0, last: None };
        if !len.is_multiple_of(ENTRY_BYTES as u64) {
            entries.at = len.saturating_sub(len % ENTRY_BYTES as u64);
            return Err(entries.corrupt("its last entry is incomplete"));
        }
        Ok(entries)
    }

    /// Copies the entry of the abort marker with this offset, if there is one.
    pub(crate) fn carry(&mut self, marker: Offset, output: &mut Output<'_>) -> Result<()> {
        while let Some(entry) = self.peek()? {
            let AbortedTxn { last, .. } = AbortedTxn::decode(&entry);
            if last > marker {
                break;
            }
            if !has_known_version(&entry) {
                return Err(self.corrupt("an entry has an unknown version"));
            }
            if self.last.is_some_and(|before| before >= last) {
                return Err(self.corrupt("its entries are not in order"));
            }
            self.last = Some(last);
            self.at = self.at.saturating_add(ENTRY_BYTES as u64);
            if last == marker {
                return output.append_aborted(&entry);
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<[u8; ENTRY_BYTES]>> {
        let Some(file) = self.file.as_ref().filter(|_| self.at < self.len) else { return Ok(None) };
        let buffered_to = self.buffer_at.saturating_add(self.buffer.len() as u64);
        if self.at >= buffered_to {
            let wanted = self.len.saturating_sub(self.at).min((READ_ENTRIES * ENTRY_BYTES) as u64);
            self.buffer.resize(wanted as usize, 0);
            self.buffer_at = self.at;
            let read = file.read_exact_at(&mut self.buffer, self.at);
            read.map_err(|error| Error::io("read", &self.path, error))?;
        }
        let from = self.at.saturating_sub(self.buffer_at) as usize;
        Ok(self.buffer.get(from..).and_then(|entry| entry.first_chunk()).copied())
    }

    #[cold]
    fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt(Box::new(Corruption {
            path: self.path.clone(),
            position: self.at,
            offset: self.last,
            reason: CorruptionKind::Malformed(what),
        }))
    }
}
