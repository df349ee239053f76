//! The files a group of segments is rewritten into.
//!
//! The files have the suffix `.cleaned`, and do not belong to the log until it renames them. After
//! an error they are removed, here or by the next opening of the log.

use crate::error::{Error, Result};
use crate::fs::{File, OpenMode};
use crate::record::BatchHeader;
use crate::segment::SegmentDir;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::txn_index::AbortedTxn;
use crate::types::{Offset, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The bytes that are written at a time.
pub(crate) const WRITE_BYTES: usize = 1 << 20;

/// The maximum size of a log file: positions in Kafka have 31 bits.
const MAX_LOG_BYTES: u64 = i32::MAX as u64;

/// A segment being written. If it is dropped before it is finished, it leaves no file.
pub(crate) struct Output<'a> {
    dir: &'a SegmentDir,
    base: Offset,
    log: Writer<'a>,
    /// Created with its first entry, as in Kafka.
    aborted: Option<Writer<'a>>,
    indexes: Indexes,
    cadence: IndexCadence,
    finished: bool,
}

/// A completely written segment.
pub(crate) struct Finished {
    /// The bytes of all its files.
    pub(crate) bytes: u64,
    /// The write buffer, for the next segment.
    pub(crate) buffer: Vec<u8>,
    pub(crate) indexes: Indexes,
}

impl<'a> Output<'a> {
    /// Begins the segment of this base. `buffer` is the write buffer.
    pub(crate) fn create(dir: &'a SegmentDir, base: Offset, buffer: Vec<u8>) -> Result<Output<'a>> {
        for kind in Kind::ALL {
            remove_stale(dir, SegmentFile { base, kind, stage: Stage::Cleaned })?;
        }
        let log = Writer::create(dir, base, Kind::Log, buffer)?;
        let cadence = IndexCadence::new(dir.index_interval_bytes, (Timestamp::NONE, base));
        let indexes = Indexes::empty(base);
        Ok(Output { dir, base, log, aborted: None, indexes, cadence, finished: false })
    }

    /// Returns whether the log has room for this many more bytes.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.log.len.saturating_add(bytes) <= MAX_LOG_BYTES
    }

    pub(crate) fn append(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<()> {
        let position = self.log.len;
        let bytes = batch.len() as u64;
        if !self.has_room_for(bytes) {
            return Err(self.log.fail(io::ErrorKind::FileTooLarge.into()));
        }
        self.log.append(batch)?;
        let (last, max) = (header.last_offset(), header.max_timestamp);
        self.cadence.note(&self.indexes, position, bytes, last, max);
        Ok(())
    }

    /// Appends an entry to the index of aborted transactions. Its marker is the next batch.
    pub(crate) fn append_aborted(&mut self, aborted: AbortedTxn) -> Result<()> {
        let writer = match &mut self.aborted {
            Some(writer) => writer,
            none => none.insert(Writer::create(self.dir, self.base, Kind::TxnIndex, Vec::new())?),
        };
        writer.append(&aborted.encode())
    }

    /// Returns the bytes of the log so far.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.len
    }

    pub(crate) fn largest_timestamp(&self) -> Timestamp {
        self.cadence.largest.0
    }

    /// Writes the rest, and makes all files durable, but not their names.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.cadence.finish(&self.indexes);
        let mut bytes = self.log.finish()?;
        if let Some(aborted) = &mut self.aborted {
            bytes = bytes.saturating_add(aborted.finish()?);
        }
        let entries = [
            (Kind::OffsetIndex, self.indexes.offsets.bytes_from(0)),
            (Kind::TimeIndex, self.indexes.times.bytes_from(0)),
        ];
        for (kind, entries) in entries {
            let mut writer = Writer::create(self.dir, self.base, kind, entries)?;
            writer.len = writer.buffer.len() as u64;
            bytes = bytes.saturating_add(writer.finish()?);
        }
        self.finished = true;
        Ok(Finished {
            bytes,
            buffer: std::mem::take(&mut self.log.buffer),
            indexes: std::mem::replace(&mut self.indexes, Indexes::empty(self.base)),
        })
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if !self.finished {
            for kind in Kind::ALL {
                self.dir.discard(SegmentFile { base: self.base, kind, stage: Stage::Cleaned });
            }
        }
    }
}

/// Removes a leftover. A leftover of a kind that this segment does not write would count as its
/// own.
fn remove_stale(dir: &SegmentDir, file: SegmentFile) -> Result<()> {
    dir.remove_if_exists(&dir.path_of(file)).map(drop)
}

/// A new file, written in large pieces.
struct Writer<'a> {
    dir: &'a SegmentDir,
    name: SegmentFile,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// The bytes that were appended.
    len: u64,
    /// The bytes that the file has.
    written: u64,
}

impl<'a> Writer<'a> {
    fn create(
        dir: &'a SegmentDir,
        base: Offset,
        kind: Kind,
        buffer: Vec<u8>,
    ) -> Result<Writer<'a>> {
        let name = SegmentFile { base, kind, stage: Stage::Cleaned };
        let path = dir.path_of(name);
        let file = dir.fs.open(&path, OpenMode::CreateNew);
        let file = file.map_err(|error| Error::io("create", &path, error))?;
        Ok(Writer { dir, name, file, buffer, len: 0, written: 0 })
    }

    fn path(&self) -> PathBuf {
        self.dir.path_of(self.name)
    }

    #[cold]
    fn fail(&self, error: io::Error) -> Error {
        Error::io("write", &self.path(), error)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if self.buffer.len().saturating_add(bytes.len()) > WRITE_BYTES {
            self.write()?;
        }
        if bytes.len() < WRITE_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.file.write_all_at(bytes, self.written).map_err(|error| self.fail(error))?;
        self.written = self.len;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.written).map_err(|error| self.fail(error))?;
        self.written = self.written.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable, and returns its length.
    fn finish(&mut self) -> Result<u64> {
        self.write()?;
        self.file.sync_all().map_err(|error| Error::io("sync", &self.path(), error))?;
        Ok(self.len)
    }
}
